//! Numbers with their nouns.

/// A number and the noun for it: `1 rule`, `2 rules`.
#[must_use]
pub fn of(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

//! Characters by name: `\N{EM DASH}`.
//!
//! CPython supports all names of Unicode. This table has the names of ASCII,
//! Latin-1, Greek, Cyrillic and common punctuation; others are rejected.

use super::name_table::NAMES;

/// The character with this name, in upper or lower case.
pub(super) fn lookup(name: &str) -> Option<u32> {
    let name = name.to_ascii_uppercase();
    let index = NAMES.binary_search_by(|entry| entry.0.cmp(&name)).ok()?;
    NAMES.get(index).map(|entry| entry.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names() {
        assert_eq!(lookup("EM DASH"), Some(0x2014));
        assert_eq!(lookup("Latin small letter e with acute"), Some(0xe9));
        assert_eq!(lookup("em  dash"), None);
        assert!(NAMES.is_sorted());
    }
}

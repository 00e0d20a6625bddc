//! What all readers of the formats share: a point, its names and its value.

/// A point as a reader of a format sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    /// Metric name, or OpenMetrics family.
    pub(crate) metric: String,
    /// `None` in a format that has none.
    pub(crate) time: Option<u64>,
    /// Thousandths of the value.
    pub(crate) value: i128,
    /// In the order in which they came.
    pub(crate) tags: Vec<(String, String)>,
}

/// The characters that OpenTSDB and tcollector take in names and tags.
const ALPHABET: &str = "-_./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

pub(crate) fn in_alphabet(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| ALPHABET.contains(c))
}

/// The thousandths of a number in decimal, in the one way to write it: no
/// plus, no leading zeros, at most three decimals and no zero at their end.
pub(crate) fn thousandths(text: &str) -> Result<i128, String> {
    let wrong = || format!("{text:?} is no plain number");
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, decimals) = match digits.split_once('.') {
        Some((_, "")) => return Err(wrong()),
        Some((whole, decimals)) => (whole, decimals),
        None => (digits, ""),
    };
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(decimals) || decimals.len() > 3 {
        return Err(wrong());
    }
    if whole.is_empty() || whole != "0" && whole.starts_with('0') || decimals.ends_with('0') {
        return Err(wrong());
    }
    let number: i128 = format!("{whole}{decimals:0<3}").parse().map_err(|_| wrong())?;
    if sign < 0 && number == 0 {
        return Err(wrong());
    }
    Ok(sign * number)
}

//! What the encoders write, held against readers that know nothing of them.
//!
//! `tsd`, `json` and `openmetrics` read each format by its own rules, strictly,
//! and hand back plain points; `cycles` makes random cycles. The other modules
//! are the tests.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cycles;
mod json;
mod openmetrics;
mod tsd;

mod catalogue;
mod limits;
mod names;
mod order;
mod python;
mod round_trip;

/// A point as a reader of a format sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    /// Metric name, or OpenMetrics family.
    metric: String,
    /// `None` in a format that has none.
    time: Option<u64>,
    /// Thousandths of the value.
    value: i128,
    /// In the order in which they came.
    tags: Vec<(String, String)>,
}

/// The characters that OpenTSDB and tcollector take in names and tags.
const ALPHABET: &str = "-_./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn in_alphabet(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| ALPHABET.contains(c))
}

/// The thousandths of a number in decimal, in the one way to write it: no
/// plus, no leading zeros, at most three decimals and no zero at their end.
fn thousandths(text: &str) -> Result<i128, String> {
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

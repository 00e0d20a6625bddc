//! The size of the ring in which BPF records the starts and ends of processes.

use std::ops::RangeInclusive;

/// The size by default, in KiB.
pub const DEFAULT_KIB: u32 = 1024;
/// The sizes that can be chosen.
const SIZES: RangeInclusive<u32> = 64..=1 << 20;

/// A size in KiB; 0 for no ring.
///
/// # Errors
/// It is not a number, or outside of the limits.
pub fn parse(text: &str) -> Result<u32, String> {
    let is_valid = |size: &u32| *size == 0 || SIZES.contains(size);
    let (min, max) = (SIZES.start(), SIZES.end());
    text.parse().ok().filter(is_valid).ok_or_else(|| format!("expected 0, or {min} to {max} KiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!([parse("0"), parse("64"), parse("1048576")], [Ok(0), Ok(64), Ok(1 << 20)]);
        for text in ["63", "1048577", "", "1M", "-1"] {
            assert_eq!(parse(text), Err("expected 0, or 64 to 1048576 KiB".to_owned()), "{text}");
        }
    }
}

//! Human-readable numbers.

/// The format of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `1.5M`: with the prefixes of 1024 for bytes, of 1000 otherwise.
    Human,
    /// All digits.
    Exact,
}

/// A number of bytes; differences can be negative.
pub fn bytes(value: i64, style: Style) -> String {
    match style {
        Style::Exact => value.to_string(),
        Style::Human => scaled(value as f64, 1024.0, "BKMGTPE"),
    }
}

/// A count.
pub fn number(value: i64, style: Style) -> String {
    match style {
        Style::Exact => value.to_string(),
        Style::Human => scaled(value as f64, 1000.0, " kMGTPE"),
    }
}

/// Bytes per second.
pub fn byte_rate(value: f64, style: Style) -> String {
    match style {
        Style::Exact => format!("{value:.3}"),
        Style::Human => scaled(value, 1024.0, "BKMGTPE"),
    }
}

/// Calls per second.
pub fn call_rate(value: f64, style: Style) -> String {
    match style {
        Style::Exact => format!("{value:.3}"),
        Style::Human => scaled(value, 1000.0, " kMGTPE"),
    }
}

/// Percent of one core.
pub fn percent(value: f64, style: Style) -> String {
    match style {
        Style::Exact => format!("{value:.3}"),
        Style::Human => format!("{value:.1}"),
    }
}

/// A count with its noun: `1 process`, `2 processes`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A duration in its two largest units: `3d 4h`, `5m 12s`, `0s`.
pub fn age(seconds: f64) -> String {
    // Negative values and NaN become 0.
    let all = seconds as u64;
    let (days, hours, minutes) = (all / 86_400, all / 3600 % 24, all / 60 % 60);
    match (days, hours, minutes) {
        (1.., ..) => format!("{days}d {hours}h"),
        (_, 1.., _) => format!("{hours}h {minutes}m"),
        (_, _, 1..) => format!("{minutes}m {}s", all % 60),
        _ => format!("{all}s"),
    }
}

/// The same without a space: `3d4h`.
pub fn duration(seconds: f64, style: Style) -> String {
    match style {
        Style::Exact => format!("{seconds:.3}"),
        Style::Human => age(seconds).replace(' ', ""),
    }
}

/// CPU time in seconds: `0.35s`, `5m12s`.
pub fn cpu_time(seconds: f64, style: Style) -> String {
    match style {
        Style::Human if seconds < 60.0 => format!("{seconds:.2}s"),
        style => duration(seconds, style),
    }
}

/// CPU time per second, as the number of busy cores.
pub fn cpu_rate(value: f64, style: Style) -> String {
    match style {
        Style::Exact => format!("{value:.3}"),
        Style::Human => format!("{value:.2}"),
    }
}

/// A number with a unit: at most three digits, or two digits and one decimal:
/// `0`, `1023B`, `1.0K`, `17.3M`, `512G`.
fn scaled(value: f64, base: f64, units: &str) -> String {
    let mut rest = value.abs();
    let mut units = units.chars();
    let mut unit = units.next().unwrap_or(' ');
    let base_unit = unit;
    for next in units {
        // Rounding must not result in four digits.
        if rest < base - 0.5 {
            break;
        }
        rest /= base;
        unit = next;
    }
    let sign = if value < 0.0 && rest.round() > 0.0 { "-" } else { "" };
    let digits = if unit == base_unit || rest >= 99.95 {
        format!("{rest:.0}")
    } else {
        format!("{rest:.1}")
    };
    format!("{sign}{digits}{unit}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn human_units() {
        let cases = [
            (0, "0B"),
            (1, "1B"),
            (1023, "1023B"),
            (1024, "1.0K"),
            (1536, "1.5K"),
            (102_350, "100K"),
            (1_048_575, "1.0M"),
            (17 << 20, "17.0M"),
            (512 << 30, "512G"),
            (i64::MAX, "8.0E"),
            (-2048, "-2.0K"),
        ];
        for (value, want) in cases {
            assert_eq!(bytes(value, Style::Human), want, "{value}");
        }
        assert_eq!(number(999, Style::Human), "999");
        assert_eq!(number(1000, Style::Human), "1.0k");
        assert_eq!(call_rate(0.2, Style::Human), "0");
        assert_eq!(byte_rate(-0.2, Style::Human), "0B");
        assert_eq!(percent(12.345, Style::Human), "12.3");
    }

    #[test]
    fn ages() {
        let cases = [(-1.0, "0s"), (59.9, "59s"), (61.0, "1m 1s"), (7322.0, "2h 2m")];
        for (seconds, want) in cases {
            assert_eq!(age(seconds), want);
        }
        assert_eq!(age(86_400.0 * 3.5), "3d 12h");
        assert_eq!(duration(86_400.0 * 3.5, Style::Human), "3d12h");
        assert_eq!(duration(59.9, Style::Exact), "59.900");
        assert_eq!(cpu_time(0.354, Style::Human), "0.35s");
        assert_eq!(cpu_time(61.0, Style::Human), "1m1s");
        assert_eq!(cpu_time(0.354, Style::Exact), "0.354");
        assert_eq!(cpu_rate(1.254, Style::Human), "1.25");
    }

    #[test]
    fn exact_numbers() {
        assert_eq!(bytes(i64::MIN, Style::Exact), "-9223372036854775808");
        assert_eq!(number(1_234_567, Style::Exact), "1234567");
        assert_eq!(byte_rate(1.5, Style::Exact), "1.500");
        assert_eq!(percent(12.345, Style::Exact), "12.345");
    }
}

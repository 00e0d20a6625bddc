//! Times as text.
//!
//! The conversion to a date is 15 lines. A date library (jiff without default
//! features) would add 270 KB to the program for nothing else.

use std::time::{Duration, SystemTime};

/// Seconds since 1970; 0 for earlier times.
pub(crate) fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A time in UTC, in seconds: `2026-01-31T23:59:59Z`.
pub(crate) fn format_utc(time: SystemTime) -> String {
    let passed: Duration = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (passed.as_secs() / 86_400, passed.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of the given number of days after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    // In years that start in March the leap day is the last day. The calendar
    // repeats after 400 years, which are 146,097 days; 0000-03-01 is 719,468
    // days before 1970-01-01.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on, each group of five months has 153 days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_500_years_are_successive() {
        let leap = |year: u64| {
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
        };
        let mut want = (1970, 1, 1);
        for days in 0..500 * 365 {
            assert_eq!(date(days), want, "{days}");
            let last = match want.1 {
                2 => 28 + u64::from(leap(want.0)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            want = match want {
                (year, 12, 31) => (year + 1, 1, 1),
                (year, month, day) if day == last => (year, month + 1, 1),
                (year, month, day) => (year, month, day + 1),
            };
        }
    }

    #[test]
    fn formats_utc() {
        let at = |seconds| format_utc(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(1_700_000_000), "2023-11-14T22:13:20Z");
    }
}

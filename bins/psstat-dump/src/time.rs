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

/// Parses a time: `2026-01-31 23:59:59`, with `T` in place of the space, without the seconds or
/// without the time of day, and with `Z` or an offset such as `+02:00` at the end, which is UTC
/// otherwise; `23:59`, which is the last such time up to `last`; `@SECONDS` after 1970; or `-10m`
/// before `last`, with the unit `s`, `m`, `h` or `d`.
pub(crate) fn parse(text: &str, last: SystemTime) -> Option<SystemTime> {
    const DAY: u64 = 86_400;
    if let Some(seconds) = text.strip_prefix('@') {
        return SystemTime::UNIX_EPOCH.checked_add(seconds_of(seconds)?);
    }
    if let Some(ago) = text.strip_prefix('-') {
        return last.checked_sub(parse_duration(ago)?);
    }
    let Some((year, rest)) = text.split_once('-') else {
        let time = time_of_day(text)?;
        let day = last.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs() / DAY;
        let on = |day: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(day * DAY) + time;
        return Some(if on(day) <= last { on(day) } else { on(day.checked_sub(1)?) });
    };
    let (month, rest) = rest.split_once('-')?;
    let (day, time) = rest.split_once([' ', 'T']).unwrap_or((rest, "00:00"));
    let [year, month, day] = [year, month, day].map(|number| number.parse::<u64>().ok());
    let (year, month, day) = (year?, month?, day?);
    let days = days(year, month, day)?;
    let (time, offset) = match time.find(['Z', '+', '-']) {
        Some(at) => (time.get(..at)?, time.get(at..)?),
        None => (time, "Z"),
    };
    let offset_time = match offset {
        "Z" => Duration::ZERO,
        _ => time_of_day(offset.get(1..)?)?,
    };
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(days * DAY) + time_of_day(time)?;
    if offset.starts_with('-') {
        time.checked_add(offset_time)
    } else {
        time.checked_sub(offset_time)
    }
}

/// Parses `90`, `90s`, `10m`, `24h` or `7d`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let unit = match text.get(at..)? {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds_of(text.get(..at)?)?.as_secs_f64() * unit).ok()
}

fn seconds_of(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// Parses `23:59` or `23:59:59`, which can have a fraction.
fn time_of_day(text: &str) -> Option<Duration> {
    let mut parts = text.split(':');
    let whole = |part: &str, end: u64| part.parse::<u64>().ok().filter(|number| *number < end);
    let (hour, minute) = (whole(parts.next()?, 24)?, whole(parts.next()?, 60)?);
    let second = parts.next().map_or(Some(Duration::ZERO), seconds_of)?;
    let is_valid = second < Duration::from_secs(60) && parts.next().is_none();
    is_valid.then_some(Duration::from_secs(hour * 3600 + minute * 60) + second)
}

/// The number of a date, in days after 1970-01-01.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // The reverse of `date`.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    let number = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    number.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_is_printed() {
        for number in (0..500 * 365).step_by(7) {
            let (year, month, day) = date(number);
            assert_eq!(days(year, month, day), Some(number));
        }
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(parse(&format_utc(last), last), Some(last));
        let at = |seconds: u64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        for (text, want) in [
            ("2023-11-14 22:13:20", at(1_700_000_000)),
            ("2023-11-15T00:13:20+02:00", at(1_700_000_000)),
            ("2023-11-14 20:43:20-01:30", at(1_700_000_000)),
            ("2023-11-14", at(1_699_920_000)),
            ("2023-11-14 22:13", at(1_700_000_000 - 20)),
            ("22:13", at(1_700_000_000 - 20)),
            ("22:14", at(1_700_000_000 + 40 - 86_400)),
            ("@1700000000", at(1_700_000_000)),
            ("-10m", at(1_700_000_000 - 600)),
            ("-1.5h", at(1_700_000_000 - 5400)),
            ("", None),
            ("now", None),
            ("24:00", None),
            ("12", None),
            ("12:60", None),
            ("2023-13-01", None),
            ("2023-11-14 22:13:20 x", None),
            ("@-1", None),
            ("@1e300", None),
            ("-1y", None),
            ("-1e300d", None),
        ] {
            assert_eq!(parse(text, last), want, "{text}");
        }
    }

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

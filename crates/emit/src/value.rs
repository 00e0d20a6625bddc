//! Values and timestamps of points.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::EncodeError;

/// The value of a point: an integer, a fixed-point number with three decimals, or an `f64`.
///
/// It is made with `From` from integers, `bool` (1 or 0) and `f64`, and with
/// [`Value::from_thousandths`]. A point whose value is infinite or not a number is not encoded.
///
/// In InfluxDB's lines, a series has values of one type: use either integers or numbers with
/// decimals for it in all cycles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value(Repr);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Repr {
    Integer(i64),
    Thousandths(i64),
    Float(f64),
}

impl From<i64> for Value {
    #[inline]
    fn from(number: i64) -> Self {
        Value(Repr::Integer(number))
    }
}

/// Numbers above `i64::MAX`, which OpenTSDB cannot store, become `i64::MAX`.
impl From<u64> for Value {
    #[inline]
    fn from(number: u64) -> Self {
        Value::from(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// As from `u64`.
impl From<usize> for Value {
    #[inline]
    fn from(number: usize) -> Self {
        Value::from(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<i32> for Value {
    #[inline]
    fn from(number: i32) -> Self {
        Value::from(i64::from(number))
    }
}

impl From<u32> for Value {
    #[inline]
    fn from(number: u32) -> Self {
        Value::from(i64::from(number))
    }
}

/// 1 for true, 0 for false.
impl From<bool> for Value {
    #[inline]
    fn from(value: bool) -> Self {
        Value::from(i64::from(value))
    }
}

/// The shortest decimal that gives this number again, or, if that has more than 21 bytes, its first
/// 14 digits.
impl From<f64> for Value {
    #[inline]
    fn from(number: f64) -> Self {
        Value(Repr::Float(number))
    }
}

impl Value {
    /// A number of thousandths: 12,500 is printed as `12.5`, 3 as `0.003`, 0 as `0`.
    #[must_use]
    #[inline]
    pub const fn from_thousandths(thousandths: i64) -> Self {
        Value(Repr::Thousandths(thousandths))
    }

    /// Whether the value is negative.
    pub(crate) fn is_negative(self) -> bool {
        match self.0 {
            Repr::Integer(number) | Repr::Thousandths(number) => number < 0,
            Repr::Float(number) => number < 0.0,
        }
    }

    /// Whether the value is neither infinite nor a NaN.
    pub(crate) fn is_finite(self) -> bool {
        match self.0 {
            Repr::Integer(_) | Repr::Thousandths(_) => true,
            Repr::Float(number) => number.is_finite(),
        }
    }

    /// Whether the value is an integer in every cycle, rather than a number with decimals.
    pub(crate) fn is_integer(self) -> bool {
        matches!(self.0, Repr::Integer(_))
    }

    /// Appends the value in decimal, divided by this power of ten: without trailing zeros in its
    /// decimals, at most [`MAX_VALUE`] bytes.
    pub(crate) fn write(self, out: &mut Vec<u8>, power: u8) {
        match self.0 {
            Repr::Integer(number) if power == 0 => {
                out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
            Repr::Integer(number) => write_fixed(out, number, power),
            Repr::Thousandths(number) => write_fixed(out, number, power + 3),
            // Adding 0 makes 0 of -0.
            Repr::Float(number) => write_float(out, number / 10_f64.powi(power.into()) + 0.0),
        }
    }
}

/// Appends a number divided by ten to the power `decimals`.
fn write_fixed(out: &mut Vec<u8>, number: i64, decimals: u8) {
    let divisor = 10_u64.pow(u32::from(decimals));
    let (integer, mut fraction) =
        (number.unsigned_abs() / divisor, number.unsigned_abs() % divisor);
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
    if fraction != 0 {
        out.push(b'.');
        let start = out.len();
        for _ in 0..decimals {
            fraction *= 10;
            // Less than ten, because the fraction is less than the divisor.
            out.push(b'0' + (fraction / divisor) as u8);
            fraction %= divisor;
        }
        let zeros = out[start..].iter().rev().take_while(|&&digit| digit == b'0').count();
        out.truncate(out.len() - zeros);
    }
}

/// Appends a finite number.
fn write_float(out: &mut Vec<u8>, number: f64) {
    let start = out.len();
    let is_plain = number == 0.0 || (1e-5..1e16).contains(&number.abs());
    // Writing to a `Vec` does not fail.
    let _ = if is_plain { write!(out, "{number}") } else { write!(out, "{number:e}") };
    if is_plain && out.len() - start > MAX_VALUE {
        out.truncate(start);
        let _ = write!(out, "{number:e}");
    }
    if out.len() - start > MAX_VALUE {
        out.truncate(start);
        let _ = write!(out, "{number:.13e}");
    }
}

/// The longest printed value: `-9223372036854775.808`, or as long with other decimals, or
/// `-1.2345678901234e-308`.
pub(crate) const MAX_VALUE: usize = 21;

/// The time of a point, in whole seconds since 1970.
///
/// OpenTSDB stores seconds in 32 bits and interprets larger numbers as milliseconds; tcollector
/// requires at least two digits. The range is therefore 10 to 4,294,967,295 (the year 2106).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u32);

impl Timestamp {
    /// The earliest time that can be encoded.
    pub const MIN: Timestamp = Timestamp(10);
    /// The latest time that can be encoded.
    pub const MAX: Timestamp = Timestamp(u32::MAX);

    /// Checks a number of seconds since 1970-01-01 00:00 UTC.
    ///
    /// # Errors
    /// The time is outside [`Timestamp::MIN`] to [`Timestamp::MAX`].
    pub fn from_unix(seconds: i64) -> Result<Self, EncodeError> {
        match u32::try_from(seconds) {
            Ok(seconds) if seconds >= Self::MIN.0 => Ok(Timestamp(seconds)),
            _ => Err(EncodeError::TimeOutOfRange { seconds }),
        }
    }

    /// Seconds since 1970-01-01 00:00 UTC.
    #[must_use]
    pub const fn as_unix(self) -> u32 {
        self.0
    }
}

/// The second of this time.
impl TryFrom<SystemTime> for Timestamp {
    type Error = EncodeError;

    fn try_from(time: SystemTime) -> Result<Self, EncodeError> {
        let seconds = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        Timestamp::from_unix(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => seconds(after.as_secs()),
            Err(before) => -seconds(before.duration().as_secs()),
        })
    }
}

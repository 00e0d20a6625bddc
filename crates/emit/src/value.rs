//! Values and timestamps of points.

/// The value of a point: an integer, or a fixed-point number with three decimals.
///
/// It is not a floating-point number, so NaN and infinity cannot occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(Repr);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repr {
    Integer(i64),
    Thousandths(i64),
}

impl Value {
    /// An integer. Numbers above `i64::MAX`, which OpenTSDB cannot store, become `i64::MAX`.
    #[must_use]
    pub fn from_u64(number: u64) -> Self {
        Value::from_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// An integer.
    #[must_use]
    pub fn from_i64(number: i64) -> Self {
        Value(Repr::Integer(number))
    }

    /// A number of thousandths: 12,500 is printed as `12.5`, 3 as `0.003`, 0 as `0`.
    #[must_use]
    pub fn from_thousandths(thousandths: i64) -> Self {
        Value(Repr::Thousandths(thousandths))
    }

    /// Whether the value is negative.
    pub(crate) fn is_negative(self) -> bool {
        let (Repr::Integer(number) | Repr::Thousandths(number)) = self.0;
        number < 0
    }

    /// Whether the value is an integer in every cycle, rather than a number with decimals.
    pub(crate) fn is_integer(self) -> bool {
        matches!(self.0, Repr::Integer(_))
    }

    /// Appends the value in decimal, divided by this power of ten: without trailing zeros in its
    /// decimals, at most [`MAX_VALUE`] bytes.
    pub(crate) fn write(self, out: &mut Vec<u8>, power: u8) {
        let (number, decimals) = match self.0 {
            Repr::Integer(number) => (number, power),
            Repr::Thousandths(number) => (number, power + 3),
        };
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
}

/// The longest printed value: `-9223372036854775.808`, or as long with other decimals.
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
    pub fn from_unix(seconds: i64) -> Result<Self, TimestampError> {
        match u32::try_from(seconds) {
            Ok(seconds) if seconds >= Self::MIN.0 => Ok(Timestamp(seconds)),
            _ => Err(TimestampError { seconds }),
        }
    }

    /// Seconds since 1970-01-01 00:00 UTC.
    #[must_use]
    pub fn as_unix(self) -> u32 {
        self.0
    }
}

/// A time outside the range of [`Timestamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timestamp {seconds} is outside OpenTSDB's range (10 to 4294967295)")]
pub struct TimestampError {
    /// The rejected time, in seconds since 1970.
    pub seconds: i64,
}

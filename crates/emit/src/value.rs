//! What a point carries: a value that is a number by its type, and a time
//! that is in whole seconds by its type.

/// A value of a point: a whole number, or a number of thousandths.
///
/// There is no floating point and so no NaN and no infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(Repr);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repr {
    Integer(i64),
    Thousandths(i64),
}

impl Value {
    /// A whole number; what is above `i64::MAX`, which no TSD can store,
    /// becomes `i64::MAX`.
    #[must_use]
    pub fn from_u64(number: u64) -> Self {
        Value::from_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// A whole number.
    #[must_use]
    pub fn from_i64(number: i64) -> Self {
        Value(Repr::Integer(number))
    }

    /// So many thousandths: 12,500 are printed as `12.5`, 3 as `0.003`, 0 as
    /// `0`.
    #[must_use]
    pub fn from_thousandths(thousandths: i64) -> Self {
        Value(Repr::Thousandths(thousandths))
    }

    /// Whether the value is below 0.
    pub(crate) fn is_negative(self) -> bool {
        let (Repr::Integer(number) | Repr::Thousandths(number)) = self.0;
        number < 0
    }

    /// Appends the value in decimal: up to three decimals without trailing
    /// zeros, at most [`MAX_VALUE`] bytes.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        match self.0 {
            Repr::Integer(number) => write_integer(out, number),
            Repr::Thousandths(thousandths) => {
                let whole = thousandths / 1000;
                if thousandths < 0 && whole == 0 {
                    out.push(b'-');
                }
                write_integer(out, whole);
                let rest = (thousandths % 1000).unsigned_abs();
                if rest != 0 {
                    let digit = |n: u64| b'0' + (n % 10) as u8;
                    let decimals = [digit(rest / 100), digit(rest / 10), digit(rest)];
                    out.push(b'.');
                    out.extend_from_slice(trim_zeros(&decimals));
                }
            }
        }
    }
}

/// The longest printed value: `-9223372036854775.808`.
pub(crate) const MAX_VALUE: usize = 21;

fn write_integer(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The digits without the zeros at their end.
fn trim_zeros(mut digits: &[u8]) -> &[u8] {
    while let [head @ .., b'0'] = digits {
        digits = head;
    }
    digits
}

/// The time of a point, in whole seconds since 1970.
///
/// OpenTSDB stores seconds in 32 bits and takes a larger number for
/// milliseconds; tcollector wants at least two digits. So it is 10 to
/// 4,294,967,295 (the year 2106).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u32);

impl Timestamp {
    /// The first time that can be encoded.
    pub const MIN: Timestamp = Timestamp(10);
    /// The last time that can be encoded.
    pub const MAX: Timestamp = Timestamp(u32::MAX);

    /// Takes seconds since 1970-01-01 00:00 UTC.
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

/// A time that no TSD takes as seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{seconds} is no time in seconds that a TSD takes (10 to 4294967295)")]
pub struct TimestampError {
    /// The time that was refused.
    pub seconds: i64,
}

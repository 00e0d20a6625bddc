//! The numbers of `stat`, which are all of it but its first three fields.

use crate::cursor::Cursor;
use crate::error::{Error, Expected, File};
use crate::number;

/// The fields from 4 on: numbers, a space before each. They are read in one
/// loop, whatever their types, and the types are looked at afterwards: that is
/// a sixth fewer instructions than a parser for each field in turn.
pub(super) struct Numbers<'a> {
    text: &'a [u8],
    /// Which fields stood there with a minus sign: bit N for field N.
    negative: u64,
}

impl<'a> Numbers<'a> {
    #[inline(always)]
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, negative: 0 }
    }

    /// Reads as many `values` as there are and gives their number, which must
    /// not be below `required`. A negative one is stored as its 64 bits.
    #[inline(always)]
    pub(super) fn read(
        &mut self,
        at: &mut Cursor<'a>,
        values: &mut [u64],
        required: usize,
    ) -> Result<usize, Error> {
        for ((count, value), field) in values.iter_mut().enumerate().zip(4..) {
            match at.rest.split_first() {
                Some((b' ', rest)) => at.rest = rest,
                Some((b'\n', _)) if count >= required => return Ok(count),
                _ => return Err(at.error(field, Expected::Separator)),
            }
            match number::decimal(at.rest) {
                Ok((number, rest)) => {
                    *value = number;
                    at.rest = rest;
                }
                Err(Expected::Decimal) if SIGNED & (1 << field) != 0 => {
                    *value = at.number(field, number::negative)?.cast_unsigned();
                    self.negative |= 1 << field;
                }
                Err(expected) => return Err(at.error(field, expected)),
            }
        }
        Ok(values.len())
    }

    /// `value` as the type of a signed field.
    #[inline(always)]
    pub(super) fn signed<T: TryFrom<i64>>(&self, field: u8, value: u64) -> Result<T, Error> {
        let signed = value.cast_signed();
        // Bits that only look like a sign: the number is above i64::MAX.
        if signed < 0 && self.negative & (1 << field) == 0 {
            return Err(self.out_of_range(field));
        }
        T::try_from(signed).map_err(|_| self.out_of_range(field))
    }

    /// `value` as the type of a narrow field without a sign.
    #[inline(always)]
    pub(super) fn narrow(&self, field: u8, value: u64) -> Result<u32, Error> {
        u32::try_from(value).map_err(|_| self.out_of_range(field))
    }

    /// The error for a field that has been read; its place is looked for now.
    #[cold]
    fn out_of_range(&self, field: u8) -> Error {
        let state = memchr::memrchr(b')', self.text).map_or(0, |bracket| bracket + 2);
        // The state's space is the one before field 3.
        let place = memchr::memchr_iter(b' ', self.text.get(state..).unwrap_or_default())
            .nth(usize::from(field).saturating_sub(4))
            .map_or(0, |space| state + space + 1);
        Error::new(File::Stat, field, place, Expected::Range)
    }
}

/// The fields that may be negative: bit N for field N.
const SIGNED: u64 = {
    let fields = [4, 5, 6, 7, 8, 16, 17, 18, 19, 21, 38, 39, 44, 52];
    let mut mask = 0;
    let mut index = 0;
    while index < fields.len() {
        mask |= 1 << fields[index];
        index += 1;
    }
    mask
};

//! The numbers of `stat`, which are all of it but its first three fields.

use crate::cursor::Cursor;
use crate::error::{Error, Expected, ProcFile};
use crate::number;

/// The fields from 4 on: numbers, a space before each. They are read in one
/// loop, whatever their types, and the types are looked at afterwards: that is
/// a sixth fewer instructions than a parser for each field in turn.
pub(super) struct Numbers<'a> {
    text: &'a [u8],
    /// Which fields that may be negative were above `i64::MAX`: bit N for
    /// field N.
    too_large: u64,
}

impl<'a> Numbers<'a> {
    #[inline(always)]
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, too_large: 0 }
    }

    /// Reads all `values`, from field 4 on, and gives their number. From the
    /// eleven behind field 41 on the line may end.
    #[inline(always)]
    pub(super) fn read(&mut self, at: &mut Cursor<'a>, values: &mut [u64]) -> Result<usize, Error> {
        let Some((before, [rsslim, behind @ ..])) = values.split_at_mut_checked(RSSLIM - 4) else {
            return self.fields(at, values, 4);
        };
        let count = self.fields(at, before, 4)?;
        *rsslim = self.rsslim(at)?;
        Ok(count + 1 + self.fields(at, behind, RSSLIM as u8 + 1)?)
    }

    /// Field 25, which is `u64::MAX` for nearly every process.
    #[inline(always)]
    fn rsslim(&mut self, at: &mut Cursor<'a>) -> Result<u64, Error> {
        match at.rest.strip_prefix(b" 18446744073709551615") {
            Some(rest @ [b' ', ..]) => {
                at.rest = rest;
                Ok(u64::MAX)
            }
            _ => self.field(at, RSSLIM as u8),
        }
    }

    /// Reads as many `values` as there are, the first being field `first`, and
    /// gives their number. A negative one is stored as its 64 bits.
    #[inline(always)]
    fn fields(
        &mut self,
        at: &mut Cursor<'a>,
        values: &mut [u64],
        first: u8,
    ) -> Result<usize, Error> {
        let all = values.len();
        let mut left = values;
        loop {
            let read = at.common_fields(left);
            left = left.get_mut(read..).unwrap_or_default();
            let count = all - left.len();
            let Some((value, more)) = left.split_first_mut() else { return Ok(all) };
            // Fewer than 256 fields.
            let field = first + count as u8;
            if field > REQUIRED && at.rest.first() == Some(&b'\n') {
                return Ok(count);
            }
            *value = self.field(at, field)?;
            left = more;
        }
    }

    /// Any field, with the space before it.
    #[inline(always)]
    fn field(&mut self, at: &mut Cursor<'a>, field: u8) -> Result<u64, Error> {
        let signed = SIGNED & (1 << field) != 0;
        // `tpgid` of nearly every process that has no terminal.
        if signed && at.rest.starts_with(b" -1 ") {
            at.rest = at.rest.get(3..).unwrap_or_default();
            return Ok(u64::MAX);
        }
        at.byte(field, b' ', Expected::Separator)?;
        match number::decimal(at.rest) {
            Ok((number, rest)) => {
                at.rest = rest;
                if signed && number.cast_signed() < 0 {
                    self.too_large |= 1 << field;
                }
                Ok(number)
            }
            Err(Expected::Decimal) if signed => {
                Ok(at.number(field, number::negative)?.cast_unsigned())
            }
            Err(expected) => Err(at.error(field, expected)),
        }
    }

    /// Whether each of `values`, which begin with field 4, is one of its
    /// field's type. The types are not looked at while the fields are read:
    /// what is too large for one is so rare that all are checked at once.
    ///
    /// # Errors
    /// For the first that is none.
    #[inline(always)]
    pub(super) fn check(&self, values: &[u64]) -> Result<(), Error> {
        let value = |field: u8| values.get(usize::from(field) - 4).copied().unwrap_or(0);
        // Bits that the type has no place for.
        let excess_i32 = |field| value(field) ^ i64::from(value(field) as i32).cast_unsigned();
        let excess_u32 = |field| value(field) >> 32;
        // Only of the fields that were given.
        let too_large = self.too_large & ((1 << (4 + values.len())) - 1);
        let any = I32.map(excess_i32).into_iter().fold(too_large, |any, bits| any | bits);
        let any = U32.map(excess_u32).into_iter().fold(any, |any, bits| any | bits);
        if any == 0 {
            return Ok(());
        }
        let is_wrong = |&field: &u8| {
            too_large & (1 << field) != 0
                || I32.contains(&field) && excess_i32(field) != 0
                || U32.contains(&field) && excess_u32(field) != 0
        };
        Err(self.out_of_range((4..=52).find(is_wrong).unwrap_or(4)))
    }

    /// The error for a field that has been read; its place is looked for now.
    #[cold]
    fn out_of_range(&self, field: u8) -> Error {
        let state = memchr::memrchr(b')', self.text).map_or(0, |bracket| bracket + 2);
        // The state's space is the one before field 3.
        let place = memchr::memchr_iter(b' ', self.text.get(state..).unwrap_or_default())
            .nth(usize::from(field).saturating_sub(4))
            .map_or(0, |space| state + space + 1);
        Error::new(ProcFile::Stat, field, place, Expected::Range)
    }
}

const RSSLIM: usize = 25;
/// The last field that every kernel prints.
const REQUIRED: u8 = 41;
/// The fields that may be negative: bit N for field N.
const SIGNED: u64 = mask(&I32) | mask(&[16, 17, 18, 19, 21, 44]);
/// Those of them that have 32 bits.
const I32: [u8; 8] = [4, 5, 6, 7, 8, 38, 39, 52];
/// The fields without a sign that have 32 bits.
const U32: [u8; 3] = [9, 40, 41];

const fn mask(fields: &[u8]) -> u64 {
    let mut mask = 0;
    let mut index = 0;
    while index < fields.len() {
        mask |= 1 << fields[index];
        index += 1;
    }
    mask
}

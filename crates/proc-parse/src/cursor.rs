//! A place in a text, and what can be read there. Every parser walks with one.

use nom::Parser;

use crate::error::{Error, Expected, ProcFile};
use crate::number::{self, Field};

/// The rest of a text that began `len` bytes long.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    file: ProcFile,
    len: usize,
    pub(crate) rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    pub(crate) const fn new(file: ProcFile, text: &'a [u8]) -> Self {
        Self { file, len: text.len(), rest: text }
    }

    /// The error that `field` stops at this place. By value and inlined, so
    /// that no pointer to a cursor is ever taken and it stays in registers.
    #[inline(always)]
    pub(crate) fn error(self, field: u8, expected: Expected) -> Error {
        Error::new(self.file, field, self.len - self.rest.len(), expected)
    }

    #[inline(always)]
    pub(crate) fn number<T>(
        &mut self,
        field: u8,
        parse: impl FnOnce(&'a [u8]) -> number::Parsed<'a, T>,
    ) -> Result<T, Error> {
        match parse(self.rest) {
            Ok((value, rest)) => {
                self.rest = rest;
                Ok(value)
            }
            Err(expected) => Err(self.error(field, expected)),
        }
    }

    #[inline(always)]
    pub(crate) fn u64(&mut self, field: u8) -> Result<u64, Error> {
        // Not by way of `number`: a function passed by name is not inlined.
        match number::decimal(self.rest) {
            Ok((value, rest)) => {
                self.rest = rest;
                Ok(value)
            }
            Err(expected) => Err(self.error(field, expected)),
        }
    }

    #[inline(always)]
    pub(crate) fn i64(&mut self, field: u8) -> Result<i64, Error> {
        match number::signed(self.rest) {
            Ok((value, rest)) => {
                self.rest = rest;
                Ok(value)
            }
            Err(expected) => Err(self.error(field, expected)),
        }
    }

    /// Reads fields into `values`, a space before each, as long as they are of
    /// the common form, and gives how many. At the next one all is as it was.
    #[inline(always)]
    pub(crate) fn common_fields(&mut self, values: &mut [u64]) -> usize {
        let all = values.len();
        let mut left = values;
        loop {
            match (number::field(self.rest), &mut *left) {
                (Field::Two(first, second, rest), [one, other, ..]) => {
                    (*one, *other) = (first, second);
                    self.rest = rest;
                    left = left.get_mut(2..).unwrap_or_default();
                }
                (Field::Two(number, _, _), [value]) => {
                    *value = number;
                    self.rest = self.rest.get(2..).unwrap_or_default();
                    return all;
                }
                (Field::One(number, rest), [value, ..]) => {
                    *value = number;
                    self.rest = rest;
                    left = left.get_mut(1..).unwrap_or_default();
                }
                _ => return all - left.len(),
            }
        }
    }

    /// A number of a narrower type; one that does not fit is an error.
    #[inline(always)]
    pub(crate) fn narrow<T: TryFrom<i64>>(&mut self, field: u8) -> Result<T, Error> {
        let before = *self;
        let wide = self.i64(field)?;
        match T::try_from(wide) {
            Ok(value) => Ok(value),
            Err(_) => Err(before.error(field, Expected::Range)),
        }
    }

    /// Steps over `byte`, which must stand here.
    #[inline(always)]
    pub(crate) fn byte(&mut self, field: u8, byte: u8, expected: Expected) -> Result<(), Error> {
        match self.rest.split_first() {
            Some((&first, rest)) if first == byte => {
                self.rest = rest;
                Ok(())
            }
            _ => Err(self.error(field, expected)),
        }
    }

    /// Steps over `word`, which must stand here.
    #[inline(always)]
    pub(crate) fn keyword(&mut self, field: u8, word: &[u8]) -> Result<(), Error> {
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.error(field, Expected::Keyword)),
        }
    }

    /// What `parser` reads here. Where it fails, the error stands at the byte
    /// that it could not take.
    pub(crate) fn nom<T>(
        &mut self,
        field: u8,
        expected: Expected,
        mut parser: impl Parser<&'a [u8], Output = T, Error = nom::error::Error<&'a [u8]>>,
    ) -> Result<T, Error> {
        match parser.parse(self.rest) {
            Ok((rest, value)) => {
                self.rest = rest;
                Ok(value)
            }
            Err(error) => {
                let mut place = *self;
                if let nom::Err::Error(error) | nom::Err::Failure(error) = error {
                    place.rest = error.input;
                }
                Err(place.error(field, expected))
            }
        }
    }

    /// The next `N` bytes, if there are as many.
    #[inline(always)]
    pub(crate) fn chunk<const N: usize>(
        &mut self,
        field: u8,
        expected: Expected,
    ) -> Result<&'a [u8; N], Error> {
        match self.rest.split_first_chunk::<N>() {
            Some((chunk, rest)) => {
                self.rest = rest;
                Ok(chunk)
            }
            None => Err(self.error(field, expected)),
        }
    }

    /// A number of exactly eight hexadecimal digits.
    #[inline(always)]
    pub(crate) fn hex8(&mut self, field: u8) -> Result<u32, Error> {
        let read = self.rest.split_first_chunk::<8>();
        if let Some((digits, rest)) = read
            && let Some(value) = number::hex8(*digits)
        {
            self.rest = rest;
            return Ok(value);
        }
        Err(self.error(field, Expected::Hex))
    }

    /// A number of exactly four hexadecimal digits.
    #[inline(always)]
    pub(crate) fn hex4(&mut self, field: u8) -> Result<u16, Error> {
        let read = self.rest.split_first_chunk::<4>();
        if let Some((digits, rest)) = read
            && let Some(value) = number::hex4(*digits)
        {
            self.rest = rest;
            return Ok(value);
        }
        Err(self.error(field, Expected::Hex))
    }

    /// A number of exactly two hexadecimal digits.
    #[inline(always)]
    pub(crate) fn hex2(&mut self, field: u8) -> Result<u8, Error> {
        let read = self.rest.split_first_chunk::<2>();
        if let Some((digits, rest)) = read
            && let Some(value) = number::hex2(*digits)
        {
            self.rest = rest;
            return Ok(value);
        }
        Err(self.error(field, Expected::Hex))
    }

    /// Steps over all bytes up to the next space, unread.
    #[inline(always)]
    pub(crate) fn skip_word(&mut self) {
        while let Some((&byte, rest)) = self.rest.split_first()
            && byte != b' '
        {
            self.rest = rest;
        }
    }

    /// Steps over any number of spaces.
    #[inline(always)]
    pub(crate) fn skip_spaces(&mut self) {
        const SPACES: u64 = 0x2020_2020_2020_2020;
        while let Some(head) = self.rest.first_chunk::<8>() {
            let count = (u64::from_le_bytes(*head) ^ SPACES).trailing_zeros() / 8;
            self.rest = self.rest.get(count as usize..).unwrap_or_default();
            if count < 8 {
                return;
            }
        }
        while let Some((b' ', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
    }
}

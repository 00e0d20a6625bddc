//! The leaves of the grammars: numbers, fixed words and skipped text, each a nom
//! parser of its own.
//!
//! Words compare as a whole and skipped text is searched with memchr; nom's
//! `tag` and `take_till` go byte by byte.

use core::marker::PhantomData;

use nom::branch::alt;
use nom::combinator::value;
use nom::{Err, Mode, OutputMode, PResult, Parser};

use crate::error::{Expected, ParseError, ParseResult};

/// A nom parser of this crate that gives `T`.
pub(crate) trait Grammar<'a, T>: Parser<&'a [u8], Output = T, Error = ParseError> {}

impl<'a, T, P: Parser<&'a [u8], Output = T, Error = ParseError>> Grammar<'a, T> for P {}

/// A function as a parser. nom takes functions as they are, too, but without
/// inlining them, which doubles the instructions per field.
struct Inlined<F>(F);

#[inline(always)]
pub(crate) fn inlined<'a, T>(
    function: impl FnMut(&'a [u8]) -> ParseResult<'a, T>,
) -> impl Grammar<'a, T> {
    Inlined(function)
}

impl<'a, T, F: FnMut(&'a [u8]) -> ParseResult<'a, T>> Parser<&'a [u8]> for Inlined<F> {
    type Output = T;
    type Error = ParseError;

    #[inline(always)]
    fn process<M: OutputMode>(&mut self, input: &'a [u8]) -> PResult<M, &'a [u8], T, ParseError> {
        in_mode::<M, T>((self.0)(input))
    }
}

/// The result in the form of nom's output mode.
#[inline(always)]
fn in_mode<M: OutputMode, T>(result: ParseResult<'_, T>) -> PResult<M, &[u8], T, ParseError> {
    match result {
        Ok((rest, value)) => Ok((rest, M::Output::bind(|| value))),
        Err(Err::Error(error)) => Err(Err::Error(M::Error::bind(|| error))),
        Err(Err::Failure(error)) => Err(Err::Failure(error)),
        Err(Err::Incomplete(needed)) => Err(Err::Incomplete(needed)),
    }
}

/// The error that `expected` is missing at the start of `rest`.
#[inline(always)]
fn missing<T>(rest: &[u8], expected: Expected) -> ParseResult<'_, T> {
    Err(Err::Error(ParseError::new(rest, expected)))
}

/// Replaces the expected element in the errors of `parser`.
#[inline(always)]
pub(crate) fn expect<'a, T>(
    expected: Expected,
    mut parser: impl Grammar<'a, T>,
) -> impl Grammar<'a, T> {
    inlined(move |input| parser.parse_complete(input).or_else(|_| missing(input, expected)))
}

/// An unsigned decimal number that fits `T`.
#[inline(always)]
pub(crate) fn unsigned<'a, T: TryFrom<u64>>() -> impl Grammar<'a, T> {
    Unsigned::<T, false>(PhantomData)
}

/// [`unsigned`] for fields that are nearly always zero.
#[inline(always)]
pub(crate) fn zero_or_unsigned<'a>() -> impl Grammar<'a, u64> {
    Unsigned::<u64, true>(PhantomData)
}

struct Unsigned<T, const MOSTLY_ZERO: bool>(PhantomData<T>);

impl<'a, T: TryFrom<u64>, const MOSTLY_ZERO: bool> Parser<&'a [u8]> for Unsigned<T, MOSTLY_ZERO> {
    type Output = T;
    type Error = ParseError;

    #[inline(always)]
    fn process<M: OutputMode>(&mut self, input: &'a [u8]) -> PResult<M, &'a [u8], T, ParseError> {
        in_mode::<M, T>(match decimal::<MOSTLY_ZERO>(input) {
            Some((number, rest)) => match T::try_from(number) {
                Ok(number) => Ok((rest, number)),
                Err(_) => missing(input, Expected::Range),
            },
            None => no_decimal(input),
        })
    }
}

/// A decimal number, with a minus sign if it is negative, that fits `T`.
#[inline(always)]
pub(crate) fn signed<'a, T: TryFrom<i64>>() -> impl Grammar<'a, T> {
    Signed::<T, false>(PhantomData)
}

/// [`signed`] for fields that are nearly always zero.
#[inline(always)]
pub(crate) fn zero_or_signed<'a>() -> impl Grammar<'a, i64> {
    Signed::<i64, true>(PhantomData)
}

struct Signed<T, const MOSTLY_ZERO: bool>(PhantomData<T>);

impl<'a, T: TryFrom<i64>, const MOSTLY_ZERO: bool> Parser<&'a [u8]> for Signed<T, MOSTLY_ZERO> {
    type Output = T;
    type Error = ParseError;

    #[inline(always)]
    fn process<M: OutputMode>(&mut self, input: &'a [u8]) -> PResult<M, &'a [u8], T, ParseError> {
        in_mode::<M, T>(match (decimal::<MOSTLY_ZERO>(input), input.split_first()) {
            (Some((number, rest)), _) => match i64::try_from(number).map(T::try_from) {
                Ok(Ok(number)) => Ok((rest, number)),
                _ => missing(input, Expected::Range),
            },
            (None, Some((b'-', digits))) => negative(input, digits),
            _ => no_decimal(input),
        })
    }
}

#[inline(never)]
fn negative<'a, T: TryFrom<i64>>(input: &'a [u8], digits: &'a [u8]) -> ParseResult<'a, T> {
    let Some((number, rest)) = decimal::<false>(digits) else { return no_decimal(digits) };
    match 0_i64.checked_sub_unsigned(number).map(T::try_from) {
        Some(Ok(number)) => Ok((rest, number)),
        _ => missing(input, Expected::Range),
    }
}

/// The error for a text in which [`decimal`] finds no number.
#[cold]
#[inline(never)]
fn no_decimal<T>(input: &[u8]) -> ParseResult<'_, T> {
    let is_digit = input.first().is_some_and(u8::is_ascii_digit);
    missing(input, if is_digit { Expected::Range } else { Expected::Decimal })
}

/// The number at the start of `input`, and the rest.
#[inline(always)]
fn decimal<const MOSTLY_ZERO: bool>(input: &[u8]) -> Option<(u64, &[u8])> {
    if MOSTLY_ZERO
        && let Some((b'0', rest)) = input.split_first()
        && rest.first().is_some_and(|next| !next.is_ascii_digit())
    {
        return Some((0, rest));
    }
    let (number, len) = match input.first_chunk() {
        Some(head) => {
            let (number, len) = leading_digits(u64::from_le_bytes(*head));
            if len.wrapping_sub(1) < 7 {
                return Some((number, input.get(len..)?));
            }
            long_decimal(input)
        }
        None => short_decimal(input),
    };
    Some((number, input.get(len..).filter(|_| len > 0)?))
}

/// [`decimal`] for the last bytes of a text: the number and its length.
#[inline(never)]
fn short_decimal(input: &[u8]) -> (u64, usize) {
    let mut number = 0;
    let mut rest = input;
    while let Some((&byte, more)) = rest.split_first() {
        let digit = u64::from(byte).wrapping_sub(u64::from(b'0'));
        if digit > 9 {
            break;
        }
        number = number * 10 + digit;
        rest = more;
    }
    (number, input.len() - rest.len())
}

/// [`decimal`] for eight digits and more: the number and its length, longer than
/// the input if the number does not fit.
#[inline(never)]
fn long_decimal(input: &[u8]) -> (u64, usize) {
    const POWERS: [u64; 9] =
        [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
    let mut number = 0_u64;
    let mut total = 0;
    while let Some(rest) = input.get(total..) {
        let (digits, len) = match rest.first_chunk() {
            Some(head) => leading_digits(u64::from_le_bytes(*head)),
            None => short_decimal(rest),
        };
        if len == 0 {
            break;
        }
        let longer = number.checked_mul(POWERS.get(len).copied().unwrap_or(0));
        let Some(longer) = longer.and_then(|number| number.checked_add(digits)) else {
            return (0, usize::MAX);
        };
        number = longer;
        total += len;
        if len < 8 {
            break;
        }
    }
    (number, total)
}

/// The number that the first digits of a word form, lowest byte first, and how
/// many digits these are. Each step adds neighbors: digits to pairs, pairs to
/// fours, fours to the number.
#[inline(always)]
fn leading_digits(word: u64) -> (u64, usize) {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let digits = word ^ 0x3030_3030_3030_3030;
    // The high bit of each byte above 9. A carry comes only from such a byte.
    let others = (digits | digits.wrapping_add(0x7676_7676_7676_7676)) & HIGH_BITS;
    let len = others.trailing_zeros() / 8;
    // Leading zeros instead of the other bytes; anything if there are no digits.
    let digits = digits.wrapping_shl(64 - 8 * len);
    let pairs = digits.wrapping_mul(0xA01) >> 8 & 0x00FF_00FF_00FF_00FF;
    let fours = pairs.wrapping_mul(0x64_0001) >> 16 & 0x0000_FFFF_0000_FFFF;
    (fours.wrapping_mul(0x2710_0000_0001) >> 32, len as usize)
}

/// The value of each hexadecimal digit, `NO_DIGIT` for other bytes.
const HEX_DIGITS: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789ABCDEF"[value] as usize] = value as u8;
        values[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    values
};
const NO_DIGIT: u8 = 0x80;

/// A hexadecimal number of exactly `N` digits, at most 8.
#[inline(always)]
pub(crate) fn hex<'a, const N: usize>() -> impl Grammar<'a, u32> {
    Hex::<N>
}

struct Hex<const N: usize>;

impl<'a, const N: usize> Parser<&'a [u8]> for Hex<N> {
    type Output = u32;
    type Error = ParseError;

    #[inline(always)]
    fn process<M: OutputMode>(&mut self, input: &'a [u8]) -> PResult<M, &'a [u8], u32, ParseError> {
        const { assert!(N <= 8) };
        let Some((digits, rest)) = input.split_first_chunk::<N>() else {
            return in_mode::<M, u32>(missing(input, Expected::Hex));
        };
        let (mut number, mut all) = (0, 0);
        for &digit in digits {
            let value = HEX_DIGITS[usize::from(digit)];
            number = number << 4 | u32::from(value);
            all |= value;
        }
        in_mode::<M, u32>(match all & NO_DIGIT {
            0 => Ok((rest, number)),
            _ => missing(input, Expected::Hex),
        })
    }
}

/// [`hex`] of 8 digits, for columns that are nearly always zero.
#[inline(always)]
pub(crate) fn zero_or_hex<'a>() -> impl Grammar<'a, u32> {
    alt((value(0, word(b"00000000")), hex::<8>()))
}

/// A hexadecimal number of any length in 64 bits.
pub(crate) fn hex_u64<'a>() -> impl Grammar<'a, u64> {
    power_of_two_base::<4>(Expected::Hex)
}

/// An octal number of any length in 32 bits.
pub(crate) fn octal<'a>() -> impl Grammar<'a, u32> {
    nom::combinator::map_res(power_of_two_base::<3>(Expected::Decimal), u32::try_from)
}

/// A number of digits of the base `1 << BITS`, as many as there are, in 64 bits.
fn power_of_two_base<'a, const BITS: u32>(expected: Expected) -> impl Grammar<'a, u64> {
    inlined(move |input: &'a [u8]| {
        let mut number = 0_u64;
        let mut rest = input;
        while let Some((&byte, more)) = rest.split_first() {
            let value = HEX_DIGITS[usize::from(byte)];
            if value >> BITS != 0 {
                break;
            }
            if number >> (u64::BITS - BITS) != 0 {
                return missing(input, Expected::Range);
            }
            number = number << BITS | u64::from(value);
            rest = more;
        }
        if rest.len() < input.len() { Ok((rest, number)) } else { missing(input, expected) }
    })
}

/// A fixed word.
#[inline(always)]
pub(crate) fn word<'a, const N: usize>(word: &'static [u8; N]) -> impl Grammar<'a, ()> {
    inlined(move |input: &'a [u8]| match input.split_first_chunk::<N>() {
        Some((start, rest)) if start == word => Ok((rest, ())),
        _ => missing(input, Expected::Keyword),
    })
}

/// One space.
#[inline(always)]
pub(crate) fn space<'a>() -> impl Grammar<'a, ()> {
    byte(b' ')
}

/// A given byte between two fields.
#[inline(always)]
pub(crate) fn byte<'a>(byte: u8) -> impl Grammar<'a, ()> {
    inlined(move |input: &'a [u8]| match input.split_first() {
        Some((&first, rest)) if first == byte => Ok((rest, ())),
        _ => missing(input, Expected::Separator),
    })
}

/// The end of a line.
#[inline(always)]
pub(crate) fn line_end<'a>() -> impl Grammar<'a, ()> {
    inlined(|input: &'a [u8]| match input.split_first() {
        Some((b'\n', rest)) => Ok((rest, ())),
        _ => missing(input, Expected::LineEnd),
    })
}

/// Any one byte except the end of the line.
#[inline(always)]
pub(crate) fn letter<'a>() -> impl Grammar<'a, u8> {
    inlined(|input: &'a [u8]| match input.split_first() {
        Some((&letter, rest)) if letter != b'\n' => Ok((rest, letter)),
        _ => missing(input, Expected::Character),
    })
}

/// Any number of spaces.
#[inline(always)]
pub(crate) fn spaces<'a>() -> impl Grammar<'a, ()> {
    inlined(parse_spaces)
}

#[inline(always)]
fn parse_spaces(input: &[u8]) -> ParseResult<'_, ()> {
    let mut rest = input;
    // Tables pad their columns: eight at a time.
    while let Some(head) = rest.first_chunk() {
        let others = u64::from_le_bytes(*head) ^ u64::from_le_bytes([b' '; 8]);
        let len = others.trailing_zeros() as usize / 8;
        rest = rest.get(len..).unwrap_or_default();
        if len < 8 {
            return Ok((rest, ()));
        }
    }
    while let Some((b' ', more)) = rest.split_first() {
        rest = more;
    }
    Ok((rest, ()))
}

/// A space and a field.
#[inline(always)]
pub(crate) fn after_space<'a, T>(field: impl Grammar<'a, T>) -> impl Grammar<'a, T> {
    nom::sequence::preceded(space(), field)
}

/// The bytes before the next `byte`, or all of them.
#[inline(always)]
pub(crate) fn until<'a>(byte: u8) -> impl Grammar<'a, &'a [u8]> {
    inlined(move |input: &'a [u8]| {
        let len = memchr::memchr(byte, input).unwrap_or(input.len());
        let (taken, rest) = input.split_at_checked(len).unwrap_or((input, &[]));
        Ok((rest, taken))
    })
}

/// A skipped field: one byte or more, up to a space, a line end or another control
/// character.
#[inline(always)]
pub(crate) fn skipped<'a>() -> impl Grammar<'a, ()> {
    inlined(parse_skipped)
}

#[inline(always)]
fn parse_skipped(input: &[u8]) -> ParseResult<'_, ()> {
    let mut rest = input;
    while let Some((&byte, more)) = rest.split_first()
        && byte > b' '
    {
        rest = more;
    }
    if rest.len() < input.len() { Ok((rest, ())) } else { missing(input, Expected::Character) }
}

/// `N` skipped bytes of a column that has a fixed width.
#[inline(always)]
pub(crate) fn skipped_column<'a, const N: usize>() -> impl Grammar<'a, ()> {
    inlined(|input: &'a [u8]| match input.split_first_chunk::<N>() {
        Some((_, rest)) => Ok((rest, ())),
        None => missing(input, Expected::Hex),
    })
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;
    use std::string::String;

    use super::*;

    /// The value and the rest, or the expected element.
    fn result<'a, T>(
        mut leaf: impl Grammar<'a, T>,
        text: &'a [u8],
    ) -> Result<(T, &'a [u8]), Expected> {
        match leaf.parse_complete(text) {
            Ok((rest, value)) => Ok((value, rest)),
            Err(Err::Error(error)) => Err(error.expected()),
            Err(error) => panic!("{error}"),
        }
    }

    fn reference(text: &str) -> Result<u64, Expected> {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        if digits.is_empty() {
            return Err(Expected::Decimal);
        }
        digits.parse().map_err(|_| Expected::Range)
    }

    #[test]
    fn decimals_of_all_lengths_and_delimiters() {
        let digits = "98765432109876543210987654";
        for start in 0..digits.len() {
            for end in start..=digits.len() {
                for delimiter in [0_u8, b' ', b'\n', b'/', b':', b'-', b'0' + 0x40, 0x7F, 0xFF] {
                    for more in ["", "1234567", "        9", "00000000000000000000"] {
                        let mut text = format!("{}_{more}", &digits[start..end]).into_bytes();
                        text[end - start] = delimiter;
                        let number = result(unsigned::<u64>(), &text);
                        assert_eq!(result(zero_or_unsigned(), &text), number);
                        let expected = reference(&digits[start..end]);
                        assert_eq!(number.map(|(number, _)| number), expected, "{text:?}");
                        if let Ok((_, rest)) = number {
                            assert_eq!(rest, &text[end - start..], "{text:?}");
                        }
                    }
                }
                let text = &digits[start..end];
                let number = result(unsigned::<u64>(), text.as_bytes());
                assert_eq!(number.map(|(number, _)| number), reference(text));
            }
        }
    }

    #[test]
    fn limits_of_ranges() {
        let ok = |value| Ok((value, &b" "[..]));
        assert_eq!(result(unsigned(), b"18446744073709551615 "), ok(u64::MAX));
        assert_eq!(result(unsigned::<u64>(), b"18446744073709551616 "), Err(Expected::Range));
        assert_eq!(result(unsigned(), b"0000000000000000000000018 "), ok(18_u64));
        assert_eq!(result(unsigned::<u8>(), b"256 "), Err(Expected::Range));
        let ok = |value| Ok((value, &b" "[..]));
        assert_eq!(result(signed(), b"9223372036854775807 "), ok(i64::MAX));
        assert_eq!(result(signed::<i64>(), b"9223372036854775808 "), Err(Expected::Range));
        assert_eq!(result(signed(), b"-9223372036854775808 "), ok(i64::MIN));
        assert_eq!(result(signed::<i64>(), b"-9223372036854775809 "), Err(Expected::Range));
        assert_eq!(result(signed::<i32>(), b"-2147483649 "), Err(Expected::Range));
        assert_eq!(result(signed::<i64>(), b"--1 "), Err(Expected::Decimal));
        assert_eq!(result(signed::<i64>(), b"- "), Err(Expected::Decimal));
        assert_eq!(result(octal(), b"037777777777"), Ok((u32::MAX, &b""[..])));
        assert_eq!(result(octal(), b"040000000000"), Err(Expected::Range));
        assert_eq!(result(octal(), b"8"), Err(Expected::Decimal));
    }

    #[test]
    fn hexadecimal_digits() {
        for place in 0..8 {
            for byte in 0..=255_u8 {
                let mut text = *b"12aB0fF9";
                text[place] = byte;
                let expected = std::str::from_utf8(&text)
                    .ok()
                    .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))
                    .map(|text| u32::from_str_radix(text, 16).unwrap());
                let number = result(hex::<8>(), &text).ok().map(|(number, _)| number);
                assert_eq!(number, expected, "{:?}", text.escape_ascii());
            }
        }
        assert_eq!(result(hex::<4>(), b"1F90:"), Ok((8080, &b":"[..])));
        assert_eq!(result(hex::<2>(), b"0"), Err(Expected::Hex));
        assert_eq!(result(zero_or_hex(), b"000000000"), Ok((0, &b"0"[..])));
        assert_eq!(result(zero_or_hex(), b"0000000a0"), Ok((10, &b"0"[..])));
        assert_eq!(result(hex_u64(), b"000001fffeffffff\n"), Ok((0x01ff_feff_ffff, &b"\n"[..])));
        assert_eq!(result(hex_u64(), b"ffffffffffffffff"), Ok((u64::MAX, &b""[..])));
        assert_eq!(result(hex_u64(), b"1ffffffffffffffff"), Err(Expected::Range));
        assert_eq!(result(hex_u64(), b"g"), Err(Expected::Hex));
    }

    #[test]
    fn spaces_of_all_lengths() {
        for count in 0..20 {
            for rest in ["", "x", "-123456789"] {
                let text = format!("{:count$}{rest}", "");
                assert_eq!(result(spaces(), text.as_bytes()), Ok(((), rest.as_bytes())));
            }
        }
    }
}

//! Leaf parsers: decimal and hexadecimal numbers, eight digits at a time.
//!
//! The kernel's files are numbers for the most part, so this is where parsing
//! spends its time. Eight bytes are taken as one word, the end of the number in
//! it is found with one mask, and two multiplications add the digits up; there
//! is no branch a digit, whose number differs from field to field.

use crate::error::Expected;

/// A number and what follows it.
pub(crate) type Parsed<'a, T> = Result<(T, &'a [u8]), Expected>;

const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
/// Eight times the character `0`.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// How many bytes of `word`, from the first (lowest) one on, may be digits: 0 to
/// 8. What the kernel puts behind a number (space, tab, line end) lacks the bit
/// that all digits have. Where the next field begins hangs on this alone, so it
/// is as short as can be; whether they *are* digits, [`all_digits`] says
/// meanwhile.
#[inline(always)]
const fn length(word: u64) -> u32 {
    (!word & 0x1010_1010_1010_1010).trailing_zeros() / 8
}

/// Whether each byte is 0 to 9.
#[inline(always)]
const fn all_digits(digits: u64) -> bool {
    other_than_digits(digits) & HIGH_BITS == 0
}

/// The high bit of each byte that is not 0 to 9, among other bits.
#[inline(always)]
const fn other_than_digits(digits: u64) -> u64 {
    // From 10 on the high bit is set, in the byte or by adding 0x76. A carry
    // comes only out of a byte that is too large anyway.
    digits | digits.wrapping_add(0x7676_7676_7676_7676)
}

/// The number that eight digits make, first digit in the lowest byte: each
/// step joins neighbours, digits to pairs, pairs to fours, fours to the number.
#[inline(always)]
const fn sum_of_eight(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(0xA01) >> 8 & 0x00FF_00FF_00FF_00FF;
    let fours = pairs.wrapping_mul(0x64_0001) >> 16 & 0x0000_FFFF_0000_FFFF;
    fours.wrapping_mul(0x2710_0000_0001) >> 32
}

/// An unsigned decimal number at the head of `text`. Fails with
/// [`Expected::Decimal`] where no digit stands and with [`Expected::Range`]
/// above `u64::MAX`.
#[inline(always)]
pub(crate) fn decimal(text: &[u8]) -> Parsed<'_, u64> {
    let Some((head, rest)) = text.split_first_chunk::<8>() else {
        return decimal_at_end(text, 0, 0);
    };
    let word = u64::from_le_bytes(*head);
    // Half of what `stat` prints is a single 0. A branch for one digit lets
    // the processor go on with the next field before this one is done.
    let first = (word & 0xFF) ^ 0x30;
    if first <= 9 && (word >> 8) & 0x10 == 0 {
        return Ok((first, text.get(1..).unwrap_or_default()));
    }
    let digits = word ^ ZEROS;
    match length(word) {
        0 => Err(Expected::Decimal),
        8 if all_digits(digits) => decimal_tail(rest, sum_of_eight(digits)),
        8 => decimal_at_end(text, 0, 0),
        count => {
            // Move the digits to the top, so that zeros lead them.
            let digits = digits << (64 - 8 * count);
            if !all_digits(digits) {
                return decimal_at_end(text, 0, 0);
            }
            Ok((sum_of_eight(digits), text.get(count as usize..).unwrap_or_default()))
        }
    }
}

/// What follows the first eight digits.
#[inline(always)]
fn decimal_tail(text: &[u8], first: u64) -> Parsed<'_, u64> {
    const POWERS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];
    let Some((head, rest)) = text.split_first_chunk::<8>() else {
        return decimal_at_end(text, first, 8);
    };
    let word = u64::from_le_bytes(*head);
    let count = length(word);
    if count == 0 {
        return Ok((first, text));
    }
    let digits = (word ^ ZEROS) << (64 - 8 * count);
    if !all_digits(digits) {
        return decimal_at_end(text, first, 8);
    }
    // No overflow: 16 digits at most.
    match POWERS.get(count as usize) {
        Some(power) => Ok((
            first * power + sum_of_eight(digits),
            text.get(count as usize..).unwrap_or_default(),
        )),
        None => decimal_at_end(rest, first * 100_000_000 + sum_of_eight(digits), 16),
    }
}

/// A field at the head of a text, with the space before it, and what follows.
pub(crate) enum Field<'a> {
    /// Two fields of one digit each, such as ` 7 0`. Half of what `stat` prints
    /// is a single 0.
    Two(u64, u64, &'a [u8]),
    /// One field.
    One(u64, &'a [u8]),
    /// Whatever else stands here.
    Other,
}

/// The field that `text` begins with. This takes what is common; a sign, more
/// than 15 digits, what is at the text's end and what is no field at all is
/// [`Field::Other`].
#[inline(always)]
pub(crate) fn field(text: &[u8]) -> Field<'_> {
    let Some((head, rest)) = text.split_first_chunk::<8>() else {
        // The last one of `stat`, `exit_code`, is 0 most of the time.
        return match text {
            [b' ', digit @ b'0'..=b'9', b'\n', ..] => {
                Field::One(u64::from(digit - b'0'), text.get(2..).unwrap_or_default())
            }
            _ => Field::Other,
        };
    };
    let word = u64::from_le_bytes(*head);
    if word as u8 != b' ' {
        return Field::Other;
    }
    // The space becomes a leading 0.
    let digits = word ^ u64::from_le_bytes(*b" 0000000");
    // Bit 4 of the first byte behind the digits; 63 for seven digits and more.
    // Where the next field begins hangs on this, so nothing comes before it.
    let end = (digits & 0x1010_1010_1010_1000 | 1 << 63).trailing_zeros();
    if end == 20 {
        return match two_single_digits(digits) {
            Some((first, second)) => Field::Two(first, second, text.get(4..).unwrap_or_default()),
            None if digits >> 8 & 0xFF <= 9 => {
                Field::One(digits >> 8 & 0xFF, text.get(2..).unwrap_or_default())
            }
            None => Field::Other,
        };
    }
    if end < 20 {
        return Field::Other;
    }
    if end == 63 {
        return long_field(digits, rest);
    }
    // So that the digits are at the top, and zeros lead them.
    let digits = digits << (68 - end);
    if !all_digits(digits) {
        return Field::Other;
    }
    // Below 8, as the compiler sees.
    let width = ((end / 8) & 7) as usize;
    Field::One(sum_of_eight(digits), text.get(width..).unwrap_or_default())
}

/// A space and the digit of a field, a space and the digit of the next, and
/// then no further digit. Spaces are 0 already, digits 0 to 9.
#[inline(always)]
const fn two_single_digits(digits: u64) -> Option<(u64, u64)> {
    // The second space was taken for a digit's place; `0` and space differ in
    // bit 4 alone.
    let fields = digits ^ 0x0000_0000_0010_0000;
    // 6 more take what is no digit to bit 4. What follows must lack that bit,
    // which was turned over with the rest.
    let wrong = fields | fields.wrapping_add(0x0000_0000_0600_0600);
    if (wrong ^ 0x0000_0010_0000_0000) & 0x0000_0010_F0FF_F0FF != 0 {
        return None;
    }
    Some((fields >> 8 & 0xF, fields >> 24 & 0xF))
}

/// A field of seven digits and more, of which the first seven are the upper
/// bytes of `digits`, and `rest` is what follows them.
#[inline(always)]
fn long_field(digits: u64, rest: &[u8]) -> Field<'_> {
    const POWERS: [u64; 9] =
        [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
    // One byte more than is added up, to see that no digit follows.
    let Some((next, _)) = rest.split_first_chunk::<9>() else { return Field::Other };
    let [next @ .., behind] = *next;
    let word = u64::from_le_bytes(next);
    let count = length(word);
    let seven = sum_of_eight(digits);
    if count == 0 {
        return if all_digits(digits) { Field::One(seven, rest) } else { Field::Other };
    }
    let more = (word ^ ZEROS) << (64 - 8 * count);
    if (other_than_digits(digits) | other_than_digits(more)) & HIGH_BITS != 0
        || count == 8 && behind & 0x10 != 0
    {
        return Field::Other;
    }
    // 15 digits at most.
    let count = count as usize;
    let value = seven * POWERS.get(count).copied().unwrap_or(0) + sum_of_eight(more);
    Field::One(value, rest.get(count..).unwrap_or_default())
}

/// The number that up to eight digits make, and what follows them, which may be
/// further digits: the caller looks for what has to stand there. A text of less
/// than eight bytes is `None`. This is [`decimal`] without its branches, for
/// numbers that are seldom a single digit and never at a text's end.
#[inline(always)]
pub(crate) fn up_to_eight(text: &[u8]) -> Option<(u64, &[u8])> {
    let word = u64::from_le_bytes(*text.first_chunk::<8>()?);
    let count = length(word);
    // So that the digits are at the top, and zeros lead them. Where there is
    // none nothing is shifted out, and the first byte fails.
    let digits = (word ^ ZEROS).wrapping_shl(64 - 8 * count);
    if !all_digits(digits) {
        return None;
    }
    Some((sum_of_eight(digits), text.get(count as usize..)?))
}

/// The number that all of `digits` make, where these are `text`'s bytes from 8
/// to before its last one.
#[inline(always)]
pub(crate) fn between(text: &[u8]) -> Option<u64> {
    let inner = text.len().checked_sub(9)?;
    last_digits(text.get(..8 + inner)?, inner)
}

/// The number that the last `count` bytes of `text` make, all of them digits.
/// `None` also for a text of less than eight bytes, which are loaded whatever
/// the count is.
#[inline(always)]
pub(crate) fn last_digits(text: &[u8], count: usize) -> Option<u64> {
    let last = text.last_chunk::<8>()?;
    if count == 0 || count > 8 {
        return match decimal(text.get(text.len().checked_sub(count)?..)?) {
            Ok((value, [])) => Some(value),
            _ => None,
        };
    }
    // Out with the bytes before the digits: zeros lead them.
    let before = 64 - 8 * count;
    let digits = (u64::from_le_bytes(*last) ^ ZEROS) >> before << before;
    if all_digits(digits) { Some(sum_of_eight(digits)) } else { None }
}

/// Digit by digit, with each step checked: for the end of a text, for numbers of
/// 16 digits and more, and for those that an unusual byte follows. `before`
/// digits have been read already.
#[inline(never)]
fn decimal_at_end(text: &[u8], first: u64, before: usize) -> Parsed<'_, u64> {
    let mut value = first;
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(digit)))
            .ok_or(Expected::Range)?;
        rest = after;
    }
    if before == 0 && rest.len() == text.len() {
        return Err(Expected::Decimal);
    }
    Ok((value, rest))
}

/// A decimal number that may carry a minus sign.
#[inline(always)]
pub(crate) fn signed(text: &[u8]) -> Parsed<'_, i64> {
    match decimal(text) {
        Ok((value, rest)) => match i64::try_from(value) {
            Ok(value) => Ok((value, rest)),
            Err(_) => Err(Expected::Range),
        },
        Err(Expected::Decimal) => negative(text),
        Err(expected) => Err(expected),
    }
}

/// A minus sign and a decimal number.
#[inline(never)]
pub(crate) fn negative(text: &[u8]) -> Parsed<'_, i64> {
    let (value, rest) = decimal(text.strip_prefix(b"-").ok_or(Expected::Decimal)?)?;
    match 0_i64.checked_sub_unsigned(value) {
        Some(value) => Ok((value, rest)),
        None => Err(Expected::Range),
    }
}

/// Exactly eight hexadecimal digits of either case, as `%08X` prints a u32.
#[inline(always)]
pub(crate) const fn hex8(text: [u8; 8]) -> Option<u32> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_le_bytes(text);
    if word & HIGH_BITS != 0 {
        return None;
    }
    // Per byte, with bytes below 0x80: bit 7 of (b + 0x80 - low) says
    // "at least low", and no sum carries into the next byte.
    let lower = word | (ONES * 0x20);
    let digit = (word + ONES * (0x80 - 0x30)) & !(word + ONES * (0x80 - 0x3A));
    let letter = (lower + ONES * (0x80 - 0x61)) & !(lower + ONES * (0x80 - 0x67));
    if (digit | letter) & HIGH_BITS != HIGH_BITS {
        return None;
    }
    // The low four bits, plus 9 for letters, whose bit 6 is set.
    let nibbles = (word & (ONES * 0x0F)) + ((word >> 6) & ONES) * 9;
    // Join neighbours: nibbles to bytes, bytes to words, words to the number.
    let bytes = ((nibbles << 4) | (nibbles >> 8)) & 0x00FF_00FF_00FF_00FF;
    let words = ((bytes << 8) | (bytes >> 16)) & 0x0000_FFFF_0000_FFFF;
    // The lower half is the number.
    Some(((words << 16) | (words >> 32)) as u32)
}

/// [`hex8`] for columns that hold 0 most of the time.
#[inline(always)]
pub(crate) const fn zero_or_hex8(text: [u8; 8]) -> Option<u32> {
    if u64::from_le_bytes(text) == ZEROS { Some(0) } else { hex8(text) }
}

/// Exactly four hexadecimal digits, as `%04X` prints a u16.
#[inline(always)]
pub(crate) const fn hex4(text: [u8; 4]) -> Option<u16> {
    let [a, b, c, d] = text;
    match hex8([b'0', b'0', b'0', b'0', a, b, c, d]) {
        Some(value) => Some(value as u16),
        None => None,
    }
}

/// Exactly two hexadecimal digits, as `%02X` prints a u8.
#[inline(always)]
pub(crate) const fn hex2(text: [u8; 2]) -> Option<u8> {
    let [high, low] = text;
    match (hex_digit(high), hex_digit(low)) {
        (high @ 0..16, low @ 0..16) => Some(high << 4 | low),
        _ => None,
    }
}

/// What a hexadecimal digit stands for; 16 and more for any other byte.
#[inline(always)]
const fn hex_digit(byte: u8) -> u8 {
    let digit = byte.wrapping_sub(b'0');
    if digit <= 9 {
        return digit;
    }
    let letter = (byte | 0x20).wrapping_sub(b'a');
    if letter < 6 { letter + 10 } else { 16 }
}

/// A hexadecimal number of one digit or more that fits 64 bits.
pub(crate) fn hex(text: &[u8]) -> Parsed<'_, u64> {
    let mut value = 0_u64;
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let Some(digit) = (byte as char).to_digit(16) else { break };
        if value >> 60 != 0 {
            return Err(Expected::Range);
        }
        value = (value << 4) | u64::from(digit);
        rest = after;
    }
    if rest.len() == text.len() { Err(Expected::Hex) } else { Ok((value, rest)) }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;
    use std::string::String;

    use super::*;

    /// Digit by digit with `str::parse`.
    fn slow(text: &str) -> Result<u64, Expected> {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        if digits.is_empty() {
            return Err(Expected::Decimal);
        }
        digits.parse().map_err(|_| Expected::Range)
    }

    #[test]
    fn decimals_of_every_length_end_at_every_byte() {
        let digits = "98765432109876543210987654";
        for start in 0..digits.len() {
            for end in start..=digits.len() {
                for behind in [0_u8, b' ', b'\n', b'/', b':', b'-', b'0' + 0x40, 0x7F] {
                    for more in ["", "1234567", "        9", "00000000000000000000"] {
                        let text = format!("{}{}{more}", &digits[start..end], behind as char);
                        let read = decimal(text.as_bytes());
                        assert_eq!(read.map(|(value, _)| value), slow(&text), "{text:?}");
                        if let Ok((_, rest)) = read {
                            assert_eq!(rest.len(), text.len() - (end - start), "{text:?}");
                        }
                    }
                }
                let text = &digits[start..end];
                assert_eq!(decimal(text.as_bytes()).map(|(value, _)| value), slow(text));
            }
        }
    }

    #[test]
    fn decimals_at_the_edge_of_their_range() {
        let ok = |value| Ok((value, &b" "[..]));
        assert_eq!(decimal(b"18446744073709551615 "), ok(u64::MAX));
        assert_eq!(decimal(b"18446744073709551616 "), Err(Expected::Range));
        assert_eq!(decimal(b"0000000000000000000000018 "), ok(18));
        let ok = |value| Ok((value, &b" "[..]));
        assert_eq!(signed(b"9223372036854775807 "), ok(i64::MAX));
        assert_eq!(signed(b"9223372036854775808 "), Err(Expected::Range));
        assert_eq!(signed(b"-9223372036854775808 "), ok(i64::MIN));
        assert_eq!(signed(b"-9223372036854775809 "), Err(Expected::Range));
        assert_eq!(signed(b"--1 "), Err(Expected::Decimal));
        assert_eq!(signed(b"- "), Err(Expected::Decimal));
    }

    #[test]
    fn hexadecimals_take_these_digits_and_no_other_byte() {
        for place in 0..8 {
            for byte in 0..=255_u8 {
                let mut text = *b"12aB0fF9";
                text[place] = byte;
                let slow = std::str::from_utf8(&text)
                    .ok()
                    .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))
                    .map(|text| u32::from_str_radix(text, 16).unwrap());
                assert_eq!(hex8(text), slow, "{:?}", text.escape_ascii());
            }
        }
        assert_eq!((hex4(*b"1F90"), hex2(*b"0A")), (Some(8080), Some(10)));
        assert_eq!((hex4(*b"1F9 "), hex2(*b":A")), (None, None));
        assert_eq!(hex(b"000001fffeffffff\n"), Ok((0x01ff_feff_ffff, &b"\n"[..])));
        assert_eq!(hex(b"ffffffffffffffff"), Ok((u64::MAX, &b""[..])));
        assert_eq!(hex(b"1ffffffffffffffff"), Err(Expected::Range));
        assert_eq!(hex(b"g"), Err(Expected::Hex));
    }
}

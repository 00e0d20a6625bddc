//! A command line as the characters that Python would decode.
//!
//! Python decodes it as UTF-8 with `surrogateescape`: each byte that is not part
//! of valid UTF-8 is one character, U+DC80 to U+DCFF. Here the bytes stay
//! unchanged, and characters are decoded in place when they are needed.

use super::class::is_word;

/// The characters of a text; each byte that is not part of valid UTF-8
/// separately.
pub(crate) fn characters(text: &[u8]) -> impl Iterator<Item = Result<char, u8>> + '_ {
    text.utf8_chunks().flat_map(|chunk| {
        chunk.valid().chars().map(Ok).chain(chunk.invalid().iter().copied().map(Err))
    })
}

/// The character that starts at byte `at`, and its length in bytes.
///
/// `at` must be the start of a character.
pub(crate) fn decode(text: &[u8], at: usize) -> Option<(u32, usize)> {
    let first = *text.get(at)?;
    if first < 0x80 {
        return Some((u32::from(first), 1));
    }
    let len = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Some((surrogateescaped(first), 1)),
    };
    let valid = text.get(at..at + len).and_then(|b| std::str::from_utf8(b).ok());
    match valid.and_then(|s| s.chars().next()) {
        Some(c) => Some((u32::from(c), len)),
        None => Some((surrogateescaped(first), 1)),
    }
}

/// The character that ends at byte `end`, and its length in bytes.
///
/// The boundaries equal those of [`decode`], because the first byte of a
/// sequence is never part of another sequence.
pub(crate) fn decode_last(text: &[u8], end: usize) -> Option<(u32, usize)> {
    let last = *text.get(..end)?.last()?;
    if last < 0x80 {
        return Some((u32::from(last), 1));
    }
    for len in 2..=4 {
        let Some(at) = end.checked_sub(len) else { break };
        if let Some(decoded) = decode(text, at).filter(|d| d.1 == len) {
            return Some(decoded);
        }
    }
    Some((surrogateescaped(last), 1))
}

/// The character that `surrogateescape` decodes a byte to.
pub(super) fn surrogateescaped(byte: u8) -> u32 {
    0xdc00 + u32::from(byte)
}

/// The kind of a text, which determines the engines that can match it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextKind {
    Ascii,
    /// UTF-8 for which `regex` and Python agree about word characters.
    CommonUnicode,
    /// Any other text, UTF-8 or not.
    Other,
}

impl TextKind {
    pub(crate) fn classify(text: &[u8]) -> Self {
        if text.is_ascii() {
            return Self::Ascii;
        }
        let Ok(text) = std::str::from_utf8(text) else { return Self::Other };
        let is_common = text.chars().filter(|c| !c.is_ascii()).all(|c| {
            regex_syntax::try_is_word_character(c)
                .is_ok_and(|word| word == is_word(u32::from(c), false))
        });
        if is_common { Self::CommonUnicode } else { Self::Other }
    }
}

/// Appends `text` in a form in which each character is a sequence of bytes that
/// is not part of another character: unchanged, except that a byte that is not
/// UTF-8 becomes the three bytes that U+DC80 to U+DCFF would have.
pub(crate) fn encode(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        for byte in chunk.invalid() {
            out.extend_from_slice(&[0xed, 0xb0 | (byte >> 6), 0x80 | (byte & 0x3f)]);
        }
    }
}

/// The byte offset in `text` that corresponds to byte `at` of its encoded form.
pub(crate) fn decoded_offset(text: &[u8], at: usize) -> usize {
    let (mut offset, mut encoded_offset) = (0, 0);
    while encoded_offset < at {
        let Some((c, len)) = decode(text, offset) else { break };
        offset += len;
        encoded_offset += if (0xdc80..=0xdcff).contains(&c) { 3 } else { len };
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The reference: the standard library's chunks.
    fn reference(text: &[u8]) -> Vec<u32> {
        characters(text).map(|c| c.map_or_else(|b| 0xdc00 + u32::from(b), u32::from)).collect()
    }

    proptest! {
        #[test]
        fn decodes_the_same_in_both_directions(
            text in prop::collection::vec(
                prop_oneof![
                    any::<u8>(),
                    prop::sample::select(&b"\xe2\x82\xac\xc3\xa9\xf0\x9f\x98\x80\xed\xb2aA"[..]),
                ],
                0..20,
            )
        ) {
            let expected = reference(&text);
            let (mut at, mut forwards) = (0, Vec::new());
            while let Some((c, len)) = decode(&text, at) {
                forwards.push(c);
                at += len;
            }
            prop_assert_eq!(&forwards, &expected);
            let (mut end, mut backwards) = (text.len(), Vec::new());
            while let Some((c, len)) = decode_last(&text, end) {
                backwards.push(c);
                end -= len;
            }
            backwards.reverse();
            prop_assert_eq!(&backwards, &expected);
            let mut encoded = Vec::new();
            encode(&text, &mut encoded);
            prop_assert_eq!(decoded_offset(&text, encoded.len()), text.len());
        }
    }
}

//! A command line as the characters that Python would see.
//!
//! Python reads it as UTF-8 with `surrogateescape`: each byte that is not part
//! of valid UTF-8 is one character, U+DC80 to U+DCFF. Here the bytes stay as
//! they are, and whoever needs characters decodes them in place.

/// The character that begins at byte `at`, and how many bytes it has.
///
/// `at` must be where a character begins.
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

/// The character that ends at byte `end`, and how many bytes it has.
///
/// It is the same cut into characters as [`decode`] makes: the first byte of
/// a sequence never is a part of another one.
pub(crate) fn decode_last(text: &[u8], end: usize) -> Option<(u32, usize)> {
    let last = *text.get(..end)?.last()?;
    if last < 0x80 {
        return Some((u32::from(last), 1));
    }
    for len in 2..=4 {
        let Some(at) = end.checked_sub(len) else { break };
        if let Some((c, found)) = decode(text, at).filter(|d| d.1 == len) {
            return Some((c, found));
        }
    }
    Some((surrogateescaped(last), 1))
}

fn surrogateescaped(byte: u8) -> u32 {
    0xdc00 + u32::from(byte)
}

/// What there is in a text, which decides what it can be matched with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ascii,
    /// UTF-8 of which `regex` and Python agree what a word character is.
    CommonUnicode,
    /// UTF-8, or not even that.
    Other,
}

impl Kind {
    pub(crate) fn classify(text: &[u8]) -> Self {
        if text.is_ascii() {
            return Self::Ascii;
        }
        let Ok(text) = std::str::from_utf8(text) else { return Self::Other };
        let agreed = text.chars().filter(|c| !c.is_ascii()).all(|c| {
            regex_syntax::try_is_word_character(c)
                .is_ok_and(|word| word == crate::python::is_word(u32::from(c), false))
        });
        if agreed { Self::CommonUnicode } else { Self::Other }
    }
}

/// Appends `text` so that each character is a sequence of bytes that no other
/// character is a part of: as it is, and a byte that is not UTF-8 as the
/// three bytes that U+DC80 to U+DCFF would have.
pub(crate) fn encode(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        for byte in chunk.invalid() {
            out.extend_from_slice(&[0xed, 0xb0 | (byte >> 6), 0x80 | (byte & 0x3f)]);
        }
    }
}

/// The byte offset in `text` of what is at byte `at` of its encoded form.
pub(crate) fn decoded_offset(text: &[u8], at: usize) -> usize {
    let (mut here, mut there) = (0, 0);
    while there < at {
        let Some((c, len)) = decode(text, here) else { break };
        here += len;
        there += if (0xdc80..=0xdcff).contains(&c) { 3 } else { len };
    }
    here
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The slow way: the standard library's cut into chunks.
    fn characters(text: &[u8]) -> Vec<u32> {
        crate::render::characters(text)
            .map(|c| c.map_or_else(|b| 0xdc00 + u32::from(b), u32::from))
            .collect()
    }

    proptest! {
        #[test]
        fn forwards_and_backwards_alike(
            text in prop::collection::vec(
                prop_oneof![
                    any::<u8>(),
                    prop::sample::select(&b"\xe2\x82\xac\xc3\xa9\xf0\x9f\x98\x80\xed\xb2aA"[..]),
                ],
                0..20,
            )
        ) {
            let expected = characters(&text);
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

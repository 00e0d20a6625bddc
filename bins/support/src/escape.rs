//! Escaping of untrusted text for terminals and logs.
//!
//! The user who starts a process chooses its command line. It can contain escape sequences for
//! terminals, characters that reorder or hide the text after them, and invalid UTF-8. All of
//! these are escaped by number: `\x1b`, `\u{202e}`, `\xff`. Backslashes are not escaped, so the
//! result is for reading only; JSON output contains the original text.
//!
//! Letters of right-to-left scripts are escaped too: a bidi-aware terminal reorders the text
//! next to them, including numbers in other columns, and the marks that prevent this would
//! become part of text that is copied from the screen. Combining marks are not escaped after a
//! letter, up to three in a row: they take no column, so any number of them would fit into a
//! truncated text, and a mark at the start of a text would combine with the character before.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

/// Escapes a text.
pub fn text(text: &str) -> String {
    bytes(text.as_bytes())
}

/// Escapes bytes, which may be invalid UTF-8.
pub fn bytes(bytes: &[u8]) -> String {
    let mut escaped = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        for (at, character) in valid.char_indices() {
            push(&mut escaped, valid.get(..at).unwrap_or_default(), character);
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "\\x{byte:02x}");
        }
    }
    escaped
}

/// Maximum number of combining marks per letter.
const MAX_COMBINING: usize = 3;

/// Appends one character, escaped if it is not printable after `before`, the part of the text
/// in front of it.
pub fn push(escaped: &mut String, before: &str, character: char) {
    if character.is_ascii_control() {
        let _ = write!(escaped, "\\x{:02x}", u32::from(character));
    } else if is_printable_after(before, character) {
        escaped.push(character);
    } else {
        let _ = write!(escaped, "\\u{{{:x}}}", u32::from(character));
    }
}

/// Whether a character, after the part of the text before it, does not control a terminal,
/// reorder or hide text, or combine with text that it does not belong to.
pub fn is_printable_after(before: &str, character: char) -> bool {
    if !is_printable(character) || char_width(character) > 0 {
        return is_printable(character);
    }
    let is_mark = |c: &char| char_width(*c) == 0 && is_printable(*c);
    let marks = before.chars().rev().take(MAX_COMBINING).take_while(is_mark).count();
    let letter = before.chars().rev().nth(marks);
    marks < MAX_COMBINING && letter.is_some_and(char::is_alphanumeric)
}

/// Whether a character is printable, regardless of its position.
fn is_printable(character: char) -> bool {
    if character.is_control() {
        return false;
    }
    !matches!(character,
        // right-to-left scripts: Hebrew, Arabic and others, and the blocks that Unicode reserves
        // for more of them
        '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}'
        // soft hyphen, joiners, directional marks, embeddings, isolates
        | '\u{ad}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff0}'..='\u{fffb}'
        // invisible blanks
        | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}'
        // variation selectors and tags
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}'
        // invisible format characters of musical notation and shorthand
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}')
}

/// The number of terminal columns of an escaped text.
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(character: char) -> usize {
    character.width().unwrap_or(0)
}

/// The start of a text, at most `columns` wide. If it is shorter than the text, it ends in `…`.
pub fn truncate(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut room = columns.saturating_sub(1);
    let mut start = String::new();
    for character in text.chars() {
        let width = char_width(character);
        if width > room {
            break;
        }
        room -= width;
        start.push(character);
    }
    if columns > 0 {
        start.push('…');
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let cases: [(&[u8], &str); 10] = [
            (b"plain text", "plain text"),
            (b"\x1b[2Jtext", "\\x1b[2Jtext"),
            (b"a\nb\tc\x7f", "a\\x0ab\\x09c\\x7f"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
            ("a\u{202e}txt.exe".as_bytes(), "a\\u{202e}txt.exe"),
            (b"\xff\xfe\xc3", "\\xff\\xfe\\xc3"),
            ("é 日本 🦀".as_bytes(), "é 日本 🦀"),
            ("a\u{200d}b\u{fe0f}".as_bytes(), "a\\u{200d}b\\u{fe0f}"),
            ("\u{5d0} 12 \u{627}".as_bytes(), "\\u{5d0} 12 \\u{627}"),
            ("\u{1e900}\u{10a00}\u{fe8d}".as_bytes(), "\\u{1e900}\\u{10a00}\\u{fe8d}"),
        ];
        for (input, expected) in cases {
            assert_eq!(bytes(input), expected);
        }
    }

    #[test]
    fn widths_of_terminal_columns() {
        assert_eq!(width("abc"), 3);
        assert_eq!(width("日本"), 4);
        assert_eq!(width("e\u{301}"), 1);
    }

    /// A text of marks alone took no column, so it was never truncated, and its first mark
    /// combined with the previous cell.
    #[test]
    fn combining_marks_are_limited() {
        let acute = "\u{301}";
        let cases = [
            (format!("e{acute}"), format!("e{acute}")),
            (acute.to_owned(), "\\u{301}".to_owned()),
            (format!(" {acute}"), " \\u{301}".to_owned()),
            (acute.repeat(2), "\\u{301}".repeat(2)),
            (
                format!("e{}x", acute.repeat(5)),
                format!("e{}{}x", acute.repeat(3), "\\u{301}".repeat(2)),
            ),
            // Scripts that require them.
            ("नमस्ते".to_owned(), "नमस्ते".to_owned()),
            ("ที่".to_owned(), "ที่".to_owned()),
        ];
        for (input, expected) in cases {
            assert_eq!(text(&input), expected);
        }
        let long = text(&format!("a{}", acute.repeat(50_000)));
        assert!(truncate(&long, 80).len() < 100);
    }

    #[test]
    fn truncated_text_fits() {
        for text in ["", "a", "abcdef", "日本語", "a日b本c", "e\u{301}e\u{301}e\u{301}"] {
            for columns in 0..10 {
                let kept = truncate(text, columns);
                assert!(width(&kept) <= columns, "{text} {columns}: {kept}");
                assert_eq!(kept == text, width(text) <= columns, "{text} {columns}: {kept}");
            }
        }
        assert_eq!(truncate("abcdef", 4), "abc…");
        assert_eq!(truncate("日本語", 4), "日…");
    }
}

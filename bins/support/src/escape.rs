//! Strangers' text, fit to be shown.
//!
//! Whoever starts a process chooses its command line, so it may hold escape
//! sequences that drive a terminal, characters that reorder or hide what
//! follows, and bytes that are no text at all. Everything of that kind is
//! shown by number: `\x1b`, `\u{202e}`, `\xff`. A backslash stays what it is,
//! so this is for looking at; JSON carries the text itself.
//!
//! Letters of scripts that are written from right to left are shown by number,
//! too: a terminal that knows about directions turns round what stands between
//! and behind them, numbers of the next column included, and marks that would
//! keep it from doing so would get into whatever is copied from the screen.
//! Marks that combine with the character before them pass where they follow a
//! letter, three in a row: they take no column of their own, so any number of
//! them would pass a cut, and the first of a text would sit on what is before.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

/// A text without anything that could do harm on a terminal.
pub fn text(text: &str) -> String {
    bytes(text.as_bytes())
}

/// Bytes as a text without anything that could do harm on a terminal.
pub fn bytes(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        for (at, character) in valid.char_indices() {
            push(&mut shown, valid.get(..at).unwrap_or_default(), character);
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// How many marks may be on one letter.
const MAX_COMBINING: usize = 3;

/// Adds one character to what is shown of a text, by number where it is not
/// harmless behind the part of the text before it.
pub fn push(shown: &mut String, before: &str, character: char) {
    if character.is_ascii_control() {
        let _ = write!(shown, "\\x{:02x}", u32::from(character));
    } else if is_printable_after(before, character) {
        shown.push(character);
    } else {
        let _ = write!(shown, "\\u{{{:x}}}", u32::from(character));
    }
}

/// Whether a character neither controls a terminal nor reorders or hides text,
/// nor joins what is not its own, behind the part of the text before it.
pub fn is_printable_after(before: &str, character: char) -> bool {
    if !is_printable(character) || char_width(character) > 0 {
        return is_printable(character);
    }
    let is_mark = |c: &char| char_width(*c) == 0 && is_printable(*c);
    let marks = before.chars().rev().take(MAX_COMBINING).take_while(is_mark).count();
    let letter = before.chars().rev().nth(marks);
    marks < MAX_COMBINING && letter.is_some_and(char::is_alphanumeric)
}

/// Whether a character by itself does no harm.
fn is_printable(character: char) -> bool {
    if character.is_control() {
        return false;
    }
    !matches!(character,
        // what is written from right to left: Hebrew, Arabic and others, and
        // what Unicode keeps free for more of them
        '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}'
        // soft hyphen, joiners, marks of direction, embeddings, isolates
        | '\u{ad}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff0}'..='\u{fffb}'
        // blanks that look like nothing
        | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}'
        // selectors of variants and tags
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}'
        // music and shorthand that have no form of their own
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}')
}

/// How many columns of a terminal a harmless text takes.
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(character: char) -> usize {
    character.width().unwrap_or(0)
}

/// The start of a text, at most so many columns wide; where something was left
/// out, its last character is `…`.
pub fn truncate(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut room = columns.saturating_sub(1);
    let mut kept = String::new();
    for character in text.chars() {
        let wide = char_width(character);
        if wide > room {
            break;
        }
        room -= wide;
        kept.push(character);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let cases: [(&[u8], &str); 10] = [
            (b"plain text", "plain text"),
            (b"\x1b[2Jgone", "\\x1b[2Jgone"),
            (b"a\nb\tc\x7f", "a\\x0ab\\x09c\\x7f"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
            ("a\u{202e}txt.exe".as_bytes(), "a\\u{202e}txt.exe"),
            (b"\xff\xfe\xc3", "\\xff\\xfe\\xc3"),
            ("é 日本 🦀".as_bytes(), "é 日本 🦀"),
            ("a\u{200d}b\u{fe0f}".as_bytes(), "a\\u{200d}b\\u{fe0f}"),
            ("\u{5d0} 12 \u{627}".as_bytes(), "\\u{5d0} 12 \\u{627}"),
            ("\u{1e900}\u{10a00}\u{fe8d}".as_bytes(), "\\u{1e900}\\u{10a00}\\u{fe8d}"),
        ];
        for (given, want) in cases {
            assert_eq!(bytes(given), want);
        }
    }

    #[test]
    fn width_is_that_of_a_terminal() {
        assert_eq!(width("abc"), 3);
        assert_eq!(width("日本"), 4);
        assert_eq!(width("e\u{301}"), 1);
    }

    /// A text of marks alone took no column, so that none was ever cut, and its
    /// first one joined the cell before.
    #[test]
    fn marks_need_a_letter_and_are_few() {
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
            // As scripts have them that cannot do without.
            ("नमस्ते".to_owned(), "नमस्ते".to_owned()),
            ("ที่".to_owned(), "ที่".to_owned()),
        ];
        for (given, want) in cases {
            assert_eq!(text(&given), want);
        }
        let shown = text(&format!("a{}", acute.repeat(50_000)));
        assert!(truncate(&shown, 80).len() < 100);
    }

    #[test]
    fn cut_never_exceeds() {
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

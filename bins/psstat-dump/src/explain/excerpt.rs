//! An excerpt of a command line with a part underlined, in one terminal row.

use std::ops::Range;

use psstat_support::escape;

/// Width of an excerpt if the output is not a terminal.
pub(super) const COLUMNS: usize = 120;
/// Additional width of the ellipses and of a mark after the end.
pub(super) const ELLIPSIS_COLUMNS: usize = 3;

/// One character, escaped if necessary.
struct Glyph {
    /// Offset in the text, in bytes.
    at: usize,
    text: String,
    width: usize,
}

/// The escaped part of a text around a match, and the line of carets below it.
/// Both take at most `columns` and [`ELLIPSIS_COLUMNS`].
pub(super) fn underline(text: &[u8], at: &Range<usize>, columns: usize) -> (String, String) {
    let characters = characters(text, at.end);
    let (mut shown, mut marks) = (String::new(), String::new());
    let index =
        |byte: usize| characters.iter().position(|one| one.at >= byte).unwrap_or(characters.len());
    let (first, last) = (index(at.start), index(at.end));
    for part in parts(&characters, first, last, columns) {
        if part.start > 0 {
            shown.push('…');
            marks.push(if (first..last).contains(&(part.start - 1)) { '^' } else { ' ' });
        }
        for one in characters.iter().take(part.end).skip(part.start) {
            // An empty match is marked by the character after it.
            let inside = at.contains(&one.at) || (at.is_empty() && one.at == at.start);
            marks.push_str(&if inside { "^" } else { " " }.repeat(one.width));
            shown.push_str(&one.text);
        }
        if part.end == characters.len() && at.is_empty() && last == characters.len() {
            marks.push('^');
        } else if part.end < characters.len() && (last <= part.end || part.end < first) {
            shown.push('…');
        }
    }
    marks.truncate(marks.trim_end().len());
    (shown, marks)
}

/// The characters of a text in which a match ends at the byte `end`: it can
/// include the space that closes the last argument.
fn characters(text: &[u8], end: usize) -> Vec<Glyph> {
    let closing = if end > text.len() { &b" "[..] } else { b"" };
    let mut characters = Vec::new();
    let mut at = 0;
    let mut add = |text: String, bytes: usize| {
        characters.push(Glyph { at, width: escape::width(&text), text });
        at += bytes;
    };
    for chunk in [text, closing].concat().utf8_chunks() {
        let valid = chunk.valid();
        for (at, character) in valid.char_indices() {
            let mut one = String::new();
            escape::push(&mut one, valid.get(..at).unwrap_or_default(), character);
            add(one, character.len_utf8());
        }
        for invalid in chunk.invalid() {
            add(format!("\\x{invalid:02x}"), 1);
        }
    }
    characters
}

/// The parts of a line that are shown: all of it, or the match and some text
/// around it, without the middle of a wide match.
fn parts(characters: &[Glyph], first: usize, last: usize, columns: usize) -> Vec<Range<usize>> {
    // The number of characters that fit into the given columns.
    let fit = |characters: &mut dyn Iterator<Item = &Glyph>, mut room: usize| {
        let fits = |one: &&Glyph| room.checked_sub(one.width).map(|left| room = left).is_some();
        characters.take_while(fits).count()
    };
    let after = |from: usize, room| from + fit(&mut characters.iter().skip(from), room);
    let before = |to: usize, room| to - fit(&mut characters.iter().take(to).rev(), room);
    let length = characters.len();
    if after(0, columns) == length {
        return std::iter::once(0..length).collect();
    }
    // A third of the width is before the match.
    let start = before(first, columns / 3);
    let end = after(start, columns);
    if last <= end {
        return std::iter::once(start..end).collect();
    }
    // A margin before and after a match whose middle is omitted.
    let (half, margin) = (columns / 2, columns / 12);
    let head = before(first, margin)..after(first, half - margin).min(last);
    let tail = before(last, half - margin).max(head.end)..after(last, margin);
    vec![head, tail]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_under_the_match() {
        let cases: [(&[u8], Range<usize>, &str, &str); 5] = [
            (b"a bcd e", 2..5, "a bcd e", "  ^^^"),
            ("日本 x".as_bytes(), 7..8, "日本 x", "     ^"),
            (b"\x1b\xffx", 1..3, "\\x1b\\xffx", "    ^^^^^"),
            (b"ab", 1..3, "ab ", " ^^"),
            (b"ab", 2..2, "ab", "  ^"),
        ];
        for (text, at, shown, marks) in cases {
            assert_eq!(underline(text, &at, COLUMNS), (shown.to_owned(), marks.to_owned()));
        }
        // Both ends of a long match are shown.
        let wide = [&b"java "[..], &b"x".repeat(500), b" END tail"].concat();
        let (shown, marks) = underline(&wide, &(0..509), COLUMNS);
        assert!(shown.starts_with("java xxx") && shown.ends_with("x END tail"), "{shown}");
        assert_eq!(shown.matches('…').count(), 1);
        let marked_to = shown.chars().position(|c| c == 'E').unwrap() + 3;
        assert_eq!(marks, "^".repeat(marked_to));
        let long = [b"x".repeat(300), b"HIT".to_vec(), b"y".repeat(300)].concat();
        let (shown, marks) = underline(&long, &(300..303), COLUMNS);
        assert_eq!(shown.chars().count(), COLUMNS + 2);
        let before = COLUMNS / 3;
        let shown: Vec<char> = shown.chars().collect();
        let hit: String = shown[before + 1..before + 4].iter().collect();
        assert_eq!((hit.as_str(), marks), ("HIT", " ".repeat(before + 1) + "^^^"));
    }

    /// The width was counted in characters, so that lines with wide characters
    /// wrapped and the carets were misplaced.
    #[test]
    fn rows_fit_the_width() {
        let texts = ["x".repeat(500), "日".repeat(300), "a\u{1}日e\u{301}".repeat(90)];
        for text in texts {
            let all: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            for columns in [20, 73, COLUMNS] {
                for (first, last) in [(0, 3), (100, 101), (10, 250), (200, 200), (250, 300)] {
                    let at = all[first]..all.get(last).copied().unwrap_or(text.len());
                    let (shown, marks) = underline(text.as_bytes(), &at, columns);
                    let widths = (escape::width(&shown), escape::width(&marks));
                    assert!(widths.0 <= columns + ELLIPSIS_COLUMNS, "{at:?} {columns}: {shown}");
                    assert!(widths.1 <= columns + ELLIPSIS_COLUMNS, "{at:?} {columns}: {marks}");
                    assert!(marks.contains('^'), "{at:?} {columns}: {shown}");
                }
            }
        }
        let text = "日".repeat(100) + "HIT" + &"本".repeat(100);
        let (shown, marks) = underline(text.as_bytes(), &(300..303), 30);
        assert_eq!(shown, "…日日日日日HIT本本本本本本本本…");
        assert_eq!(marks, "           ^^^");
    }
}

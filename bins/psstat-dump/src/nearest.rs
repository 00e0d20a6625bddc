//! Where a rule matches in a command line, and how near it comes where it does
//! not.
//!
//! The measure of nearness is the longest beginning of the regex that is a
//! regex and matches something by itself: of `lrh.*fi/` that is `lrh.*` where
//! there is no `fi/` behind an `lrh`. It says what is true of the regex as it
//! is written, and no more: of `a|b` the beginning may be `a|b`'s first part
//! alone.

use std::ops::Range;

use psstat_matcher::{ImageName, Rules};

use crate::harmless;

/// The longest regex, in characters, whose beginnings are tried.
const LONGEST: usize = 1000;
/// The shortest match, in bytes, that a person is told of.
const LEAST: usize = 4;
/// How many characters of a command line are shown around a match.
const WINDOW: usize = 120;
/// How many of them stand before it, where the line is cut.
const BEFORE: usize = 40;
/// How many stand before and behind a match whose middle is left out.
const BEHIND: usize = 10;

/// The beginnings of one regex, the longest first.
#[derive(Debug)]
pub struct Beginnings {
    all: Vec<(String, Rules)>,
}

/// A beginning that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// The beginning of the regex.
    pub beginning: String,
    /// Where it matches, in bytes of the text.
    pub at: Range<usize>,
}

impl Near {
    /// Whether it says something: a letter or two match anywhere.
    pub fn is_worth_telling(&self) -> bool {
        self.at.len() >= LEAST
    }
}

impl Beginnings {
    /// All beginnings of a regex that are one themselves. There are none of a
    /// regex that is not UTF-8 or very long.
    pub fn of(regex: &[u8]) -> Beginnings {
        let regex = std::str::from_utf8(regex).unwrap_or_default();
        let ends: Vec<usize> = regex.char_indices().map(|(at, _)| at).skip(1).collect();
        if ends.len() >= LONGEST {
            return Beginnings { all: Vec::new() };
        }
        let compiled = ends.iter().rev().filter_map(|&end| compiled(regex.get(..end)?));
        Beginnings { all: compiled.collect() }
    }

    /// The same of all endings.
    pub fn endings_of(regex: &[u8]) -> Beginnings {
        let regex = std::str::from_utf8(regex).unwrap_or_default();
        let starts: Vec<usize> = regex.char_indices().map(|(at, _)| at).skip(1).collect();
        if starts.len() >= LONGEST {
            return Beginnings { all: Vec::new() };
        }
        let compiled = starts.iter().filter_map(|&start| compiled(regex.get(start..)?));
        Beginnings { all: compiled.collect() }
    }

    /// The longest one that matches something in `text`.
    pub fn nearest(&self, text: &[u8]) -> Option<Near> {
        self.all.iter().find_map(|(beginning, rules)| {
            let at = find(rules, text)?;
            Some(Near { beginning: beginning.clone(), at })
        })
    }

    /// The longest one that matches something in any of the texts, and in
    /// which of them it does. It is at least half of the regex: less than that
    /// is not near.
    pub fn nearest_of<'t>(&self, texts: &[(u32, &'t [u8])]) -> Option<Nearest<'t>> {
        let longest = self.all.first()?.0.chars().count() + 1;
        let near = self.all.iter().filter(|(b, _)| b.chars().count() * 2 >= longest);
        near.filter_map(|(beginning, rules)| {
            let of = |&(pid, text): &(u32, &'t [u8])| Some((pid, text, find(rules, text)?));
            let found: Vec<_> = texts.iter().filter_map(of).collect();
            (!found.is_empty()).then(|| (beginning.clone(), found))
        })
        .next()
    }
}

/// A part of a regex, if it is one itself.
fn compiled(part: &str) -> Option<(String, Rules)> {
    let mut rules = Rules::default();
    let image: ImageName = crate::choose::AD_HOC.parse().ok()?;
    rules.push(image, part).ok()?;
    Some((part.to_owned(), rules))
}

/// A beginning, and where it matches: pid, command line, bytes of it.
pub type Nearest<'t> = (String, Vec<(u32, &'t [u8], Range<usize>)>);

/// Where it matches something; nothing at all matches anywhere.
fn find(rules: &Rules, text: &[u8]) -> Option<Range<usize>> {
    let rule = rules.rules().first()?;
    rule.find(text).ok().flatten().filter(|at| !at.is_empty())
}

/// The part of a command line around a match, made harmless, and the line of
/// carets that belongs under it.
pub fn marked(text: &[u8], at: &Range<usize>) -> (String, String) {
    let mut shown = String::new();
    let mut marks = String::new();
    // The space that closed the last argument may be part of a match.
    let closing = if at.end > text.len() { &b" "[..] } else { b"" };
    let all = [text, closing].concat();
    let mut characters = Vec::new();
    let mut byte = 0;
    for chunk in all.utf8_chunks() {
        let valid = chunk.valid();
        for (at, character) in valid.char_indices() {
            let mut one = String::new();
            harmless::push(&mut one, valid.get(..at).unwrap_or_default(), character);
            characters.push((byte, one));
            byte += character.len_utf8();
        }
        for invalid in chunk.invalid() {
            characters.push((byte, format!("\\x{invalid:02x}")));
            byte += 1;
        }
    }
    let (first, last) = (place(&characters, at.start), place(&characters, at.end));
    for part in parts(characters.len(), first, last) {
        if part.start > 0 {
            shown.push('…');
            marks.push(if (first..last).contains(&(part.start - 1)) { '^' } else { ' ' });
        }
        for (byte, one) in characters.iter().take(part.end).skip(part.start) {
            // An empty match, or one at the very end, is marked by where it is.
            let inside = at.contains(byte) || (at.is_empty() && *byte == at.start);
            marks.push_str(&if inside { "^" } else { " " }.repeat(harmless::width(one)));
            shown.push_str(one);
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

/// Which character stands at a byte, or is the first one behind it.
fn place(characters: &[(usize, String)], byte: usize) -> usize {
    characters.iter().position(|(at, _)| *at >= byte).unwrap_or(characters.len())
}

/// The parts of a line of so many characters that are shown: all of it, or what
/// is around the match, of which the middle is left out if it is long.
fn parts(length: usize, first: usize, last: usize) -> Vec<Range<usize>> {
    if length <= WINDOW {
        return std::iter::once(0..length).collect();
    }
    let start = first.saturating_sub(BEFORE);
    if last <= start + WINDOW {
        return std::iter::once(start..(start + WINDOW).min(length)).collect();
    }
    let half = WINDOW / 2;
    let head = first.saturating_sub(BEHIND)..(first + half - BEHIND).min(last);
    let tail = last.saturating_sub(half - BEHIND).max(head.end)..(last + BEHIND).min(length);
    vec![head, tail]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(regex: &str, text: &str) -> Option<(String, String)> {
        let near = Beginnings::of(regex.as_bytes()).nearest(text.as_bytes())?;
        Some((near.beginning, text[near.at].to_owned()))
    }

    #[test]
    fn the_longest_beginning_that_matches() {
        let found = |beginning: &str, at: &str| Some((beginning.to_owned(), at.to_owned()));
        assert_eq!(near("lrh.*fi/", "java lrh.jar fa/"), found("lrh.*f", "lrh.jar f"));
        assert_eq!(near("lrh.*fi/", "java lrh.jar xa/"), found("lrh.*", "lrh.jar xa/"));
        assert_eq!(near("^java -Xm[xs]", "java -Xss"), found("^java -X", "java -X"));
        assert_eq!(near("(foo|bar)x", "a bar"), found("(foo|bar)", "bar"));
        assert_eq!(near("xyz", "abc"), None);
        assert_eq!(near("^", "abc"), None);
        assert_eq!(near("", "abc"), None);
    }

    #[test]
    fn the_nearest_of_many() {
        let texts: [(u32, &[u8]); 3] = [(1, b"abcx"), (2, b"zabc"), (3, b"ab")];
        let (beginning, found) = Beginnings::of(b"abcd").nearest_of(&texts).unwrap();
        assert_eq!(beginning, "abc");
        assert_eq!(found, [(1, &b"abcx"[..], 0..3), (2, &b"zabc"[..], 1..4)]);
        assert_eq!(Beginnings::of(b"abcdefgh").nearest_of(&texts), None);
    }

    #[test]
    fn the_marks_stand_under_the_match() {
        let cases: [(&[u8], Range<usize>, &str, &str); 5] = [
            (b"a bcd e", 2..5, "a bcd e", "  ^^^"),
            ("日本 x".as_bytes(), 7..8, "日本 x", "     ^"),
            (b"\x1b\xffx", 1..3, "\\x1b\\xffx", "    ^^^^^"),
            (b"ab", 1..3, "ab ", " ^^"),
            (b"ab", 2..2, "ab", "  ^"),
        ];
        for (text, at, shown, marks) in cases {
            assert_eq!(marked(text, &at), (shown.to_owned(), marks.to_owned()));
        }
        // Of a long match both ends are there.
        let wide = [&b"java "[..], &b"x".repeat(500), b" END tail"].concat();
        let (shown, marks) = marked(&wide, &(0..509));
        assert!(shown.starts_with("java xxx") && shown.ends_with("x END tail"), "{shown}");
        assert_eq!(shown.matches('…').count(), 1);
        let marked_to = shown.chars().position(|c| c == 'E').unwrap() + 3;
        assert_eq!(marks, "^".repeat(marked_to));
        let long = [b"x".repeat(300), b"HIT".to_vec(), b"y".repeat(300)].concat();
        let (shown, marks) = marked(&long, &(300..303));
        assert_eq!(shown.chars().count(), WINDOW + 2);
        let shown: Vec<char> = shown.chars().collect();
        let hit: String = shown[BEFORE + 1..BEFORE + 4].iter().collect();
        assert_eq!((hit.as_str(), marks), ("HIT", " ".repeat(BEFORE + 1) + "^^^"));
    }
}

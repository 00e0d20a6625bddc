//! How near a rule comes to a command line that it does not match.
//!
//! The measure of nearness is the longest beginning of the regex that is a
//! regex and matches something by itself: of `lrh.*fi/` that is `lrh.*` where
//! there is no `fi/` behind an `lrh`. It says what is true of the regex as it
//! is written, and no more: of `a|b` the beginning may be `a|b`'s first part
//! alone.
//!
//! There are as many parts as the regex has characters, and to compile them is
//! what takes time: each is compiled when its turn comes, once for all texts,
//! after `go_on` was asked.

use std::ops::Range;

use psstat_matcher::{ImageName, Rules};

/// The longest regex, in characters, whose parts are tried.
const LONGEST: usize = 1000;
/// The shortest match, in bytes, that a person is told of.
const LEAST: usize = 4;

/// Which end of a regex a part has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The part from its start on.
    Prefix,
    /// The part up to its end.
    Suffix,
}

/// A beginning that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialMatch {
    /// The beginning of the regex.
    pub beginning: String,
    /// Where it matches, in bytes of the text.
    pub at: Range<usize>,
}

impl PartialMatch {
    /// Whether it says something: a letter or two match anywhere.
    pub fn is_significant(&self) -> bool {
        self.at.len() >= LEAST
    }
}

/// For each text the longest beginning of `regex` that matches something in
/// it, as far as `go_on` let it be looked for.
pub fn longest_match(
    regex: &[u8],
    texts: &[&[u8]],
    go_on: &dyn Fn() -> bool,
) -> Vec<Option<PartialMatch>> {
    let mut matches = vec![None; texts.len()];
    for beginning in parts(regex, Side::Prefix) {
        if matches.iter().all(Option::is_some) || !go_on() {
            break;
        }
        let Some(rules) = compiled(beginning) else { continue };
        for (near, text) in matches.iter_mut().zip(texts) {
            if near.is_none()
                && let Some(at) = find(&rules, text)
            {
                *near = Some(PartialMatch { beginning: beginning.to_owned(), at });
            }
        }
    }
    matches
}

/// A part, and where it matches: pid, command line, bytes of it.
pub type Nearest<'t> = (String, Vec<(u32, &'t [u8], Range<usize>)>);

/// The longest part of `regex` that matches something in any of the texts, and
/// in which of them it does. It is at least half of the regex: less than that
/// is not near.
pub fn nearest_of<'t>(
    regex: &[u8],
    side: Side,
    texts: &[(u32, &'t [u8])],
    go_on: &dyn Fn() -> bool,
) -> Option<Nearest<'t>> {
    let length = str::from_utf8(regex).ok()?.chars().count();
    let near = parts(regex, side).take_while(|part| part.chars().count() * 2 >= length);
    near.take_while(|_| go_on()).find_map(|part| {
        let rules = compiled(part)?;
        let of = |&(pid, text): &(u32, &'t [u8])| Some((pid, text, find(&rules, text)?));
        let found: Vec<_> = texts.iter().filter_map(of).collect();
        (!found.is_empty()).then(|| (part.to_owned(), found))
    })
}

/// The parts of a regex that have this end of it, the longest first, without
/// all of it and nothing of it. There are none of a regex that is not UTF-8 or
/// very long.
fn parts(regex: &[u8], side: Side) -> impl Iterator<Item = &str> {
    let regex = str::from_utf8(regex).unwrap_or_default();
    let mut cuts: Vec<usize> = regex.char_indices().map(|(at, _)| at).skip(1).collect();
    if cuts.len() >= LONGEST {
        cuts.clear();
    }
    if side == Side::Prefix {
        cuts.reverse();
    }
    cuts.into_iter().filter_map(move |at| match side {
        Side::Prefix => regex.get(..at),
        Side::Suffix => regex.get(at..),
    })
}

/// A part of a regex, if it is one itself.
fn compiled(part: &str) -> Option<Rules> {
    let mut rules = Rules::default();
    let image: ImageName = crate::selector::PATTERN_IMAGE.parse().ok()?;
    rules.push(image, part).ok()?;
    Some(rules)
}

/// Where it matches something; nothing at all matches anywhere.
fn find(rules: &Rules, text: &[u8]) -> Option<Range<usize>> {
    let rule = rules.rules().first()?;
    rule.find(text).ok().flatten().filter(|at| !at.is_empty())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn near(regex: &str, text: &str) -> Option<(String, String)> {
        let near = longest_match(regex.as_bytes(), &[text.as_bytes()], &|| true).remove(0)?;
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
        let of = |regex: &[u8], side| nearest_of(regex, side, &texts, &|| true);
        let (beginning, found) = of(b"abcd", Side::Prefix).unwrap();
        assert_eq!(beginning, "abc");
        assert_eq!(found, [(1, &b"abcx"[..], 0..3), (2, &b"zabc"[..], 1..4)]);
        assert_eq!(of(b"abcdefgh", Side::Prefix), None);
        let (ending, found) = of(b"yabc", Side::Suffix).unwrap();
        assert_eq!((&*ending, found.len()), ("abc", 2));
    }

    /// All beginnings used to be compiled before any was tried, anew for each
    /// process.
    #[test]
    fn no_more_is_compiled_than_needed() {
        let asked = Cell::new(0);
        let counted = |most: u32| {
            let asked = &asked;
            asked.set(0);
            move || {
                asked.set(asked.get() + 1);
                asked.get() <= most
            }
        };
        let regex = b"abcdefghijklmnop";
        let texts = [&b"abcdefghijklmno"[..], b"abcdefghijklmxx", b"xx"];
        let beginnings = |found: Vec<Option<PartialMatch>>| -> Vec<usize> {
            found.iter().map(|near| near.as_ref().map_or(0, |near| near.beginning.len())).collect()
        };
        let found = longest_match(regex, &texts[..1], &counted(100));
        assert_eq!((beginnings(found), asked.get()), (vec![15], 1));
        let found = longest_match(regex, &texts[..2], &counted(100));
        assert_eq!((beginnings(found), asked.get()), (vec![15, 13], 3));
        let found = longest_match(regex, &texts, &counted(100));
        assert_eq!((beginnings(found), asked.get()), (vec![15, 13, 0], 15));
        let found = longest_match(regex, &texts, &counted(2));
        assert_eq!((beginnings(found), asked.get()), (vec![15, 0, 0], 3));
        let found = nearest_of(regex, Side::Prefix, &[(7, b"xx")], &counted(2));
        assert_eq!((found, asked.get()), (None, 3));
    }
}

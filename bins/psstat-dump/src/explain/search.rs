//! Why a pattern does not match: the longest parts of it that do.
//!
//! A prefix of a pattern is usable if it is a valid pattern itself. The search
//! compiles the prefixes from the longest one down and the suffixes likewise,
//! each once for all texts. Two answers follow from the parts that match:
//!
//! - The longest matching prefix: of `lrh.*fi/` it is `lrh.*` if no `fi/`
//!   follows an `lrh`. For alternatives this can be the first one alone: the
//!   longest matching prefix of `a|b` may be `a`.
//! - The near miss: if a prefix matches and a suffix matches after it, then
//!   only what is between them is wrong. The pattern expects the part that
//!   neither of them contains, and the text has something else there. The
//!   split with the smallest difference is reported.
//!
//! Compiling is the expensive part, so the search calls `has_time` before each
//! compilation and stops when it returns false.

use std::ops::Range;
use std::rc::Rc;

use psstat_matcher::{ImageName, Rules};

/// Longer patterns, in characters, are not searched.
const MAX_PATTERN: usize = 1000;
/// Number of prefixes that are tried for a near miss, from the longest
/// matching one down.
const MAX_PREFIXES: usize = 4;
/// Number of matches of one suffix that are tried.
const MAX_SUFFIX_MATCHES: usize = 12;
/// Shorter matches, in characters of the pattern or bytes of the text, say
/// nothing: a letter or two match anywhere.
const MIN_LEN: usize = 4;
/// Length of a typing error, in characters of the pattern and of the text.
const MAX_TYPO: usize = 2;
/// Weight of a character of the pattern against a byte of the text when near
/// misses are compared: the pattern was written for this text, while a command
/// line contains much else.
const PATTERN_WEIGHT: usize = 8;

/// The single difference between a pattern and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NearMiss {
    /// The pattern matches these bytes of the text if case is ignored.
    Case(Range<usize>),
    /// The pattern matches these bytes of the text if its `\|`, a literal character, separates
    /// alternatives, as in grep.
    Alternation(Range<usize>),
    /// Pattern and text differ in one place.
    Mismatch {
        /// The bytes of the pattern that do not match; may be empty.
        expected: Range<usize>,
        /// The bytes of the text in their place; may be empty.
        found: Range<usize>,
    },
}

/// A prefix of the pattern that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartialMatch {
    /// The prefix.
    pub(super) prefix: String,
    /// Where it matches, in bytes of the text.
    pub(super) at: Range<usize>,
}

impl PartialMatch {
    /// Whether the match is long enough to say something.
    pub(super) fn is_significant(&self) -> bool {
        self.at.len() >= MIN_LEN
    }
}

/// The result of a search in one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Explanation {
    /// The single difference; `None` if there are several, or if most of the
    /// pattern does not match.
    pub(super) near_miss: Option<NearMiss>,
    /// The longest prefix that matches some of the text.
    pub(super) longest_prefix: Option<PartialMatch>,
}

/// Explains for each text why `pattern`, which does not match it, does not.
pub(super) fn explain(
    pattern: &[u8],
    texts: &[&[u8]],
    has_time: &dyn Fn() -> bool,
) -> Vec<Explanation> {
    let mut explanations = vec![Explanation::default(); texts.len()];
    let Some(parts) = Parts::new(pattern).filter(|_| !texts.is_empty() && has_time()) else {
        return explanations;
    };
    let mut searches: Vec<Search<'_>> = texts.iter().map(|text| Search::new(text)).collect();
    for end in parts.prefix_ends() {
        if searches.iter().all(Search::has_prefixes) || !has_time() {
            break;
        }
        let prefix = parts.prefix(end).map(Rc::new);
        for search in &mut searches {
            search.try_prefix(parts.pattern, end, prefix.as_ref());
        }
    }
    let shortest = searches.iter().filter_map(Search::shortest_prefix).min();
    let mut starts = parts.suffix_starts(shortest.unwrap_or(parts.pattern.len()));
    let is_complete = starts.all(|start| {
        let suffix = has_time().then(|| parts.suffix(start));
        for search in &mut searches {
            search.try_suffix(start, suffix.iter().flatten().next());
        }
        suffix.is_some()
    });
    let any_case = compile(&format!("(?i){}", parts.pattern));
    let alternatives = parts.pattern.contains(r"\|").then(|| parts.pattern.replace(r"\|", "|"));
    let alternatives = alternatives.and_then(|pattern| compile(&pattern));
    for (explanation, search) in explanations.iter_mut().zip(searches) {
        let case = any_case.as_ref().and_then(|rules| find_some(rules, search.text));
        let mismatch = || search.smallest_mismatch(&parts).filter(|_| is_complete);
        let alternative = || find_some(alternatives.as_ref()?, search.text);
        let near_miss = case.map(NearMiss::Case);
        let near_miss = near_miss.or_else(|| alternative().map(NearMiss::Alternation));
        explanation.near_miss = near_miss.or_else(mismatch);
        explanation.longest_prefix = search.longest_prefix;
    }
    explanations
}

/// Which end of a pattern a part includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// A part from the start on.
    Prefix,
    /// A part up to the end.
    Suffix,
}

/// A process whose command line matches: pid, command line, and where.
pub(super) type Hit<'t> = (u32, &'t [u8], Range<usize>);

/// The longest part of `pattern` that matches any of the texts, and the texts
/// that it matches. `None` if that is less than half of the pattern.
pub(super) fn closest<'t>(
    pattern: &[u8],
    side: Side,
    texts: &[(u32, &'t [u8])],
    has_time: &dyn Fn() -> bool,
) -> Option<(String, Vec<Hit<'t>>)> {
    let parts = Parts::new(pattern)?;
    let cuts: Vec<usize> = match side {
        Side::Prefix => parts.prefix_ends().collect(),
        Side::Suffix => parts.suffix_starts(1).collect(),
    };
    let part = |cut: usize| match side {
        Side::Prefix => parts.pattern.get(..cut),
        Side::Suffix => parts.pattern.get(cut..),
    };
    let is_half = |part: &&str| part.chars().count() * 2 >= parts.length;
    let cuts = cuts.into_iter().map_while(|cut| Some((cut, part(cut).filter(is_half)?)));
    cuts.take_while(|_| has_time()).find_map(|(cut, part)| {
        let rules = match side {
            Side::Prefix => parts.prefix(cut)?,
            Side::Suffix => parts.suffix(cut)?,
        };
        let hit = |&(pid, text): &(u32, &'t [u8])| Some((pid, text, find_some(&rules, text)?));
        let hits: Vec<_> = texts.iter().filter_map(hit).collect();
        (!hits.is_empty()).then(|| (part.to_owned(), hits))
    })
}

/// A pattern that can be split at any character.
struct Parts<'a> {
    pattern: &'a str,
    /// In characters.
    length: usize,
    /// A `|` separates alternatives of the whole pattern.
    has_alternatives: bool,
    /// The end of the flags at the start, such as `(?i)`, which apply to each
    /// part.
    flags_end: usize,
}

impl<'a> Parts<'a> {
    /// `None` for a pattern that is not UTF-8 or too long.
    fn new(pattern: &'a [u8]) -> Option<Parts<'a>> {
        let pattern = str::from_utf8(pattern).ok()?;
        let length = pattern.chars().count();
        let has_alternatives = has_alternatives(pattern);
        let parts = Parts { pattern, length, has_alternatives, flags_end: flags_end(pattern) };
        (length <= MAX_PATTERN).then_some(parts)
    }

    /// Where prefixes end, the longest first, without the whole pattern.
    fn prefix_ends(&self) -> impl Iterator<Item = usize> {
        self.pattern.char_indices().map(|(at, _)| at).rev()
    }

    /// Where suffixes start from this byte on, the longest first.
    fn suffix_starts(&self, from: usize) -> impl Iterator<Item = usize> {
        let from = from.max(self.flags_end).max(1);
        self.pattern.char_indices().map(|(at, _)| at).filter(move |at| *at >= from)
    }

    /// The prefix up to `end`, if it is a pattern itself.
    fn prefix(&self, end: usize) -> Option<Rules> {
        compile(self.pattern.get(..end.max(self.flags_end))?)
    }

    /// The suffix from `start` on, if it is a pattern itself that can match
    /// anywhere.
    fn suffix(&self, start: usize) -> Option<Rules> {
        // One that starts with `|` has an empty alternative, which matches anything.
        let suffix = self.pattern.get(start..).filter(|suffix| !suffix.starts_with(['^', '|']))?;
        compile(&format!("{}{suffix}", self.pattern.get(..self.flags_end)?))
    }

    fn count(&self, part: &Range<usize>) -> usize {
        self.pattern.get(part.clone()).map_or(0, |part| part.chars().count())
    }
}

/// Whether a pattern has a `|` outside of groups and classes.
fn has_alternatives(pattern: &str) -> bool {
    let (mut depth, mut in_class, mut characters) = (0_usize, false, pattern.chars());
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => depth += 1,
            ')' if !in_class => depth = depth.saturating_sub(1),
            '|' if !in_class && depth == 0 => return true,
            _ => {}
        }
    }
    false
}

/// The end of the flags that a pattern starts with: `(?i)`.
fn flags_end(pattern: &str) -> usize {
    let Some((flags, _)) = pattern.strip_prefix("(?").and_then(|rest| rest.split_once(')')) else {
        return 0;
    };
    let is_flags = !flags.is_empty() && flags.bytes().all(|flag| b"aimsux".contains(&flag));
    if is_flags { flags.len() + 3 } else { 0 }
}

/// The parts of a pattern that match one text.
struct Search<'t> {
    text: &'t [u8],
    longest_prefix: Option<PartialMatch>,
    /// Matching prefixes by their end, the longest first.
    prefixes: Vec<(usize, Rc<Rules>)>,
    /// Prefixes tried from the longest matching one on.
    tried: usize,
    /// Matching suffixes by their start, the longest first, with some of the
    /// places where each matches, in ascending order.
    suffixes: Vec<(usize, Vec<usize>)>,
}

impl<'t> Search<'t> {
    fn new(text: &'t [u8]) -> Search<'t> {
        let (prefixes, suffixes) = (Vec::new(), Vec::new());
        Search { text, longest_prefix: None, prefixes, tried: 0, suffixes }
    }

    /// Whether no more prefixes are needed.
    fn has_prefixes(&self) -> bool {
        self.longest_prefix.is_some() && self.tried >= MAX_PREFIXES
    }

    fn shortest_prefix(&self) -> Option<usize> {
        self.prefixes.last().map(|(end, _)| *end)
    }

    fn try_prefix(&mut self, pattern: &str, end: usize, prefix: Option<&Rc<Rules>>) {
        if let Some(prefix) = prefix
            && !self.has_prefixes()
            && let Some(at) = find(prefix, self.text)
        {
            if self.tried < MAX_PREFIXES {
                self.prefixes.push((end, Rc::clone(prefix)));
            }
            if self.longest_prefix.is_none() && !at.is_empty() {
                let prefix = pattern.get(..end).unwrap_or_default().to_owned();
                self.longest_prefix = Some(PartialMatch { prefix, at });
            }
        }
        self.tried += usize::from(!self.prefixes.is_empty());
    }

    fn try_suffix(&mut self, start: usize, suffix: Option<&Rules>) {
        let Some(suffix) = suffix else { return };
        let (mut at, mut from) = (Vec::new(), 0);
        while at.len() < MAX_SUFFIX_MATCHES
            && let Some(found) = self.text.get(from..).and_then(|rest| find(suffix, rest))
        {
            at.push(from + found.start);
            from += found.start + 1;
        }
        if !at.is_empty() {
            self.suffixes.push((start, at));
        }
    }

    /// The smallest difference between the pattern and the text, if most of
    /// the pattern matches.
    fn smallest_mismatch(&self, parts: &Parts<'_>) -> Option<NearMiss> {
        let splits = self.prefixes.iter().filter_map(|(end, prefix)| {
            self.narrowest(*end, prefix).or_else(|| self.rest_of_word(*end, prefix, parts))
        });
        let is_near = |(expected, _): &(Range<usize>, Range<usize>)| {
            let after = parts.count(&(expected.end..parts.pattern.len()));
            let before = parts.length - parts.count(expected) - after;
            // The part before it can match by one of several alternatives, of which the others say
            // nothing about the text.
            let before = match (parts.has_alternatives, self.prefix_match(expected.start)) {
                (true, Some(at)) => before.min(at.len()),
                _ => before,
            };
            let matched = before + after;
            matched >= MIN_LEN && matched * 2 >= parts.length
        };
        let characters = |found: &Range<usize>| {
            let found = self.text.get(found.clone()).unwrap_or_default();
            String::from_utf8_lossy(found).chars().count()
        };
        let is_credible = |(expected, found): &(Range<usize>, Range<usize>)| {
            let side = |part: &str| part.trim_matches(['^', '$']).chars().count();
            let around = [
                parts.pattern.get(..expected.start).map_or(0, side),
                parts.pattern.get(expected.end..).map_or(0, side),
            ];
            // A few characters match anywhere: next to them only a typing error is credible.
            let expected = parts.count(expected);
            !around.iter().any(|side| (1..MIN_LEN).contains(side))
                || (expected <= MAX_TYPO && characters(found) <= MAX_TYPO)
        };
        let weight = |(expected, found): &(Range<usize>, Range<usize>)| {
            PATTERN_WEIGHT * parts.count(expected) + found.len()
        };
        let (expected, found) = splits.filter(is_near).filter(is_credible).min_by_key(weight)?;
        Some(NearMiss::Mismatch { expected, found })
    }

    /// Where the prefix with this end matches.
    fn prefix_match(&self, end: usize) -> Option<Range<usize>> {
        let (_, prefix) = self.prefixes.iter().find(|(of, _)| *of == end)?;
        find(prefix, self.text)
    }

    /// The difference between this prefix and the longest suffix that matches
    /// after it: bytes of the pattern, and of the text.
    fn narrowest(&self, end: usize, prefix: &Rules) -> Option<(Range<usize>, Range<usize>)> {
        // The end of the prefix's match before a suffix.
        let end_before = |at: usize| match self.text.get(..at)? {
            // Only an empty prefix matches an empty text.
            [] => find(prefix, self.text).filter(|found| found.end == 0).map(|_| 0),
            // The match can include the space that closes the last argument.
            text => {
                let found = prefix.rules().first()?.search(text).ok().flatten()?;
                Some(found.range.end).filter(|_| !found.has_trailing_space)
            }
        };
        let suffixes = self.suffixes.iter().filter(|(start, _)| *start >= end);
        suffixes.into_iter().find_map(|(start, matches)| {
            let gaps = matches.iter().filter_map(|&at| Some(end_before(at)?..at));
            Some((end..*start, gaps.min_by_key(Range::len)?))
        })
    }

    /// The difference if no suffix matches: the rest of the pattern, and the
    /// rest of the word in the text.
    fn rest_of_word(
        &self,
        end: usize,
        prefix: &Rules,
        parts: &Parts<'_>,
    ) -> Option<(Range<usize>, Range<usize>)> {
        let from = find(prefix, self.text)?.end;
        let rest = self.text.get(from..)?;
        let width = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        Some((end..parts.pattern.len(), from..from + width))
    }
}

fn compile(pattern: &str) -> Option<Rules> {
    let mut rules = Rules::default();
    let image: ImageName = crate::rule_arg::DEFAULT_IMAGE.parse().ok()?;
    rules.push(image, pattern).ok()?;
    Some(rules)
}

fn find(rules: &Rules, text: &[u8]) -> Option<Range<usize>> {
    rules.rules().first()?.find(text).ok().flatten()
}

/// A match of at least one byte.
fn find_some(rules: &Rules, text: &[u8]) -> Option<Range<usize>> {
    find(rules, text).filter(|at| !at.is_empty())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn explained(pattern: &str, text: &str) -> Explanation {
        explain(pattern.as_bytes(), &[text.as_bytes()], &|| true).remove(0)
    }

    /// The expected part of the pattern, and the found part of the text.
    fn near_miss<'a>(pattern: &'a str, text: &'a str) -> Option<(&'a str, &'a str)> {
        match explained(pattern, text).near_miss? {
            NearMiss::Case(at) => Some(("case", &text[at])),
            NearMiss::Alternation(at) => Some(("alternation", &text[at])),
            NearMiss::Mismatch { expected, found } => Some((&pattern[expected], &text[found])),
        }
    }

    #[test]
    fn common_mistakes() {
        let java = "java -server -Xmx4g -Dapp.home=/srv/shops -cp /srv/shop/lib/a.jar:\
                    /srv/shop/lib/b.jar -jar /srv/shops/orders.jar --port 8080";
        let cases = [
            // Wrong path.
            (r"^java .*/srv/shop/orders\.jar", java, "", "s"),
            (r"^/usr/bin/java .*/srv/shops/orders\.jar", java, "/usr/bin/", ""),
            // Wrong case.
            (r"Orders\.JAR", java, "case", "orders.jar"),
            // Typing errors, swapped letters, an extra word.
            (r"^postgres: .*checkpointr", "postgres: 14/main: checkpointer", "", "e"),
            (r"checkpionter", "postgres: checkpointer", "io", "oi"),
            (r"nginx: the worker", "nginx: worker process", "the ", ""),
            // Anchors.
            (r"^redis-server ", "/usr/bin/redis-server *:6379", "", "/usr/bin/"),
            (r"^nginx: worker$", "nginx: worker process", "", " process"),
            (r"^sshd$", "sshd: root@pts/0", "", ": root@pts/0"),
            // Other value, other suffix, escapes.
            (r"redis-server \*:6379", "redis-server 127.0.0.1:6379", r"\*", "127.0.0.1"),
            (r"envoy -c /etc/envoy/envoy\.yml", "envoy -c /etc/envoy/envoy.yaml -l x", "", "a"),
            (r"kafka\\.Kafka", "java kafka.Kafka x", r"\", ""),
            (r"--port=808[13]", "x --port=8080 -v", "[13]", "0"),
            (
                r"Kafka /srv/kafka/conf",
                "java kafka.Kafka /srv/kafka/server.x y",
                "conf",
                "server.x",
            ),
            // Flags, and characters outside of ASCII.
            (r"(?i)NGINX: wrker", "nginx: worker", "", "o"),
            ("x 日語 y", "x 日本 y", "語", "本"),
        ];
        for (pattern, text, expected, found) in cases {
            assert_eq!(near_miss(pattern, text), Some((expected, found)), "{pattern}");
        }
    }

    /// `\|` is a literal character, but separates alternatives in grep and sed.
    #[test]
    fn escaped_bar() {
        let near_miss = |pattern: &str, text: &str| explained(pattern, text).near_miss;
        let at = Some(NearMiss::Alternation(5..11));
        assert_eq!(near_miss(r"nginx\|apache", "/usr/apache -k start"), at);
        assert_eq!(near_miss(r"nginx\|apache", "/usr/httpd -k start"), None);
    }

    #[test]
    fn unrelated_patterns() {
        for (pattern, text) in [
            // A letter at the end matches anywhere.
            ("php-worker", "/usr/bin/php-wo/run --dir /srv"),
            ("wo.*rker", "two or more"),
            ("^nginx: worker", "nginx: wo from r"),
            // Only the `wo` of `master|wo` matches.
            ("master|worker", "a two-way mirror"),
            ("master|worker", "the worst err"),
            ("zookeeper", "java -jar x"),
            (r"^java .*orders\.jar", "nginx: worker"),
            ("^r", "java r"),
            ("", "x"),
            ("(", "x"),
        ] {
            assert_eq!(near_miss(pattern, text), None, "{pattern}");
        }
        let long = "a".repeat(2000);
        assert_eq!(explained(&long, "aaa"), Explanation::default());
    }

    #[test]
    fn long_command_line() {
        let classes = (0..400).map(|n| format!("/opt/app/lib/part-{n}.jar:")).collect::<String>();
        let text = format!("java -Xmx4g -cp {classes} com.example.Mian --port 80");
        assert_eq!(near_miss(r"^java .*com\.example\.Main", &text), Some(("ai", "ia")));
    }

    #[test]
    fn longest_matching_prefix() {
        let cases = [
            ("lrh.*fi/", "java lrh.jar fa/", Some(("lrh.*f", "lrh.jar f"))),
            ("lrh.*fi/", "java lrh.jar xa/", Some(("lrh.*", "lrh.jar xa/"))),
            ("^java -Xm[xs]", "java -Xss", Some(("^java -X", "java -X"))),
            ("(foo|bar)x", "a bar", Some(("(foo|bar)", "bar"))),
            ("xyz", "abc", None),
            ("^", "abc", None),
            ("", "abc", None),
        ];
        for (pattern, text, want) in cases {
            let prefix = explained(pattern, text).longest_prefix;
            let prefix = prefix.as_ref().map(|found| (&*found.prefix, &text[found.at.clone()]));
            assert_eq!(prefix, want, "{pattern}");
        }
    }

    #[test]
    fn closest_of_several_texts() {
        let texts: [(u32, &[u8]); 4] = [(1, b"abcx"), (2, b"zabc"), (3, b"ab"), (4, b"one two")];
        let closest = |pattern: &[u8], side| {
            let (part, hits) = closest(pattern, side, &texts, &|| true)?;
            let pids = hits.into_iter().map(|(pid, ..)| pid).collect::<Vec<_>>();
            Some((part, pids))
        };
        assert_eq!(closest(b"abcd", Side::Prefix), Some(("abc".to_owned(), vec![1, 2])));
        assert_eq!(closest(b"yabc", Side::Suffix), Some(("abc".to_owned(), vec![1, 2])));
        assert_eq!(closest(b"(?i)xONE TWO", Side::Suffix), Some(("ONE TWO".to_owned(), vec![4])));
        // Less than half of the pattern.
        assert_eq!(closest(b"abcdefgh", Side::Prefix), None);
    }

    /// All prefixes used to be compiled before any was tried, again for each
    /// process.
    #[test]
    fn compiles_only_what_is_needed() {
        let calls = Cell::new(0);
        let limited = |limit: u32| {
            let calls = &calls;
            calls.set(0);
            move || {
                calls.set(calls.get() + 1);
                calls.get() <= limit
            }
        };
        let pattern = b"abcdefghijklmnop";
        let texts = [&b"abcdefghijklmno"[..], b"abcdefghijklmxx", b"xx"];
        let lengths = |found: Vec<Explanation>| -> Vec<usize> {
            let prefix =
                |one: &Explanation| one.longest_prefix.as_ref().map(|one| one.prefix.len());
            found.iter().map(|one| prefix(one).unwrap_or(0)).collect()
        };
        // One call at the start, then the prefixes of 15 to 12 characters, and
        // suffixes of up to 4.
        let found = explain(pattern, &texts[..1], &limited(100));
        assert_eq!((lengths(found), calls.get()), (vec![15], 1 + 4 + 4));
        let found = explain(pattern, &texts[..2], &limited(100));
        assert_eq!((lengths(found), calls.get()), (vec![15, 13], 1 + 6 + 6));
        let found = explain(pattern, &texts, &limited(3));
        assert_eq!((lengths(found), calls.get()), (vec![15, 0, 0], 4 + 1));
        let found = closest(pattern, Side::Prefix, &[(7, b"xx")], &limited(2));
        assert_eq!((found, calls.get()), (None, 3));
    }
}

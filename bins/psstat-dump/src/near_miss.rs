//! What keeps a rule from matching a command line that it nearly matches.
//!
//! The rule is cut in two: a beginning, what is left out, and an ending. Where
//! the beginning matches, and further on the ending, all that is wrong lies
//! between: the regex wants what was left out, and the command line has what
//! stands there. Of all such cuts the one that leaves out least is told.

use std::ops::Range;

use psstat_matcher::{ImageName, Rules};

/// The longest regex, in characters, that is cut.
const LONGEST: usize = 300;
/// How many beginnings are tried, from the longest one that matches down.
const MAX_PREFIXES: usize = 4;
/// How many places of an ending are looked at.
const MAX_SPLITS: usize = 12;
/// At least so many characters of the regex match.
const MIN_LEN: usize = 4;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NearMiss {
    /// Letters in upper case where the other has lower case: it would match
    /// here if case did not count.
    Case(Range<usize>),
    /// Something else stands at one place.
    Gap {
        /// What the regex wants there, in bytes of it; may be empty.
        wanted: Range<usize>,
        /// What the command line has there, in bytes of it; may be empty.
        found: Range<usize>,
    },
}

/// What keeps `regex` from matching `text`, which it does not. `None`: more
/// than one thing, or most of it.
pub fn of(regex: &[u8], text: &[u8]) -> Option<NearMiss> {
    let regex = std::str::from_utf8(regex).ok()?;
    let length = regex.chars().count();
    if length > LONGEST {
        return None;
    }
    let any_case = compile(&format!("(?i){regex}")).and_then(|any_case| find(&any_case, text));
    if let Some(at) = any_case.filter(|at| !at.is_empty()) {
        return Some(NearMiss::Case(at));
    }
    let cuts = Splits { regex, flags: flags_end(regex), text };
    let ends: Vec<usize> = regex.char_indices().map(|(at, _)| at).chain([regex.len()]).collect();
    let longest = ends.iter().rposition(|&end| cuts.beginning(end).is_some())?;
    // Shorter beginnings match where a longer one does.
    let beginnings = ends.get(..=longest)?.iter().rev().take(MAX_PREFIXES);
    let endings: Vec<Suffix> = ends.iter().filter_map(|&start| cuts.ending(start)).collect();
    let tried = beginnings.filter_map(|&end| cuts.narrowest(end, &endings));
    let left_out = |wanted: &Range<usize>| count(regex.get(wanted.clone()).unwrap_or_default());
    // What matches by a few letters is not near.
    let near = tried.filter(|(wanted, _)| {
        let matched = length - left_out(wanted);
        matched >= MIN_LEN && matched * 2 >= length
    });
    // The regex is what somebody wrote; there is much else on a command line.
    let best = near.min_by_key(|(wanted, found)| 8 * left_out(wanted) + found.len());
    best.map(|(wanted, found)| NearMiss::Gap { wanted, found })
}

fn count(text: &str) -> usize {
    text.chars().count()
}

/// A regex and the text that it is cut for.
struct Splits<'a> {
    regex: &'a str,
    /// How long the flags are at its start; they hold for each part.
    flags: usize,
    text: &'a [u8],
}

/// An ending of the regex, and where it matches.
struct Suffix {
    /// Where in the regex it begins.
    start: usize,
    /// Where in the text it does, some of the places, in their order.
    at: Vec<usize>,
}

impl Splits<'_> {
    fn part(&self, part: Range<usize>) -> Option<Rules> {
        let flags = self.regex.get(..self.flags)?;
        compile(&format!("{flags}{}", self.regex.get(part)?))
    }

    /// The beginning up to here, if it is a regex and matches.
    fn beginning(&self, end: usize) -> Option<Rules> {
        let beginning = self.part(self.flags.min(end)..end)?;
        find(&beginning, self.text).map(|_| beginning)
    }

    /// The ending from here on, if it is a regex and matches.
    fn ending(&self, start: usize) -> Option<Suffix> {
        let is_anchored = self.regex.get(start..)?.starts_with('^');
        if start < self.flags || start == self.regex.len() || is_anchored {
            return None;
        }
        let ending = self.part(start..self.regex.len())?;
        let (mut at, mut from) = (Vec::new(), 0);
        while at.len() < MAX_SPLITS
            && let Some(found) = self.text.get(from..).and_then(|rest| find(&ending, rest))
        {
            at.push(from + found.start);
            from += found.start + 1;
        }
        (!at.is_empty()).then_some(Suffix { start, at })
    }

    /// The longest ending that matches behind this beginning: what is left out,
    /// and what stands there instead.
    fn narrowest(&self, end: usize, endings: &[Suffix]) -> Option<(Range<usize>, Range<usize>)> {
        let beginning = self.beginning(end)?;
        // Where the beginning ends that matches nearest before a place.
        let before = |at: usize| match self.text.get(..at)? {
            // Nothing matches an empty text; a beginning that is empty would.
            [] => find(&beginning, self.text).filter(|found| found.end == 0).map(|_| 0),
            // The closing space that a rule may count on is not there.
            text => Some(find(&beginning, text)?.end).filter(|end| *end <= at),
        };
        let fitting = endings.iter().filter(|ending| ending.start >= end);
        let mut fitting = fitting.filter_map(|ending| {
            let gaps = ending.at.iter().filter_map(|&at| Some(before(at)?..at));
            Some((end..ending.start, gaps.min_by_key(Range::len)?))
        });
        if let Some(longest) = fitting.next() {
            return Some(longest);
        }
        // Nothing tells where it ends: the rest of the word.
        let from = find(&beginning, self.text)?.end.min(self.text.len());
        let rest = self.text.get(from..)?;
        let width = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        Some((end..self.regex.len(), from..from + width))
    }
}

/// How long the flags are that a regex begins with: `(?i)`.
fn flags_end(regex: &str) -> usize {
    let Some((flags, _)) = regex.strip_prefix("(?").and_then(|rest| rest.split_once(')')) else {
        return 0;
    };
    let is_flags = !flags.is_empty() && flags.bytes().all(|flag| b"aimsux".contains(&flag));
    if is_flags { flags.len() + 3 } else { 0 }
}

fn compile(regex: &str) -> Option<Rules> {
    let mut rules = Rules::default();
    let image: ImageName = crate::selector::PATTERN_IMAGE.parse().ok()?;
    rules.push(image, regex).ok()?;
    Some(rules)
}

fn find(rules: &Rules, text: &[u8]) -> Option<Range<usize>> {
    rules.rules().first()?.find(text).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wanted, and what is there instead.
    fn near_miss<'a>(regex: &'a str, text: &'a str) -> Option<(&'a str, &'a str)> {
        match of(regex.as_bytes(), text.as_bytes())? {
            NearMiss::Case(at) => Some(("case", &text[at])),
            NearMiss::Gap { wanted, found } => Some((&regex[wanted], &text[found])),
        }
    }

    #[test]
    fn common_mistakes() {
        let java = "java -server -Xmx4g -Dapp.home=/srv/shops -cp /srv/shop/lib/a.jar:\
                    /srv/shop/lib/b.jar -jar /srv/shops/orders.jar --port 8080";
        let cases = [
            // a wrong path
            (r"^java .*/srv/shop/orders\.jar", java, "", "s"),
            (r"^/usr/bin/java .*/srv/shops/orders\.jar", java, "/usr/bin/", ""),
            // the case
            (r"Orders\.JAR", java, "case", "orders.jar"),
            // a typo, letters that changed places, a word too many
            (r"^postgres: .*checkpointr", "postgres: 14/main: checkpointer", "", "e"),
            (r"checkpionter", "postgres: checkpointer", "io", "oi"),
            (r"nginx: the worker", "nginx: worker process", "the ", ""),
            // anchors
            (r"^redis-server ", "/usr/bin/redis-server *:6379", "", "/usr/bin/"),
            (r"^nginx: worker$", "nginx: worker process", "", " process"),
            (r"^sshd$", "sshd: root@pts/0", "", ": root@pts/0"),
            // another value, another ending, escapes
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
            // flags, and what is no ASCII
            (r"(?i)NGINX: wrker", "nginx: worker", "", "o"),
            ("x 日語 y", "x 日本 y", "語", "本"),
        ];
        for (regex, text, wanted, found) in cases {
            assert_eq!(near_miss(regex, text), Some((wanted, found)), "{regex}");
        }
    }

    #[test]
    fn unrelated_patterns() {
        for (regex, text) in [
            ("zookeeper", "java -jar x"),
            (r"^java .*orders\.jar", "nginx: worker"),
            ("^r", "java r"),
            ("", "x"),
            ("(", "x"),
        ] {
            assert_eq!(near_miss(regex, text), None, "{regex}");
        }
        let long = "a".repeat(2000);
        assert_eq!(near_miss(&long, "aaa"), None);
    }

    #[test]
    fn a_long_command_line_is_no_trouble() {
        let classes = (0..400).map(|n| format!("/opt/app/lib/part-{n}.jar:")).collect::<String>();
        let text = format!("java -Xmx4g -cp {classes} com.example.Mian --port 80");
        assert_eq!(near_miss(r"^java .*com\.example\.Main", &text), Some(("ai", "ia")));
    }
}

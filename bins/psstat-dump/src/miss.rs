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
const BEGINNINGS: usize = 8;
/// At least so many characters of the regex match.
const LEAST: usize = 4;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Letters in upper case where the other has lower case: it would match
    /// here if case did not count.
    Case(Range<usize>),
    /// Something else stands at one place.
    Place {
        /// What the regex wants there, in bytes of it; may be empty.
        wanted: Range<usize>,
        /// What the command line has there, in bytes of it; may be empty.
        found: Range<usize>,
    },
}

/// What keeps `regex` from matching `text`, which it does not. `None`: more
/// than one thing, or most of it.
pub fn of(regex: &[u8], text: &[u8]) -> Option<Miss> {
    let regex = std::str::from_utf8(regex).ok()?;
    let length = regex.chars().count();
    if length > LONGEST {
        return None;
    }
    if let Some(at) = find(&format!("(?i){regex}"), text).filter(|at| !at.is_empty()) {
        return Some(Miss::Case(at));
    }
    let cuts = Cuts { regex, text };
    let ends: Vec<usize> = regex.char_indices().map(|(at, _)| at).chain([regex.len()]).collect();
    let longest = ends.iter().rposition(|&end| cuts.begins(end))?;
    // Shorter beginnings match where a longer one does.
    let beginnings = ends.get(..=longest)?.iter().rev().take(BEGINNINGS);
    let tried = beginnings.filter_map(|&end| cuts.narrowest(end, &ends));
    let left_out = |wanted: &Range<usize>| count(regex.get(wanted.clone()).unwrap_or_default());
    // What matches by a few letters is not near.
    let near = tried.filter(|(wanted, _)| {
        let matched = length - left_out(wanted);
        matched >= LEAST && matched * 2 >= length
    });
    // The regex is what somebody wrote; there is much else on a command line.
    let best = near.min_by_key(|(wanted, found)| 8 * left_out(wanted) + found.len());
    best.map(|(wanted, found)| Miss::Place { wanted, found })
}

fn count(text: &str) -> usize {
    text.chars().count()
}

/// A regex and the text that it is cut for.
struct Cuts<'a> {
    regex: &'a str,
    text: &'a [u8],
}

impl Cuts<'_> {
    /// Whether the beginning up to here is a regex and matches.
    fn begins(&self, end: usize) -> bool {
        self.regex.get(..end).is_some_and(|beginning| find(beginning, self.text).is_some())
    }

    /// The longest ending that matches somewhere behind this beginning, as
    /// what is left out and what stands there instead.
    fn narrowest(&self, end: usize, ends: &[usize]) -> Option<(Range<usize>, Range<usize>)> {
        let at = ends.iter().position(|one| *one == end)?;
        let starts = ends.get(at..)?;
        // A longer ending matches less often. One that is no regex by itself
        // counts as one that does not match: the next is tried.
        let (mut low, mut high) = (0, starts.len() - 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let valid = (middle..=high).find(|&at| is_regex(self.regex.get(starts[at]..)))?;
            if self.gap(end, starts[valid], None).is_some() {
                high = middle;
            } else {
                low = valid + 1;
            }
        }
        let start = (low..starts.len()).find_map(|at| {
            let start = *starts.get(at)?;
            is_regex(self.regex.get(start..)).then_some(start)
        })?;
        self.gap(end, start, None)?;
        // The narrowest gap in the text.
        let (mut low, mut high) = (0, count(&String::from_utf8_lossy(self.text)));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.gap(end, start, Some(middle)).is_some() {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let from = self.gap(end, start, Some(low))?;
        if start == self.regex.len() {
            // Nothing tells where it ends: the rest of the word.
            let rest = self.text.get(from..)?;
            let width = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
            return Some((end..start, from..from + width));
        }
        let rest = String::from_utf8_lossy(self.text.get(from..)?);
        let width: usize = rest.chars().take(low).map(char::len_utf8).sum();
        Some((end..start, from..(from + width).min(self.text.len())))
    }

    /// Where the beginning ends, if the ending matches behind it, at most so
    /// many characters further on.
    fn gap(&self, end: usize, start: usize, most: Option<usize>) -> Option<usize> {
        let (beginning, ending) = (self.regex.get(..end)?, self.regex.get(start..)?);
        // Flags stand at the start of all of it and hold for the ending, too.
        let (flags, beginning) = beginning.split_at(flags_end(beginning));
        let most = most.map_or(String::new(), |most| most.to_string());
        let cut = format!("{flags}(?:{beginning})(?=(?s:.{{0,{most}}}?)(?:{ending}))");
        Some(find(&cut, self.text)?.end)
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

fn is_regex(regex: Option<&str>) -> bool {
    regex.is_some_and(|regex| compile(regex).is_some())
}

fn compile(regex: &str) -> Option<Rules> {
    let mut rules = Rules::default();
    let image: ImageName = crate::choose::AD_HOC.parse().ok()?;
    rules.push(image, regex).ok()?;
    Some(rules)
}

fn find(regex: &str, text: &[u8]) -> Option<Range<usize>> {
    compile(regex)?.rules().first()?.find(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wanted, and what is there instead.
    fn miss<'a>(regex: &'a str, text: &'a str) -> Option<(&'a str, &'a str)> {
        match of(regex.as_bytes(), text.as_bytes())? {
            Miss::Case(at) => Some(("case", &text[at])),
            Miss::Place { wanted, found } => Some((&regex[wanted], &text[found])),
        }
    }

    #[test]
    fn what_people_write() {
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
            (r"^redis-server ", "/usr/bin/redis-server *:6379", "^", ""),
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
            assert_eq!(miss(regex, text), Some((wanted, found)), "{regex}");
        }
    }

    #[test]
    fn what_is_not_near() {
        for (regex, text) in [
            ("zookeeper", "java -jar x"),
            (r"^java .*orders\.jar", "nginx: worker"),
            ("^r", "java r"),
            ("", "x"),
            ("(", "x"),
        ] {
            assert_eq!(miss(regex, text), None, "{regex}");
        }
        let long = "a".repeat(2000);
        assert_eq!(miss(&long, "aaa"), None);
    }

    #[test]
    fn a_long_command_line_is_no_trouble() {
        let classes = (0..400).map(|n| format!("/opt/app/lib/part-{n}.jar:")).collect::<String>();
        let text = format!("java -Xmx4g -cp {classes} com.example.Mian --port 80");
        assert_eq!(miss(r"^java .*com\.example\.Main", &text), Some(("ai", "ia")));
    }
}

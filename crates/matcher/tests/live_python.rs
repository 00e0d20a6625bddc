//! Generated patterns and texts, matched by this crate and by the host's python3.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use proptest::prelude::*;
use proptest::test_runner::{FailurePersistence, FileFailurePersistence};
use psstat_matcher::{ImageName, MatchCache, Pattern, Rules};

/// A python3 that matches one case per line.
struct Python {
    child: Child,
    cases: ChildStdin,
    results: BufReader<ChildStdout>,
}

impl Python {
    /// `None` if there is no python3 with the dialect of this crate: possessive
    /// quantifiers require 3.11, and 3.14 has changed `\B`.
    fn start() -> Option<Self> {
        Self::start_if("(3, 11) <= sys.version_info < (3, 14)")
    }

    /// `None` if its Unicode tables are not those of this crate.
    fn start_with_unicode_14() -> Option<Self> {
        Self::start_if("unicodedata.unidata_version == '14.0.0'")
    }

    fn start_if(condition: &str) -> Option<Self> {
        let program = &format!("import sys, unicodedata; sys.exit(not ({condition}))");
        let output = Command::new("python3").args(["-c", program]).output().ok()?;
        if !output.status.success() {
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/python/judge.py");
        let mut child = Command::new("python3")
            .args([script, "--serve"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let cases = child.stdin.take()?;
        let results = BufReader::new(child.stdout.take()?);
        Some(Self { child, cases, results })
    }

    /// The result of `re.search`: a range of bytes, `no`, `error` or `bug`.
    fn search(&mut self, pattern: &[u8], text: &[u8]) -> String {
        let line = format!("{}\t{}\n", escape(pattern), escape(text));
        self.cases.write_all(line.as_bytes()).unwrap();
        let mut result = String::new();
        self.results.read_line(&mut result).unwrap();
        result.trim_end().to_owned()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn escape(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for &b in bytes {
        if (0x20..0x7f).contains(&b) && b != b'\\' {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out
}

/// Parts of texts and literals: few, so that matches are frequent.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &[&[u8]] = &[
        b"a",
        b"b",
        b"a",
        b"b",
        b"A",
        b"B",
        b"1",
        b"_",
        b"-",
        b" ",
        b"\n",
        b"k",
        b"S",
        "é".as_bytes(),
        "É".as_bytes(),
        "ß".as_bytes(),
        "ſ".as_bytes(),
        "\u{212a}".as_bytes(),
        "\u{301}".as_bytes(),
        "中".as_bytes(),
        "😀".as_bytes(),
        "²".as_bytes(),
        "\u{a0}".as_bytes(),
        b"\xff",
        b"\xc3",
        b"\xe2\x82",
        b"\xed\xb2\x80",
        b"\x1c",
    ];
    prop::sample::select(pieces.to_vec()).prop_map(<[u8]>::to_vec)
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::collection::vec(prop::sample::select(b"abAB1_- \n".to_vec()), 0..12),
        2 => prop::collection::vec(piece(), 0..10).prop_map(|p| p.concat()),
    ]
}

/// Patterns, most of which are valid.
fn pattern() -> impl Strategy<Value = Vec<u8>> {
    let s = |t: &'static str| Just(t.as_bytes().to_vec());
    let class_part = prop_oneof![
        piece(),
        s("a-b"),
        s("A-Z"),
        s("a-z"),
        s("\\d"),
        s("\\w"),
        s("\\s"),
        s("\\W"),
        s("\\S"),
        s("\\D"),
        s("\\x00-\\x7f"),
        s("\\u0080-\\uffff"),
        s("\\udc80-\\udcff"),
        s("\\-"),
        s("&&"),
        s("["),
        s("\u{e0}-\u{ff}"),
    ];
    let class = (any::<bool>(), prop::collection::vec(class_part, 1..4))
        .prop_map(|(n, parts)| [if n { &b"[^"[..] } else { b"[" }, &parts.concat(), b"]"].concat());
    let leaf = prop_oneof![
        6 => prop::sample::select(&b"aabbAB1_- "[..]).prop_map(|b| vec![b]),
        3 => piece(),
        2 => class,
        2 => prop::sample::select(vec![
            ".", "\\w", "\\W", "\\d", "\\s", "\\S", "\\D", "\\b", "\\B", "^", "$", "\\A", "\\Z",
            "\\1", "\\2", "(?P=n)", "(?(1)(?(2)a|b)|c)", "\\N{LATIN SMALL LETTER A}", "\\N{DIGIT ONE}",
            "\\N{EM DASH}", "(?#)", "\\x41", "\\101", "\\u00e9", "{", "}", "]", "\\.", "\\n",
            "(?#c)", "",
        ]).prop_map(|t| t.as_bytes().to_vec()),
    ];
    let tree = leaf.prop_recursive(4, 24, 4, move |inner| {
        let quantifier = prop::sample::select(vec![
            "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{,2}", "{1,}", "{0,2}?", "*+", "++",
            "?+", "{1,2}+", "{0}",
        ]);
        let group = prop::sample::select(vec![
            "(",
            "(",
            "(",
            "(?:",
            "(?:",
            "(?P<n>",
            "(?i:",
            "(?s:",
            "(?m:",
            "(?a:",
            "(?u:",
            "(?-i:",
            "(?x:",
            "(?ai-s:",
            "(?=",
            "(?!",
            "(?<=",
            "(?<!",
            "(?>",
            "(?(1)",
            "(?(2)",
            "(?(1)a|",
            "(?(2)(?(1)b|",
            "(?#c)(?:",
        ]);
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 1..4).prop_map(|v| v.concat()),
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(|v| v.join(&b'|')),
            4 => (group.clone(), inner.clone())
                .prop_map(|(g, i)| [g.as_bytes(), &i, b")"].concat()),
            4 => (group, inner.clone(), quantifier.clone())
                .prop_map(|(g, i, q)| [g.as_bytes(), &i, b")", q.as_bytes()].concat()),
            1 => (inner, quantifier).prop_map(|(i, q)| [&i[..], q.as_bytes()].concat()),
        ]
    });
    // References to groups in repeats, mostly possessive ones: CPython loses
    // some of these groups.
    let part = prop_oneof![
        3 => prop::sample::select(vec![
            "(a)", "(b)", "a", "b", "c", ".", "(a)b", "(?=(a))a", "(?>(a))", "(?:(b)|a)", "(a)?",
            "(a)\\1", "(?(1)a|b)", "(?P<n>a)",
        ]).prop_map(|t| t.as_bytes().to_vec()),
        1 => tree.clone(),
    ];
    let quantifier = prop::sample::select(vec!["*+", "++", "?+", "{2,}+", "{1,2}+", "*", "+?"]);
    let reference = prop::sample::select(vec!["\\1", "\\2", "(?P=n)", "(?(1)a|b)", "(?(2)b)"]);
    let looped = (prop::collection::vec(part.clone(), 1..4), quantifier, part, reference).prop_map(
        |(parts, quantifier, between, reference)| {
            let body = parts.join(&b'|');
            [b"(?:", &body[..], b")", quantifier.as_bytes(), &between, reference.as_bytes()]
                .concat()
        },
    );
    let tree = prop_oneof![5 => tree, 1 => looped];
    (prop::sample::select(vec!["", "", "", "(?i)", "(?m)", "(?s)", "(?ai)", "(?im)", "(?x)"]), tree)
        .prop_map(|(flags, tree)| [flags.as_bytes(), &tree].concat())
}

/// Number of cases by result.
#[derive(Debug, Default)]
struct Counts {
    matched: usize,
    unmatched: usize,
    rejected_by_both: usize,
    /// Rejected, because CPython loses a group.
    unreliable: usize,
    step_limit_exceeded: usize,
    /// CPython detected a bug of its own.
    cpython_bugs: usize,
}

/// Failed cases are appended to this file and tried first in later runs.
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proptest-regressions/python.txt");

fn cases() -> u32 {
    std::env::var("PSSTAT_PYTHON_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000)
}

#[test]
fn agrees_with_cpython() {
    let Some(python) = Python::start() else {
        println!("skipped: no python3 from 3.11 to 3.13 to compare with");
        return;
    };
    let python = Mutex::new((python, Counts::default()));
    let failure_persistence: Option<Box<dyn FailurePersistence>> =
        Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS)));
    let config = ProptestConfig { cases: cases(), failure_persistence, ..Default::default() };
    let texts = prop::collection::vec(text(), 4);
    proptest!(config, |(source in pattern(), texts in texts)| {
        let (python, counts) = &mut *python.lock().unwrap();
        let mut rules = Rules::default();
        let accepted = rules.push_bytes("image".parse::<ImageName>().unwrap(), &source);
        for text in texts {
            let mut with_trailing_space = text.clone();
            with_trailing_space.push(b' ');
            let mut expected = python.search(&source, &text);
            if expected == "no" {
                expected = python.search(&source, &with_trailing_space);
            }
            if expected == "bug" {
                counts.cpython_bugs += 1;
                continue;
            }
            let case = || format!("{} on {}", source.escape_ascii(), text.escape_ascii());
            if let Err(error) = &accepted {
                if expected == "error" {
                    counts.rejected_by_both += 1;
                } else if error.message().contains("Python loses") {
                    counts.unreliable += 1;
                } else {
                    prop_assert!(false, "{}: rejected: {error}", case());
                }
                continue;
            }
            prop_assert_ne!(&expected, "error", "{}: accepted", case());
            let mut cache = MatchCache::default();
            let matches = rules.matches(&text, &mut cache);
            let (stats, is_match) = (matches.stats(), matches.len() > 0);
            if stats.step_limit_hits > 0 {
                counts.step_limit_exceeded += 1;
                continue;
            }
            let compiled = Pattern::from_bytes(&source).unwrap();
            let found = compiled.find(&text).unwrap();
            let found = found.or_else(|| compiled.find(&with_trailing_space).unwrap());
            let range =
                found.as_ref().map_or("no".to_owned(), |r| format!("{} {}", r.start, r.end));
            prop_assert_eq!(&range, &expected, "{}", case());
            let in_text = found.map(|r| r.start.min(text.len())..r.end.min(text.len()));
            prop_assert_eq!(rules.rules()[0].find(&text).unwrap(), in_text, "{}", case());
            prop_assert_eq!(is_match, expected != "no", "{}", case());
            if is_match {
                counts.matched += 1;
            } else {
                counts.unmatched += 1;
            }
        }
    });
    let (_, counts) = &*python.lock().unwrap();
    println!("{counts:?}");
    assert!(counts.matched + counts.unmatched > counts.rejected_by_both);
    assert!(counts.step_limit_exceeded * 50 < counts.matched + counts.unmatched);
}

fn one_rule(pattern: &str) -> Rules {
    let mut rules = Rules::default();
    rules.push("image".parse::<ImageName>().unwrap(), pattern).unwrap();
    rules
}

/// One of how many characters is tested: each one if the number of cases is set.
fn step() -> usize {
    if std::env::var_os("PSSTAT_PYTHON_CASES").is_some() { 1 } else { 24 }
}

/// Compares the matches of `\w+`, `\d+` and `\s+` in a text of all characters.
#[test]
fn categories_agree_for_all_characters() {
    let Some(mut python) = Python::start_with_unicode_14() else {
        println!("skipped: no python3 with Unicode 14 to compare with");
        return;
    };
    let all: Vec<char> = (1..=0x10_ffff).filter_map(char::from_u32).collect();
    for pattern in [r"\w+", r"\d+", r"\s+"] {
        let compiled = Pattern::new(pattern).unwrap();
        for chunk in all.chunks(256).step_by(step()) {
            let text: String = chunk.iter().collect();
            let mut rest = text.as_bytes();
            loop {
                let range = compiled.find(rest).unwrap();
                let actual =
                    range.clone().map_or("no".into(), |r| format!("{} {}", r.start, r.end));
                let expected = python.search(pattern.as_bytes(), rest);
                assert_eq!(actual, expected, "{pattern} in the characters from {:?}", chunk[0]);
                let Some(range) = range else { break };
                rest = &rest[range.end..];
            }
        }
    }
}

/// Compares each character with case with its case variants.
#[test]
fn case_folding_agrees_for_all_characters() {
    let Some(mut python) = Python::start_with_unicode_14() else {
        println!("skipped: no python3 with Unicode 14 to compare with");
        return;
    };
    let (mut cases, mut number) = (0, 0);
    for c in (0..=0x10_ffff).filter_map(char::from_u32) {
        if c.to_uppercase().eq([c]) && c.to_lowercase().eq([c]) {
            continue;
        }
        let mut variants = vec![c];
        for _ in 0..2 {
            let further: Vec<char> =
                variants.iter().flat_map(|r| r.to_uppercase().chain(r.to_lowercase())).collect();
            variants.extend(further);
            variants.sort_unstable();
            variants.dedup();
        }
        number += 1;
        if number % step() != 0 {
            continue;
        }
        let next = char::from_u32(u32::from(c) + 1).unwrap_or(c);
        let escaped = if c.is_ascii() { String::new() } else { format!("(?i)[{c}-{next}]") };
        for pattern in [format!("(?i){c}"), format!("(?i)[^{c}_]"), escaped] {
            if pattern.is_empty() {
                continue;
            }
            let rules = one_rule(&pattern);
            for variant in &variants {
                let text = variant.to_string();
                let actual =
                    rules.rules()[0].find(text.as_bytes()).unwrap().is_some_and(|r| r.start == 0);
                let expected = python.search(pattern.as_bytes(), text.as_bytes()) != "no";
                assert_eq!(actual, expected, "{pattern} on {text} ({:x})", u32::from(*variant));
                cases += 1;
            }
        }
    }
    println!("{cases} cases");
    assert!(cases > 100);
}

/// A rejected pattern, a part of the help, the pattern that the help suggests,
/// and texts with their matches.
type Suggestion =
    (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const SUGGESTIONS: &[Suggestion] = &[
    // Python accepts these.
    (r"(?:(a)|b)*+c\1", "`(?>(?:…)*)`", r"(?>(?:(a)|b)*)c\1", &[("abca", "0 4"), ("abc", "no")]),
    (r"(?:(a)|b)++c\1", "`(?>(?:…)+)`", r"(?>(?:(a)|b)+)c\1", &[("abca", "0 4"), ("ca", "no")]),
    (r"(?:(a)|ab){2,}+\1", "`(?>(?>…){2,})`", r"(?>(?>(a)|ab){2,})\1", &[("aba", "no")]),
    ("(?P<é>a)(?P=é)", "ASCII", "(?P<e>a)(?P=e)", &[("aa", "0 2"), ("ab", "no")]),
    ("(?t)a", "remove it", "a", &[("ba", "1 2")]),
    (r"\N{HIRAGANA LETTER A}", r"`\uHHHH`", r"\u3042", &[("xあ", "1 4")]),
    // Python rejects these. Other dialects accept them, or they are common mistakes.
    ("(?<n>a)(?P=n)", "`(?P<name>…)`", "(?P<n>a)(?P=n)", &[("aa", "0 2"), ("a", "no")]),
    ("(?'n'a)", "`(?P<name>…)`", "(?P<n>a)", &[("a", "0 1")]),
    (r"(?P<n>a)\k<n>", "`(?P=name)`", "(?P<n>a)(?P=n)", &[("aa", "0 2")]),
    (r"a\z", r"`\Z`", r"a\Z", &[("a", "0 1"), ("a\n", "no")]),
    (r"a\hb", r"`[ \t]`", r"a[ \t]b", &[("a\tb", "0 3"), ("a\nb", "no")]),
    (r"a\R", r"`(?:\r\n|[\n\r])`", r"a(?:\r\n|[\n\r])", &[("a\r\n", "0 3"), ("a\r", "0 2")]),
    (r"\e", r"`\x1b`", r"\x1b", &[("\x1b", "0 1")]),
    (r"\cA", r"`\xHH`", r"\x01", &[("\x01", "0 1")]),
    (r"\l", "`[a-z]`", "[a-z]", &[("Ab", "1 2")]),
    (r"\Qa.b\E", "a backslash before each", r"a\.b", &[("a.b", "0 3"), ("axb", "no")]),
    (r"\400", r"`\uHHHH`", r"\u0100", &[("Ā", "0 2")]),
    (r"\x4", "2 hexadecimal digits", r"\x04", &[("\x04", "0 1")]),
    (r"[\8]", r"without `\`", "[8]", &[("8", "0 1")]),
    ("[z-a]", "swap the ends", "[a-z]", &[("b", "0 1")]),
    (r"[\w-.]", r"`\-`", r"[\w\-.]", &[("-", "0 1"), ("/", "no")]),
    ("[a", r"`\[`", r"\[a", &[("[a", "0 2")]),
    ("(a", r"`\(`", r"\(a", &[("(a", "0 2")]),
    ("a)", r"`\)`", r"a\)", &[("a)", "0 2")]),
    ("*a", "a backslash", r"\*a", &[("*a", "0 2")]),
    ("a\\", r"`\\`", r"a\\", &[("a\\", "0 2")]),
    ("a**b", "`(?:a*)*`", "(?:a*)*b", &[("aab", "0 3")]),
    ("a{3,1}", "`{1,3}`", "a{1,3}", &[("aaaa", "0 3")]),
    ("x(?i)a", "`(?i:…)`", "x(?i:a)", &[("xA", "0 2"), ("XA", "no")]),
    ("(?L)a", "remove it", "a", &[("a", "0 1")]),
    ("(?<=a|bc)d", "`(?:(?<=a)|(?<=bc))`", "(?:(?<=a)|(?<=bc))d", &[("bcd", "2 3"), ("cd", "no")]),
    ("(a)?(?(1)b|c|d)", "`(?(1)a|(?:b|c))`", "(a)?(?(1)b|(?:c|d))", &[("ab", "0 2"), ("d", "0 1")]),
];

/// The pattern that a help suggests is accepted, by Python too, and has the
/// intended meaning.
#[test]
fn suggestions_have_the_intended_meaning() {
    let Some(mut python) = Python::start() else {
        println!("skipped: no python3 from 3.11 to 3.13 to compare with");
        return;
    };
    for (rejected, help, suggestion, texts) in SUGGESTIONS {
        let mut rules = Rules::default();
        let error = rules.push("image".parse::<ImageName>().unwrap(), rejected).unwrap_err();
        assert!(error.help().contains(help), "{rejected}: {}", error.help());
        let rules = one_rule(suggestion);
        for (text, expected) in *texts {
            let by_python = python.search(suggestion.as_bytes(), text.as_bytes());
            assert_eq!(by_python, *expected, "{suggestion} on {text:?}");
            let range = rules.rules()[0].find(text.as_bytes()).unwrap();
            let range = range.map_or("no".into(), |r| format!("{} {}", r.start, r.end));
            assert_eq!(range, *expected, "{suggestion} on {text:?}");
            let original = python.search(rejected.as_bytes(), text.as_bytes());
            let is_unreliable = error.message().contains("Python loses");
            assert!(
                is_unreliable || original == "error" || original == *expected,
                "{rejected}: {original}"
            );
        }
    }
}

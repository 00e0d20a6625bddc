//! Confs, good and bad, and what is said of them.

use psstat_matcher::{Conf, CoverageCheck, Rules, Severity};

/// What docs/rules.md says: bytes of a file and of a line, rules.
const MAX_FILE_LEN: usize = 4 << 20;
const MAX_LINE_LEN: usize = 64 << 10;
const MAX_RULES: usize = 10_000;
/// Diagnostics that are kept.
const MAX_DIAGNOSTICS: usize = 1_000;

/// Image and pattern of each rule, with its line.
fn rules(conf: &[u8]) -> Vec<(String, String, usize)> {
    let conf = Conf::parse(conf);
    let image = |n: usize| conf.rules.images()[n].to_string();
    let rules = conf.rules.rules().iter();
    rules
        .map(|r| (image(r.image()), r.pattern().escape_ascii().to_string(), r.line().unwrap()))
        .collect()
}

/// Severity, line, column, span and message of each diagnostic.
fn complaints(conf: &[u8]) -> Vec<(Severity, usize, usize, usize, String)> {
    let conf = Conf::parse(conf);
    conf.diagnostics
        .into_iter()
        .map(|d| (d.severity, d.line, d.column, d.span, d.message))
        .collect()
}

#[test]
fn lines_of_all_kinds() {
    let conf = b"\xef\xbb\xbffi/lrh          lrh.*fi/\r\n# comment\n\n   \t\n  # too\n\
                 \tjava\t java .* -jar  \na  \xff+\nb #no comment\nlast x";
    let expected = [
        ("fi/lrh", "lrh.*fi/", 1),
        ("java", "java .* -jar", 6),
        ("a", "\\xff+", 7),
        ("b", "#no comment", 8),
        ("last", "x", 9),
    ];
    let expected: Vec<_> =
        expected.iter().map(|(i, p, l)| ((*i).to_owned(), (*p).to_owned(), *l)).collect();
    assert_eq!(rules(conf), expected);
    assert_eq!(complaints(conf), []);
}

#[test]
fn bad_lines_are_told_and_the_others_count() {
    let conf = "ok1 x\nbild:er y\nonly\na\0b z\n\u{e9}\u{e9} q\npa (a\nok2 y\n x  \u{e9}\\y\n";
    assert_eq!(rules(conf.as_bytes()).len(), 2);
    let error = |line, column, span, message: &str| {
        (Severity::Error, line, column, span, message.to_owned())
    };
    let name = "the image name has a character other than a-z A-Z 0-9 - _ . /";
    assert_eq!(
        complaints(conf.as_bytes()),
        [
            error(2, 5, 1, name),
            error(3, 1, 4, "image `only` has no regex"),
            error(4, 2, 1, "the line has a NUL byte"),
            error(5, 1, 1, name),
            error(6, 4, 1, "missing ), unterminated subpattern"),
            error(8, 6, 2, "bad escape \\y: Python knows none of that name"),
        ]
    );
}

/// What Python takes is not told as though Python refused it.
#[test]
fn unsupported_syntax_is_reported() {
    for (pattern, wanted) in [
        ("(?P<\u{e9}>a)", "group names beyond ASCII are not supported here"),
        ("(?t)a", "the flag `t` is not supported here: Python 3.13 has none"),
        ("(?P<1>a)", "bad character in group name"),
    ] {
        let all = complaints(format!("image {pattern}").as_bytes());
        assert_eq!(all[0].4, wanted, "{pattern}");
    }
}

#[test]
fn shown_as_a_compiler_does() {
    let conf = Conf::parse("\n\tjava  \u{4e2d}\u{1b}[(?<n>a)\n".as_bytes());
    let shown = conf.diagnostics[0].display("/pxy/psstat.conf").to_string();
    let expected = "error: unterminated character set\n \
                    --> /pxy/psstat.conf:2:10\n  |\n\
                    2 |  java  \u{4e2d}\\x1b[(?<n>a)\n  |              ^^^^^^^^\n  \
                    = help: close it with `]`, or write `\\[` for the character; a `]` that \
                    stands first in a class is a character of it";
    assert_eq!(shown, expected);
}

#[test]
fn a_long_line_is_cut_around_the_spot() {
    let line = format!("image {}(?<n>x){}", "a".repeat(5_000), "b".repeat(5_000));
    let conf = Conf::parse(line.as_bytes());
    let shown = conf.diagnostics[0].display("conf").to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.iter().all(|l| l.len() < 130), "{shown}");
    let caret = lines[4].find('^').unwrap();
    assert_eq!(&lines[3][caret..caret + 3], "(?<");
    assert!(lines[3].ends_with("..."));
}

#[test]
fn terminal_escapes_are_filtered() {
    let conf = Conf::parse(b"\x1b]0;x\x07 a\nb \xe2\x80\xae(\n\xffx y\n");
    for diagnostic in &conf.diagnostics {
        let shown = diagnostic.display("a\x1bb").to_string();
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
        assert!(!shown.contains('\u{202e}'));
    }
    assert_eq!(conf.diagnostics.len(), 3);
}

#[test]
fn likely_mistakes() {
    let conf =
        "web a*\nfi-lrh x1\nFI_lrh x2\nz foo\nz foobar\nz foo\nz (?i)FOO\nq foo\nq a.*xfoo\n";
    let warning = |line, column, span, message: &str| {
        (Severity::Warning, line, column, span, message.to_owned())
    };
    assert_eq!(
        complaints(conf.as_bytes()),
        [
            warning(1, 5, 2, "this matches the empty string, and so every process"),
            warning(3, 1, 6, "the image `FI_lrh` is written `fi-lrh` elsewhere"),
            warning(4, 3, 3, "whatever this matches, the rule in line 7 matches too"),
            warning(5, 3, 6, "whatever this matches, the rule in line 4 matches too"),
            warning(6, 3, 3, "whatever this matches, the rule in line 4 matches too"),
            warning(9, 3, 7, "whatever this matches, the rule in line 8 matches too"),
        ]
    );
    // Another word of it is longer, and was the only one that was compared.
    let conf = "fi lrh\nfi lrh.*finland/\nq ab|cd\nq x.*ab|cde\nr .*xy\nr x(y)z\n";
    assert_eq!(
        complaints(conf.as_bytes()),
        [
            warning(2, 4, 13, "whatever this matches, the rule in line 1 matches too"),
            warning(4, 3, 9, "whatever this matches, the rule in line 3 matches too"),
            warning(6, 3, 5, "whatever this matches, the rule in line 5 matches too"),
        ]
    );
    for empty in ["a x*", "a .*", "a (?s)(.*?)(?:a|b?)++", "a (?!x)|"] {
        let all = complaints(empty.as_bytes());
        assert!(all[0].4.contains("matches the empty string"), "{empty}: {all:?}");
    }
    // None of these is one.
    for good in ["a (?!x)|", "a \\b", "a ^\nb ^", "a $x", "a Foo\na foobar", "a (?=x)", "a x|^$"] {
        let empty = "matches the empty string";
        let all = complaints(good.as_bytes());
        let told = all.iter().any(|c| c.4.contains(empty));
        assert_eq!(told, good.starts_with("a ^") || good == "a (?!x)|", "{good}: {all:?}");
    }
}

#[test]
fn coverage_on_this_host() {
    let conf = Conf::parse(b"a nothing\nb .\nc psstat\nd cron\ne x*\n");
    let mut survey = CoverageCheck::new(&conf.rules);
    for text in ["init", "cron", "sshd", "top", ""] {
        survey.record(text.as_bytes());
    }
    survey.record_self(b"psstat-dump");
    assert_eq!(survey.processes(), 5);
    assert_eq!(survey.matched().collect::<Vec<_>>(), [0, 5, 1, 1, 5]);
    let findings = survey.findings().into_iter().map(|w| (w.severity, w.line, w.message));
    let said = |severity, line, message: &str| (severity, line, message.to_owned());
    assert_eq!(
        findings.collect::<Vec<_>>(),
        [
            said(Severity::Note, 1, "this matches nothing among the 5 processes here"),
            said(Severity::Warning, 2, "this matches all 5 processes here"),
            said(Severity::Warning, 3, "this matches the collector itself"),
        ]
    );
}

/// Each rule had its whole step limit for each process, twice: a check of a bad
/// conf took minutes, and said of the file alone that rules hit a limit.
#[test]
fn a_survey_asks_a_rule_that_gave_up_no_more() {
    let mut rules = Rules::default();
    for pattern in ["(a+)+\\1$", "a(?=!)"] {
        rules.push("image".parse().unwrap(), pattern).unwrap();
    }
    let mut survey = CoverageCheck::new(&rules);
    let hostile = [&[b'a'; 5_000][..], b"!"].concat();
    // The budget is for some two hundred such.
    for _ in 0..2_000 {
        survey.record(&hostile);
    }
    survey.record(b"aa");
    assert_eq!(survey.matched().collect::<Vec<_>>(), [0, 2_000]);
    let findings = survey.findings();
    assert_eq!(findings.len(), 1);
    assert!(findings[0].message.starts_with("this hit its step limit"), "{findings:?}");
    assert!(!findings[0].help.is_empty());
    // What a survey finds is no rule in force that gave up.
    assert_eq!(rules.rules()[0].step_limit_hits(), 0);
}

#[test]
fn too_much_is_refused() {
    // A line of 10 MB within a file that is too large, and within one that
    // is not.
    let mut long = b"ok x\nlong ".to_vec();
    long.resize(10 << 20, b'a');
    let all = complaints(&long);
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].0, all[0].1), (Severity::Error, 0));
    assert_eq!(rules(&long), []);
    long.truncate(MAX_FILE_LEN);
    let all = complaints(&long);
    assert_eq!((all.len(), all[0].1, all[0].2), (1, 2, 1));
    assert_eq!(rules(&long).len(), 1);
    let conf = Conf::parse(&long);
    assert_eq!(conf.diagnostics[0].text.len(), MAX_LINE_LEN);
    // A hundred MB of nothing.
    assert_eq!(complaints(&vec![b'\n'; 100 << 20]).len(), 1);
    // All lines bad.
    let bad = "(\n".repeat(10_000);
    assert_eq!(complaints(bad.as_bytes()).len(), MAX_DIAGNOSTICS + 1);
}

#[test]
fn rules_without_number() {
    let many: String = (0..MAX_RULES + 50).map(|i| format!("image{i} w{i}\n")).collect();
    let conf = Conf::parse(many.as_bytes());
    assert_eq!(conf.rules.rules().len(), MAX_RULES);
    assert_eq!(conf.diagnostics.len(), 1);
    let mut found = Vec::new();
    conf.rules.classify(b"x w9998 y", &mut |i| found.push(i));
    // w9, w99, w999 and w9998 are all in it.
    assert_eq!(found, [9, 99, 999, 9998]);
}

#[test]
fn patterns_that_would_be_huge() {
    for (pattern, taken) in [
        ("a{1000}", true),
        ("(?:a{1000}){10}", true),
        ("(?:a{1000}){1000}", false),
        ("a{4294967294}", false),
        ("(?:(?:(?:(?:a{99}){99}){99}){99}){99}", false),
        (r"\w{2000}", true),
        (r"(?:\w+\s+){1,300}", true),
        // Counted, not written out.
        (r"(?=x)(?:a{1000}){1000}", true),
    ] {
        let conf = Conf::parse(format!("image {pattern}").as_bytes());
        assert_eq!(!conf.has_errors(), taken, "{pattern}: {:?}", conf.diagnostics);
    }
    // Each is small enough, all together are not.
    let many: String = (0..400).map(|i| format!("image{i} (?:ab{i}c){{3000}}\n")).collect();
    assert!(Conf::parse(many.as_bytes()).has_errors());
}

/// Only alternatives were counted as nesting: conditionals, whose branches are
/// none, overflowed the stack, and one line of a conf ended the program.
#[test]
fn nesting_is_bounded_whatever_nests() {
    let pairs = [
        ("(", ")"),
        ("(?:", ")*"),
        ("(?:a|", ")"),
        ("(?i:", ")??"),
        ("(?=", ")"),
        ("(?!", ")+"),
        ("(?<=", ")"),
        ("(?<!", ")"),
        ("(?>", ")++"),
        ("(?(1)", ")"),
        ("(?(1)a|", ")?"),
        ("(?(1)(?:(?>", ")|(?=x)))"),
    ];
    for (open, close) in pairs {
        let nested = |levels: usize| {
            Conf::parse(format!("x (){}a{}", open.repeat(levels), close.repeat(levels)).as_bytes())
        };
        let groups = open.matches('(').count() - usize::from(open.contains("(1)"));
        let taken = nested(99 / groups);
        assert!(!taken.has_errors(), "{open}: {:?}", taken.diagnostics[0].message);
        // Matching recurses too.
        taken.rules.classify(b"aab", &mut |_| ());
        let too_deep = "groups nest deeper than 100";
        assert_eq!(nested(200).diagnostics[0].message, too_deep, "{open}");
        let most = (MAX_LINE_LEN - 8) / (open.len() + close.len());
        assert_eq!(nested(most).diagnostics[0].message, too_deep, "{open}");
    }
}

#[test]
fn patterns_that_would_be_slow_to_read() {
    // Each of these once took time by the square of its length.
    let characters: String = (0x4e00..0x9000).filter_map(char::from_u32).collect();
    let alike = "a".repeat(15_000);
    for pattern in [
        format!("[{characters}]"),
        format!("{alike}|{alike}"),
        vec!["a"; 15_000].join("|"),
        format!("(?i){}", "ab".repeat(9_000)),
        format!("(?i){}", "[a-z]".repeat(5_000)),
        "(".repeat(90) + &"x|".repeat(9_000) + &")".repeat(90),
    ] {
        let conf = Conf::parse(format!("image {pattern}").as_bytes());
        assert!(!conf.has_errors(), "{}", conf.diagnostics[0].message);
    }
}

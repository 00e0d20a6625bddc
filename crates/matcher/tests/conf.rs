//! Parsing of config files and their diagnostics.

use psstat_matcher::{Conf, CoverageCheck, Diagnostic, MatchCache, Rules, Severity};

/// The limits in docs/rules.md: bytes of a file and of a line, rules.
const MAX_FILE_LEN: usize = 4 << 20;
const MAX_LINE_LEN: usize = 64 << 10;
const MAX_RULES: usize = 10_000;
/// Maximum number of diagnostics.
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

fn diagnostics(conf: &[u8]) -> Vec<Diagnostic> {
    Conf::parse(conf).diagnostics
}

/// Line, column, span and a part of the message.
type Expected<'a> = (usize, usize, usize, &'a str);

/// Checks that the config file has these diagnostics and no others.
#[track_caller]
fn check(conf: &str, severity: Severity, expected: &[Expected<'_>]) {
    let diagnostics = diagnostics(conf.as_bytes());
    assert_eq!(diagnostics.len(), expected.len(), "{diagnostics:#?}");
    for (actual, (line, column, span, message)) in diagnostics.iter().zip(expected) {
        assert_eq!(
            (actual.severity, actual.line, actual.column, actual.span),
            (severity, Some(*line), *column, *span),
            "{actual:?}"
        );
        assert!(actual.message.contains(message), "{actual:?}");
        assert!(!actual.help.is_empty(), "{actual:?}");
    }
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
    assert_eq!(diagnostics(conf), []);
}

#[test]
fn invalid_lines_are_reported_and_ignored() {
    let conf = "ok1 x\nbild:er y\nonly\na\0b z\n\u{e9}\u{e9} q\npa (a\nok2 y\n x  \u{e9}\\y\n";
    assert_eq!(rules(conf.as_bytes()).len(), 2);
    check(
        conf,
        Severity::Error,
        &[
            (2, 5, 1, "image name"),
            (3, 1, 4, "`only` has no regex"),
            (4, 2, 1, "NUL byte"),
            (5, 1, 1, "image name"),
            (6, 4, 1, "unterminated subpattern"),
            (8, 6, 2, "bad escape \\y"),
        ],
    );
}

/// Syntax that Python accepts is reported as not supported.
#[test]
fn unsupported_syntax_is_reported() {
    for (pattern, message) in [
        ("(?P<\u{e9}>a)", "not supported"),
        ("(?t)a", "not supported"),
        ("\\N{HIRAGANA LETTER A}", "not supported"),
        ("(?P<1>a)", "bad character in group name"),
        ("(a)(?( 1)b)", "bad character in group name"),
    ] {
        let diagnostics = diagnostics(format!("image {pattern}").as_bytes());
        assert!(diagnostics[0].message.contains(message), "{pattern}: {diagnostics:?}");
    }
}

#[test]
fn display_has_the_format_of_compilers() {
    let conf = Conf::parse("\n\tjava  \u{4e2d}\u{1b}[(?<n>a)\n".as_bytes());
    let shown = conf.diagnostics[0].display("/pxy/psstat.conf").to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "error: unterminated character set");
    assert_eq!(
        lines[1..5],
        [
            " --> /pxy/psstat.conf:2:10",
            "  |",
            "2 |  java  \u{4e2d}\\x1b[(?<n>a)",
            "  |              ^^^^^^^^",
        ]
    );
    assert!(lines[5].starts_with("  = help: close it with `]`"), "{shown}");
    assert_eq!(lines.len(), 6);
}

/// Combining characters take no column, wide characters and emoji two.
#[test]
fn carets_align_under_wide_and_combining_characters() {
    for before in ["e\u{301}", "\u{4e2d}\u{6587}", "\u{1f600}", "\u{202e}", "\u{ff21}", "a\tb"] {
        let conf = Conf::parse(format!("x {before}(").as_bytes());
        let shown = conf.diagnostics[0].display("conf").to_string();
        let lines: Vec<&str> = shown.lines().collect();
        let columns = match before {
            "e\u{301}" => 1,
            "\u{4e2d}\u{6587}" => 4,
            "\u{202e}" => "\\u{202e}".len(),
            "a\tb" => 3,
            _ => 2,
        };
        assert_eq!(lines[4].find('^'), Some("1 | x ".len() + columns), "{shown}");
    }
}

#[test]
fn long_line_is_cut_around_the_span() {
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
fn warns_about_likely_mistakes() {
    let conf =
        "web a*\nfi-lrh x1\nFI_lrh x2\nz foo\nz foobar\nz foo\nz (?i)FOO\nq foo\nq a.*xfoo\n";
    check(
        conf,
        Severity::Warning,
        &[
            (1, 5, 2, "matches the empty string"),
            (3, 1, 6, "`fi-lrh`"),
            (4, 3, 3, "the rule in line 7"),
            (5, 3, 6, "the rule in line 4"),
            (6, 3, 3, "the rule in line 4"),
            (9, 3, 7, "the rule in line 8"),
        ],
    );
    // Only the longest literal was compared.
    check(
        "fi lrh\nfi lrh.*finland/\nq ab|cd\nq x.*ab|cde\nr .*xy\nr x(y)z\n",
        Severity::Warning,
        &[
            (2, 4, 13, "the rule in line 1"),
            (4, 3, 9, "the rule in line 3"),
            (6, 3, 5, "the rule in line 5"),
        ],
    );
}

#[test]
fn warns_about_patterns_that_match_empty() {
    let warns = |conf: &str| {
        let diagnostics = diagnostics(conf.as_bytes());
        diagnostics.iter().any(|d| d.message.contains("matches the empty string"))
    };
    for conf in ["a x*", "a .*", "a (?s)(.*?)(?:a|b?)++", "a (?!x)|", "a ^\nb ^"] {
        assert!(warns(conf), "{conf}");
    }
    for conf in ["a \\b", "a $x", "a Foo\na foobar", "a (?=x)", "a x|^$"] {
        assert!(!warns(conf), "{conf}");
    }
}

#[test]
fn coverage_on_this_host() {
    let conf = Conf::parse(b"a nothing\nb .\nc dump\nd cron\ne x*\nf ^psstat-\n");
    let mut coverage = CoverageCheck::new(&conf.rules);
    for text in ["init", "cron", "sshd", "top", ""] {
        coverage.record(text.as_bytes());
    }
    coverage.record_self(b"psstat-dump");
    // An empty command line is one, and the closing space matches `.`.
    assert_eq!(coverage.processes(), 6);
    assert_eq!(coverage.matched().collect::<Vec<_>>(), [0, 6, 1, 1, 6, 1]);
    let diagnostics = coverage.diagnostics();
    let locations: Vec<_> = diagnostics.iter().map(|d| (d.severity, d.line.unwrap())).collect();
    assert_eq!(locations, [(Severity::Note, 1), (Severity::Warning, 2), (Severity::Warning, 3)]);
    for (diagnostic, message) in diagnostics.iter().zip(["none of the 6", "all 6", "the collector"])
    {
        assert!(diagnostic.message.contains(message), "{diagnostic:?}");
    }
}

/// Each rule had its whole step limit for each process, twice: a check of a
/// single bad rule took minutes.
#[test]
fn rule_above_step_limit_is_not_tried_again() {
    let mut rules = Rules::default();
    for pattern in ["(a+)+\\1$", "a(?=!)"] {
        rules.push("image".parse().unwrap(), pattern).unwrap();
    }
    let mut coverage = CoverageCheck::new(&rules);
    let hostile = [&[b'a'; 5_000][..], b"!"].concat();
    // The budget is enough for about two hundred of them.
    for _ in 0..400 {
        coverage.record(&hostile);
    }
    coverage.record(b"aa");
    assert_eq!(coverage.matched().collect::<Vec<_>>(), [0, 400]);
    let diagnostics = coverage.diagnostics();
    assert_eq!(diagnostics.len(), 1);
    assert!(diagnostics[0].message.contains("step limit"), "{diagnostics:?}");
    assert!(!diagnostics[0].help.is_empty());
    // A coverage check does not count as matching by an active rule.
    assert_eq!(rules.rules()[0].step_limit_hits(), 0);
}

#[test]
fn limits_of_files_and_lines() {
    // A line of 10 MB in a file above the limit, and a long line in a file
    // within the limit.
    let mut long = b"ok x\nlong ".to_vec();
    long.resize(10 << 20, b'a');
    let all = diagnostics(&long);
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].severity, all[0].line), (Severity::Error, None));
    assert_eq!(rules(&long), []);
    long.truncate(MAX_FILE_LEN);
    let all = diagnostics(&long);
    assert_eq!((all.len(), all[0].line, all[0].column), (1, Some(2), 1));
    assert_eq!(rules(&long).len(), 1);
    let conf = Conf::parse(&long);
    assert_eq!(conf.diagnostics[0].text.len(), MAX_LINE_LEN);
    // A file of 100 MB without text.
    assert_eq!(diagnostics(&vec![b'\n'; 100 << 20]).len(), 1);
    // All lines are invalid.
    let invalid = "(\n".repeat(10_000);
    assert_eq!(diagnostics(invalid.as_bytes()).len(), MAX_DIAGNOSTICS + 1);
}

#[test]
fn number_of_rules_is_limited() {
    let many: String = (0..MAX_RULES + 50).map(|i| format!("image{i} w{i}\n")).collect();
    let conf = Conf::parse(many.as_bytes());
    assert_eq!(conf.rules.rules().len(), MAX_RULES);
    assert_eq!(conf.diagnostics.len(), 1);
    let mut cache = MatchCache::default();
    let images = conf.rules.matches(b"x w9998 y", &mut cache).map(|found| found.image);
    // It contains w9, w99, w999 and w9998.
    assert!(images.eq([9, 99, 999, 9998]));
}

#[test]
fn pattern_size_is_limited() {
    let characters = |count: usize| "ab".repeat(count / 2);
    for (pattern, is_accepted) in [
        (&*characters(20_000), true),
        (&*format!("{}a", characters(20_000)), false),
        ("(?:ab){10000}", true),
        ("(?:abc){6667}", false),
        ("a{1000}", true),
        ("(?:a{1000}){10}", true),
        ("(?:a{1000}){1000}", false),
        ("a{4294967294}", false),
        ("(?:(?:(?:(?:a{99}){99}){99}){99}){99}", false),
        (r"\w{2000}", true),
        (r"(?:\w+\s+){1,300}", true),
        // The backtracking engine counts repeats and does not write them out.
        (r"(?=x)(?:a{1000}){1000}", true),
    ] {
        let conf = Conf::parse(format!("image {pattern}").as_bytes());
        let message = conf.diagnostics.first().map(|d| &d.message);
        assert_eq!(!conf.has_errors(), is_accepted, "{pattern:.40}: {message:?}");
    }
    // Each is below the limit of a pattern, their sum is above the limit of all.
    let many: String = (0..400).map(|i| format!("image{i} (?:ab{i}c){{3000}}\n")).collect();
    assert!(Conf::parse(many.as_bytes()).has_errors());
}

/// Only alternatives counted as nesting. Conditionals overflowed the stack, so
/// that one line of a config file ended the program.
#[test]
fn nesting_depth_is_limited() {
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
        let accepted = nested(100 / groups);
        assert!(!accepted.has_errors(), "{open}: {:?}", accepted.diagnostics);
        // Matching recurses too.
        accepted.rules.matches(b"aab", &mut MatchCache::default());
        let max_levels = (MAX_LINE_LEN - 8) / (open.len() + close.len());
        for levels in [100 / groups + 1, max_levels] {
            let message = &nested(levels).diagnostics[0].message;
            assert!(message.contains("deeper than 100"), "{open}: {message}");
        }
    }
}

#[test]
fn large_patterns_are_parsed_in_linear_time() {
    // Parsing each of these took quadratic time.
    let characters: String = (0x4e00..0x9000).filter_map(char::from_u32).collect();
    let same = "a".repeat(15_000);
    for pattern in [
        format!("[{characters}]"),
        format!("{same}|{same}"),
        vec!["a"; 15_000].join("|"),
        format!("(?i){}", "ab".repeat(9_000)),
        format!("(?i){}", "[a-z]".repeat(5_000)),
        "(".repeat(90) + &"x|".repeat(9_000) + &")".repeat(90),
    ] {
        let conf = Conf::parse(format!("image {pattern}").as_bytes());
        assert!(!conf.has_errors(), "{}", conf.diagnostics[0].message);
    }
}

/// Rules that were written for other tools passed in silence: they are valid, but
/// match nothing, or something else.
#[test]
fn warns_about_syntax_of_other_tools() {
    for (pattern, message, help) in [
        ("[[:space:]]x", "`[:space:]`", r"`[\s]`"),
        ("java[[:digit:]]+", "`[:digit:]`", r"`[\d]`"),
        ("\"^nginx\"", "quotes", "`^nginx`"),
        ("'^nginx'", "quotes", "`^nginx`"),
        ("/^nginx/", "slashes", "`^nginx`"),
        ("/java.*-jar/", "slashes", "`java.*-jar`"),
        ("^nginx # the web server", "`#`", "`^nginx`"),
        ("^nginx #", "`#`", "`^nginx`"),
        ("- nginx", "YAML", "`nginx`"),
        ("- \"nginx\"", "YAML", "`nginx`"),
        ("/x/", "slashes", "`x`"),
        ("/nginx/", "slashes", "`nginx`"),
        ("/^x/i", "slashes", "`^x`"),
        ("/nginx/i", "slashes", "`nginx`"),
        (r#"r"^x""#, "quotes", "`^x`"),
        ("r'^x'", "quotes", "`^x`"),
        ("“^x”", "quotes", "`^x`"),
        ("‘^x’", "quotes", "`^x`"),
        ("^x  #c", "`#`", "`^x`"),
        ("^x\t#c", "`#`", "`^x`"),
        ("= ^x", "`=`", "`^x`"),
        ("=> x", "`=>`", "`x`"),
        (": \"x\"", "`:`", "`x`"),
        ("[[=a=]]", "`[=…=]`", "`[a]`"),
        ("[[.a.]]b", "`[.….]`", "`[a]`"),
        (r"\\bnginx\\b", "backslash", "once"),
        (r"nginx\\.conf", "backslash", "once"),
        (r"java\\s+x", "backslash", "once"),
        ("[nginx, httpd]", "list", "`nginx|httpd`"),
        ("$x", "can never match: `$`", r"`\$`"),
        ("a|$HOME", "can never match: `$`", r"`\$`"),
        ("x^y", "can never match: `^`", r"`\^`"),
        ("[\"nginx\", \"apache\"]", "list", "`nginx|apache`"),
        ("['^nginx', 'httpd']", "list", "`^nginx|httpd`"),
    ] {
        let diagnostics = diagnostics(format!("image {pattern}\n").as_bytes());
        assert_eq!(diagnostics.len(), 1, "{pattern}: {diagnostics:?}");
        let diagnostic = &diagnostics[0];
        assert_eq!(diagnostic.severity, Severity::Warning);
        assert!(diagnostic.message.contains(message), "{pattern}: {diagnostic:?}");
        assert!(diagnostic.help.contains(help), "{pattern}: {diagnostic:?}");
    }
    for pattern in [
        "/opt/app/",
        "/usr/",
        "[:]x",
        "[a:b]",
        "x[\"']y",
        "[\"']",
        "\"a\" and \"b\"",
        "-x nginx",
        "--name=x",
        "C#",
        "#no",
        "x#y",
        "x #1",
        "[ #]x",
        "[x # ]y",
        "(?x)a # comment",
        "a/b/",
        "[-] x",
        "[/]nginx/",
        "/usr/x",
        "/usr/i",
        "/data/",
        "//x/",
        "/x",
        "/x/y.jar",
        r"c\+\+",
        r"g\+\+ -O2",
        r"a\+b",
        r"worker \(x\)",
        r"\(deleted\) x",
        r"\{x\}",
        r"C:\\windows\\system32",
        r"x\\",
        r"\$x",
        r"x\^y",
        "x$",
        "^x|^y",
        "(^x)y",
        "[$]x",
        "[^x]y",
        "x[$^]y",
        "(?m)x$y",
        "a$x?",
        "a;b",
        "r\"x",
        "rsync",
        "=x",
        "a = b",
        ":x",
        "[a,b]",
        "[abc]",
        r"[\w,-]+",
        "[=]x",
        r"x[)|]y",
    ] {
        assert_eq!(diagnostics(format!("image {pattern}\n").as_bytes()), [], "{pattern}");
    }
}

/// They are notes, because they can be meant.
#[test]
fn notes_unusual_syntax() {
    for (pattern, message) in [
        (r"a\|b", r"`\|`"),
        (r"\(a\)", r"`\(`"),
        (r"^\(a\)$", r"`\(`"),
        (r"x\(ab\)*y", r"`\(`"),
        (r"a\{2\}", r"`\{`"),
        (r"a\{2,3\}x", r"`\{`"),
        (r"a\+", r"`\+`"),
        (r"[0-9]\+x", r"`\+`"),
        (r".\+x", r"`\+`"),
        ("^x ; c", "`;`"),
    ] {
        let diagnostics = diagnostics(format!("image {pattern}\n").as_bytes());
        assert_eq!(diagnostics.len(), 1, "{pattern}: {diagnostics:?}");
        assert_eq!(diagnostics[0].severity, Severity::Note);
        assert!(diagnostics[0].message.contains(message), "{pattern}: {diagnostics:?}");
    }
}

#[test]
fn warns_about_yaml_entry_with_dash_as_image() {
    let diagnostics = diagnostics(b"- name: foo\n");
    assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
    assert!(diagnostics[0].message.contains("YAML"), "{diagnostics:?}");
    assert_eq!((diagnostics[0].column, diagnostics[0].span), (1, 1));
}

#[test]
fn warns_about_expensive_rules() {
    for (pattern, message, help) in [
        (r"\W{3,30}\w{10}\W$", "operations per byte beyond ASCII", "(?a)"),
        ("[a-cx-z]{12000}$", "operations per byte,", "upper bound"),
        (r"(a+)+\1$", "300 times `a`", "split nested repeats"),
        (r"(?=(\d+)+$)\d(?!y)", "300 times `1`", "split nested repeats"),
    ] {
        let diagnostics = diagnostics(format!("image {pattern}\n").as_bytes());
        let is_expensive = |d: &&Diagnostic| d.message.contains("expensive");
        let expensive: Vec<&Diagnostic> = diagnostics.iter().filter(is_expensive).collect();
        assert_eq!(expensive.len(), 1, "{pattern}: {diagnostics:?}");
        assert!(expensive[0].message.contains(message), "{expensive:?}");
        assert!(expensive[0].help.contains(help), "{expensive:?}");
    }
    for pattern in [
        r"\w+\.\w+",
        r"java .*-Dapp=\w+ .*-jar \S+\.jar$",
        r"(?=.*foo)(?=.*bar)",
        r"python\s(?!.*\b(?:pip|venv)\b)",
        r#"(['"]).*\1"#,
        "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
    ] {
        assert_eq!(diagnostics(format!("image {pattern}\n").as_bytes()), [], "{pattern}");
    }
}

#[test]
fn line_breaks_that_prevent_a_match_are_reported() {
    let conf = Conf::parse(b"a sh -c .*server\nb sh -c\nc sh -c [^z]*server\nd nothing.*\n");
    let mut coverage = CoverageCheck::new(&conf.rules);
    coverage.record(b"sh -c cd /srv\nexec server --port 1");
    let messages: Vec<String> = coverage
        .diagnostics()
        .into_iter()
        .map(|d| format!("{} {} {}; {}", d.line.unwrap(), d.severity, d.message, d.help))
        .collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].starts_with("1 note ") && messages[0].contains("line break"));
    assert!(messages[0].contains("(?s)"), "{messages:?}");
    assert!(messages[1].starts_with("4 note ") && messages[1].contains("none of the 1"));
}

//! Images that rules make of the groups of their regex.

use psstat_matcher::{Conf, ImageName, MatchCache, ProcessText};

fn names<'p>(conf: &Conf, process: impl Into<ProcessText<'p>>) -> Vec<String> {
    assert!(!conf.has_errors(), "{:?}", conf.diagnostics);
    let (mut names, mut cache) = (Vec::new(), MatchCache::default());
    let matches = conf.rules.matches(process, &mut cache);
    let stats = matches.stats();
    for found in matches {
        assert!(found.name.parse::<ImageName>().is_ok(), "{}", found.name);
        assert_eq!(conf.rules.rules()[found.rule].image(), found.image);
        names.push(found.name.to_owned());
    }
    assert_eq!((stats.images, stats.step_limit_hits), (names.len(), 0));
    names
}

const JAVA: &[u8] = br"java/{app}  \bjava\b.*-Dapp=(?P<app>[\w.-]+)";

#[test]
fn names_are_made_of_groups() {
    let conf = Conf::parse(JAVA);
    for (text, image) in [
        (&b"/usr/bin/java -Xmx1g -Dapp=shop-1.2 -jar a.jar"[..], "java/shop-1.2"),
        // The last one, since `.*` is greedy.
        (b"java -Dapp=a -Dapp=b", "java/b"),
        ("java -Dapp=caf\u{e9} x".as_bytes(), "java/caf__"),
    ] {
        assert_eq!(names(&conf, text), [image]);
    }
    assert!(names(&conf, b"java -jar a.jar").is_empty());
    assert_eq!(conf.rules.images()[0].as_str(), "java/{app}");
}

#[test]
fn values_that_no_name_can_have() {
    let conf = Conf::parse(br"x/{v} v=(?P<v>[^|]*)(?P<none>\|none)?");
    for (text, image) in [
        (&b"v="[..], "x/_"),
        (b"v=a b\tc\nd\x1b[31m", "x/a_b_c_d__31m"),
        (b"v=\xff\xfe|none", "x/__"),
        (b"v={v}", "x/_v_"),
    ] {
        assert_eq!(names(&conf, text), [image]);
    }
    let long = [&b"v="[..], &b"y".repeat(100_000)].concat();
    assert_eq!(names(&conf, &long), [format!("x/{}", "y".repeat(198))]);
    // A group that took no part.
    let conf = Conf::parse(br"x/{none}/{v} v=(?P<v>a)(?P<none>\|none)?");
    assert_eq!(names(&conf, b"v=a"), ["x/_/a"]);
    assert_eq!(names(&conf, b"v=a|none"), ["x/_none/a"]);
}

/// The original's command lines ended with a space, so a rule that matches only with one has the
/// groups of that match.
#[test]
fn groups_of_a_match_with_the_trailing_space() {
    let conf = Conf::parse(br"x/{v} -v (?P<v>\S+)\s");
    assert_eq!(names(&conf, b"p -v abc"), ["x/abc"]);
    assert_eq!(names(&conf, b"p -v ab\xffc"), ["x/ab_c"]);
    assert_eq!(names(&Conf::parse(br"x/{v} -v abc(?P<v>\s)"), b"p -v abc"), ["x/_"]);
}

#[test]
fn all_engines_have_the_same_groups() {
    let linear = Conf::parse(br"x/{v} (?:a|b)+ -v (?P<v>\w+)");
    let backtracking = Conf::parse(br"x/{v} (?:a|b)+ -v (?P<v>\w+)(?=$|\s)");
    assert!(linear.rules.rules()[0].is_linear());
    assert!(!backtracking.rules.rules()[0].is_linear());
    for conf in [&linear, &backtracking] {
        for (start, len) in [("", 5), ("", 2_000), ("\u{e9} ", 5), ("\u{e9} ", 2_000)] {
            let text = format!("{start}{} -v value", "ab".repeat(len / 2));
            assert_eq!(names(conf, text.as_bytes()), ["x/value"], "{len}");
            let text = [b"\xff ", text.as_bytes()].concat();
            assert_eq!(names(conf, &text), ["x/value"], "{len}");
        }
    }
}

/// A rule whose groups take too many steps is as one that does not match, and counted.
#[test]
fn groups_have_a_step_limit() {
    // Whether it matches is linear; the engine that finds the groups tries all divisions.
    let slow = Conf::parse(br"x/{v} (?P<v>(?:a*a*a*a*)*b|a+c)$");
    assert!(slow.rules.rules()[0].is_linear());
    let text = [vec![b'a'; 3_000], b"c".to_vec()].concat();
    let stats = slow.rules.matches(&text, &mut MatchCache::default()).stats();
    assert_eq!(
        (stats.images, stats.step_limit_hits, slow.rules.rules()[0].step_limit_hits()),
        (0, 1, 1)
    );
    // It does not affect other texts.
    assert_eq!(names(&slow, b"aaac"), ["x/aaac"]);
}

#[test]
fn image_is_found_once_per_name() {
    let conf = Conf::parse(
        b"{a}/{b} a=(?P<a>\\w+) b=(?P<b>\\w+)\n\
          {a}/{b} b=(?P<b>\\w+).*a=(?P<a>\\w+)$\n\
          fixed a=\nfixed b=\n",
    );
    assert_eq!(names(&conf, b"a=1 b=2"), ["1/2", "fixed"]);
    assert_eq!(names(&conf, b"a=1 b=2 a=1"), ["1/2", "fixed"]);
    // Two values of one process are two images.
    assert_eq!(names(&conf, b"a=1 b=2 a=3"), ["1/2", "3/2", "fixed"]);
}

fn diagnostics(conf: &str) -> Vec<String> {
    let conf = Conf::parse(conf.as_bytes());
    conf.diagnostics.iter().map(|d| d.display("f").to_string()).collect()
}

#[test]
fn diagnostics_of_names_with_groups() {
    for (line, caret, message, help) in [
        (
            "a/{x} y",
            "  ^^^",
            "the regex has no named group `x`",
            "name a part of the regex: `(?P<x>…)`",
        ),
        (
            "a/{x} (?P<app>y)(?P<z>z)",
            "  ^^^",
            "the regex has no named group `x`",
            "write `{app}` or `{z}`, or `(?P<x>…)` in the regex",
        ),
        ("a{x (?P<x>y)", " ^", "unclosed `{` in the image name", "close it with `}`"),
        ("ax} (?P<x>y)", "  ^", "`}` without a `{` in the image name", "write `{GROUP}`"),
        (
            "a{1} (y)",
            " ^^^",
            "the text in braces is not the name of a group",
            "`{app}` for `(?P<app>…)`",
        ),
        ("a{} (y)", " ^^", "the text in braces is not the name of a group", "`{app}`"),
        ("a={x} (?P<x>y)", " ^", "the image name has a character other than", "write `a_{x}`"),
        ("{x} (?!(?P<x>y))z", "^^^", "the group `x` never has a value", "outside of `(?!…)`"),
        ("{x} (?P<x>y){0}z", "^^^", "the group `x` never has a value", "`{0}`"),
        ("{x} (?:(?P<x>a)|b)*+c", "^^^", "where Python loses its value", "write `(?>(?:…)*)`"),
        ("{x} (?P<x", "    ", "unterminated name", "close it with `>`"),
    ] {
        let found = diagnostics(line);
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with("error: ") && found[0].contains(message), "{}", found[0]);
        assert!(found[0].contains(help), "{}", found[0]);
        let carets = found[0].lines().nth(4).unwrap().strip_prefix("  | ").unwrap_or_default();
        assert!(carets.starts_with(caret), "{}", found[0]);
    }
    assert_eq!(diagnostics("{x} (?:(?P<x>a)|b)*c"), Vec::<String>::new());
    assert_eq!(diagnostics("{x}{x}-{y} (?=(?P<x>a))(?P<y>b)?a"), Vec::<String>::new());
}

#[test]
fn made_name_and_its_groups() {
    let conf = Conf::parse(b"x/{b}/{a}/{none} -v (?P<a>\\w+)-(?P<b>\\w+)(?P<none>!)?\ny y\n");
    let made = conf.rules.rules()[0].make_name(b"p -v one-two").unwrap().unwrap();
    assert_eq!(made.name, "x/two/one/_");
    assert_eq!(made.groups, [Some(9..12), Some(5..8), None]);
    assert_eq!(conf.rules.rules()[0].make_name(b"p"), Ok(None));
    assert_eq!(conf.rules.rules()[1].make_name(b"y"), Ok(None));
}

//! Classification of command lines.

use psstat_matcher::{Conf, MatchCache, Rules};

fn images(conf: &[u8], text: &[u8]) -> Vec<String> {
    let conf = Conf::parse(conf);
    assert_eq!(conf.diagnostics, []);
    let mut cache = MatchCache::default();
    let matches = conf.rules.matches(text, &mut cache);
    let stats = matches.stats();
    assert_eq!((stats.images, stats.step_limit_hits), (matches.len(), 0));
    matches.map(|found| conf.rules.images()[found.image].to_string()).collect()
}

#[test]
fn image_is_the_union_of_its_rules() {
    let conf = b"web nginx\nweb httpd\nall x|nginx|httpd\nnone foo\n";
    assert_eq!(images(conf, b"nginx httpd"), ["web", "all"]);
    assert_eq!(images(conf, b"httpd -k start"), ["web", "all"]);
    assert_eq!(images(conf, b"foo"), ["none"]);
    assert!(images(conf, b"bash").is_empty());
}

#[test]
fn matches_with_and_without_trailing_space() {
    let conf = b"dollar lrh$\nspace lrh\\s\nend lrh \\Z\nword lrh\\b\nclass lrh[ x]\nany lrh.\n";
    assert_eq!(images(conf, b"/opt/lrh"), ["dollar", "space", "end", "word", "class", "any"]);
    assert_eq!(images(conf, b"/opt/lrh -d"), ["space", "word", "class", "any"]);
    // Only one space is added, also to a text that ends in a space.
    assert_eq!(images(b"two lrh\\s\\s\n", b"lrh "), ["two"]);
    assert!(images(b"two lrh\\s\\s\n", b"lrh").is_empty());
    // Look-around applies to it too.
    assert_eq!(images(b"ahead lrh(?= )\n", b"lrh"), ["ahead"]);
    assert_eq!(images(b"ahead lrh(?= )\n", b"\xfflrh"), ["ahead"]);
    assert_eq!(images(b"ahead lrh\\s$\n", b"\xfflrh"), ["ahead"]);
}

#[test]
fn empty_text_is_a_text() {
    let conf =
        b"empty ^$\nblank ^\\s*$\nspace ^ $\nany .\nahead ^(?!.)\nword \\w\ntwo ..\nx x|^$\n";
    // Those of a space match the one that is added at the end.
    assert_eq!(images(conf, b""), ["empty", "blank", "space", "any", "ahead", "x"]);
    assert_eq!(images(conf, b"x"), ["any", "word", "two", "x"]);
    let mut rules = Rules::default();
    rules.push("a".parse().unwrap(), "^$").unwrap();
    rules.push("b".parse().unwrap(), r"\s").unwrap();
    rules.push("c".parse().unwrap(), "x").unwrap();
    let found: Vec<_> = rules.rules().iter().map(|rule| rule.find(b"")).collect();
    assert_eq!(found, [Ok(Some(0..0)), Ok(Some(0..0)), Ok(None)]);
    // So does a rule that matches everything, although it is a mistake.
    rules.push("d".parse().unwrap(), "").unwrap();
    assert_eq!(rules.matches(b"", &mut MatchCache::default()).len(), 3);
    let mut coverage = psstat_matcher::CoverageCheck::new(&rules);
    coverage.record(b"");
    coverage.record(b"x");
    assert_eq!(coverage.processes(), 2);
    assert_eq!(coverage.matched().collect::<Vec<_>>(), [1, 2, 1, 2]);
}

#[test]
fn matches_arbitrary_bytes() {
    assert_eq!(images(b"a lrh.*fi/\n", b"lrh \xff\xfe\x80 fi/x"), ["a"]);
    assert_eq!(images(b"a ^.$\n", "\u{20ac}".as_bytes()), ["a"]);
    // The character and the trailing space.
    assert_eq!(images(b"a ^..$\n", "\u{20ac}".as_bytes()), ["a"]);
    assert!(images(b"a ^...$\n", "\u{20ac}".as_bytes()).is_empty());
    assert_eq!(images(b"a ^...$\n", b"\xe2\x82x"), ["a"]);
    assert_eq!(images(b"a \xff\n", b"x\xffy"), ["a"]);
    assert_eq!(images(b"a (?i)STRASSE-\xc3\x84\n", "stra\u{df}e strasse-\u{e4}".as_bytes()), ["a"]);
    // Empty arguments and newlines are ordinary text.
    assert_eq!(images(b"a sh -c  x\n", b"sh -c  x"), ["a"]);
    assert_eq!(images(b"a one$\n", b"one\n"), ["a"]);
    assert!(images(b"a one$\n", b"one\ntwo").is_empty());
    assert_eq!(images(b"a one.two\nb (?s)one.two\n", b"one\ntwo"), ["b"]);
}

#[test]
fn matches_two_megabytes_of_arguments() {
    let conf = b"end needle$\nlook (?<=y)needle\nback (n)eedle.?\\1?$\nno x{3}needle\nbol ^yyy\n";
    for filler in ["y", "\u{e9}", "y\u{301}"] {
        let mut text = b"yyy".to_vec();
        while text.len() < 2 << 20 {
            text.extend_from_slice(filler.as_bytes());
        }
        text.extend_from_slice(b"yneedle");
        assert_eq!(images(conf, &text), ["end", "look", "back", "bol"]);
    }
}

/// Backtracking rules that take a few steps per position.
#[test]
fn backtracking_rules_match_two_megabytes() {
    let conf = b"twice  (\\w+)=\\1;\nquoted (['\"])needle\\1\nafter (?<=[a-z]=)needle\n\
                 unless needle(?! needle)\nnot (\\w)\\1\\1\\1\\1z\n";
    let mut text = Vec::new();
    let mut number = 0_u32;
    while text.len() < 2 << 20 {
        number += 1;
        text.extend_from_slice(format!("-Dkey.of_{number}=value/{}; ", number * 7).as_bytes());
    }
    text.extend_from_slice(b"x=\"needle\" same=same; y=needle");
    assert_eq!(images(conf, &text), ["twice", "quoted", "after", "unless"]);
}

#[test]
fn catastrophic_patterns_are_bounded() {
    let conf = Conf::parse(
        b"linear (a+)+$\nback (a+)+\\1$\nlook (?=(a+)+$)x\nfine java\npossessive (?:a++)++$\n\
          ahead (?!(?:a|aa)+$).*b$\nlazy (?:a*?)*?\\Bb(?=c)\n",
    );
    assert!(!conf.has_errors());
    let rules = &conf.rules;
    for end in [&b"!"[..], b"\xff", b"\n\n", "\u{e9}".as_bytes()] {
        let mut text = vec![b'a'; 5_000];
        text.extend_from_slice(end);
        text.extend_from_slice(b" java bab");
        let mut cache = MatchCache::default();
        let matches = rules.matches(&text, &mut cache);
        let stats = matches.stats();
        let images: Vec<_> = matches.map(|found| rules.images()[found.image].as_str()).collect();
        assert!(images.contains(&"fine"), "{images:?}");
        assert!(!images.contains(&"linear"));
        assert!(stats.step_limit_hits > 0);
    }
    let limited: Vec<usize> = rules
        .rules()
        .iter()
        .filter(|r| r.step_limit_hits() > 0)
        .map(psstat_matcher::Rule::image)
        .collect();
    assert!(limited.contains(&1), "{limited:?}");
    assert!(!limited.contains(&0) && !limited.contains(&3), "{limited:?}");
    assert!(rules.rules()[0].is_linear() && !rules.rules()[1].is_linear());
}

#[test]
fn backtracking_rules_share_a_budget() {
    let mut rules = Rules::default();
    for i in 0..200 {
        rules.push(format!("i{i}").parse().unwrap(), &format!("(a|a)+\\1[yz]{{{i}}}b$")).unwrap();
    }
    let stats = rules.matches(&vec![b'a'; 3_000], &mut MatchCache::default()).stats();
    assert!(stats.step_limit_hits > 0);
    // Rules after the end of the budget fail immediately.
    assert!(rules.rules().iter().all(|r| r.step_limit_hits() <= 1));
}

#[test]
fn find_returns_byte_range() {
    let conf = Conf::parse("a b.$\nb (\\w)\\1\nc \u{e9}\nd x\\s\n".as_bytes());
    let find = |n: usize, text: &[u8]| conf.rules.rules()[n].find(text).unwrap();
    assert_eq!(find(0, b"\xff\xc3\xa9ab\xc3\xa9\n"), Some(4..7));
    assert_eq!(find(1, b"\xff\xff \xc3\xa9\xc3\xa9"), Some(3..7));
    assert_eq!(find(2, b"\xff\xc3\xa9"), Some(1..3));
    // It includes the trailing space, which is not in the text.
    assert_eq!(find(3, b"ax"), Some(1..2));
    assert_eq!(find(3, b"a"), None);
}

/// It returned `None`, which means "does not match".
#[test]
fn find_reports_step_limit() {
    let conf = Conf::parse(b"a (a+)+\\1$\n");
    let rule = &conf.rules.rules()[0];
    assert!(rule.find(&[&[b'a'; 5_000][..], b"!"].concat()).is_err());
    assert_eq!(rule.find(b"aa"), Ok(Some(0..2)));
    assert_eq!(rule.find(b"!"), Ok(None));
}

/// A fork has the command line of its parent: 300 of them with 2 MB of arguments took 4 s.
#[test]
fn repeated_long_texts_are_matched_once() {
    let mut rules = Rules::default();
    rules.push("one".parse().unwrap(), "xx+y$").unwrap();
    rules.push("two".parse().unwrap(), "^x").unwrap();
    rules.push("limited".parse().unwrap(), r"(x+)+\1z").unwrap();
    let text = |len| [vec![b'x'; len], b"y".to_vec()].concat();
    let mut cache = MatchCache::default();
    let mut classify = |rules: &Rules, text: &[u8]| {
        let matches = rules.matches(text, &mut cache);
        let stats = matches.stats();
        let images: Vec<_> = matches.map(|found| found.image).collect();
        assert_eq!(stats.images, images.len());
        (images, stats.step_limit_hits, stats.is_repeated)
    };
    let (long, short) = (text(100_000), text(100));
    assert_eq!(classify(&rules, &long), (vec![0, 1], 1, false));
    // A rule that was cut short is counted once, and takes its time once.
    assert_eq!(classify(&rules, &long), (vec![0, 1], 0, true));
    assert!(!classify(&rules, &text(100_001)).2 && !classify(&rules, &short).2);
    assert!(classify(&rules, &long).2 && !classify(&rules, &short).2);
    rules.push("three".parse().unwrap(), "y$").unwrap();
    assert_eq!(classify(&rules, &long), (vec![0, 1, 3], 1, false));
}

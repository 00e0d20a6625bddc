//! Patterns alone: where they match, and their groups.

use psstat_matcher::Pattern;

/// The groups as CPython's `re.search(…).groups()` has them.
#[test]
fn groups_are_those_of_cpython() {
    for (pattern, text, groups) in [
        (r"(a)|(b)", "xb", &["b", "-", "b"][..]),
        (r"(a*)*", "aa", &["aa", ""]),
        (r"(a|ab)(c|bcd)(d*)", "abcd", &["abcd", "a", "bcd", ""]),
        (r"(\w+)\s(?=(\w))", "one two", &["one ", "one", "t"]),
        (r"(?P<y>\d{4})-(?P<m>\d\d)", "on 2024-05-06", &["2024-05", "2024", "05"]),
        (r"(x)?(y)", "y", &["y", "-", "y"]),
        (r"(.)\1", "abccd", &["cc", "c"]),
        (r"(?:(\d)|([a-z]))+", "a1b", &["a1b", "1", "b"]),
        (r"caf(.)(\b)", "un caf\u{e9}", &["caf\u{e9}", "\u{e9}", ""]),
    ] {
        let pattern = Pattern::new(pattern).unwrap();
        let captures = pattern.captures(text).unwrap().unwrap();
        let found: Vec<_> = (0..captures.len())
            .map(|group| captures.get(group).map_or("-".into(), String::from_utf8_lossy))
            .collect();
        assert_eq!(found, groups, "{pattern:?}");
        assert_eq!(pattern.find(text).unwrap(), captures.range(0));
        assert_eq!(captures.get(captures.len()), None);
        assert!(pattern.is_match(text).unwrap());
    }
}

#[test]
fn groups_by_name_in_bytes_that_are_not_utf8() {
    let pattern: Pattern = r"user=(?P<user>\w+)(?P<rest>.)?".parse().unwrap();
    let text = b"\xff\xfe user=me\xff";
    let captures = pattern.captures(text).unwrap().unwrap();
    assert_eq!(captures.name("user"), Some(&b"me"[..]));
    assert_eq!(captures.name("rest"), Some(&b"\xff"[..]));
    assert_eq!((captures.name("none"), captures.range(1)), (None, Some(8..10)));
    assert!(pattern.captures("user").unwrap().is_none());
    assert!(Pattern::from_bytes(b"\xff$").unwrap().is_match(text).unwrap());
}

/// A rule also matches with a space after the text; a pattern does not.
#[test]
fn no_space_is_added() {
    let pattern = Pattern::new(r"x\s").unwrap();
    assert_eq!((pattern.is_match("x"), pattern.find("x")), (Ok(false), Ok(None)));
    assert!(pattern.captures("x").unwrap().is_none());
    assert_eq!(pattern.find("x y"), Ok(Some(0..2)));
}

#[test]
fn step_limit_is_an_error() {
    let pattern = Pattern::new(r"(a+)+\1$").unwrap();
    let text = [&[b'a'; 5_000][..], b"!"].concat();
    assert!(!pattern.is_linear());
    assert!(pattern.is_match(&text).is_err() && pattern.find(&text).is_err());
    assert!(pattern.captures(&text).is_err());
    assert!(Pattern::new("(?<x>y)").unwrap_err().help().contains("(?P<name>"));
}

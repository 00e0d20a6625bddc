//! Comparison with the results of CPython.
//!
//! Each case is matched as a rule is matched, and also by each engine alone that
//! supports the pattern.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::text::{TextKind, encode};
use super::*;

/// One line of a table: pattern, text and result of `re.search`.
struct Case {
    pattern: Vec<u8>,
    text: Vec<u8>,
    expected: String,
}

/// The cases of a table that fixtures/python/judge.py has written.
fn cases(table: &str) -> Vec<Case> {
    table
        .lines()
        .filter(|l| !l.starts_with("# "))
        .map(|line| {
            let mut fields = line.split('\t');
            let mut bytes = || unescape(fields.next().unwrap());
            let (pattern, text) = (bytes(), bytes());
            Case { pattern, text, expected: fields.next().unwrap().to_owned() }
        })
        .collect()
}

/// Patterns of table.txt that Python accepts and this crate rejects.
const REJECTED: [&str; 10] = [
    r"((a)|b)*+c\2",
    r"(?:(?:(a)|b)*+c\1|d)*$",
    r"(?:(?=(a))a|b)*+c\1",
    r"(?:(?>(a)|b))++c\1",
    r"(?:(?P<n>a)|b)*+c(?P=n)",
    r"(?:(a)|b)*+c(?(1)a|b)",
    r"(?:(a)|b)*+c\1",
    r"(?:(a)|b){2,}+c\1",
    r"(?:(a)|b\1)*+$",
    r"(?t)a",
];

fn to_strings(patterns: &BTreeSet<Vec<u8>>) -> Vec<String> {
    patterns.iter().map(|p| String::from_utf8_lossy(p).into_owned()).collect()
}

fn unescape(field: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = field;
    while let Some((before, after)) = rest.split_once("\\x") {
        out.extend_from_slice(before.as_bytes());
        out.push(u8::from_str_radix(&after[..2], 16).unwrap());
        rest = &after[2..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// A result in the format of the tables.
fn format_result(result: Result<Option<Range<usize>>, StepLimit>) -> String {
    match result {
        Ok(None) => "no".to_owned(),
        Ok(Some(r)) => format!("{} {}", r.start, r.end),
        Err(StepLimit) => "limit".to_owned(),
    }
}

#[derive(Debug, Default)]
struct Counts {
    correct: usize,
    rejected: BTreeSet<Vec<u8>>,
    /// Cases of the rejected patterns.
    rejected_cases: usize,
    /// Cases for which CPython's result is a known bug.
    cpython_bugs: usize,
    /// Cases that were also matched by the counted automaton.
    counted: usize,
    wrong: Vec<String>,
}

/// Compares all cases of a table; returns the counts and the number of cases.
fn compare(table: &str) -> (Counts, usize) {
    let mut compiled: BTreeMap<Vec<u8>, Result<Pattern, PatternError>> = BTreeMap::new();
    let mut counts = Counts::default();
    let mut vm = BacktrackVm::default();
    let cases = cases(table);
    for Case { pattern: source, text, expected } in &cases {
        if expected == "bug" {
            counts.cpython_bugs += 1;
            continue;
        }
        let pattern = compiled.entry(source.clone()).or_insert_with(|| Pattern::new(source));
        let case = || format!("{} on {}", source.escape_ascii(), text.escape_ascii());
        let pattern = match pattern {
            Ok(_) if expected == "error" => {
                counts.wrong.push(format!("{}: accepted, but CPython rejects it", case()));
                continue;
            }
            Ok(pattern) => pattern,
            Err(_) if expected == "error" => {
                counts.correct += 1;
                continue;
            }
            Err(_) => {
                counts.rejected.insert(source.clone());
                counts.rejected_cases += 1;
                continue;
            }
        };
        let find = format_result(pattern.find(text, &mut vm, 1_000_000));
        let mut steps = 1_000_000;
        let backtracking = format_result(vm.find(&pattern.program, text, &mut steps));
        let kind = TextKind::classify(text);
        let mut utf8_form = Vec::new();
        encode(text, &mut utf8_form);
        let forms = Text { bytes: text, utf8_form: &utf8_form, kind };
        let mut budget =
            Budget { steps: 1_000_000, work_left: MAX_WORK, build_left: MAX_BUILD_WORK };
        let is_match = pattern.is_match(forms, &mut vm, &mut budget);
        let linear = pattern.linear.as_ref();
        let mut build_left = MAX_BUILD_WORK;
        let counted =
            linear.and_then(|l| l.is_match_counted(text, &utf8_form, kind, &mut build_left));
        let is_expected = expected != "no";
        if find != *expected
            || backtracking != *expected
            || is_match != Ok(is_expected)
            || counted.is_some_and(|is_match| is_match != is_expected)
        {
            counts.wrong.push(format!(
                "{}: expected {expected}; find {find}, backtracking {backtracking}, is_match \
                 {is_match:?}, counted {counted:?}",
                case()
            ));
        } else {
            counts.correct += 1;
            counts.counted += usize::from(counted.is_some());
        }
    }
    (counts, cases.len())
}

#[test]
fn agrees_with_re_tests_table() {
    let (counts, cases) = compare(include_str!("../../../../fixtures/python/cpython.txt"));
    println!(
        "CPython's test/re_tests.py: {cases} patterns, {} correct, {} rejected, {} wrong",
        counts.correct,
        counts.rejected_cases,
        counts.wrong.len()
    );
    assert!(counts.wrong.is_empty(), "{:#?}", counts.wrong);
    assert_eq!(counts.correct, cases, "rejected: {:?}", to_strings(&counts.rejected));
}

#[test]
fn agrees_with_cases_table() {
    let (counts, cases) = compare(include_str!("../../../../fixtures/python/answers.txt"));
    println!(
        "fixtures/python/table.txt: {cases} cases, {} correct, {} rejected, {} bugs of CPython, \
         {} wrong",
        counts.correct,
        counts.rejected_cases,
        counts.cpython_bugs,
        counts.wrong.len()
    );
    assert!(counts.wrong.is_empty(), "{:#?}", counts.wrong);
    assert_eq!(to_strings(&counts.rejected), REJECTED);
    assert!(counts.counted * 2 > cases, "{}", counts.counted);
}

/// The groups of a match are those of CPython: image names are made of them.
#[test]
fn agrees_with_captures_table() {
    let cases = cases(include_str!("../../../../fixtures/python/captures.txt"));
    let mut compiled: BTreeMap<Vec<u8>, Option<(Pattern, Vec<usize>)>> = BTreeMap::new();
    let (mut vm, mut wrong) = (BacktrackVm::default(), Vec::new());
    let (mut correct, mut by_linear, mut unreliable) = (0, 0, BTreeSet::new());
    for Case { pattern: source, text, expected } in &cases {
        let pattern = compiled.entry(source.clone()).or_insert_with(|| {
            let parsed = parse::parse(source).ok()?;
            let repeats = || parsed.unreliable.iter().copied();
            let reliable = (1..parsed.groups).filter(|&group| {
                let value = possessive::check_value(&parsed.node, parsed.groups, repeats(), group);
                value != Err(NoValue::Lost)
            });
            Some((Pattern::new(source).ok()?, reliable.collect()))
        });
        let Some((pattern, reliable)) = pattern else { continue };
        let kind = TextKind::classify(text);
        let mut utf8_form = Vec::new();
        encode(text, &mut utf8_form);
        let forms = Text { bytes: text, utf8_form: &utf8_form, kind };
        let mut budget =
            Budget { steps: 1_000_000, work_left: MAX_WORK, build_left: MAX_BUILD_WORK };
        let found = pattern.capture(forms, &mut vm, &mut budget);
        let group = |group: usize| match vm.group(group) {
            Some(range) => format!("{} {}", range.start, range.end),
            None => "-".to_owned(),
        };
        for (number, expected) in (1..).zip(expected.split(',')) {
            if !reliable.contains(&number) {
                unreliable.insert(source.clone());
            } else if found != Ok(true) || group(number) != expected {
                wrong.push(format!(
                    "{} on {}: group {number} is {}, expected {expected}",
                    source.escape_ascii(),
                    text.escape_ascii(),
                    group(number)
                ));
            } else {
                correct += 1;
                by_linear += usize::from(pattern.is_linear());
            }
        }
    }
    println!("{correct} groups, {} patterns that lose groups", unreliable.len());
    assert!(wrong.is_empty(), "{} of {correct}: {wrong:#?}", wrong.len());
    assert!(correct > 1_500 && by_linear > 700, "{correct} {by_linear}");
}

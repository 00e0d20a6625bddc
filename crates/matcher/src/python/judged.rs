//! CPython's answers, held against ours.
//!
//! Each question goes through the way that a rule takes, and, where both
//! engines can answer it, through the backtracking one as well.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::*;

/// Pattern, text, answer as fixtures/python/judge.py writes them.
fn questions(file: &str) -> Vec<(Vec<u8>, Vec<u8>, String)> {
    file.lines()
        .filter(|l| !l.starts_with("# "))
        .map(|line| {
            let mut fields = line.split('\t');
            let mut bytes = || unescape(fields.next().unwrap());
            let (pattern, text) = (bytes(), bytes());
            (pattern, text, fields.next().unwrap().to_owned())
        })
        .collect()
}

/// What Python takes and this does not, of table.txt.
const REFUSED: [&str; 10] = [
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

fn shown_all(patterns: &BTreeSet<Vec<u8>>) -> Vec<String> {
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

fn shown(found: Result<Option<Range<usize>>, StepLimit>) -> String {
    match found {
        Ok(None) => "no".to_owned(),
        Ok(Some(r)) => format!("{} {}", r.start, r.end),
        Err(StepLimit) => "limit".to_owned(),
    }
}

#[derive(Debug, Default)]
struct Count {
    right: usize,
    refused: BTreeSet<Vec<u8>>,
    /// Questions about these.
    unanswered: usize,
    defects: usize,
    /// Answered by the automaton that may give up, too.
    bounded: usize,
    wrong: Vec<String>,
}

/// Asks all questions of a table; the answers must be right, or the pattern
/// refused.
fn judge(file: &str) -> (Count, usize) {
    let mut compiled: BTreeMap<Vec<u8>, Result<Pattern, PatternError>> = BTreeMap::new();
    let mut count = Count::default();
    let mut machine = BacktrackVm::default();
    let questions = questions(file);
    for (source, text, expected) in &questions {
        // CPython says itself that it went wrong.
        if expected == "defect" {
            count.defects += 1;
            continue;
        }
        let pattern = compiled.entry(source.clone()).or_insert_with(|| Pattern::new(source));
        let question = || format!("{} on {}", source.escape_ascii(), text.escape_ascii());
        let pattern = match pattern {
            Ok(_) if expected == "error" => {
                count.wrong.push(format!("{}: taken, CPython refuses it", question()));
                continue;
            }
            Ok(pattern) => pattern,
            Err(_) if expected == "error" => {
                count.right += 1;
                continue;
            }
            Err(_) => {
                count.refused.insert(source.clone());
                count.unanswered += 1;
                continue;
            }
        };
        let found = shown(pattern.find(text, &mut machine, 1_000_000));
        let mut steps = 1_000_000;
        let slow = shown(machine.find(&pattern.program, text, &mut steps));
        let kind = Kind::classify(text);
        let mut encoded = Vec::new();
        encode(text, &mut encoded);
        let asked = Text { bytes: text, utf8_form: &encoded, kind };
        let mut budget = Budget { steps: 1_000_000, work_left: MAX_WORK };
        let is_match = pattern.is_match(asked, &mut machine, &mut budget);
        let linear = pattern.linear.as_ref();
        let bounded = linear.and_then(|l| l.is_match_bounded(text, &encoded, kind));
        if found != *expected
            || slow != *expected
            || is_match != Ok(expected != "no")
            || bounded.is_some_and(|is_match| is_match != (expected != "no"))
        {
            count.wrong.push(format!(
                "{}: {expected}, but find {found}, machine {slow}, match {is_match:?}, \
                 bounded {bounded:?}",
                question()
            ));
        } else {
            count.right += 1;
            count.bounded += usize::from(bounded.is_some());
        }
    }
    (count, questions.len())
}

#[test]
fn cpythons_own_table() {
    let (count, all) = judge(include_str!("../../../../fixtures/python/cpython.txt"));
    println!(
        "CPython's test/re_tests.py: {all} patterns, {} right, {} refused, {} wrong",
        count.right,
        count.unanswered,
        count.wrong.len()
    );
    assert!(count.wrong.is_empty(), "{:#?}", count.wrong);
    assert_eq!(count.right, all, "refused: {:?}", shown_all(&count.refused));
}

#[test]
fn our_table() {
    let (count, all) = judge(include_str!("../../../../fixtures/python/answers.txt"));
    println!(
        "fixtures/python/table.txt: {all} questions, {} right, {} refused, {} a defect of CPython's \
         own, {} wrong",
        count.right,
        count.unanswered,
        count.defects,
        count.wrong.len()
    );
    assert!(count.wrong.is_empty(), "{:#?}", count.wrong);
    assert_eq!(shown_all(&count.refused), REFUSED);
    assert!(count.bounded * 2 > all, "{}", count.bounded);
}

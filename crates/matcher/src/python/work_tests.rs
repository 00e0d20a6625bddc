//! The bounds of docs/rules.md hold for any bytes: the work is counted, and a
//! rule is matched correctly or cut short.

use proptest::prelude::*;

use super::linear::nfa_weight;
use super::text::{TextKind, encode};
use super::translate::{Target, translate};
use super::*;

/// Patterns with nested repeats of classes.
fn pattern() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(
        &[
            "a",
            "b",
            r"\w",
            r"\W",
            r"\d",
            r"\s",
            ".",
            "[ab]",
            "[^a]",
            "[acegik-x]",
            "\u{e9}",
            "^",
            "$",
            r"\b",
            "(?i:k)",
            "x|yz",
            "",
        ][..],
    );
    let leaf = leaf.prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 4, |inner| {
        let repeat = prop::sample::select(&["*", "+", "?", "{3}", "{2,9}", "{4,}", "{0,5}?"][..]);
        prop_oneof![
            3 => (inner.clone(), repeat).prop_map(|(node, repeat)| format!("(?:{node}){repeat}")),
            2 => prop::collection::vec(inner.clone(), 1..4).prop_map(|nodes| nodes.concat()),
            1 => prop::collection::vec(inner, 2..4)
                .prop_map(|nodes| format!("(?:{})", nodes.join("|"))),
        ]
    })
}

/// A unit that is repeated, with something else at the end, and arbitrary bytes.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let (accented, wide, combining) = ("\u{e9}", "\u{4e2d}", "\u{301}");
    let piece = prop::sample::select(vec![
        &b"a"[..],
        b"b",
        b"ab",
        b"\xff",
        b" ",
        b"\n",
        b"k",
        b"yz",
        b"/a-",
        b"\xe2\x82",
        b"\x80",
        accented.as_bytes(),
        wide.as_bytes(),
        combining.as_bytes(),
    ]);
    let unit = prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat());
    let repeated = (unit, 0..200_usize, prop::collection::vec(any::<u8>(), 0..4));
    let repeated = repeated.prop_map(|(unit, times, end)| [unit.repeat(times), end].concat());
    prop_oneof![
        3 => repeated,
        1 => prop::collection::vec(prop::sample::select(&b"ab\xff k"[..]), 0..300),
        1 => prop::collection::vec(any::<u8>(), 0..100),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// The budget counted the characters of a pattern, but beyond ASCII a class
    /// has hundreds of states, and each of these has ranges.
    #[test]
    fn weight_is_an_upper_bound(pattern in pattern()) {
        let Ok(parsed) = parse::parse(pattern.as_bytes()) else { return Ok(()) };
        let Some(ascii) = translate(&parsed.node, Target::Ascii) else { return Ok(()) };
        let Some(weight) = nfa_weight(&ascii, false) else { return Ok(()) };
        let estimate = analysis::ascii_weight(&parsed.node);
        prop_assert!(weight <= estimate, "{weight} operations per byte, estimated {estimate}");
    }

    #[test]
    fn result_is_correct_or_cut_short_within_any_budget(
        pattern in pattern(),
        text in text(),
        steps in 0..3_000_u64,
        work in prop_oneof![Just(0), 0..2_000_000_u64],
        build in 0..2_000_000_u64,
    ) {
        let Ok(pattern) = Pattern::new(pattern.as_bytes()) else { return Ok(()) };
        let mut vm = BacktrackVm::default();
        let mut enough = 3_000_000;
        let reference = vm.find(&pattern.program, &text, &mut enough).map(|found| found.is_some());
        let mut utf8_form = Vec::new();
        encode(&text, &mut utf8_form);
        let kind = TextKind::classify(&text);
        let forms = Text { bytes: &text, utf8_form: &utf8_form, kind };
        let mut budget = Budget { steps, work_left: work, build_left: build };
        let result = pattern.is_match(forms, &mut vm, &mut budget);
        prop_assert!(budget.steps <= steps);
        prop_assert!(budget.work_left <= work && budget.build_left <= build);
        let weight = pattern.linear.as_ref().and_then(|linear| linear.weight(kind));
        if let Some(weight) = weight {
            // Work that was not charged is small, or a look-up per byte.
            let is_uncharged = budget.work_left == work && budget.build_left == build;
            let needed = weight * utf8_form.len() as u64;
            prop_assert!(!is_uncharged || needed <= 1 << 16 || budget.steps < steps
                || result == Err(StepLimit), "{needed} operations were not charged");
        }
        match (result, reference) {
            (Ok(is_match), Ok(reference)) => prop_assert_eq!(is_match, reference),
            // Steps remain only if a single instruction needed more.
            (Err(StepLimit), _) => prop_assert!(budget.steps < 100),
            (Ok(_), Err(StepLimit)) => {}
        }
    }
}

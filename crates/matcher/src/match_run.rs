//! Matching one text against the rules.

use crate::prefilter::Prefilter;
use crate::python::text::{TextKind, encode};
use crate::python::{BacktrackVm, Budget, StepLimit, Text};
use crate::rule::Rule;

/// Buffer capacity that is kept from one text to the next, in bytes.
const MAX_RETAINED: usize = 256 << 10;

/// Memory that is reused from one text to the next.
#[derive(Debug, Default)]
pub(crate) struct MatchRun {
    vm: BacktrackVm,
    /// The text and the trailing space.
    with_trailing_space: Vec<u8>,
    /// The same in the form of [`encode`].
    encoded: Vec<u8>,
    /// Whether each rule can match.
    candidates: Vec<bool>,
}

/// Returns whether the rule matches, within the given number of steps.
pub(crate) type TryRule<'a> = &'a mut dyn FnMut(u64) -> Result<bool, StepLimit>;

impl MatchRun {
    /// Calls `visit` with the index of every rule that can match, the rule, and
    /// a function that tries it. All rules share `budget`.
    pub(crate) fn for_each_candidate(
        &mut self,
        (rules, prefilter): (&[Rule], &Prefilter),
        text: &[u8],
        budget: &mut Budget,
        visit: &mut dyn FnMut(usize, &Rule, TryRule<'_>),
    ) {
        let Self { vm, with_trailing_space, encoded, candidates } = self;
        prefilter.candidates(text, candidates);
        let kind = TextKind::classify(text);
        with_trailing_space.clear();
        encoded.clear();
        if kind == TextKind::Other {
            encode(text, encoded);
            encoded.push(b' ');
        }
        let selected = rules.iter().enumerate().zip(candidates.iter());
        for ((index, rule), _) in selected.filter(|(_, is_candidate)| **is_candidate) {
            visit(index, rule, &mut |max_steps| {
                let mut try_text = |text| is_match(rule, text, vm, budget, max_steps);
                let utf8_form =
                    if kind == TextKind::Other { strip_trailing_space(encoded) } else { text };
                if try_text(Text { bytes: text, utf8_form, kind })? {
                    return Ok(true);
                }
                if !rule.compiled().may_need_space() {
                    return Ok(false);
                }
                if with_trailing_space.is_empty() {
                    with_trailing_space.extend_from_slice(text);
                    with_trailing_space.push(b' ');
                }
                let utf8_form =
                    if kind == TextKind::Other { &*encoded } else { &*with_trailing_space };
                try_text(Text { bytes: with_trailing_space, utf8_form, kind })
            });
        }
        for buffer in [with_trailing_space, encoded] {
            if buffer.capacity() > MAX_RETAINED {
                *buffer = Vec::new();
            }
        }
        vm.shrink_to(MAX_RETAINED);
    }
}

/// Matches one rule within `max_steps` and `budget`.
fn is_match(
    rule: &Rule,
    text: Text<'_>,
    vm: &mut BacktrackVm,
    budget: &mut Budget,
    max_steps: u64,
) -> Result<bool, StepLimit> {
    let granted = max_steps.min(budget.steps);
    let mut rule_budget = Budget { steps: granted, ..*budget };
    let result = rule.compiled().is_match(text, vm, &mut rule_budget);
    *budget = Budget { steps: budget.steps - (granted - rule_budget.steps), ..rule_budget };
    result
}

fn strip_trailing_space(text: &[u8]) -> &[u8] {
    text.strip_suffix(b" ").unwrap_or(text)
}

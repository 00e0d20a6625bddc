//! A text held against the rules that may match it.

use crate::python::{BacktrackVm, Budget, StepLimit, Text};
use crate::rules::{Rule, Rules};
use crate::text::{Kind, encode};

/// What is kept of the buffers between two texts, in bytes.
const MAX_RETAINED: usize = 256 << 10;

/// Memory that is kept from one text to the next.
#[derive(Debug, Default)]
pub(crate) struct MatchRun {
    machine: BacktrackVm,
    /// The text and its closing space.
    with_trailing_space: Vec<u8>,
    /// The same, encoded.
    encoded: Vec<u8>,
    /// Rules that may match.
    candidates: Vec<bool>,
}

/// Asks whether the rule matches, with so many steps at most.
pub(crate) type TryRule<'a> = &'a mut dyn FnMut(u64) -> Result<bool, StepLimit>;

impl MatchRun {
    /// Calls `each` with the number of every rule that may match, the rule, and
    /// how to ask it. All take from `budget`.
    pub(crate) fn for_each_match(
        &mut self,
        rules: &Rules,
        text: &[u8],
        budget: &mut Budget,
        each: &mut dyn FnMut(usize, &Rule, TryRule<'_>),
    ) {
        let Self { machine, with_trailing_space: closed, encoded, candidates } = self;
        rules.filter().candidates(text, candidates);
        let kind = Kind::classify(text);
        closed.clear();
        encoded.clear();
        if kind == Kind::Other {
            encode(text, encoded);
            encoded.push(b' ');
        }
        let tried = rules.rules().iter().enumerate().zip(candidates.iter());
        for ((number, rule), _) in tried.filter(|(_, may)| **may) {
            each(number, rule, &mut |most| {
                let mut ask = |text| matches(rule, text, machine, budget, most);
                let first = if kind == Kind::Other { strip_trailing_space(encoded) } else { text };
                if ask(Text { bytes: text, utf8_form: first, kind })? {
                    return Ok(true);
                }
                if !rule.compiled().wants_space() {
                    return Ok(false);
                }
                if closed.is_empty() {
                    closed.extend_from_slice(text);
                    closed.push(b' ');
                }
                let second = if kind == Kind::Other { &*encoded } else { &*closed };
                ask(Text { bytes: closed, utf8_form: second, kind })
            });
        }
        for buffer in [closed, encoded] {
            if buffer.capacity() > MAX_RETAINED {
                *buffer = Vec::new();
            }
        }
        machine.shrink_to(MAX_RETAINED);
    }
}

fn matches(
    rule: &Rule,
    text: Text<'_>,
    machine: &mut BacktrackVm,
    budget: &mut Budget,
    most: u64,
) -> Result<bool, StepLimit> {
    let granted = most.min(budget.steps);
    let mut own = Budget { steps: granted, ..*budget };
    let result = rule.compiled().is_match(text, machine, &mut own);
    *budget = Budget { steps: budget.steps - (granted - own.steps), ..own };
    result
}

fn strip_trailing_space(closed: &[u8]) -> &[u8] {
    closed.strip_suffix(b" ").unwrap_or(closed)
}

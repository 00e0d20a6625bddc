//! Matching one text against the rules.

use std::ops::Range;

use crate::prefilter::FieldRules;
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

/// Returns whether the rule matches, within the given number of steps. If the image name of the
/// rule has groups, the text is set to the name that is made for the process.
pub(crate) type TryRule<'a> = &'a mut dyn FnMut(u64, &mut String) -> Result<bool, StepLimit>;

impl MatchRun {
    /// Calls `visit` with the index of every rule of a field that can match, the rule, and a
    /// function that tries it. All rules share `budget`.
    pub(crate) fn for_each_candidate(
        &mut self,
        (rules, of_field): (&[Rule], &FieldRules),
        text: &[u8],
        budget: &mut Budget,
        visit: &mut dyn FnMut(usize, &Rule, TryRule<'_>),
    ) {
        let mut candidates = std::mem::take(&mut self.candidates);
        of_field.prefilter.candidates(text, &mut candidates);
        let kind = self.begin(text);
        let indices = of_field.rules.iter().zip(&candidates).filter(|(_, can_match)| **can_match);
        for (&index, _) in indices {
            let Some(rule) = rules.get(index) else { continue };
            visit(index, rule, &mut |max_steps, name| {
                self.try_variants(rule, text, kind, budget, max_steps, name)
            });
        }
        self.candidates = candidates;
        self.end();
    }

    /// Matches one rule within `max_steps` and `budget`, and sets `name` to the name that it makes.
    pub(crate) fn try_rule(
        &mut self,
        rule: &Rule,
        text: &[u8],
        budget: &mut Budget,
        max_steps: u64,
        name: &mut String,
    ) -> Result<bool, StepLimit> {
        let kind = self.begin(text);
        self.try_variants(rule, text, kind, budget, max_steps, name)
    }

    /// The range of a group in the last match for which a name was made.
    pub(crate) fn group(&self, group: usize) -> Option<Range<usize>> {
        self.vm.group(group)
    }

    fn begin(&mut self, text: &[u8]) -> TextKind {
        let kind = TextKind::classify(text);
        self.with_trailing_space.clear();
        self.encoded.clear();
        if kind == TextKind::Other {
            encode(text, &mut self.encoded);
            self.encoded.push(b' ');
        }
        kind
    }

    fn end(&mut self) {
        for buffer in [&mut self.with_trailing_space, &mut self.encoded] {
            if buffer.capacity() > MAX_RETAINED {
                *buffer = Vec::new();
            }
        }
        self.vm.shrink_to(MAX_RETAINED);
    }

    /// Matches a text, and the text and one space if that can matter.
    fn try_variants(
        &mut self,
        rule: &Rule,
        text: &[u8],
        kind: TextKind,
        budget: &mut Budget,
        max_steps: u64,
        name: &mut String,
    ) -> Result<bool, StepLimit> {
        let Self { vm, with_trailing_space, encoded, .. } = self;
        let utf8_form = if kind == TextKind::Other { strip_trailing_space(encoded) } else { text };
        let without = Text { bytes: text, utf8_form, kind };
        if is_match(rule, without, vm, budget, max_steps)? {
            return make_name(rule, without, vm, budget, max_steps, name);
        }
        if !rule.tries_space() {
            return Ok(false);
        }
        if with_trailing_space.is_empty() {
            with_trailing_space.extend_from_slice(text);
            with_trailing_space.push(b' ');
        }
        let utf8_form = if kind == TextKind::Other { &*encoded } else { &*with_trailing_space };
        let with = Text { bytes: with_trailing_space, utf8_form, kind };
        if is_match(rule, with, vm, budget, max_steps)? {
            return make_name(rule, with, vm, budget, max_steps, name);
        }
        Ok(false)
    }
}

/// Makes the image name of a rule that matches a text, if that name has groups; true.
fn make_name(
    rule: &Rule,
    text: Text<'_>,
    vm: &mut BacktrackVm,
    budget: &mut Budget,
    max_steps: u64,
    name: &mut String,
) -> Result<bool, StepLimit> {
    let Some(template) = rule.template() else { return Ok(true) };
    with_limit(budget, max_steps, |budget| rule.compiled().capture(text, vm, budget))?;
    template.name.make(name, |index| {
        let group = template.groups.get(index).and_then(|group| vm.group(*group));
        group.and_then(|group| text.bytes.get(group)).unwrap_or_default()
    });
    Ok(true)
}

/// Matches one rule within `max_steps` and `budget`.
fn is_match(
    rule: &Rule,
    text: Text<'_>,
    vm: &mut BacktrackVm,
    budget: &mut Budget,
    max_steps: u64,
) -> Result<bool, StepLimit> {
    with_limit(budget, max_steps, |budget| rule.compiled().is_match(text, vm, budget))
}

/// Grants at most `max_steps` of the steps of `budget`, and charges those taken.
fn with_limit(
    budget: &mut Budget,
    max_steps: u64,
    run: impl FnOnce(&mut Budget) -> Result<bool, StepLimit>,
) -> Result<bool, StepLimit> {
    let granted = max_steps.min(budget.steps);
    let mut rule_budget = Budget { steps: granted, ..*budget };
    let result = run(&mut rule_budget);
    *budget = Budget { steps: budget.steps - (granted - rule_budget.steps), ..rule_budget };
    result
}

fn strip_trailing_space(text: &[u8]) -> &[u8] {
    text.strip_suffix(b" ").unwrap_or(text)
}

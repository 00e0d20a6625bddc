//! The rules that can match a text, found by one pass over the text.

use aho_corasick::automaton::{Automaton as _, OverlappingState};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};

use crate::process_text::Field;
use crate::rule::Rule;

/// The rules of one field.
#[derive(Debug)]
pub(crate) struct FieldRules {
    pub(crate) field: Field,
    /// Their indices.
    pub(crate) rules: Vec<usize>,
    pub(crate) prefilter: Prefilter,
}

impl FieldRules {
    /// The rules of each field that has any.
    pub(crate) fn all(rules: &[Rule]) -> Vec<FieldRules> {
        let of_field = |field| {
            let is_of_field = |index: &usize| rules.get(*index).is_some_and(|r| r.field() == field);
            let indices: Vec<usize> = (0..rules.len()).filter(is_of_field).collect();
            let literals = indices.iter().filter_map(|index| rules.get(*index)).map(Rule::literal);
            let prefilter = (!indices.is_empty()).then(|| Prefilter::new(literals))?;
            Some(FieldRules { field, rules: indices, prefilter })
        };
        Field::ALL.into_iter().filter_map(of_field).collect()
    }
}

/// Finds the required literals of all rules in one pass.
#[derive(Debug)]
pub(crate) struct Prefilter {
    /// `None` if no rule has a literal.
    automaton: Option<NFA>,
    /// The rule of each literal.
    rules: Vec<usize>,
    /// Whether each rule can match a text that has none of the literals.
    unfiltered: Vec<bool>,
}

impl Prefilter {
    /// `literals` has the literal that each rule requires, empty if it
    /// requires none.
    pub(crate) fn new<'a>(literals: impl Iterator<Item = &'a [u8]>) -> Self {
        let literals: Vec<&[u8]> = literals.collect();
        let (rules, patterns): (Vec<usize>, Vec<&[u8]>) =
            literals.iter().copied().enumerate().filter(|(_, l)| !l.is_empty()).unzip();
        // Case-insensitive, because some rules are. The others get more
        // candidates, which costs time only.
        let automaton = if patterns.is_empty() {
            None
        } else {
            NFA::builder()
                .match_kind(MatchKind::Standard)
                .ascii_case_insensitive(true)
                .build(&patterns)
                .ok()
        };
        let is_built = automaton.is_some();
        let unfiltered = literals.iter().map(|l| !is_built || l.is_empty()).collect();
        Self { automaton, rules, unfiltered }
    }

    /// Sets `out` to whether each rule can match.
    pub(crate) fn candidates(&self, text: &[u8], out: &mut Vec<bool>) {
        out.clear();
        out.extend_from_slice(&self.unfiltered);
        let Some(automaton) = &self.automaton else { return };
        let mut state = OverlappingState::start();
        let input = aho_corasick::Input::new(text).anchored(Anchored::No);
        // The only possible error is an unsupported kind of search, and
        // unanchored searches are supported.
        while automaton.try_find_overlapping(&input, &mut state).is_ok() {
            let Some(literal) = state.get_match() else { break };
            let rule = self.rules.get(literal.pattern().as_usize());
            if let Some(is_candidate) = rule.and_then(|rule| out.get_mut(*rule)) {
                *is_candidate = true;
            }
        }
    }
}

//! Which rules a text can match at all, by one pass over it.

use aho_corasick::automaton::{Automaton as _, OverlappingState};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};

use crate::rules::Rule;

/// Finds the literals that rules cannot do without, all in one pass.
#[derive(Debug)]
pub(crate) struct Prefilter {
    /// `None` where no rule has a literal.
    automaton: Option<NFA>,
    /// The rule of each literal.
    rules: Vec<usize>,
    /// Whether a rule may match a text without any literal.
    unfiltered: Vec<bool>,
}

impl Prefilter {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let mut literals = Vec::new();
        let mut numbers = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            let literal = rule.literal();
            if !literal.is_empty() {
                literals.push(literal);
                numbers.push(number);
            }
        }
        // Regardless of case: some rules are, and for the others more
        // candidates do no harm.
        let automaton = if literals.is_empty() {
            None
        } else {
            NFA::builder()
                .match_kind(MatchKind::Standard)
                .ascii_case_insensitive(true)
                .build(&literals)
                .ok()
        };
        let found = automaton.is_some();
        let always = rules.iter().map(|r| !found || r.literal().is_empty()).collect();
        Self { automaton, rules: numbers, unfiltered: always }
    }

    /// Says of each rule whether it may match.
    pub(crate) fn candidates(&self, text: &[u8], out: &mut Vec<bool>) {
        out.clear();
        out.extend_from_slice(&self.unfiltered);
        let Some(automaton) = &self.automaton else { return };
        let mut state = OverlappingState::start();
        let input = aho_corasick::Input::new(text).anchored(Anchored::No);
        // Only the kind of search could be refused, and it is supported.
        while automaton.try_find_overlapping(&input, &mut state).is_ok() {
            let Some(found) = state.get_match() else { break };
            let number = self.rules.get(found.pattern().as_usize());
            if let Some(may) = number.and_then(|n| out.get_mut(*n)) {
                *may = true;
            }
        }
    }
}

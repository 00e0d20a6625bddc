//! The linear engine for a pattern, with bounded time and memory.
//!
//! Its time is linear in the text for typical patterns: the states of a lazy
//! automaton are built as the text requires them. If there are too many of them
//! (`(?:[ab]{9000}c|[ab]{8999}d)`), the engine continues without an automaton,
//! and its time is proportional to the states of the pattern times the text.
//! Each text therefore has a budget for this product. Above the budget, an
//! automaton is used whose work is counted, and which stops at a limit.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use regex::bytes::{Regex, RegexBuilder};
use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::nfa::thompson::{self, NFA, State};
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind};

use super::text::TextKind;

/// Memory limits of a pattern's program in bytes: for ASCII text, and for any
/// text. The latter is also a limit for all rules together.
const ASCII_LIMIT: usize = 4 << 20;
pub(crate) const UNICODE_LIMIT: u64 = 16 << 20;
/// Memory limit of the cache of states.
const CACHE_LIMIT: usize = 1 << 20;
/// Nesting limit of the parser of `regex`. A level of the pattern is a few of
/// its levels.
const NEST_LIMIT: u32 = 1_000;

/// Work budget of all rules per text; at most 0.2 s.
pub(crate) const MAX_WORK: u64 = 1 << 27;
/// Work budget of all rules per text for building states of automata whose work
/// is counted; at most a quarter of a second.
pub(crate) const MAX_BUILD_WORK: u64 = 1 << 26;
/// A rule that uses this much of it does not use such an automaton again.
const MAX_BUILD_WORK_RULE: u64 = MAX_BUILD_WORK / 2;
/// Work up to this amount is not charged.
const UNMETERED_WORK: u64 = 1 << 16;
/// With this weight, the time per state is twice that of a small pattern,
/// because the states exceed the processor's caches.
const CACHED_STATES: u64 = 1024;

/// A pattern for the linear engine.
#[derive(Debug)]
pub(super) struct Linear {
    ascii: Automaton,
    /// For text beyond ASCII; `None` if `regex` does not support it, or it would
    /// exceed a limit.
    unicode: Option<UnicodeAutomaton>,
}

#[derive(Debug)]
struct UnicodeAutomaton {
    pattern: String,
    /// Built for the first such text. `None` if it is too large.
    automaton: OnceLock<Option<Automaton>>,
    has_word_boundary: bool,
    /// Estimated memory in bytes.
    memory: u64,
}

impl Linear {
    /// `weight` is an upper bound of the [`weight`] of the form for ASCII text.
    /// `None` if the pattern is too large.
    pub(super) fn new(
        ascii: &str,
        unicode: Option<String>,
        memory: u64,
        weight: u64,
    ) -> Option<Self> {
        let unicode = unicode.map(|pattern| {
            let has_word_boundary = pattern.contains(r"\b");
            UnicodeAutomaton { pattern, automaton: OnceLock::new(), has_word_boundary, memory }
        });
        Some(Self { ascii: Automaton::new(ascii, false, Some(weight))?, unicode })
    }

    /// Estimated memory for text beyond ASCII, in bytes.
    pub(super) fn unicode_automaton_size(&self) -> u64 {
        self.unicode.as_ref().map_or(0, |unicode| unicode.memory)
    }

    /// Limits the engine to ASCII text.
    pub(super) fn drop_unicode_automaton(&mut self) {
        self.unicode = None;
    }

    /// The automaton for a kind of text, and whether it takes the encoded form;
    /// `None` if there is none.
    fn automaton(&self, kind: TextKind) -> Option<(&Automaton, bool)> {
        if kind == TextKind::Ascii {
            return Some((&self.ascii, false));
        }
        let unicode = self.unicode.as_ref()?;
        if unicode.has_word_boundary && kind == TextKind::Other {
            return None;
        }
        let new = || Automaton::new(&unicode.pattern, true, None);
        unicode.automaton.get_or_init(new).as_ref().map(|automaton| (automaton, true))
    }

    /// Whether it matches; `None` if that cannot be determined within the
    /// budget, which is charged: the worst case to `work_left`, or the states
    /// that were built to `build_left`.
    pub(super) fn is_match(
        &self,
        text: &[u8],
        encoded: &[u8],
        kind: TextKind,
        work_left: &mut u64,
        build_left: &mut u64,
    ) -> Option<bool> {
        let (automaton, is_encoded) = self.automaton(kind)?;
        let text = if is_encoded { encoded } else { text };
        let needed = automaton.max_work(text.len());
        if needed > UNMETERED_WORK {
            match work_left.checked_sub(needed) {
                Some(left) => *work_left = left,
                None => return automaton.counted()?.is_match(text, build_left),
            }
        }
        Some(automaton.regex.is_match(text))
    }

    /// Where the first match starts in the form of the text that is searched, and whether that is
    /// the encoded form; `None` if that cannot be determined within the budget, which is charged.
    pub(super) fn start(
        &self,
        text: &[u8],
        encoded: &[u8],
        kind: TextKind,
        work_left: &mut u64,
    ) -> Option<(usize, bool)> {
        let (automaton, is_encoded) = self.automaton(kind)?;
        let text = if is_encoded { encoded } else { text };
        let needed = automaton.max_work(text.len());
        if needed > UNMETERED_WORK {
            *work_left = work_left.checked_sub(needed)?;
        }
        automaton.regex.find(text).map(|found| (found.start(), is_encoded))
    }

    /// The same by the automaton whose work is counted.
    #[cfg(test)]
    pub(super) fn is_match_counted(
        &self,
        text: &[u8],
        encoded: &[u8],
        kind: TextKind,
        build_left: &mut u64,
    ) -> Option<bool> {
        let (automaton, is_encoded) = self.automaton(kind)?;
        automaton.counted()?.is_match(if is_encoded { encoded } else { text }, build_left)
    }

    /// The weight for a kind of text; `None` if there is no automaton for it.
    #[cfg(test)]
    pub(super) fn weight(&self, kind: TextKind) -> Option<u64> {
        self.automaton(kind).map(|(automaton, _)| automaton.weight)
    }

    /// The regex that finds the match, and whether it takes the encoded form;
    /// `None` if there is none, or it could exceed the budget.
    pub(super) fn regex(&self, text: &[u8], kind: TextKind) -> Option<(&Regex, bool)> {
        let (automaton, is_encoded) = self.automaton(kind)?;
        let is_affordable = automaton.max_work(text.len()) <= MAX_WORK;
        is_affordable.then_some((&automaton.regex, is_encoded))
    }
}

#[derive(Debug)]
struct Automaton {
    regex: Regex,
    is_unicode: bool,
    /// Each byte of a text costs up to this number of operations.
    weight: u64,
    /// Built for the first text that exceeds the budget.
    counted: OnceLock<Option<Counted>>,
}

impl Automaton {
    /// `weight` is an upper bound, if one is known.
    fn new(pattern: &str, is_unicode: bool, upper_bound: Option<u64>) -> Option<Self> {
        let regex = RegexBuilder::new(pattern)
            .unicode(is_unicode)
            .size_limit(size_limit(is_unicode))
            .dfa_size_limit(CACHE_LIMIT)
            .nest_limit(NEST_LIMIT)
            .build()
            .ok()?;
        let weight = match upper_bound {
            Some(weight) => weight,
            None => weight(&nfa(pattern, is_unicode)?),
        };
        Some(Self { regex, is_unicode, weight, counted: OnceLock::new() })
    }

    fn counted(&self) -> Option<&Counted> {
        let new = || Counted::new(self.regex.as_str(), self.is_unicode);
        self.counted.get_or_init(new).as_ref()
    }

    /// The worst-case work for a text of this length.
    fn max_work(&self, len: usize) -> u64 {
        let per_byte = self.weight.saturating_mul(1 + self.weight / CACHED_STATES);
        per_byte.saturating_mul(len as u64)
    }
}

fn size_limit(is_unicode: bool) -> usize {
    if is_unicode { UNICODE_LIMIT as usize } else { ASCII_LIMIT }
}

/// The NFA of a pattern, which `regex` does not expose.
fn nfa(pattern: &str, is_unicode: bool) -> Option<NFA> {
    let config = thompson::Config::new().utf8(false).nfa_size_limit(Some(size_limit(is_unicode)));
    let syntax = syntax::Config::new().unicode(is_unicode).utf8(false).nest_limit(NEST_LIMIT);
    NFA::compiler().configure(config).syntax(syntax).build(pattern).ok()
}

/// The operations that one byte of a text can cost: each state, and each range of
/// bytes or alternative of a state, is visited at most once per byte.
pub(super) fn weight(nfa: &NFA) -> u64 {
    let weight = |state: &State| match state {
        State::Sparse(sparse) => sparse.transitions.len(),
        State::Union { alternates } => alternates.len(),
        State::BinaryUnion { .. } => 2,
        _ => 0,
    };
    nfa.states().iter().map(|state| 1 + weight(state) as u64).sum()
}

/// An automaton whose work is counted.
#[derive(Debug)]
struct Counted {
    dfa: DFA,
    weight: u64,
    /// It has reached its limit once, and is not used again, because the attempt
    /// takes time too.
    is_disabled: AtomicBool,
}

impl Counted {
    fn new(pattern: &str, is_unicode: bool) -> Option<Self> {
        let config = Config::new()
            .match_kind(MatchKind::LeftmostFirst)
            .unicode_word_boundary(true)
            .cache_capacity(CACHE_LIMIT)
            .skip_cache_capacity_check(true);
        let nfa = nfa(pattern, is_unicode)?;
        let weight = weight(&nfa);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).ok()?;
        Some(Self { dfa, weight, is_disabled: AtomicBool::new(false) })
    }

    /// Whether it matches. Charges the weight for each transition that is built
    /// to `build_left`; `None` at its end.
    fn is_match(&self, text: &[u8], build_left: &mut u64) -> Option<bool> {
        if self.is_disabled.load(Ordering::Relaxed) {
            return None;
        }
        let before = *build_left;
        let result = self.search(text, &mut self.dfa.create_cache(), build_left);
        if result.is_none() && before - *build_left >= MAX_BUILD_WORK_RULE {
            self.is_disabled.store(true, Ordering::Relaxed);
        }
        result
    }

    fn search(&self, text: &[u8], cache: &mut Cache, build_left: &mut u64) -> Option<bool> {
        let mut charge = || {
            let left = build_left.checked_sub(self.weight);
            *build_left = left.unwrap_or(0);
            left
        };
        charge()?;
        let mut state = self.dfa.start_state_forward(cache, &Input::new(text)).ok()?;
        for &byte in text {
            if state.is_tagged() {
                // Found, or impossible, or a byte for which it is not defined.
                return if state.is_quit() { None } else { Some(state.is_match()) };
            }
            let next = self.dfa.next_state_untagged(cache, state, byte);
            state = if next.is_unknown() {
                charge()?;
                self.dfa.next_state(cache, state, byte).ok()?
            } else {
                next
            };
        }
        if state.is_tagged() {
            return if state.is_quit() { None } else { Some(state.is_match()) };
        }
        charge()?;
        self.dfa.next_eoi_state(cache, state).ok().map(|state| state.is_match())
    }
}

#[cfg(test)]
pub(super) fn nfa_weight(pattern: &str, is_unicode: bool) -> Option<u64> {
    nfa(pattern, is_unicode).map(|nfa| weight(&nfa))
}

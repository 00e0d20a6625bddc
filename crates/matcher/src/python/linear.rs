//! The linear engine for a pattern, with bounded time and memory.
//!
//! Its time is linear in the text for typical patterns: the states of a lazy
//! automaton are built as the text requires them. If there are too many of them
//! (`(?:[ab]{9000}c|[ab]{8999}d)`), the engine continues without an automaton,
//! and its time is proportional to the states of the pattern times the text.
//! Each text therefore has a budget for this product. Above the budget, an
//! automaton is used that stops if its states exceed its cache.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use regex::bytes::{Regex, RegexBuilder};
use regex_automata::hybrid::dfa::{Config, DFA};
use regex_automata::nfa::thompson::{self, NFA};
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
/// Work up to this amount is not charged.
const UNMETERED_WORK: u64 = 1 << 16;
/// With this number of states, the time per state is twice that of a small
/// pattern, because the states exceed the processor's caches.
const CACHED_STATES: u64 = 512;

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
    /// `size` is the size of the pattern with repeats written out. `None` if it
    /// is too large.
    pub(super) fn new(
        ascii: &str,
        unicode: Option<String>,
        memory: u64,
        size: u64,
    ) -> Option<Self> {
        let unicode = unicode.map(|pattern| {
            let has_word_boundary = pattern.contains(r"\b");
            UnicodeAutomaton { pattern, automaton: OnceLock::new(), has_word_boundary, memory }
        });
        Some(Self { ascii: Automaton::new(ascii, false, Some(size))?, unicode })
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
    /// budget. Charges the worst case to `work_left`.
    pub(super) fn is_match(
        &self,
        text: &[u8],
        encoded: &[u8],
        kind: TextKind,
        work_left: &mut u64,
    ) -> Option<bool> {
        let (automaton, is_encoded) = self.automaton(kind)?;
        let text = if is_encoded { encoded } else { text };
        let needed = automaton.max_work(text.len());
        if needed > UNMETERED_WORK {
            match work_left.checked_sub(needed) {
                Some(left) => *work_left = left,
                None => return automaton.bounded()?.is_match(text),
            }
        }
        Some(automaton.regex.is_match(text))
    }

    /// The same with bounded time for every pattern and text.
    #[cfg(test)]
    pub(super) fn is_match_bounded(
        &self,
        text: &[u8],
        encoded: &[u8],
        kind: TextKind,
    ) -> Option<bool> {
        let (automaton, is_encoded) = self.automaton(kind)?;
        automaton.bounded()?.is_match(if is_encoded { encoded } else { text })
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
    /// Number of NFA states. Each byte of a text costs up to this number of
    /// operations.
    states: u64,
    /// Built for the first text that exceeds the budget.
    bounded: OnceLock<Option<Bounded>>,
}

impl Automaton {
    /// `states` is the number of states, if it is known.
    fn new(pattern: &str, is_unicode: bool, states: Option<u64>) -> Option<Self> {
        let regex = RegexBuilder::new(pattern)
            .unicode(is_unicode)
            .size_limit(size_limit(is_unicode))
            .dfa_size_limit(CACHE_LIMIT)
            .nest_limit(NEST_LIMIT)
            .build()
            .ok()?;
        let states = match states {
            Some(states) => states,
            None => nfa(pattern, is_unicode)?.states().len() as u64,
        };
        Some(Self { regex, is_unicode, states, bounded: OnceLock::new() })
    }

    fn bounded(&self) -> Option<&Bounded> {
        let new = || Bounded::new(self.regex.as_str(), self.is_unicode);
        self.bounded.get_or_init(new).as_ref()
    }

    /// The worst-case work for a text of this length.
    fn max_work(&self, len: usize) -> u64 {
        let per_byte = self.states.saturating_mul(1 + self.states / CACHED_STATES);
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

/// An automaton that stops if its states exceed its cache.
#[derive(Debug)]
struct Bounded {
    dfa: DFA,
    /// It has stopped once, and is not used again, because the attempt takes
    /// time too.
    is_disabled: AtomicBool,
}

impl Bounded {
    fn new(pattern: &str, is_unicode: bool) -> Option<Self> {
        let config = Config::new()
            .match_kind(MatchKind::LeftmostFirst)
            .unicode_word_boundary(true)
            .cache_capacity(CACHE_LIMIT)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(1))
            .minimum_bytes_per_state(Some(10));
        let nfa = nfa(pattern, is_unicode)?;
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).ok()?;
        Some(Self { dfa, is_disabled: AtomicBool::new(false) })
    }

    fn is_match(&self, text: &[u8]) -> Option<bool> {
        if self.is_disabled.load(Ordering::Relaxed) {
            return None;
        }
        let mut cache = self.dfa.create_cache();
        match self.dfa.try_search_fwd(&mut cache, &Input::new(text).earliest(true)) {
            Ok(end) => Some(end.is_some()),
            Err(_) => {
                self.is_disabled.store(true, Ordering::Relaxed);
                None
            }
        }
    }
}

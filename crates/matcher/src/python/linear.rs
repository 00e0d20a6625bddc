//! What the linear engine has of a pattern, kept within bounds of time and
//! memory.
//!
//! Its time is linear in the text for the patterns that people write: an
//! automaton's states are made as the text needs them. Where they are too many
//! (`(?:[ab]{9000}c|[ab]{8999}d)`) it goes on without, and takes time by the
//! pattern times the text. So a text has a sum of work that may come to that;
//! what is beyond it is asked of an automaton that gives up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use regex::bytes::{Regex, RegexBuilder};
use regex_automata::hybrid::dfa::{Config, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind};

use crate::text::Kind;

/// What the linear engine may need for a pattern's program, in bytes: for ASCII
/// text, and for any. The latter is a limit of all rules together as well.
const ASCII_LIMIT: usize = 4 << 20;
pub(crate) const ANY_LIMIT: u64 = 16 << 20;
/// What its cache of states may need.
const CACHE_LIMIT: usize = 1 << 20;
/// How deep its own parser may nest: a few levels for one of the pattern.
const NEST_LIMIT: u32 = 1_000;

/// The work that all rules may do for one text, at its worst 0.2 s.
pub(crate) const MAX_WORK: u64 = 1 << 27;
/// Work so small that it does not count.
const UNMETERED_WORK: u64 = 1 << 16;
/// A pattern of this size takes twice the time for each character of it that
/// a small one does: its states do not fit the processor's caches.
const CACHED_SIZE: u64 = 512;

/// A pattern for the linear engine.
#[derive(Debug)]
pub(super) struct Linear {
    ascii: Automaton,
    /// For text beyond ASCII; `None` where it cannot be said, or may not.
    any: Option<UnicodeAutomaton>,
    /// The pattern's size.
    size: u64,
}

#[derive(Debug)]
struct UnicodeAutomaton {
    pattern: String,
    /// Made when the first such text comes. `None` where it is too large.
    automaton: OnceLock<Option<Automaton>>,
    /// Whether it needs to know what a word is.
    has_words: bool,
    /// About what it needs, in bytes.
    memory: u64,
}

impl Linear {
    /// `None` where it is too large.
    pub(super) fn new(ascii: &str, any: Option<String>, memory: u64, size: u64) -> Option<Self> {
        let any = any.map(|source| {
            let has_words = source.contains(r"\b");
            UnicodeAutomaton { pattern: source, automaton: OnceLock::new(), has_words, memory }
        });
        Some(Self { ascii: Automaton::new(ascii, false)?, any, size })
    }

    /// About what it will need for text beyond ASCII, in bytes.
    pub(super) fn any_memory(&self) -> u64 {
        self.any.as_ref().map_or(0, |any| any.memory)
    }

    /// Has it know ASCII text alone.
    pub(super) fn forget_any(&mut self) {
        self.any = None;
    }

    /// The automaton for such a text, and whether it wants it encoded; `None`
    /// where there is none.
    fn automaton(&self, kind: Kind) -> Option<(&Automaton, bool)> {
        if kind == Kind::Ascii {
            return Some((&self.ascii, false));
        }
        let any = self.any.as_ref()?;
        if any.has_words && kind == Kind::Other {
            return None;
        }
        let automaton = any.automaton.get_or_init(|| Automaton::new(&any.pattern, true));
        automaton.as_ref().map(|automaton| (automaton, true))
    }

    /// Whether it matches; `None` where it cannot tell. Takes from `work` what
    /// it may come to.
    pub(super) fn is_match(
        &self,
        text: &[u8],
        encoded: &[u8],
        kind: Kind,
        work: &mut u64,
    ) -> Option<bool> {
        let needed = self.work(text.len());
        if needed > UNMETERED_WORK {
            match work.checked_sub(needed) {
                Some(left) => *work = left,
                None => return self.is_match_bounded(text, encoded, kind),
            }
        }
        let (automaton, wants_encoded) = self.automaton(kind)?;
        Some(automaton.regex.is_match(if wants_encoded { encoded } else { text }))
    }

    /// The same in little time, whatever the pattern and the text are.
    pub(super) fn is_match_bounded(&self, text: &[u8], encoded: &[u8], kind: Kind) -> Option<bool> {
        let (automaton, wants_encoded) = self.automaton(kind)?;
        automaton.bounded()?.is_match(if wants_encoded { encoded } else { text })
    }

    /// The regex to find the place with, and whether it wants the text
    /// encoded; `None` where it cannot, or would take too long.
    pub(super) fn regex(&self, text: &[u8], kind: Kind) -> Option<(&Regex, bool)> {
        let (automaton, wants_encoded) = self.automaton(kind)?;
        (self.work(text.len()) <= MAX_WORK).then_some((&automaton.regex, wants_encoded))
    }

    /// What a text of that length may come to at the worst.
    fn work(&self, len: usize) -> u64 {
        let a_byte = self.size.saturating_mul(1 + self.size / CACHED_SIZE);
        a_byte.saturating_mul(len as u64)
    }
}

#[derive(Debug)]
struct Automaton {
    regex: Regex,
    unicode: bool,
    /// Made when the first text comes that is too much work.
    bounded: OnceLock<Option<Bounded>>,
}

impl Automaton {
    fn new(source: &str, unicode: bool) -> Option<Self> {
        let regex = RegexBuilder::new(source)
            .unicode(unicode)
            .size_limit(size_limit(unicode))
            .dfa_size_limit(CACHE_LIMIT)
            .nest_limit(NEST_LIMIT)
            .build()
            .ok()?;
        Some(Self { regex, unicode, bounded: OnceLock::new() })
    }

    fn bounded(&self) -> Option<&Bounded> {
        let new = || Bounded::new(self.regex.as_str(), self.unicode);
        self.bounded.get_or_init(new).as_ref()
    }
}

fn size_limit(unicode: bool) -> usize {
    if unicode { ANY_LIMIT as usize } else { ASCII_LIMIT }
}

/// An automaton that gives up where its states are too many for its cache.
#[derive(Debug)]
struct Bounded {
    dfa: DFA,
    /// It has given up once, and is not asked again: that takes its time too.
    gave_up: AtomicBool,
}

impl Bounded {
    fn new(source: &str, unicode: bool) -> Option<Self> {
        let config = Config::new()
            .match_kind(MatchKind::LeftmostFirst)
            .unicode_word_boundary(true)
            .cache_capacity(CACHE_LIMIT)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(1))
            .minimum_bytes_per_state(Some(10));
        let nfa = thompson::Config::new().utf8(false).nfa_size_limit(Some(size_limit(unicode)));
        let syntax = syntax::Config::new().unicode(unicode).utf8(false).nest_limit(NEST_LIMIT);
        let dfa =
            DFA::builder().configure(config).thompson(nfa).syntax(syntax).build(source).ok()?;
        Some(Self { dfa, gave_up: AtomicBool::new(false) })
    }

    fn is_match(&self, text: &[u8]) -> Option<bool> {
        if self.gave_up.load(Ordering::Relaxed) {
            return None;
        }
        let mut cache = self.dfa.create_cache();
        let found = self.dfa.try_search_fwd(&mut cache, &Input::new(text).earliest(true));
        match found {
            Ok(found) => Some(found.is_some()),
            Err(_) => {
                self.gave_up.store(true, Ordering::Relaxed);
                None
            }
        }
    }
}

//! Patterns in the dialect of Python's `re`: from text to something that
//! matches.
//!
//! `token` cuts the pattern, `parse` (with `group`, `bracket`, `escape`) makes
//! a tree of it (`ast`), in which a character class already is the set of
//! characters that CPython would match (`class`, `set`, `tables`). What a
//! linear engine can say, `translate` says to the `regex` crate; for the rest
//! `program` and `machine` are a backtracking engine with a step limit.

mod ast;
mod bracket;
mod checks;
mod class;
mod escape;
mod facts;
mod group;
mod join;
#[cfg(test)]
mod judged;
mod machine;
mod name_table;
mod names;
mod parse;
mod possessive;
mod program;
mod set;
mod tables;
mod token;
mod translate;

use std::ops::Range;
use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};

use crate::pattern_error::PatternError;
use crate::text::{Kind, decoded_offset, encode};

pub(crate) use class::is_word;
pub(crate) use facts::Literal;
pub(crate) use machine::Machine;
pub use machine::StepLimit;

use program::Program;
use translate::{For, translate};

/// The longest pattern, in bytes.
const MAX_PATTERN_LEN: usize = 64 << 10;
/// The largest pattern, in characters with repeats written out.
const MAX_SIZE: u64 = 20_000;
/// What the linear engine may need for a pattern's program, in bytes.
const ASCII_LIMIT: usize = 4 << 20;
const ANY_LIMIT: usize = 16 << 20;
/// What its cache of states may need.
const CACHE_LIMIT: usize = 1 << 20;

/// A text with what has to be known of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    pub(crate) bytes: &'a [u8],
    /// The same in the form of [`encode`]; equal to `bytes` where it is UTF-8.
    pub(crate) encoded: &'a [u8],
    pub(crate) kind: Kind,
}

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    /// What the linear engine has; `None` where it has no way to say it.
    linear: Option<Linear>,
    program: Program,
    literal: Literal,
    wants_space: bool,
    matches_empty: bool,
    size: u64,
}

#[derive(Debug)]
struct Linear {
    ascii: Regex,
    /// Its source for text beyond ASCII; `None` where it cannot be said.
    any_source: Option<String>,
    /// Made when the first such text comes. `None` where it is too large.
    any: OnceLock<Option<Regex>>,
    /// Whether it needs to know what a word is.
    has_words: bool,
}

impl Pattern {
    pub(crate) fn new(source: &[u8]) -> Result<Self, PatternError> {
        if source.len() > MAX_PATTERN_LEN {
            let message = format!("the pattern is longer than {MAX_PATTERN_LEN} bytes");
            return Err(PatternError::new(message, 0, 1, "split the rule into several"));
        }
        let parsed = parse::parse(source)?;
        let node = parsed.node;
        let too_large = || {
            let message = "the pattern is too large with its repeats written out";
            let remedy = "repeat less, or write `*` or `+` without an upper bound";
            PatternError::new(message, 0, crate::render::characters(source).count(), remedy)
        };
        let size = facts::size(&node);
        let mut linear = None;
        if let Some(ascii) = translate(&node, For::Ascii) {
            if size > MAX_SIZE {
                return Err(too_large());
            }
            let ascii = compile(&ascii, false).ok_or_else(too_large)?;
            let any_source = translate(&node, For::Any);
            let has_words = any_source.as_ref().is_some_and(|s| s.contains(r"\b"));
            linear = Some(Linear { ascii, any_source, any: OnceLock::new(), has_words });
        }
        Ok(Self {
            literal: facts::literal(&node),
            wants_space: facts::wants_space(&node, linear.is_some()),
            matches_empty: facts::can_be_empty(&node),
            program: Program::new(&node, parsed.groups),
            size: if linear.is_some() { size } else { 0 },
            linear,
        })
    }

    /// Whether it matches in `text`.
    ///
    /// `steps` is what the backtracking engine may take, and is less by what
    /// it took.
    pub(crate) fn is_match(
        &self,
        text: Text<'_>,
        machine: &mut Machine,
        steps: &mut u64,
    ) -> Result<bool, StepLimit> {
        match self.regex(text.kind) {
            Some((regex, false)) => Ok(regex.is_match(text.bytes)),
            Some((regex, true)) => Ok(regex.is_match(text.encoded)),
            None => machine.find(&self.program, text.bytes, steps).map(|m| m.is_some()),
        }
    }

    /// The regex for such a text, and whether it wants it encoded.
    fn regex(&self, kind: Kind) -> Option<(&Regex, bool)> {
        let linear = self.linear.as_ref()?;
        if kind == Kind::Ascii {
            return Some((&linear.ascii, false));
        }
        if linear.has_words && kind == Kind::Other {
            return None;
        }
        let source = linear.any_source.as_deref()?;
        let any = linear.any.get_or_init(|| compile(source, true));
        any.as_ref().map(|regex| (regex, true))
    }

    /// Where it first matches.
    pub(crate) fn find(
        &self,
        text: &[u8],
        machine: &mut Machine,
        steps: u64,
    ) -> Result<Option<Range<usize>>, StepLimit> {
        let kind = Kind::of(text);
        let mut left = steps;
        let Some((regex, encoded)) = self.regex(kind) else {
            return machine.find(&self.program, text, &mut left);
        };
        let mut buffer = Vec::new();
        let found = if encoded {
            encode(text, &mut buffer);
            regex
                .find(&buffer)
                .map(|m| decoded_offset(text, m.start())..decoded_offset(text, m.end()))
        } else {
            regex.find(text).map(|m| m.range())
        };
        let Some(found) = found else { return Ok(None) };
        // The start is Python's. The end may be one newline too far (`$`), so
        // ask the engine that goes Python's way, where it can tell.
        let end = machine.find_at(&self.program, text, found.start, steps);
        Ok(Some(found.start..end.ok().flatten().unwrap_or(found.end)))
    }

    /// What every match holds; may be empty.
    pub(crate) fn literal(&self) -> &Literal {
        &self.literal
    }

    /// Whether a closing space can make a match that is none without it.
    pub(crate) fn wants_space(&self) -> bool {
        self.wants_space
    }

    /// Whether it can match nothing at all.
    pub(crate) fn matches_empty(&self) -> bool {
        self.matches_empty
    }

    /// Whether the linear engine does it for ASCII text.
    pub(crate) fn is_linear(&self) -> bool {
        self.linear.is_some()
    }

    /// Its size with repeats written out, where these are.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

fn compile(source: &str, unicode: bool) -> Option<Regex> {
    RegexBuilder::new(source)
        .unicode(unicode)
        .size_limit(if unicode { ANY_LIMIT } else { ASCII_LIMIT })
        .dfa_size_limit(CACHE_LIMIT)
        .nest_limit(1_000)
        .build()
        .ok()
}

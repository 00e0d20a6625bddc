//! Patterns in the dialect of Python's `re`: from text to something that
//! matches.
//!
//! `token` cuts the pattern, `parse` (with `group`, `bracket`, `escape`) makes
//! a tree of it (`ast`), in which a character class already is the set of
//! characters that CPython would match (`class`, `set`, `tables`). What a
//! linear engine can say, `translate` says to the `regex` crate; for the rest
//! `program` and `machine` are a backtracking engine with a step limit.

mod analysis;
mod assertions;
mod ast;
mod backtrack;
mod char_class;
mod class;
mod containment;
mod escape;
mod factor;
mod group;
#[cfg(test)]
mod judged;
mod linear;
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

use crate::pattern_error::PatternError;
use crate::text::{Kind, decoded_offset, encode};

pub(crate) use backtrack::BacktrackVm;
pub use backtrack::StepLimit;
pub(crate) use class::is_word;
pub(crate) use containment::LiteralSketch;
pub(crate) use linear::{ANY_LIMIT, MAX_WORK};

use linear::Linear;
use program::Program;
use translate::{Target, translate};

/// The longest pattern, in bytes.
const MAX_PATTERN_LEN: usize = 64 << 10;
/// The largest pattern, in characters with repeats written out.
const MAX_SIZE: u64 = 20_000;

/// A text with what has to be known of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    pub(crate) bytes: &'a [u8],
    /// The same in the form of [`encode`]; equal to `bytes` where it is UTF-8.
    pub(crate) utf8_form: &'a [u8],
    pub(crate) kind: Kind,
}

/// What may be taken for a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Steps of the backtracking engine.
    pub(crate) steps: u64,
    /// What the linear engine may come to: [`MAX_WORK`] at first.
    pub(crate) work_left: u64,
}

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    /// What the linear engine has; `None` where it has no way to say it.
    linear: Option<Linear>,
    program: Program,
    literal: Vec<u8>,
    wants_space: bool,
    can_be_empty: bool,
    is_empty_anywhere: bool,
    size: u64,
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
        let size = analysis::size(&node);
        let mut linear = None;
        if let Some(ascii) = translate(&node, Target::Ascii) {
            if size > MAX_SIZE {
                return Err(too_large());
            }
            // Its source would be long, too.
            let memory = analysis::any_memory(&node);
            let any = (memory <= ANY_LIMIT).then(|| translate(&node, Target::Any)).flatten();
            let new = Linear::new(&ascii, any, memory, size);
            linear = Some(new.ok_or_else(too_large)?);
        }
        Ok(Self {
            literal: analysis::literal(&node),
            wants_space: analysis::wants_space(&node, linear.is_some()),
            can_be_empty: analysis::can_be_empty(&node),
            is_empty_anywhere: analysis::is_empty_anywhere(&node),
            program: Program::new(&node, parsed.groups),
            size: if linear.is_some() { size } else { 0 },
            linear,
        })
    }

    /// Whether it matches in `text`. Takes from `budget`.
    pub(crate) fn is_match(
        &self,
        text: Text<'_>,
        machine: &mut BacktrackVm,
        budget: &mut Budget,
    ) -> Result<bool, StepLimit> {
        let Text { bytes, utf8_form: encoded, kind } = text;
        let linear = self.linear.as_ref();
        match linear.and_then(|l| l.is_match(bytes, encoded, kind, &mut budget.work_left)) {
            Some(is_match) => Ok(is_match),
            None => machine.find(&self.program, bytes, &mut budget.steps).map(|m| m.is_some()),
        }
    }

    /// Where it first matches.
    pub(crate) fn find(
        &self,
        text: &[u8],
        machine: &mut BacktrackVm,
        steps: u64,
    ) -> Result<Option<Range<usize>>, StepLimit> {
        let kind = Kind::classify(text);
        let mut left = steps;
        let linear = self.linear.as_ref().and_then(|l| l.regex(text, kind));
        let Some((regex, encoded)) = linear else {
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
    pub(crate) fn literal(&self) -> &[u8] {
        &self.literal
    }

    /// Whether a closing space can make a match that is none without it.
    pub(crate) fn wants_space(&self) -> bool {
        self.wants_space
    }

    /// Whether it can match the empty string, if assertions allow it.
    pub(crate) fn can_be_empty(&self) -> bool {
        self.can_be_empty
    }

    /// Whether it matches the empty string everywhere.
    pub(crate) fn always_matches(&self) -> bool {
        self.is_empty_anywhere
    }

    /// Whether the linear engine does it for ASCII text.
    pub(crate) fn is_linear(&self) -> bool {
        self.linear.is_some()
    }

    /// About what its automaton for text beyond ASCII will need, in bytes.
    pub(crate) fn unicode_automaton_size(&self) -> u64 {
        self.linear.as_ref().map_or(0, Linear::any_memory)
    }

    /// Has text beyond ASCII matched by the backtracking engine.
    pub(crate) fn drop_unicode_automaton(&mut self) {
        if let Some(linear) = &mut self.linear {
            linear.forget_any();
        }
    }

    /// Its size with repeats written out, where these are.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

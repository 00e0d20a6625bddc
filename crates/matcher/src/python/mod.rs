//! Patterns in the dialect of Python's `re`: parsing, analysis and matching.
//!
//! `token` splits the pattern, `parse` (with `group`, `char_class`, `escape`)
//! builds its tree (`ast`), in which a character class is already the set of
//! characters that CPython would match (`class`, `set`, `tables`). `translate`
//! converts patterns that a linear engine supports for the `regex` crate
//! (`linear`). `program` and `backtrack` are a backtracking engine with a step
//! limit for all other patterns.

mod analysis;
mod assertions;
mod ast;
mod backtrack;
mod char_class;
mod class;
mod containment;
#[cfg(test)]
mod cpython_tests;
mod escape;
mod factor;
mod group;
mod linear;
mod literals;
mod name_table;
mod names;
mod parse;
mod possessive;
mod program;
mod set;
mod tables;
pub(crate) mod text;
mod token;
mod translate;
#[cfg(test)]
mod work_tests;

use std::collections::HashMap;
use std::ops::Range;

use crate::pattern_error::PatternError;

pub(crate) use backtrack::BacktrackVm;
pub use backtrack::StepLimit;
pub(crate) use containment::LiteralSketch;
pub(crate) use linear::{MAX_BUILD_WORK, MAX_WORK, UNICODE_LIMIT};
pub(crate) use possessive::NoValue;

use linear::Linear;
use parse::Parsed;
use program::Program;
use text::{TextKind, decoded_offset, encode};
use translate::{Target, translate};

/// Maximum length of a pattern in bytes.
const MAX_PATTERN_LEN: usize = 64 << 10;
/// Maximum size of a pattern, in characters with repeats written out.
const MAX_SIZE: u64 = 20_000;

/// A text in the forms that the engines take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    pub(crate) bytes: &'a [u8],
    /// The same in the form of [`encode`]; equal to `bytes` if they are UTF-8.
    pub(crate) utf8_form: &'a [u8],
    pub(crate) kind: TextKind,
}

/// The remaining work for a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Steps of the backtracking engine.
    pub(crate) steps: u64,
    /// Worst-case work of the linear engine; initially [`MAX_WORK`].
    pub(crate) work_left: u64,
    /// Work of the linear engine's counted automata; initially
    /// [`MAX_BUILD_WORK`].
    pub(crate) build_left: u64,
}

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    /// `None` if the linear engine does not support the pattern.
    linear: Option<Linear>,
    program: Program,
    literal: Vec<u8>,
    may_need_space: bool,
    can_be_empty: bool,
    always_matches: bool,
    size: u64,
    /// Operations per byte of the linear engine, of ASCII text and of any text.
    weights: [u64; 2],
}

/// A group that a template names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NamedGroup {
    /// Its number.
    Found(usize),
    /// The pattern has it, but not its value.
    NoValue(NoValue),
    /// The pattern has no such group; the names that it has, sorted.
    Unknown(Vec<String>),
}

/// The groups of a pattern.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    /// Whether each group has the value that CPython gives it, by number; 0 is the whole match.
    pub(crate) have_value: Vec<bool>,
    /// The numbers of those with a name.
    pub(crate) names: HashMap<String, usize>,
}

impl Parsed {
    /// Whether a group has the value that CPython gives it.
    fn check_value(&self, group: usize) -> Result<(), NoValue> {
        let repeats = self.unreliable.iter().copied();
        possessive::check_value(&self.node, self.groups, repeats, group)
    }
}

impl Pattern {
    pub(crate) fn new(pattern: &[u8]) -> Result<Self, PatternError> {
        Self::with_groups(pattern, std::iter::empty()).map(|(pattern, _)| pattern)
    }

    /// A pattern, and its groups with these names.
    pub(crate) fn with_groups<'n>(
        pattern: &[u8],
        names: impl Iterator<Item = &'n str>,
    ) -> Result<(Self, Vec<NamedGroup>), PatternError> {
        Self::with_parsed(pattern, |parsed| {
            let group = |name: &str| {
                let Some(&group) = parsed.names.get(name) else {
                    let mut names: Vec<String> = parsed.names.keys().cloned().collect();
                    names.sort_unstable();
                    return NamedGroup::Unknown(names);
                };
                match parsed.check_value(group) {
                    Ok(()) => NamedGroup::Found(group),
                    Err(reason) => NamedGroup::NoValue(reason),
                }
            };
            names.map(group).collect()
        })
    }

    /// A pattern with all of its groups.
    pub(crate) fn with_all_groups(pattern: &[u8]) -> Result<(Self, Groups), PatternError> {
        Self::with_parsed(pattern, |parsed| Groups {
            have_value: (0..parsed.groups).map(|group| parsed.check_value(group).is_ok()).collect(),
            names: parsed.names.iter().map(|(name, group)| (name.clone(), *group)).collect(),
        })
    }

    fn with_parsed<T>(
        pattern: &[u8],
        groups: impl FnOnce(&Parsed) -> T,
    ) -> Result<(Self, T), PatternError> {
        if pattern.len() > MAX_PATTERN_LEN {
            let message = format!("the pattern is longer than {MAX_PATTERN_LEN} bytes");
            return Err(PatternError::new(message, 0, 1, "split it into several rules"));
        }
        let parsed = parse::parse(pattern)?;
        let groups = groups(&parsed);
        let node = parsed.node;
        let too_large = || {
            let message = "the pattern is too large with its repeats written out";
            let help = "repeat less, or write `*` or `+` without an upper bound";
            PatternError::new(message, 0, text::characters(pattern).count(), help)
        };
        let size = analysis::size(&node);
        let mut linear = None;
        if let Some(ascii) = translate(&node, Target::Ascii) {
            if size > MAX_SIZE {
                return Err(too_large());
            }
            let memory = analysis::unicode_automaton_size(&node);
            let is_small = memory <= UNICODE_LIMIT;
            let unicode = is_small.then(|| translate(&node, Target::Unicode)).flatten();
            let weight = analysis::ascii_weight(&node);
            linear = Some(Linear::new(&ascii, unicode, memory, weight).ok_or_else(too_large)?);
        }
        let pattern = Self {
            literal: literals::longest_literal(&node),
            may_need_space: analysis::may_need_space(&node, linear.is_some()),
            can_be_empty: analysis::can_be_empty(&node),
            always_matches: analysis::always_matches(&node),
            program: Program::new(&node, parsed.groups),
            size: if linear.is_some() { size } else { 0 },
            weights: [analysis::ascii_weight(&node), analysis::unicode_weight(&node)],
            linear,
        };
        Ok((pattern, groups))
    }

    /// Finds the groups of the first match in a text that matches, for
    /// [`BacktrackVm::group`]. Charges `budget`.
    ///
    /// The linear engine finds where the match starts, and the backtracking engine, which works as
    /// CPython does, its groups.
    pub(crate) fn capture(
        &self,
        text: Text<'_>,
        vm: &mut BacktrackVm,
        budget: &mut Budget,
    ) -> Result<bool, StepLimit> {
        let Text { bytes, utf8_form, kind } = text;
        let linear = self.linear.as_ref();
        let start = linear.and_then(|l| l.start(bytes, utf8_form, kind, &mut budget.work_left));
        let start = start.map(|(at, is_encoded)| match (is_encoded, kind) {
            (true, TextKind::Other) => decoded_offset(bytes, at),
            _ => at,
        });
        vm.capture(&self.program, bytes, start, &mut budget.steps)
    }

    /// Whether it matches in `text`. Charges `budget`.
    pub(crate) fn is_match(
        &self,
        text: Text<'_>,
        vm: &mut BacktrackVm,
        budget: &mut Budget,
    ) -> Result<bool, StepLimit> {
        let Text { bytes, utf8_form, kind } = text;
        let linear = self.linear.as_ref();
        let Budget { work_left, build_left, .. } = budget;
        match linear.and_then(|l| l.is_match(bytes, utf8_form, kind, work_left, build_left)) {
            Some(is_match) => Ok(is_match),
            None => vm.find(&self.program, bytes, &mut budget.steps).map(|m| m.is_some()),
        }
    }

    /// The range of the first match in bytes.
    pub(crate) fn find(
        &self,
        text: &[u8],
        vm: &mut BacktrackVm,
        steps: u64,
    ) -> Result<Option<Range<usize>>, StepLimit> {
        let kind = TextKind::classify(text);
        let mut steps_left = steps;
        let linear = self.linear.as_ref().and_then(|l| l.regex(text, kind));
        let Some((regex, is_encoded)) = linear else {
            return vm.find(&self.program, text, &mut steps_left);
        };
        let mut buffer = Vec::new();
        let range = if is_encoded {
            encode(text, &mut buffer);
            regex
                .find(&buffer)
                .map(|m| decoded_offset(text, m.start())..decoded_offset(text, m.end()))
        } else {
            regex.find(text).map(|m| m.range())
        };
        let Some(range) = range else { return Ok(None) };
        // The start equals Python's. The end can include a newline (`$`) that
        // Python excludes, so the end of the backtracking engine is used if it
        // is known.
        let end = vm.find_at(&self.program, text, range.start, steps);
        Ok(Some(range.start..end.ok().flatten().unwrap_or(range.end)))
    }

    /// Whether the backtracking engine exceeds this number of steps on a text, which
    /// are charged.
    pub(crate) fn exceeds_steps(&self, text: &[u8], steps: &mut u64) -> bool {
        BacktrackVm::default().find(&self.program, text, steps).is_err()
    }

    /// Operations per byte of the linear engine: of ASCII text, and of any text.
    pub(crate) fn weights(&self) -> [u64; 2] {
        self.weights
    }

    /// A literal that every match contains; can be empty.
    pub(crate) fn literal(&self) -> &[u8] {
        &self.literal
    }

    /// Whether a trailing space can cause a match of a text that does not match
    /// without it.
    pub(crate) fn may_need_space(&self) -> bool {
        self.may_need_space
    }

    /// Whether it can match the empty string if its assertions hold.
    pub(crate) fn can_be_empty(&self) -> bool {
        self.can_be_empty
    }

    /// Whether it matches the empty string everywhere.
    pub(crate) fn always_matches(&self) -> bool {
        self.always_matches
    }

    /// Whether the linear engine matches it on ASCII text.
    pub(crate) fn is_linear(&self) -> bool {
        self.linear.is_some()
    }

    /// Estimated memory of its automaton for text beyond ASCII, in bytes.
    pub(crate) fn unicode_automaton_size(&self) -> u64 {
        self.linear.as_ref().map_or(0, Linear::unicode_automaton_size)
    }

    /// Uses the backtracking engine for text beyond ASCII.
    pub(crate) fn drop_unicode_automaton(&mut self) {
        if let Some(linear) = &mut self.linear {
            linear.drop_unicode_automaton();
        }
    }

    /// Its size with repeats written out; 0 if the linear engine does not
    /// support it.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

//! One rule: an image and the pattern of its command lines.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::diagnostic::{Diagnostic, Severity};
use crate::python::text::characters;
use crate::python::{BacktrackVm, Pattern, StepLimit};

/// Steps of the backtracking engine per rule and text of up to 32 KiB; about
/// ten milliseconds.
pub(crate) const MAX_STEPS: u64 = 1_000_000;
/// Steps per byte of a longer text. A rule without excessive backtracking takes
/// a few steps per position.
const STEPS_PER_BYTE: u64 = 32;
/// Steps per rule and text of any length; a third of a second. A rule that has
/// exceeded its limit once has [`MAX_STEPS`] afterwards, so that it does not
/// take this time for each of many long texts.
const MAX_STEPS_LARGE_TEXT: u64 = 32_000_000;
/// Steps to determine whether a rule matches the empty string, which is done
/// for each rule when a config file is read.
const EMPTY_MATCH_STEPS: u64 = 10_000;

/// One line of a config file: the image and its pattern.
#[derive(Debug)]
pub struct Rule {
    image: usize,
    /// The line; the pattern alone if the rule comes from code.
    text: Vec<u8>,
    /// The pattern's bytes in `text`.
    pattern_range: Range<usize>,
    line: Option<usize>,
    path: Option<Arc<Path>>,
    pattern: Pattern,
    step_limit_hits: AtomicU64,
}

impl Rule {
    /// A rule of the line `text`, with its compiled pattern.
    pub(crate) fn new(
        image: usize,
        text: &[u8],
        pattern_range: Range<usize>,
        line: Option<usize>,
        pattern: Pattern,
    ) -> Self {
        let step_limit_hits = AtomicU64::new(0);
        let (text, path) = (text.to_vec(), None);
        Self { image, text, pattern_range, line, path, pattern, step_limit_hits }
    }

    /// The same rule, of this file.
    pub(crate) fn of_file(self, path: Option<Arc<Path>>) -> Self {
        Self { path, ..self }
    }

    /// Index of its image in [`Rules::images`](crate::Rules::images).
    pub fn image(&self) -> usize {
        self.image
    }

    /// The pattern as written. It need not be UTF-8.
    pub fn pattern(&self) -> &[u8] {
        self.text.get(self.pattern_range.clone()).unwrap_or_default()
    }

    /// A warning about this rule that marks the image's name.
    pub(crate) fn warn_at_name(&self, name: &str, message: String, help: String) -> Diagnostic {
        let start = self.text.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(0);
        let mut warning = self.warning(message, help);
        if self.line.is_some() {
            // Only white space precedes the name.
            (warning.column, warning.span) = (start + 1, name.len());
        }
        warning
    }

    /// A warning about this rule that marks the pattern.
    pub(crate) fn warning(&self, message: String, help: String) -> Diagnostic {
        let before = self.text.get(..self.pattern_range.start).unwrap_or_default();
        Diagnostic {
            severity: Severity::Warning,
            path: self.path.clone(),
            line: self.line.unwrap_or(0),
            column: characters(before).count() + 1,
            span: characters(self.pattern()).count().max(1),
            text: self.text.clone(),
            message,
            help,
        }
    }

    /// 1-based number of its line in the config file; `None` if it comes from
    /// code.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The config file that it comes from, if that is known.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether it comes from the same file as another rule.
    pub(crate) fn is_of_same_file(&self, other: &Self) -> bool {
        self.path == other.path
    }

    /// Number of texts on which it exceeded its step limit.
    pub fn step_limit_hits(&self) -> u64 {
        self.step_limit_hits.load(Ordering::Relaxed)
    }

    /// Counts a text on which it exceeded its step limit.
    pub(crate) fn count_step_limit_hit(&self) {
        self.step_limit_hits.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is matched in time linear in the text. Other rules backtrack
    /// and have a step limit.
    pub fn is_linear(&self) -> bool {
        self.pattern.is_linear()
    }

    /// Whether it matches the empty string, and therefore every command line.
    /// `false` if that takes too long to determine.
    pub fn matches_empty(&self) -> bool {
        let find = |text| self.pattern.find(text, &mut BacktrackVm::default(), EMPTY_MATCH_STEPS);
        let matches_empty_at_start = |text| matches!(find(text), Ok(Some(r)) if r.is_empty());
        self.pattern.always_matches()
            || (self.pattern.can_be_empty()
                && matches_empty_at_start(b"")
                && matches_empty_at_start(b"x"))
    }

    /// The byte range of the first match in `text`, as Python's `re.search`
    /// returns it; `None` if there is no match.
    ///
    /// If the rule matches only with the trailing space, the range can end one
    /// byte after the end of `text`. This function allocates.
    ///
    /// # Errors
    /// If the rule exceeds its step limit; the result is unknown then.
    pub fn find(&self, text: &[u8]) -> Result<Option<Range<usize>>, StepLimit> {
        let range = self.find_with(text)?;
        if range.is_some() || !self.pattern.may_need_space() {
            return Ok(range);
        }
        let mut with_trailing_space = text.to_vec();
        with_trailing_space.push(b' ');
        self.find_with(&with_trailing_space)
    }

    fn find_with(&self, text: &[u8]) -> Result<Option<Range<usize>>, StepLimit> {
        self.pattern.find(text, &mut BacktrackVm::default(), step_limit(text))
    }

    pub(crate) fn compiled(&self) -> &Pattern {
        &self.pattern
    }

    /// A literal that each match contains; empty if there is none.
    pub(crate) fn literal(&self) -> &[u8] {
        self.pattern.literal()
    }
}

/// Steps of the backtracking engine per rule for this text.
pub(crate) fn step_limit(text: &[u8]) -> u64 {
    (text.len() as u64).saturating_mul(STEPS_PER_BYTE).clamp(MAX_STEPS, MAX_STEPS_LARGE_TEXT)
}

//! One rule: an image and the pattern of its command lines.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::diagnostic::{Diagnostic, Severity};
use crate::match_run::MatchRun;
use crate::process_text::Field;
use crate::python::text::characters;
use crate::python::{BacktrackVm, Budget, MAX_BUILD_WORK, MAX_WORK, Pattern, StepLimit};
use crate::template::ImageTemplate;

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
    source: RuleSource,
    pattern: Pattern,
    /// If the image's name has groups.
    template: Option<Template>,
    step_limit_hits: AtomicU64,
}

/// Where a rule comes from.
#[derive(Clone, Debug)]
pub(crate) struct RuleSource {
    /// The line; the pattern alone if the rule comes from code.
    pub(crate) text: Vec<u8>,
    /// The pattern's bytes in `text`.
    pub(crate) pattern_range: Range<usize>,
    /// The first byte of the image's name in `text`.
    pub(crate) name_at: usize,
    pub(crate) line: Option<usize>,
    pub(crate) path: Option<Arc<Path>>,
    /// The text of a process that it is matched against.
    pub(crate) field: Field,
}

/// The image name of a rule, and the numbers of its groups in the pattern.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) name: ImageTemplate,
    pub(crate) groups: Vec<usize>,
}

/// Where a rule with groups in its image name matches, and the name that it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MadeName {
    /// The name of the image.
    pub name: String,
    /// The byte range of each group of the image's name in the text, in the order of
    /// [`ImageTemplate::groups`]; `None` if it did not take part in the match.
    pub groups: Vec<Option<Range<usize>>>,
}

/// Where a rule matches a text; from [`Rule::search`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleMatch {
    /// The byte range in the text.
    pub range: Range<usize>,
    /// The match includes the space that follows the text.
    pub has_trailing_space: bool,
}

impl Rule {
    pub(crate) fn new(
        image: usize,
        source: RuleSource,
        pattern: Pattern,
        template: Option<Template>,
    ) -> Self {
        Self { image, source, pattern, template, step_limit_hits: AtomicU64::new(0) }
    }

    /// The same rule, of this file.
    pub(crate) fn of_file(mut self, path: Option<Arc<Path>>) -> Self {
        self.source.path = path;
        self
    }

    /// Index of its image in [`Rules::images`](crate::Rules::images).
    pub fn image(&self) -> usize {
        self.image
    }

    /// The text of a process that it is matched against.
    pub fn field(&self) -> Field {
        self.source.field
    }

    /// The image's name, if it has groups.
    pub(crate) fn template(&self) -> Option<&Template> {
        self.template.as_ref()
    }

    /// The pattern as written. It need not be UTF-8.
    pub fn pattern(&self) -> &[u8] {
        self.source.text.get(self.source.pattern_range.clone()).unwrap_or_default()
    }

    /// A warning about this rule that marks the image's name.
    pub(crate) fn warn_at_name(&self, name: &str, message: String, help: String) -> Diagnostic {
        let mut warning = self.warning(message, help);
        if self.source.line.is_some() {
            // Only ASCII precedes the name.
            (warning.column, warning.span) = (self.source.name_at + 1, name.len());
        }
        warning
    }

    /// A warning about this rule that marks the pattern.
    pub(crate) fn warning(&self, message: String, help: String) -> Diagnostic {
        let RuleSource { text, pattern_range, line, path, .. } = &self.source;
        let before = text.get(..pattern_range.start).unwrap_or_default();
        Diagnostic {
            severity: Severity::Warning,
            path: path.clone(),
            line: *line,
            column: characters(before).count() + 1,
            span: characters(self.pattern()).count().max(1),
            text: text.clone(),
            message,
            help,
        }
    }

    /// 1-based number of its line in the config file; `None` if it comes from
    /// code.
    pub fn line(&self) -> Option<usize> {
        self.source.line
    }

    /// The config file that it comes from, if that is known.
    pub fn path(&self) -> Option<&Path> {
        self.source.path.as_deref()
    }

    /// Whether it comes from the same file as another rule.
    pub(crate) fn is_of_same_file(&self, other: &Self) -> bool {
        self.source.path == other.source.path
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
    /// returns it; `None` if there is no match. `text` is that of the rule's
    /// [field](Self::field).
    ///
    /// If the rule matches only with the trailing space, the range has the part of
    /// the match that is in `text`; that can be empty. This function allocates.
    ///
    /// # Errors
    /// If the rule exceeds its step limit; the result is unknown then.
    pub fn find(&self, text: &[u8]) -> Result<Option<Range<usize>>, StepLimit> {
        Ok(self.search(text)?.map(|found| found.range))
    }

    /// The same, with whether the match includes the trailing space.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub fn search(&self, text: &[u8]) -> Result<Option<RuleMatch>, StepLimit> {
        let mut range = self.find_with(text)?;
        if range.is_none() && self.tries_space() {
            range = self.find_with(&[text, b" "].concat())?;
        }
        Ok(range.map(|range| RuleMatch {
            range: range.start.min(text.len())..range.end.min(text.len()),
            has_trailing_space: range.end > text.len(),
        }))
    }

    /// The image name that it makes of a text, and where its groups are; `None` if it does not
    /// match, or its image's name has no groups. This function allocates.
    ///
    /// # Errors
    /// If the rule exceeds its step limit; the result is unknown then.
    pub fn make_name(&self, text: &[u8]) -> Result<Option<MadeName>, StepLimit> {
        let Some(template) = &self.template else { return Ok(None) };
        let limit = step_limit(text);
        let mut budget = Budget {
            steps: limit.saturating_mul(2),
            work_left: MAX_WORK,
            build_left: MAX_BUILD_WORK,
        };
        let (mut run, mut name) = (MatchRun::default(), String::new());
        if !run.try_rule(self, text, &mut budget, limit, &mut name)? {
            return Ok(None);
        }
        let groups = template.groups.iter().map(|&group| run.group(group)).collect();
        Ok(Some(MadeName { name, groups }))
    }

    /// Whether a trailing space can cause a match: the command line of the original had one.
    pub(crate) fn tries_space(&self) -> bool {
        self.source.field == Field::CommandLine && self.pattern.may_need_space()
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

//! Patterns in Python's dialect, for other uses than rules.

use std::ops::Range;

use crate::pattern_error::PatternError;
use crate::python::text::{TextKind, encode};
use crate::python::{self, BacktrackVm, Budget, Groups, MAX_BUILD_WORK, MAX_WORK, StepLimit, Text};
use crate::rule::step_limit;

/// A compiled pattern in the dialect of Python's `re`: that of rules, without what rules add to it.
///
/// It is searched anywhere in a text, like `re.search`; the text need not be UTF-8. See the
/// [crate](crate#meaning-of-a-pattern) for the dialect. A text on which it takes too many steps gives
/// an error; a pattern that [is linear](Self::is_linear) has no such text, except for
/// [`captures`](Self::captures).
///
/// ```
/// use psstat_matcher::Pattern;
///
/// let pattern = Pattern::new(r"-Dapp=(?P<app>[\w.-]+)(?!\S)")?;
/// let text = "java -Dapp=shop -jar a.jar";
/// assert!(pattern.is_match(text)?);
/// assert_eq!(pattern.find(text)?, Some(5..15));
/// let captures = pattern.captures(text)?.ok_or("no match")?;
/// assert_eq!(captures.name("app"), Some(&b"shop"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pattern {
    compiled: python::Pattern,
    groups: Groups,
}

/// Memory that is reused from one text to the next, for [`Pattern::is_match_with`].
#[derive(Debug, Default)]
pub struct PatternCache {
    vm: BacktrackVm,
    encoded: Vec<u8>,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// If Python's `re` does not accept the pattern, or its meaning cannot be
    /// kept, or it is too large.
    pub fn new(pattern: &str) -> Result<Pattern, PatternError> {
        Self::from_bytes(pattern.as_bytes())
    }

    /// Compiles a pattern that need not be UTF-8: a byte that is not part of valid UTF-8 matches that
    /// byte.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn from_bytes(pattern: &[u8]) -> Result<Pattern, PatternError> {
        let (compiled, groups) = python::Pattern::with_all_groups(pattern)?;
        Ok(Pattern { compiled, groups })
    }

    /// Whether it matches anywhere in a text.
    ///
    /// # Errors
    /// If it exceeds its step limit; the result is unknown then.
    pub fn is_match(&self, text: impl AsRef<[u8]>) -> Result<bool, StepLimit> {
        self.is_match_with(text, &mut PatternCache::default())
    }

    /// The same with memory of the caller: after some texts it does not allocate.
    ///
    /// # Errors
    /// As for [`is_match`](Self::is_match).
    pub fn is_match_with(
        &self,
        text: impl AsRef<[u8]>,
        cache: &mut PatternCache,
    ) -> Result<bool, StepLimit> {
        let PatternCache { vm, encoded } = cache;
        let bytes = text.as_ref();
        self.compiled.is_match(in_all_forms(bytes, encoded), vm, &mut budget(bytes))
    }

    /// The byte range of the first match.
    ///
    /// # Errors
    /// As for [`is_match`](Self::is_match).
    pub fn find(&self, text: impl AsRef<[u8]>) -> Result<Option<Range<usize>>, StepLimit> {
        let text = text.as_ref();
        self.compiled.find(text, &mut BacktrackVm::default(), step_limit(text))
    }

    /// The groups of the first match.
    ///
    /// # Errors
    /// As for [`is_match`](Self::is_match); also if the groups cannot be found within the limit.
    pub fn captures<'t, T>(&'t self, text: &'t T) -> Result<Option<Captures<'t>>, StepLimit>
    where
        T: AsRef<[u8]> + ?Sized,
    {
        let bytes = text.as_ref();
        let (mut vm, mut encoded) = (BacktrackVm::default(), Vec::new());
        let text = in_all_forms(bytes, &mut encoded);
        let is_match = self.compiled.is_match(text, &mut vm, &mut budget(bytes))?;
        if !is_match || !self.compiled.capture(text, &mut vm, &mut budget(bytes))? {
            return Ok(None);
        }
        let groups = self.groups.have_value.iter().enumerate();
        let ranges = groups.map(|(group, has_value)| vm.group(group).filter(|_| *has_value));
        let mut ranges: Vec<_> = ranges.collect();
        if let Some(whole) = ranges.first_mut() {
            *whole = self.find(bytes)?;
        }
        Ok(Some(Captures { text: bytes, ranges, groups: &self.groups }))
    }

    /// Whether it is matched in time linear in the text, except for the groups.
    #[must_use]
    pub fn is_linear(&self) -> bool {
        self.compiled.is_linear()
    }
}

impl std::str::FromStr for Pattern {
    type Err = PatternError;

    fn from_str(pattern: &str) -> Result<Pattern, PatternError> {
        Pattern::new(pattern)
    }
}

fn budget(text: &[u8]) -> Budget {
    Budget { steps: step_limit(text), work_left: MAX_WORK, build_left: MAX_BUILD_WORK }
}

fn in_all_forms<'t>(bytes: &'t [u8], encoded: &'t mut Vec<u8>) -> Text<'t> {
    let kind = TextKind::classify(bytes);
    encoded.clear();
    let utf8_form = if kind == TextKind::Other {
        encode(bytes, encoded);
        &encoded[..]
    } else {
        bytes
    };
    Text { bytes, utf8_form, kind }
}

/// The groups of a match; from [`Pattern::captures`].
#[derive(Clone, Debug)]
pub struct Captures<'t> {
    text: &'t [u8],
    /// By number.
    ranges: Vec<Option<Range<usize>>>,
    groups: &'t Groups,
}

impl<'t> Captures<'t> {
    /// The text of a group; 0 is the whole match. `None` if there is no such group, or it did not take
    /// part in the match. Also if CPython itself loses its value, in a possessive repeat with
    /// alternatives.
    #[must_use]
    pub fn get(&self, group: usize) -> Option<&'t [u8]> {
        self.text.get(self.range(group)?)
    }

    /// The byte range of a group.
    #[must_use]
    pub fn range(&self, group: usize) -> Option<Range<usize>> {
        self.ranges.get(group)?.clone()
    }

    /// The text of a group with a name.
    #[must_use]
    pub fn name(&self, name: &str) -> Option<&'t [u8]> {
        self.get(*self.groups.names.get(name)?)
    }

    /// The number of groups, with the whole match.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "there is always the whole match")]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }
}

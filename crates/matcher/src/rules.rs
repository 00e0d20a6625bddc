//! A set of rules, and the images that a command line belongs to.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::image::ImageName;
use crate::match_run::MatchRun;
use crate::pattern_error::PatternError;
use crate::prefilter::Prefilter;
use crate::python::{Budget, MAX_BUILD_WORK, MAX_WORK, Pattern, StepLimit, UNICODE_LIMIT};
use crate::repeated::RepeatedTexts;
use crate::rule::{MAX_STEPS, Rule, step_limit};

/// Steps of the backtracking engine per text for all rules together, in
/// addition to those of one rule.
const MAX_STEPS_TEXT: u64 = 3_000_000;
/// Sum of the sizes of all patterns, in characters with repeats written out.
const MAX_TOTAL_SIZE: u64 = 1_000_000;

/// Statistics about one call of [`Rules::classify`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassifyStats {
    /// Number of images that the text belongs to.
    pub images: usize,
    /// Number of rules that exceeded their step limit. They are treated as not
    /// matching. [`Rule::step_limit_hits`] identifies them.
    pub step_limit_hits: usize,
    /// The text was not matched, because the result of an equal one was known.
    /// Such results are kept for the last 64 texts of 4 KiB or more: a forked
    /// process has the command line of its parent.
    pub is_repeated: bool,
}

/// A list of rules that are matched together.
///
/// # Matching
/// One pass over the text (Aho-Corasick) finds the literals that rules require.
/// Only rules whose literal occurs, and rules without a literal, are tried.
/// Each rule is a separate `regex`, matched in linear time, or, for constructs
/// that `regex` does not support, a program of the backtracking engine with a
/// step limit: 1,000,000 steps per rule (about ten milliseconds), 32 steps per
/// byte for a text of more than 32 KiB, at most 32,000,000, and 3,000,000 more
/// for all rules together.
///
/// Measured on an AMD EPYC with 2 cores and Linux 6.18, in microseconds per
/// command line. "Distinct": six command lines of 20 to 1,900 bytes, each rule
/// matches a different program. "Similar": Java command lines of 900 bytes, all
/// rules start with `java.*` and differ in a later word.
///
/// | rules | | this | one `Regex` per rule | one `RegexSet` |
/// |---|---|---|---|---|
/// | 5 | distinct | 1.1 | 0.7 | 0.7 |
/// | 50 | distinct | 0.8 | 7.5 | 0.7 |
/// | 500 | distinct | 0.9 | 87 | 0.8 |
/// | 5 | similar | 24 | 16 | 1.8 |
/// | 50 | similar | 43 | 188 | 1.9 |
/// | 500 | similar | 22 | 5,060 | 1,250 |
///
/// A `RegexSet` is fastest until the number and similarity of the rules make
/// its states exceed its cache; then its time per text rises a thousandfold. It
/// supports neither the rules that backtrack nor matching with and without the
/// trailing space. The time of the pass for literals does not depend on the
/// rules.
#[derive(Debug, Default)]
pub struct Rules {
    images: Vec<ImageName>,
    /// The index of each image.
    image_indices: HashMap<ImageName, usize>,
    rules: Vec<Rule>,
    /// The file whose rules are added.
    path: Option<Arc<Path>>,
    /// Sum of the sizes of all patterns.
    size: u64,
    /// Size that is not available to the file.
    reserved_size: u64,
    /// Memory of all patterns for text beyond ASCII, in bytes.
    unicode_automaton_size: u64,
    /// Built at the first text after the last change.
    prefilter: OnceLock<Prefilter>,
    cache: Mutex<Cache>,
}

/// Memory that is reused from one text to the next.
#[derive(Debug, Default)]
struct Cache {
    run: MatchRun,
    /// Whether each image has matched.
    matched: Vec<bool>,
    repeated: RepeatedTexts,
}

impl Rules {
    /// Adds a rule.
    ///
    /// # Errors
    /// If Python's `re` does not accept the pattern, or its meaning cannot be
    /// kept, or it is too large.
    pub fn push(&mut self, image: ImageName, pattern: &str) -> Result<(), PatternError> {
        self.push_bytes(image, pattern.as_bytes())
    }

    /// Adds a rule whose pattern need not be UTF-8: a byte that is not part of
    /// valid UTF-8 matches that byte.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub fn push_bytes(&mut self, image: ImageName, pattern: &[u8]) -> Result<(), PatternError> {
        self.add(image, pattern, 0..pattern.len(), None)
    }

    /// Adds the rule of a line whose pattern is at `pattern_range`.
    pub(crate) fn add(
        &mut self,
        image: ImageName,
        text: &[u8],
        pattern_range: Range<usize>,
        line: Option<usize>,
    ) -> Result<(), PatternError> {
        let mut pattern = Pattern::new(text.get(pattern_range.clone()).unwrap_or_default())?;
        let size = self.size.saturating_add(pattern.size());
        if size.saturating_add(self.reserved_size) > MAX_TOTAL_SIZE {
            let message = "the patterns of all rules together are too large";
            let help = "repeat less, or use fewer rules";
            return Err(PatternError::new(message, 0, pattern_range.len(), help));
        }
        self.size = size;
        match self
            .unicode_automaton_size
            .checked_add(pattern.unicode_automaton_size())
            .filter(|sum| *sum <= UNICODE_LIMIT)
        {
            Some(sum) => self.unicode_automaton_size = sum,
            None => pattern.drop_unicode_automaton(),
        }
        let next = self.images.len();
        let image = *self.image_indices.entry(image).or_insert_with_key(|image| {
            self.images.push(image.clone());
            next
        });
        let rule = Rule::new(image, text, pattern_range, line, pattern);
        self.rules.push(rule.of_file(self.path.clone()));
        self.prefilter = OnceLock::new();
        self.cache.get_mut().unwrap_or_else(PoisonError::into_inner).repeated.clear();
        Ok(())
    }

    /// The rules that are added from now on come from this file. One of several
    /// files can use half of the remaining total size, so that a small one cannot
    /// exhaust it.
    pub(crate) fn begin_file(&mut self, path: Option<Arc<Path>>, is_only: bool) {
        self.path = path;
        let rest = MAX_TOTAL_SIZE.saturating_sub(self.size);
        self.reserved_size = if is_only { 0 } else { rest / 2 };
    }

    /// The distinct images in the order of their first mention.
    pub fn images(&self) -> &[ImageName] {
        &self.images
    }

    /// The rules in the order in which they were added.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Calls `on_match` with the index of each image that `text` belongs to, at
    /// most once per image.
    ///
    /// `text` is the command line: the arguments joined by one space, without a
    /// trailing space. A rule matches if it matches this text, or this text and
    /// one space. The empty text is that of a process whose arguments are all empty; kernel threads
    /// and zombies have none, and the caller leaves them out.
    ///
    /// After some texts of each kind (ASCII, other UTF-8, not UTF-8) it does
    /// not allocate, unless a text is longer than 256 KiB.
    pub fn classify(&self, text: &[u8], on_match: &mut dyn FnMut(usize)) -> ClassifyStats {
        let mut stats = ClassifyStats::default();
        if self.rules.is_empty() {
            return stats;
        }
        let mut budget = Budget {
            steps: MAX_STEPS_TEXT + step_limit(text),
            work_left: MAX_WORK,
            build_left: MAX_BUILD_WORK,
        };
        // A panic can leave partial data in the cache; it is cleared before use.
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let Cache { run, matched, repeated } = &mut *cache;
        let key = repeated.key(text);
        if let Some(images) = key.and_then(|key| repeated.get(key)) {
            stats.images = images.len();
            stats.is_repeated = true;
            images.iter().for_each(|&image| on_match(image as usize));
            return stats;
        }
        matched.clear();
        matched.resize(self.images.len(), false);
        run.for_each_candidate(self.matchers(), text, &mut budget, &mut |_, rule, try_rule| {
            let Some(matched) = matched.get_mut(rule.image()).filter(|m| !**m) else { return };
            let limit = if rule.step_limit_hits() == 0 { step_limit(text) } else { MAX_STEPS };
            match try_rule(limit) {
                Ok(true) => {
                    *matched = true;
                    stats.images += 1;
                }
                Ok(false) => {}
                Err(StepLimit) => {
                    rule.count_step_limit_hit();
                    stats.step_limit_hits += 1;
                }
            }
        });
        let images = || matched.iter().enumerate().filter(|m| *m.1).map(|m| m.0);
        images().for_each(on_match);
        if let Some(key) = key {
            repeated.insert(key, images());
        }
        stats
    }

    /// The rules and their prefilter, as
    /// [`MatchRun::for_each_candidate`] takes them.
    pub(crate) fn matchers(&self) -> (&[Rule], &Prefilter) {
        let new = || Prefilter::new(self.rules.iter().map(Rule::literal));
        (&self.rules, self.prefilter.get_or_init(new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Matches one rule; returns the result and the rest of the budget.
    fn match_rule(
        rules: &Rules,
        index: usize,
        text: &[u8],
        work_left: u64,
    ) -> (Result<bool, StepLimit>, Budget) {
        let mut budget = Budget { steps: MAX_STEPS, work_left, build_left: MAX_BUILD_WORK };
        let mut result = Ok(false);
        let matchers = rules.matchers();
        MatchRun::default().for_each_candidate(
            matchers,
            text,
            &mut budget,
            &mut |i, _, try_rule| {
                if i == index {
                    result = try_rule(MAX_STEPS);
                }
            },
        );
        (result, budget)
    }

    /// If an automaton has too many states, the linear engine continues without
    /// one, which took minutes for such a text.
    #[test]
    fn pattern_times_text_work_is_bounded() {
        let mut rules = Rules::default();
        rules.push("many".parse().unwrap(), "a[ab]{400}c|x[a-z]{15000}").unwrap();
        rules.push("few".parse().unwrap(), &"a|bc|d".repeat(1_000)).unwrap();
        let mut bits = 1_u64;
        let mut letter = || {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            if bits & 1 == 0 { b'a' } else { b'b' }
        };
        let text: Vec<u8> = std::iter::repeat_with(&mut letter).take(200_000).collect();
        // Above the work limit: the counted automaton, then the backtracking
        // engine up to its limit.
        let (result, budget) = match_rule(&rules, 0, &text, MAX_WORK);
        assert_eq!((result, budget.work_left, budget.steps), (Err(StepLimit), MAX_WORK, 0));
        assert_eq!(budget.build_left, 0);
        // The counted automaton is sufficient for a pattern with few states.
        let (result, budget) = match_rule(&rules, 1, &text, 0);
        assert_eq!((result, budget.steps), (Ok(true), MAX_STEPS));
        let (result, budget) = match_rule(&rules, 1, &vec![b'x'; 200_000], 0);
        assert_eq!((result, budget.steps), (Ok(false), MAX_STEPS));
        // Work below the limit is charged, except for small amounts.
        let (result, budget) = match_rule(&rules, 0, text.get(..200).unwrap(), MAX_WORK);
        assert_eq!(result, Ok(false));
        assert!(budget.work_left < MAX_WORK && budget.steps == MAX_STEPS);
        let (result, budget) = match_rule(&rules, 1, b"a", 0);
        assert_eq!((result, budget.work_left), (Ok(true), 0));
        assert_eq!(rules.classify(&text, &mut |_| ()).step_limit_hits, 1);
    }

    /// The budget counted the characters of a pattern, but beyond ASCII a class
    /// has hundreds of states: such a text took 6.3 s.
    #[test]
    fn unicode_classes_are_charged_by_states() {
        let mut rules = Rules::default();
        rules.push("wide".parse().unwrap(), r"\W{3,30}\w{10}\W$").unwrap();
        assert!(rules.rules[0].is_linear());
        for character in [&b"\xff"[..], "\u{e9}".as_bytes()] {
            // Above the budget, so the counted automaton is used.
            let (result, budget) = match_rule(&rules, 0, &character.repeat(100_000), MAX_WORK);
            assert_eq!((result, budget.work_left, budget.steps), (Ok(false), MAX_WORK, MAX_STEPS));
        }
        // The classes have one state each in ASCII text.
        let (result, budget) = match_rule(&rules, 0, &[b'.'; 100_000], MAX_WORK);
        assert_eq!(result, Ok(false));
        assert!(budget.work_left < MAX_WORK);
    }

    /// Steps that the first rule is charged for a text.
    fn steps_taken(rules: &Rules, text: &[u8]) -> u64 {
        let hits = rules.rules[0].step_limit_hits();
        let limit = if hits == 0 { step_limit(text) } else { MAX_STEPS };
        let mut budget =
            Budget { steps: u64::MAX, work_left: MAX_WORK, build_left: MAX_BUILD_WORK };
        let matchers = rules.matchers();
        MatchRun::default().for_each_candidate(
            matchers,
            text,
            &mut budget,
            &mut |_, _, try_rule| {
                assert_eq!(try_rule(limit), Err(StepLimit));
            },
        );
        u64::MAX - budget.steps
    }

    #[test]
    fn step_limit_grows_with_text_until_first_hit() {
        let mut rules = Rules::default();
        rules.push("worst".parse().unwrap(), r"a*a*a*(b)\1").unwrap();
        let text = |len| [vec![b'a'; len], b"b".to_vec()].concat();
        let (short, long, huge) = (text(1_000), text(100_000), text(2 << 20));
        assert_eq!(steps_taken(&rules, &short), MAX_STEPS);
        assert_eq!(steps_taken(&rules, &long), 100_001 * 32);
        assert_eq!(step_limit(&huge), 32_000_000);
        let stats = rules.classify(&short, &mut |_| ());
        assert_eq!((stats.step_limit_hits, rules.rules[0].step_limit_hits()), (1, 1));
        assert_eq!(steps_taken(&rules, &huge), MAX_STEPS);
    }

    /// Each of 10,000 such lines took a hundredth of a second to read.
    #[test]
    fn empty_match_check_is_bounded() {
        let mut rules = Rules::default();
        for pattern in ["(?:(?=)(?:){100}){10}", "(?:(?=)(?:){1000}){100}"] {
            rules.push("image".parse().unwrap(), pattern).unwrap();
        }
        assert!(rules.rules[0].matches_empty());
        // It does match, but the check would take 100,000 steps.
        assert!(!rules.rules[1].matches_empty());
        assert_eq!(rules.rules[1].find(b"x"), Ok(Some(0..0)));
    }
}

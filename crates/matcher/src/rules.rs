//! Rules, and the images that a command line belongs to.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::diagnostic::{Diagnostic, Severity};
use crate::image::ImageName;
use crate::match_run::MatchRun;
use crate::pattern_error::PatternError;
use crate::prefilter::Prefilter;
use crate::python::{ANY_LIMIT, BacktrackVm, Budget, MAX_WORK, Pattern, StepLimit};
use crate::render::characters;

/// How many steps the backtracking engine may take for one rule and one text of
/// up to 32 KiB; some ten milliseconds.
const MAX_STEPS: u64 = 1_000_000;
/// How many it may take for each byte of a longer text: a rule that is harmless
/// takes a few at each place.
const STEPS_PER_BYTE: u64 = 32;
/// How many it may take for one rule and a text of any length; a third of a
/// second. A rule that has given up once has [`MAX_STEPS`] from then on, so
/// that many long texts do not take that long each.
const MAX_STEPS_LARGE_TEXT: u64 = 32_000_000;
/// How many steps it may take for one text, all rules together, in addition to
/// those of one rule.
const MAX_STEPS_TEXT: u64 = 3_000_000;
/// How many steps it may take to learn whether a rule matches the empty string,
/// which is asked of each rule when a conf is read.
const EMPTY_MATCH_STEPS: u64 = 10_000;
/// The largest sum of the sizes of all patterns, in characters with repeats
/// written out.
const MAX_TOTAL_SIZE: u64 = 1_000_000;

/// One line of a conf: the image and its pattern.
#[derive(Debug)]
pub struct Rule {
    image: usize,
    /// The line; the pattern alone where it comes from code.
    text: Vec<u8>,
    /// Where in it the pattern is.
    source: Range<usize>,
    line: Option<usize>,
    pattern: Pattern,
    limits: AtomicU64,
}

impl Rule {
    /// Number of its image: an index of [`Rules::images`].
    pub fn image(&self) -> usize {
        self.image
    }

    /// The pattern as it was written. It need not be UTF-8.
    pub fn pattern(&self) -> &[u8] {
        self.text.get(self.source.clone()).unwrap_or_default()
    }

    /// A warning about this rule, with its image's name marked.
    pub(crate) fn warn_at_name(&self, name: &str, message: String, remedy: String) -> Diagnostic {
        let start = self.text.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(0);
        let mut warning = self.warning(message, remedy);
        if self.line.is_some() {
            // Only white space is before it.
            (warning.column, warning.span) = (start + 1, name.len());
        }
        warning
    }

    /// A warning about this rule, with its pattern marked.
    pub(crate) fn warning(&self, message: String, remedy: String) -> Diagnostic {
        let before = self.text.get(..self.source.start).unwrap_or_default();
        Diagnostic {
            severity: Severity::Warning,
            line: self.line.unwrap_or(0),
            column: characters(before).count() + 1,
            span: characters(self.pattern()).count().max(1),
            text: self.text.clone(),
            message,
            help: remedy,
        }
    }

    /// 1-based number of its line in the conf, where it comes from one.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// How often it gave up because of its step limit.
    pub fn step_limit_hits(&self) -> u64 {
        self.limits.load(Ordering::Relaxed)
    }

    /// Whether it is matched in time linear to the text. Others backtrack,
    /// and have a step limit.
    pub fn is_linear(&self) -> bool {
        self.pattern.is_linear()
    }

    /// Whether it matches the empty string, and so every command line. Where
    /// that is hard to tell it is `false`.
    pub fn matches_empty(&self) -> bool {
        let found = |text| self.pattern.find(text, &mut BacktrackVm::default(), EMPTY_MATCH_STEPS);
        let found_empty = |text| matches!(found(text), Ok(Some(r)) if r.is_empty());
        self.pattern.always_matches()
            || (self.pattern.can_be_empty() && found_empty(b"") && found_empty(b"x"))
    }

    /// Where it first matches in `text`, in bytes; `None` where it does not.
    /// It is the place that Python's `re.search` gives.
    ///
    /// Where it matches with the closing space only, that is at most one more
    /// than the length of `text`. Not meant for the fast path: it allocates.
    ///
    /// # Errors
    /// Where it gave up, so that it is not known whether it matches.
    pub fn find(&self, text: &[u8]) -> Result<Option<Range<usize>>, StepLimit> {
        if text.is_empty() {
            return Ok(None);
        }
        let found = self.find_with(text)?;
        if found.is_some() || !self.pattern.wants_space() {
            return Ok(found);
        }
        let mut closed = text.to_vec();
        closed.push(b' ');
        self.find_with(&closed)
    }

    fn find_with(&self, text: &[u8]) -> Result<Option<Range<usize>>, StepLimit> {
        self.pattern.find(text, &mut BacktrackVm::default(), step_limit(text))
    }

    pub(crate) fn compiled(&self) -> &Pattern {
        &self.pattern
    }

    pub(crate) fn literal(&self) -> &[u8] {
        self.pattern.literal()
    }
}

/// What [`Rules::classify`] found out beside the images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassifyStats {
    /// How many images the text belongs to.
    pub images: usize,
    /// How many rules gave up because of their step limit. Whether these match
    /// is not known; they count as not matching. [`Rule::limits`] tells which.
    pub step_limit_hits: usize,
}

/// A list of rules, and what it takes to match them all.
///
/// # How a text is matched
/// One pass over it (Aho-Corasick) finds which of the literals occur that
/// rules cannot do without; only those rules are tried, and the ones without a
/// literal. Each is a `regex` of its own in linear time, or, where that cannot
/// say it, a program of the backtracking engine with a step limit:
/// 1,000,000 for a rule (some ten milliseconds), 32 a byte for a text of more
/// than 32 KiB, at most 32,000,000, and 3,000,000 more for all rules together.
///
/// Measured on an AMD EPYC with 2 cores and Linux 6.18, microseconds a command
/// line. "Distinct": six command lines of 20 to 1,900 bytes, each rule for a
/// program of its own. "Alike": Java command lines of 900 bytes, all rules
/// begin with `java.*` and differ in a later word.
///
/// | rules | | this | one `Regex` a rule | one `RegexSet` |
/// |---|---|---|---|---|
/// | 5 | distinct | 1.1 | 0.7 | 0.7 |
/// | 50 | distinct | 0.8 | 7.5 | 0.7 |
/// | 500 | distinct | 0.9 | 87 | 0.8 |
/// | 5 | alike | 24 | 16 | 1.8 |
/// | 50 | alike | 43 | 188 | 1.9 |
/// | 500 | alike | 22 | 5,060 | 1,250 |
///
/// A set is quickest until its rules are so many and so alike that its states
/// no longer fit its cache, and then it falls off a cliff; it also knows
/// neither the rules that backtrack nor the two readings with and without the
/// closing space. The pass for literals costs the same whatever the rules are.
#[derive(Debug, Default)]
pub struct Rules {
    images: Vec<ImageName>,
    /// The number of each image.
    numbers: HashMap<ImageName, usize>,
    rules: Vec<Rule>,
    size: u64,
    /// What all patterns will need for text beyond ASCII, in bytes.
    any_memory: u64,
    /// Made at the first text after the last change.
    filter: OnceLock<Prefilter>,
    scratch: Mutex<Cache>,
}

/// Memory that is kept from one text to the next.
#[derive(Debug, Default)]
struct Cache {
    attempts: MatchRun,
    /// Images that were found.
    matched: Vec<bool>,
}

impl Rules {
    /// Adds a rule.
    ///
    /// # Errors
    /// Where the pattern is not one that Python's `re` takes, or its meaning
    /// cannot be kept, or it is too large.
    pub fn push(&mut self, image: ImageName, pattern: &str) -> Result<(), PatternError> {
        self.push_bytes(image, pattern.as_bytes())
    }

    /// Adds a rule whose pattern need not be UTF-8: a byte that is not
    /// matches that byte.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub fn push_bytes(&mut self, image: ImageName, pattern: &[u8]) -> Result<(), PatternError> {
        self.add(image, pattern, 0..pattern.len(), None)
    }

    /// Adds the rule of a line, whose pattern is at `source`.
    pub(crate) fn add(
        &mut self,
        image: ImageName,
        text: &[u8],
        source: Range<usize>,
        line: Option<usize>,
    ) -> Result<(), PatternError> {
        let mut pattern = Pattern::new(text.get(source.clone()).unwrap_or_default())?;
        let size = self.size.saturating_add(pattern.size());
        if size > MAX_TOTAL_SIZE {
            let message = "the patterns of all rules together are too large";
            let remedy = "repeat less, or have fewer rules";
            return Err(PatternError::new(message, 0, source.len(), remedy));
        }
        self.size = size;
        match self
            .any_memory
            .checked_add(pattern.unicode_automaton_size())
            .filter(|all| *all <= ANY_LIMIT)
        {
            Some(all) => self.any_memory = all,
            None => pattern.drop_unicode_automaton(),
        }
        let next = self.images.len();
        let image = *self.numbers.entry(image).or_insert_with_key(|image| {
            self.images.push(image.clone());
            next
        });
        let limits = AtomicU64::new(0);
        self.rules.push(Rule { image, text: text.to_vec(), source, line, pattern, limits });
        self.filter = OnceLock::new();
        Ok(())
    }

    /// The distinct images in the order of their first mention; the index is
    /// the image's number.
    pub fn images(&self) -> &[ImageName] {
        &self.images
    }

    /// The rules, in the order in which they were added.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Calls `found` with the number of each image that `text` belongs to, at
    /// most once an image.
    ///
    /// `text` is the command line: the arguments joined by one space, without
    /// a closing space. A rule matches if it matches this, or this and one
    /// space. An empty text matches nothing.
    ///
    /// After some texts of each kind (ASCII, other UTF-8, not UTF-8) it does
    /// not allocate, unless a text is longer than 256 KiB.
    pub fn classify(&self, text: &[u8], found: &mut dyn FnMut(usize)) -> ClassifyStats {
        let mut verdict = ClassifyStats::default();
        if text.is_empty() || self.rules.is_empty() {
            return verdict;
        }
        let mut budget = Budget { steps: MAX_STEPS_TEXT + step_limit(text), work_left: MAX_WORK };
        let mut guard = self.scratch();
        let Cache { attempts, matched: seen } = &mut *guard;
        seen.clear();
        seen.resize(self.images.len(), false);
        attempts.for_each_match(self, text, &mut budget, &mut |_, rule, ask| {
            let Some(seen) = seen.get_mut(rule.image).filter(|seen| !**seen) else { return };
            let most = if rule.step_limit_hits() == 0 { step_limit(text) } else { MAX_STEPS };
            match ask(most) {
                Ok(true) => {
                    *seen = true;
                    verdict.images += 1;
                }
                Ok(false) => {}
                Err(StepLimit) => {
                    rule.limits.fetch_add(1, Ordering::Relaxed);
                    verdict.step_limit_hits += 1;
                }
            }
        });
        for (image, _) in seen.iter().enumerate().filter(|s| *s.1) {
            found(image);
        }
        verdict
    }

    pub(crate) fn filter(&self) -> &Prefilter {
        self.filter.get_or_init(|| Prefilter::new(&self.rules))
    }

    fn scratch(&self) -> MutexGuard<'_, Cache> {
        // Whatever a panic left there is cleared before it is used.
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many steps a rule may take for this text.
pub(crate) fn step_limit(text: &[u8]) -> u64 {
    (text.len() as u64).saturating_mul(STEPS_PER_BYTE).clamp(MAX_STEPS, MAX_STEPS_LARGE_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a rule takes of its budget for a text.
    fn steps_of(rules: &Rules, text: &[u8]) -> u64 {
        let before = rules.rules[0].step_limit_hits();
        let mut budget = Budget { steps: u64::MAX, work_left: MAX_WORK };
        let most = if before == 0 { step_limit(text) } else { MAX_STEPS };
        MatchRun::default().for_each_match(rules, text, &mut budget, &mut |_, _, ask| {
            assert_eq!(ask(most), Err(StepLimit));
        });
        u64::MAX - budget.steps
    }

    /// The linear engine goes on without an automaton where that has too many
    /// states, for minutes on such a text.
    #[test]
    fn work_that_grows_with_the_pattern_is_bounded() {
        let mut rules = Rules::default();
        rules.push("many".parse().unwrap(), "(?:[ab]{3000}c|[ab]{2999}d)").unwrap();
        rules.push("few".parse().unwrap(), &"a|bc|d".repeat(1_000)).unwrap();
        let mut bits = 1_u64;
        let mut letter = || {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            if bits & 1 == 0 { b'a' } else { b'b' }
        };
        let text: Vec<u8> = std::iter::repeat_with(&mut letter).take(200_000).collect();
        let ask = |number: usize, text: &[u8], work: u64| {
            let mut budget = Budget { steps: MAX_STEPS, work_left: work };
            let mut result = Ok(false);
            MatchRun::default().for_each_match(&rules, text, &mut budget, &mut |tried, _, ask| {
                if tried == number {
                    result = ask(MAX_STEPS);
                }
            });
            (result, budget)
        };
        // More work than there is: an automaton, the backtracking engine, and
        // its limit.
        let (result, budget) = ask(0, &text, MAX_WORK);
        assert_eq!((result, budget.work_left, budget.steps), (Err(StepLimit), MAX_WORK, 0));
        // One with few states is answered by the automaton, without a step.
        let (result, budget) = ask(1, &text, 0);
        assert_eq!((result, budget.steps), (Ok(true), MAX_STEPS));
        let (result, budget) = ask(1, &vec![b'x'; 200_000], 0);
        assert_eq!((result, budget.steps), (Ok(false), MAX_STEPS));
        // Within the sum it counts; what is little does not.
        let (result, budget) = ask(0, text.get(..1_000).unwrap(), MAX_WORK);
        assert_eq!(result, Ok(false));
        assert!(budget.work_left < MAX_WORK && budget.steps == MAX_STEPS);
        let (result, budget) = ask(1, b"a", 0);
        assert_eq!((result, budget.work_left), (Ok(true), 0));
        assert_eq!(rules.classify(&text, &mut |_| ()).step_limit_hits, 1);
    }

    #[test]
    fn steps_grow_with_the_text_until_a_rule_has_given_up() {
        let mut rules = Rules::default();
        rules.push("worst".parse().unwrap(), r"a*a*a*(b)\1").unwrap();
        let text = |len| [vec![b'a'; len], b"b".to_vec()].concat();
        let (short, long, huge) = (text(1_000), text(100_000), text(2 << 20));
        assert_eq!(steps_of(&rules, &short), MAX_STEPS);
        assert_eq!(steps_of(&rules, &long), 100_001 * STEPS_PER_BYTE);
        assert_eq!(step_limit(&huge), MAX_STEPS_LARGE_TEXT);
        let verdict = rules.classify(&short, &mut |_| ());
        assert_eq!((verdict.step_limit_hits, rules.rules[0].step_limit_hits()), (1, 1));
        assert_eq!(steps_of(&rules, &huge), MAX_STEPS);
    }

    /// Each of 10,000 such lines took a hundredth of a second to read.
    #[test]
    fn little_is_done_to_learn_whether_a_rule_matches_the_empty_string() {
        let mut rules = Rules::default();
        for pattern in ["(?:(?=)(?:){100}){10}", "(?:(?=)(?:){1000}){100}"] {
            rules.push("image".parse().unwrap(), pattern).unwrap();
        }
        assert!(rules.rules[0].matches_empty());
        // It does; to tell takes 100,000 steps.
        assert!(!rules.rules[1].matches_empty());
        assert_eq!(rules.rules[1].find(b"x"), Ok(Some(0..0)));
    }
}

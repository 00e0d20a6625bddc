//! A set of rules, and the images that a command line belongs to.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::image::ImageName;
use crate::match_run::MatchRun;
use crate::pattern_error::PatternError;
use crate::prefilter::FieldRules;
use crate::process_text::{Field, ProcessText};
use crate::python::{
    Budget, MAX_BUILD_WORK, MAX_WORK, NamedGroup, NoValue, Pattern, StepLimit, UNICODE_LIMIT,
};
use crate::repeated::{Found, RepeatedTexts};
use crate::rule::{MAX_STEPS, Rule, RuleSource, Template, step_limit};
use crate::template::ImageTemplate;

/// Steps of the backtracking engine per text for all rules together, in
/// addition to those of one rule.
const MAX_STEPS_TEXT: u64 = 3_000_000;
/// Sum of the sizes of all patterns, in characters with repeats written out.
const MAX_TOTAL_SIZE: u64 = 1_000_000;

/// Statistics about one call of [`Rules::matches`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassifyStats {
    /// Number of images that the process belongs to.
    pub images: usize,
    /// Number of rules that exceeded their step limit. They are treated as not
    /// matching. [`Rule::step_limit_hits`] identifies them.
    pub step_limit_hits: usize,
    /// The command line was not matched, because the result of an equal one was known.
    /// Such results are kept for the last 64 texts of 4 KiB or more: a forked
    /// process has the command line of its parent.
    pub is_repeated: bool,
}

/// An image that a process belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Match<'a> {
    /// Index of the image in [`Rules::images`].
    pub image: usize,
    /// Index of the first rule in [`Rules::rules`] that found it.
    pub rule: usize,
    /// The name of the image; made for this process if the image's name in the rule has groups.
    pub name: &'a str,
}

/// The reason why a rule is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RuleError {
    Pattern(PatternError),
    /// About the name of the image: an offset in it and a length.
    Name {
        at: usize,
        len: usize,
        message: String,
        help: String,
    },
}

impl From<PatternError> for RuleError {
    fn from(error: PatternError) -> Self {
        Self::Pattern(error)
    }
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
    images: Vec<ImageTemplate>,
    /// The index of each image.
    image_indices: HashMap<ImageTemplate, usize>,
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
    matchers: OnceLock<Vec<FieldRules>>,
    /// Another number for each set of rules of the program; 0 if there are no rules.
    serial: u64,
}

/// The serial number of the next rules.
static NEXT_SERIAL: AtomicU64 = AtomicU64::new(1);

/// Memory that is reused from one text to the next, for [`Rules::matches`]. It works with any rules,
/// but fastest with the same ones.
#[derive(Debug, Default)]
pub struct MatchCache {
    /// The rules whose results are kept.
    serial: u64,
    run: MatchRun,
    /// Whether each image without groups in its name has matched.
    matched: Vec<bool>,
    /// The images, and the made names, concatenated.
    found: Vec<Found>,
    names: String,
    /// The name that was made last.
    name: String,
    repeated: RepeatedTexts,
    stats: ClassifyStats,
}

/// The images that a process belongs to, each once, in the order of [`Rules::images`].
#[derive(Clone, Debug)]
pub struct Matches<'a> {
    images: &'a [ImageTemplate],
    found: std::slice::Iter<'a, Found>,
    names: &'a str,
    stats: ClassifyStats,
}

impl Matches<'_> {
    /// How they were found.
    #[must_use]
    pub fn stats(&self) -> ClassifyStats {
        self.stats
    }
}

impl<'a> Iterator for Matches<'a> {
    type Item = Match<'a>;

    fn next(&mut self) -> Option<Match<'a>> {
        let found = self.found.next()?;
        let image = found.image as usize;
        let written = self.images.get(image).map_or("", ImageTemplate::as_str);
        let name = found.made(self.names).unwrap_or(written);
        Some(Match { image, rule: found.rule as usize, name })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.found.size_hint()
    }
}

impl ExactSizeIterator for Matches<'_> {}

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
        self.push_rule(image.into(), Field::CommandLine, pattern)
    }

    /// Adds a rule that is matched against this field, and whose image name can have groups of the
    /// pattern.
    ///
    /// # Errors
    /// As for [`push`](Self::push); also if the pattern does not have the groups. Then the error
    /// is at the first column.
    pub fn push_rule(
        &mut self,
        image: ImageTemplate,
        field: Field,
        pattern: &[u8],
    ) -> Result<(), PatternError> {
        let source = RuleSource {
            text: pattern.to_vec(),
            pattern_range: 0..pattern.len(),
            name_at: 0,
            line: None,
            path: None,
            field,
        };
        self.add(image, source).map_err(|error| match error {
            RuleError::Pattern(error) => error,
            RuleError::Name { message, help, .. } => PatternError::new(message, 0, 1, help),
        })
    }

    /// Adds a rule.
    pub(crate) fn add(
        &mut self,
        image: ImageTemplate,
        source: RuleSource,
    ) -> Result<(), RuleError> {
        let text = source.text.get(source.pattern_range.clone()).unwrap_or_default();
        let (mut pattern, groups) = Pattern::with_groups(text, image.groups())?;
        let template = template(&image, groups)?;
        let size = self.size.saturating_add(pattern.size());
        if size.saturating_add(self.reserved_size) > MAX_TOTAL_SIZE {
            let message = "the patterns of all rules together are too large";
            let help = "repeat less, or use fewer rules";
            return Err(PatternError::new(message, 0, text.len(), help).into());
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
        let rule = Rule::new(image, source, pattern, template);
        self.rules.push(rule.of_file(self.path.clone()));
        self.matchers = OnceLock::new();
        self.serial = NEXT_SERIAL.fetch_add(1, Ordering::Relaxed);
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

    /// The distinct images, by their names as written, in the order of their first mention.
    pub fn images(&self) -> &[ImageTemplate] {
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

    /// Whether there is a rule of this field.
    pub fn uses(&self, field: Field) -> bool {
        self.matchers().1.iter().any(|of_field| of_field.field == field)
    }

    /// The images that a process belongs to, each once, in the order of
    /// [`images`](Self::images).
    ///
    /// `process` is its command line, or several of its texts. In the command
    /// line the arguments are joined by one space, without a trailing space. A
    /// rule of the command line matches if it matches this text, or this text
    /// and one space. The empty text is that of a process whose arguments are
    /// all empty; kernel threads and zombies have none, and the caller leaves
    /// them out.
    ///
    /// If the image name of a rule has groups, and the groups cannot be found
    /// within the step limit, the rule counts as not matching.
    ///
    /// All rules are matched before the first image is returned. After some texts of each kind
    /// (ASCII, other UTF-8, not UTF-8) this does not allocate, unless a text is longer than 256 KiB.
    ///
    /// ```
    /// use psstat_matcher::{Conf, MatchCache};
    ///
    /// let rules = Conf::parse(b"web nginx|httpd\n").rules;
    /// let mut cache = MatchCache::default();
    /// let mut matches = rules.matches(b"/usr/sbin/httpd -k start", &mut cache);
    /// assert_eq!(matches.next().map(|found| found.name), Some("web"));
    /// ```
    pub fn matches<'c, 'p>(
        &'c self,
        process: impl Into<ProcessText<'p>>,
        cache: &'c mut MatchCache,
    ) -> Matches<'c> {
        self.match_process(&process.into(), cache);
        let MatchCache { found, names, stats, .. } = cache;
        Matches { images: &self.images, found: found.iter(), names, stats: *stats }
    }

    fn match_process(&self, process: &ProcessText<'_>, cache: &mut MatchCache) {
        // A panic can leave partial data in the cache; it is cleared before use.
        cache.stats = ClassifyStats::default();
        cache.found.clear();
        cache.names.clear();
        if self.rules.is_empty() {
            return;
        }
        if cache.serial != self.serial {
            cache.repeated.clear();
            cache.serial = self.serial;
        }
        cache.matched.clear();
        cache.matched.resize(self.images.len(), false);
        let (_, matchers) = self.matchers();
        for of_field in matchers {
            let Some(text) = process.get(of_field.field) else { continue };
            let is_command_line = of_field.field == Field::CommandLine;
            // The field that is matched first, so its results are all there are.
            let key = cache.repeated.key(text).filter(|_| is_command_line);
            if let Some(key) = key
                && cache.take_known(key)
            {
                cache.stats.is_repeated = true;
                continue;
            }
            cache.stats.step_limit_hits += self.match_field(of_field, text, cache);
            if let Some(key) = key {
                let MatchCache { found, names, repeated, .. } = cache;
                repeated.insert(key, found, names);
            }
        }
        let MatchCache { found, stats, .. } = cache;
        stats.images = found.len();
        found.sort_unstable_by_key(|found| (found.image, found.name));
    }

    /// Matches the rules of a field. Gives the number of those that exceeded their step limit.
    fn match_field(&self, of_field: &FieldRules, text: &[u8], cache: &mut MatchCache) -> usize {
        let mut budget = Budget {
            steps: MAX_STEPS_TEXT + step_limit(text),
            work_left: MAX_WORK,
            build_left: MAX_BUILD_WORK,
        };
        let mut step_limit_hits = 0;
        let MatchCache { run, matched, found, names, name, .. } = cache;
        let rules = (&self.rules[..], of_field);
        run.for_each_candidate(rules, text, &mut budget, &mut |index, rule, try_rule| {
            let is_made = rule.template().is_some();
            let Some(matched) = matched.get_mut(rule.image()).filter(|m| is_made || !**m) else {
                return;
            };
            let limit = if rule.step_limit_hits() == 0 { step_limit(text) } else { MAX_STEPS };
            match try_rule(limit, name) {
                Ok(true) => {
                    let image = narrow(rule.image());
                    if is_made && is_found(found, names, image, name) {
                        return;
                    }
                    let start = narrow(names.len());
                    if is_made {
                        names.push_str(name);
                    }
                    *matched = true;
                    let name = (start, narrow(names.len()));
                    found.push(Found { image, rule: narrow(index), name });
                }
                Ok(false) => {}
                Err(StepLimit) => {
                    rule.count_step_limit_hit();
                    step_limit_hits += 1;
                }
            }
        });
        step_limit_hits
    }

    /// The rules, and those of each field with their prefilter, as
    /// [`MatchRun::for_each_candidate`] takes them.
    pub(crate) fn matchers(&self) -> (&[Rule], &[FieldRules]) {
        (&self.rules, self.matchers.get_or_init(|| FieldRules::all(&self.rules)))
    }
}

impl MatchCache {
    /// Takes the images of a text that is known. True if it is.
    fn take_known(&mut self, key: crate::repeated::Key) -> bool {
        let Some((found, names)) = self.repeated.get(key) else { return false };
        self.found.extend_from_slice(found);
        self.names.push_str(names);
        for found in found {
            if let Some(matched) = self.matched.get_mut(found.image as usize) {
                *matched = true;
            }
        }
        true
    }
}

/// Whether an image with a made name was found already.
fn is_found(found: &[Found], names: &str, image: u32, name: &str) -> bool {
    found.iter().any(|other| other.image == image && other.made(names) == Some(name))
}

/// Rules, images and the lengths of names fit.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// The image name of a rule with the numbers of its groups; `None` if it has none.
fn template(image: &ImageTemplate, groups: Vec<NamedGroup>) -> Result<Option<Template>, RuleError> {
    let mut numbers = Vec::new();
    for (range, group) in image.group_ranges().iter().zip(groups) {
        let name = image.as_str().get(range.clone()).unwrap_or_default();
        let (message, help) = match group {
            NamedGroup::Found(number) => {
                numbers.push(number);
                continue;
            }
            NamedGroup::Unknown(names) if names.is_empty() => (
                format!("the regex has no named group `{name}`"),
                format!("name a part of the regex: `(?P<{name}>…)`"),
            ),
            NamedGroup::Unknown(names) => {
                let names: Vec<String> = names.iter().map(|name| format!("`{{{name}}}`")).collect();
                (
                    format!("the regex has no named group `{name}`"),
                    format!("write {}, or `(?P<{name}>…)` in the regex", names.join(" or ")),
                )
            }
            NamedGroup::NoValue(NoValue::Never) => (
                format!("the group `{name}` never has a value"),
                "put it outside of `(?!…)`, `(?<!…)` and `{0}`".to_owned(),
            ),
            NamedGroup::NoValue(NoValue::Lost) => (
                format!(
                    "the group `{name}` is in a possessive repeat with alternatives, where Python \
                     loses its value"
                ),
                "write `(?>(?:…)*)` for `(?:…)*+`, `(?>(?:…)+)` for `(?:…)++`".to_owned(),
            ),
        };
        let (at, len) = (range.start - 1, range.len() + 2);
        return Err(RuleError::Name { at, len, message, help });
    }
    let template = Template { name: image.clone(), groups: numbers };
    Ok((!template.groups.is_empty()).then_some(template))
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
        let (all, fields) = rules.matchers();
        MatchRun::default().for_each_candidate(
            (all, &fields[0]),
            text,
            &mut budget,
            &mut |i, _, try_rule| {
                if i == index {
                    result = try_rule(MAX_STEPS, &mut String::new());
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
        assert_eq!(rules.matches(&text, &mut MatchCache::default()).stats().step_limit_hits, 1);
    }

    /// Without work for the linear engine, the counted automaton matches, and the backtracking
    /// engine finds the start too.
    #[test]
    fn groups_are_found_beyond_the_budget_of_the_linear_engine() {
        let mut rules = Rules::default();
        let pattern = br"(?:[ab]{40}c|[ab]{1,39}) -v (?P<v>\w+)";
        rules.push_rule("x/{v}".parse().unwrap(), Field::CommandLine, pattern).unwrap();
        assert!(rules.rules[0].is_linear());
        let text = format!("{}abab -v one -v two", "ba-".repeat(20_000));
        for work_left in [MAX_WORK, 0] {
            let mut budget = Budget { steps: MAX_STEPS, work_left, build_left: MAX_BUILD_WORK };
            let (mut run, mut name) = (MatchRun::default(), String::new());
            let rule = &rules.rules[0];
            let found = run.try_rule(rule, text.as_bytes(), &mut budget, MAX_STEPS, &mut name);
            assert_eq!((found, name.as_str()), (Ok(true), "x/one"), "{work_left}");
            assert_eq!(budget.work_left < work_left, work_left > 0);
        }
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
        let (all, fields) = rules.matchers();
        MatchRun::default().for_each_candidate(
            (all, &fields[0]),
            text,
            &mut budget,
            &mut |_, _, try_rule| {
                assert_eq!(try_rule(limit, &mut String::new()), Err(StepLimit));
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
        let stats = rules.matches(&short, &mut MatchCache::default()).stats();
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

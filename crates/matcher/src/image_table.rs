//! The images of rules, with those that rules make.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::image::ImageName;
use crate::rules::{Match, Rules};
use crate::template::ImageTemplate;

/// The number of images per rule if nothing else is set.
pub const MAX_IMAGES_PER_RULE: usize = 200;
/// The number of images that all rules together make.
pub const MAX_MADE_IMAGES: usize = 10_000;
/// An image that is in no rule, or was made, ends after this time without a process.
const LIFETIME: Duration = Duration::from_secs(3600);

/// The images that exist: those that the rules name, and those that they make of groups.
///
/// An image that was made, or that no rule names any more after a [reload](Self::set_rules), ends an
/// hour after its last process.
///
/// Rules with the same image name, such as `java/{app}`, make the same images, and share the limit
/// of images per rule. The processes beyond it, and beyond [`MAX_MADE_IMAGES`] of all rules, are in
/// the image with `other` in place of the groups.
///
/// ```
/// use std::time::Instant;
/// use psstat_matcher::{Conf, ImageTable, MAX_IMAGES_PER_RULE, MatchCache};
///
/// let rules = Conf::parse(b"cat cat\napp/{a} -a (?P<a>\\S+)\n").rules;
/// let mut images = ImageTable::new(MAX_IMAGES_PER_RULE);
/// images.set_rules(&rules, Instant::now());
/// let mut names = Vec::new();
/// for found in rules.matches(b"x -a cat", &mut MatchCache::default()) {
///     let image = images.image(&rules, found, Instant::now());
///     names.extend(image.map(ToString::to_string));
/// }
/// assert_eq!(names, ["cat", "app/cat"]);
/// assert!(images.active().map(|name| name.as_str()).eq(["cat", "app/cat"]));
/// ```
#[derive(Debug)]
pub struct ImageTable {
    max_per_rule: usize,
    lifetime: Duration,
    /// By number.
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    numbers: HashMap<ImageName, u32>,
    /// By the index of the image in the rules.
    of_rules: Vec<RuleImage>,
    max_made: usize,
    /// The number of images that count in a limit.
    made: usize,
    /// An image was not made because of the limit of all rules, and that it was reported.
    is_full: bool,
    is_reported: bool,
    is_changed: bool,
}

#[derive(Debug)]
struct Entry {
    name: ImageName,
    origin: Origin,
    /// When a process was last in it, or the rules named it last.
    last_used: Instant,
}

/// Where an image comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A rule names it.
    Named,
    /// It was made by the rules with this image, and counts in their limit.
    Made { image: usize },
    /// It has the processes beyond the limit of the rules with this image.
    Other { image: usize },
    /// Of rules that do not exist any more.
    Past,
}

/// An image of the rules.
#[derive(Debug)]
enum RuleImage {
    Named { number: u32 },
    Template { name: ImageTemplate, made: usize, is_full: bool, is_reported: bool },
}

impl ImageTable {
    /// A table without images. A rule makes at most `max_per_rule` images.
    pub fn new(max_per_rule: usize) -> Self {
        Self {
            max_per_rule,
            lifetime: LIFETIME,
            entries: Vec::new(),
            free: Vec::new(),
            numbers: HashMap::new(),
            of_rules: Vec::new(),
            max_made: MAX_MADE_IMAGES,
            made: 0,
            is_full: false,
            is_reported: false,
            is_changed: false,
        }
    }

    /// Takes new rules in place of those before. Images that both name or make continue.
    pub fn set_rules(&mut self, rules: &Rules, now: Instant) {
        self.set_rules_by(rules, now, |_| true);
    }

    /// The same, with only those named images that are selected. Others do not exist.
    pub fn set_rules_by(
        &mut self,
        rules: &Rules,
        now: Instant,
        mut is_selected: impl FnMut(&str) -> bool,
    ) {
        self.is_changed = true;
        let before = std::mem::take(&mut self.of_rules);
        self.of_rules.extend(rules.images().iter().map(|name| RuleImage::Template {
            name: name.clone(),
            made: 0,
            is_full: false,
            is_reported: false,
        }));
        // The images of templates that stay are kept, with or without a process.
        let indices = rules.images().iter().enumerate().map(|(index, name)| (name, index));
        let indices: HashMap<&ImageTemplate, usize> = indices.collect();
        let same = |image: usize| match before.get(image)? {
            RuleImage::Template { name, .. } => indices.get(name).copied(),
            RuleImage::Named { .. } => None,
        };
        for entry in self.entries.iter_mut().flatten() {
            entry.origin = match entry.origin {
                Origin::Made { image } => {
                    same(image).map_or(Origin::Past, |image| Origin::Made { image })
                }
                Origin::Other { image } => {
                    same(image).map_or(Origin::Past, |image| Origin::Other { image })
                }
                Origin::Named => {
                    entry.last_used = now;
                    Origin::Past
                }
                Origin::Past => Origin::Past,
            };
        }
        for (index, image) in rules.images().iter().enumerate() {
            if let Some(name) = image.name().filter(|name| is_selected(name.as_str())) {
                let number = self.insert(name.as_str(), Origin::Named, now);
                if let Some(of_rule) = self.of_rules.get_mut(index) {
                    *of_rule = RuleImage::Named { number };
                }
            }
        }
        (self.made, self.is_full, self.is_reported) = (0, false, false);
        for entry in self.entries.iter().flatten() {
            if let Origin::Made { image } = entry.origin
                && let Some(RuleImage::Template { made, .. }) = self.of_rules.get_mut(image)
            {
                *made += 1;
                self.made += 1;
            }
        }
    }

    /// Adds an image that exists although no rule has to name it, until the next rules.
    pub fn add(&mut self, name: &ImageName, now: Instant) {
        self.insert(name.as_str(), Origin::Named, now);
    }

    /// Sets how long an image without a process is kept, in place of an hour.
    pub fn set_lifetime(&mut self, lifetime: Duration) {
        self.lifetime = lifetime;
    }

    /// The image of a process that [`Rules::matches`] found with the rules that were
    /// [set](Self::set_rules) last: the one that was found, or the one with `other` if a limit is
    /// reached. `None` if it was not selected then.
    ///
    /// Allocates only if the image is new.
    pub fn image(&mut self, rules: &Rules, found: Match<'_>, now: Instant) -> Option<&ImageName> {
        let number = self.number(rules, found, now)?;
        self.name(number)
    }

    /// The number of that image.
    fn number(&mut self, rules: &Rules, found: Match<'_>, now: Instant) -> Option<u32> {
        let image = found.image;
        let template = match self.of_rules.get(image)? {
            RuleImage::Named { number } => return Some(*number),
            RuleImage::Template { .. } => rules.images().get(image)?,
        };
        // Not selected.
        let other = template.other()?;
        if let Some(number) = self.find(found.name, image, now) {
            return Some(number);
        }
        if self.count_made(image) {
            return Some(self.insert(found.name, Origin::Made { image }, now));
        }
        let number = self.find(other.as_str(), image, now);
        Some(number.unwrap_or_else(|| self.insert(other.as_str(), Origin::Other { image }, now)))
    }

    /// Counts one more image that is made for this image of the rules. `false` if a limit is reached.
    fn count_made(&mut self, image: usize) -> bool {
        let Some(RuleImage::Template { made, is_full, .. }) = self.of_rules.get_mut(image) else {
            return false;
        };
        let (has_room, has_total_room) = (*made < self.max_per_rule, self.made < self.max_made);
        *is_full |= !has_room;
        self.is_full |= !has_total_room;
        let is_counted = has_room && has_total_room;
        *made += usize::from(is_counted);
        self.made += usize::from(is_counted);
        is_counted
    }

    /// The number of a name that exists and is in use, or has room in the limit of the image.
    fn find(&mut self, name: &str, image: usize, now: Instant) -> Option<u32> {
        let number = *self.numbers.get(name)?;
        let entry = self.entries.get(number as usize)?.as_ref()?;
        if entry.origin == Origin::Past {
            if !self.count_made(image) {
                return None;
            }
            self.is_changed = true;
        }
        let entry = self.entries.get_mut(number as usize)?.as_mut()?;
        if entry.origin == Origin::Past {
            entry.origin = Origin::Made { image };
        }
        entry.last_used = now;
        Some(number)
    }

    /// The number of a name, which is new, or that of an image of the past.
    fn insert(&mut self, name: &str, origin: Origin, now: Instant) -> u32 {
        self.is_changed = true;
        if let Some(&number) = self.numbers.get(name) {
            if let Some(Some(entry)) = self.entries.get_mut(number as usize) {
                // A named image does not count in a limit.
                if entry.origin == Origin::Past || origin == Origin::Named {
                    entry.origin = origin;
                }
                entry.last_used = now;
            }
            return number;
        }
        // The caller gives valid names.
        let Ok(name) = name.parse::<ImageName>() else { return u32::MAX };
        let entry = Some(Entry { name: name.clone(), origin, last_used: now });
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(place) = self.entries.get_mut(number as usize) {
                    *place = entry;
                }
                number
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.numbers.insert(name, number);
        number
    }

    /// Ends the images that no rule names and that have had no process for an hour, and calls
    /// `ended` with each. `has_processes` returns whether an image has any now.
    pub fn end_unused(
        &mut self,
        now: Instant,
        mut has_processes: impl FnMut(&ImageName) -> bool,
        mut ended: impl FnMut(&ImageName),
    ) {
        for (number, place) in (0..).zip(&mut self.entries) {
            let Some(entry) = place.as_mut().filter(|entry| entry.origin != Origin::Named) else {
                continue;
            };
            if has_processes(&entry.name) {
                entry.last_used = now;
            }
            if now.saturating_duration_since(entry.last_used) < self.lifetime {
                continue;
            }
            if let Origin::Made { image } = entry.origin
                && let Some(RuleImage::Template { made, .. }) = self.of_rules.get_mut(image)
            {
                *made = made.saturating_sub(1);
                self.made = self.made.saturating_sub(1);
            }
            ended(&entry.name);
            self.numbers.remove(&entry.name);
            *place = None;
            self.free.push(number);
            self.is_changed = true;
        }
        while let Some(None) = self.entries.last() {
            self.entries.pop();
        }
        let count = self.entries.len();
        self.free.retain(|number| (*number as usize) < count);
    }

    /// Whether the images have changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// The images that the rules name or made. Those that continue keep their order.
    pub fn active(&self) -> impl Iterator<Item = &ImageName> {
        let entries = self.entries.iter().flatten();
        entries.filter(|entry| entry.origin != Origin::Past).map(|entry| &entry.name)
    }

    /// The name of an image.
    fn name(&self, number: u32) -> Option<&ImageName> {
        Some(&self.entries.get(number as usize)?.as_ref()?.name)
    }

    /// Calls `report` with the index of each image of the rules that has reached its limit for the
    /// first time since the rules were set.
    pub fn take_newly_full(&mut self, mut report: impl FnMut(usize)) {
        for (image, of_rule) in self.of_rules.iter_mut().enumerate() {
            if let RuleImage::Template { is_full: true, is_reported, .. } = of_rule
                && !std::mem::replace(is_reported, true)
            {
                report(image);
            }
        }
    }

    /// Whether the limit of images of all rules was reached, once after the rules were set.
    pub fn take_newly_full_in_total(&mut self) -> bool {
        self.is_full && !std::mem::replace(&mut self.is_reported, true)
    }

    /// The limit of images per rule.
    pub fn max_per_rule(&self) -> usize {
        self.max_per_rule
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conf, MatchCache};

    struct Images {
        table: ImageTable,
        rules: Rules,
        now: Instant,
    }

    impl Images {
        fn new(conf: &str, max: usize) -> Images {
            let now = Instant::now();
            let mut images = Images { table: ImageTable::new(max), rules: Rules::default(), now };
            images.reload(conf);
            images
        }

        fn reload(&mut self, conf: &str) {
            let conf = Conf::parse(conf.as_bytes());
            assert!(!conf.has_errors(), "{:?}", conf.diagnostics);
            self.rules = conf.rules;
            self.table.set_rules(&self.rules, self.now);
        }

        /// The names of the images of a text.
        fn of(&mut self, text: &str) -> Vec<String> {
            let Images { table, rules, now } = self;
            let mut names = Vec::new();
            for found in rules.matches(text.as_bytes(), &mut MatchCache::default()) {
                names.push(table.image(rules, found, *now).unwrap().to_string());
            }
            names
        }

        /// The images that end after some time.
        fn end(&mut self, minutes: u64, with_processes: &[&str]) -> usize {
            self.now += Duration::from_secs(60 * minutes);
            let mut ended = 0;
            let has_processes = |name: &ImageName| with_processes.contains(&name.as_str());
            self.table.end_unused(self.now, has_processes, |_| ended += 1);
            ended
        }

        fn active(&self) -> Vec<String> {
            self.table.active().map(ToString::to_string).collect()
        }
    }

    const CONF: &str = "app/{x} -x (?P<x>\\S+)\n";

    #[test]
    fn values_beyond_the_limit_are_other() {
        let mut images = Images::new(CONF, 2);
        assert_eq!(images.of("p -x a"), ["app/a"]);
        assert_eq!(images.of("p -x b"), ["app/b"]);
        let mut full = Vec::new();
        images.table.take_newly_full(|image| full.push(image));
        assert_eq!(full, []);
        for value in ["c", "d"] {
            assert_eq!(images.of(&format!("p -x {value}")), ["app/other"]);
        }
        assert_eq!(images.of("p -x a"), ["app/a"]);
        for expected in [&[0][..], &[]] {
            let mut full = Vec::new();
            images.table.take_newly_full(|image| full.push(image));
            assert_eq!(full, expected);
        }
        // An hour later there is room again.
        assert_eq!(images.end(59, &["app/b"]), 0);
        assert_eq!(images.end(1, &["app/b"]), 2);
        assert_eq!(images.of("p -x c"), ["app/c"]);
        assert_eq!(images.of("p -x d"), ["app/other"]);
        assert_eq!(images.active(), ["app/c", "app/b", "app/other"]);
    }

    /// 10,000 rules, each within its limit, could make two million images.
    #[test]
    fn all_rules_have_a_limit_together() {
        let conf = "a/{x} -a (?P<x>\\S+)\nb/{x} -b (?P<x>\\S+)\nfixed fixed\n";
        let mut images = Images::new(conf, 2);
        images.table.max_made = 3;
        for (text, name) in [("-a 1", "a/1"), ("-a 2", "a/2"), ("-a 3", "a/other"), ("-b 1", "b/1")]
        {
            assert_eq!(images.of(text), [name]);
            assert!(!images.table.take_newly_full_in_total());
        }
        assert_eq!(images.of("-b 2"), ["b/other"]);
        assert_eq!(images.of("fixed -b 3"), ["b/other", "fixed"]);
        // The rule `b` has room itself.
        let mut full = Vec::new();
        images.table.take_newly_full(|image| full.push(image));
        assert_eq!(full, [0]);
        assert_eq!([(); 2].map(|()| images.table.take_newly_full_in_total()), [true, false]);
        assert_eq!(images.of("-b 1"), ["b/1"]);
        // One that ends makes room, as for the rule, also after a reload.
        assert_eq!(images.end(60, &["a/1", "b/1"]), 3);
        assert_eq!(images.of("-b 2"), ["b/2"]);
        images.reload(conf);
        assert_eq!(images.of("-a 4"), ["a/other"]);
        assert!(images.table.take_newly_full_in_total());
        assert_eq!((images.table.made, MAX_MADE_IMAGES), (3, 10_000));
    }

    #[test]
    fn places_are_reused() {
        let mut images = Images::new(&format!("fixed fixed\n{CONF}"), 50);
        for round in 0..40 {
            for value in 0..100 {
                images.of(&format!("p -x v{round}-{value}"));
            }
            assert!(images.table.entries.len() <= 52, "{}", images.table.entries.len());
            assert_eq!(images.end(60, &[]), 51);
            assert_eq!(images.table.entries.len(), 1);
        }
        assert_eq!(images.active(), ["fixed"]);
    }

    #[test]
    fn images_keep_their_places_across_reloads() {
        let mut images = Images::new(&format!("a ^a\nb ^b\n{CONF}"), 5);
        images.of("p -x v");
        let number = |images: &Images, name: &str| {
            let is_active = images.table.active().any(|active| active.as_str() == name);
            images.table.numbers.get(name).copied().filter(|_| is_active)
        };
        let before = ["b", "app/v"].map(|name| number(&images, name));
        images.reload(&format!("c ^c\nb ^b\n{CONF}"));
        assert_eq!(number(&images, "a"), None);
        assert_eq!(["b", "app/v"].map(|name| number(&images, name)), before);
        // Those of old rules end too.
        assert_eq!(images.end(60, &["app/v"]), 1);
        images.reload(&format!("x{CONF}b ^b\n"));
        assert_eq!(images.active(), ["b"]);
        assert_eq!(images.end(59, &[]), 0);
        assert_eq!(images.end(1, &[]), 2);
        assert_eq!(images.active(), ["b"]);
    }

    #[test]
    fn made_name_of_a_named_image_is_that_image() {
        let mut images = Images::new(&format!("{CONF}app/a ^a\n"), 1);
        assert_eq!(images.of("p -x a"), ["app/a"]);
        assert_eq!(images.of("p -x b"), ["app/b"]);
        assert_eq!(images.active(), ["app/a", "app/b"]);
        // A value `other` is the image of the rest.
        assert_eq!(images.of("p -x c"), ["app/other"]);
        assert_eq!(images.of("p -x other"), ["app/other"]);
    }
}

//! Which processes are looked at, and which images they make.

use std::collections::HashMap;
use std::path::PathBuf;

use psstat_matcher::{ImageName, PatternError, Rule, Rules};
use psstat_sampler::{Candidate, ImageId};

use crate::executable;
use crate::table::row::ProcessId;

/// The image of an ad-hoc rule.
pub const PATTERN_IMAGE: &str = "match";

/// The image to which every chosen process belongs, so that its sums count a
/// process, or a socket, of several images once.
pub const TOTAL: ImageId = ImageId(0);

/// What makes an image.
#[derive(Debug)]
pub enum Source {
    /// The executable's name; see [`executable::image`].
    Executable,
    /// The rules of a conf.
    Conf {
        /// The file.
        path: PathBuf,
        /// What it says.
        rules: Rules,
    },
    /// Patterns from the command line, all of one image, [`AD_HOC`].
    Regex(Rules),
}

/// Sorts processes into images.
#[derive(Debug)]
pub struct Selector {
    source: Source,
    /// The images that were asked for; empty: all.
    include: Vec<String>,
    /// The images by number, less one for the total.
    names: Vec<String>,
    by_name: HashMap<String, ImageId>,
    /// Number of the source's image → its number here; `None`: not wanted.
    rule_images: Vec<Option<ImageId>>,
    /// This very process, which is no part of what is looked at.
    self_pid: Option<u32>,
    who: HashMap<u32, (u32, Vec<u8>)>,
}

impl Selector {
    /// Makes images by `source`, of which only those `wanted` are taken where
    /// any are named. A wanted image is there even with no process.
    pub fn new(source: Source, wanted: &[ImageName], own: Option<u32>) -> Selector {
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        let mut chooser = Selector {
            source,
            include: wanted.clone(),
            names: Vec::new(),
            by_name: HashMap::new(),
            rule_images: Vec::new(),
            self_pid: own,
            who: HashMap::new(),
        };
        let of_rules: Vec<String> = match &chooser.source {
            Source::Executable => Vec::new(),
            Source::Conf { rules, .. } | Source::Regex(rules) => {
                rules.images().iter().map(ToString::to_string).collect()
            }
        };
        for name in of_rules {
            let number = chooser.is_wanted(&name).then(|| chooser.number(&name));
            chooser.rule_images.push(number);
        }
        for name in &wanted {
            chooser.number(name);
        }
        chooser
    }

    /// What makes the images.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The images that are known, by number; the total is none of them.
    pub fn images(&self) -> impl Iterator<Item = (ImageId, &str)> {
        (1..).map(ImageId).zip(self.names.iter().map(String::as_str))
    }

    /// The name of an image; `None` for the total.
    pub fn name(&self, image: ImageId) -> Option<&str> {
        self.names.get(image.index().checked_sub(1)?).map(String::as_str)
    }

    /// The rules that hit their step limit on some command line, each with its
    /// image: it is not known whether they match that.
    pub fn gave_up(&self) -> Vec<(&str, &Rule)> {
        let (Source::Conf { rules, .. } | Source::Regex(rules)) = &self.source else {
            return Vec::new();
        };
        let gave_up = rules.rules().iter().filter(|rule| rule.step_limit_hits() > 0);
        let image = |rule: &Rule| rules.images().get(rule.image()).map_or("", ImageName::as_str);
        gave_up.map(|rule| (image(rule), rule)).collect()
    }

    /// Puts a process into its images, and notes who it is.
    pub fn classify(&mut self, candidate: &Candidate<'_>, images: &mut Vec<ImageId>) {
        if Some(candidate.pid) == self.self_pid {
            return;
        }
        match &self.source {
            Source::Executable => {
                let name = executable::image(candidate.command_line);
                if self.is_wanted(&name) {
                    images.push(self.number(&name));
                }
            }
            Source::Conf { rules, .. } | Source::Regex(rules) => {
                let of_rules = &self.rule_images;
                rules.classify(candidate.args_joined, &mut |number| {
                    images.extend(of_rules.get(number).copied().flatten());
                });
            }
        }
        if !images.is_empty() {
            images.push(TOTAL);
            self.who.insert(candidate.pid, (candidate.ppid, candidate.args_joined.to_vec()));
        }
    }

    /// Who a chosen process is, as it was when it was last looked at.
    pub fn identity(&self, pid: u32, starttime: u64) -> ProcessId {
        let (ppid, command_line) = self.who.get(&pid).cloned().unwrap_or_default();
        ProcessId { pid, ppid, starttime, command_line }
    }

    /// Forgets the processes that are not among these.
    pub fn retain(&mut self, is_there: impl Fn(u32) -> bool) {
        self.who.retain(|pid, _| is_there(*pid));
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.include.is_empty() || self.include.iter().any(|wanted| wanted == name)
    }

    fn number(&mut self, name: &str) -> ImageId {
        if let Some(&number) = self.by_name.get(name) {
            return number;
        }
        self.names.push(name.to_owned());
        // There are fewer images than processes, whose pids fit.
        let number = ImageId(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.by_name.insert(name.to_owned(), number);
        number
    }
}

/// Rules from patterns of the command line.
///
/// # Errors
/// The first pattern that is not taken, and why.
pub fn ad_hoc(patterns: &[String]) -> Result<Rules, (&str, PatternError)> {
    let mut rules = Rules::default();
    for pattern in patterns {
        // The name is one that can be an image's: a test holds it.
        let Ok(image) = PATTERN_IMAGE.parse::<ImageName>() else { break };
        rules.push(image, pattern).map_err(|error| (pattern.as_str(), error))?;
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate<'a>(pid: u32, command_line: &'a [u8], text: &'a [u8]) -> Candidate<'a> {
        Candidate { pid, ppid: 1, command_line, args_joined: text }
    }

    fn images_of(chooser: &mut Selector, pid: u32, words: &str) -> Vec<String> {
        let raw = words.replace(' ', "\0") + "\0";
        let mut images = Vec::new();
        chooser.classify(&candidate(pid, raw.as_bytes(), words.as_bytes()), &mut images);
        let (total, rest): (Vec<_>, Vec<_>) = images.into_iter().partition(|i| *i == TOTAL);
        assert_eq!(total.len(), usize::from(!rest.is_empty()));
        rest.into_iter().map(|image| chooser.name(image).unwrap().to_owned()).collect()
    }

    #[test]
    fn by_executable() {
        let mut chooser = Selector::new(Source::Executable, &[], Some(7));
        assert_eq!(images_of(&mut chooser, 1, "/bin/cat x"), ["cat"]);
        assert_eq!(images_of(&mut chooser, 2, "dog"), ["dog"]);
        assert_eq!(images_of(&mut chooser, 3, "cat"), ["cat"]);
        assert!(images_of(&mut chooser, 7, "cat").is_empty());
        assert_eq!(chooser.images().count(), 2);
        assert_eq!(chooser.identity(1, 5).command_line, b"/bin/cat x");
        chooser.retain(|pid| pid != 1);
        assert_eq!(chooser.identity(1, 5).command_line, b"");
    }

    #[test]
    fn wanted_only() {
        let wanted = ["dog".parse().unwrap(), "bird".parse().unwrap()];
        let mut chooser = Selector::new(Source::Executable, &wanted, None);
        assert!(images_of(&mut chooser, 1, "cat").is_empty());
        assert_eq!(images_of(&mut chooser, 2, "dog"), ["dog"]);
        assert_eq!(chooser.images().map(|(_, name)| name).collect::<Vec<_>>(), ["dog", "bird"]);
    }

    #[test]
    fn by_rules() {
        let conf = psstat_matcher::Conf::parse(b"c cat\nanimal cat|dog\nb bird\n");
        let source = || Source::Conf {
            path: PathBuf::from("x"),
            rules: psstat_matcher::Conf::parse(b"c cat\nanimal cat|dog\nb bird\n").rules,
        };
        assert_eq!(conf.diagnostics, []);
        let mut all = Selector::new(source(), &[], None);
        assert_eq!(images_of(&mut all, 1, "a cat"), ["c", "animal"]);
        assert_eq!(all.images().count(), 3);
        let wanted = ["animal".parse().unwrap(), "none".parse().unwrap()];
        let mut some = Selector::new(source(), &wanted, None);
        assert_eq!(images_of(&mut some, 1, "a cat"), ["animal"]);
        assert!(images_of(&mut some, 1, "bird").is_empty());
        assert_eq!(some.images().map(|(_, name)| name).collect::<Vec<_>>(), ["animal", "none"]);
    }

    #[test]
    fn by_patterns() {
        let patterns = ["^x".to_owned(), "y$".to_owned()];
        let mut chooser = Selector::new(Source::Regex(ad_hoc(&patterns).unwrap()), &[], None);
        assert_eq!(images_of(&mut chooser, 1, "x y"), [PATTERN_IMAGE]);
        assert_eq!(images_of(&mut chooser, 2, "z y"), [PATTERN_IMAGE]);
        assert!(images_of(&mut chooser, 3, "z").is_empty());
        let bad = ["(".to_owned()];
        assert_eq!(ad_hoc(&bad).unwrap_err().0, "(");
    }
}

//! The conf in force: from its file to the rules that the sampler asks.

use std::collections::HashMap;
use std::io::Write as _;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use psstat_emit::ImageName;
use psstat_matcher::file::{LoadError, LoadedConfig, load};
use psstat_matcher::ownership::{OwnershipIssue, check_ownership};
use psstat_matcher::watcher::{Event, POLL_INTERVAL};
use psstat_matcher::{CoverageCheck, Diagnostic, Rules, Severity};
use psstat_sampler::{Candidate, ImageId, Options, Sampler};
use psstat_support::cmdline::is_collector;
use psstat_support::escape;

use crate::config_watcher::{ConfigUpdate, ConfigWatcherThread};
use crate::log::{self, OnceLog};
use crate::{EXIT_BAD_CONF, EXIT_OK};

/// Whom the conf should belong to, and what follows if it does not.
#[derive(Clone, Debug)]
pub struct OwnerPolicy {
    /// By name or number.
    pub user: String,
    /// Another's is not used.
    pub strict: bool,
}

/// The rules in force, with the images' numbers and names.
#[derive(Debug, Default)]
pub struct ActiveRules {
    rules: Rules,
    /// The sampler's number for each of the rules' images. A name keeps its
    /// number for ever, and with it its counters.
    numbers: Vec<ImageId>,
    /// All names that ever were.
    known: HashMap<ImageName, ImageId>,
    /// The images in force, by ascending name: the order of the points.
    images: Vec<(ImageName, ImageId)>,
    /// Rules, by place, that have hit their step limit since they came into
    /// force.
    limited: Vec<usize>,
    /// One of them did so in this cycle.
    limit_hit: bool,
}

impl ActiveRules {
    fn replace(&mut self, rules: Rules) {
        self.rules = rules;
        self.numbers.clear();
        self.images.clear();
        self.limited.clear();
        for name in self.rules.images() {
            let next = ImageId(u32::try_from(self.known.len()).unwrap_or(u32::MAX));
            // The matcher's names are as strict as the encoder's; were one
            // not, its processes would be counted and not printed.
            let number = match ImageName::new(name.as_str()) {
                Ok(image) => {
                    let number = *self.known.entry(image.clone()).or_insert(next);
                    self.images.push((image, number));
                    number
                }
                Err(error) => {
                    log::line(&format!("image {name}: {error}; it is left out"));
                    next
                }
            };
            self.numbers.push(number);
        }
        self.images.sort_unstable();
    }

    /// The images in force with their numbers, by ascending name.
    pub fn images(&self) -> &[(ImageName, ImageId)] {
        &self.images
    }

    /// How many names there ever were: numbers are below that.
    pub fn known(&self) -> usize {
        self.known.len()
    }

    /// How many rules are in force.
    pub fn count(&self) -> usize {
        self.rules.rules().len()
    }

    /// How many rules have hit their step limit.
    pub fn limited_rules(&self) -> usize {
        self.limited.len()
    }

    /// Names each rule that has hit its step limit for the first time.
    pub fn take_newly_limited(&mut self, mut name: impl FnMut(String)) {
        if !std::mem::take(&mut self.limit_hit) {
            return;
        }
        for (place, rule) in self.rules.rules().iter().enumerate() {
            if rule.step_limit_hits() > 0 && !self.limited.contains(&place) {
                self.limited.push(place);
                let image = self.rules.images().get(rule.image());
                let image = image.map_or("", |image| image.as_str());
                let line = rule.line().unwrap_or(0);
                name(format!("the rule of image {image} in line {line}"));
            }
        }
    }

    /// Which images a process belongs to.
    pub fn classify(&mut self, candidate: &Candidate<'_>, images: &mut Vec<ImageId>) {
        let numbers = &self.numbers;
        let verdict = self.rules.classify(candidate.args_joined, &mut |index| {
            images.extend(numbers.get(index));
        });
        self.limit_hit |= verdict.step_limit_hits > 0;
    }
}

/// How many bytes of a conf's diagnostics are logged at most. A conf that is no
/// conf has thousands.
const DIAGNOSTICS: usize = 16 << 10;

/// Follows the conf's file and keeps the rules of its last good state.
#[derive(Debug)]
pub struct Conf {
    follower: ConfigWatcherThread,
    strict_owner: bool,
    told: OnceLog,
    /// The file was taken or found to be unusable, at least once.
    pub first_load_done: bool,
    /// The rules in force.
    pub rules: ActiveRules,
    /// Bad lines of the file as it was last read.
    pub bad_lines: usize,
    /// The rules in force are those of the file as it is.
    pub loaded: bool,
    /// Defects that showed while it was read.
    pub panics: u64,
}

impl Conf {
    /// Begins to follow the file; [`follow`](Conf::follow) tells what came of
    /// it.
    ///
    /// # Errors
    /// When the system has no descriptor or thread left.
    pub fn new(path: PathBuf, owner: OwnerPolicy) -> std::io::Result<Conf> {
        Ok(Conf {
            follower: ConfigWatcherThread::start(path, owner.user)?,
            strict_owner: owner.strict,
            told: OnceLog::default(),
            first_load_done: false,
            rules: ActiveRules::default(),
            bad_lines: 0,
            loaded: false,
            panics: 0,
        })
    }

    /// What becomes readable when there is something to
    /// [`follow`](Conf::follow).
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.follower.fd()
    }

    /// Whether the file is being read or parsed: it will be decided soon, or
    /// hangs.
    pub fn is_busy(&self) -> bool {
        self.follower.is_busy()
    }

    /// Has the file read anew, changed or not.
    pub fn reload(&mut self) {
        self.follower.reload();
    }

    /// Logs what has changed since the last time, and takes it. Tells whether
    /// other rules are in force now. It never waits for the file.
    pub fn poll_updates(&mut self) -> bool {
        let mut changed = false;
        for news in self.follower.news() {
            if !matches!(news, ConfigUpdate::Shortage(_)) {
                self.first_load_done = true;
                // Until it is in force, whatever comes between.
                self.loaded = false;
            }
            match news {
                ConfigUpdate::Conf(Event::Loaded(loaded), complaints) => {
                    changed |= self.apply_update(*loaded, &complaints);
                }
                ConfigUpdate::Conf(Event::Unusable(reason), _) => self.on_load_error(&reason),
                ConfigUpdate::Conf(..) => {}
                ConfigUpdate::Panicked => self.panics += 1,
                ConfigUpdate::Stuck => {
                    let rules = self.describe_active_rules();
                    log::line(&format!(
                        "{}: its file system does not answer; {rules}, and it is tried again",
                        self.follower.path().display()
                    ));
                }
                ConfigUpdate::Shortage(shortage) => {
                    self.told.log_once(&format!("{shortage:?}"), || {
                        format!(
                            "changes of {} are noticed by looking every {} s: {shortage}",
                            self.follower.path().display(),
                            POLL_INTERVAL.as_secs()
                        )
                    });
                }
            }
        }
        changed
    }

    fn apply_update(
        &mut self,
        LoadedConfig { conf, .. }: LoadedConfig,
        complaints: &[OwnershipIssue],
    ) -> bool {
        let path = self.follower.path().display().to_string();
        self.report(&path, &conf.diagnostics);
        if !complaints.is_empty() {
            let consequence = if self.strict_owner {
                "; not loaded (--strict-owner), keeping the current rules"
            } else {
                ""
            };
            let complaints: Vec<String> =
                complaints.iter().map(OwnershipIssue::to_string).collect();
            log::line(&format!("{path} {}{consequence}", complaints.join("; it ")));
            if self.strict_owner {
                return false;
            }
        }
        let (rules, images) = (conf.rules.rules().len(), conf.rules.images().len());
        log::line(&format!("{path}: {rules} rules for {images} images are in force"));
        self.rules.replace(conf.rules);
        self.loaded = true;
        true
    }

    fn on_load_error(&mut self, reason: &LoadError) {
        let path = self.follower.path().display().to_string();
        let diagnostics: &[Diagnostic] = match reason {
            LoadError::NoRule(diagnostics) => diagnostics,
            _ => &[],
        };
        self.report(&path, diagnostics);
        log::line(&format!("{path} {reason}; {}", self.describe_active_rules()));
    }

    fn describe_active_rules(&self) -> String {
        match self.rules.count() {
            0 => "no rules are in force until it can be used".to_owned(),
            count => format!("the last {count} good rules stay in force"),
        }
    }

    fn report(&mut self, path: &str, diagnostics: &[Diagnostic]) {
        self.bad_lines = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
        let mut left = DIAGNOSTICS;
        for (at, diagnostic) in diagnostics.iter().enumerate() {
            let line = in_one_line(path, diagnostic);
            let Some(rest) = left.checked_sub(line.len()) else {
                let more = diagnostics.len() - at;
                log::line(&format!("{path}: {more} more complaints; --check shows them"));
                return;
            };
            left = rest;
            log::line(&line);
        }
    }
}

/// A diagnostic for the log: `file:line:column: severity: message; remedy`.
fn in_one_line(path: &str, diagnostic: &Diagnostic) -> String {
    let Diagnostic { severity, line, column, message, help, .. } = diagnostic;
    let place = if *line == 0 { path.to_owned() } else { format!("{path}:{line}:{column}") };
    let remedy = if help.is_empty() { String::new() } else { format!("; {help}") };
    format!("{place}: {severity}: {message}{remedy}")
}

/// `--check`: prints to stderr what is wrong with the conf, as a compiler does.
pub fn check(path: &Path, owner: &OwnerPolicy, proc: &Path) -> u8 {
    let name = escape::bytes(path.as_os_str().as_encoded_bytes());
    let mut status = EXIT_OK;
    let show = |diagnostics: &[Diagnostic]| {
        for diagnostic in diagnostics {
            eprint(&format!("{}\n", diagnostic.display(&name)));
        }
    };
    match load(path) {
        Ok(loaded) => {
            show(&loaded.conf.diagnostics);
            show(&check_coverage(&loaded.conf.rules, proc));
            for complaint in check_ownership(&loaded.stamp, &owner.user) {
                eprint(&format!("{name} {complaint}"));
                if owner.strict {
                    status = EXIT_BAD_CONF;
                }
            }
            let (conf, rules) = (&loaded.conf, &loaded.conf.rules);
            let bad = conf.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
            eprint(&format!(
                "{name}: {} rules for {} images, {bad} bad lines",
                rules.rules().len(),
                rules.images().len()
            ));
            if conf.has_errors() {
                status = EXIT_BAD_CONF;
            }
        }
        Err(reason) => {
            if let LoadError::NoRule(diagnostics) = &reason {
                show(diagnostics);
            }
            eprint(&format!("{name} {reason}"));
            status = EXIT_BAD_CONF;
        }
    }
    status
}

/// What the machine's processes say of the rules: that one matches none of
/// them, all of them, or the collector, or gave up on one.
fn check_coverage(rules: &Rules, proc: &Path) -> Vec<Diagnostic> {
    let options = Options { proc_root: proc.to_owned(), ..Options::default() };
    let Ok(mut sampler) = Sampler::new(options) else { return Vec::new() };
    let mut survey = CoverageCheck::new(rules);
    let own = std::process::id();
    sampler.open(&mut |process, _| {
        if process.pid == own || is_collector(process.args_joined) {
            survey.record_self(process.args_joined);
        } else {
            survey.record(process.args_joined);
        }
    });
    survey.diagnostics()
}

/// Prints to stderr; if nobody listens, the status still tells.
fn eprint(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

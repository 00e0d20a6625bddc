//! The config file: from updates of its file to the active rules.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use psstat_emit::ImageName;
use psstat_matcher::file::{LoadError, LoadedConfig};
use psstat_matcher::ownership::OwnershipIssue;
use psstat_matcher::watcher::{Event, POLL_INTERVAL};
use psstat_matcher::{Diagnostic, Rules, Severity};
use psstat_sampler::{Candidate, ImageId};

use crate::config_watcher::{ConfigUpdate, ConfigWatcherThread};
use crate::log::{self, OnceLog};

/// The expected owner of the config file, and whether another owner makes it unusable.
#[derive(Clone, Debug)]
pub(crate) struct OwnerPolicy {
    /// Name or uid.
    pub(crate) user: String,
    /// Reject a file with another owner.
    pub(crate) strict: bool,
}

/// The active rules, with the ids and names of their images.
#[derive(Debug, Default)]
pub(crate) struct ActiveRules {
    rules: Rules,
    /// The sampler's id of each image of the rules, by the image's index.
    ids: Vec<ImageId>,
    /// The ids of all names of this and earlier config files. A name keeps its id, and with it
    /// its counters.
    id_of_name: HashMap<ImageName, ImageId>,
    /// The images of the active rules by ascending name, which is the order of the points.
    images: Vec<(ImageName, ImageId)>,
    /// Indexes of the rules that have exceeded their step limit since they became active.
    step_limited: Vec<usize>,
    /// A rule has exceeded its step limit since the last call of `take_newly_limited`.
    limit_hit: bool,
}

impl ActiveRules {
    fn replace(&mut self, rules: Rules) {
        self.rules = rules;
        self.ids.clear();
        self.images.clear();
        self.step_limited.clear();
        for name in self.rules.images() {
            let next = ImageId(u32::try_from(self.id_of_name.len()).unwrap_or(u32::MAX));
            // The matcher accepts no name that the encoder rejects. If it did, the processes of
            // that image would be counted and not printed.
            let id = match ImageName::new(name.as_str()) {
                Ok(image) => {
                    let id = *self.id_of_name.entry(image.clone()).or_insert(next);
                    self.images.push((image, id));
                    id
                }
                Err(error) => {
                    log::line(&format!("image {name}: {error}; skipped"));
                    next
                }
            };
            self.ids.push(id);
        }
        self.images.sort_unstable();
    }

    /// The images of the active rules with their ids, by ascending name.
    pub(crate) fn images(&self) -> &[(ImageName, ImageId)] {
        &self.images
    }

    /// The number of ids in use; each id is less than it.
    pub(crate) fn id_count(&self) -> usize {
        self.id_of_name.len()
    }

    /// The number of active rules.
    pub(crate) fn count(&self) -> usize {
        self.rules.rules().len()
    }

    /// The number of active rules that have exceeded their step limit.
    pub(crate) fn step_limited_count(&self) -> usize {
        self.step_limited.len()
    }

    /// Calls `report` with the description of each rule that has exceeded its step limit for
    /// the first time.
    pub(crate) fn take_newly_limited(&mut self, mut report: impl FnMut(String)) {
        if !std::mem::take(&mut self.limit_hit) {
            return;
        }
        for (index, rule) in self.rules.rules().iter().enumerate() {
            if rule.step_limit_hits() > 0 && !self.step_limited.contains(&index) {
                self.step_limited.push(index);
                let image = self.rules.images().get(rule.image());
                let image = image.map_or("", |image| image.as_str());
                let line = rule.line().unwrap_or(0);
                report(format!("the rule of image {image} in line {line}"));
            }
        }
    }

    /// Adds the images that a process belongs to.
    pub(crate) fn classify(&mut self, candidate: &Candidate<'_>, images: &mut Vec<ImageId>) {
        let ids = &self.ids;
        let verdict = self.rules.classify(candidate.args_joined, &mut |index| {
            images.extend(ids.get(index));
        });
        self.limit_hit |= verdict.step_limit_hits > 0;
    }
}

/// The maximum length of the diagnostics that are logged for one config file, in bytes. A file
/// that is not a config file has thousands.
const MAX_DIAGNOSTICS_LEN: usize = 16 << 10;

/// The config file: watches it, and holds the rules of its last valid version.
#[derive(Debug)]
pub(crate) struct Conf {
    watcher: ConfigWatcherThread,
    strict_owner: bool,
    /// The path was given by option or variable.
    path_is_explicit: bool,
    reported: OnceLog,
    /// The file was loaded, or found to be unusable, at least once.
    pub(crate) first_load_done: bool,
    /// The active rules.
    pub(crate) rules: ActiveRules,
    /// Invalid lines of the file at its last read.
    pub(crate) bad_lines: usize,
    /// The active rules are those of the current file.
    pub(crate) loaded: bool,
    /// Panics while the file was loaded, since the caller last took this number.
    pub(crate) panics: u64,
}

impl Conf {
    /// Starts to watch the file; [`poll_updates`](Conf::poll_updates) applies its updates.
    ///
    /// # Errors
    /// No descriptor or thread is available.
    pub(crate) fn new(
        path: PathBuf,
        path_is_explicit: bool,
        owner: OwnerPolicy,
    ) -> std::io::Result<Conf> {
        Ok(Conf {
            watcher: ConfigWatcherThread::start(path, owner.user)?,
            strict_owner: owner.strict,
            path_is_explicit,
            reported: OnceLog::default(),
            first_load_done: false,
            rules: ActiveRules::default(),
            bad_lines: 0,
            loaded: false,
            panics: 0,
        })
    }

    /// A descriptor that is readable when [`poll_updates`](Conf::poll_updates) has an update.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.watcher.fd()
    }

    /// Whether the file is being read or parsed at present.
    pub(crate) fn is_busy(&self) -> bool {
        self.watcher.is_busy()
    }

    /// Requests that the file is read again, even if it has not changed.
    pub(crate) fn reload(&mut self) {
        self.watcher.reload();
    }

    /// Logs and applies the updates since the last call. Returns whether the active rules have
    /// changed. Never waits for the file.
    pub(crate) fn poll_updates(&mut self) -> bool {
        let mut changed = false;
        for update in self.watcher.updates() {
            if !matches!(update, ConfigUpdate::Shortage(_)) {
                self.first_load_done = true;
                // `apply_update` sets it.
                self.loaded = false;
            }
            match update {
                ConfigUpdate::Conf(Event::Loaded(loaded), issues) => {
                    changed |= self.apply_update(*loaded, &issues);
                }
                ConfigUpdate::Conf(Event::Unusable(error), _) => self.on_load_error(&error),
                ConfigUpdate::Conf(..) => {}
                ConfigUpdate::Panicked => self.panics += 1,
                ConfigUpdate::Stuck => {
                    let rules = self.describe_active_rules();
                    log::line(&format!(
                        "{}: file system not responding; {rules}; will retry",
                        self.watcher.path().display()
                    ));
                }
                ConfigUpdate::Shortage(shortage) => {
                    self.reported.log_once(&format!("{shortage:?}"), || {
                        format!(
                            "polling {} every {} s: {shortage}",
                            self.watcher.path().display(),
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
        issues: &[OwnershipIssue],
    ) -> bool {
        let path = self.watcher.path().display().to_string();
        self.report(&path, &conf.diagnostics);
        if !issues.is_empty() {
            let consequence = if self.strict_owner {
                "; not loaded (--strict-owner), keeping the current rules"
            } else {
                ""
            };
            let issues: Vec<String> = issues.iter().map(OwnershipIssue::to_string).collect();
            log::line(&format!("{path}: {}{consequence}", issues.join("; ")));
            if self.strict_owner {
                return false;
            }
        }
        let (rules, images) = (conf.rules.rules().len(), conf.rules.images().len());
        log::line(&format!("{path}: loaded {rules} rules for {images} images"));
        self.rules.replace(conf.rules);
        self.loaded = true;
        true
    }

    fn on_load_error(&mut self, error: &LoadError) {
        let path = self.watcher.path().display().to_string();
        let diagnostics: &[Diagnostic] = match error {
            LoadError::NoRule(diagnostics) => diagnostics,
            _ => &[],
        };
        self.report(&path, diagnostics);
        let rules = self.describe_active_rules();
        let help = path_help(error, self.path_is_explicit);
        log::line(&format!("{path}: {error}; {rules}{help}"));
    }

    fn describe_active_rules(&self) -> String {
        match self.rules.count() {
            0 => "no rules until a valid config is found".to_owned(),
            count => format!("keeping the previous {count} rules"),
        }
    }

    fn report(&mut self, path: &str, diagnostics: &[Diagnostic]) {
        self.bad_lines = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
        let mut budget = MAX_DIAGNOSTICS_LEN;
        for (index, diagnostic) in diagnostics.iter().enumerate() {
            let line = format_line(path, diagnostic);
            let Some(rest) = budget.checked_sub(line.len()) else {
                let more = diagnostics.len() - index;
                log::line(&format!(
                    "{path}: {more} more diagnostics; run with --check to see them"
                ));
                return;
            };
            budget = rest;
            log::line(&line);
        }
    }
}

/// Which option selects another config file, if there is none at its path.
pub(crate) fn path_help(error: &LoadError, path_is_explicit: bool) -> &'static str {
    let LoadError::Unreadable(error) = error else { return "" };
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory if path_is_explicit => "; check --conf",
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            "; --conf PATH or --class NAME (PSSTAT_CONF, PSSTAT_CLASS) selects another file"
        }
        _ => "",
    }
}

/// A diagnostic in one line: `file:line:column: severity: message; help`.
fn format_line(path: &str, diagnostic: &Diagnostic) -> String {
    let Diagnostic { severity, line, column, message, help, .. } = diagnostic;
    let location = if *line == 0 { path.to_owned() } else { format!("{path}:{line}:{column}") };
    let help = if help.is_empty() { String::new() } else { format!("; {help}") };
    format!("{location}: {severity}: {message}{help}")
}

//! The config files: from updates of the files to the active rules.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use psstat_emit::TagValue;
use psstat_matcher::file::LoadError;
use psstat_matcher::ownership::{OwnerPolicy, OwnershipIssue};
use psstat_matcher::sources::{LoadedSources, SourceFile};
use psstat_matcher::watcher::POLL_INTERVAL;
use psstat_matcher::{Diagnostic, ImageTable, MatchCache, Rules, Severity};
use psstat_sampler::{Candidate, ImageId, ImageSet, ProcessFields, Sampler, Window};
use psstat_support::process_texts::ProcessTexts;
use psstat_support::{count, failpoint};

use crate::config_watcher::{ConfigUpdate, ConfigWatcherThread};
use crate::log::{self, OnceLog};

/// The active rules, with their images.
#[derive(Debug)]
pub(crate) struct ActiveRules {
    rules: Rules,
    cache: MatchCache,
    images: ImageTable,
    /// The texts of processes that the rules are about.
    texts: ProcessTexts,
    /// When this cycle began.
    now: Instant,
    /// Indexes of the rules that have exceeded their step limit since they became active.
    step_limited: Vec<usize>,
    /// A rule has exceeded its step limit since the last call of `take_newly_limited`.
    limit_hit: bool,
    /// Messages about a rule name its file.
    show_paths: bool,
    /// The ids of images may be others than those of the last cycle.
    are_images_changed: bool,
    /// A buffer.
    ended: Vec<ImageId>,
}

impl ActiveRules {
    /// No rules yet for the processes of this procfs. A rule makes at most this number of images.
    fn new(max_images_per_rule: usize, proc: &Path) -> ActiveRules {
        let mut images = ImageTable::new(max_images_per_rule);
        if let Some(lifetime) = failpoint::image_lifetime() {
            images.set_lifetime(lifetime);
        }
        ActiveRules {
            rules: Rules::default(),
            cache: MatchCache::default(),
            images,
            texts: ProcessTexts::new(proc),
            now: Instant::now(),
            step_limited: Vec::new(),
            limit_hit: false,
            show_paths: false,
            are_images_changed: false,
            ended: Vec::new(),
        }
    }

    fn replace(&mut self, rules: Rules, show_paths: bool) {
        self.rules = rules;
        self.show_paths = show_paths;
        self.images.set_rules(&self.rules, Instant::now());
        if let Err(error) = self.texts.set_rules(&self.rules) {
            log::line(&format!(
                "cannot start the thread that reads the names of users: {error}; rules with @user \
                 are matched against user ids"
            ));
        }
        self.step_limited.clear();
    }

    /// The files that the sampler has to read of each process for the rules.
    fn fields(&self) -> ProcessFields {
        self.texts.fields()
    }

    /// Begins a cycle: ends the images that have had no process for an hour, in the sampler too.
    /// If names of users have changed, all processes are classified again.
    pub(crate) fn begin_cycle(&mut self, sampler: &mut Sampler) {
        self.now = Instant::now();
        let ended = &mut self.ended;
        let sample = sampler.last_sample();
        let has_processes = |name: &psstat_matcher::ImageName| {
            let usage = sample.as_ref().and_then(|sample| sample.image(name.as_str()));
            usage.is_some_and(|usage| usage.processes > 0)
        };
        self.images.end_unused(self.now, has_processes, |name| {
            ended.extend(sampler.image_id(name.as_str()));
        });
        sampler.remove_images(ended.drain(..));
        if self.texts.update_users() {
            sampler.reclassify_all();
        }
    }

    /// Adds all images to the sampler, which makes those that it does not have begin with the next
    /// cycle, and classifies all processes again.
    pub(crate) fn reclassify_all(&mut self, sampler: &mut Sampler) {
        sampler.set_fields(self.fields());
        for name in self.images.active() {
            sampler.add_image(name.as_str());
        }
        sampler.reclassify_all();
        self.are_images_changed = true;
    }

    /// Sets `images` to the images that exist now with their ids, by ascending name, which is
    /// the order of the points.
    pub(crate) fn update_images(
        &mut self,
        images: &mut Vec<(TagValue, ImageId)>,
        window: &mut Window<'_>,
    ) {
        let are_changed = std::mem::take(&mut self.are_images_changed);
        if !self.images.take_changed() && !are_changed {
            return;
        }
        images.clear();
        for name in self.images.active() {
            // Every name of the matcher is a valid value of a tag.
            match TagValue::new(name.as_str()) {
                Ok(image) => images.push((image, window.add_image(name.as_str()))),
                Err(error) => log::line(&format!("image {name}: {error}; skipped")),
            }
        }
        images.sort_unstable();
    }

    /// Calls `report` with the image of each rule that has reached its limit of images for the
    /// first time, the name of the image that has the further processes, and the limit.
    pub(crate) fn take_newly_full(&mut self, mut report: impl FnMut(&str, &str, usize)) {
        let ActiveRules { rules, images, .. } = self;
        let max = images.max_per_rule();
        images.take_newly_full(|image| {
            if let Some(image) = rules.images().get(image)
                && let Some(other) = image.other()
            {
                report(image.as_str(), other.as_str(), max);
            }
        });
    }

    /// Whether all rules together have reached the limit of images for the first time.
    pub(crate) fn take_newly_full_in_total(&mut self) -> bool {
        self.images.take_newly_full_in_total()
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
                let path = rule.path().filter(|_| self.show_paths);
                let file = path.map_or(String::new(), |path| format!(" of {}", path.display()));
                report(format!("the rule of image {image} in line {line}{file}"));
            }
        }
    }

    /// Adds the images that a process belongs to.
    pub(crate) fn classify(&mut self, candidate: &Candidate<'_>, found: &mut ImageSet<'_>) {
        let ActiveRules { rules, cache, images, texts, now, .. } = self;
        let matches = rules.matches(texts.of(candidate), cache);
        self.limit_hit |= matches.stats().step_limit_hits > 0;
        for image in matches {
            found.extend(images.image(rules, image, *now).map(psstat_matcher::ImageName::as_str));
        }
    }
}

/// The maximum length of the diagnostics that are logged for one config file, and for all, in
/// bytes. A file that is not a config file has thousands.
const MAX_DIAGNOSTICS_LEN: usize = 16 << 10;
const MAX_TOTAL_DIAGNOSTICS_LEN: usize = 64 << 10;
/// The maximum number of files whose state is logged for one change. A directory can have hundreds
/// that cannot be used.
const MAX_FILE_MESSAGES: usize = 20;

/// The config files: watches them, and holds the rules of the last valid version of each.
#[derive(Debug)]
pub(crate) struct Conf {
    watcher: ConfigWatcherThread,
    /// The files and directories.
    paths: Vec<PathBuf>,
    /// The paths were given by option or variable.
    path_is_explicit: bool,
    reported: OnceLog,
    /// The diagnostics at the last report.
    logged_diagnostics: HashSet<String>,
    /// The files were loaded, or found to be unusable, at least once.
    pub(crate) first_load_done: bool,
    /// The active rules.
    pub(crate) rules: ActiveRules,
    /// Invalid lines of the files at their last read.
    pub(crate) bad_lines: usize,
    /// The active rules are those of the current files.
    pub(crate) loaded: bool,
    /// Panics while the files were loaded, since the caller last took this number.
    pub(crate) panics: u64,
}

impl Conf {
    /// Starts to watch the files; [`poll_updates`](Conf::poll_updates) applies their updates.
    /// `proc` is the procfs of the processes.
    ///
    /// # Errors
    /// No descriptor or thread is available.
    pub(crate) fn new(
        paths: &[PathBuf],
        path_is_explicit: bool,
        owner: OwnerPolicy,
        max_images_per_rule: usize,
        proc: &Path,
    ) -> std::io::Result<Conf> {
        // A later chdir must not lead to another file.
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let paths: Vec<PathBuf> = paths.iter().map(absolute).collect();
        Ok(Conf {
            watcher: ConfigWatcherThread::start(&paths, owner)?,
            paths,
            path_is_explicit,
            reported: OnceLog::default(),
            logged_diagnostics: HashSet::new(),
            first_load_done: false,
            rules: ActiveRules::new(max_images_per_rule, proc),
            bad_lines: 0,
            loaded: false,
            panics: 0,
        })
    }

    /// A descriptor that is readable when [`poll_updates`](Conf::poll_updates) has an update.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.watcher.fd()
    }

    /// Whether a file is being read or parsed at present.
    pub(crate) fn is_busy(&self) -> bool {
        self.watcher.is_busy()
    }

    /// Requests that the files are read again, even if they have not changed.
    pub(crate) fn reload(&mut self) {
        self.watcher.reload();
    }

    /// Logs and applies the updates since the last call. Returns whether the active rules have
    /// changed. Never waits for a file.
    pub(crate) fn poll_updates(&mut self) -> bool {
        let mut changed = false;
        for update in self.watcher.updates() {
            match update {
                ConfigUpdate::Conf { sources, is_loaded } => {
                    self.first_load_done = true;
                    self.apply_update(*sources, is_loaded);
                    changed |= is_loaded;
                }
                ConfigUpdate::Panicked => {
                    self.first_load_done = true;
                    self.loaded = false;
                    self.panics += 1;
                }
                ConfigUpdate::Shortage(shortage) => {
                    let name = self.name();
                    self.reported.log_once(&format!("{shortage:?}"), || {
                        format!("polling {name} every {} s: {shortage}", POLL_INTERVAL.as_secs())
                    });
                }
            }
        }
        changed
    }

    /// The path, or a name for several.
    fn name(&self) -> String {
        match self.paths.as_slice() {
            [path] => path.display().to_string(),
            _ => "config files".to_owned(),
        }
    }

    fn apply_update(&mut self, sources: LoadedSources, is_loaded: bool) {
        let is_single = self.paths.len() == 1 && !sources.files.iter().any(|f| f.is_directory);
        let diagnostics = &sources.conf.diagnostics;
        self.bad_lines = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
        self.loaded = sources.is_current();
        self.report(&sources);
        let mut changed: Vec<&SourceFile> =
            sources.files.iter().filter(|file| has_message(file)).collect();
        let more = changed.len().saturating_sub(MAX_FILE_MESSAGES);
        changed.truncate(MAX_FILE_MESSAGES);
        for file in changed {
            self.report_state(file, &sources, is_single);
        }
        if more > 0 {
            log::line(&format!(
                "{}: {more} more files are removed or cannot be used; run with --check to see them",
                self.name()
            ));
        }
        if !is_loaded {
            return;
        }
        let (rules, images) = (sources.conf.rules.rules().len(), sources.conf.rules.images().len());
        let from = if is_single {
            String::new()
        } else {
            let count = sources.files.iter().filter(|f| f.rules > 0 && !f.is_removed).count();
            format!(" from {}", count::of(count, "file", "files"))
        };
        let rules = count::of(rules, "rule", "rules");
        let images = count::of(images, "image", "images");
        log::info(&format!("{}: loaded {rules} for {images}{from}", self.name()));
        self.rules.replace(sources.conf.rules, !is_single);
    }

    /// Logs what is wrong with a file.
    fn report_state(&self, file: &SourceFile, sources: &LoadedSources, is_single: bool) {
        let path = file.path.display();
        if file.is_removed {
            let rules = count::of(file.rules, "rule", "rules");
            let is_or_are = if file.rules == 1 { "is" } else { "are" };
            log::line(&format!("{path}: removed; its {rules} {is_or_are} no longer used"));
            return;
        }
        let kept = || {
            if is_single {
                return self.describe_active_rules();
            }
            let of_entries = || {
                let entries = sources.files.iter().filter(|one| one.is_entry && !one.is_removed);
                let entries = entries.filter(|one| one.path.parent() == Some(&*file.path));
                entries.map(|entry| entry.rules).sum::<usize>()
            };
            match if file.is_directory { of_entries() } else { 0 } + file.rules {
                0 => "it has no rules in use".to_owned(),
                number => format!("keeping its previous {}", count::of(number, "rule", "rules")),
            }
        };
        match file.error.as_deref() {
            None if file.ownership.is_empty() => {}
            None => {
                let issues: Vec<String> =
                    file.ownership.iter().map(OwnershipIssue::to_string).collect();
                log::line(&format!("{path}: {}", issues.join("; ")));
            }
            Some(error @ LoadError::Ownership(_)) => {
                let kept = if is_single { "keeping the current rules".into() } else { kept() };
                log::line(&format!("{path}: {error}; not loaded (--strict-owner), {kept}"));
            }
            Some(error @ LoadError::NotResponding) => {
                log::line(&format!("{path}: {error}; {}; will retry", kept()));
            }
            Some(error) => {
                let help = if file.is_entry { "" } else { path_help(error, self.path_is_explicit) };
                log::line(&format!("{path}: {error}; {}{help}", kept()));
            }
        }
    }

    fn describe_active_rules(&self) -> String {
        match self.rules.count() {
            0 => "no rules until a valid config is found".to_owned(),
            number => format!("keeping the previous {}", count::of(number, "rule", "rules")),
        }
    }

    /// Logs the diagnostics of the files that have changed, and new ones of the others: a warning
    /// can be caused by a rule of another file.
    fn report(&mut self, sources: &LoadedSources) {
        let changed: HashSet<&Path> =
            sources.files.iter().filter(|f| f.has_changed).map(|f| &*f.path).collect();
        let mut total = MAX_TOTAL_DIAGNOSTICS_LEN;
        let mut logged = HashSet::new();
        for diagnostics in sources.conf.diagnostics.chunk_by(|one, next| one.path == next.path) {
            let path = diagnostics.first().and_then(|one| one.path.as_deref());
            let Some(path) = path else { continue };
            let is_changed = changed.contains(path);
            // Notes are for checks: the lines can be meant as they are.
            let lines =
                diagnostics.iter().filter(|d| d.severity != Severity::Note).map(format_line);
            let (mut budget, mut hidden) = (MAX_DIAGNOSTICS_LEN, 0);
            for line in lines {
                let is_new = is_changed || !self.logged_diagnostics.contains(&line);
                if is_new && (hidden > 0 || line.len() > budget.min(total)) {
                    hidden += 1;
                    continue;
                }
                if is_new {
                    budget -= line.len();
                    total -= line.len();
                    log::line(&line);
                }
                logged.insert(line);
            }
            if hidden > 0 {
                log::line(&format!(
                    "{}: {hidden} more diagnostics; run with --check to see them",
                    path.display()
                ));
            }
        }
        self.logged_diagnostics = logged;
    }
}

/// Whether the state of a file is new and has to be logged.
fn has_message(file: &SourceFile) -> bool {
    let has_problem = file.error.is_some() || !file.ownership.is_empty();
    if file.is_removed { file.rules > 0 } else { file.has_changed && has_problem }
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
fn format_line(diagnostic: &Diagnostic) -> String {
    let Diagnostic { severity, path, line, column, message, help, .. } = diagnostic;
    let path = path.as_ref().map_or(String::new(), |path| path.display().to_string());
    let location = match line {
        Some(line) => format!("{path}:{line}:{column}"),
        None => path,
    };
    let help = if help.is_empty() { String::new() } else { format!("; {help}") };
    format!("{location}: {severity}: {message}{help}")
}

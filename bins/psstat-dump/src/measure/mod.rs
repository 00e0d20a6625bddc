//! Measures processes in successive windows and returns rows.
//!
//! CPU usage is averaged over a window, between two readings of each process's
//! CPU time. io is read at the end of each window, so rates need the reading
//! of the previous window: a first cycle without delay provides it for the
//! first window. A process that started between two readings has no rates and
//! no CPU usage yet; the rates of its image include its io.

pub mod average;
mod kernel_threads;

use std::collections::{BTreeMap, HashMap};
use std::iter;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use psstat_matcher::{ImageName, Rules};
use psstat_sampler::{
    DetachedWindow, Error, Health, IoStart, MetricGroups, Sampler, StateCounts, Usage,
};
use psstat_support::process_texts::ProcessTexts;
use psstat_support::procfs;

use crate::process_report::BootInfo;
use crate::process_text::OwnedText;
use crate::selector::{Selector, TOTAL, self_pid};
use crate::table::row::{CommName, Growth, Row};
use crate::terminal;
use crate::users::Users;
use kernel_threads::KernelThreads;

/// The result of one window.
#[derive(Debug)]
pub struct Snapshot {
    /// The end of the window.
    pub time: SystemTime,
    /// The time between the readings of CPU time. `None` for a capture, whose
    /// values do not change.
    pub window: Option<Duration>,
    /// One row per image, in the order in which they were found.
    pub images: Vec<Row>,
    /// One row per process, by pid.
    pub processes: Vec<Row>,
    /// The sum over all processes, each counted once.
    pub total: Row,
    /// Statistics of failed reads.
    pub health: Health,
}

impl Snapshot {
    /// The row of a process.
    pub fn process(&self, pid: u32) -> Option<&Row> {
        self.processes.iter().find(|row| row.id.as_ref().is_some_and(|id| id.pid == pid))
    }

    /// Leaves out the rows of other processes, if any are given. The total is unknown then, unless
    /// one process is left: processes can share sockets.
    pub fn select_processes(&mut self, pids: &[u32]) {
        if pids.is_empty() {
            return;
        }
        let pid = |row: &Row| row.id.as_ref().map(|id| id.pid);
        self.processes.retain(|row| pid(row).is_some_and(|pid| pids.contains(&pid)));
        let of_only = |row: &Row| Row { images: Vec::new(), id: None, ..row.clone() };
        self.total = match &self.processes[..] {
            [only] => of_only(only),
            _ => Row::default(),
        };
        self.total.numbers.processes = self.processes.len() as u64;
    }

    /// Leaves out the rows of other images, if any are given. The total is unknown then, unless one
    /// image is left: images can share sockets.
    pub fn select(&mut self, images: &[ImageName]) {
        if images.is_empty() {
            return;
        }
        let is_selected =
            |row: &Row| row.images.iter().any(|name| images.iter().any(|one| one.as_str() == name));
        self.images.retain(is_selected);
        self.processes.retain(is_selected);
        self.total = match &self.images[..] {
            [only] => Row { images: Vec::new(), ..only.clone() },
            _ => Row::default(),
        };
        self.total.numbers.processes = self.processes.len() as u64;
    }
}

/// Measures one window after the other.
#[derive(Debug)]
pub struct Measurer {
    sampler: Sampler,
    selector: Selector,
    /// Whether the procfs is a capture.
    is_capture: bool,
    opened: Option<(Instant, DetachedWindow)>,
    previous: Option<Previous>,
    kernel_threads: Option<KernelThreads>,
    users: Option<Users>,
    proc: PathBuf,
    window: Duration,
    metrics: MetricGroups,
}

/// The numbers at the end of a window, by image and by process (pid, start
/// time), for the growth of counters.
#[derive(Debug, Default)]
struct Previous {
    at: Option<Instant>,
    images: HashMap<String, Usage>,
    processes: HashMap<(u32, u64), Usage>,
}

impl Measurer {
    /// Measures the processes that `selector` selects from the procfs `proc`, in
    /// windows of this length, with the values of these groups.
    ///
    /// # Errors
    /// When the procfs cannot be opened.
    pub fn new(
        proc: &Path,
        window: Duration,
        selector: Selector,
        metrics: MetricGroups,
    ) -> Result<Measurer, Error> {
        let mut measurer = Measurer {
            sampler: sampler(proc, window, metrics, &selector)?,
            selector,
            is_capture: is_capture(proc),
            opened: None,
            previous: None,
            kernel_threads: None,
            users: None,
            proc: proc.to_owned(),
            window,
            metrics,
        };
        if !measurer.is_capture {
            measurer.open();
            measurer.close();
        }
        Ok(measurer)
    }

    /// The selector.
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Whether the procfs is a capture, whose values do not change: there is no
    /// need to wait for the end of a window.
    pub fn is_capture(&self) -> bool {
        self.is_capture
    }

    /// Whether kernel threads are measured as well, from the next window on. Their rows follow
    /// those of the images; they count in the total.
    pub fn set_kernel_threads(&mut self, measured: bool) {
        if measured != self.kernel_threads.is_some() {
            self.kernel_threads = measured.then(|| KernelThreads::new(&self.proc));
        }
    }

    /// Reads the values of these groups from the next window on. A change starts the counting of
    /// starts, exits and exited processes again.
    ///
    /// # Errors
    /// When the procfs cannot be opened.
    pub fn set_groups(&mut self, metrics: MetricGroups) -> Result<(), Error> {
        if metrics == self.metrics {
            return Ok(());
        }
        self.sampler = sampler(&self.proc, self.window, metrics, &self.selector)?;
        self.metrics = metrics;
        if !self.is_capture {
            // For rates; the readings of the last window are kept.
            let previous = self.previous.take();
            self.open();
            self.close();
            self.previous = previous.or(self.previous.take());
        }
        Ok(())
    }

    /// Determines the owners of processes, from the next window on.
    pub fn set_owners(&mut self) {
        self.users.get_or_insert_with(|| Users::read(&self.proc));
    }

    /// Sets the length of the following windows.
    pub fn set_window(&mut self, window: Duration) {
        // The options limit it to less.
        let _ = self.sampler.set_window(window);
    }

    /// Opens a window and returns the time at which to close it.
    pub fn open(&mut self) -> Instant {
        let opened = Instant::now();
        if let Some(sample) = self.sampler.last_sample() {
            let has_processes =
                |name: &str| sample.image(name).is_some_and(|usage| usage.processes > 0);
            let ended = self.selector.end_unused(has_processes);
            if let Some(previous) = &mut self.previous {
                previous.images.retain(|name, _| !ended.contains(name));
            }
            let ids: Vec<_> = ended.iter().filter_map(|name| self.sampler.image_id(name)).collect();
            self.sampler.remove_images(ids);
        }
        if self.selector.update_users() {
            self.sampler.reclassify_all();
        }
        if let Some(threads) = self.kernel_threads.as_mut().filter(|_| !self.is_capture) {
            threads.open();
        }
        let window = self.sampler.open_with(|candidate, images| {
            self.selector.classify(candidate, |name| images.add(name));
        });
        let window = window.detach();
        let deadline = window.deadline();
        self.opened = Some((opened, window));
        deadline
    }

    /// Closes the window and returns its rows. Opens one before if none is open.
    pub fn close(&mut self) -> Snapshot {
        let Some((opened, window)) = self.opened.take() else {
            self.open();
            return self.close();
        };
        let now = Instant::now();
        let sample = match self.sampler.attach(window) {
            Some(window) => window.close(),
            None => self.sampler.measure(),
        };
        let time = SystemTime::now();
        let previous = self.previous.take().unwrap_or_default();
        let seconds = previous.at.map(|at| now.saturating_duration_since(at).as_secs_f64());
        let growth = |before: Option<&Usage>, after: &Usage| {
            // The rate in a capture is unknown, not 0.
            let seconds = seconds.filter(|seconds| *seconds > 0.0 && !self.is_capture);
            let both = before.zip(seconds);
            both.map_or_else(Growth::default, |(before, seconds)| {
                Growth::between(before, after, seconds)
            })
        };
        let without_cpu_of_capture = |mut numbers: Usage| {
            if self.is_capture {
                numbers.cpu_percent = None;
            }
            numbers
        };
        let image = |name: &str| {
            let numbers = sample.image(name).copied().unwrap_or_default();
            Row {
                images: Some(name)
                    .filter(|name| *name != TOTAL)
                    .map(str::to_owned)
                    .into_iter()
                    .collect(),
                id: None,
                numbers: without_cpu_of_capture(numbers),
                growth: growth(previous.images.get(name), &numbers),
            }
        };
        let mut images: Vec<Row> = self.selector.images().map(image).collect();
        let mut total = image(TOTAL);
        let health = *sample.health();

        let mut current = Previous { at: Some(now), ..Previous::default() };
        // All images, with or without processes, so that an image has rates
        // from its first process on.
        let names = self.selector.images().chain(iter::once(TOTAL)).map(str::to_owned);
        let numbers = images.iter().chain([&total]).map(|row| row.numbers);
        current.images = names.zip(numbers).collect();
        let mut processes = Vec::new();
        for process in sample.processes() {
            let key = (process.pid, process.starttime);
            let numbers = process.usage;
            current.processes.insert(key, numbers);
            processes.push(Row {
                images: process.images().filter(|name| *name != TOTAL).map(str::to_owned).collect(),
                id: Some(self.selector.identity(process.pid, process.starttime)),
                numbers: without_cpu_of_capture(numbers),
                growth: growth(previous.processes.get(&key), &numbers),
            });
        }
        if let Some(threads) = &mut self.kernel_threads {
            let threads = threads.close();
            kernel_threads::add_images(&threads, &mut images, &mut total);
            processes.extend(threads);
        }
        let boot = BootInfo::read(&self.proc);
        for row in &mut processes {
            let has_age = row.numbers.oldest.is_some();
            let Some(id) = &mut row.id else { continue };
            if let Some(users) = &self.users {
                id.owner = id.uid.map(|uid| users.name(uid));
            }
            id.state = id.state.or(row.numbers.states.and_then(state));
            // 0: unknown, except for the first processes.
            let is_kernel_thread = matches!(id.comm, Some(CommName::KernelThread(_)));
            if id.starttime != 0 || has_age || is_kernel_thread {
                id.started = boot.started(id.starttime);
            }
        }
        processes.sort_by_key(|row| row.id.as_ref().map(|id| id.pid));
        let pid_of = |row: &Row| row.id.as_ref().map(|id| id.pid);
        self.selector.retain(|pid| processes.binary_search_by_key(&Some(pid), pid_of).is_ok());
        self.previous = Some(current);
        let window = now.saturating_duration_since(opened);
        let window = Some(window).filter(|_| !self.is_capture);
        Snapshot { time, window, images, processes, total, health }
    }
}

/// A sampler for these images.
fn sampler(
    proc: &Path,
    window: Duration,
    metrics: MetricGroups,
    selector: &Selector,
) -> Result<Sampler, Error> {
    let mut sampler = Sampler::builder()
        .proc_root(proc)
        .window(window)
        // One window: counters that begin with it would show nothing.
        .io_start(IoStart::ProcessStart)
        .metrics(metrics)
        .fields(selector.fields())
        .keep_texts(false)
        .build()?;
    // Images that the sampler knows from the start begin at 0, even if
    // their first process joins by exec.
    sampler.set_images(iter::once(TOTAL).chain(selector.images()));
    Ok(sampler)
}

/// The state of one process, as in `/proc/PID/stat`.
fn state(counts: StateCounts) -> Option<u8> {
    let StateCounts { running, sleeping, disk, stopped, .. } = counts;
    let states = [(running, b'R'), (sleeping, b'S'), (disk, b'D'), (stopped, b'T')];
    states.into_iter().find(|(count, _)| *count > 0).map(|(_, state)| state)
}

/// The command lines of all processes except this one, by pid. Processes
/// without a command line are omitted.
///
/// # Errors
/// When the procfs cannot be opened.
pub fn command_lines(proc: &Path) -> Result<BTreeMap<u32, Vec<u8>>, Error> {
    let texts = process_texts(proc, &Rules::default())?;
    Ok(texts.into_iter().map(|(pid, text)| (pid, text.command_line().to_vec())).collect())
}

/// The same with the texts that the rules are about.
///
/// # Errors
/// When the procfs cannot be opened.
pub fn process_texts(proc: &Path, rules: &Rules) -> Result<BTreeMap<u32, OwnedText>, Error> {
    let self_pid = self_pid(proc);
    let mut texts = texts_of_rules(proc, rules);
    let mut sampler = Sampler::builder().proc_root(proc).fields(texts.fields()).build()?;
    let mut found = BTreeMap::new();
    // Only to see each process once.
    let _ = sampler.open_with(|process, _| {
        if Some(process.pid) != self_pid {
            found.insert(process.pid, OwnedText::from(texts.of(process)));
        }
    });
    Ok(found)
}

/// The means to get the texts that rules are about.
pub(crate) fn texts_of_rules(proc: &Path, rules: &Rules) -> ProcessTexts {
    let mut texts = ProcessTexts::new(proc);
    if let Err(error) = texts.set_rules(rules) {
        terminal::eprint_line(&format!("psstat-dump: cannot read the names of users: {error}"));
    }
    texts
}

/// Whether a directory is a capture instead of a procfs.
pub fn is_capture(proc: &Path) -> bool {
    procfs::is_procfs(proc).is_ok_and(|is_procfs| !is_procfs)
}

//! From processes to rows: one window after the other.
//!
//! CPU is averaged over a window, between two readings of each process's CPU
//! time. io is read at the end of each window, so that a rate needs the end
//! of the window before: a first cycle without any waiting gives the one that
//! the first rates start from. A process that came between the two has no
//! rates and no CPU yet; its image's rates include what it did.

pub mod average;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use psstat_sampler::{Error, Health, ImageId, IoCounters, Numbers, Options, Sampler};
use psstat_support::procfs;

use crate::selector::{Selector, TOTAL};
use crate::table::row::Row;

/// What one window gave.
#[derive(Debug)]
pub struct Snapshot {
    /// When it ended.
    pub time: SystemTime,
    /// How long it was: what lay between the readings of CPU time. `None` for
    /// a copy of a procfs, in which no time passes.
    pub window: Option<Duration>,
    /// One row an image, by its number.
    pub images: Vec<Row>,
    /// One row a process, by pid.
    pub processes: Vec<Row>,
    /// All of them together, nothing counted twice.
    pub total: Row,
    /// What could not be read.
    pub health: Health,
}

/// Measures, as often as it is asked to.
#[derive(Debug)]
pub struct Measurer {
    sampler: Sampler,
    chooser: Selector,
    /// Whether the procfs is a copy in a folder.
    is_capture: bool,
    opened: Option<Instant>,
    before: Option<PreviousIo>,
}

/// io at the end of a window, by image and by process (pid, start time).
#[derive(Debug, Default)]
struct PreviousIo {
    at: Option<Instant>,
    images: Vec<Option<IoCounters>>,
    processes: HashMap<(u32, u64), IoCounters>,
}

impl Measurer {
    /// Reads the procfs `proc` in windows of this length, and takes from it
    /// what `chooser` chooses.
    ///
    /// # Errors
    /// When the procfs cannot be opened.
    pub fn new(proc: &Path, window: Duration, chooser: Selector) -> Result<Measurer, Error> {
        let options = Options { proc_root: proc.to_owned(), window, ..Options::default() };
        let mut sampler = Sampler::new(options)?;
        // Known from the start, they begin at 0 even if their first process
        // comes to them by exec.
        sampler.reclassify_all(chooser.images().count() + 1);
        let mut measurer =
            Measurer { sampler, chooser, is_capture: is_capture(proc), opened: None, before: None };
        if !measurer.is_capture {
            measurer.open();
            measurer.close();
        }
        Ok(measurer)
    }

    /// What is chosen.
    pub fn chooser(&self) -> &Selector {
        &self.chooser
    }

    /// Whether what is read is a copy of a procfs, in which no time passes: a
    /// window need not be waited for.
    pub fn is_capture(&self) -> bool {
        self.is_capture
    }

    /// Opens a window, and gives the moment at which it is to be closed.
    pub fn open(&mut self) -> Instant {
        self.opened = Some(Instant::now());
        self.sampler.open(&mut |candidate, images| self.chooser.classify(candidate, images))
    }

    /// Closes the window and gives its rows.
    pub fn close(&mut self) -> Snapshot {
        let now = Instant::now();
        let sample = self.sampler.close();
        let time = SystemTime::now();
        let before = self.before.take().unwrap_or_default();
        let seconds = before.at.map(|at| now.saturating_duration_since(at).as_secs_f64());
        let rates = |was: Option<IoCounters>, is: Option<IoCounters>| {
            // A copy does not move: that would be no rate of 0.
            let seconds = seconds.filter(|seconds| *seconds > 0.0 && !self.is_capture)?;
            Some((is?.saturating_sub(was?), seconds))
        };
        let timely = |mut numbers: Numbers| {
            if self.is_capture {
                numbers.pcpu = None;
            }
            numbers
        };
        let image = |id: ImageId| {
            let numbers = sample.image(id);
            let was = before.images.get(id.index()).copied().flatten();
            Row {
                images: self.chooser.name(id).map(str::to_owned).into_iter().collect(),
                who: None,
                numbers: timely(numbers),
                io_done: rates(was, numbers.io),
            }
        };
        let images: Vec<Row> = self.chooser.images().map(|(id, _)| image(id)).collect();
        let total = image(TOTAL);
        let health = sample.health;

        let mut after = PreviousIo { at: Some(now), ..PreviousIo::default() };
        // The known ones, with or without a process, so that one that was
        // there without processes has rates from its first process on.
        after.images.push(total.numbers.io);
        after.images.extend(images.iter().map(|row| row.numbers.io));
        let mut processes = Vec::new();
        for process in self.sampler.processes() {
            let key = (process.pid, process.starttime);
            let numbers = process.numbers;
            if let Some(io) = numbers.io {
                after.processes.insert(key, io);
            }
            processes.push(Row {
                images: process
                    .images
                    .iter()
                    .filter_map(|image| self.chooser.name(*image).map(str::to_owned))
                    .collect(),
                who: Some(self.chooser.identity(process.pid, process.starttime)),
                numbers: timely(numbers),
                io_done: rates(before.processes.get(&key).copied(), numbers.io),
            });
        }
        processes.sort_by_key(|row| row.who.as_ref().map(|who| who.pid));
        let pid_of = |row: &Row| row.who.as_ref().map(|who| who.pid);
        self.chooser.retain(|pid| processes.binary_search_by_key(&Some(pid), pid_of).is_ok());
        self.before = Some(after);
        let window = self.opened.take().map(|opened| now.saturating_duration_since(opened));
        let window = window.filter(|_| !self.is_capture);
        Snapshot { time, window, images, processes, total, health }
    }
}

/// The command lines of all processes but this one, by pid; those that have
/// none are left out.
///
/// # Errors
/// When the procfs cannot be opened.
pub fn command_lines(proc: &Path) -> Result<BTreeMap<u32, Vec<u8>>, Error> {
    let own = own_pid(proc);
    let mut sampler = Sampler::new(Options { proc_root: proc.to_owned(), ..Options::default() })?;
    let mut texts = BTreeMap::new();
    sampler.open(&mut |process, _| {
        if Some(process.pid) != own {
            texts.insert(process.pid, process.args_joined.to_vec());
        }
    });
    Ok(texts)
}

/// Whether a folder is no procfs but, it seems, a copy of one.
pub fn is_capture(proc: &Path) -> bool {
    procfs::is_procfs(proc).is_ok_and(|is_procfs| !is_procfs)
}

/// This process's pid as a procfs knows it, which may be that of another pid
/// namespace. A copy of a procfs knows none.
pub fn own_pid(proc: &Path) -> Option<u32> {
    if is_capture(proc) {
        return None;
    }
    std::fs::read_link(proc.join("self")).ok()?.to_str()?.parse().ok()
}

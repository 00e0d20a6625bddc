//! The sampler: one cycle after the other.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Resource;

use crate::accounting::aggregate::{self, Aggregator, Inputs};
use crate::accounting::counters::IoCounters;
use crate::accounting::ledger::{Ledger, Parent};
use crate::image::ImageId;
use crate::options::{FastPaths, Options};
use crate::read::command_line::CmdlineReader;
use crate::read::fd_sockets::FdSocketScanner;
use crate::read::proc_dir::ProcDirReader;
use crate::read::process::{self, FdBudget};
use crate::read::process_list::ProcessList;
use crate::read::procfs::Procfs;
use crate::read::socket_tables::SocketTables;
use crate::sample::{Health, ProcessSample, Sample};
use crate::state::process_table::ProcessTable;
use crate::state::process_tree::ProcessTree;
use crate::state::sockets::{SocketOwners, Table, UnownedSockets};
use crate::state::tracked::{TrackedProcesses, TrackedState};
use crate::steps::discover::Urgency;
use crate::steps::established::Namespaces;
use crate::steps::socket_owners::FdScan;

/// A process that may belong to images.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its pid in the procfs that is read.
    pub pid: u32,
    /// Its parent's pid; 0 when there is none to be seen.
    pub ppid: u32,
    /// `/proc/PID/cmdline` as it is, arguments ended by NUL. Never empty.
    pub command_line: &'a [u8],
    /// The arguments joined by one space, without a closing one.
    pub args_joined: &'a [u8],
}

/// Tells which images a process belongs to, by adding them to the list. Called
/// for new processes and again from time to time, since a process can become
/// another program.
pub type Classify<'c> = dyn FnMut(&Candidate<'_>, &mut Vec<ImageId>) + 'c;

/// Reads live processes and turns two readings into numbers an image.
///
/// A cycle is [`open`](Sampler::open), some waiting by the caller, and
/// [`close`](Sampler::close). What is remembered from cycle to cycle makes
/// both cheap and io counters continuous, so keep one sampler for as long as
/// numbers are wanted.
#[derive(Debug)]
pub struct Sampler {
    pub(crate) procfs: Procfs,
    proc: PathBuf,
    window: Duration,
    patience: Duration,
    /// Counts from 1.
    pub(crate) cycle: u32,
    /// In the first cycle every process counts as having been there before.
    pub(crate) is_first_cycle: bool,
    /// When the open window is to be closed.
    due: Option<Instant>,

    pub(crate) roster: ProcessList,
    /// For folders of processes.
    pub(crate) lister: ProcDirReader,
    pub(crate) command_lines: Option<CmdlineReader>,
    pub(crate) socket_finder: FdSocketScanner,
    pub(crate) tables: SocketTables,
    pub(crate) budget: usize,
    pub(crate) keep: FdBudget,

    pub(crate) census: ProcessTable,
    pub(crate) roll: TrackedProcesses,
    pub(crate) forest: ProcessTree,
    pub(crate) tree_dirty: bool,
    /// A tracked process was found gone since the last listing.
    pub(crate) exit_noticed: bool,
    /// io of those that belong to no image yet, by pid, while they are young.
    pub(crate) recent: HashMap<u32, IoCounters>,
    /// Tracked zombies, by pid: their children have other parents.
    pub(crate) zombies: Vec<u32>,
    pub(crate) owners: SocketOwners,
    pub(crate) namespaces: Namespaces,
    pub(crate) fd_scan: FdScan,
    /// The tables that could not be read in this cycle.
    pub(crate) unread_tables: Vec<Table>,
    /// The cycle in which each image was first heard of.
    pub(crate) image_first_cycle: Vec<u32>,
    pub(crate) ledger: Ledger,
    reckoner: Aggregator,
    sample: Sample,
    pub(crate) health: Health,

    // Buffers, empty between the steps.
    pub(crate) requested: Vec<usize>,
    pub(crate) images_found: Vec<ImageId>,
    pub(crate) text: Vec<u8>,
    pub(crate) unowned_sockets: UnownedSockets,
}

/// Why there is no sampler.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The procfs cannot be opened.
    #[error("cannot read {}: {source}", path.display())]
    Procfs {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The thread that reads command lines cannot be started.
    #[error("cannot start the thread that reads command lines: {0}")]
    Thread(std::io::Error),
}

/// Descriptors left for everything but processes' files.
const RESERVE: usize = 64;

impl Sampler {
    /// Opens the procfs and finds out which faster ways of reading work.
    ///
    /// # Errors
    /// When the procfs cannot be opened, or a thread not started.
    pub fn new(options: Options) -> Result<Sampler, Error> {
        let procfs = Procfs::open(&options.proc_root, options.fast_paths).map_err(|errno| {
            Error::Procfs { path: options.proc_root.clone(), source: errno.into() }
        })?;
        let command_lines = CmdlineReader::new(&options.proc_root, options.cmdline_timeout)
            .map_err(|errno| Error::Thread(errno.into()))?;
        let tables = SocketTables::new(&procfs);
        let roster = ProcessList::new(&procfs);
        let budget = options.max_open_fds.unwrap_or(usize::MAX).min(fd_limit());
        Ok(Sampler {
            procfs,
            proc: options.proc_root,
            window: options.window,
            patience: options.cmdline_timeout,
            cycle: 0,
            is_first_cycle: true,
            due: None,
            roster,
            lister: ProcDirReader::new(),
            command_lines: Some(command_lines),
            socket_finder: FdSocketScanner::new(),
            tables,
            budget,
            keep: FdBudget::split(budget, 0),
            census: ProcessTable::default(),
            roll: TrackedProcesses::default(),
            forest: ProcessTree::default(),
            tree_dirty: true,
            exit_noticed: false,
            recent: HashMap::new(),
            zombies: Vec::new(),
            owners: SocketOwners::default(),
            namespaces: Namespaces::default(),
            fd_scan: FdScan::default(),
            unread_tables: Vec::new(),
            image_first_cycle: Vec::new(),
            ledger: Ledger::default(),
            reckoner: Aggregator::default(),
            sample: Sample::default(),
            health: Health::default(),
            requested: Vec::new(),
            images_found: Vec::new(),
            text: Vec::new(),
            unowned_sockets: UnownedSockets::default(),
        })
    }

    /// Begins a cycle: finds the processes, asks `classify` about those that
    /// are due, and reads everyone's CPU time. Gives the moment at which the
    /// window is to be closed.
    pub fn open(&mut self, classify: &mut Classify<'_>) -> Instant {
        // 15 s cycles come to the end of u32 after 2,000 years.
        self.cycle = self.cycle.saturating_add(1);
        self.health = Health::default();
        if self.command_lines.is_none() {
            // Lost in a cycle that panicked.
            self.command_lines = CmdlineReader::new(&self.proc, self.patience).ok();
        }
        self.refresh_processes();
        self.read_due_cmdlines(Urgency::Urgent, classify);
        self.rebuild_process_tree();
        let due = Instant::now() + self.window;
        self.open_cpu_window();
        self.read_first_io();
        // The second that has to pass anyway serves what can be done in it.
        self.read_due_cmdlines(Urgency::Scheduled, classify);
        self.rebuild_process_tree();
        self.scan_round_robin(due - self.window / 10);
        self.is_first_cycle = false;
        self.due = Some(due);
        due
    }

    /// Ends a cycle: reads everyone's CPU time again and all that counts at one
    /// moment, and reckons. Call it when the window is due; later, and CPU is
    /// averaged over the longer time.
    ///
    /// Without [`open`](Sampler::open) before, it gives the last sample again.
    pub fn close(&mut self) -> &Sample {
        if self.due.take().is_none() {
            return &self.sample;
        }
        self.close_cpu_window();
        self.read_io();
        self.read_gauges();
        self.scan_stale();
        self.finish_round_robin();
        self.read_tables();
        self.finish_window();
        self.rebuild_process_tree();
        self.health.processes = self.census.all.len() as u64;
        self.health.denied.command_line =
            self.census.all.iter().filter(|seen| seen.denied).count() as u64;
        self.health.blocked = self.census.all.iter().filter(|seen| seen.blocked).count() as u64;
        let mut reckoner = std::mem::take(&mut self.reckoner);
        let mut sample = std::mem::take(&mut self.sample);
        sample.health = self.health;
        reckoner.aggregate(&self.known(), &mut sample);
        (self.reckoner, self.sample) = (reckoner, sample);
        &self.sample
    }

    /// Makes every process be classified anew in the next cycle, because the
    /// rules have changed. `images` is how many there are now; images of before
    /// keep their numbers and their counters.
    pub fn reclassify_all(&mut self, images: usize) {
        for seen in &mut self.census.all {
            // Before the coming cycle: pressing.
            seen.next_read = self.cycle;
        }
        self.ensure_images(images, self.cycle.saturating_add(1));
    }

    /// The last cycle's numbers again.
    pub fn sample(&self) -> &Sample {
        &self.sample
    }

    /// Puts the sampler in order after a panic in the middle of a cycle, a
    /// defect of its own or of `classify`. Counters are kept; what the lost
    /// cycle had begun is done again in the next one.
    pub fn recover_after_panic(&mut self) {
        self.due = None;
        self.tree_dirty = true;
        self.namespaces.changed = true;
        for (_, tracked) in self.roll.iter_mut() {
            tracked.sockets.stale = true;
        }
        self.reclassify_all(self.image_first_cycle.len());
    }

    /// The processes whose command line blocks its reader.
    pub fn blocked_pids(&self) -> impl Iterator<Item = u32> {
        self.census.all.iter().filter(|seen| seen.blocked).map(|seen| seen.pid)
    }

    /// The processes of the last sample, in no particular order.
    pub fn processes(&self) -> impl Iterator<Item = ProcessSample<'_>> {
        aggregate::processes(self.known())
    }

    /// Which of the faster ways of reading are in use.
    pub fn fast_paths(&self) -> FastPaths {
        FastPaths { sock_diag: self.tables.uses_sock_diag(), ..self.procfs.fast }
    }

    /// How many descriptors may be kept open.
    pub fn descriptor_budget(&self) -> usize {
        self.budget
    }

    /// Makes room for so many images; the new ones begin in cycle `born`.
    pub(crate) fn ensure_images(&mut self, count: usize, born: u32) {
        if self.image_first_cycle.len() < count {
            self.image_first_cycle.resize(count, born);
            self.ledger.ensure_images(count);
        }
    }

    fn known(&self) -> Inputs<'_> {
        Inputs {
            images: self.image_first_cycle.len(),
            roll: &self.roll,
            ledger: &self.ledger,
            owners: &self.owners,
            unread: &self.unread_tables,
            page_size: self.procfs.page_size,
        }
    }

    /// Decides on those that are gone, and frees their places.
    pub(crate) fn finish_window(&mut self) {
        let (roll, procfs) = (&self.roll, &self.procfs);
        let mut closed = std::mem::take(&mut self.requested);
        closed.clear();
        self.ledger.resolve_exits(
            |slot| {
                let living = roll.get(slot).filter(|tracked| tracked.life != TrackedState::Exited);
                process::full_stat(procfs, living?.key, |stat| Parent::from(stat)).value()
            },
            |slot| roll.get(slot)?.parent,
            |slot| closed.push(slot as usize),
        );
        for &slot in &closed {
            let slot = slot as u32;
            if let Some(tracked) = self.roll.get(slot) {
                let pid = tracked.key.pid;
                if let Some(seen) = self.census.find_mut(pid).filter(|s| s.slot == Some(slot)) {
                    seen.slot = None;
                    // It was found gone after the listing; the next one tells.
                    seen.next_read = u32::MAX;
                }
            }
            self.roll.remove(slot);
            self.tree_dirty = true;
        }
        self.ledger.truncate(self.roll.end());
        closed.clear();
        self.requested = closed;
    }
}

/// The soft limit of descriptors, less a reserve.
fn fd_limit() -> usize {
    let limit = rustix::process::getrlimit(Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    limit.saturating_sub(RESERVE)
}

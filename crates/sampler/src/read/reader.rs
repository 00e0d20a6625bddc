//! The reads of one process that give a number each.

use psstat_proc_parse::{Stat, Statm};

use super::outcome::Outcome;
use super::proc_dir::{ProcDirReader, ProcessKey};
use super::process::{self, FdAllowance, ProcessFds};
use super::procfs::Procfs;

/// A process whose numbers are read. What is read by its path may be the next
/// process's with this pid; [`statm`](Self::statm), read after it, tells that.
#[derive(Debug)]
pub(crate) struct ProcessReader<'a> {
    pub(crate) procfs: &'a Procfs,
    pub(crate) who: ProcessKey,
    pub(crate) handles: &'a mut ProcessFds,
    pub(crate) keep: FdAllowance,
    pub(crate) lister: &'a mut ProcDirReader,
    /// What is known of its descriptors already.
    pub(crate) descriptors: Option<Outcome<u64>>,
}

impl ProcessReader<'_> {
    /// The number of open descriptors.
    pub(crate) fn descriptors(&mut self) -> Outcome<u64> {
        self.descriptors.unwrap_or_else(|| {
            self.handles.descriptors(self.procfs, self.who, self.keep, self.lister)
        })
    }

    /// The number of threads.
    pub(crate) fn threads(&mut self) -> Outcome<u64> {
        match self.procfs.fast.thread_count_from_links {
            true => self.handles.threads(self.procfs, self.who, self.keep),
            false => self.stat(|stat| stat.num_threads),
        }
    }

    /// A field of `/proc/PID/stat`, opened for this read: the dearest of them,
    /// for the kernel walks all threads.
    pub(crate) fn stat(&mut self, field: impl FnOnce(&Stat<'_>) -> u64) -> Outcome<u64> {
        process::stat_by_path(self.procfs, self.who.pid, field)
    }

    /// Memory in pages; all zero for a zombie and for a leader that has ended
    /// while other threads live.
    pub(crate) fn statm(&mut self) -> Outcome<Statm> {
        self.handles.statm(self.procfs, self.who, self.keep)
    }
}

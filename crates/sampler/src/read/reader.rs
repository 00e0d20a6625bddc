//! The reads of one process that give a number each.

use psstat_proc_parse::{Stat, Statm};

use super::outcome::Outcome;
use super::proc_dir::ProcDirReader;
use super::process::{self, FdAllowance, ProcessFds};
use super::procfs::Procfs;
use crate::ids::ProcessKey;

/// A process keyse numbers are read. What is read by its path may be the next
/// process's with this pid; [`statm`](Self::statm), read after it, tells that.
#[derive(Debug)]
pub(crate) struct ProcessReader<'a> {
    pub(crate) procfs: &'a Procfs,
    pub(crate) key: ProcessKey,
    pub(crate) handles: &'a mut ProcessFds,
    pub(crate) allowance: FdAllowance,
    pub(crate) dir_reader: &'a mut ProcDirReader,
    /// What is known of its descriptors already.
    pub(crate) fds: Option<Outcome<u64>>,
}

impl ProcessReader<'_> {
    /// The number of open descriptors.
    pub(crate) fn descriptors(&mut self) -> Outcome<u64> {
        self.fds.unwrap_or_else(|| {
            self.handles.descriptors(self.procfs, self.key, self.allowance, self.dir_reader)
        })
    }

    /// The number of threads.
    pub(crate) fn threads(&mut self) -> Outcome<u64> {
        if self.procfs.fast.thread_count_from_links {
            self.handles.threads(self.procfs, self.key, self.allowance)
        } else {
            self.stat(|stat| stat.num_threads)
        }
    }

    /// A field of `/proc/PID/stat`, opened for this read: the most expensive
    /// of them, since the kernel walks all threads.
    pub(crate) fn stat(&mut self, field: impl FnOnce(&Stat<'_>) -> u64) -> Outcome<u64> {
        process::stat_by_path(self.procfs, self.key.pid, field)
    }

    /// Memory in pages; all zero for a zombie and for a leader that has ended
    /// while other threads live.
    pub(crate) fn statm(&mut self) -> Outcome<Statm> {
        self.handles.statm(self.procfs, self.key, self.allowance)
    }
}

//! The reads of one process that give one value each.

use psstat_proc_parse::{Stat, Statm};

use super::outcome::Outcome;
use super::proc_dir::ProcDirReader;
use super::process::{self, Access, ProcessFds};

/// A process whose values are read. A value that is read by path may be that of the next process
/// with this pid; [`statm`](Self::statm), read afterwards, shows that.
#[derive(Debug)]
pub(crate) struct ProcessReader<'a> {
    pub(crate) access: Access<'a>,
    pub(crate) handles: &'a mut ProcessFds,
    pub(crate) dir_reader: &'a mut ProcDirReader,
    /// The number of its descriptors, if it was read before.
    pub(crate) fds: Option<Outcome<u64>>,
}

impl ProcessReader<'_> {
    /// The number of open descriptors.
    pub(crate) fn descriptors(&mut self) -> Outcome<u64> {
        self.fds.unwrap_or_else(|| self.handles.descriptors(self.access, self.dir_reader))
    }

    /// The number of threads.
    pub(crate) fn threads(&mut self) -> Outcome<u64> {
        if self.access.procfs.fast.thread_count_from_links {
            self.handles.threads(self.access)
        } else {
            self.stat(|stat| stat.num_threads)
        }
    }

    /// A field of `/proc/PID/stat`, opened for this read: the most expensive file, since the
    /// kernel walks all threads.
    pub(crate) fn stat(&mut self, field: impl FnOnce(&Stat<'_>) -> u64) -> Outcome<u64> {
        process::stat_by_path(self.access.procfs, self.access.key.pid, field)
    }

    /// Memory in pages; all zero for a zombie and for a leader that has exited while other
    /// threads live.
    pub(crate) fn statm(&mut self) -> Outcome<Statm> {
        self.handles.statm(self.access)
    }
}

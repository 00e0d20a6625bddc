//! The reads of one process that give one value each.

use psstat_proc_parse::{Stat, Statm};

use super::blocking::StatOf;
use super::outcome::Outcome;
use super::proc_dir::ProcDirReader;
use super::process::{Access, ProcessFds};
use super::reads::Reads;

/// A process whose values are read. A value that is read by path may be that of the next process
/// with this pid; [`statm`](Self::statm), read afterwards, shows that.
#[derive(Debug)]
pub(crate) struct ProcessReader<'a> {
    pub(crate) reads: &'a mut Reads,
    pub(crate) access: Access,
    pub(crate) handles: &'a mut ProcessFds,
    pub(crate) dir_reader: &'a mut ProcDirReader,
    /// The number of its descriptors, if it was read before.
    pub(crate) fds: Option<Outcome<u64>>,
}

impl ProcessReader<'_> {
    /// The number of open descriptors.
    pub(crate) async fn descriptors(&mut self) -> Outcome<u64> {
        match self.fds {
            Some(fds) => fds,
            None => self.handles.descriptors(self.reads, self.access, self.dir_reader).await,
        }
    }

    /// The number of threads.
    pub(crate) async fn threads(&mut self) -> Outcome<u64> {
        if self.reads.procfs.fast.thread_count_from_links {
            self.handles.threads(self.reads, self.access).await
        } else {
            self.stat(|stat| stat.num_threads).await
        }
    }

    /// A field of `/proc/PID/stat`, opened for this read: the most expensive file, since the
    /// kernel walks all threads.
    pub(crate) async fn stat(&mut self, field: impl FnOnce(&Stat<'_>) -> u64) -> Outcome<u64> {
        let pid = self.access.key.pid;
        self.reads.stat(pid, StatOf::Pid(pid), field).await
    }

    /// Memory in pages; all zero for a zombie and for a leader that has exited while other
    /// threads live.
    pub(crate) async fn statm(&mut self) -> Outcome<Statm> {
        self.handles.statm(self.reads, self.access).await
    }
}

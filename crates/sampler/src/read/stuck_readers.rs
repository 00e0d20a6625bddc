//! Reader threads that are stuck in a read, each with the process whose file it reads.

use std::thread::JoinHandle;

use super::blocking::Lock;
use crate::health::BlockedRead;

/// How many threads may be stuck.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// On processes of one user.
    pub(crate) per_user: usize,
    /// In total.
    pub(crate) total: usize,
}

impl Limits {
    /// A stuck thread takes about 32 KiB of memory, half of it the kernel's. The processes of
    /// one user, blocked on purpose or by a server that does not respond, leave room for those
    /// of 15 others.
    pub(crate) const DEFAULT: Limits = Limits { per_user: 32, total: 512 };
}

/// The stuck threads.
#[derive(Debug)]
pub(crate) struct StuckReaders {
    limits: Limits,
    readers: Vec<StuckReader>,
}

#[derive(Debug)]
struct StuckReader {
    read: BlockedRead,
    lock: Lock,
    /// The user of the process; `None` if that could not be read.
    user: Option<u32>,
    thread: JoinHandle<()>,
}

impl StuckReaders {
    pub(crate) fn new(limits: Limits) -> StuckReaders {
        StuckReaders { limits, readers: Vec::new() }
    }

    pub(crate) fn add(
        &mut self,
        read: BlockedRead,
        lock: Lock,
        user: Option<u32>,
        thread: JoinHandle<()>,
    ) {
        self.readers.push(StuckReader { read, lock, user, thread });
    }

    /// Removes the threads that have finished.
    pub(crate) fn review(&mut self) {
        self.readers.retain(|reader| !reader.thread.is_finished());
    }

    /// Whether a thread was stuck on this process at the last [`review`](Self::review).
    pub(crate) fn is_stuck_on(&self, pid: u32) -> bool {
        self.readers.iter().any(|reader| reader.read.pid == pid)
    }

    /// Whether it was stuck on this lock of the process.
    pub(crate) fn is_stuck_on_lock(&self, pid: u32, lock: Lock) -> bool {
        self.readers.iter().any(|reader| reader.read.pid == pid && reader.lock == lock)
    }

    /// The reads in which threads are stuck.
    pub(crate) fn reads(&self) -> impl Iterator<Item = BlockedRead> {
        self.readers.iter().map(|reader| reader.read)
    }

    /// Whether the limit of a user can be reached; if not, users need not be read.
    pub(crate) fn any_user_at_limit(&self) -> bool {
        self.readers.len() >= self.limits.per_user
    }

    /// Whether the limit of this user is reached.
    pub(crate) fn is_user_at_limit(&self, user: Option<u32>) -> bool {
        self.readers.iter().filter(|reader| reader.user == user).count() >= self.limits.per_user
    }
}

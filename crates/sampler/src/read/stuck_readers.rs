//! Who hangs: the threads that were left behind with the command line that each
//! of them reads.

use std::thread::JoinHandle;

/// How many threads may hang.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// On processes of one user,
    pub(crate) per_user: usize,
    /// and in all.
    pub(crate) total: usize,
}

impl Limits {
    /// A thread that hangs takes about 32 KiB of memory, half of it the
    /// kernel's. One user's processes, made to hang or hanging on a server that
    /// does not answer, leave room for those of 15 others.
    pub(crate) const DEFAULT: Limits = Limits { per_user: 32, total: 512 };
}

/// The threads that were left behind.
#[derive(Debug)]
pub(crate) struct StuckReaders {
    limits: Limits,
    all: Vec<StuckReader>,
}

#[derive(Debug)]
struct StuckReader {
    pid: u32,
    /// The user whose process it is; none if that could not be read.
    user: Option<u32>,
    thread: JoinHandle<()>,
}

impl StuckReaders {
    pub(crate) fn new(limits: Limits) -> StuckReaders {
        StuckReaders { limits, all: Vec::new() }
    }

    /// A thread is left behind.
    pub(crate) fn add(&mut self, pid: u32, user: Option<u32>, thread: JoinHandle<()>) {
        self.all.push(StuckReader { pid, user, thread });
    }

    /// Lets those go that have come back.
    pub(crate) fn review(&mut self) {
        self.all.retain(|hung| !hung.thread.is_finished());
    }

    /// Whether a thread hangs on this pid's command line.
    pub(crate) fn is_stuck_on(&self, pid: u32) -> bool {
        self.all.iter().any(|hung| hung.pid == pid)
    }

    /// Whether no more may hang.
    pub(crate) fn is_full(&self) -> bool {
        self.all.len() >= self.limits.total
    }

    /// Whether some user may have its share; the others need not be asked for
    /// theirs.
    pub(crate) fn any_user_at_limit(&self) -> bool {
        self.all.len() >= self.limits.per_user
    }

    /// Whether no more may hang on processes of this user.
    pub(crate) fn is_full_for(&self, user: Option<u32>) -> bool {
        self.all.iter().filter(|hung| hung.user == user).count() >= self.limits.per_user
    }
}

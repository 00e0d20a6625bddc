//! Reads the files of one process that a cycle needs, through descriptors that are held open as
//! far as the fd budget allows.

use std::ffi::CStr;

use psstat_proc_parse::Statm;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::proc_dir::ProcDirReader;
use super::procfs::{
    O_PATH_DIR, ProcDir, ProcPath, Procfs, READ, links, pread_start, without_file,
};
use super::reads::Reads;
use crate::ids::ProcessKey;
use crate::options::FDS_PER_PROCESS;
use crate::read::outcome::Outcome;

/// The division of the fd budget, most useful files first: `io` of all processes, then their
/// `statm`, `fd` and `task`.
///
/// A descriptor saves an open per cycle, and always refers to its process: after the process has
/// exited, reads fail, and never give values of the next process with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FdBudget {
    /// Files per process.
    files: usize,
    /// The slots below this one have one more.
    extra_slots: usize,
}

impl FdBudget {
    /// Descriptors per process if the budget suffices.
    const FULL: usize = FDS_PER_PROCESS;

    /// Divides a budget among processes.
    pub(crate) fn split(budget: usize, processes: usize) -> FdBudget {
        let processes = processes.max(1);
        FdBudget { files: (budget / processes).min(Self::FULL), extra_slots: budget % processes }
    }

    /// The share of the process in this slot.
    pub(crate) fn at(self, slot: u32) -> FdAllowance {
        FdAllowance(self.files + usize::from((slot as usize) < self.extra_slots))
    }
}

/// The number of files of a process that may be held open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FdAllowance(usize);

impl FdAllowance {
    pub(crate) const NONE: FdAllowance = FdAllowance(0);

    pub(crate) fn covers(self, file: File) -> bool {
        (file as usize) < self.0
    }
}

/// A process to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) key: ProcessKey,
    pub(crate) allowance: FdAllowance,
}

/// The files of a process that may be held open, in the order of [`FdBudget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum File {
    Io,
    Statm,
    Fd,
    Task,
}

impl File {
    pub(crate) fn name(self) -> (&'static CStr, OFlags) {
        match self {
            File::Io => (c"io", READ),
            File::Statm => (c"statm", READ),
            File::Fd => (c"fd", O_PATH_DIR),
            File::Task => (c"task", O_PATH_DIR),
        }
    }
}

/// The descriptors of one process that are held open.
#[derive(Debug, Default)]
pub(crate) struct ProcessFds([Option<OwnedFd>; FdBudget::FULL]);

impl ProcessFds {
    /// The number of open descriptors.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// Closes the descriptors beyond the allowance.
    pub(crate) fn limit(&mut self, allowance: FdAllowance) {
        self.0.iter_mut().skip(allowance.0).for_each(|fd| *fd = None);
    }

    /// Takes the descriptor of `io` out, for a read through it. Give it back with
    /// [`return_io`](Self::return_io).
    pub(crate) fn take_io(&mut self) -> Option<OwnedFd> {
        self.0[File::Io as usize].take()
    }

    pub(crate) fn return_io(&mut self, io: Option<OwnedFd>) {
        self.0[File::Io as usize] = io;
    }

    /// `/proc/PID/statm`, in pages; all zero for a zombie and for a leader that has exited while
    /// other threads live.
    pub(crate) async fn statm(&mut self, reads: &mut Reads, access: Access) -> Outcome<Statm> {
        self.read_through(reads, access, File::Statm, read_statm).await
    }

    /// The number of open descriptors: the size of `/proc/PID/fd` if the kernel supports that,
    /// else by listing. Read [`statm`](Self::statm) afterwards to verify the process.
    pub(crate) async fn descriptors(
        &mut self,
        reads: &mut Reads,
        access: Access,
        dir_reader: &mut ProcDirReader,
    ) -> Outcome<u64> {
        if reads.procfs.fast.fd_count_from_size {
            let stat = self.stat_dir(reads, access, File::Fd).await;
            return stat.map(|stat| stat.st_size.cast_unsigned());
        }
        reads.open_dir(access.key, c"fd").await.and_then(|dir| dir_reader.count(&dir))
    }

    /// The number of threads: from the link count of `/proc/PID/task`, if that is reliable. Read
    /// [`statm`](Self::statm) afterwards to verify the process.
    pub(crate) async fn threads(&mut self, reads: &mut Reads, access: Access) -> Outcome<u64> {
        // The directory itself and `.` are links too. Nothing else shows the exit.
        self.stat_dir(reads, access, File::Task).await.and_then(|stat| match links(&stat) {
            0..=2 => Outcome::Exited,
            links => Outcome::Value(links - 2),
        })
    }

    /// Whether `fd` is held open: then reading it shows an exit of the process.
    pub(crate) fn keeps_fd(&self) -> bool {
        self.0[File::Fd as usize].is_some()
    }

    /// Whether `io` is held open.
    pub(crate) fn keeps_io(&self) -> bool {
        self.0[File::Io as usize].is_some()
    }

    /// Whether the process is alive according to `statm`, if that is held open.
    pub(crate) fn is_alive_by_statm(&self) -> Option<bool> {
        let statm = self.0[File::Statm as usize].as_ref()?;
        Some(!pread_start(statm, &mut [0; 256]).is_exited())
    }

    /// stat(2) of a directory: through the descriptor, or by path if none may be held open. The
    /// path may be that of the next process with this pid, but then the open `statm` shows that
    /// this one has exited.
    async fn stat_dir(
        &mut self,
        reads: &mut Reads,
        access: Access,
        file: File,
    ) -> Outcome<rustix::fs::Stat> {
        if self.0[File::Statm as usize].is_some() && !access.allowance.covers(file) {
            return reads.procfs.stat_file(ProcDir::Pid(access.key.pid), file.name().0);
        }
        self.read_through(reads, access, file, |dir| rustix::fs::fstat(dir).into()).await
    }

    /// Reads through the descriptor that is held open, or through one opened for this read.
    async fn read_through<T>(
        &mut self,
        reads: &mut Reads,
        access: Access,
        file: File,
        read: impl FnOnce(BorrowedFd<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        if let Some(held) = &self.0[file as usize] {
            return read(held.as_fd());
        }
        let (name, flags) = file.name();
        let opened = reads.open_in(access.key, name, flags).await;
        let keep = access.allowance.covers(file);
        opened.and_then(|opened| {
            let outcome = read_held(&mut self.0[file as usize], opened, keep, read);
            without_contents(&reads.procfs, outcome)
        })
    }
}

/// The outcome of reading an open file. In a capture an empty file does not mean that the process
/// has exited: a program that copied it was not permitted to read it.
pub(crate) fn without_contents<T>(procfs: &Procfs, outcome: Outcome<T>) -> Outcome<T> {
    if outcome.is_exited() && !procfs.is_live { Outcome::Denied } else { outcome }
}

fn read_statm(file: BorrowedFd<'_>) -> Outcome<Statm> {
    let mut buffer = [0; 256];
    pread_start(file, &mut buffer).and_then(|bytes| parsed(Statm::parse(bytes)))
}

/// Reads through a descriptor, and holds it open if that gives a value and it may be kept.
pub(crate) fn read_held<T>(
    held: &mut Option<OwnedFd>,
    opened: OwnedFd,
    keep: bool,
    read: impl FnOnce(BorrowedFd<'_>) -> Outcome<T>,
) -> Outcome<T> {
    let outcome = read(opened.as_fd());
    if keep && matches!(outcome, Outcome::Value(_)) {
        *held = Some(opened);
    }
    outcome
}

/// Opens a file in the directory of a process.
pub(crate) fn open_at(
    procfs: &Procfs,
    dir: &OwnedFd,
    name: &CStr,
    flags: OFlags,
) -> Outcome<OwnedFd> {
    match procfs.open_in(dir, name, flags) {
        Err(Errno::NOENT) => without_file(dir, c"stat"),
        opened => opened.into(),
    }
}

/// Opens the directory of a process. Another inode means another process, unless the start time
/// is the same: then the kernel had dropped the entry from its cache.
///
/// # Errors
/// The directory, if the start time must be read to [identify](identify) the process.
pub(crate) fn open_process_dir(
    procfs: &Procfs,
    key: ProcessKey,
) -> Result<Outcome<OwnedFd>, OwnedFd> {
    let mut name = ProcPath::new();
    let name = name.build(ProcDir::Pid(key.pid), c"");
    let dir: OwnedFd = match procfs.open_in(&procfs.dir, name, O_PATH_DIR) {
        Ok(dir) => dir,
        Err(errno) => return Ok(errno.into()),
    };
    Ok(match rustix::fs::fstat(&dir) {
        Ok(stat) if stat.st_ino == key.inode => Outcome::Value(dir),
        Ok(_) if key.starttime != 0 => return Err(dir),
        Ok(_) => Outcome::Exited,
        Err(errno) => errno.into(),
    })
}

/// The directory of a process with this start time, if the process is the one that is meant.
pub(crate) fn identify(dir: OwnedFd, starttime: u64, key: ProcessKey) -> Outcome<OwnedFd> {
    if starttime == key.starttime { Outcome::Value(dir) } else { Outcome::Exited }
}

/// Whether the process with this pid is the one that was listed.
pub(crate) fn inode_matches(procfs: &Procfs, key: ProcessKey) -> bool {
    let mut name = ProcPath::new();
    let stat = procfs.statat(name.build(ProcDir::Pid(key.pid), c""));
    stat.value().is_some_and(|stat| stat.st_ino == key.inode)
}

/// Whether a process has a thread.
pub(crate) fn has_thread(procfs: &Procfs, pid: u32, tid: u32) -> bool {
    let mut name = ProcPath::new();
    procfs.statat(name.build(ProcDir::Thread(pid, tid), c"")).value().is_some()
}

/// `statm` of a thread.
pub(crate) fn statm_at(procfs: &Procfs, thread: ProcDir) -> Outcome<Statm> {
    let file = procfs.open_file(thread, c"statm", READ);
    file.and_then(|file| without_contents(procfs, read_statm(file.as_fd())))
}

/// The number of descriptors of a thread.
pub(crate) fn descriptors_at(
    procfs: &Procfs,
    thread: ProcDir,
    dir_reader: &mut ProcDirReader,
) -> Outcome<u64> {
    if procfs.fast.fd_count_from_size {
        return procfs.stat_file(thread, c"fd").map(|stat| stat.st_size.cast_unsigned());
    }
    open_fd_dir_at(procfs, thread).and_then(|dir| dir_reader.count(&dir))
}

/// Opens the directory of a thread's descriptors for listing.
pub(crate) fn open_fd_dir_at(procfs: &Procfs, thread: ProcDir) -> Outcome<OwnedFd> {
    procfs.open_file(thread, c"fd", READ.union(OFlags::DIRECTORY))
}

pub(crate) fn parsed<T>(result: Result<T, psstat_proc_parse::Error>) -> Outcome<T> {
    match result {
        Ok(value) => Outcome::Value(value),
        Err(error) => error.into(),
    }
}

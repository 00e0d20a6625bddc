//! Reads the files of one process that a cycle needs, through descriptors that are held open as
//! far as the fd budget allows.

use std::ffi::CStr;

use psstat_proc_parse::{Io, Stat, StatCore, Statm};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::proc_dir::ProcDirReader;
use super::procfs::{
    O_PATH_DIR, ProcDir, ProcPath, Procfs, READ, links, pread_start, without_file,
};
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

    fn covers(self, file: File) -> bool {
        (file as usize) < self.0
    }
}

/// A process to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access<'a> {
    pub(crate) procfs: &'a Procfs,
    pub(crate) key: ProcessKey,
    pub(crate) allowance: FdAllowance,
}

/// The files of a process that may be held open, in the order of [`FdBudget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    Io,
    Statm,
    Fd,
    Task,
}

impl File {
    fn name(self) -> (&'static CStr, OFlags) {
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

    /// `/proc/PID/io`.
    pub(crate) fn io(&mut self, access: Access<'_>) -> Outcome<Io> {
        let mut buffer = [0; 512];
        self.read_through(access, File::Io, |file| {
            pread_start(file, &mut buffer).and_then(|bytes| parsed(Io::parse(bytes)))
        })
    }

    /// `/proc/PID/statm`, in pages; all zero for a zombie and for a leader that has exited while
    /// other threads live.
    pub(crate) fn statm(&mut self, access: Access<'_>) -> Outcome<Statm> {
        let mut buffer = [0; 256];
        self.read_through(access, File::Statm, |file| {
            pread_start(file, &mut buffer).and_then(|bytes| parsed(Statm::parse(bytes)))
        })
    }

    /// The number of open descriptors: the size of `/proc/PID/fd` if the kernel supports that,
    /// else by listing. Read [`statm`](Self::statm) afterwards to verify the process.
    pub(crate) fn descriptors(
        &mut self,
        access: Access<'_>,
        dir_reader: &mut ProcDirReader,
    ) -> Outcome<u64> {
        if access.procfs.fast.fd_count_from_size {
            return self.stat_dir(access, File::Fd).map(|stat| stat.st_size.cast_unsigned());
        }
        open_dir(access.procfs, access.key, c"fd").and_then(|dir| dir_reader.count(&dir))
    }

    /// The number of threads: from the link count of `/proc/PID/task`, if that is reliable. Read
    /// [`statm`](Self::statm) afterwards to verify the process.
    pub(crate) fn threads(&mut self, access: Access<'_>) -> Outcome<u64> {
        // The directory itself and `.` are links too. Nothing else shows the exit.
        self.stat_dir(access, File::Task).and_then(|stat| match links(&stat) {
            0..=2 => Outcome::Exited,
            links => Outcome::Value(links - 2),
        })
    }

    /// Whether `fd` is held open: then reading it shows an exit of the process.
    pub(crate) fn keeps_fd(&self) -> bool {
        self.0[File::Fd as usize].is_some()
    }

    /// Whether the process is alive according to a descriptor that is held open. A denied read
    /// means that it is.
    pub(crate) fn is_alive(&self) -> bool {
        let io = self.0[File::Io as usize].as_ref();
        io.is_some_and(|io| !pread_start(io, &mut [0; 512]).is_exited())
    }

    /// stat(2) of a directory: through the descriptor, or by path if none may be held open. The
    /// path may be that of the next process with this pid, but then the open `statm` shows that
    /// this one has exited.
    fn stat_dir(&mut self, access: Access<'_>, file: File) -> Outcome<rustix::fs::Stat> {
        if self.0[File::Statm as usize].is_some() && !access.allowance.covers(file) {
            return access.procfs.stat_file(ProcDir::Pid(access.key.pid), file.name().0);
        }
        self.read_through(access, file, |dir| rustix::fs::fstat(dir).into())
    }

    /// Reads through the descriptor that is held open, or through one opened for this read.
    fn read_through<T>(
        &mut self,
        access: Access<'_>,
        file: File,
        read: impl FnOnce(BorrowedFd<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        let held = &mut self.0[file as usize];
        if let Some(held) = held {
            return read(held.as_fd());
        }
        let (name, flags) = file.name();
        open_in(access.procfs, access.key, name, flags).and_then(|opened| {
            let outcome = read(opened.as_fd());
            if access.allowance.covers(file) && matches!(outcome, Outcome::Value(_)) {
                *held = Some(opened);
            }
            outcome
        })
    }
}

/// Opens a file of this process and of no other: opens the directory, compares it with the key,
/// then opens the file relative to the directory. A reused pid is [`Outcome::Exited`].
fn open_in(procfs: &Procfs, key: ProcessKey, name: &CStr, flags: OFlags) -> Outcome<OwnedFd> {
    open_process_dir(procfs, key).and_then(|dir| {
        match rustix::fs::openat(&dir, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => without_file(&dir, c"stat"),
            opened => opened.into(),
        }
    })
}

/// Opens the directory of a process. Another inode means another process, unless the start time
/// is the same: then the kernel had dropped the entry from its cache.
fn open_process_dir(procfs: &Procfs, key: ProcessKey) -> Outcome<OwnedFd> {
    let mut name = ProcPath::new();
    let name = name.build(ProcDir::Pid(key.pid), c"");
    let dir = rustix::fs::openat(&procfs.dir, name, O_PATH_DIR, Mode::empty());
    Outcome::from(dir).and_then(|dir| match rustix::fs::fstat(&dir) {
        Ok(stat) if stat.st_ino == key.inode => Outcome::Value(dir),
        Ok(_) if key.starttime != 0 => {
            let mut buffer = [0; 1024];
            Outcome::from(rustix::fs::openat(&dir, c"stat", READ, Mode::empty()))
                .and_then(|file: OwnedFd| pread_start(&file, &mut buffer).map(<[u8]>::len))
                .and_then(|length| {
                    parsed(StatCore::parse(buffer.get(..length).unwrap_or_default()))
                })
                .and_then(|stat| {
                    if stat.starttime == key.starttime {
                        Outcome::Value(dir)
                    } else {
                        Outcome::Exited
                    }
                })
        }
        Ok(_) => Outcome::Exited,
        Err(errno) => errno.into(),
    })
}

/// Opens a directory of a process for listing.
pub(crate) fn open_dir(procfs: &Procfs, key: ProcessKey, name: &CStr) -> Outcome<OwnedFd> {
    open_in(procfs, key, name, READ.union(OFlags::DIRECTORY))
}

/// Whether the process has not been reaped; a zombie has not.
pub(crate) fn is_alive(procfs: &Procfs, key: ProcessKey) -> bool {
    !open_process_dir(procfs, key).is_exited()
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

/// The first fields of `/proc/PID/stat`, opened for this read.
pub(crate) fn stat<'b>(
    procfs: &Procfs,
    pid: u32,
    buffer: &'b mut [u8; 1024],
) -> Outcome<StatCore<'b>> {
    procfs.read_process_file(pid, c"stat", buffer).and_then(|bytes| parsed(StatCore::parse(bytes)))
}

/// A field of `/proc/PID/stat`, opened by its path for this read.
pub(crate) fn stat_by_path(
    procfs: &Procfs,
    pid: u32,
    field: impl FnOnce(&Stat<'_>) -> u64,
) -> Outcome<u64> {
    let mut buffer = [0; MAX_STAT];
    procfs
        .read_process_file(pid, c"stat", &mut buffer)
        .and_then(|bytes| parsed(Stat::parse(bytes)))
        .map(|stat| field(&stat))
}

/// All fields of `/proc/PID/stat`, of this process and no other.
pub(crate) fn full_stat<T>(
    procfs: &Procfs,
    key: ProcessKey,
    take: impl FnOnce(&Stat<'_>) -> T,
) -> Outcome<T> {
    let mut buffer = [0; MAX_STAT];
    open_in(procfs, key, c"stat", READ)
        .and_then(|file| pread_start(&file, &mut buffer).map(<[u8]>::len))
        .and_then(|length| parsed(Stat::parse(buffer.get(..length).unwrap_or_default())))
        .map(|stat| take(&stat))
}

/// A thread other than the leader, for a process whose leader has exited: the other threads have
/// its memory and descriptors.
pub(crate) fn live_thread(
    procfs: &Procfs,
    key: ProcessKey,
    dir_reader: &mut ProcDirReader,
) -> Option<u32> {
    let dir = open_dir(procfs, key, c"task").value()?;
    let threads = dir_reader.list(&dir).ok()?;
    threads.iter().map(|thread| thread.pid).find(|&tid| tid != key.pid)
}

/// `statm` of a thread.
pub(crate) fn statm_at(procfs: &Procfs, thread: ProcDir) -> Outcome<Statm> {
    let mut buffer = [0; 256];
    procfs
        .open_file(thread, c"statm", READ)
        .and_then(|file| pread_start(&file, &mut buffer).map(<[u8]>::len))
        .and_then(|length| parsed(Statm::parse(buffer.get(..length).unwrap_or_default())))
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

/// The size of a buffer for all of `stat`: up to 52 fields of up to 21 bytes, and a name.
const MAX_STAT: usize = 2048;

fn parsed<T>(result: Result<T, psstat_proc_parse::Error>) -> Outcome<T> {
    match result {
        Ok(value) => Outcome::Value(value),
        Err(error) => error.into(),
    }
}

//! Reading one process: the files that a cycle needs, through descriptors
//! that are kept where the budget allows.

use std::ffi::CStr;

use psstat_proc_parse::{Io, Stat, StatCore, Statm};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};

use super::proc_dir::ProcDirReader;
use super::procfs::{O_PATH_DIR, ProcDir, ProcPath, Procfs, READ, pread_start};
use crate::ids::ProcessKey;
use crate::read::outcome::Outcome;

/// What may be kept open, most useful first: everyone's `io`, then everyone's
/// `statm`, `fd`, `task`, as far as the budget goes.
///
/// A descriptor saves opening the file each cycle, and it belongs to its
/// process for ever: once that has ended, reads fail instead of telling of the
/// next process with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FdBudget {
    /// So many files of every process,
    files: usize,
    /// and one more of so many processes, those in the lowest places.
    extra_slots: usize,
}

impl FdBudget {
    /// Descriptors a process when everything is kept.
    const FULL: usize = 4;

    /// Shares a budget of descriptors out among so many processes.
    pub(crate) fn split(budget: usize, processes: usize) -> FdBudget {
        let processes = processes.max(1);
        FdBudget { files: (budget / processes).min(Self::FULL), extra_slots: budget % processes }
    }

    /// How many files of the process in this place.
    pub(crate) fn at(self, place: u32) -> FdAllowance {
        FdAllowance(self.files + usize::from((place as usize) < self.extra_slots))
    }
}

/// How many files of a process may be kept open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FdAllowance(usize);

impl FdAllowance {
    pub(crate) const NONE: FdAllowance = FdAllowance(0);

    fn covers(self, file: File) -> bool {
        (file as usize) < self.0
    }
}

/// The files of a process that may be kept open, by the order in which
/// [`Keep`] grants them.
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

/// The kept descriptors of one process.
#[derive(Debug, Default)]
pub(crate) struct ProcessFds([Option<OwnedFd>; FdBudget::FULL]);

impl ProcessFds {
    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// Closes what may no longer be kept.
    pub(crate) fn limit(&mut self, keep: FdAllowance) {
        for handle in self.0.iter_mut().skip(keep.0) {
            *handle = None;
        }
    }

    /// `/proc/PID/io`.
    pub(crate) fn io(
        &mut self,
        procfs: &Procfs,
        who: ProcessKey,
        keep: FdAllowance,
    ) -> Outcome<Io> {
        let mut buffer = [0; 512];
        self.with(procfs, who, keep, File::Io, |file| {
            pread_start(file, &mut buffer).and_then(|bytes| parsed(Io::parse(bytes)))
        })
    }

    /// `/proc/PID/statm`, in pages; all zero for a zombie and for a leader
    /// that has ended while other threads live.
    pub(crate) fn statm(
        &mut self,
        procfs: &Procfs,
        who: ProcessKey,
        keep: FdAllowance,
    ) -> Outcome<Statm> {
        let mut buffer = [0; 256];
        self.with(procfs, who, keep, File::Statm, |file| {
            pread_start(file, &mut buffer).and_then(|bytes| parsed(Statm::parse(bytes)))
        })
    }

    /// The number of open descriptors: the size of `/proc/PID/fd` where the
    /// kernel tells it, else by listing. To be followed by
    /// [`statm`](Self::statm), which tells whose it was.
    pub(crate) fn descriptors(
        &mut self,
        procfs: &Procfs,
        who: ProcessKey,
        keep: FdAllowance,
        lister: &mut ProcDirReader,
    ) -> Outcome<u64> {
        if procfs.fast.fd_count_from_size {
            return self
                .stat_of(procfs, who, keep, File::Fd)
                .map(|stat| stat.st_size.cast_unsigned());
        }
        open_dir(procfs, who, c"fd").and_then(|dir| {
            Outcome::from(lister.list(&dir).map(<[ProcessKey]>::len)).map(|n| n as u64)
        })
    }

    /// The number of threads: from the link count of `/proc/PID/task`, where
    /// that is to be trusted. To be followed by [`statm`](Self::statm), which
    /// tells whose it was.
    pub(crate) fn threads(
        &mut self,
        procfs: &Procfs,
        who: ProcessKey,
        keep: FdAllowance,
    ) -> Outcome<u64> {
        // The folder itself and `.` are links too. Nothing else says that the
        // process is gone.
        self.stat_of(procfs, who, keep, File::Task).and_then(|stat| match stat.st_nlink {
            0..=2 => Outcome::Exited,
            links => Outcome::Value(links - 2),
        })
    }

    /// Whether `fd` is kept: then it tells by itself that its process is gone.
    pub(crate) fn keeps_fd(&self) -> bool {
        self.0[File::Fd as usize].is_some()
    }

    /// Whether the process is still there, as far as a kept descriptor tells; one
    /// that may not be read any more is.
    pub(crate) fn is_alive(&self) -> bool {
        let io = self.0[File::Io as usize].as_ref();
        io.is_some_and(|io| !pread_start(io, &mut [0; 512]).is_gone())
    }

    /// What stat(2) says of a folder: through the kept descriptor, or by its
    /// path where nothing is to be kept. A path may lead to the next process
    /// with this pid, but then the kept `statm` tells that this one is gone.
    fn stat_of(
        &mut self,
        procfs: &Procfs,
        who: ProcessKey,
        keep: FdAllowance,
        file: File,
    ) -> Outcome<rustix::fs::Stat> {
        if self.0[File::Statm as usize].is_some() && !keep.covers(file) {
            let mut name = ProcPath::new();
            let name = name.of(ProcDir::Pid(who.pid), file.name().0);
            return rustix::fs::statat(&procfs.dir, name, rustix::fs::AtFlags::empty()).into();
        }
        self.with(procfs, who, keep, file, |folder| rustix::fs::fstat(folder).into())
    }

    /// Reads through the kept descriptor, or through one opened for this read.
    fn with<T>(
        &mut self,
        procfs: &Procfs,
        who: ProcessKey,
        keep: FdAllowance,
        file: File,
        read: impl FnOnce(BorrowedFd<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        let slot = &mut self.0[file as usize];
        if let Some(kept) = slot {
            return read(kept.as_fd());
        }
        let (name, flags) = file.name();
        open_in(procfs, who, name, flags).and_then(|opened| {
            let outcome = read(opened.as_fd());
            // A denied one is not worth its place.
            if keep.covers(file) && matches!(outcome, Outcome::Value(_)) {
                *slot = Some(opened);
            }
            outcome
        })
    }
}

/// Opens a file of a process and of no other: the folder is opened first and
/// held against who was listed, then the file in that folder. A reused pid is
/// `Gone`.
fn open_in(procfs: &Procfs, who: ProcessKey, name: &CStr, flags: OFlags) -> Outcome<OwnedFd> {
    open_process_dir(procfs, who)
        .and_then(|folder| rustix::fs::openat(&folder, name, flags, Mode::empty()).into())
}

/// A process's folder. Another inode is another process, unless the start time
/// is the same: then the kernel had dropped the entry from its cache.
fn open_process_dir(procfs: &Procfs, who: ProcessKey) -> Outcome<OwnedFd> {
    let mut name = ProcPath::new();
    let name = name.of(ProcDir::Pid(who.pid), c"");
    let folder = rustix::fs::openat(&procfs.dir, name, O_PATH_DIR, Mode::empty());
    Outcome::from(folder).and_then(|folder| match rustix::fs::fstat(&folder) {
        Ok(stat) if stat.st_ino == who.inode => Outcome::Value(folder),
        Ok(_) if who.starttime != 0 => {
            let mut buffer = [0; 1024];
            Outcome::from(rustix::fs::openat(&folder, c"stat", READ, Mode::empty()))
                .and_then(|file: OwnedFd| pread_start(&file, &mut buffer).map(<[u8]>::len))
                .and_then(|length| {
                    parsed(StatCore::parse(buffer.get(..length).unwrap_or_default()))
                        .map(|stat| stat.starttime)
                })
                .and_then(|starttime| match starttime == who.starttime {
                    true => Outcome::Value(folder),
                    false => Outcome::Exited,
                })
        }
        Ok(_) => Outcome::Exited,
        Err(errno) => errno.into(),
    })
}

/// Opens a folder of a process for listing.
pub(crate) fn open_dir(procfs: &Procfs, who: ProcessKey, name: &CStr) -> Outcome<OwnedFd> {
    open_in(procfs, who, name, READ.union(OFlags::DIRECTORY))
}

/// Whether the process is still there; a zombie is.
pub(crate) fn is_alive(procfs: &Procfs, who: ProcessKey) -> bool {
    !open_process_dir(procfs, who).is_gone()
}

/// Whether the process with this pid is the one that was listed.
pub(crate) fn inode_matches(procfs: &Procfs, who: ProcessKey) -> bool {
    let mut name = ProcPath::new();
    let name = name.of(ProcDir::Pid(who.pid), c"");
    let stat = rustix::fs::statat(&procfs.dir, name, rustix::fs::AtFlags::empty());
    stat.is_ok_and(|stat| stat.st_ino == who.inode)
}

/// Whether a process has a thread.
pub(crate) fn has_thread(procfs: &Procfs, pid: u32, tid: u32) -> bool {
    let mut name = ProcPath::new();
    let name = name.of(ProcDir::Thread(pid, tid), c"");
    rustix::fs::statat(&procfs.dir, name, rustix::fs::AtFlags::empty()).is_ok()
}

/// The better part of `/proc/PID/stat`, opened for this read.
pub(crate) fn stat<'b>(
    procfs: &Procfs,
    pid: u32,
    buffer: &'b mut [u8; 1024],
) -> Outcome<StatCore<'b>> {
    procfs.read_of(pid, c"stat", buffer).and_then(|bytes| parsed(StatCore::parse(bytes)))
}

/// A field of `/proc/PID/stat`, opened by its path for this read.
pub(crate) fn stat_by_path(
    procfs: &Procfs,
    pid: u32,
    field: impl FnOnce(&Stat<'_>) -> u64,
) -> Outcome<u64> {
    let mut buffer = [0; STAT];
    procfs
        .read_of(pid, c"stat", &mut buffer)
        .and_then(|bytes| parsed(Stat::parse(bytes)))
        .map(|stat| field(&stat))
}

/// All of `/proc/PID/stat`, of this process and no other.
pub(crate) fn full_stat<T>(
    procfs: &Procfs,
    who: ProcessKey,
    take: impl FnOnce(&Stat<'_>) -> T,
) -> Outcome<T> {
    let mut buffer = [0; STAT];
    open_in(procfs, who, c"stat", READ)
        .and_then(|file| pread_start(&file, &mut buffer).map(<[u8]>::len))
        .and_then(|length| parsed(Stat::parse(buffer.get(..length).unwrap_or_default())))
        .map(|stat| take(&stat))
}

/// A thread of a process other than its leader, for a process whose leader has
/// ended: the others have its memory and descriptors.
pub(crate) fn live_thread(
    procfs: &Procfs,
    who: ProcessKey,
    lister: &mut ProcDirReader,
) -> Option<u32> {
    let dir = open_dir(procfs, who, c"task").value()?;
    let threads = lister.list(&dir).ok()?;
    threads.iter().map(|thread| thread.pid).find(|&tid| tid != who.pid)
}

/// `statm` by way of a thread.
pub(crate) fn statm_at(procfs: &Procfs, thread: ProcDir) -> Outcome<Statm> {
    let mut name = ProcPath::new();
    let mut buffer = [0; 256];
    let bytes = procfs.read(name.of(thread, c"statm"), &mut buffer);
    bytes.and_then(|bytes| parsed(Statm::parse(bytes)))
}

/// The number of descriptors by way of a thread.
pub(crate) fn descriptors_at(
    procfs: &Procfs,
    thread: ProcDir,
    lister: &mut ProcDirReader,
) -> Outcome<u64> {
    let mut name = ProcPath::new();
    let name = name.of(thread, c"fd");
    if procfs.fast.fd_count_from_size {
        let stat = rustix::fs::statat(&procfs.dir, name, rustix::fs::AtFlags::empty());
        return Outcome::from(stat).map(|stat| stat.st_size.cast_unsigned());
    }
    let dir = rustix::fs::openat(&procfs.dir, name, READ.union(OFlags::DIRECTORY), Mode::empty());
    Outcome::from(dir)
        .and_then(|dir| Outcome::from(lister.list(&dir).map(<[ProcessKey]>::len)))
        .map(|n| n as u64)
}

/// What a whole `stat` fits in: 52 fields at most, of up to 21 bytes, and a
/// name.
const STAT: usize = 2048;

fn parsed<T>(result: Result<T, psstat_proc_parse::Error>) -> Outcome<T> {
    match result {
        Ok(value) => Outcome::Value(value),
        Err(error) => error.into(),
    }
}

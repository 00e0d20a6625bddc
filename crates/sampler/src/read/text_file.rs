//! Reads command lines, and other texts of a process.

use std::ffi::CStr;

use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::blocking::Lock;
use super::procfs::{ProcDir, ProcPath, Procfs, READ};
use crate::read::outcome::Outcome;

/// A longer command line is truncated. `execve(2)` accepts at most 6 MiB of arguments; a process
/// with more has pointed the kernel to any part of its memory (`PR_SET_MM_MAP`), which may be as
/// large as the address space.
const MAX_CMDLINE: usize = 8 << 20;
/// The sizes between which the buffer is kept.
const MIN_BUFFER: usize = 4096;
const BUFFER: usize = 1 << 16;

/// A file that is read as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextFile {
    Cmdline,
    Comm,
    Status,
    Cgroup,
}

impl TextFile {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            TextFile::Cmdline => "cmdline",
            TextFile::Comm => "comm",
            TextFile::Status => "status",
            TextFile::Cgroup => "cgroup",
        }
    }

    /// The lock that reading it may wait for.
    pub(crate) fn lock(self) -> Lock {
        match self {
            TextFile::Cmdline => Lock::AddressSpace,
            TextFile::Comm | TextFile::Status | TextFile::Cgroup => Lock::Groups,
        }
    }

    fn c_name(self) -> &'static CStr {
        match self {
            TextFile::Cmdline => c"cmdline",
            TextFile::Comm => c"comm",
            TextFile::Status => c"status",
            TextFile::Cgroup => c"cgroup",
        }
    }
}

fn open(procfs: &Procfs, process: ProcDir, file: &CStr) -> Outcome<OwnedFd> {
    // In the tests a pipe is a process whose reads block.
    if cfg!(debug_assertions)
        && !procfs.is_live
        && procfs.stat_file(process, file).value().is_some_and(|stat| {
            rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Fifo
        })
    {
        let mut name = ProcPath::new();
        let name = name.build(process, file);
        return rustix::fs::openat(&procfs.dir, name, READ, rustix::fs::Mode::empty()).into();
    }
    procfs.open_file(process, file, READ)
}

/// Reads the file into a buffer, at most `limit` bytes and [`MAX_CMDLINE`].
pub(crate) fn read(
    procfs: &Procfs,
    process: ProcDir,
    file: TextFile,
    limit: usize,
    text: &mut Vec<u8>,
) -> Outcome<()> {
    let limit = limit.min(MAX_CMDLINE);
    text.clear();
    text.shrink_to(BUFFER);
    text.reserve(MIN_BUFFER);
    let file = match open(procfs, process, file.c_name()) {
        Outcome::Value(file) => file,
        other => return other.map(drop::<OwnedFd>),
    };
    loop {
        if text.len() >= limit {
            text.truncate(limit);
            return Outcome::Value(());
        }
        if text.spare_capacity_mut().is_empty() {
            text.reserve(text.capacity());
        }
        let spare = text.spare_capacity_mut().len();
        match rustix::io::read(&file, rustix::buffer::spare_capacity(text)) {
            // The kernel returns fewer bytes only at the end.
            Ok(read) if read < spare => return Outcome::Value(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return errno.into(),
        }
    }
}

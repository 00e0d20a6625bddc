//! Reads command lines.

use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::procfs::{ProcDir, ProcPath, Procfs, READ};
use crate::read::outcome::Outcome;

/// A longer command line is truncated. `execve(2)` accepts at most 6 MiB of arguments; a process
/// with more has pointed the kernel to any part of its memory (`PR_SET_MM_MAP`), which may be as
/// large as the address space.
const MAX_CMDLINE: usize = 8 << 20;
/// The sizes between which the buffer is kept.
const MIN_BUFFER: usize = 4096;
const BUFFER: usize = 1 << 16;

fn open(procfs: &Procfs, process: ProcDir) -> Outcome<OwnedFd> {
    // In the tests a pipe is a process whose reads block.
    if cfg!(debug_assertions)
        && !procfs.is_live
        && procfs.stat_file(process, c"cmdline").value().is_some_and(|stat| {
            rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Fifo
        })
    {
        let mut name = ProcPath::new();
        let name = name.build(process, c"cmdline");
        return rustix::fs::openat(&procfs.dir, name, READ, rustix::fs::Mode::empty()).into();
    }
    procfs.open_file(process, c"cmdline", READ)
}

/// Reads a command line into a buffer, at most `limit` bytes and [`MAX_CMDLINE`].
pub(crate) fn read(
    procfs: &Procfs,
    process: ProcDir,
    limit: usize,
    line: &mut Vec<u8>,
) -> Outcome<()> {
    let limit = limit.min(MAX_CMDLINE);
    line.clear();
    line.shrink_to(BUFFER);
    line.reserve(MIN_BUFFER);
    let file = match open(procfs, process) {
        Outcome::Value(file) => file,
        other => return other.map(drop::<OwnedFd>),
    };
    loop {
        if line.len() >= limit {
            line.truncate(limit);
            return Outcome::Value(());
        }
        if line.spare_capacity_mut().is_empty() {
            line.reserve(line.capacity());
        }
        let spare = line.spare_capacity_mut().len();
        match rustix::io::read(&file, rustix::buffer::spare_capacity(line)) {
            // The kernel returns fewer bytes only at the end.
            Ok(read) if read < spare => return Outcome::Value(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return errno.into(),
        }
    }
}

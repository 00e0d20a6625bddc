//! Compares the row of this process with its files in the procfs.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};

use psstat_proc_parse::{Io, StatCore, Statm};
use rustix::fs::fstat;

use super::BpfError;
use super::row::{CpuRow, Row};
use super::snapshot::Snapshot;
use super::sockets::SocketPass;
use crate::ids::Protocol;
use crate::io_counters::IoCounters;
use crate::read::fd_sockets::FdSockets;
use crate::read::proc_dir::ProcDirReader;
use crate::read::process;
use crate::read::procfs::{ProcDir, Procfs};
use crate::read::sys;
use crate::source::{ReadRequest, Values};

/// By how much the CPU clock of a running process is late, at most: two ticks at 100 Hz.
const CLOCK_LAG: u64 = 20_000_000;
/// Before Linux 6.16 `statm` leaves out the pages that a CPU has not yet added: up to this number,
/// of each of three counters.
const PAGES_PER_CPU: u64 = 64;

/// The values in the files.
struct Files {
    ppid: u32,
    start: u64,
    threads: u64,
    statm: Statm,
    io: Option<IoCounters>,
    fds: u64,
    cpu: u64,
}

impl Files {
    fn read(procfs: &Procfs) -> Option<Files> {
        let mut buffer = [0; 2048];
        let text = procfs.read(c"self/stat", &mut buffer).value()?;
        let StatCore { ppid, starttime, num_threads, .. } = StatCore::parse(text).ok()?;
        let mut buffer = [0; 512];
        let statm = Statm::parse(procfs.read(c"self/statm", &mut buffer).value()?).ok()?;
        let io = procfs.read(c"self/io", &mut buffer).value();
        let io = io.and_then(|text| Io::parse(text).ok()).map(IoCounters::from);
        let pid = rustix::process::getpid().as_raw_nonzero().get().cast_unsigned();
        let dir = process::open_fd_dir_at(procfs, ProcDir::Pid(pid)).value()?;
        Some(Files {
            ppid: ppid.unsigned_abs(),
            start: starttime.0,
            threads: num_threads,
            statm,
            io,
            // With that of the directory, which stands for the iterator's.
            fds: ProcDirReader::new().count(&dir).value()?,
            cpu: sys::process_cpu_time_ns(pid).ok()?,
        })
    }
}

/// Takes a snapshot, and gives the name of a number of it that is not between those that the files
/// show before and after it.
pub(super) fn difference(snapshot: &mut Snapshot, procfs: &Procfs) -> Option<&'static str> {
    let before = Files::read(procfs);
    let pid = rustix::process::getpid().as_raw_nonzero().get().cast_unsigned();
    if snapshot.take(&mut vec![ReadRequest { pid, values: Values::All }]).is_err() {
        return Some("everything: it cannot be read");
    }
    let row = snapshot.row(pid).copied();
    if snapshot.take(&mut vec![ReadRequest { pid, values: Values::Cpu }]).is_err() {
        return Some("CPU time: it cannot be read");
    }
    let cpu_row = snapshot.cpu_row(pid).copied();
    let (Some(before), Some(after)) = (before, Files::read(procfs)) else {
        return Some("everything: the procfs cannot be read");
    };
    let (Some(row), Some(cpu_row)) = (row, cpu_row) else { return Some("this process") };
    let difference = compare(&row, procfs, &before, &after);
    difference.or_else(|| compare_cpu(&cpu_row, &before, &after))
}

/// Compares the sockets that the program shows of this process with its own: a pair of connected
/// unix sockets, and one that is not connected.
///
/// # Errors
/// When they differ.
pub(super) fn verify_sockets(mut pass: SocketPass, procfs: &Procfs) -> Result<(), BpfError> {
    let differs = |_| BpfError::Differs("sockets");
    let (one, other) = UnixStream::pair().map_err(differs)?;
    let unconnected = UnixDatagram::unbound().map_err(differs)?;
    let pid = rustix::process::getpid().as_raw_nonzero().get().cast_unsigned();
    pass.take(&[pid]).map_err(|errno| BpfError::Refused(errno.to_string()))?;
    let netns = pass.netns(pid).unwrap_or_default();
    let inode = |fd: BorrowedFd<'_>| fstat(fd).map_or(0, |stat| stat.st_ino);
    let mut found = FdSockets::default();
    pass.scan(pid, &mut found);
    let is_found = |inode: u64| found.sockets.iter().any(|&socket| u64::from(socket) == inode);
    let is_established = |inode: u64| {
        let mut sockets = pass.established(netns, Protocol::Unix);
        sockets.any(|socket| u64::from(socket) == inode)
    };
    let connected = [one.as_fd(), other.as_fd()].map(inode);
    let unconnected = inode(unconnected.as_fd());
    let is_right = procfs.self_netns == Some(netns.0)
        && connected.into_iter().all(|inode| is_found(inode) && is_established(inode))
        && is_found(unconnected)
        && !is_established(unconnected);
    if is_right { Ok(()) } else { Err(BpfError::Differs("sockets")) }
}

fn is_between(number: u64, one: u64, other: u64, tolerance: u64) -> bool {
    number >= one.min(other).saturating_sub(tolerance)
        && number <= one.max(other).saturating_add(tolerance)
}

/// Compares the values of both kinds of rows.
fn compare_cpu(row: &CpuRow, before: &Files, after: &Files) -> Option<&'static str> {
    let is_right = row.total().is_some_and(|cpu| is_between(cpu, before.cpu, after.cpu, CLOCK_LAG));
    (!is_right).then_some("CPU time")
}

fn compare(row: &Row, procfs: &Procfs, before: &Files, after: &Files) -> Option<&'static str> {
    if row.ppid != before.ppid {
        return Some("the parent");
    }
    if row.cpu.start_ticks(procfs.tick_nanoseconds) != before.start {
        return Some("the start time");
    }
    if let Some(difference) = compare_cpu(&row.cpu, before, after) {
        return Some(difference);
    }
    if let (Some(before), Some(after)) = (before.io, after.io) {
        let Some(io) = row.io() else { return Some("io") };
        // They only grow.
        if !io.all_ge(before) || !after.all_ge(io) {
            return Some("io");
        }
    }
    // A number that the row does not have is read from the procfs.
    if let Some(fds) = row.fds()
        && !is_between(fds, before.fds, after.fds, 0)
    {
        return Some("descriptors");
    }
    if let Some(statm) = row.statm(procfs.page_size) {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
        let tolerance = 3 * PAGES_PER_CPU.max(2 * cpus) * cpus;
        let (one, other) = (before.statm, after.statm);
        if !is_between(statm.size.0, one.size.0, other.size.0, 0)
            || statm.text != one.text
            || !is_between(statm.data.0, one.data.0, other.data.0, 0)
            || !is_between(statm.resident.0, one.resident.0, other.resident.0, tolerance)
            || !is_between(statm.shared.0, one.shared.0, other.shared.0, tolerance)
        {
            return Some("memory");
        }
    }
    let threads = row.threads();
    (!is_between(threads, before.threads, after.threads, 0)).then_some("threads")
}

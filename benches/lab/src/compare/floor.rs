//! The floor of the kernel: a bare loop over the reads that every cycle of psstat needs of each
//! process and of the socket tables, in their cheapest form, without parsing or state.
//!
//! Two more costs are measured besides: the listing of `/proc`, which psstat makes completely in
//! some cycles only, and the reads of new processes, of which there are none in steady state.

use std::ffi::CString;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom};
use rustix::time::{ClockId, clock_gettime};

use super::new_processes::NewProcesses;
use super::sock_diag::{Diag, Table};
use crate::stats::Stats;
use crate::stop::Stop;
use crate::{Result, sys};

/// CPU time of a cycle.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// The listing of `/proc`; not a part of the floor.
    pub(crate) listing: Duration,
    /// The reads of new processes; not a part of the floor.
    pub(crate) new_processes: Duration,
    /// The number of new processes.
    pub(crate) new_count: usize,
    /// All reads of all processes.
    pub(crate) processes: Duration,
    pub(crate) tcp: Duration,
    pub(crate) udp: Duration,
    pub(crate) unix: Duration,
}

impl Cost {
    pub(crate) fn tables(self) -> Duration {
        self.tcp + self.udp + self.unix
    }

    pub(crate) fn total(self) -> Duration {
        self.processes + self.tables()
    }

    pub(crate) fn with_listing(self) -> Duration {
        self.listing + self.total()
    }

    /// The statistics of a part over several cycles.
    pub(crate) fn stats(costs: &[Cost], part: fn(Cost) -> Duration) -> Stats {
        Stats::of(costs.iter().map(|cost| part(*cost)).collect())
    }
}

/// The open files of one process. The directories are opened by path where the fd limit is too low.
#[derive(Debug)]
struct Handles {
    pid: u32,
    io: OwnedFd,
    statm: OwnedFd,
    fd: Dir,
    task: Dir,
}

#[derive(Debug)]
enum Dir {
    Open(OwnedFd),
    Path(CString),
}

/// The bare loop.
#[derive(Debug)]
pub(crate) struct Floor {
    proc: OwnedFd,
    listing: Vec<u8>,
    new_processes: NewProcesses,
    handles: Vec<Handles>,
    diag: Diag,
    /// Rows of the last dumps of the network namespace: tcp, udp, unix.
    pub(crate) rows: [u64; 3],
}

/// Useful open files per process.
pub(crate) const FDS_PER_PROCESS: u64 = 4;
/// File descriptors reserved for other purposes, as in psstat.
const RESERVE: usize = 64;

impl Floor {
    /// For the processes with these pids and this fd limit.
    pub(crate) fn new(pids: &[u32], limit: u64) -> Result<Floor> {
        let open = |name: &str, flags| {
            rustix::fs::openat(CWD, name, flags | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| crate::Error::from(format!("{name}: {error}")))
        };
        let budget = usize::try_from(limit)?.saturating_sub(RESERVE);
        let mut left = budget.saturating_sub(2 * pids.len());
        let mut dir = |name: String| {
            if left == 0 {
                return Ok(Dir::Path(CString::new(name)?));
            }
            left -= 1;
            open(&name, OFlags::PATH | OFlags::DIRECTORY).map(Dir::Open)
        };
        let handles = pids.iter().map(|pid| {
            Ok(Handles {
                pid: *pid,
                io: open(&format!("/proc/{pid}/io"), OFlags::RDONLY)?,
                statm: open(&format!("/proc/{pid}/statm"), OFlags::RDONLY)?,
                fd: dir(format!("/proc/{pid}/fd"))?,
                task: dir(format!("/proc/{pid}/task"))?,
            })
        });
        Ok(Floor {
            handles: handles.collect::<Result<_>>()?,
            proc: open("/proc", OFlags::RDONLY | OFlags::DIRECTORY)?,
            listing: Vec::with_capacity(32 * 1024),
            new_processes: NewProcesses::default(),
            diag: Diag::open()?,
            rows: [0; 3],
        })
    }

    /// One cycle, with a pause of `window` between the two readings of CPU time, as an observer
    /// makes it: the CPU caches are equally cold.
    fn cycle(&mut self, window: Duration, stop: &Stop) -> Result<Cost> {
        let start = thread_cpu();
        rustix::fs::seek(&self.proc, SeekFrom::Start(0))?;
        let mut entries = RawDir::new(&self.proc, self.listing.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            self.new_processes.list(entry?.file_name());
        }
        let listed = thread_cpu();
        let new_count = self.new_processes.read(&self.proc);
        let new_read = thread_cpu();
        for handles in &self.handles {
            sys::cpu_nanoseconds(handles.pid)?;
        }
        let opened = thread_cpu() - new_read;
        stop.sleep(window)?;
        let closing = thread_cpu();
        let mut buffer = [0; 512];
        for handles in &self.handles {
            sys::cpu_nanoseconds(handles.pid)?;
        }
        for handles in &self.handles {
            rustix::io::pread(&handles.io, &mut buffer, 0)?;
            rustix::io::pread(&handles.statm, &mut buffer, 0)?;
            handles.fd.stat()?;
            handles.task.stat()?;
        }
        let read = thread_cpu();
        let tcp_rows = self.diag.dump(Table::Tcp)?;
        let tcp = thread_cpu();
        let udp_rows = self.diag.dump(Table::Udp4)? + self.diag.dump(Table::Udp6)?;
        let udp = thread_cpu();
        let unix_rows = self.diag.dump(Table::Unix)?;
        let unix = thread_cpu();
        self.rows = [tcp_rows, udp_rows, unix_rows];
        Ok(Cost {
            listing: listed - start,
            new_processes: new_read - listed,
            new_count,
            processes: opened + (read - closing),
            tcp: tcp - read,
            udp: udp - tcp,
            unix: unix - udp,
        })
    }

    /// Measures cycles, one per `interval`.
    pub(crate) fn cycles(
        &mut self,
        count: u32,
        window: Duration,
        interval: Duration,
        stop: &Stop,
    ) -> Result<Vec<Cost>> {
        // The first one fills the caches of the kernel.
        self.cycle(window, stop)?;
        let mut costs = Vec::new();
        for _ in 0..count {
            stop.sleep(interval.saturating_sub(window))?;
            costs.push(self.cycle(window, stop)?);
        }
        Ok(costs)
    }
}

impl Dir {
    fn stat(&self) -> Result<()> {
        match self {
            Dir::Open(dir) => rustix::fs::fstat(dir)?,
            Dir::Path(path) => rustix::fs::stat(path)?,
        };
        Ok(())
    }
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    // A CPU clock is never negative.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The floor once included the listing, which hid a tenth of the cost of psstat.
    #[test]
    fn listing_and_new_processes_are_not_in_the_floor() {
        let ms = Duration::from_millis;
        let cost = Cost {
            listing: ms(1),
            new_processes: ms(32),
            new_count: 1,
            processes: ms(2),
            tcp: ms(4),
            udp: ms(8),
            unix: ms(16),
        };
        assert_eq!((cost.total(), cost.with_listing(), cost.tables()), (ms(30), ms(31), ms(28)));
        let costs = [cost, cost, Cost { tcp: ms(34), ..cost }];
        let stats = Cost::stats(&costs, Cost::total);
        assert_eq!((stats.median, stats.mean), (ms(30), ms(40)));
    }
}

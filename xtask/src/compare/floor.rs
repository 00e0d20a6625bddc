//! The kernel's floor: a bare loop over the reads that a cycle cannot do
//! without, in their cheapest form, with nothing parsed, kept or reckoned.
//!
//! What every cycle of psstat reads, that is, of a process and of the tables.
//! `/proc` is listed too, but beside it: psstat lists it whole in some cycles
//! only. So is what is read of those that came, which in steady state nobody does.

use std::ffi::CString;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom};
use rustix::time::{ClockId, clock_gettime};

use super::diag::{Diag, Table};
use super::newcomers::Newcomers;
use super::spread::Spread;
use crate::stop::Stop;
use crate::{Result, sys};

/// CPU time of a cycle, or of several.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Listing `/proc`: no part of the floor.
    pub(crate) listing: Duration,
    /// What is read of each process that came since the last cycle: no part of the
    /// floor.
    pub(crate) newcomers: Duration,
    /// How many these were.
    pub(crate) came: usize,
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

    /// Of one part, or of several, in some cycles.
    pub(crate) fn spread(costs: &[Cost], part: fn(Cost) -> Duration) -> Spread {
        Spread::of(costs.iter().map(|cost| part(*cost)).collect())
    }
}

/// The kept descriptors of one process. The folders are named anew at each
/// reading where the limit of descriptors leaves them no room.
#[derive(Debug)]
struct Kept {
    pid: u32,
    io: OwnedFd,
    statm: OwnedFd,
    fd: Folder,
    task: Folder,
}

#[derive(Debug)]
enum Folder {
    Kept(OwnedFd),
    Named(CString),
}

/// The bare loop.
#[derive(Debug)]
pub(crate) struct Floor {
    proc: OwnedFd,
    listing: Vec<u8>,
    newcomers: Newcomers,
    kept: Vec<Kept>,
    diag: Diag,
    /// Rows of the last dumps: tcp, udp, unix; of the whole network namespace.
    pub(crate) rows: [u64; 3],
}

/// Descriptors a process that it has use for.
pub(crate) const DESCRIPTORS: u64 = 4;
/// Descriptors left for everything else, as by psstat.
const RESERVE: usize = 64;

impl Floor {
    /// Over the processes with these pids, with so many descriptors at most.
    pub(crate) fn new(pids: &[u32], limit: u64) -> Result<Floor> {
        let open = |name: &str, flags| {
            rustix::fs::openat(CWD, name, flags | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| crate::Error::from(format!("{name}: {error}")))
        };
        let budget = usize::try_from(limit)?.saturating_sub(RESERVE);
        let mut room = budget.saturating_sub(2 * pids.len());
        let mut folder = |name: String| {
            if room == 0 {
                return Ok(Folder::Named(CString::new(name)?));
            }
            room -= 1;
            open(&name, OFlags::PATH | OFlags::DIRECTORY).map(Folder::Kept)
        };
        let kept = pids.iter().map(|pid| {
            Ok(Kept {
                pid: *pid,
                io: open(&format!("/proc/{pid}/io"), OFlags::RDONLY)?,
                statm: open(&format!("/proc/{pid}/statm"), OFlags::RDONLY)?,
                fd: folder(format!("/proc/{pid}/fd"))?,
                task: folder(format!("/proc/{pid}/task"))?,
            })
        });
        Ok(Floor {
            kept: kept.collect::<Result<_>>()?,
            proc: open("/proc", OFlags::RDONLY | OFlags::DIRECTORY)?,
            listing: Vec::with_capacity(32 * 1024),
            newcomers: Newcomers::default(),
            diag: Diag::open()?,
            rows: [0; 3],
        })
    }

    /// One cycle, with a pause of `window` between its two readings of CPU
    /// time, as an observer has it: the caches are as cold.
    fn cycle(&mut self, window: Duration, stop: &Stop) -> Result<Cost> {
        let began = own_cpu();
        rustix::fs::seek(&self.proc, SeekFrom::Start(0))?;
        let mut entries = RawDir::new(&self.proc, self.listing.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            self.newcomers.list(entry?.file_name());
        }
        let listed = own_cpu();
        let came = self.newcomers.read(&self.proc);
        let met = own_cpu();
        for kept in &self.kept {
            sys::cpu_nanoseconds(kept.pid)?;
        }
        let opened = own_cpu() - met;
        stop.sleep(window)?;
        let closing = own_cpu();
        let mut buffer = [0; 512];
        for kept in &self.kept {
            sys::cpu_nanoseconds(kept.pid)?;
        }
        for kept in &self.kept {
            rustix::io::pread(&kept.io, &mut buffer, 0)?;
            rustix::io::pread(&kept.statm, &mut buffer, 0)?;
            kept.fd.stat()?;
            kept.task.stat()?;
        }
        let read = own_cpu();
        let tcp_rows = self.diag.dump(Table::Tcp)?;
        let tcp = own_cpu();
        let udp_rows = self.diag.dump(Table::Udp4)? + self.diag.dump(Table::Udp6)?;
        let udp = own_cpu();
        let unix_rows = self.diag.dump(Table::Unix)?;
        let unix = own_cpu();
        self.rows = [tcp_rows, udp_rows, unix_rows];
        Ok(Cost {
            listing: listed - began,
            newcomers: met - listed,
            came,
            processes: opened + (read - closing),
            tcp: tcp - read,
            udp: udp - tcp,
            unix: unix - udp,
        })
    }

    /// So many cycles, one every `interval`.
    pub(crate) fn cycles(
        &mut self,
        count: u32,
        window: Duration,
        interval: Duration,
        stop: &Stop,
    ) -> Result<Vec<Cost>> {
        // The first meets cold caches and fills them.
        self.cycle(window, stop)?;
        let mut costs = Vec::new();
        for _ in 0..count {
            stop.sleep(interval.saturating_sub(window))?;
            costs.push(self.cycle(window, stop)?);
        }
        Ok(costs)
    }
}

impl Folder {
    fn stat(&self) -> Result<()> {
        match self {
            Folder::Kept(folder) => rustix::fs::fstat(folder)?,
            Folder::Named(name) => rustix::fs::stat(name)?,
        };
        Ok(())
    }
}

/// CPU time of this thread.
fn own_cpu() -> Duration {
    // A CPU clock is never negative.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It was a part once, and hid a tenth of what psstat costs: psstat lists
    /// `/proc` whole in every 8th cycle.
    #[test]
    fn the_listing_and_newcomers_are_no_part_of_the_floor() {
        let ms = Duration::from_millis;
        let cost = Cost {
            listing: ms(1),
            newcomers: ms(32),
            came: 1,
            processes: ms(2),
            tcp: ms(4),
            udp: ms(8),
            unix: ms(16),
        };
        assert_eq!((cost.total(), cost.with_listing(), cost.tables()), (ms(30), ms(31), ms(28)));
        let costs = [cost, cost, Cost { tcp: ms(34), ..cost }];
        let spread = Cost::spread(&costs, Cost::total);
        assert_eq!((spread.median, spread.mean), (ms(30), ms(40)));
    }
}

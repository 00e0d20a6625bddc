//! The list of processes: from a full listing of `/proc`, or from the part of it that can have
//! changed.
//!
//! The kernel allocates pids sequentially, so a new process has a pid between the last one that
//! was allocated at the previous listing and the last one now (fifth field of `/proc/loadavg`),
//! and a listing can start at any pid. Exits are detected by the number of processes, which is
//! part of the link count of `/proc`. So an unchanged set of processes costs some microseconds; a
//! full listing costs more than that per process.

use std::ops::RangeInclusive;

use rustix::fd::OwnedFd;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::proc_dir::ProcDirReader;
use super::procfs::{Procfs, READ, pread_start};
use crate::ids::ProcessKey;
use crate::read::outcome::Outcome;

/// A range of pids, which wraps around after the highest pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PidRange {
    /// The pid before the first.
    after: u32,
    last: u32,
    all: bool,
}

impl PidRange {
    pub(crate) const ALL: PidRange = PidRange { after: 0, last: 0, all: true };

    /// The pids allocated after `after` and up to `last`; none if both are the same.
    pub(crate) fn between(after: u32, last: u32) -> PidRange {
        PidRange { after, last, all: false }
    }

    pub(crate) fn contains(self, pid: u32) -> bool {
        self.ranges().any(|range| range.contains(&pid))
    }

    /// The same as ranges that do not wrap around, the lower one first.
    pub(crate) fn ranges(self) -> impl Iterator<Item = RangeInclusive<u32>> {
        let PidRange { after, last, all } = self;
        let first = after.saturating_add(1);
        let ranges = match (all, after <= last) {
            (true, _) => [Some(0..=u32::MAX), None],
            (false, true) => [(first <= last).then_some(first..=last), None],
            (false, false) => [Some(0..=last), Some(first..=u32::MAX)],
        };
        ranges.into_iter().flatten()
    }
}

/// The processes with these pids, and the number of all processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartialListing<'a> {
    pub(crate) listed: &'a [ProcessKey],
    pub(crate) pids: PidRange,
    pub(crate) processes: u64,
}

/// Lists processes.
#[derive(Debug)]
pub(crate) struct ProcessList {
    dir_reader: ProcDirReader,
    /// `/proc/loadavg`, if partial listings are enabled.
    loadavg: Option<OwnedFd>,
    /// From the last full listing, if a partial one can follow.
    baseline: Option<Baseline>,
}

#[derive(Clone, Copy, Debug)]
struct Baseline {
    /// The pid allocated last.
    last_pid: u32,
    /// Links of `/proc` that are not processes.
    links: u64,
    /// The position of an entry is its pid plus this.
    offset: u64,
}

impl ProcessList {
    pub(crate) fn new(procfs: &Procfs) -> ProcessList {
        let open = || rustix::fs::openat(&procfs.dir, c"loadavg", READ, Mode::empty()).ok();
        let loadavg = if procfs.fast.partial_listing { open() } else { None };
        ProcessList { dir_reader: ProcDirReader::new(), loadavg, baseline: None }
    }

    /// Lists all processes.
    pub(crate) fn list_all(&mut self, procfs: &Procfs) -> Result<&[ProcessKey], Errno> {
        // In this order: a process that starts meanwhile is in the next partial listing, and an
        // exit changes the number.
        let last_pid = self.last_pid();
        let before = links(procfs);
        self.baseline = None;
        self.dir_reader.list(&procfs.dir)?;
        let after = links(procfs);
        if let (Some(last_pid), Some(links), Some(offset)) =
            (last_pid, before, self.dir_reader.offset)
            && before == after
        {
            let links = links.saturating_sub(self.dir_reader.listed.len() as u64);
            self.baseline = Some(Baseline { last_pid, links, offset });
        }
        Ok(&self.dir_reader.listed)
    }

    /// Lists the processes that can have started since the last call, if that is possible.
    pub(crate) fn list_new(&mut self, procfs: &Procfs) -> Option<PartialListing<'_>> {
        let baseline = self.baseline?;
        let last_pid = self.last_pid()?;
        let pids = PidRange::between(baseline.last_pid, last_pid);
        self.dir_reader.listed.clear();
        for range in pids.ranges() {
            if self.dir_reader.list_range(&procfs.dir, baseline.offset, range).is_err() {
                self.baseline = None;
                return None;
            }
        }
        self.baseline = Some(Baseline { last_pid, ..baseline });
        let processes = links(procfs)?.checked_sub(baseline.links)?;
        Some(PartialListing { listed: &self.dir_reader.listed, pids, processes })
    }

    fn last_pid(&self) -> Option<u32> {
        let mut buffer = [0; 128];
        pread_start(self.loadavg.as_ref()?, &mut buffer).value().and_then(last_field)
    }
}

/// The link count of `/proc`: its directories, among them one per process.
fn links(procfs: &Procfs) -> Option<u64> {
    // The type differs between architectures.
    #[allow(clippy::useless_conversion)]
    Outcome::from(rustix::fs::fstat(&procfs.dir)).value().map(|stat| u64::from(stat.st_nlink))
}

/// The last field of `/proc/loadavg`: the pid allocated last.
fn last_field(bytes: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.trim_end().rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::FastPaths;
    use std::path::Path;
    use std::process::Command;

    #[test]
    fn pid_range_wraps_around() {
        let pids = |range: PidRange| (0..8).filter(|&pid| range.contains(pid)).collect::<Vec<_>>();
        assert_eq!(pids(PidRange::between(3, 5)), [4, 5]);
        assert_eq!(pids(PidRange::between(5, 5)), [0; 0]);
        assert_eq!(pids(PidRange::between(5, 2)), [0, 1, 2, 6, 7]);
        assert_eq!(pids(PidRange::between(u32::MAX, 1)), [0, 1]);
        assert_eq!(pids(PidRange::ALL).len(), 8);
    }

    proptest::proptest! {
        #[test]
        fn last_pid_of_loadavg(
            text in "[ 0-9./\n+-]{0,20}",
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
            pid: u32,
        ) {
            assert_eq!(last_field(b"0.20 0.18 0.12 1/80 11206\n"), Some(11206));
            assert_eq!(last_field(b"0.20 0.18 0.12 1/80\n"), None);
            assert_eq!(last_field(b""), None);
            if !text.ends_with([' ', '\n']) {
                let last = text.rsplit(' ').next().map(str::trim_end);
                assert_eq!(last_field(text.as_bytes()), last.and_then(|last| last.parse().ok()));
            }
            assert_eq!(last_field(format!("{text} {pid}\n").as_bytes()), Some(pid));
            assert_eq!(last_field(format!("{text} {pid}x\n").as_bytes()), None);
            let _ = last_field(&bytes);
        }
    }

    /// Other processes start and exit meanwhile, so it is repeated until a partial listing is
    /// complete.
    #[test]
    fn new_process_is_in_partial_listing() {
        let procfs = Procfs::open(Path::new("/proc"), FastPaths::ALL).unwrap();
        if !procfs.fast.partial_listing {
            return println!("skipped: not the initial pid namespace");
        }
        let mut process_list = ProcessList::new(&procfs);
        for _ in 0..200 {
            let before = process_list.list_all(&procfs).unwrap().len() as u64;
            let mut child = Command::new("sleep").arg("60").spawn().unwrap();
            let is_complete = process_list.list_new(&procfs).map(|part| {
                let pids: Vec<u32> = part.listed.iter().map(|listed| listed.pid).collect();
                assert!(pids.iter().all(|&pid| part.pids.contains(pid)));
                assert!(pids.contains(&child.id()));
                before + pids.len() as u64 == part.processes
            });
            child.kill().unwrap();
            child.wait().unwrap();
            if is_complete == Some(true) {
                return;
            }
        }
        panic!("no partial listing was complete");
    }
}

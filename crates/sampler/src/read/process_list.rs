//! Which processes there are: by listing `/proc`, or only as much of it as can
//! have changed.
//!
//! The kernel hands pids out in turn, so whoever came has one between the last
//! that was given out at the listing before and the last one now (fifth field
//! of `/proc/loadavg`); and a listing can begin at any pid. Whether anybody went
//! is told by the number of processes, which is in the link count of `/proc`.
//! So a set of processes that is the same costs a few microseconds, where to
//! list it would cost more than one for each.

use std::ops::RangeInclusive;

use rustix::fd::OwnedFd;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::proc_dir::ProcDirReader;
use super::procfs::{Procfs, READ, pread_start};
use crate::ids::ProcessKey;
use crate::read::outcome::Outcome;

/// Pids from one to another; past the highest one they go on with the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PidRange {
    /// The one before the first.
    after: u32,
    last: u32,
    all: bool,
}

impl PidRange {
    pub(crate) const ALL: PidRange = PidRange { after: 0, last: 0, all: true };

    /// Those given out after the one and up to the other; none if they are the
    /// same.
    pub(crate) fn between(after: u32, last: u32) -> PidRange {
        PidRange { after, last, all: false }
    }

    pub(crate) fn contains(self, pid: u32) -> bool {
        self.ranges().any(|range| range.contains(&pid))
    }

    /// The same as ranges, the lower one first.
    pub(crate) fn ranges(self) -> impl Iterator<Item = RangeInclusive<u32>> {
        let PidRange { after, last, all } = self;
        let up = after.saturating_add(1);
        let ranges = match (all, after <= last) {
            (true, _) => [Some(0..=u32::MAX), None],
            (false, true) => [(up <= last).then_some(up..=last), None],
            (false, false) => [Some(0..=last), Some(up..=u32::MAX)],
        };
        ranges.into_iter().flatten()
    }
}

/// Who has one of these pids, and how many processes there are in all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartialListing<'a> {
    pub(crate) listed: &'a [ProcessKey],
    pub(crate) pids: PidRange,
    pub(crate) processes: u64,
}

/// Lists processes; buffers and what was found out are kept from call to call.
#[derive(Debug)]
pub(crate) struct ProcessList {
    lister: ProcDirReader,
    /// `/proc/loadavg`, where parts can be listed.
    loadavg: Option<OwnedFd>,
    known: Option<Baseline>,
}

/// What is known since a whole listing.
#[derive(Clone, Copy, Debug)]
struct Baseline {
    /// The last pid that had been given out.
    last: u32,
    /// Links of `/proc` that are no processes.
    links: u64,
    /// The position of an entry is its pid and this.
    offset: u64,
}

impl ProcessList {
    pub(crate) fn new(procfs: &Procfs) -> ProcessList {
        let open = || rustix::fs::openat(&procfs.dir, c"loadavg", READ, Mode::empty()).ok();
        let loadavg = if procfs.fast.partial_listing { open() } else { None };
        ProcessList { lister: ProcDirReader::new(), loadavg, known: None }
    }

    /// Everyone.
    pub(crate) fn list_all(&mut self, procfs: &Procfs) -> Result<&[ProcessKey], Errno> {
        // In this order: whoever comes meanwhile is among the next to be looked
        // for, and who goes makes another number.
        let last = self.last_pid();
        let before = links(procfs);
        self.known = None;
        self.lister.list(&procfs.dir)?;
        let after = links(procfs);
        if let (Some(last), Some(links), Some(offset)) = (last, before, self.lister.offset)
            && before == after
        {
            let links = links.saturating_sub(self.lister.listed.len() as u64);
            self.known = Some(Baseline { last, links, offset });
        }
        Ok(&self.lister.listed)
    }

    /// Whoever can have come since the last call, where that can be told.
    pub(crate) fn list_new(&mut self, procfs: &Procfs) -> Option<PartialListing<'_>> {
        let known = self.known?;
        let last = self.last_pid()?;
        let pids = PidRange::between(known.last, last);
        self.lister.listed.clear();
        for range in pids.ranges() {
            if self.lister.list_range(&procfs.dir, known.offset, range).is_err() {
                self.known = None;
                return None;
            }
        }
        self.known = Some(Baseline { last, ..known });
        let processes = links(procfs)?.checked_sub(known.links)?;
        Some(PartialListing { listed: &self.lister.listed, pids, processes })
    }

    fn last_pid(&self) -> Option<u32> {
        let mut buffer = [0; 128];
        pread_start(self.loadavg.as_ref()?, &mut buffer).value().and_then(last_field)
    }
}

/// The link count of `/proc`: its folders, one a process.
fn links(procfs: &Procfs) -> Option<u64> {
    // The type is not the same everywhere.
    #[allow(clippy::useless_conversion)]
    Outcome::from(rustix::fs::fstat(&procfs.dir)).value().map(|stat| u64::from(stat.st_nlink))
}

/// The last field of `/proc/loadavg`: the pid given out last.
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
    fn pids_go_on_at_the_lowest() {
        let held = |pids: PidRange| (0..8).filter(|&pid| pids.contains(pid)).collect::<Vec<_>>();
        assert_eq!(held(PidRange::between(3, 5)), [4, 5]);
        assert_eq!(held(PidRange::between(5, 5)), [0; 0]);
        assert_eq!(held(PidRange::between(5, 2)), [0, 1, 2, 6, 7]);
        assert_eq!(held(PidRange::between(u32::MAX, 1)), [0, 1]);
        assert_eq!(held(PidRange::ALL).len(), 8);
    }

    #[test]
    fn the_last_pid_is_the_last_field() {
        assert_eq!(last_field(b"0.20 0.18 0.12 1/80 11206\n"), Some(11206));
        assert_eq!(last_field(b"0.20 0.18 0.12 1/80\n"), None);
        assert_eq!(last_field(b""), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_a_last_field_or_none(
            text in "[ 0-9./\n+-]{0,20}",
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
            pid: u32,
        ) {
            let last = text.rsplit(' ').next().map(str::trim_end);
            // Blanks at the end are no fields.
            let ends_in_blank = text.ends_with([' ', '\n']);
            if !ends_in_blank {
                assert_eq!(last_field(text.as_bytes()), last.and_then(|last| last.parse().ok()));
            }
            assert_eq!(last_field(format!("{text} {pid}\n").as_bytes()), Some(pid));
            assert_eq!(last_field(format!("{text} {pid}x\n").as_bytes()), None);
            let _ = last_field(&bytes);
        }
    }

    /// Others come and go while this runs, so it is tried until a part is
    /// listed with nobody missing.
    #[test]
    fn new_process_is_in_partial_listing() {
        let procfs = Procfs::open(Path::new("/proc"), FastPaths::ALL).unwrap();
        if !procfs.fast.partial_listing {
            return println!("skipped: not the first pid namespace");
        }
        let mut process_list = ProcessList::new(&procfs);
        for _ in 0..200 {
            let known = process_list.list_all(&procfs).unwrap().len() as u64;
            let mut child = Command::new("sleep").arg("60").spawn().unwrap();
            let part = process_list.list_new(&procfs);
            let found = part.map(|part| {
                let listed: Vec<_> = part.listed.iter().map(|listed| listed.pid).collect();
                assert!(part.listed.iter().all(|listed| part.pids.contains(listed.pid)));
                (listed.contains(&child.id()), known + listed.len() as u64 == part.processes)
            });
            child.kill().unwrap();
            child.wait().unwrap();
            if let Some((there, complete)) = found {
                assert!(there);
                if complete {
                    return;
                }
            }
        }
        panic!("never was a part of the listing complete");
    }
}

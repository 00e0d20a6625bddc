//! Every process of the machine: a few bytes each, by pid.

use std::num::NonZeroU64;
use std::ops::{Range, RangeInclusive};

use super::schedule;
use crate::accounting::ledger::Slot;
use crate::read::proc_dir::ProcessKey;
use crate::read::process_list::{PartialListing, PidRange};
use crate::shrink::shrink_vec;

/// What is remembered of any process, matched or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessEntry {
    pub(crate) pid: u32,
    /// The inode of its entry in `/proc`, which a reused pid does not have.
    pub(crate) inode: u64,
    /// Its start time in ticks since boot (`stat`, field 22).
    pub(crate) starttime: u64,
    /// It was seen in a later tick than that: whoever takes its pid after it has
    /// another start time.
    pub(crate) starttime_is_unique: bool,
    /// Its parent when last looked at.
    pub(crate) ppid: u32,
    /// Where more of it is kept, if it is tracked.
    pub(crate) slot: Option<Slot>,
    /// The cycle in which it was first seen.
    pub(crate) first_seen_cycle: u32,
    /// The cycle in which its command line is due.
    pub(crate) next_read: u32,
    /// Its CPU time in nanoseconds before its command line was last read; none
    /// if that could not be read, or the clock is not to be had.
    pub(crate) cpu: Option<NonZeroU64>,
    /// The last cycle in which it was found to be of some images, or of none; 0
    /// if it never was.
    pub(crate) last_classified: u32,
    /// Its command line was denied.
    pub(crate) denied: bool,
    /// Its command line blocks its reader.
    pub(crate) blocked: bool,
    /// Its leader has ended while other threads live: one of those.
    pub(crate) live_thread: Option<u32>,
}

impl ProcessEntry {
    pub(crate) fn new(pid: u32, inode: u64, cycle: u32) -> ProcessEntry {
        ProcessEntry {
            pid,
            inode,
            starttime: 0,
            starttime_is_unique: false,
            ppid: 0,
            slot: None,
            first_seen_cycle: cycle,
            next_read: cycle,
            cpu: None,
            last_classified: 0,
            denied: false,
            blocked: false,
            live_thread: None,
        }
    }

    pub(crate) fn listed(&self) -> ProcessKey {
        let starttime = if self.starttime_is_unique { self.starttime } else { 0 };
        ProcessKey { pid: self.pid, inode: self.inode, starttime }
    }

    /// Notes its start time, and the tick in which it was still there.
    pub(crate) fn set_starttime(&mut self, starttime: u64, now: u64) {
        self.starttime = starttime;
        self.starttime_is_unique = starttime < now;
    }

    /// First seen in this or the last cycle but one: it may not have its own
    /// command line yet.
    pub(crate) fn is_recent(&self, cycle: u32) -> bool {
        cycle.saturating_sub(self.first_seen_cycle) < 2
    }

    /// Notes that its command line was looked at.
    pub(crate) fn mark_read(&mut self, cycle: u32) {
        self.denied = false;
        self.blocked = false;
        self.next_read = schedule::next_read(self, cycle);
    }
}

/// All processes, by ascending pid, and the changes since the last listing.
#[derive(Debug, Default)]
pub(crate) struct ProcessTable {
    pub(crate) all: Vec<ProcessEntry>,
    /// Those of the last listing that are gone, by ascending pid; one whose pid
    /// was reused is here and its successor in `all`.
    pub(crate) exited: Vec<ProcessEntry>,
}

impl ProcessTable {
    /// Merges a listing, sorted by pid.
    pub(crate) fn update(&mut self, listed: &[ProcessKey], cycle: u32) {
        self.merge(listed, PidRange::ALL, cycle);
    }

    /// Merges a listing of some pids, if with it as many processes are known as
    /// there are; tells whether it did.
    pub(crate) fn update_partial(&mut self, part: &PartialListing<'_>, cycle: u32) -> bool {
        let before: usize = part.pids.ranges().map(|pids| self.position(&pids).len()).sum();
        let complete = (self.all.len() - before + part.listed.len()) as u64 == part.processes;
        if complete {
            self.merge(part.listed, part.pids, cycle);
        }
        complete
    }

    /// Where the processes with these pids are.
    fn position(&self, pids: &RangeInclusive<u32>) -> Range<usize> {
        let start = self.all.partition_point(|process_table| process_table.pid < *pids.start());
        start..self.all.partition_point(|seen| seen.pid <= *pids.end()).max(start)
    }

    /// Of the processes with these pids there are the listed ones and no others.
    fn merge(&mut self, listed: &[ProcessKey], pids: PidRange, cycle: u32) {
        self.exited.clear();
        let (mut kept, mut came) = (0, 0);
        let mut rest = listed.iter().peekable();
        for at in 0..self.all.len() {
            let seen = self.all[at];
            while rest.next_if(|now| now.pid < seen.pid).is_some() {
                came += 1;
            }
            let now = rest.peek().filter(|now| now.pid == seen.pid);
            let stays = match now {
                Some(now) => now.inode == seen.inode,
                None => !pids.contains(seen.pid),
            };
            if stays {
                // Without a write where nothing changes.
                if kept < at {
                    self.all[kept] = seen;
                }
                kept += 1;
                rest.next_if(|now| now.pid == seen.pid);
            } else {
                self.exited.push(seen);
            }
        }
        came += rest.len();
        self.all.truncate(kept);
        self.insert(listed, came, cycle);
        shrink_vec(&mut self.all);
        shrink_vec(&mut self.exited);
    }

    /// Puts the `came` of the listed in their places that have none.
    fn insert(&mut self, listed: &[ProcessKey], came: usize, cycle: u32) {
        let mut old = self.all.len();
        if self.all.capacity() < old + came {
            // There can be thousands: not twice as much as is needed.
            self.all.reserve_exact(came + old / 16);
        }
        self.all.resize(old + came, ProcessEntry::new(0, 0, cycle));
        let mut listed = listed.iter().rev();
        // From the end: all between `old` and `place` has been moved on.
        let mut place = self.all.len();
        while place > old {
            let Some(&ProcessKey { pid, inode, .. }) = listed.next() else { break };
            while old > 0 && self.all[old - 1].pid > pid {
                (old, place) = (old - 1, place - 1);
                self.all[place] = self.all[old];
            }
            place -= 1;
            if old > 0 && self.all[old - 1].pid == pid {
                old -= 1;
                self.all[place] = self.all[old];
            } else {
                self.all[place] = ProcessEntry::new(pid, inode, cycle);
            }
        }
    }

    /// Takes those back that vanished from the listing and are still there,
    /// hidden: a procfs that was remounted with `hidepid`, say.
    pub(crate) fn restore_hidden(&mut self, mut is_there: impl FnMut(&ProcessEntry) -> bool) {
        let all = &mut self.all;
        self.exited.retain(|seen| {
            let Err(place) = all.binary_search_by_key(&seen.pid, |seen| seen.pid) else {
                return true;
            };
            let hidden = is_there(seen);
            if hidden {
                all.insert(place, *seen);
            }
            !hidden
        });
    }

    /// Takes those for the same that only got another inode because the kernel
    /// dropped their entry from its cache. `may_be` is asked about one with the
    /// same pid and start time, old and new.
    pub(crate) fn rematch_inode(
        &mut self,
        cycle: u32,
        mut may_be: impl FnMut(&ProcessEntry, &ProcessEntry) -> bool,
    ) {
        let ProcessTable { all, exited: vanished, .. } = self;
        vanished.retain(|before| {
            let Ok(at) = all.binary_search_by_key(&before.pid, |seen| seen.pid) else {
                return true;
            };
            let Some(now) = all.get_mut(at) else { return true };
            // One that was there in two listings has outlived its tick since.
            let is_old =
                before.starttime_is_unique || before.first_seen_cycle.saturating_add(1) < cycle;
            if !is_old || before.starttime != now.starttime || !may_be(before, now) {
                return true;
            }
            *now = ProcessEntry { inode: now.inode, ppid: now.ppid, ..*before };
            false
        });
    }

    pub(crate) fn find(&self, pid: u32) -> Option<&ProcessEntry> {
        find(&self.all, pid)
    }

    pub(crate) fn find_mut(&mut self, pid: u32) -> Option<&mut ProcessEntry> {
        let at = self.all.binary_search_by_key(&pid, |seen| seen.pid).ok()?;
        self.all.get_mut(at)
    }

    /// The process that this one had as its parent when it vanished: gone with
    /// it, or still there. A reused pid is not mistaken: who vanished goes
    /// first.
    pub(crate) fn parent_of_exited(&self, seen: &ProcessEntry) -> Option<&ProcessEntry> {
        find(&self.exited, seen.ppid).or_else(|| self.find(seen.ppid))
    }

    pub(crate) fn has_exited(&self, pid: u32) -> bool {
        find(&self.exited, pid).is_some()
    }
}

fn find(sorted: &[ProcessEntry], pid: u32) -> Option<&ProcessEntry> {
    let at = sorted.binary_search_by_key(&pid, |seen| seen.pid).ok()?;
    sorted.get(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(entries: &[(u32, u64)]) -> Vec<ProcessKey> {
        entries.iter().map(|&(pid, inode)| ProcessKey { pid, inode, starttime: 0 }).collect()
    }

    #[test]
    fn starttime_identifies_after_its_tick() {
        let mut seen = ProcessEntry::new(5, 15, 1);
        assert_eq!(seen.listed().starttime, 0);
        seen.set_starttime(700, 700);
        assert_eq!((seen.starttime, seen.listed().starttime), (700, 0));
        seen.set_starttime(700, 701);
        assert_eq!((seen.starttime, seen.listed().starttime), (700, 700));
    }

    #[test]
    fn new_exited_and_replaced() {
        let mut census = ProcessTable::default();
        census.update(&listing(&[(1, 11), (5, 15), (9, 19)]), 1);
        assert!(census.exited.is_empty());
        census.find_mut(5).unwrap().slot = Some(7);
        census.find_mut(9).unwrap().slot = Some(8);
        census.update(&listing(&[(1, 11), (3, 13), (5, 99), (9, 19)]), 2);
        let pids =
            |seen: &[ProcessEntry]| seen.iter().map(|s| (s.pid, s.inode)).collect::<Vec<_>>();
        assert_eq!(pids(&census.all), [(1, 11), (3, 13), (5, 99), (9, 19)]);
        assert_eq!(pids(&census.exited), [(5, 15)]);
        assert_eq!(census.exited[0].slot, Some(7));
        assert_eq!(census.find(5).unwrap().slot, None);
        assert_eq!(census.find(5).unwrap().first_seen_cycle, 2);
        assert_eq!(census.find(9).unwrap().slot, Some(8));
        census.update(&[], 3);
        assert_eq!(census.exited.len(), 4);
        assert!(census.all.is_empty());
        census.restore_hidden(|seen| seen.pid == 9 || seen.pid == 3);
        assert_eq!(pids(&census.all), [(3, 13), (9, 19)]);
        assert_eq!(pids(&census.exited), [(1, 11), (5, 99)]);
    }

    #[test]
    fn partial_listing_keeps_others() {
        let mut census = ProcessTable::default();
        census.update(&listing(&[(1, 11), (5, 15), (9, 19), (12, 22)]), 1);
        let now = listing(&[(7, 17), (9, 99), (10, 20)]);
        let part =
            |processes| PartialListing { listed: &now, pids: PidRange::between(5, 10), processes };
        for wrong in [5, 7] {
            assert!(!census.update_partial(&part(wrong), 2), "somebody went, or came, elsewhere");
        }
        assert!(census.update_partial(&part(6), 2));
        let pids =
            |seen: &[ProcessEntry]| seen.iter().map(|s| (s.pid, s.inode)).collect::<Vec<_>>();
        let all = [(1, 11), (5, 15), (7, 17), (9, 99), (10, 20), (12, 22)];
        assert_eq!(pids(&census.all), all);
        assert_eq!(pids(&census.exited), [(9, 19)]);
        assert_eq!(
            census.all.iter().map(|s| s.first_seen_cycle).collect::<Vec<_>>(),
            [1, 1, 2, 2, 2, 1]
        );
        // Beyond the last pid, and from the first one on.
        let now = listing(&[(2, 12), (13, 23)]);
        let part = PartialListing { listed: &now, pids: PidRange::between(12, 3), processes: 6 };
        assert!(!census.update_partial(&part, 3));
        assert!(census.update_partial(&PartialListing { processes: 7, ..part }, 3));
        assert_eq!(pids(&census.exited), [(1, 11)]);
        assert_eq!(census.all.iter().map(|s| s.pid).collect::<Vec<_>>(), [2, 5, 7, 9, 10, 12, 13]);
    }

    proptest::proptest! {
        /// Against the obvious: the listed with what was known of them.
        #[test]
        fn listings_are_merged(listings in proptest::collection::vec(
            proptest::collection::btree_map(0u32..12, 0u64..3, 0..12), 1..6)
        ) {
            let mut census = ProcessTable::default();
            let mut known = std::collections::BTreeMap::new();
            for (cycle, now) in (1..).zip(&listings) {
                let entries: Vec<_> = now.iter().map(|(&pid, &inode)| (pid, inode)).collect();
                census.update(&listing(&entries), cycle);
                let vanished: Vec<_> =
                    census.exited.iter().map(|seen| (seen.pid, seen.inode)).collect();
                let mut gone: Vec<(u32, u64)> = known.keys().copied().collect();
                gone.retain(|old| !entries.contains(old));
                proptest::prop_assert_eq!(vanished, gone);
                known.retain(|old, _| entries.contains(old));
                for &entry in &entries {
                    known.entry(entry).or_insert(cycle);
                }
                let all: Vec<_> =
                    census.all.iter().map(|seen| ((seen.pid, seen.inode), seen.first_seen_cycle)).collect();
                proptest::prop_assert_eq!(all, known.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }
}

//! Every process of the machine: a few bytes each, by pid.

use std::num::NonZeroU64;
use std::ops::{Range, RangeInclusive};

use super::schedule;
use crate::memory::give_back;
use crate::read::listing::Listed;
use crate::read::roster::{Part, Pids};
use crate::reckon::ledger::Slot;

/// What is remembered of any process, matched or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) pid: u32,
    /// The inode of its entry in `/proc`, which a reused pid does not have.
    pub(crate) inode: u64,
    /// Its start time in ticks since boot (`stat`, field 22).
    pub(crate) starttime: u64,
    /// It was seen in a later tick than that: whoever takes its pid after it has
    /// another start time.
    pub(crate) outlived_its_tick: bool,
    /// Its parent when last looked at.
    pub(crate) ppid: u32,
    /// Where more of it is kept, if it is tracked.
    pub(crate) slot: Option<Slot>,
    /// The cycle in which it was first seen.
    pub(crate) born: u32,
    /// The cycle in which its command line is due.
    pub(crate) look: u32,
    /// Its CPU time in nanoseconds before its command line was last read; none
    /// if that could not be read, or the clock is not to be had.
    pub(crate) cpu: Option<NonZeroU64>,
    /// The last cycle in which it was found to be of some images, or of none; 0
    /// if it never was.
    pub(crate) known: u32,
    /// Its command line was denied.
    pub(crate) denied: bool,
    /// Its command line blocks its reader.
    pub(crate) blocked: bool,
    /// Its leader has ended while other threads live: one of those.
    pub(crate) living_thread: Option<u32>,
}

impl Seen {
    pub(crate) fn new(pid: u32, inode: u64, cycle: u32) -> Seen {
        Seen {
            pid,
            inode,
            starttime: 0,
            outlived_its_tick: false,
            ppid: 0,
            slot: None,
            born: cycle,
            look: cycle,
            cpu: None,
            known: 0,
            denied: false,
            blocked: false,
            living_thread: None,
        }
    }

    pub(crate) fn listed(&self) -> Listed {
        let starttime = if self.outlived_its_tick { self.starttime } else { 0 };
        Listed { pid: self.pid, inode: self.inode, starttime }
    }

    /// Notes its start time, and the tick in which it was still there.
    pub(crate) fn began(&mut self, starttime: u64, now: u64) {
        self.starttime = starttime;
        self.outlived_its_tick = starttime < now;
    }

    /// First seen in this or the last cycle but one: it may not have its own
    /// command line yet.
    pub(crate) fn is_young(&self, cycle: u32) -> bool {
        cycle.saturating_sub(self.born) < 2
    }

    /// Notes that its command line was looked at.
    pub(crate) fn looked(&mut self, cycle: u32) {
        self.denied = false;
        self.blocked = false;
        self.look = schedule::next_look(self, cycle);
    }
}

/// All processes, by ascending pid, and the changes since the last listing.
#[derive(Debug, Default)]
pub(crate) struct Census {
    pub(crate) all: Vec<Seen>,
    /// Those of the last listing that are gone, by ascending pid; one whose pid
    /// was reused is here and its successor in `all`.
    pub(crate) vanished: Vec<Seen>,
}

impl Census {
    /// Merges a listing, sorted by pid.
    pub(crate) fn update(&mut self, listed: &[Listed], cycle: u32) {
        self.merge(listed, Pids::ALL, cycle);
    }

    /// Merges a listing of some pids, if with it as many processes are known as
    /// there are; tells whether it did.
    pub(crate) fn update_part(&mut self, part: &Part<'_>, cycle: u32) -> bool {
        let before: usize = part.pids.ranges().map(|pids| self.position(&pids).len()).sum();
        let complete = (self.all.len() - before + part.listed.len()) as u64 == part.processes;
        if complete {
            self.merge(part.listed, part.pids, cycle);
        }
        complete
    }

    /// Where the processes with these pids are.
    fn position(&self, pids: &RangeInclusive<u32>) -> Range<usize> {
        let start = self.all.partition_point(|seen| seen.pid < *pids.start());
        start..self.all.partition_point(|seen| seen.pid <= *pids.end()).max(start)
    }

    /// Of the processes with these pids there are the listed ones and no others.
    fn merge(&mut self, listed: &[Listed], pids: Pids, cycle: u32) {
        self.vanished.clear();
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
                self.vanished.push(seen);
            }
        }
        came += rest.len();
        self.all.truncate(kept);
        self.insert(listed, came, cycle);
        give_back(&mut self.all);
        give_back(&mut self.vanished);
    }

    /// Puts the `came` of the listed in their places that have none.
    fn insert(&mut self, listed: &[Listed], came: usize, cycle: u32) {
        let mut old = self.all.len();
        if self.all.capacity() < old + came {
            // There can be thousands: not twice as much as is needed.
            self.all.reserve_exact(came + old / 16);
        }
        self.all.resize(old + came, Seen::new(0, 0, cycle));
        let mut listed = listed.iter().rev();
        // From the end: all between `old` and `place` has been moved on.
        let mut place = self.all.len();
        while place > old {
            let Some(&Listed { pid, inode, .. }) = listed.next() else { break };
            while old > 0 && self.all[old - 1].pid > pid {
                (old, place) = (old - 1, place - 1);
                self.all[place] = self.all[old];
            }
            place -= 1;
            if old > 0 && self.all[old - 1].pid == pid {
                old -= 1;
                self.all[place] = self.all[old];
            } else {
                self.all[place] = Seen::new(pid, inode, cycle);
            }
        }
    }

    /// Takes those back that vanished from the listing and are still there,
    /// hidden: a procfs that was remounted with `hidepid`, say.
    pub(crate) fn take_back(&mut self, mut is_there: impl FnMut(&Seen) -> bool) {
        let all = &mut self.all;
        self.vanished.retain(|seen| {
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
    pub(crate) fn recognise(&mut self, cycle: u32, mut may_be: impl FnMut(&Seen, &Seen) -> bool) {
        let Census { all, vanished, .. } = self;
        vanished.retain(|before| {
            let Ok(at) = all.binary_search_by_key(&before.pid, |seen| seen.pid) else {
                return true;
            };
            let Some(now) = all.get_mut(at) else { return true };
            // One that was there in two listings has outlived its tick since.
            let is_old = before.outlived_its_tick || before.born.saturating_add(1) < cycle;
            if !is_old || before.starttime != now.starttime || !may_be(before, now) {
                return true;
            }
            *now = Seen { inode: now.inode, ppid: now.ppid, ..*before };
            false
        });
    }

    pub(crate) fn find(&self, pid: u32) -> Option<&Seen> {
        find(&self.all, pid)
    }

    pub(crate) fn find_mut(&mut self, pid: u32) -> Option<&mut Seen> {
        let at = self.all.binary_search_by_key(&pid, |seen| seen.pid).ok()?;
        self.all.get_mut(at)
    }

    /// The process that this one had as its parent when it vanished: gone with
    /// it, or still there. A reused pid is not mistaken: who vanished goes
    /// first.
    pub(crate) fn parent_of_vanished(&self, seen: &Seen) -> Option<&Seen> {
        find(&self.vanished, seen.ppid).or_else(|| self.find(seen.ppid))
    }

    pub(crate) fn has_vanished(&self, pid: u32) -> bool {
        find(&self.vanished, pid).is_some()
    }
}

fn find(sorted: &[Seen], pid: u32) -> Option<&Seen> {
    let at = sorted.binary_search_by_key(&pid, |seen| seen.pid).ok()?;
    sorted.get(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(entries: &[(u32, u64)]) -> Vec<Listed> {
        entries.iter().map(|&(pid, inode)| Listed { pid, inode, starttime: 0 }).collect()
    }

    #[test]
    fn starttime_identifies_after_its_tick() {
        let mut seen = Seen::new(5, 15, 1);
        assert_eq!(seen.listed().starttime, 0);
        seen.began(700, 700);
        assert_eq!((seen.starttime, seen.listed().starttime), (700, 0));
        seen.began(700, 701);
        assert_eq!((seen.starttime, seen.listed().starttime), (700, 700));
    }

    #[test]
    fn new_exited_and_replaced() {
        let mut census = Census::default();
        census.update(&listing(&[(1, 11), (5, 15), (9, 19)]), 1);
        assert!(census.vanished.is_empty());
        census.find_mut(5).unwrap().slot = Some(7);
        census.find_mut(9).unwrap().slot = Some(8);
        census.update(&listing(&[(1, 11), (3, 13), (5, 99), (9, 19)]), 2);
        let pids = |seen: &[Seen]| seen.iter().map(|s| (s.pid, s.inode)).collect::<Vec<_>>();
        assert_eq!(pids(&census.all), [(1, 11), (3, 13), (5, 99), (9, 19)]);
        assert_eq!(pids(&census.vanished), [(5, 15)]);
        assert_eq!(census.vanished[0].slot, Some(7));
        assert_eq!(census.find(5).unwrap().slot, None);
        assert_eq!(census.find(5).unwrap().born, 2);
        assert_eq!(census.find(9).unwrap().slot, Some(8));
        census.update(&[], 3);
        assert_eq!(census.vanished.len(), 4);
        assert!(census.all.is_empty());
        census.take_back(|seen| seen.pid == 9 || seen.pid == 3);
        assert_eq!(pids(&census.all), [(3, 13), (9, 19)]);
        assert_eq!(pids(&census.vanished), [(1, 11), (5, 99)]);
    }

    #[test]
    fn partial_listing_keeps_others() {
        let mut census = Census::default();
        census.update(&listing(&[(1, 11), (5, 15), (9, 19), (12, 22)]), 1);
        let now = listing(&[(7, 17), (9, 99), (10, 20)]);
        let part = |processes| Part { listed: &now, pids: Pids::between(5, 10), processes };
        for wrong in [5, 7] {
            assert!(!census.update_part(&part(wrong), 2), "somebody went, or came, elsewhere");
        }
        assert!(census.update_part(&part(6), 2));
        let pids = |seen: &[Seen]| seen.iter().map(|s| (s.pid, s.inode)).collect::<Vec<_>>();
        let all = [(1, 11), (5, 15), (7, 17), (9, 99), (10, 20), (12, 22)];
        assert_eq!(pids(&census.all), all);
        assert_eq!(pids(&census.vanished), [(9, 19)]);
        assert_eq!(census.all.iter().map(|s| s.born).collect::<Vec<_>>(), [1, 1, 2, 2, 2, 1]);
        // Beyond the last pid, and from the first one on.
        let now = listing(&[(2, 12), (13, 23)]);
        let part = Part { listed: &now, pids: Pids::between(12, 3), processes: 6 };
        assert!(!census.update_part(&part, 3));
        assert!(census.update_part(&Part { processes: 7, ..part }, 3));
        assert_eq!(pids(&census.vanished), [(1, 11)]);
        assert_eq!(census.all.iter().map(|s| s.pid).collect::<Vec<_>>(), [2, 5, 7, 9, 10, 12, 13]);
    }

    proptest::proptest! {
        /// Against the obvious: the listed with what was known of them.
        #[test]
        fn listings_are_merged(listings in proptest::collection::vec(
            proptest::collection::btree_map(0u32..12, 0u64..3, 0..12), 1..6)
        ) {
            let mut census = Census::default();
            let mut known = std::collections::BTreeMap::new();
            for (cycle, now) in (1..).zip(&listings) {
                let entries: Vec<_> = now.iter().map(|(&pid, &inode)| (pid, inode)).collect();
                census.update(&listing(&entries), cycle);
                let vanished: Vec<_> =
                    census.vanished.iter().map(|seen| (seen.pid, seen.inode)).collect();
                let mut gone: Vec<(u32, u64)> = known.keys().copied().collect();
                gone.retain(|old| !entries.contains(old));
                proptest::prop_assert_eq!(vanished, gone);
                known.retain(|old, _| entries.contains(old));
                for &entry in &entries {
                    known.entry(entry).or_insert(cycle);
                }
                let all: Vec<_> =
                    census.all.iter().map(|seen| ((seen.pid, seen.inode), seen.born)).collect();
                proptest::prop_assert_eq!(all, known.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }
}

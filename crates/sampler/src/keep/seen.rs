//! Every process of the machine: a few bytes each, by pid.

use super::schedule;
use crate::memory::give_back;
use crate::read::listing::Listed;
use crate::reckon::ledger::Slot;

/// What is remembered of any process, matched or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) pid: u32,
    /// The inode of its entry in `/proc`, which a reused pid does not have.
    pub(crate) inode: u64,
    /// Its start time in ticks since boot (`stat`, field 22).
    pub(crate) starttime: u64,
    /// Its parent when last looked at.
    pub(crate) ppid: u32,
    /// Where more of it is kept, if it is tracked.
    pub(crate) slot: Option<Slot>,
    /// The cycle in which it was first seen.
    pub(crate) born: u32,
    /// The cycle in which its command line is due.
    pub(crate) look: u32,
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
            ppid: 0,
            slot: None,
            born: cycle,
            look: cycle,
            denied: false,
            blocked: false,
            living_thread: None,
        }
    }

    pub(crate) fn listed(&self) -> Listed {
        Listed { pid: self.pid, inode: self.inode, starttime: self.starttime }
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
    next: Vec<Seen>,
}

impl Census {
    /// Merges a listing, sorted by pid.
    pub(crate) fn update(&mut self, listed: &[Listed], cycle: u32) {
        self.vanished.clear();
        self.next.clear();
        let mut old = self.all.iter().peekable();
        for &Listed { pid, inode, .. } in listed {
            while let Some(before) = old.next_if(|before| before.pid < pid) {
                self.vanished.push(*before);
            }
            match old.next_if(|before| before.pid == pid) {
                Some(same) if same.inode == inode => self.next.push(*same),
                other => {
                    self.vanished.extend(other);
                    self.next.push(Seen::new(pid, inode, cycle));
                }
            }
        }
        self.vanished.extend(old);
        std::mem::swap(&mut self.all, &mut self.next);
        for list in [&mut self.all, &mut self.next, &mut self.vanished] {
            give_back(list);
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
            // It was there in two listings at least, so its start lies further
            // back than a tick, and a process that took its pid since has
            // another start time.
            let is_old = before.born.saturating_add(1) < cycle;
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
    fn who_came_who_went_and_who_is_another() {
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
}

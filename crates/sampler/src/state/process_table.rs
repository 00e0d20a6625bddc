//! The processes that exist: a few bytes for each, by pid.

use std::num::NonZeroU64;
use std::ops::{Range, RangeInclusive};

use super::schedule::{self, FULL_LISTING_INTERVAL};
use crate::fields::ProcessFields;
use crate::ids::{ProcessKey, Slot};
use crate::read::outcome::Outcome;
use crate::read::process_list::{PartialListing, PidRange};
use crate::shrink::shrink_vec;
use crate::source::ProcessSource;

/// The entry of one process, whether it belongs to an image or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessEntry {
    pub(crate) pid: u32,
    /// The inode of its entry in `/proc`; the next process with this pid has another one.
    pub(crate) inode: u64,
    /// Its start time in ticks since boot (`stat`, field 22).
    pub(crate) starttime: u64,
    /// The process was seen in a later tick than that: the next process with this pid has
    /// another start time.
    pub(crate) starttime_is_unique: bool,
    /// Its parent when `stat` was last read.
    pub(crate) ppid: u32,
    /// Its slot, if it is tracked.
    pub(crate) slot: Option<Slot>,
    /// The cycle in which it was first seen.
    pub(crate) first_seen_cycle: u32,
    /// The cycle in which its command line is due.
    pub(crate) next_read: u32,
    /// Its CPU time in nanoseconds before its command line was last read. `None` if that
    /// could not be read, or there is no CPU clock.
    pub(crate) cpu: Option<NonZeroU64>,
    /// The last cycle in which it was classified; 0 if it never was.
    pub(crate) last_classified: u32,
    /// Identifies the path of its control group, if that was read when it was last classified.
    pub(crate) cgroup: Option<NonZeroU64>,
    /// The fields that may not be read, which are tried again in a cycle.
    pub(crate) denied_fields: ProcessFields,
    pub(crate) fields_retry: u32,
    /// Its CPU time before its state was last read, if it is a child of a member and the states are
    /// requested; `None` as above.
    pub(crate) state_cpu: Option<NonZeroU64>,
    /// It had exited then.
    pub(crate) is_zombie: bool,
    /// Its command line was denied.
    pub(crate) denied: bool,
    /// The read of its start time blocked.
    pub(crate) lacks_starttime: bool,
    /// A live thread, if its leader has exited while other threads live.
    pub(crate) live_thread: Option<u32>,
    /// It started before the first cycle, and counters begin with that.
    pub(crate) has_past: bool,
    /// Nor may the first reading of an ancestor of such a process precede that process's.
    pub(crate) is_above_past: bool,
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
            cgroup: None,
            denied_fields: ProcessFields::NONE,
            fields_retry: 0,
            state_cpu: None,
            is_zombie: false,
            denied: false,
            lacks_starttime: false,
            live_thread: None,
            has_past: false,
            is_above_past: false,
        }
    }

    pub(crate) fn key(&self) -> ProcessKey {
        let starttime = if self.starttime_is_unique { self.starttime } else { 0 };
        ProcessKey { pid: self.pid, inode: self.inode, starttime }
    }

    /// Sets its start time; `now` is a tick in which it still existed.
    pub(crate) fn set_starttime(&mut self, starttime: u64, now: u64) {
        self.starttime = starttime;
        self.starttime_is_unique = is_before(starttime, now);
    }

    /// First seen in this cycle or the last one: its command line may still be that of
    /// its parent.
    pub(crate) fn is_recent(&self, cycle: u32) -> bool {
        cycle.saturating_sub(self.first_seen_cycle) < 2
    }

    /// Whether it has the parent of the kernel's threads, or is that, and no command line as yet.
    pub(crate) fn may_be_kernel_thread(&self) -> bool {
        const KTHREADD: u32 = 2;
        self.last_classified == 0 && (self.ppid == KTHREADD || self.pid == KTHREADD)
    }

    /// Notes that its command line was read.
    pub(crate) fn mark_read(&mut self, cycle: u32) {
        self.denied = false;
        self.next_read = schedule::next_read(self.pid, self.first_seen_cycle, cycle);
    }
}

/// All processes, by ascending pid, and the changes since the last listing.
#[derive(Debug, Default)]
pub(crate) struct ProcessTable {
    pub(crate) entries: Vec<ProcessEntry>,
    /// The processes of the last listing that have exited, by ascending pid. If a pid was
    /// reused, its last owner is here and its next one among the entries.
    pub(crate) exited: Vec<ProcessEntry>,
    /// A tracked process was found to have exited since the last listing.
    pub(crate) exit_noticed: bool,
    /// The pids of tracked zombies, sorted: their children have other parents.
    pub(crate) zombies: Vec<u32>,
    /// The tracked processes whose key has changed; empty between the steps.
    changed_keys: Vec<(Slot, ProcessKey)>,
    /// Where counters begin with the first cycle, that cycle and its clock tick.
    start: Start,
}

/// Whether a start time, in ticks after boot, is before another time. In a time namespace it can
/// be before the boot: then the kernel's nanoseconds, which have 64 bits and no sign, wrap. The
/// bounds hold for 100 to 1024 ticks per second, with which an uptime is below 28 years.
fn is_before(starttime: u64, now: u64) -> bool {
    const WRAPPED: Range<u64> = (1 << 63) / 10_000_000..1 << 45;
    starttime < now || WRAPPED.contains(&starttime)
}

/// Which processes were listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// Those with pids that were assigned since the last listing.
    NewPids,
    All,
}

/// The first listing.
#[derive(Clone, Copy, Debug, Default)]
enum Start {
    /// Counters begin with each process, so it does not matter.
    #[default]
    Ignored,
    Pending,
    At {
        cycle: u32,
        ticks: u64,
    },
}

impl ProcessTable {
    /// A table in which processes of before the first listing are marked as such.
    pub(crate) fn with_start() -> ProcessTable {
        ProcessTable { start: Start::Pending, ..ProcessTable::default() }
    }

    /// Lists the processes again: those that can have changed, or all. `None` if they
    /// cannot be listed; then the table is that of before.
    pub(crate) fn list(&mut self, source: &mut impl ProcessSource, cycle: u32) -> Option<Listed> {
        // The pid of a process that was found to have exited may belong to another one
        // whose creator chose it (clone3); then the number of processes is the same.
        let exit_noticed = std::mem::take(&mut self.exit_noticed);
        let ticks = match self.start {
            Start::Pending => source.boot_ticks(),
            _ => 0,
        };
        if !exit_noticed
            && !cycle.is_multiple_of(FULL_LISTING_INTERVAL)
            && let Some(part) = source.list_new()
            && self.update_partial(&part, cycle)
        {
            return Some(Listed::NewPids);
        }
        match source.list() {
            Ok(listed) => {
                self.update(listed, cycle);
                if matches!(self.start, Start::Pending) {
                    self.start = Start::At { cycle, ticks };
                }
                Some(Listed::All)
            }
            Err(_) => {
                self.exited.clear();
                None
            }
        }
    }

    /// Reads `stat` of the new processes, unless an earlier listing of this cycle had them.
    pub(crate) async fn read_new(&mut self, source: &mut impl ProcessSource, cycle: u32) {
        let is_new = |entry: &&mut ProcessEntry| entry.first_seen_cycle == cycle;
        for entry in self.entries.iter_mut().filter(is_new).filter(|entry| entry.starttime == 0) {
            if let Start::At { cycle: first, .. } = self.start {
                entry.has_past = cycle == first;
            }
            let Outcome::Value(stat) = source.stat(entry.pid).await else { continue };
            // One that was hidden in the first listing.
            if let Start::At { ticks, .. } = self.start {
                entry.has_past |=
                    stat.starttime.is_some_and(|starttime| is_before(starttime, ticks));
            }
            let starttime = stat.starttime.unwrap_or_default();
            let now = source.boot_ticks();
            // After the read: the process that has the pid now had it then.
            if !source.inode_matches(entry.key()) {
                // The pid is already that of another process, or the kernel has dropped the
                // entry from its cache. The next listing shows it, and has to list all.
                entry.starttime = starttime;
                entry.next_read = u32::MAX;
                self.exit_noticed = true;
                continue;
            }
            entry.set_starttime(starttime, now);
            entry.lacks_starttime = stat.starttime.is_none();
            entry.starttime_is_unique &= !entry.lacks_starttime;
            entry.ppid = stat.ppid;
            if stat.leader_exited() {
                entry.live_thread = source.live_thread(entry.key()).await;
            }
        }
    }

    /// Whether the parent of a new process is missing, after a listing of new pids: another process
    /// has exited, and the creator of the parent chose its pid (clone3). The pid can be the one of
    /// the exited process, whose entry is not that of the parent.
    pub(crate) fn lacks_parent(&self, source: &mut impl ProcessSource, cycle: u32) -> bool {
        let is_new = |entry: &ProcessEntry| entry.first_seen_cycle == cycle;
        let mut last = 0;
        self.entries.iter().filter(|entry| is_new(entry)).any(|entry| {
            let is_same = std::mem::replace(&mut last, entry.ppid) == entry.ppid;
            if is_same || entry.ppid == 0 {
                return false;
            }
            match self.find(entry.ppid) {
                Some(parent) => !is_new(parent) && !source.inode_matches(parent.key()),
                None => true,
            }
        })
    }

    /// Merges a full listing, sorted by pid.
    pub(crate) fn update(&mut self, listed: &[ProcessKey], cycle: u32) {
        self.merge(listed, PidRange::ALL, cycle);
    }

    /// Merges a partial listing, if afterwards the table has the number of processes that
    /// exist; true if it did.
    pub(crate) fn update_partial(&mut self, part: &PartialListing<'_>, cycle: u32) -> bool {
        let before: usize = part.pids.ranges().map(|pids| self.position(&pids).len()).sum();
        let complete = (self.entries.len() - before + part.listed.len()) as u64 == part.processes;
        if complete {
            self.merge(part.listed, part.pids, cycle);
        }
        complete
    }

    /// The positions of the processes with these pids.
    fn position(&self, pids: &RangeInclusive<u32>) -> Range<usize> {
        let start = self.entries.partition_point(|entry| entry.pid < *pids.start());
        start..self.entries.partition_point(|entry| entry.pid <= *pids.end()).max(start)
    }

    /// The processes with these pids are the listed ones and no others.
    fn merge(&mut self, listed: &[ProcessKey], pids: PidRange, cycle: u32) {
        self.exited.clear();
        let (mut kept, mut new) = (0, 0);
        let mut rest = listed.iter().peekable();
        for at in 0..self.entries.len() {
            let entry = self.entries[at];
            while rest.next_if(|now| now.pid < entry.pid).is_some() {
                new += 1;
            }
            let now = rest.peek().filter(|now| now.pid == entry.pid);
            let stays = match now {
                Some(now) => now.inode == entry.inode,
                None => !pids.contains(entry.pid),
            };
            if stays {
                // Without a write where nothing changes.
                if kept < at {
                    self.entries[kept] = entry;
                }
                kept += 1;
                rest.next_if(|now| now.pid == entry.pid);
            } else {
                self.exited.push(entry);
            }
        }
        new += rest.len();
        self.entries.truncate(kept);
        self.insert(listed, new, cycle);
        shrink_vec(&mut self.entries);
        shrink_vec(&mut self.exited);
    }

    /// Inserts the `new` ones of the listed processes that have no entry.
    fn insert(&mut self, listed: &[ProcessKey], new: usize, cycle: u32) {
        let mut old = self.entries.len();
        if self.entries.capacity() < old + new {
            // There can be thousands: not twice as much as is needed.
            self.entries.reserve_exact(new + old / 16);
        }
        self.entries.resize(old + new, ProcessEntry::new(0, 0, cycle));
        let mut listed = listed.iter().rev();
        // From the end: all between `old` and `place` has been moved.
        let mut place = self.entries.len();
        while place > old {
            let Some(&ProcessKey { pid, inode, .. }) = listed.next() else { break };
            while old > 0 && self.entries[old - 1].pid > pid {
                (old, place) = (old - 1, place - 1);
                self.entries[place] = self.entries[old];
            }
            place -= 1;
            if old > 0 && self.entries[old - 1].pid == pid {
                old -= 1;
                self.entries[place] = self.entries[old];
            } else {
                self.entries[place] = ProcessEntry::new(pid, inode, cycle);
            }
        }
    }

    /// Restores the processes that are missing in the listing but still exist: after a
    /// remount of procfs with `hidepid`, for example.
    pub(crate) fn restore_hidden(&mut self, mut exists: impl FnMut(&ProcessEntry) -> bool) {
        let entries = &mut self.entries;
        self.exited.retain(|entry| {
            let Err(place) = entries.binary_search_by_key(&entry.pid, |entry| entry.pid) else {
                return true;
            };
            let hidden = exists(entry);
            if hidden {
                entries.insert(place, *entry);
            }
            !hidden
        });
    }

    /// Recognizes the processes that only have another inode because the kernel dropped
    /// their entry from its cache, by a start time that identifies them.
    pub(crate) fn rematch_inodes(&mut self) {
        let ProcessTable { entries, exited, changed_keys, .. } = self;
        exited.retain(|before| {
            let Ok(at) = entries.binary_search_by_key(&before.pid, |entry| entry.pid) else {
                return true;
            };
            let Some(now) = entries.get_mut(at) else { return true };
            let is_same = before.starttime_is_unique && before.starttime == now.starttime;
            if is_same {
                let ppid = if now.ppid == 0 { before.ppid } else { now.ppid };
                *now = ProcessEntry { inode: now.inode, ppid, ..*before };
                changed_keys.extend(before.slot.map(|slot| (slot, now.key())));
            }
            !is_same
        });
    }

    /// Reads whether the processes of earlier cycles still exist of which that is not known
    /// after their first clock tick: then their start time identifies them. They are few.
    pub(crate) async fn confirm_starttimes(&mut self, source: &mut impl ProcessSource, cycle: u32) {
        for entry in &mut self.entries {
            if entry.lacks_starttime
                && !source.is_blocked(entry.pid)
                && let Outcome::Value(stat) = source.stat(entry.pid).await
                && let Some(starttime) = stat.starttime
                && source.inode_matches(entry.key())
            {
                entry.lacks_starttime = false;
                entry.starttime = starttime;
            }
            let is_unconfirmed = !entry.starttime_is_unique && entry.starttime != 0;
            if is_unconfirmed && entry.first_seen_cycle < cycle {
                let now = source.boot_ticks();
                if is_before(entry.starttime, now) && source.inode_matches(entry.key()) {
                    entry.starttime_is_unique = true;
                    self.changed_keys.extend(entry.slot.map(|slot| (slot, entry.key())));
                }
            }
        }
    }

    /// The tracked processes whose key has changed, since the last call.
    pub(crate) fn take_changed_keys(&mut self) -> impl Iterator<Item = (Slot, ProcessKey)> {
        shrink_vec(&mut self.changed_keys);
        self.changed_keys.drain(..)
    }

    /// The process with this pid has another parent: it may pass on its past to that.
    pub(crate) fn note_adoption(&mut self, at: usize) {
        let Some(&ProcessEntry { has_past, is_above_past, mut ppid, .. }) = self.entries.get(at)
        else {
            return;
        };
        if !has_past && !is_above_past {
            return;
        }
        while let Some(above) = self.find_mut(ppid)
            && !above.has_past
            && !above.is_above_past
        {
            above.is_above_past = true;
            ppid = above.ppid;
        }
    }

    pub(crate) fn find(&self, pid: u32) -> Option<&ProcessEntry> {
        find(&self.entries, pid)
    }

    pub(crate) fn find_mut(&mut self, pid: u32) -> Option<&mut ProcessEntry> {
        let at = self.entries.binary_search_by_key(&pid, |entry| entry.pid).ok()?;
        self.entries.get_mut(at)
    }

    /// The parent of an exited process at its exit, exited itself or not. If a pid was
    /// reused, its last owner is meant.
    pub(crate) fn parent_of_exited(&self, entry: &ProcessEntry) -> Option<&ProcessEntry> {
        find(&self.exited, entry.ppid).or_else(|| self.find(entry.ppid))
    }

    /// Whether some process may have another parent now.
    pub(crate) fn any_lost_parent(&self) -> bool {
        !self.exited.is_empty() || !self.zombies.is_empty()
    }

    /// Whether the parent of a process has exited.
    pub(crate) fn has_lost_parent(&self, entry: &ProcessEntry) -> bool {
        find(&self.exited, entry.ppid).is_some() || self.zombies.binary_search(&entry.ppid).is_ok()
    }

    /// Whether the owner of a pid has exited, and another process has the pid.
    pub(crate) fn is_reused(&self, pid: u32) -> bool {
        find(&self.exited, pid).is_some() && self.find(pid).is_some()
    }

    /// Sorts the list of zombies after it was filled.
    pub(crate) fn sort_zombies(&mut self) {
        self.zombies.sort_unstable();
        shrink_vec(&mut self.zombies);
    }

    /// The slot of a process that has exited is freed. The exit may have been noticed
    /// after the listing; the next one shows whether its pid has another owner.
    pub(crate) fn free(&mut self, slot: Slot, pid: u32) {
        if let Some(entry) = self.find_mut(pid).filter(|entry| entry.slot == Some(slot)) {
            entry.slot = None;
            entry.next_read = u32::MAX;
        }
    }

    /// Makes the command lines of all processes urgent in the cycle after this one.
    pub(crate) fn make_all_urgent(&mut self, cycle: u32) {
        for entry in &mut self.entries {
            entry.next_read = cycle;
        }
    }
}

fn find(sorted: &[ProcessEntry], pid: u32) -> Option<&ProcessEntry> {
    let at = sorted.binary_search_by_key(&pid, |entry| entry.pid).ok()?;
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
        let mut entry = ProcessEntry::new(5, 15, 1);
        assert_eq!(entry.key().starttime, 0);
        entry.set_starttime(700, 700);
        assert_eq!((entry.starttime, entry.key().starttime), (700, 0));
        entry.set_starttime(700, 701);
        assert_eq!((entry.starttime, entry.key().starttime), (700, 700));
    }

    /// As the kernel calculates it: `nsec_to_clock_t` of a sum of unsigned numbers.
    #[test]
    fn start_before_the_boot_of_a_time_namespace() {
        for ticks_per_second in [100, 250, 1024] {
            let ticks = |nanoseconds: u64| nanoseconds / (1_000_000_000 / ticks_per_second);
            let earlier = |seconds: u64| ticks(0_u64.wrapping_sub(seconds * 1_000_000_000));
            for seconds in [1, 1000, 100 * 365 * 86400] {
                assert!(is_before(earlier(seconds), 5), "{seconds} {ticks_per_second}");
            }
            let later = ticks(20 * 365 * 86400 * 1_000_000_000);
            assert!(!is_before(later, later) && is_before(later, later + 1));
        }
        assert!(!is_before(u64::MAX, 5));
    }

    #[test]
    fn new_exited_and_replaced() {
        let mut processes = ProcessTable::default();
        processes.update(&listing(&[(1, 11), (5, 15), (9, 19)]), 1);
        assert!(processes.exited.is_empty());
        processes.find_mut(5).unwrap().slot = Some(7);
        processes.find_mut(9).unwrap().slot = Some(8);
        processes.update(&listing(&[(1, 11), (3, 13), (5, 99), (9, 19)]), 2);
        let pids =
            |entry: &[ProcessEntry]| entry.iter().map(|s| (s.pid, s.inode)).collect::<Vec<_>>();
        assert_eq!(pids(&processes.entries), [(1, 11), (3, 13), (5, 99), (9, 19)]);
        assert_eq!(pids(&processes.exited), [(5, 15)]);
        assert_eq!(processes.exited[0].slot, Some(7));
        assert_eq!(processes.find(5).unwrap().slot, None);
        assert_eq!(processes.find(5).unwrap().first_seen_cycle, 2);
        assert_eq!(processes.find(9).unwrap().slot, Some(8));
        processes.update(&[], 3);
        assert_eq!(processes.exited.len(), 4);
        assert!(processes.entries.is_empty());
        processes.restore_hidden(|entry| entry.pid == 9 || entry.pid == 3);
        assert_eq!(pids(&processes.entries), [(3, 13), (9, 19)]);
        assert_eq!(pids(&processes.exited), [(1, 11), (5, 99)]);
    }

    #[test]
    fn partial_listing_keeps_others() {
        let mut processes = ProcessTable::default();
        processes.update(&listing(&[(1, 11), (5, 15), (9, 19), (12, 22)]), 1);
        let now = listing(&[(7, 17), (9, 99), (10, 20)]);
        let part =
            |processes| PartialListing { listed: &now, pids: PidRange::between(5, 10), processes };
        for wrong in [5, 7] {
            assert!(
                !processes.update_partial(&part(wrong), 2),
                "a process exited, or came, elsewhere"
            );
        }
        assert!(processes.update_partial(&part(6), 2));
        let pids =
            |entry: &[ProcessEntry]| entry.iter().map(|s| (s.pid, s.inode)).collect::<Vec<_>>();
        let all = [(1, 11), (5, 15), (7, 17), (9, 99), (10, 20), (12, 22)];
        assert_eq!(pids(&processes.entries), all);
        assert_eq!(pids(&processes.exited), [(9, 19)]);
        assert_eq!(
            processes.entries.iter().map(|s| s.first_seen_cycle).collect::<Vec<_>>(),
            [1, 1, 2, 2, 2, 1]
        );
        // Beyond the last pid, and from the first one on.
        let now = listing(&[(2, 12), (13, 23)]);
        let part = PartialListing { listed: &now, pids: PidRange::between(12, 3), processes: 6 };
        assert!(!processes.update_partial(&part, 3));
        assert!(processes.update_partial(&PartialListing { processes: 7, ..part }, 3));
        assert_eq!(pids(&processes.exited), [(1, 11)]);
        assert_eq!(
            processes.entries.iter().map(|s| s.pid).collect::<Vec<_>>(),
            [2, 5, 7, 9, 10, 12, 13]
        );
    }

    proptest::proptest! {
        /// Against a map from the listed processes to the cycle in which each was first seen.
        #[test]
        fn listings_are_merged(listings in proptest::collection::vec(
            proptest::collection::btree_map(0u32..12, 0u64..3, 0..12), 1..6)
        ) {
            let mut processes = ProcessTable::default();
            let mut first_seen = std::collections::BTreeMap::new();
            for (cycle, now) in (1..).zip(&listings) {
                let entries: Vec<_> = now.iter().map(|(&pid, &inode)| (pid, inode)).collect();
                processes.update(&listing(&entries), cycle);
                let exited: Vec<_> =
                    processes.exited.iter().map(|entry| (entry.pid, entry.inode)).collect();
                let mut exited_keys: Vec<(u32, u64)> = first_seen.keys().copied().collect();
                exited_keys.retain(|old| !entries.contains(old));
                proptest::prop_assert_eq!(exited, exited_keys);
                first_seen.retain(|old, _| entries.contains(old));
                for &entry in &entries {
                    first_seen.entry(entry).or_insert(cycle);
                }
                let all: Vec<_> =
                    processes.entries.iter().map(|entry| ((entry.pid, entry.inode), entry.first_seen_cycle)).collect();
                proptest::prop_assert_eq!(all, first_seen.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }
}

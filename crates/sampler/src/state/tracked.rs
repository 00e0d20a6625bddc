//! The processes that belong to an image, and those that stand between two of
//! them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::time::Instant;

use super::schedule::IDLE_FD_SCAN_INTERVAL;
use super::sockets::{Group, NetnsId, SocketInode, Table};
use crate::accounting::ledger::Slot;
use crate::image::ImageId;
use crate::numbers::table::Readings;
use crate::read::proc_dir::ProcessKey;
use crate::read::process::ProcessFds;
use crate::read::procfs::ProcDir;
use crate::read::socket_tables::Protocol;
use crate::shrink::shrink_vec;

/// What is kept of a tracked process.
#[derive(Debug)]
pub(crate) struct Tracked {
    pub(crate) key: ProcessKey,
    pub(crate) starttime: u64,
    /// The images that it belongs to, sorted. None: it stands between a member
    /// and an ancestor that is one (see the ledger), or was one before.
    pub(crate) images: Images,
    pub(crate) handles: ProcessFds,
    pub(crate) life: TrackedState,
    /// Its leader has ended: another of its threads, which has its memory and
    /// descriptors.
    pub(crate) living_thread: Option<u32>,
    /// Its parent's place, if that is tracked.
    pub(crate) parent: Option<Slot>,
    pub(crate) cpu: Cpu,
    pub(crate) io: FileState,
    pub(crate) readings: Readings,
    pub(crate) sockets: Sockets,
}

/// A process's images, sorted. Most have one, which takes no memory of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Images {
    #[default]
    None,
    One(ImageId),
    Several(Box<[ImageId]>),
}

impl From<&[ImageId]> for Images {
    fn from(images: &[ImageId]) -> Images {
        match images {
            [] => Images::None,
            &[image] => Images::One(image),
            several => Images::Several(several.into()),
        }
    }
}

impl Deref for Images {
    type Target = [ImageId];

    fn deref(&self) -> &[ImageId] {
        match self {
            Images::None => &[],
            Images::One(image) => std::slice::from_ref(image),
            Images::Several(images) => images,
        }
    }
}

/// How much of a process is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrackedState {
    /// It runs, if only in threads other than its first.
    Running,
    /// Only its entry is left, until its parent waits for it.
    Zombie,
    /// It has ended; its account waits to be settled.
    Exited,
}

/// CPU time at both ends of a window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// Nanoseconds of CPU time at the last reading.
    pub(crate) last: u64,
    /// When that was, while the window is open.
    pub(crate) opened: Option<Instant>,
    /// Nanoseconds of CPU time used in the window, and how long it was.
    pub(crate) used: Option<(u64, NonZeroU64)>,
    /// Neither clock nor `stat` could be read.
    pub(crate) denied: bool,
}

/// How the last read of a file ended, where its value is kept elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileState {
    Unread,
    Read,
    /// Not to be tried before this cycle.
    Denied {
        until: u32,
    },
    Failed,
}

impl FileState {
    /// Whether to try in this cycle.
    pub(crate) fn is_due(self, cycle: u32) -> bool {
        !matches!(self, FileState::Denied { until } if cycle < until)
    }

    pub(crate) fn is_denied(self) -> bool {
        matches!(self, FileState::Denied { .. })
    }
}

/// What is known of a process's sockets.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) state: FileState,
    /// All its sockets at the last look, sorted.
    pub(crate) inodes: Box<[SocketInode]>,
    /// How many descriptors it had then.
    pub(crate) descriptors: u64,
    /// Its network namespace then, by inode; `None` where it could not be read,
    /// and then none of its sockets count.
    pub(crate) netns: Option<NetnsId>,
    /// Something points to a change.
    pub(crate) stale: bool,
    /// The cycle of the last look.
    pub(crate) scanned_at: u32,
    /// Nanoseconds of CPU time before it.
    pub(crate) cpu: u64,
}

impl Sockets {
    /// Whether those of a protocol can be counted: which sockets it has is
    /// known, and whether they are in the table in which they would be.
    pub(crate) fn is_current(&self, protocol: Protocol, unread: &[Table]) -> bool {
        let table = self.netns.is_some_and(|netns| !unread.contains(&(protocol, netns)));
        self.state == FileState::Read && (table || self.inodes.is_empty())
    }
}

impl Tracked {
    fn new(who: ProcessKey, starttime: u64) -> Tracked {
        Tracked {
            key: who,
            starttime,
            images: Images::default(),
            handles: ProcessFds::default(),
            life: TrackedState::Running,
            living_thread: None,
            parent: None,
            cpu: Cpu::default(),
            io: FileState::Unread,
            readings: Readings::NONE,
            sockets: Sockets {
                state: FileState::Unread,
                inodes: Box::default(),
                descriptors: 0,
                netns: None,
                stale: true,
                scanned_at: 0,
                cpu: 0,
            },
        }
    }

    /// Its images in its network namespace: who holds its sockets.
    pub(crate) fn groups(&self) -> impl Iterator<Item = Group> {
        let netns = self.sockets.netns;
        self.images.iter().filter_map(move |&image| Some(Group { image, netns: netns? }))
    }

    /// How many descriptors it has, as far as is known.
    pub(crate) fn fd_count(&self) -> u64 {
        self.readings.descriptors.value().unwrap_or(self.sockets.descriptors)
    }

    /// Whether it has run since its descriptors were last looked at: without,
    /// it has opened and closed none. Asked in a cycle that has read its CPU time.
    pub(crate) fn sockets_may_have_changed(&self, cycle: u32) -> bool {
        let Sockets { state, stale: suspect, scanned_at: looked, cpu, .. } = &self.sockets;
        let Cpu { opened, used, .. } = &self.cpu;
        let is_read = opened.is_some() || used.is_some();
        let is_known = *state == FileState::Read && !suspect && is_read;
        !is_known || *cpu != self.cpu.last || looked + IDLE_FD_SCAN_INTERVAL <= cycle
    }

    /// Where its descriptors, memory and namespaces are to be seen: not in the
    /// folder of a leader that has ended.
    pub(crate) fn proc_dir(&self) -> ProcDir {
        match self.living_thread {
            None => ProcDir::Pid(self.key.pid),
            Some(tid) => ProcDir::Thread(self.key.pid, tid),
        }
    }

    pub(crate) fn is_member(&self) -> bool {
        !self.images.is_empty()
    }

    /// A member that counts as a process of its images.
    pub(crate) fn is_live_member(&self) -> bool {
        self.life == TrackedState::Running && self.is_member()
    }
}

/// Tracked processes by slot. Of the freed slots the lowest is used first, so
/// that after a crowd the upper ones become and stay empty, and are given up.
/// Boxed, so that an empty slot below one in use costs a pointer.
#[derive(Debug, Default)]
pub(crate) struct TrackedProcesses {
    slots: Vec<Option<Box<Tracked>>>,
    /// May hold some that were given up since.
    free: BinaryHeap<Reverse<Slot>>,
    count: usize,
}

impl TrackedProcesses {
    pub(crate) fn add(&mut self, who: ProcessKey, starttime: u64) -> Slot {
        self.count += 1;
        let tracked = Some(Box::new(Tracked::new(who, starttime)));
        if let Some(Reverse(slot)) = self.free.pop() {
            if let Some(place) = self.slots.get_mut(slot as usize) {
                *place = tracked;
                return slot;
            }
            // The lowest was given up, and so were all.
            self.free.clear();
        }
        self.slots.push(tracked);
        // Pids are 22 bits wide at most, and so is the number of slots.
        (self.slots.len() - 1) as Slot
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        if let Some(place) = self.slots.get_mut(slot as usize)
            && place.take().is_some()
        {
            self.free.push(Reverse(slot));
            self.count -= 1;
        }
        // After a storm the memory goes back.
        if self.count == 0 {
            *self = TrackedProcesses::default();
        } else {
            while self.slots.last().is_some_and(Option::is_none) {
                self.slots.pop();
            }
            shrink_vec(&mut self.slots);
            // Most were given up: rarely enough that it costs nothing to speak of.
            if self.free.len() > 2 * self.slots.len() {
                let mut free = std::mem::take(&mut self.free).into_vec();
                free.retain(|&Reverse(free)| (free as usize) < self.slots.len());
                shrink_vec(&mut free);
                self.free = free.into();
            }
        }
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Tracked> {
        self.slots.get(slot as usize)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Tracked> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Tracked)> {
        (0..).zip(&self.slots).filter_map(|(slot, place)| Some((slot, place.as_deref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut Tracked)> {
        (0..).zip(&mut self.slots).filter_map(|(slot, place)| Some((slot, place.as_deref_mut()?)))
    }

    /// One past the highest slot in use.
    pub(crate) fn end(&self) -> Slot {
        self.slots.len() as Slot
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::schedule::FD_SCAN_INTERVAL;

    fn pids(roll: &TrackedProcesses) -> Vec<(Slot, u32)> {
        roll.iter().map(|(slot, tracked)| (slot, tracked.key.pid)).collect()
    }

    fn add(roll: &mut TrackedProcesses, pid: u32) -> Slot {
        roll.add(ProcessKey { pid, inode: u64::from(pid), starttime: 0 }, 0)
    }

    /// Its descriptors are shared with a process that changes them, say.
    #[test]
    fn idle_process_uses_long_scan_interval() {
        let mut tracked = Tracked::new(ProcessKey { pid: 1, inode: 1, starttime: 0 }, 0);
        tracked.cpu = Cpu { last: 77, opened: Some(Instant::now()), ..Cpu::default() };
        tracked.sockets.scanned_at = 1000;
        tracked.sockets.cpu = 77;
        assert!(tracked.sockets_may_have_changed(1001), "never looked at");
        tracked.sockets.state = FileState::Read;
        assert!(tracked.sockets_may_have_changed(1001), "suspected");
        tracked.sockets.stale = false;
        let end = 1000 + IDLE_FD_SCAN_INTERVAL;
        assert!((1001..end).all(|cycle| !tracked.sockets_may_have_changed(cycle)));
        assert!((end..end + 50).all(|cycle| tracked.sockets_may_have_changed(cycle)));
        // With the turn of all, the bound of which the documents speak.
        assert_eq!(u64::from(IDLE_FD_SCAN_INTERVAL) + FD_SCAN_INTERVAL, 360);
        tracked.sockets.cpu = 76;
        assert!(tracked.sockets_may_have_changed(1001), "has run since");
    }

    /// The last of several went and another came: its place was given out
    /// although it was no more, and the collector panicked.
    #[test]
    fn the_last_place_is_freed_and_used_again() {
        let mut roll = TrackedProcesses::default();
        assert_eq!((add(&mut roll, 10), add(&mut roll, 11)), (0, 1));
        roll.remove(1);
        assert_eq!(add(&mut roll, 12), 1);
        assert_eq!(pids(&roll), [(0, 10), (1, 12)]);
    }

    #[test]
    fn a_place_is_given_to_one_at_a_time() {
        let mut roll = TrackedProcesses::default();
        for pid in 0..6 {
            add(&mut roll, pid);
        }
        for slot in [1, 4, 5, 3] {
            roll.remove(slot);
        }
        assert_eq!((roll.end(), roll.count()), (3, 2));
        for pid in 10..14 {
            add(&mut roll, pid);
        }
        let mut found: Vec<u32> = pids(&roll).into_iter().map(|(_, pid)| pid).collect();
        found.sort_unstable();
        assert_eq!(found, [0, 2, 10, 11, 12, 13]);
        assert_eq!(roll.count(), 6);
    }

    /// Of a crowd only the last stays; whoever comes gets a lower place.
    #[test]
    fn shrinks_after_large_population() {
        let mut roll = TrackedProcesses::default();
        for pid in 0..1000 {
            add(&mut roll, pid);
        }
        for slot in (0..999).rev() {
            roll.remove(slot);
        }
        for pid in 1000..5000 {
            let slot = add(&mut roll, pid);
            assert!(slot < 2, "{slot}");
            roll.remove(slot ^ 1);
        }
        roll.remove(999);
        assert_eq!((roll.end(), roll.count()), (2, 1));
        assert!(roll.slots.capacity() + roll.free.capacity() <= 1024 + 512);
        // None of the places that were given up is given out.
        for pid in 6000..6010 {
            add(&mut roll, pid);
        }
        assert_eq!((roll.end(), roll.count()), (11, 11));
    }

    #[test]
    fn after_a_storm_the_memory_goes_back() {
        let mut roll = TrackedProcesses::default();
        for pid in 0..1000 {
            add(&mut roll, pid);
        }
        for slot in 1..1000 {
            roll.remove(slot);
        }
        assert_eq!((roll.end(), roll.count(), roll.free.len()), (1, 1, 0));
    }
}

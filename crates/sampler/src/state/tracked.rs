//! The processes that belong to an image, and those between two of them in the tree.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Deref;
use std::time::{Duration, Instant};

use crate::cpu_time::{CpuReading, OwnCpu};
use crate::ids::{ProcessKey, Slot};
use crate::image::ImageIndex;
use crate::read::outcome::{Outcome, Unread};
use crate::read::procfs::ProcDir;
use crate::read::status::StatusValues;
use crate::shrink::shrink_vec;
use crate::source::{Handles, Target};
use crate::state::schedule::{self, DENIED_RETRY_INTERVAL, LIMITS_INTERVAL};
use crate::switches::ProcessSwitches;
use crate::usage::ProcessReadings;

/// A tracked process; `H` is what the source of readings keeps for it.
#[derive(Debug)]
pub(crate) struct Tracked<H> {
    pub(crate) key: ProcessKey,
    pub(crate) starttime: u64,
    /// The images that it belongs to, sorted. None: it is between a member and an ancestor
    /// that is one (see the ledger), or was a member before.
    pub(crate) images: Images,
    pub(crate) handles: H,
    pub(crate) lifecycle: Lifecycle,
    /// Another thread, which has its memory and descriptors, if its leader has exited.
    pub(crate) live_thread: Option<u32>,
    /// The slot of its parent, if that is tracked.
    pub(crate) parent: Option<Slot>,
    pub(crate) cpu: CpuWindow,
    /// The CPU time that it used itself, as far as it is known to be its own.
    pub(crate) own: OwnCpu,
    pub(crate) readings: ProcessReadings,
    pub(crate) fd_limit: FdLimit,
    /// Changes when it executes a program, if the source has it.
    pub(crate) exec_id: Option<NonZeroU32>,
    /// `status` at the end of the window, of its main thread or of a living one.
    pub(crate) status: Outcome<StatusValues>,
    /// Its context switches, if they are requested.
    pub(crate) switches: Option<Box<ProcessSwitches>>,
    /// It counts as a process of its images: it will be one that has exited.
    pub(crate) is_counted: bool,
    /// The pass over the tree in which the number of its descriptors was read.
    pub(crate) fds_pass: u32,
}

/// The images of a process, sorted. Most have one, which needs no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Images {
    #[default]
    None,
    One(ImageIndex),
    Several(Box<[ImageIndex]>),
}

impl From<&[ImageIndex]> for Images {
    fn from(images: &[ImageIndex]) -> Images {
        match images {
            [] => Images::None,
            &[image] => Images::One(image),
            several => Images::Several(several.into()),
        }
    }
}

impl Deref for Images {
    type Target = [ImageIndex];

    fn deref(&self) -> &[ImageIndex] {
        match self {
            Images::None => &[],
            Images::One(image) => std::slice::from_ref(image),
            Images::Several(images) => images,
        }
    }
}

/// How much of a process is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// It runs, perhaps only in threads other than its leader.
    Running,
    /// Only its entry is left, until its parent waits for it.
    Zombie,
    /// It has exited; its account is not resolved yet.
    Exited,
}

/// CPU time at both ends of a window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuWindow {
    /// The last reading.
    pub(crate) last: CpuReading,
    /// The instant of that reading, while the window is open.
    pub(crate) opened: Option<Instant>,
    /// The instant of that reading, if it was the one at the end of the last window.
    pub(crate) closed: Option<Instant>,
    /// CPU time used in the window, and the length of the window, in nanoseconds.
    pub(crate) used: Option<(u64, NonZeroU64)>,
    /// Its CPU clock before the last read of all its values; 0 if it is not known, or one of them
    /// is not.
    pub(crate) at_read: u64,
    /// The clock has not moved since, so it is not read at the end of this window.
    pub(crate) is_idle: bool,
    /// Neither the clock nor `stat` could be read.
    pub(crate) denied: bool,
    /// There is no clock, and the read of `stat` blocks.
    pub(crate) blocked: bool,
}

/// A tick at 100 Hz, the longest one.
const LONGEST_TICK: u64 = 10_000_000;

impl CpuWindow {
    /// Whether the process is idle in this cycle if its clock is still the same.
    pub(crate) fn may_be_idle(&self, pid: u32, cycle: u32) -> bool {
        self.at_read != 0 && !schedule::is_idle_read_due(pid, cycle)
    }

    /// Limits the CPU time to what this number of threads can use: the reading at the start of the
    /// window may have been late by up to a tick per thread, which the window then has in excess.
    /// A larger excess is CPU time of threads that started and exited in the window.
    pub(crate) fn limit(&mut self, threads: u64) {
        let Some((used, length)) = &mut self.used else { return };
        let possible = length.get().saturating_mul(threads);
        if used.saturating_sub(possible) <= LONGEST_TICK.saturating_mul(threads) {
            *used = (*used).min(possible);
        }
    }

    /// CPU time used in the window, in percent of one core.
    pub(crate) fn percent(&self) -> Option<f64> {
        let (used, length) = self.used?;
        // Both are far below 2^53, up to which f64 is exact.
        Some(used as f64 / length.get() as f64 * 100.0)
    }

    /// The length of the window.
    pub(crate) fn length(&self) -> Option<Duration> {
        self.used.map(|(_, length)| Duration::from_nanos(length.get()))
    }
}

/// How the last read of a file ended, where its value is stored elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileState {
    Never,
    Read,
    /// Not to be tried before this cycle.
    Denied {
        until: u32,
    },
    Failed,
    /// The read blocks, or was not attempted for that reason.
    Unread(Unread),
}

impl FileState {
    /// Whether to read it in this cycle.
    pub(crate) fn is_due(self, cycle: u32) -> bool {
        !matches!(self, FileState::Denied { until } if cycle < until)
    }

    pub(crate) fn is_denied(self) -> bool {
        matches!(self, FileState::Denied { .. })
    }
}

/// The soft limit of open descriptors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FdLimit {
    /// How the last read of `limits` ended.
    pub(crate) state: FileState,
    /// `u64::MAX` for no limit.
    soft: u64,
    /// The cycle of the first read since a sign of a change.
    first: u32,
    /// The cycle in which it is due.
    next: u32,
}

impl Default for FdLimit {
    fn default() -> FdLimit {
        FdLimit { state: FileState::Never, soft: 0, first: 0, next: 0 }
    }
}

impl FdLimit {
    /// Whether to read it in this cycle.
    pub(crate) fn is_due(&self, cycle: u32) -> bool {
        self.next <= cycle
    }

    /// The process has executed another program.
    pub(crate) fn mark_stale(&mut self) {
        if self.state.is_due(0) {
            (self.first, self.next) = (0, 0);
        }
    }

    /// Applies the result of a read. `is_old`: the process started long ago, so that its reads are
    /// spread over the cycles at once, unless it has executed another program.
    pub(crate) fn update(&mut self, pid: u32, limit: Outcome<u64>, cycle: u32, is_old: bool) {
        if self.first == 0 {
            let is_settled = is_old && self.state == FileState::Never;
            let first = if is_settled { cycle.wrapping_sub(LIMITS_INTERVAL) } else { cycle };
            self.first = first.max(1);
        }
        self.next = cycle + 1;
        self.state = match limit {
            Outcome::Value(soft) => {
                self.soft = soft;
                self.next = schedule::next_limits_read(pid, self.first, cycle);
                FileState::Read
            }
            // Another read shows it.
            Outcome::Exited => return,
            Outcome::Denied => {
                self.next = cycle + DENIED_RETRY_INTERVAL;
                FileState::Denied { until: self.next }
            }
            Outcome::Failed(_) => FileState::Failed,
            Outcome::Unread(unread) => FileState::Unread(unread),
        };
    }

    /// This number of descriptors in percent of the limit. A limit of 0 counts as 1.
    pub(crate) fn percent(&self, fds: u64) -> Option<f64> {
        match (self.state, self.soft) {
            (FileState::Read, u64::MAX) => Some(0.0),
            (FileState::Read, soft) => Some(fds as f64 / soft.max(1) as f64 * 100.0),
            _ => None,
        }
    }
}

impl<H: Handles> Tracked<H> {
    fn new(key: ProcessKey, starttime: u64) -> Tracked<H> {
        Tracked {
            key,
            starttime,
            images: Images::default(),
            handles: H::default(),
            lifecycle: Lifecycle::Running,
            live_thread: None,
            parent: None,
            cpu: CpuWindow::default(),
            own: OwnCpu::default(),
            readings: ProcessReadings::NONE,
            fd_limit: FdLimit::default(),
            exec_id: None,
            status: Outcome::Exited,
            switches: None,
            is_counted: false,
            fds_pass: 0,
        }
    }
}

impl<H> Tracked<H> {
    /// The process as its source needs it.
    pub(crate) fn target(&mut self, slot: Slot) -> Target<'_, H> {
        Target { key: self.key, slot, live_thread: self.live_thread, handles: &mut self.handles }
    }

    /// The directory that shows its descriptors, memory and namespaces: not that of a
    /// leader that has exited.
    pub(crate) fn proc_dir(&self) -> ProcDir {
        match self.live_thread {
            None => ProcDir::Pid(self.key.pid),
            Some(tid) => ProcDir::Thread(self.key.pid, tid),
        }
    }

    /// Whether it belongs to an image.
    pub(crate) fn is_member(&self) -> bool {
        !self.images.is_empty()
    }

    /// A member that counts as a process of its images.
    pub(crate) fn is_live_member(&self) -> bool {
        self.lifecycle == Lifecycle::Running && self.is_member()
    }
}

/// The tracked processes by slot. The lowest free slot is reused first, so that after a
/// large population the upper slots become and stay empty, and are removed. Boxed, so that
/// an empty slot below a used one costs a pointer.
#[derive(Debug)]
pub(crate) struct TrackedProcesses<H> {
    slots: Vec<Option<Box<Tracked<H>>>>,
    /// May contain slots that were removed since.
    free: BinaryHeap<Reverse<Slot>>,
    count: usize,
    /// The slots of the processes that were found to have exited since
    /// [`drain_exited`](Self::drain_exited) was called.
    exited: Vec<Slot>,
}

impl<H> Default for TrackedProcesses<H> {
    fn default() -> TrackedProcesses<H> {
        let (slots, free, exited) = (Vec::new(), BinaryHeap::new(), Vec::new());
        TrackedProcesses { slots, free, count: 0, exited }
    }
}

impl<H: Handles> TrackedProcesses<H> {
    pub(crate) fn add(&mut self, key: ProcessKey, starttime: u64) -> Slot {
        self.count += 1;
        let process = Some(Box::new(Tracked::new(key, starttime)));
        if let Some(Reverse(slot)) = self.free.pop() {
            if let Some(place) = self.slots.get_mut(slot as usize) {
                *place = process;
                return slot;
            }
            // The lowest was removed, and so were all.
            self.free.clear();
        }
        self.slots.push(process);
        // Pids have 22 bits at most, and so has the number of slots.
        (self.slots.len() - 1) as Slot
    }

    /// A process has exited: its handles are closed, and its account is to be resolved.
    pub(crate) fn mark_exited(&mut self, slot: Slot) {
        if let Some(process) = self.get_mut(slot) {
            process.lifecycle = Lifecycle::Exited;
            process.handles = H::default();
            self.exited.push(slot);
        }
    }
}

impl<H> TrackedProcesses<H> {
    /// Calls `each` for the processes that were marked as exited since the last call; true if
    /// there were any.
    pub(crate) fn drain_exited(&mut self, mut each: impl FnMut(Slot, &mut Tracked<H>)) -> bool {
        let mut exited = std::mem::take(&mut self.exited);
        let any = !exited.is_empty();
        shrink_vec(&mut exited);
        for slot in exited.drain(..) {
            if let Some(process) = self.get_mut(slot) {
                each(slot, process);
            }
        }
        self.exited = exited;
        any
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        if let Some(place) = self.slots.get_mut(slot as usize)
            && place.take().is_some()
        {
            self.free.push(Reverse(slot));
            self.count -= 1;
        }
        // After a large population its memory is released.
        if self.count == 0 {
            *self = TrackedProcesses::default();
        } else {
            while self.slots.last().is_some_and(Option::is_none) {
                self.slots.pop();
            }
            shrink_vec(&mut self.slots);
            // Most were removed: rare enough to cost next to nothing.
            if self.free.len() > 2 * self.slots.len() {
                let mut free = std::mem::take(&mut self.free).into_vec();
                free.retain(|&Reverse(free)| (free as usize) < self.slots.len());
                shrink_vec(&mut free);
                self.free = free.into();
            }
        }
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Tracked<H>> {
        self.slots.get(slot as usize)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Tracked<H>> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    /// The process in a slot, unless it has exited.
    pub(crate) fn live(&self, slot: Slot) -> Option<&Tracked<H>> {
        self.get(slot).filter(|process| process.lifecycle != Lifecycle::Exited)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Tracked<H>)> {
        (0..).zip(&self.slots).filter_map(|(slot, place)| Some((slot, place.as_deref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut Tracked<H>)> {
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

    type Processes = TrackedProcesses<()>;

    fn pids(processes: &Processes) -> Vec<(Slot, u32)> {
        processes.iter().map(|(slot, process)| (slot, process.key.pid)).collect()
    }

    fn add(processes: &mut Processes, pid: u32) -> Slot {
        processes.add(ProcessKey { pid, inode: u64::from(pid), starttime: 0 }, 0)
    }

    /// The last of several processes exited and another one came: it was given a slot that
    /// did not exist any more, and the collector panicked.
    #[test]
    fn last_slot_is_freed_and_reused() {
        let mut processes = Processes::default();
        assert_eq!((add(&mut processes, 10), add(&mut processes, 11)), (0, 1));
        processes.remove(1);
        assert_eq!(add(&mut processes, 12), 1);
        assert_eq!(pids(&processes), [(0, 10), (1, 12)]);
    }

    #[test]
    fn slot_has_one_process_at_a_time() {
        let mut processes = Processes::default();
        for pid in 0..6 {
            add(&mut processes, pid);
        }
        for slot in [1, 4, 5, 3] {
            processes.remove(slot);
        }
        assert_eq!((processes.end(), processes.count()), (3, 2));
        for pid in 10..14 {
            add(&mut processes, pid);
        }
        let mut found: Vec<u32> = pids(&processes).into_iter().map(|(_, pid)| pid).collect();
        found.sort_unstable();
        assert_eq!(found, [0, 2, 10, 11, 12, 13]);
        assert_eq!(processes.count(), 6);
    }

    /// Only the last of a large population stays; new processes get lower slots.
    #[test]
    fn shrinks_after_large_population() {
        let mut processes = Processes::default();
        for pid in 0..1000 {
            add(&mut processes, pid);
        }
        for slot in (0..999).rev() {
            processes.remove(slot);
        }
        for pid in 1000..5000 {
            let slot = add(&mut processes, pid);
            assert!(slot < 2, "{slot}");
            processes.remove(slot ^ 1);
        }
        processes.remove(999);
        assert_eq!((processes.end(), processes.count()), (2, 1));
        // A page of each; a slot has 4 or 8 bytes.
        let slots = processes.slots.capacity() * size_of::<usize>();
        let free = processes.free.capacity() * size_of::<Slot>();
        assert!(slots + free <= 2 * 4096, "{slots} {free}");
        // None of the removed slots is reused.
        for pid in 6000..6010 {
            add(&mut processes, pid);
        }
        assert_eq!((processes.end(), processes.count()), (11, 11));
    }

    #[test]
    fn free_list_shrinks_with_the_slots() {
        let mut processes = Processes::default();
        for pid in 0..1000 {
            add(&mut processes, pid);
        }
        for slot in 1..1000 {
            processes.remove(slot);
        }
        assert_eq!((processes.end(), processes.count(), processes.free.len()), (1, 1, 0));
    }

    /// A single thread had 100.27 %.
    #[test]
    fn threads_use_no_more_than_the_time() {
        let percent = |used: u64, threads: u64| {
            let length = NonZeroU64::new(1_000_000_000);
            let used = length.map(|length| (used, length));
            let mut cpu = CpuWindow { used, ..CpuWindow::default() };
            cpu.limit(threads);
            cpu.percent().unwrap()
        };
        assert_eq!([percent(1_002_700_000, 1), percent(2_020_000_000, 2)], [100.0, 200.0]);
        assert_eq!([percent(999_900_000, 1), percent(1_002_700_000, 2)], [99.99, 100.27]);
        // Threads that started and exited within the window.
        assert_eq!([percent(1_500_000_000, 1), percent(3_000_000_000, 0)], [150.0, 300.0]);
    }

    #[test]
    fn descriptors_in_percent_of_their_limit() {
        let mut limit = FdLimit::default();
        assert!(limit.is_due(1) && limit.percent(3).is_none());
        for (soft, fds, percent) in
            [(200, 3, 1.5), (200, 250, 125.0), (0, 3, 300.0), (0, 0, 0.0), (u64::MAX, 900, 0.0)]
        {
            limit.update(7, Outcome::Value(soft), 4, false);
            assert_eq!(limit.percent(fds), Some(percent), "{soft} {fds}");
        }
        assert!(!limit.is_due(4) && limit.is_due(5));
        limit.update(7, Outcome::Denied, 5, false);
        limit.mark_stale();
        assert!(!limit.is_due(6) && limit.percent(3).is_none());
        assert!(limit.is_due(5 + DENIED_RETRY_INTERVAL));
    }

    /// The first reads of a process are not spread, unless it is old and was not another program since.
    #[test]
    fn limit_of_an_old_process_is_read_in_turn() {
        let dues = |is_old, executes| {
            let mut limit = FdLimit::default();
            limit.update(7, Outcome::Value(100), 100, is_old);
            if executes {
                limit.mark_stale();
                limit.update(7, Outcome::Value(100), 100, is_old);
            }
            limit.is_due(101)
        };
        // The interval before the first cycles.
        let mut early = FdLimit::default();
        early.update(7, Outcome::Value(100), 1, true);
        assert!(!early.is_due(2) && early.is_due(7));
        assert!(dues(false, false) && dues(true, true) && !dues(true, false));
    }

    #[test]
    fn exits_are_drained_once() {
        let mut processes = Processes::default();
        let slots = [10, 11, 12].map(|pid| add(&mut processes, pid));
        processes.mark_exited(slots[1]);
        let mut exited = Vec::new();
        assert!(processes.drain_exited(|slot, process| exited.push((slot, process.key.pid))));
        assert_eq!(exited, [(1, 11)]);
        assert!(!processes.drain_exited(|_, _| unreachable!()));
        assert!(processes.live(slots[1]).is_none() && processes.live(slots[0]).is_some());
    }
}

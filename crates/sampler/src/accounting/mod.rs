//! Accounting of io, CPU time and page faults: which reading of which process counts in which image.
//!
//! [`IoAccounting`] reads `io`, and `stat` for the CPU time of reaped children, in the order that
//! the ledgers need, and passes the readings to them. A [`ledger`] does the arithmetic and reads
//! nothing; [`aggregate`] sums the readings of all processes by image.
//!
//! # CPU time
//! A process's own time is that of its CPU clock, which is read in each cycle. Only `stat` has that
//! of the children that it reaped, and costs more. It is read
//!
//! * once of each member;
//! * where a process below has exited;
//! * of members that have used CPU time since it was last read, since a process cannot reap
//!   otherwise: of those that had children or are recent in each cycle, as of those that did more
//!   io than they can have done in their CPU time; of the others in turn. Where there is no CPU
//!   clock, ticks do not show that a process has used none.
//!
//! # Idle processes
//! If the CPU clock of a member has not moved since its last complete reading, it is left out, unless
//! there was an exit below it, or it has joined an image. Its last reading stands without being
//! accepted again: the clock of a thread that runs is late by up to a tick.
//!
//! # Page faults
//! If they are to be counted, `stat` is read of each member that has used CPU time since, as a page
//! fault takes some. It has both parts of their reading.

pub(crate) mod aggregate;
mod io_order;
pub(crate) mod ledger;
pub(crate) mod membership;

use std::collections::HashMap;

use self::io_order::{IoVisitor, Shown};
use self::ledger::{Counters as _, Ledger, ReadParent};
use crate::cpu_time::{CpuCounters, CpuReading, CpuTime, ImageCpu};
use crate::fault_counts::{FaultCounters, FaultCounts};
use crate::ids::Slot;
use crate::image::ImageIndex;
use crate::io_counters::IoCounters;
use crate::lifetimes::FinalCounters;
use crate::read::outcome::Outcome;
use crate::shrink::shrink_vec;
use crate::source::{Handles, ParentStat, ProcessSource};
use crate::state::process_table::ProcessTable;
use crate::state::process_tree::ProcessTree;
use crate::state::schedule::{DENIED_RETRY_INTERVAL, is_reaping_check_due};
use crate::state::tracked::{FileState, Tracked, TrackedProcesses};

/// The io and CPU time of all tracked processes: their accounts, their tree, and the state of
/// their files.
#[derive(Debug, Default)]
pub(crate) struct IoAccounting {
    ledger: Ledger<IoCounters>,
    cpu: Ledger<CpuCounters>,
    /// If they are to be counted.
    faults: Option<Ledger<FaultCounters>>,
    tree: ProcessTree,
    /// A process came, exited, or got another parent, so the tree is out of date.
    tree_is_dirty: bool,
    /// By slot.
    states: Vec<ReadState>,
    /// Counts the passes over the tree.
    pass: u32,
    /// By image, summed at the end of a cycle.
    totals: Vec<Option<IoCounters>>,
    cpu_totals: Vec<Option<CpuCounters>>,
    image_cpu: Vec<ImageCpu>,
    cpu_times: Vec<Option<CpuTime>>,
    fault_totals: Vec<Option<FaultCounters>>,
    /// A buffer, empty between the steps.
    resolved: Vec<Slot>,
}

/// The state of the files of a process.
#[derive(Clone, Copy, Debug)]
struct ReadState {
    io: FileState,
    /// Its last readings were accepted, and its images are the same since.
    is_current: bool,
    /// `stat`, for the CPU time of the children that it reaped.
    stat: FileState,
    /// `stat` has to be read: a process below has exited.
    stat_is_due: bool,
    /// It has or had children.
    is_parent: bool,
    /// The cycle in which it was tracked.
    tracked_in: u32,
    /// Its own CPU time at the last reading of `stat`, and in the last pass.
    cpu_at_stat: u64,
    cpu_at_pass: u64,
    /// Its own CPU time that the ledger has.
    cpu_in_ledger: u64,
    /// By how many ledgers its exit is not resolved.
    unresolved: u8,
}

impl ReadState {
    fn new(cycle: u32) -> ReadState {
        ReadState {
            io: FileState::Never,
            is_current: false,
            stat: FileState::Never,
            stat_is_due: false,
            is_parent: false,
            tracked_in: cycle,
            cpu_at_stat: 0,
            cpu_at_pass: 0,
            cpu_in_ledger: 0,
            unresolved: 0,
        }
    }

    /// io or `stat` was never read.
    fn is_new(&self) -> bool {
        self.io == FileState::Never || self.stat == FileState::Never
    }

    /// Whether its last readings are those of now, if it has not run.
    fn is_current_if_idle(&self) -> bool {
        self.is_current
            && self.io == FileState::Read
            && self.stat == FileState::Read
            && !self.stat_is_due
    }

    /// Whether a past that was not read, of io and of `stat`, can be read.
    fn is_past_readable(&self, (io, stat): (bool, bool)) -> bool {
        let is_readable = |file: FileState| matches!(file, FileState::Never | FileState::Read);
        (io && is_readable(self.io)) || (stat && is_readable(self.stat))
    }

    /// Whether the process may have reaped children that its last reading does not have.
    /// `cpu`: its own CPU time now; `io`: its growth since the last pass, if that is known.
    fn may_have_reaped(
        &self,
        pid: u32,
        cycle: u32,
        cpu: CpuReading,
        io: Option<IoCounters>,
        counts_faults: bool,
    ) -> bool {
        let used = cpu.total.saturating_sub(self.cpu_at_pass);
        // In ticks it does not show that it ran.
        let may_have_run = cpu.user.is_some() || cpu.total != self.cpu_at_stat;
        may_have_run
            && (counts_faults
                || self.is_parent
                || is_reaping_check_due(pid, self.tracked_in, cycle)
                || (cpu.user.is_none() && io.is_some_and(|io| exceeds_cpu_time(io, used))))
    }
}

/// Whether io is more than a process can do in this CPU time, in nanoseconds: 16 bytes per
/// nanosecond, a call per 100.
fn exceeds_cpu_time(io: IoCounters, cpu: u64) -> bool {
    let cpu = i64::try_from(cpu).unwrap_or(i64::MAX);
    let calls = io.syscr.saturating_add(io.syscw);
    let bytes = io.rchar.saturating_add(io.wchar);
    calls.saturating_mul(100) > cpu || bytes / 16 > cpu
}

/// Takes a reading of the CPU clock of a process into account.
pub(crate) fn update_own<S: ProcessSource>(
    source: &mut S,
    process: &mut Tracked<S::Handles>,
    clock: CpuReading,
) {
    let needs_samples = process.own.needs_samples(clock);
    let samples = if needs_samples { source.cpu_samples(process.key.pid) } else { None };
    process.own.update(clock, samples);
}

/// Does the same in each ledger.
macro_rules! in_each_ledger {
    ($of:ident, |$ledger:ident| $action:expr) => {{
        let $ledger = &mut $of.ledger;
        $action;
        let $ledger = &mut $of.cpu;
        $action;
        if let Some($ledger) = $of.faults.as_mut() {
            $action;
        }
    }};
}

/// Which processes one pass reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// Members whose `io` was never read.
    First,
    /// All members.
    All,
}

/// How much of its io from before it joins an image counts there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum History {
    /// It belonged to the image from its start, or from before the first cycle: all, except an
    /// excluded past.
    All,
    /// It belonged to another image: all since its last reading.
    SinceLastReading,
    /// Nothing until the end of this cycle.
    None,
}

impl IoAccounting {
    /// `rounding`: by how much less the kernel may show each mode of the CPU time of children.
    pub(crate) fn new(rounding: u64) -> IoAccounting {
        let tick = CpuTime { user: rounding, system: rounding };
        let cpu = Ledger::with_rounding(CpuCounters::of_children(tick));
        IoAccounting { cpu, ..IoAccounting::default() }
    }

    /// Counts page faults too, from the first cycle on.
    pub(crate) fn count_faults(&mut self) {
        self.faults = Some(Ledger::default());
    }

    /// The number of ledgers.
    fn ledgers(&self) -> u8 {
        2 + u8::from(self.faults.is_some())
    }

    /// Opens the account of a process that is tracked from now on. `has_past`: what it did until
    /// its first reading counts in no image.
    pub(crate) fn track(&mut self, slot: Slot, has_past: bool, cycle: u32) {
        let at = slot as usize;
        if self.states.len() <= at {
            self.states.resize(at + 1, ReadState::new(cycle));
        }
        self.states[at] = ReadState::new(cycle);
        in_each_ledger!(self, |ledger| ledger.open(slot));
        if has_past {
            in_each_ledger!(self, |ledger| ledger.exclude_past(slot));
        }
        self.tree_is_dirty = true;
    }

    /// Notes that a process has or had a child.
    pub(crate) fn note_parent(&mut self, slot: Slot) {
        if let Some(state) = self.states.get_mut(slot as usize) {
            state.is_parent = true;
        }
    }

    /// A process has reaped one that has no account: its next reading has that one's counters.
    pub(crate) fn note_reaped(&mut self, slot: Slot) {
        if let Some(state) = self.states.get_mut(slot as usize) {
            state.is_parent = true;
            state.stat_is_due = true;
        }
    }

    /// Counts a process in an image that has ended without an account, and whose counters those of no
    /// other process have.
    pub(crate) fn count_ended(&mut self, image: ImageIndex, counters: FinalCounters) {
        self.ledger.count_ended(image, counters.io);
        self.cpu.count_ended(image, counters.cpu);
        if let Some(ledger) = &mut self.faults {
            ledger.count_ended(image, counters.faults);
        }
    }

    /// The last accepted readings of a process; 0 where there is none.
    pub(crate) fn last_readings(&self, slot: Slot) -> FinalCounters {
        FinalCounters {
            io: self.ledger.last(slot).unwrap_or_default(),
            cpu: self.cpu.last(slot).unwrap_or_default(),
            faults: self.faults.as_ref().and_then(|faults| faults.last(slot)).unwrap_or_default(),
        }
    }

    /// How the last read of a process's `io` ended.
    pub(crate) fn file(&self, slot: Slot) -> FileState {
        self.states.get(slot as usize).map_or(FileState::Never, |state| state.io)
    }

    /// Whether a process is among those of [`read_first`](Self::read_first).
    pub(crate) fn is_read_first<H>(&self, slot: Slot, process: &Tracked<H>) -> bool {
        let Some(state) = self.states.get(slot as usize) else { return false };
        let past = (self.ledger.has_unread_past(slot), self.cpu.has_unread_past(slot));
        if process.is_member() { state.is_new() } else { state.is_past_readable(past) }
    }

    /// Whether the last readings of a process are those of now, if it has not run.
    pub(crate) fn is_current_if_idle(&self, slot: Slot) -> bool {
        self.states.get(slot as usize).is_some_and(ReadState::is_current_if_idle)
    }

    /// Makes a denied file due again: the process has become another program.
    pub(crate) fn retry_denied(&mut self, slot: Slot) {
        let Some(state) = self.states.get_mut(slot as usize) else { return };
        for file in [&mut state.io, &mut state.stat] {
            if file.is_denied() {
                *file = FileState::Never;
            }
        }
    }

    /// The last accepted reading of a process.
    pub(crate) fn last(&self, slot: Slot) -> Option<IoCounters> {
        self.ledger.last(slot)
    }

    /// Whether its last reading of `io` is one of the last cycle, or stands.
    #[cfg(test)]
    pub(crate) fn is_current(&self, slot: Slot) -> bool {
        let state = self.states.get(slot as usize);
        state.is_some_and(|state| state.io == FileState::Read && state.is_current)
    }

    /// The last accepted reading of its CPU time.
    #[cfg(test)]
    pub(crate) fn last_cpu(&self, slot: Slot) -> Option<CpuCounters> {
        self.cpu.last(slot)
    }

    /// The CPU time of a process and of the children that it reaped, as last read.
    pub(crate) fn cpu(&self, slot: Slot) -> Option<CpuTime> {
        self.cpu.last(slot).map(CpuCounters::time)
    }

    /// Whether its CPU time is known.
    pub(crate) fn has_cpu(&self, slot: Slot) -> bool {
        self.cpu.last(slot).is_some()
    }

    /// A process still existed after its CPU clock was read at the end of the window.
    pub(crate) fn update_cpu<S: ProcessSource>(
        &mut self,
        source: &mut S,
        slot: Slot,
        process: &mut Tracked<S::Handles>,
    ) {
        if process.cpu.used.is_some() && process.own.total() != process.cpu.last.total {
            update_own(source, process, process.cpu.last);
            if let Some(state) = self.states.get_mut(slot as usize) {
                state.cpu_in_ledger = process.own.total();
            }
            self.cpu.mark_alive(slot);
            self.cpu.update_own(slot, CpuCounters::new(process.own.time(), CpuTime::ZERO));
        }
    }

    /// Makes room for this number of images.
    pub(crate) fn ensure_images(&mut self, count: usize) {
        in_each_ledger!(self, |ledger| ledger.ensure_images(count));
    }

    /// Forgets images, given in ascending order.
    pub(crate) fn release_images(&mut self, images: &[ImageIndex]) {
        self.ledger.release_images(images);
        self.cpu.release_images(images);
        for image in images {
            if let Some(cpu) = self.image_cpu.get_mut(image.index()) {
                *cpu = ImageCpu::default();
            }
        }
    }

    /// The parent of some process has changed.
    pub(crate) fn invalidate_tree(&mut self) {
        self.tree_is_dirty = true;
    }

    /// Sets the baseline of an account that joins its first image: the counters until
    /// now, if they could be read.
    pub(crate) fn set_baseline(
        &mut self,
        slot: Slot,
        io: Option<IoCounters>,
        cpu: Option<CpuCounters>,
        faults: Option<FaultCounters>,
    ) {
        self.ledger.set_baseline(slot, io);
        self.cpu.set_baseline(slot, cpu);
        if let Some(ledger) = &mut self.faults {
            ledger.set_baseline(slot, faults);
        }
        if let Some(state) = self.states.get_mut(slot as usize) {
            // Its children may have been reaped before its next reading of its CPU clock.
            state.stat_is_due = true;
            state.is_current = false;
        }
    }

    /// Makes room for this number of further images of a process.
    pub(crate) fn reserve(&mut self, slot: Slot, images: usize) {
        in_each_ledger!(self, |ledger| ledger.reserve(slot, images));
    }

    /// Adds a process to an image.
    pub(crate) fn join(&mut self, slot: Slot, image: ImageIndex, history: History) {
        if let Some(state) = self.states.get_mut(slot as usize) {
            state.is_current = false;
        }
        match history {
            History::All => {
                in_each_ledger!(self, |ledger| ledger.join_with_history(slot, image));
            }
            History::SinceLastReading => {
                in_each_ledger!(self, |ledger| ledger.join(slot, image));
            }
            History::None => {
                in_each_ledger!(self, |ledger| ledger.join_at_next_reading(slot, image));
            }
        }
    }

    /// Removes a process from an image; its counters there stay counted.
    pub(crate) fn leave(&mut self, slot: Slot, image: ImageIndex) {
        in_each_ledger!(self, |ledger| ledger.leave(slot, image));
    }

    /// A process has exited, before the last accepted reading of its parent or after
    /// a reading that was discarded.
    pub(crate) fn mark_exited(&mut self, slot: Slot, parent: Option<Slot>) {
        self.tree_is_dirty = true;
        in_each_ledger!(self, |ledger| ledger.mark_exited(slot, parent));
        self.note_exit(slot);
    }

    /// A process has exited, possibly after the last reading of its parent.
    pub(crate) fn mark_exited_after_read(&mut self, slot: Slot, parent: Option<Slot>) {
        self.tree_is_dirty = true;
        in_each_ledger!(self, |ledger| ledger.mark_exited_after_parent_read(slot, parent));
        self.note_exit(slot);
    }

    fn note_exit(&mut self, slot: Slot) {
        let ledgers = self.ledgers();
        if let Some(state) = self.states.get_mut(slot as usize) {
            state.unresolved = ledgers;
        }
    }

    /// Rebuilds the tree if it is out of date; true if it was. Untracked
    /// ancestors of tracked processes become tracked: `track` is called for each.
    pub(crate) fn rebuild_tree<H: Handles>(
        &mut self,
        processes: &mut ProcessTable,
        tracked: &mut TrackedProcesses<H>,
        cycle: u32,
        mut track: impl FnMut(Slot),
    ) -> bool {
        if !self.tree_is_dirty {
            return false;
        }
        let mut tree = std::mem::take(&mut self.tree);
        tree.rebuild(processes, tracked, |entry, tracked| {
            let slot = tracked.add(entry.key(), entry.starttime);
            self.track(slot, entry.has_past, cycle);
            track(slot);
            slot
        });
        for node in tree.nodes.iter().filter(|node| node.has_children()) {
            self.note_parent(node.slot);
        }
        self.tree = tree;
        self.tree_is_dirty = false;
        true
    }

    /// Reads io and CPU time of the members that were never read, at the start of the window: if
    /// one exits within it and no process of its image waits for it, this remains its
    /// only reading.
    pub(crate) async fn read_first<S: ProcessSource>(
        &mut self,
        source: &mut S,
        tracked: &mut TrackedProcesses<S::Handles>,
        cycle: u32,
    ) {
        self.read(source, tracked, cycle, Pass::First).await;
    }

    /// Reads io and CPU time of all members, at the end of the window.
    pub(crate) async fn read_all<S: ProcessSource>(
        &mut self,
        source: &mut S,
        tracked: &mut TrackedProcesses<S::Handles>,
        cycle: u32,
    ) {
        self.read(source, tracked, cycle, Pass::All).await;
    }

    async fn read<S: ProcessSource>(
        &mut self,
        source: &mut S,
        tracked: &mut TrackedProcesses<S::Handles>,
        cycle: u32,
        pass: Pass,
    ) {
        let number = self.pass;
        let IoAccounting { ledger, cpu, faults, tree, tree_is_dirty, states, .. } = self;
        let parent = |slot| tracked.get(slot)?.parent;
        let mut is_due = |slot: Slot| {
            if let Some(state) = states.get_mut(slot as usize) {
                state.stat_is_due = true;
            }
        };
        ledger.for_each_possible_inheritor(parent, &mut is_due);
        cpu.for_each_possible_inheritor(parent, &mut is_due);
        if let Some(faults) = &*faults {
            faults.for_each_possible_inheritor(parent, &mut is_due);
        }
        let visitor = Reading {
            source,
            tracked,
            ledger,
            cpu,
            faults: faults.as_mut(),
            tree_is_dirty,
            states,
            cycle,
            pass,
            number,
        };
        io_order::read(tree, visitor).await;
    }

    /// Begins a pass, before any process is read. Reads the page faults of every parent, once per
    /// parent: later growth means that it has waited for a child.
    pub(crate) async fn begin_pass<S: ProcessSource>(
        &mut self,
        source: &mut S,
        tracked: &TrackedProcesses<S::Handles>,
    ) {
        self.pass = self.pass.wrapping_add(1);
        in_each_ledger!(self, |ledger| ledger.begin_pass());
        for node in self.tree.nodes.iter().filter(|n| n.has_member_ancestor && n.has_children()) {
            // The ledger of page faults notes the same.
            if self.ledger.knows_cminflt(node.slot) && self.cpu.knows_cminflt(node.slot) {
                continue;
            }
            if let Some(process) = tracked.live(node.slot)
                && let Outcome::Value(parent) = source.parent_stat(process.key).await
            {
                in_each_ledger!(self, |ledger| ledger.note_cminflt(node.slot, parent.cminflt));
            }
        }
    }

    /// Whether the last pass has read the number of a process's descriptors.
    pub(crate) fn has_read_fds<H>(&self, process: &Tracked<H>) -> bool {
        process.fds_pass == self.pass
    }

    /// Decides where the counters of the exited processes went, and frees their slots.
    /// `freed` is called for each, with the pid of its process.
    pub(crate) async fn resolve_exits<S: ProcessSource>(
        &mut self,
        source: &mut S,
        tracked: &mut TrackedProcesses<S::Handles>,
        mut freed: impl FnMut(Slot, u32),
    ) {
        let IoAccounting { ledger, cpu, faults, states, resolved, .. } = self;
        let mut read = Parents { source, tracked, known: HashMap::new() };
        let parent = |slot| tracked.get(slot)?.parent;
        ledger.resolve_exits(&mut read, parent, |slot| resolved.push(slot)).await;
        cpu.resolve_exits(&mut read, parent, |slot| resolved.push(slot)).await;
        if let Some(faults) = &mut *faults {
            faults.resolve_exits(&mut read, parent, |slot| resolved.push(slot)).await;
        }
        if !resolved.is_empty() {
            for slot in resolved.drain(..) {
                let Some(state) = states.get_mut(slot as usize) else { continue };
                state.unresolved = state.unresolved.saturating_sub(1);
                if state.unresolved > 0 {
                    continue;
                }
                if let Some(process) = tracked.get(slot) {
                    freed(slot, process.key.pid);
                }
                tracked.remove(slot);
                self.tree_is_dirty = true;
            }
            let is_free =
                |slot: Slot| states.get(slot as usize).is_none_or(|state| state.unresolved == 0);
            ledger.forget_closed(is_free);
            cpu.forget_closed(is_free);
            if let Some(faults) = faults {
                faults.forget_closed(is_free);
            }
            shrink_vec(resolved);
        }
        in_each_ledger!(self, |ledger| ledger.truncate(tracked.end()));
        if self.states.len() > tracked.end() as usize {
            self.states.truncate(tracked.end() as usize);
            shrink_vec(&mut self.states);
        }
    }

    /// Sums the counters by image.
    pub(crate) fn sum(&mut self, images: usize) {
        self.totals.clear();
        self.totals.resize(images, None);
        self.ledger.totals(&mut self.totals);
        self.cpu_totals.clear();
        self.cpu_totals.resize(images, None);
        self.cpu.totals(&mut self.cpu_totals);
        self.image_cpu.resize(images.max(self.image_cpu.len()), ImageCpu::default());
        self.cpu_times.clear();
        let sums = self.cpu_totals.iter().zip(&mut self.image_cpu);
        self.cpu_times.extend(sums.map(|(sum, image)| sum.map(|sum| image.update(sum))));
        if let Some(faults) = &self.faults {
            self.fault_totals.clear();
            self.fault_totals.resize(images, None);
            faults.totals(&mut self.fault_totals);
        }
    }

    /// The page faults by image, if they are counted. `None`: nothing was ever read of the image.
    pub(crate) fn fault_totals(&self) -> impl Iterator<Item = Option<FaultCounts>> {
        self.fault_totals.iter().map(|total| total.map(FaultCounters::counts))
    }

    /// The page faults of a process and of the children that it reaped, if they are counted.
    pub(crate) fn faults(&self, slot: Slot) -> Option<FaultCounts> {
        self.faults.as_ref()?.last(slot).map(FaultCounters::counts)
    }

    /// The sums by image. `None`: nothing was ever read of the image.
    pub(crate) fn totals(&self) -> (&[Option<IoCounters>], &[Option<CpuTime>]) {
        (&self.totals, &self.cpu_times)
    }
}

/// Reads tracked processes as parents, each once.
struct Parents<'a, S: ProcessSource> {
    source: &'a mut S,
    tracked: &'a TrackedProcesses<S::Handles>,
    known: HashMap<Slot, Option<ParentStat>>,
}

impl<S: ProcessSource> ReadParent for &mut Parents<'_, S> {
    async fn read_parent(&mut self, slot: Slot) -> Option<ParentStat> {
        if let Some(&known) = self.known.get(&slot) {
            return known;
        }
        let key = self.tracked.live(slot)?.key;
        let parent = self.source.parent_stat(key).await.value();
        self.known.insert(slot, parent);
        parent
    }
}

/// One pass over the tree.
struct Reading<'a, S: ProcessSource> {
    source: &'a mut S,
    tracked: &'a mut TrackedProcesses<S::Handles>,
    ledger: &'a mut Ledger<IoCounters>,
    cpu: &'a mut Ledger<CpuCounters>,
    faults: Option<&'a mut Ledger<FaultCounters>>,
    tree_is_dirty: &'a mut bool,
    states: &'a mut [ReadState],
    cycle: u32,
    pass: Pass,
    number: u32,
}

/// The result of a read of `io`.
enum IoRead {
    Exited,
    NotRead,
    /// The growth since the last reading, if there was one; whether the readings differ.
    Read {
        done: Option<IoCounters>,
        differs: bool,
    },
}

impl<S: ProcessSource> Reading<'_, S> {
    fn mark_exited(&mut self, slot: Slot) {
        let parent = self.tracked.get(slot).and_then(|process| process.parent);
        *self.tree_is_dirty = true;
        self.ledger.mark_exited(slot, parent);
        self.cpu.mark_exited(slot, parent);
        if let Some(ledger) = self.faults.as_mut() {
            ledger.mark_exited(slot, parent);
        }
        self.tracked.mark_exited(slot);
        if let Some(state) = self.states.get_mut(slot as usize) {
            state.unresolved = 2 + u8::from(self.faults.is_some());
        }
        let above = |&slot: &Slot| self.tracked.get(slot)?.parent;
        for slot in std::iter::successors(parent, above).take(self.states.len()) {
            if let Some(state) = self.states.get_mut(slot as usize) {
                state.stat_is_due = true;
            }
        }
    }

    /// Reads `io`, if it is due.
    async fn read_io(&mut self, slot: Slot) -> IoRead {
        let Some(process) = self.tracked.get_mut(slot) else { return IoRead::NotRead };
        let Some(state) = self.states.get_mut(slot as usize) else { return IoRead::NotRead };
        let is_selected = process.is_member() || self.ledger.has_unread_past(slot);
        if !is_selected || !state.io.is_due(self.cycle) {
            return IoRead::NotRead;
        }
        let outcome = self.source.io(process.target(slot)).await;
        state.io = match outcome {
            Outcome::Value(counters) => {
                state.io = FileState::Read;
                state.is_current = true;
                let before = self.ledger.last(slot);
                let done = before.map(|before| counters.saturating_sub(before));
                return IoRead::Read { done, differs: self.ledger.accept(slot, counters) };
            }
            Outcome::Exited => return IoRead::Exited,
            Outcome::Denied => FileState::Denied { until: self.cycle + DENIED_RETRY_INTERVAL },
            Outcome::Failed(_) => FileState::Failed,
            Outcome::Unread(unread) => FileState::Unread(unread),
        };
        // An earlier reading of this cycle may be from before the exit of a child.
        self.ledger.discard_read(slot);
        IoRead::NotRead
    }

    /// Whether the last readings of a process stand: it has not run, and no process below it has
    /// exited, which it may have reaped since the last tick.
    fn is_idle(&self, slot: Slot) -> bool {
        let process = self.tracked.get(slot).filter(|process| process.cpu.is_idle);
        let (Some(process), Some(state)) = (process, self.states.get(slot as usize)) else {
            return false;
        };
        let counts_faults = self.faults.is_some();
        let (pid, clock) = (process.key.pid, process.cpu.last);
        self.pass == Pass::All
            && process.is_live_member()
            && state.is_current_if_idle()
            && !state.may_have_reaped(pid, self.cycle, clock, None, counts_faults)
    }

    /// The CPU clock of a process: that of the end or start of the window, or, of a process that
    /// was not read then, that of now.
    async fn read_clock(&mut self, slot: Slot) -> Option<CpuReading> {
        let process = self.tracked.get(slot)?;
        let is_new = match self.pass {
            Pass::First => process.cpu.opened.is_some(),
            Pass::All => process.cpu.used.is_some(),
        };
        if is_new {
            return Some(process.cpu.last);
        }
        if process.cpu.denied || process.cpu.blocked {
            return None;
        }
        self.source.cpu_time(process.key.pid).await.value()
    }

    /// Reads the CPU time of reaped children, if it is due, and takes all CPU time into account.
    /// `None` if `stat` shows that the process has exited; otherwise whether that of children
    /// differs from the last.
    async fn read_cpu(
        &mut self,
        slot: Slot,
        clock: Option<CpuReading>,
        io: &IoRead,
    ) -> Option<bool> {
        let Some(process) = self.tracked.get_mut(slot) else { return Some(false) };
        let Some(state) = self.states.get_mut(slot as usize) else { return Some(false) };
        let (pid, key) = (process.key.pid, process.key);
        let done = match io {
            IoRead::Read { done, .. } => *done,
            _ => None,
        };
        let is_due = state.stat.is_due(self.cycle)
            && if process.is_member() {
                state.stat != FileState::Read
                    || state.stat_is_due
                    || clock.is_none_or(|clock| {
                        let counts_faults = self.faults.is_some();
                        state.may_have_reaped(pid, self.cycle, clock, done, counts_faults)
                    })
                    || self.cpu.awaits_reading(slot)
                    || self.faults.as_ref().is_some_and(|faults| faults.awaits_reading(slot))
            } else {
                self.cpu.has_unread_past(slot)
                    || self.faults.as_ref().is_some_and(|faults| faults.has_unread_past(slot))
            };
        let children = if is_due { Some(self.source.parent_stat_with_io(key).await) } else { None };
        if matches!(children, Some(Outcome::Exited)) {
            return None;
        }
        // Now it is known that the clock was that of this process.
        let is_same =
            matches!(io, IoRead::Read { .. }) || matches!(children, Some(Outcome::Value(_)));
        if let Some(clock) = clock.filter(|_| is_same) {
            update_own(self.source, process, clock);
            state.cpu_at_pass = clock.total;
        }
        let own = CpuCounters::new(process.own.time(), CpuTime::ZERO);
        state.stat = match children {
            None => {
                if is_same && clock.is_some() {
                    self.cpu.mark_alive(slot);
                    let total = process.own.total();
                    // Most have used none, and their accounts are not in the cache.
                    if std::mem::replace(&mut state.cpu_in_ledger, total) != total {
                        self.cpu.update_own(slot, own);
                    }
                }
                return Some(false);
            }
            Some(Outcome::Value(parent)) if clock.is_some() || state.stat == FileState::Read => {
                state.stat = FileState::Read;
                state.stat_is_due = false;
                state.cpu_at_stat = process.own.total();
                state.cpu_in_ledger = process.own.total();
                state.is_parent |= parent.children.total() > 0;
                let children = CpuCounters::of_children(parent.children);
                let mut differs = self.cpu.accept(slot, own.saturating_add(children));
                if let Some(ledger) = self.faults.as_mut() {
                    let faults = FaultCounters::new(parent.faults, parent.child_faults);
                    differs |= ledger.accept(slot, faults);
                }
                return Some(differs);
            }
            Some(Outcome::Denied) => {
                FileState::Denied { until: self.cycle + DENIED_RETRY_INTERVAL }
            }
            Some(Outcome::Unread(unread)) => FileState::Unread(unread),
            Some(_) => FileState::Failed,
        };
        self.discard_stat(slot);
        Some(false)
    }

    /// Discards the readings of `stat`.
    fn discard_stat(&mut self, slot: Slot) {
        if let Some(state) = self.states.get_mut(slot as usize) {
            state.is_current = false;
        }
        self.cpu.discard_read(slot);
        if let Some(ledger) = self.faults.as_mut() {
            ledger.discard_read(slot);
        }
    }
}

impl<S: ProcessSource> IoVisitor for Reading<'_, S> {
    fn is_selected(&self, slot: Slot) -> bool {
        let is_member = self.tracked.get(slot).is_some_and(Tracked::is_member);
        let Some(state) = self.states.get(slot as usize) else { return false };
        if is_member {
            self.pass == Pass::All || state.is_new()
        } else {
            // Once, unless the reading was discarded.
            let past = (self.ledger.has_unread_past(slot), self.cpu.has_unread_past(slot));
            state.is_past_readable(past)
        }
    }

    async fn read(&mut self, slot: Slot) -> Shown {
        if self.tracked.live(slot).is_none() {
            return Shown::Same;
        }
        if self.is_idle(slot) {
            // Not accepted again: a thread that runs now may have done more since the last tick.
            self.ledger.mark_alive(slot);
            self.cpu.mark_alive(slot);
            return Shown::Idle;
        }
        let clock = self.read_clock(slot).await;
        let io = self.read_io(slot).await;
        if matches!(io, IoRead::Exited) {
            self.mark_exited(slot);
            return Shown::Same;
        }
        let cpu = self.read_cpu(slot, clock, &io).await;
        if cpu.is_none() {
            // Unless it is hidden from this user since it was opened.
            self.check_alive(slot).await;
            if self.has_exited(slot) {
                return Shown::Same;
            }
            self.discard_stat(slot);
        }
        if let Some(process) = self.tracked.get_mut(slot).filter(|process| !process.is_member()) {
            // Not to be read again.
            process.handles = S::Handles::default();
        }
        let differs = cpu == Some(true) || matches!(io, IoRead::Read { differs: true, .. });
        if differs { Shown::Growth } else { Shown::Same }
    }

    async fn check_alive(&mut self, slot: Slot) {
        let Some(process) = self.tracked.get_mut(slot) else { return };
        let existence = self.source.check_exists(process.target(slot)).await;
        if let Some(fds) = existence.fds {
            process.readings.fds = fds;
            process.fds_pass = self.number;
        }
        if existence.exited {
            self.mark_exited(slot);
        }
    }

    fn has_exited(&self, slot: Slot) -> bool {
        self.tracked.live(slot).is_none()
    }

    fn discard_read(&mut self, slot: Slot) {
        self.ledger.discard_read(slot);
        self.discard_stat(slot);
    }
}

//! io accounting: which reading of which process counts in which image.
//!
//! [`IoAccounting`] reads `io` in the order that the ledger needs and passes the
//! readings to it. The [`ledger`] does the arithmetic and reads nothing;
//! [`aggregate`] sums the readings of all processes by image.

pub(crate) mod aggregate;
mod io_order;
pub(crate) mod ledger;
pub(crate) mod membership;

use self::io_order::IoVisitor;
use self::ledger::{Ledger, ReadParent};
use crate::ids::Slot;
use crate::image::ImageId;
use crate::io_counters::IoCounters;
use crate::read::outcome::Outcome;
use crate::shrink::shrink_vec;
use crate::source::{Handles, ParentStat, ProcessSource};
use crate::state::process_table::ProcessTable;
use crate::state::process_tree::ProcessTree;
use crate::state::schedule::DENIED_RETRY_INTERVAL;
use crate::state::tracked::{FileState, Lifecycle, Tracked, TrackedProcesses};

/// The io of all tracked processes: their accounts, their tree, and the state of
/// their `io` files.
#[derive(Debug, Default)]
pub(crate) struct IoAccounting {
    ledger: Ledger,
    tree: ProcessTree,
    /// A process came, exited, or got another parent, so the tree is out of date.
    tree_is_dirty: bool,
    /// By slot.
    files: Vec<FileState>,
    /// Counts the passes over the tree.
    pass: u32,
    /// By image, summed at the end of a cycle.
    totals: Vec<Option<IoCounters>>,
    /// A buffer, empty between the steps.
    resolved: Vec<Slot>,
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
    /// Opens the account of a process that is tracked from now on. `has_past`: its io until its
    /// first reading counts in no image.
    pub(crate) fn track(&mut self, slot: Slot, has_past: bool) {
        let at = slot as usize;
        if self.files.len() <= at {
            self.files.resize(at + 1, FileState::Never);
        }
        self.files[at] = FileState::Never;
        self.ledger.open(slot);
        if has_past {
            self.ledger.exclude_past(slot);
        }
        self.tree_is_dirty = true;
    }

    /// How the last read of a process's `io` ended.
    pub(crate) fn file(&self, slot: Slot) -> FileState {
        self.files.get(slot as usize).copied().unwrap_or(FileState::Never)
    }

    /// Makes a denied `io` due again: the process has become another program.
    pub(crate) fn retry_denied(&mut self, slot: Slot) {
        if let Some(file) = self.files.get_mut(slot as usize).filter(|file| file.is_denied()) {
            *file = FileState::Never;
        }
    }

    /// The last accepted reading of a process.
    pub(crate) fn last(&self, slot: Slot) -> Option<IoCounters> {
        self.ledger.last(slot)
    }

    /// Makes room for this number of images.
    pub(crate) fn ensure_images(&mut self, count: usize) {
        self.ledger.ensure_images(count);
    }

    /// The parent of some process has changed.
    pub(crate) fn invalidate_tree(&mut self) {
        self.tree_is_dirty = true;
    }

    /// Sets the baseline of an account that joins its first image: the counters until
    /// now, if they could be read.
    pub(crate) fn set_baseline(&mut self, slot: Slot, counters: Option<IoCounters>) {
        self.ledger.set_baseline(slot, counters);
    }

    /// Makes room for this number of further images of a process.
    pub(crate) fn reserve(&mut self, slot: Slot, images: usize) {
        self.ledger.reserve(slot, images);
    }

    /// Adds a process to an image.
    pub(crate) fn join(&mut self, slot: Slot, image: ImageId, history: History) {
        match history {
            History::All => self.ledger.join_with_history(slot, image),
            History::SinceLastReading => self.ledger.join(slot, image),
            History::None => self.ledger.join_at_next_reading(slot, image),
        }
    }

    /// Removes a process from an image; its io there stays counted.
    pub(crate) fn leave(&mut self, slot: Slot, image: ImageId) {
        self.ledger.leave(slot, image);
    }

    /// A process has exited, before the last accepted reading of its parent or after
    /// a reading that was discarded.
    pub(crate) fn mark_exited(&mut self, slot: Slot, parent: Option<Slot>) {
        self.tree_is_dirty = true;
        self.ledger.mark_exited(slot, parent);
    }

    /// A process has exited, possibly after the last reading of its parent.
    pub(crate) fn mark_exited_after_read(&mut self, slot: Slot, parent: Option<Slot>) {
        self.tree_is_dirty = true;
        self.ledger.mark_exited_after_parent_read(slot, parent);
    }

    /// Rebuilds the tree if it is out of date; true if it was. Untracked
    /// ancestors of tracked processes become tracked: `track` is called for each.
    pub(crate) fn rebuild_tree<H: Handles>(
        &mut self,
        processes: &mut ProcessTable,
        tracked: &mut TrackedProcesses<H>,
        mut track: impl FnMut(Slot),
    ) -> bool {
        if !self.tree_is_dirty {
            return false;
        }
        let mut tree = std::mem::take(&mut self.tree);
        tree.rebuild(processes, tracked, |entry, tracked| {
            let slot = tracked.add(entry.key(), entry.starttime);
            self.track(slot, entry.has_past);
            track(slot);
            slot
        });
        self.tree = tree;
        self.tree_is_dirty = false;
        true
    }

    /// Reads `io` of the members that were never read, at the start of the window: if
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

    /// Reads `io` of all members, at the end of the window.
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
        self.begin_pass(source, tracked).await;
        let number = self.pass;
        let IoAccounting { ledger, tree, tree_is_dirty, files, .. } = self;
        let visitor =
            Reading { source, tracked, ledger, tree_is_dirty, files, cycle, pass, number };
        io_order::read(tree, visitor).await;
    }

    /// Reads the page faults of every parent before its children are read, once per
    /// parent: later growth means that it has waited for a child.
    async fn begin_pass<S: ProcessSource>(
        &mut self,
        source: &mut S,
        tracked: &TrackedProcesses<S::Handles>,
    ) {
        self.pass = self.pass.wrapping_add(1);
        self.ledger.begin_pass();
        for node in self.tree.nodes.iter().filter(|n| n.has_member_ancestor && n.has_children()) {
            if self.ledger.knows_cminflt(node.slot) {
                continue;
            }
            if let Some(process) = tracked.live(node.slot)
                && let Outcome::Value(parent) = source.parent_stat(process.key).await
            {
                self.ledger.note_cminflt(node.slot, parent.cminflt);
            }
        }
    }

    /// Whether the last pass has read the number of a process's descriptors.
    pub(crate) fn has_read_fds<H>(&self, process: &Tracked<H>) -> bool {
        process.fds_pass == self.pass
    }

    /// Decides where the io of the exited processes went, and frees their slots.
    /// `freed` is called for each, with the pid of its process.
    pub(crate) async fn resolve_exits<S: ProcessSource>(
        &mut self,
        source: &mut S,
        tracked: &mut TrackedProcesses<S::Handles>,
        mut freed: impl FnMut(Slot, u32),
    ) {
        let resolved = &mut self.resolved;
        let read = Parents { source, tracked };
        self.ledger
            .resolve_exits(read, |slot| tracked.get(slot)?.parent, |slot| resolved.push(slot))
            .await;
        for slot in resolved.drain(..) {
            if let Some(process) = tracked.get(slot) {
                freed(slot, process.key.pid);
            }
            tracked.remove(slot);
            self.tree_is_dirty = true;
        }
        self.ledger.truncate(tracked.end());
        if self.files.len() > tracked.end() as usize {
            self.files.truncate(tracked.end() as usize);
            shrink_vec(&mut self.files);
        }
    }

    /// Sums the counters by image.
    pub(crate) fn sum(&mut self, images: usize) {
        self.totals.clear();
        self.totals.resize(images, None);
        self.ledger.totals(&mut self.totals);
    }

    /// The sums by image. `None`: nothing was ever read of the image.
    pub(crate) fn totals(&self) -> &[Option<IoCounters>] {
        &self.totals
    }
}

/// Reads tracked processes as parents.
struct Parents<'a, S: ProcessSource> {
    source: &'a mut S,
    tracked: &'a TrackedProcesses<S::Handles>,
}

impl<S: ProcessSource> ReadParent for Parents<'_, S> {
    async fn read_parent(&mut self, slot: Slot) -> Option<ParentStat> {
        let key = self.tracked.live(slot)?.key;
        self.source.parent_stat(key).await.value()
    }
}

/// One pass over the tree.
struct Reading<'a, S: ProcessSource> {
    source: &'a mut S,
    tracked: &'a mut TrackedProcesses<S::Handles>,
    ledger: &'a mut Ledger,
    tree_is_dirty: &'a mut bool,
    files: &'a mut [FileState],
    cycle: u32,
    pass: Pass,
    number: u32,
}

impl<S: ProcessSource> Reading<'_, S> {
    fn mark_exited(&mut self, slot: Slot) {
        let parent = self.tracked.get(slot).and_then(|process| process.parent);
        *self.tree_is_dirty = true;
        self.ledger.mark_exited(slot, parent);
        self.tracked.mark_exited(slot);
    }
}

impl<S: ProcessSource> IoVisitor for Reading<'_, S> {
    fn is_selected(&self, slot: Slot) -> bool {
        let is_member = self.tracked.get(slot).is_some_and(Tracked::is_member);
        let file = self.files.get(slot as usize);
        if is_member {
            self.pass == Pass::All || matches!(file, Some(FileState::Never))
        } else {
            // Once, unless the reading was discarded.
            matches!(file, Some(FileState::Never | FileState::Read))
                && self.ledger.has_unread_past(slot)
        }
    }

    async fn read(&mut self, slot: Slot) -> bool {
        let Some(process) = self.tracked.get_mut(slot) else { return false };
        let Some(file) = self.files.get_mut(slot as usize) else { return false };
        let is_member = process.is_member();
        let is_due = file.is_due(self.cycle) && (is_member || self.ledger.has_unread_past(slot));
        if process.lifecycle == Lifecycle::Exited || !is_due {
            return false;
        }
        let outcome = self.source.io(process.target(slot)).await;
        if !is_member {
            // Not to be read again.
            process.handles = S::Handles::default();
        }
        *file = match outcome {
            Outcome::Value(counters) => {
                *file = FileState::Read;
                return self.ledger.accept(slot, counters);
            }
            Outcome::Exited => {
                self.mark_exited(slot);
                return false;
            }
            Outcome::Denied => FileState::Denied { until: self.cycle + DENIED_RETRY_INTERVAL },
            Outcome::Failed(_) => FileState::Failed,
            Outcome::Unread(unread) => FileState::Unread(unread),
        };
        // An earlier reading of this cycle may be from before the exit of a child.
        self.discard_read(slot);
        false
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
    }
}

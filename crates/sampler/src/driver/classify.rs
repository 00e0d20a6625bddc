//! Reading command lines, and taking processes into their images or out of them.

use std::num::NonZeroU64;

use psstat_proc_parse::Cmdline;

use super::Driver;
use super::fields::FieldsRead;
use crate::accounting::{History, update_own};
use crate::classifier::{CmdlineBatch, DueProcess, Recent, Urgency};
use crate::cpu_time::{CpuCounters, CpuReading};
use crate::fault_counts::FaultCounters;
use crate::fields::FieldTexts;
use crate::ids::Slot;
use crate::image::ImageIndex;
use crate::options::IoStart;
use crate::read::outcome::{Outcome, Unread};
use crate::source::{ProcessSource, SocketSource};
use crate::state::cmdline_budget::SHORT_CMDLINE;
use crate::state::process_table::ProcessEntry;
use crate::state::schedule::DENIED_RETRY_INTERVAL;

impl<S: ProcessSource + SocketSource> Driver<S> {
    /// Reads the command lines that are due and classifies their processes.
    pub(super) async fn read_due_cmdlines(&mut self, source: &mut S, urgency: Urgency) {
        let (processes, tracked) = (&mut self.processes, &self.tracked);
        self.classifier.select(source, processes, tracked, self.cycle, urgency);
        if self.classifier.due.is_empty() {
            return;
        }
        // Out of their places while the results change everything else.
        let due = std::mem::take(&mut self.classifier.due);
        let mut fields = std::mem::take(&mut self.classifier.fields);
        let mut line = std::mem::take(&mut self.classifier.line);
        let mut batch = std::mem::take(&mut self.classifier.batch);
        // Those that wait for their turn come first.
        let resume_at = self.cmdline_budget.resume_at();
        let entries = &self.processes.entries;
        let first = due.partition_point(|due| entries[due.at].pid < resume_at);
        for index in (first..due.len()).chain(0..first) {
            let DueProcess { at, tid, if_moved } = due[index];
            if if_moved && !self.has_other_cgroup(source, at, tid, &mut fields).await {
                continue;
            }
            let Some(outcome) = self.read_cmdline(source, at, tid, &mut line).await else {
                continue;
            };
            let read = outcome.map(|()| &line[..]);
            if !self.must_retry_on_live_thread(source, at, &read).await {
                let shows_nothing = matches!(read, Outcome::Value([]));
                if shows_nothing && self.has_no_arguments(source, at, tid, &mut line).await {
                    line.push(0);
                }
                let fields_read = match outcome {
                    Outcome::Value(()) if !line.is_empty() => {
                        self.read_fields(source, at, tid, &mut fields).await
                    }
                    _ => FieldsRead::Complete,
                };
                let line = outcome.map(|()| &line[..]);
                self.handle_cmdline(at, line, (&fields, fields_read), &mut batch);
            }
            if batch.is_full(self.cmdline_budget.batch(source.cmdlines_per_batch())) {
                batch = self.classify_batch(source, batch).await;
            }
            source.end_cmdline();
        }
        batch = self.classify_batch(source, batch).await;
        let classifier = &mut self.classifier;
        (classifier.due, classifier.fields) = (due, fields);
        (classifier.line, classifier.batch) = (line, batch);
    }

    /// Reads a command line within the budget of this cycle. `None` if it is put off: then it is
    /// still due in the next one.
    async fn read_cmdline(
        &mut self,
        source: &mut S,
        at: usize,
        tid: u32,
        line: &mut Vec<u8>,
    ) -> Option<Outcome<()>> {
        let pid = self.processes.entries.get(at)?.pid;
        line.clear();
        if self.cmdline_budget.has_common() {
            let outcome = source.cmdline(pid, tid, usize::MAX, line).await;
            self.cmdline_budget.charge(None, line.len());
            return Some(outcome);
        }
        let outcome = source.cmdline(pid, tid, SHORT_CMDLINE + 1, line).await;
        if line.len() <= SHORT_CMDLINE {
            let is_allowed = self.cmdline_budget.has_common_for(line.len())
                || self.user_in_budget(source, at, line.len()).is_some();
            return is_allowed.then_some(outcome);
        }
        if self.cmdline_budget.has_common_for(line.len()) {
            line.clear();
            let outcome = source.cmdline(pid, tid, usize::MAX, line).await;
            self.cmdline_budget.charge(None, line.len());
            return Some(outcome);
        }
        let user = self.user_in_budget(source, at, line.len())?;
        line.clear();
        let outcome = source.cmdline(pid, tid, usize::MAX, line).await;
        self.cmdline_budget.charge(Some(user), line.len());
        Some(outcome)
    }

    /// The user of a process whose command line of this length is within the budget of the user.
    /// `None` if it is put off.
    fn user_in_budget(&mut self, source: &S, at: usize, bytes: usize) -> Option<Option<u32>> {
        let entry = self.processes.entries.get_mut(at)?;
        let user = source.real_uid(entry.pid);
        if self.cmdline_budget.allows(entry.pid, user, bytes) {
            return Some(user);
        }
        self.health.long_cmdlines += 1;
        self.health.failed.command_line += 1;
        // It is read again even if the process does not run until then.
        entry.cpu = None;
        None
    }

    /// Finds the images of the processes in a batch, and empties it.
    async fn classify_batch(&mut self, source: &mut S, mut batch: CmdlineBatch) -> CmdlineBatch {
        if !batch.is_empty() {
            batch = source.classify(batch).await;
        }
        for index in 0..batch.len() {
            if let Some((pid, bytes, time)) = batch.cost(index) {
                self.cmdline_budget.charge_time(bytes, time, || source.real_uid(pid));
            }
            if let Some((at, images)) = batch.get(index) {
                self.assign_images(source, at, images).await;
            }
        }
        batch.clear();
        batch
    }

    fn handle_cmdline(
        &mut self,
        at: usize,
        outcome: Outcome<&[u8]>,
        (fields, fields_read): (&FieldTexts, FieldsRead),
        batch: &mut CmdlineBatch,
    ) {
        let cycle = self.cycle;
        let Some(entry) = self.processes.entries.get_mut(at) else { return };
        if !matches!(outcome, Outcome::Value(_)) {
            entry.cpu = None;
        }
        match outcome {
            Outcome::Value(command_line) => {
                entry.mark_read(cycle);
                if entry.slot.is_some() && Cmdline::new(command_line).is_empty() {
                    // A program may clear its title before it writes the next one.
                    entry.next_read = cycle + 1;
                }
                let is_known = entry.last_classified != 0;
                match fields_read {
                    FieldsRead::Complete => {}
                    // The next listing shows it.
                    FieldsRead::Exited => return,
                    FieldsRead::Incomplete => {
                        entry.cpu = None;
                        entry.next_read = cycle + 1;
                    }
                }
                // Until a field can be read, a process stays in its images, and a new one is
                // classified without it.
                if fields_read == FieldsRead::Complete || !is_known {
                    batch.push(at, entry, command_line, fields);
                }
            }
            // The next listing shows it.
            Outcome::Exited => {}
            Outcome::Denied => {
                entry.denied = true;
                entry.next_read = cycle + DENIED_RETRY_INTERVAL;
            }
            Outcome::Failed(_) => {
                self.health.failed.command_line += 1;
                entry.next_read = cycle + 1;
            }
            Outcome::Unread(Unread::Blocked) => entry.next_read = cycle + 1,
            // Still due.
            Outcome::Unread(Unread::Deferred) => {
                self.health.deferred.command_line += 1;
                self.health.failed.command_line += 1;
            }
        }
    }

    /// Whether the result does not describe the process: a leader that has exited has
    /// no command line, and the id of a thread that has exited may be another thread's.
    /// Then the command line is to be read from a live thread.
    async fn must_retry_on_live_thread(
        &mut self,
        source: &mut S,
        at: usize,
        outcome: &Outcome<&[u8]>,
    ) -> bool {
        let Some(entry) = self.processes.entries.get_mut(at) else { return false };
        let in_doubt = match (outcome, entry.live_thread) {
            (Outcome::Value(line), None) => line.is_empty() && is_in_doubt(entry, self.cycle),
            (Outcome::Value(line), Some(tid)) => {
                line.is_empty() || !source.has_thread(entry.pid, tid)
            }
            (Outcome::Exited, Some(_)) => true,
            _ => false,
        };
        if !in_doubt {
            return false;
        }
        let before = entry.live_thread.take();
        if let Outcome::Value(stat) = source.stat(entry.pid).await
            && stat.leader_exited()
        {
            entry.live_thread = source.live_thread(entry.key()).await;
        }
        let is_another = entry.live_thread != before;
        if is_another {
            entry.cpu = None;
            // Still in this cycle, if the scheduled reads are to come.
            entry.next_read = self.cycle;
        }
        is_another
    }

    /// Whether a process whose command line was read without any byte is a program without
    /// arguments (`PR_SET_MM_ARG_END`, or before Linux 5.18 an `argv` of length 0). Kernel threads,
    /// zombies, and processes in the middle of an exec have no address of arguments.
    async fn has_no_arguments(
        &mut self,
        source: &mut S,
        at: usize,
        tid: u32,
        line: &mut Vec<u8>,
    ) -> bool {
        let Some(&entry) = self.processes.entries.get(at) else { return false };
        if entry.live_thread.is_some()
            || !is_in_doubt(&entry, self.cycle)
            || source.is_blocked(entry.pid)
            || !source.has_argument_addresses(entry.pid).await
        {
            return false;
        }
        // The exec may have ended between the two reads.
        let again = source.cmdline(entry.pid, tid, 1, line).await;
        let has_none = matches!(again, Outcome::Value(())) && line.is_empty();
        line.clear();
        has_none
    }

    /// Applies the images that were found for a process; `None` if its command line has no byte.
    async fn assign_images(&mut self, source: &mut S, at: usize, found: Option<&[ImageIndex]>) {
        let Some(&entry) = self.processes.entries.get(at) else { return };
        let process = entry.slot.and_then(|slot| self.tracked.get(slot));
        let before = process.map_or(&[][..], |process| &process.images);
        // As that of a zombie or of a process in the middle of an exec: it stays in its images.
        let images = found.unwrap_or(before);
        let (has_changed, is_empty) = (*before != *images, images.is_empty());
        // The command line was read by pid, and that may belong to another process now.
        let is_reused =
            has_changed && entry.last_classified != 0 && !source.inode_matches(entry.key());
        if is_reused {
            self.processes.entries[at].next_read = self.cycle + 1;
            self.processes.exit_noticed = true;
        } else {
            if found.is_some() {
                self.processes.entries[at].last_classified = self.cycle;
            }
            if let Some(images) = found.filter(|_| has_changed) {
                self.change_images(source, at, &entry, images).await;
            } else if is_empty {
                self.record_recent(source, at).await;
            }
        }
    }

    /// Takes a process into other images than before, and tracks it if it was not.
    async fn change_images(
        &mut self,
        source: &mut S,
        at: usize,
        entry: &ProcessEntry,
        images: &[ImageIndex],
    ) {
        // If the rules have changed, new images begin with this cycle. If they have not, what the
        // first process of the image did before is the image's.
        let first = if self.reload_cycle == self.cycle { self.cycle } else { 0 };
        self.classifier.note_images(images, first);
        self.ensure_images(self.classifier.images(), 0);
        let slot = entry.slot.filter(|&slot| self.tracked.get(slot).is_some());
        if let Some(slot) = slot.or_else(|| self.track(at)) {
            self.set_images(source, slot, entry, images).await;
        }
    }

    /// Notes the counters of a recent process that belongs to no image.
    async fn record_recent(&mut self, source: &mut S, at: usize) {
        let Some(&entry) = self.processes.entries.get(at) else { return };
        // In the first cycle every process counts as an old one.
        if entry.is_recent(self.cycle)
            && self.cycle > 1
            && let Outcome::Value(io) = source.io_once(entry.key()).await
        {
            // So its CPU clock, which was read before its command line, was its own too.
            self.classifier.record_recent(entry.pid, Recent { io, cpu: entry.cpu });
        }
    }

    /// The CPU time and page faults of a tracked process and its reaped children until now. `recent`: its own when
    /// its command line was last read, if it is recent.
    async fn cpu_until_now(
        &mut self,
        source: &mut S,
        slot: Slot,
        recent: Option<u64>,
    ) -> Option<(CpuCounters, FaultCounters)> {
        let process = self.tracked.get_mut(slot)?;
        let clock = match recent {
            Some(total) => CpuReading { total, user: None },
            None => source.cpu_time(process.key.pid).await.value()?,
        };
        // It also shows that the clock was that of this process.
        let parent = source.parent_stat(process.key).await.value()?;
        update_own(source, process, clock);
        let faults = FaultCounters::new(parent.faults, parent.child_faults);
        Some((CpuCounters::new(process.own.time(), parent.children), faults))
    }

    /// How much of its io from before now counts in an image that a process joins. `is_first`:
    /// it belonged to none.
    fn history(&self, entry: &ProcessEntry, image: ImageIndex, is_first: bool) -> History {
        let is_new_image = self.classifier.is_new_to(entry, image);
        let was_classified = entry.last_classified != 0;
        match self.io_start {
            IoStart::ProcessStart if is_new_image || !was_classified => History::All,
            // The image begins with this cycle.
            IoStart::FirstCycle
                if is_new_image && self.classifier.is_later(image, entry.first_seen_cycle) =>
            {
                History::None
            }
            IoStart::FirstCycle if !was_classified => History::All,
            // The past of a process below it is to be read first.
            IoStart::FirstCycle if is_first && (entry.has_past || entry.is_above_past) => {
                History::None
            }
            _ => History::SinceLastReading,
        }
    }

    /// Whether a process that joins an image starts in it: not if it was there before the image.
    fn is_start(&self, entry: &ProcessEntry, image: ImageIndex) -> bool {
        if entry.last_classified == 0 {
            !self.classifier.is_later(image, entry.first_seen_cycle)
        } else {
            !self.classifier.is_new_to(entry, image)
        }
    }

    /// Takes a tracked process out of its images and into others.
    async fn set_images(
        &mut self,
        source: &mut S,
        slot: Slot,
        entry: &ProcessEntry,
        images: &[ImageIndex],
    ) {
        let Some(process) = self.tracked.get_mut(slot) else { return };
        let before = std::mem::replace(&mut process.images, images.into());
        let is_counted = process.is_live_member();
        let was_counted = std::mem::replace(&mut process.is_counted, is_counted);
        // Neither a start nor an exit: the rules are others since it was last classified.
        let is_by_rules = entry.last_classified != 0 && entry.last_classified < self.rules_cycle;
        if before.is_empty() != images.is_empty() {
            self.io.invalidate_tree();
        }
        self.sockets.set_images(slot, &before, images);
        // Both lists are sorted, and a process can belong to thousands of images.
        for &image in before.iter().filter(|image| images.binary_search(image).is_err()) {
            self.io.leave(slot, image);
            if was_counted && !is_by_rules {
                self.membership.add_exit(image);
            }
        }
        // Not if it is classified for the first time: its command line may have blocked.
        if before.is_empty() && entry.last_classified != 0 {
            // Its counters until now. While it belongs to no image it is not read, so an earlier
            // reading does not help, except for a recent process.
            let recent = self.classifier.recent(entry.pid);
            let io = match recent {
                Some(recent) => Some(recent.io),
                None => source.io(process.target(slot)).await.value(),
            };
            let recent = recent.and_then(|recent| recent.cpu).map(NonZeroU64::get);
            let (cpu, faults) = self.cpu_until_now(source, slot, recent).await.unzip();
            self.io.set_baseline(slot, io, cpu, faults);
        }
        let new = || images.iter().filter(|image| before.binary_search(image).is_err());
        self.io.reserve(slot, new().count());
        for &image in new() {
            let history = self.history(entry, image, before.is_empty());
            self.io.join(slot, image, history);
            if self.metrics.switches
                && let Some(process) = self.tracked.get(slot)
            {
                self.switches.join(slot, process, image, history, entry.has_past);
            }
            if is_counted && !is_by_rules && self.is_start(entry, image) {
                self.membership.add_start(image);
            }
        }
        if images.is_empty()
            && let Some(process) = self.tracked.get_mut(slot)
        {
            // Not read any more.
            process.handles = S::Handles::default();
            process.switches = None;
            self.switches.forget(slot);
        }
    }
}

/// Whether a command line without any byte needs an explanation. Once also for a process that was
/// never classified, whose leader may have exited early; a kernel thread never is.
fn is_in_doubt(entry: &ProcessEntry, cycle: u32) -> bool {
    entry.last_classified != 0 || entry.first_seen_cycle.saturating_add(1) == cycle
}

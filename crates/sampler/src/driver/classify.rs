//! Reading command lines, and taking processes into their images or out of them.

use psstat_proc_parse::Cmdline;

use super::Driver;
use crate::classifier::{Classify, Urgency};
use crate::ids::Slot;
use crate::image::ImageId;
use crate::read::command_line::CmdlineResult;
use crate::read::outcome::Outcome;
use crate::source::{ProcessSource, SocketSource};
use crate::state::process_table::ProcessEntry;
use crate::state::schedule::DENIED_RETRY_INTERVAL;

impl<S: ProcessSource + SocketSource> Driver<S> {
    /// Reads the command lines that are due and classifies their processes.
    pub(super) fn read_due_cmdlines(
        &mut self,
        source: &mut S,
        urgency: Urgency,
        classify: &mut Classify<'_>,
    ) {
        if !source.prepare_cmdlines() {
            return;
        }
        let (processes, tracked) = (&mut self.processes, &self.tracked);
        self.classifier.select(source, processes, tracked, self.cycle, urgency);
        if self.classifier.requested.is_empty() {
            return;
        }
        // Out of their places while the results change everything else.
        let requested = std::mem::take(&mut self.classifier.requested);
        let mut pids = std::mem::take(&mut self.classifier.pids);
        source.read_cmdlines(&mut pids, &mut |source, index, result| {
            if let Some(&at) = requested.get(index) {
                self.handle_cmdline(source, at, result, classify);
            }
        });
        (self.classifier.requested, self.classifier.pids) = (requested, pids);
    }

    fn handle_cmdline(
        &mut self,
        source: &mut S,
        at: usize,
        result: CmdlineResult<'_>,
        classify: &mut Classify<'_>,
    ) {
        let cycle = self.cycle;
        if self.must_retry_on_live_thread(source, at, &result) {
            return;
        }
        let Some(entry) = self.processes.entries.get_mut(at) else { return };
        if !matches!(result, CmdlineResult::Read(Outcome::Value(_))) {
            entry.cpu = None;
        }
        match result {
            CmdlineResult::Read(Outcome::Value(command_line)) => {
                entry.mark_read(cycle);
                self.assign_images(source, at, command_line, classify);
            }
            // The next listing shows it.
            CmdlineResult::Read(Outcome::Exited) => {}
            CmdlineResult::Read(Outcome::Denied) => {
                entry.denied = true;
                entry.next_read = cycle + DENIED_RETRY_INTERVAL;
            }
            CmdlineResult::Read(Outcome::Failed(_)) => {
                self.health.failed.command_line += 1;
                entry.next_read = cycle + 1;
            }
            CmdlineResult::Blocked => {
                entry.blocked = true;
                entry.next_read = cycle + 1;
            }
            // Still due.
            CmdlineResult::Deferred => {
                self.health.cmdlines_deferred += 1;
                self.health.failed.command_line += 1;
            }
        }
    }

    /// Whether the result does not describe the process: a leader that has exited has
    /// no command line, and the id of a thread that has exited may be another thread's.
    /// Then the command line is to be read from a live thread.
    fn must_retry_on_live_thread(
        &mut self,
        source: &mut S,
        at: usize,
        result: &CmdlineResult<'_>,
    ) -> bool {
        let Some(entry) = self.processes.entries.get_mut(at) else { return false };
        let in_doubt = match (result, entry.live_thread) {
            (CmdlineResult::Read(Outcome::Value(line)), None) => {
                // Once also before it was ever classified: the leader may have exited early.
                let is_second = entry.first_seen_cycle.saturating_add(1) == self.cycle;
                line.is_empty() && (entry.last_classified != 0 || is_second)
            }
            (CmdlineResult::Read(Outcome::Value(line)), Some(tid)) => {
                line.is_empty() || !source.has_thread(entry.pid, tid)
            }
            (CmdlineResult::Read(Outcome::Exited), Some(_)) => true,
            _ => false,
        };
        if !in_doubt {
            return false;
        }
        let before = entry.live_thread.take();
        if let Outcome::Value(stat) = source.stat(entry.pid)
            && stat.leader_exited()
        {
            entry.live_thread = source.live_thread(entry.key());
        }
        let is_another = entry.live_thread != before;
        if is_another {
            entry.cpu = None;
            // Still in this cycle, if the scheduled reads are to come.
            entry.next_read = self.cycle;
        }
        is_another
    }

    /// Finds the images for a command line and applies the changes.
    fn assign_images(
        &mut self,
        source: &mut S,
        at: usize,
        command_line: &[u8],
        classify: &mut Classify<'_>,
    ) {
        let Some(&entry) = self.processes.entries.get(at) else { return };
        let process = entry.slot.and_then(|slot| self.tracked.get(slot));
        let before = process.map_or(&[][..], |process| &process.images);
        let images = if Cmdline::new(command_line).is_empty() {
            // A zombie has none, nor has a process in the middle of an exec: it stays in
            // its images.
            let mut images = self.classifier.take_buffer();
            images.extend_from_slice(before);
            images
        } else {
            self.classifier.classify(&entry, command_line, classify)
        };
        let has_changed = *before != *images;
        // The command line was read by pid, and that may belong to another process now.
        let is_reused =
            has_changed && entry.last_classified != 0 && !source.inode_matches(entry.key());
        if is_reused {
            self.processes.entries[at].next_read = self.cycle + 1;
            self.processes.exit_noticed = true;
        } else {
            if !Cmdline::new(command_line).is_empty() {
                self.processes.entries[at].last_classified = self.cycle;
            }
            if has_changed {
                self.change_images(source, at, &entry, &images);
            } else if images.is_empty() {
                self.record_recent_io(source, &entry);
            }
        }
        self.classifier.return_buffer(images);
    }

    /// Takes a process into other images than before, and tracks it if it was not.
    fn change_images(
        &mut self,
        source: &mut S,
        at: usize,
        entry: &ProcessEntry,
        images: &[ImageId],
    ) {
        if let Some(&last) = images.last() {
            // Not because the rules have changed, so what the first process of the image
            // did before is the image's.
            self.ensure_images(last.index() + 1, 0);
        }
        let slot = entry.slot.filter(|&slot| self.tracked.get(slot).is_some());
        if let Some(slot) = slot.or_else(|| self.track(at)) {
            self.set_images(source, slot, entry, images);
        }
    }

    /// Notes the io of a recent process that belongs to no image.
    fn record_recent_io(&mut self, source: &mut S, entry: &ProcessEntry) {
        // In the first cycle every process counts as an old one.
        if entry.is_recent(self.cycle)
            && self.cycle > 1
            && let Outcome::Value(counters) = source.io_once(entry.key())
        {
            self.classifier.record_recent_io(entry.pid, counters);
        }
    }

    /// Takes a tracked process out of its images and into others.
    fn set_images(&mut self, source: &mut S, slot: Slot, entry: &ProcessEntry, images: &[ImageId]) {
        let Some(process) = self.tracked.get_mut(slot) else { return };
        let before = std::mem::replace(&mut process.images, images.into());
        if before.is_empty() != images.is_empty() {
            self.io.invalidate_tree();
        }
        self.sockets.set_images(slot, &before, images);
        // Both lists are sorted, and a process can belong to thousands of images.
        for &image in before.iter().filter(|image| images.binary_search(image).is_err()) {
            self.io.leave(slot, image);
        }
        // Not if it is classified for the first time: its command line may have blocked.
        if before.is_empty() && entry.last_classified != 0 {
            // Its io until now. While it belongs to no image it is not read, so an earlier
            // reading does not help, except for a recent process.
            let recent = self.classifier.recent_io(entry.pid);
            let counters = recent.or_else(|| source.io(process.target(slot)).value());
            self.io.set_baseline(slot, counters);
        }
        let new = || images.iter().filter(|image| before.binary_search(image).is_err());
        self.io.reserve(slot, new().count());
        for &image in new() {
            let is_new = self.classifier.is_new_to(entry, image);
            self.io.join(slot, image, is_new || entry.last_classified == 0);
        }
        if images.is_empty() {
            // Not read any more.
            process.handles = S::Handles::default();
        }
    }
}

//! Finding the processes: who came, who went, who became another program.

use std::num::NonZeroU64;

use psstat_proc_parse::{Cmdline, ProcessState, StatCore};
use rustix::io::Errno;

use crate::accounting::counters::IoCounters;
use crate::accounting::ledger::Slot;
use crate::image::ImageId;
use crate::read::command_line::CmdlineResult;
use crate::read::outcome::Outcome;
use crate::read::process::{self, FdAllowance};
use crate::read::sys;
use crate::sampler::{Candidate, Classify, Sampler};
use crate::shrink::{shrink_map, shrink_vec};
use crate::state::process_table::ProcessEntry;
use crate::state::schedule::{
    DENIED_RETRY_INTERVAL, FULL_LISTING_INTERVAL, is_due_when_idle, next_read,
};
use crate::state::tracked::TrackedState;

/// Command lines are seldom longer, in bytes.
const LARGE_CMDLINE_BUFFER: usize = 1 << 16;

/// Which looks at command lines are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Those that decide who takes part in the coming window: the new, the
    /// young, and whoever is suspected of an exec.
    Urgent,
    /// Everyone's in turn.
    Scheduled,
}

impl Sampler {
    /// Brings the census up to date.
    pub(crate) fn refresh_processes(&mut self) {
        if self.list_processes().is_err() {
            self.health.listing_failed = true;
            self.census.exited.clear();
            return;
        }
        let roll = &self.roll;
        self.census.restore_hidden(|seen| {
            let tracked = seen.slot.and_then(|slot| roll.get(slot));
            tracked.is_some_and(|tracked| tracked.handles.is_alive())
        });
        self.read_new_processes();
        self.rematch_inodes();
        self.retire_exited();
        if !self.census.exited.is_empty() || !self.zombies.is_empty() {
            self.update_reparented();
        }
        let cycle = self.cycle;
        self.recent
            .retain(|pid, _| self.census.find(*pid).is_some_and(|seen| seen.is_recent(cycle)));
        shrink_map(&mut self.recent);
    }

    /// Lists those that can have changed, or all.
    fn list_processes(&mut self) -> Result<(), Errno> {
        // The pid of one that was found gone may be another's, chosen by whoever
        // made that (clone3), and then as many are there as before.
        let found_gone = std::mem::take(&mut self.exit_noticed);
        if !found_gone
            && !self.cycle.is_multiple_of(FULL_LISTING_INTERVAL)
            && let Some(part) = self.roster.list_new(&self.procfs)
            && self.census.update_partial(&part, self.cycle)
        {
            return Ok(());
        }
        let listed = self.roster.list_all(&self.procfs)?;
        self.census.update(listed, self.cycle);
        Ok(())
    }

    /// Memory pressure makes the kernel forget entries of `/proc`, which then
    /// come back with another inode.
    fn rematch_inodes(&mut self) {
        let roll = &mut self.roll;
        self.census.rematch_inode(self.cycle, |before, now| {
            let Some(tracked) = before.slot.and_then(|slot| roll.get_mut(slot)) else {
                return true;
            };
            // A kept descriptor would have kept the entry in the cache.
            let may_be = tracked.life != TrackedState::Exited && tracked.handles.count() == 0;
            if may_be {
                tracked.key.inode = now.inode;
            }
            may_be
        });
    }

    /// Hands the accounts of those that are gone to the ledger.
    fn retire_exited(&mut self) {
        for at in 0..self.census.exited.len() {
            let Some(&seen) = self.census.exited.get(at) else { break };
            let Some(slot) = seen.slot else { continue };
            self.tree_dirty = true;
            self.mark_exited_via_parent(slot, &seen);
        }
    }

    /// A tracked process has ended: its descriptors are closed, its sockets
    /// are nobody's, its account waits to be settled.
    pub(crate) fn mark_exited(&mut self, slot: Slot, parent: Option<Slot>) {
        self.ledger.mark_exited(slot, parent);
        self.release(slot);
    }

    /// The same after everyone's io was read.
    pub(crate) fn mark_exited_after_read(&mut self, slot: Slot, parent: Option<Slot>) {
        self.ledger.mark_exited_after_parent_read(slot, parent);
        self.release(slot);
    }

    fn release(&mut self, slot: Slot) {
        self.tree_dirty = true;
        self.exit_noticed = true;
        self.forget_sockets(slot);
        if let Some(tracked) = self.roll.get_mut(slot) {
            tracked.life = TrackedState::Exited;
            tracked.handles = process::ProcessFds::default();
        }
    }

    /// Reads `stat` of those that came.
    fn read_new_processes(&mut self) {
        let mut buffer = [0; 1024];
        for seen in self.census.all.iter_mut().filter(|seen| seen.first_seen_cycle == self.cycle) {
            let outcome = process::stat(&self.procfs, seen.pid, &mut buffer);
            let Outcome::Value(stat) = outcome else { continue };
            let now = self.procfs.boot_ticks();
            // After the reading: who is there now was there then.
            if !process::inode_matches(&self.procfs, seen.listed()) {
                // Its pid is another's already. The next listing tells whose, and
                // is to list everyone.
                seen.next_read = u32::MAX;
                self.exit_noticed = true;
                continue;
            }
            seen.set_starttime(stat.starttime, now);
            seen.ppid = stat.ppid.unsigned_abs();
            if leader_exited(&stat) {
                seen.live_thread =
                    process::live_thread(&self.procfs, seen.listed(), &mut self.lister);
            }
        }
    }

    /// Whose parent has ended has another one now, before it was waited for.
    fn update_reparented(&mut self) {
        let mut buffer = [0; 1024];
        for at in 0..self.census.all.len() {
            let seen = self.census.all[at];
            if !self.census.has_exited(seen.ppid) && self.zombies.binary_search(&seen.ppid).is_err()
            {
                continue;
            }
            match process::stat(&self.procfs, seen.pid, &mut buffer) {
                Outcome::Value(stat) => {
                    self.census.all[at].ppid = stat.ppid.unsigned_abs();
                    self.tree_dirty = true;
                }
                // Now, for after the next linking nobody is its parent; but one that
                // is hidden from us lives on.
                Outcome::Exited => {
                    if let Some(slot) = seen.slot
                        && let Some(tracked) = self.roll.get(slot)
                        && !tracked.handles.is_alive()
                    {
                        self.mark_exited_via_parent(slot, &seen);
                    }
                }
                Outcome::Denied | Outcome::Failed(_) => {}
            }
        }
    }

    /// A process is gone that may have vanished together with its parent.
    fn mark_exited_via_parent(&mut self, slot: Slot, seen: &ProcessEntry) {
        // One that was found gone in the last cycle has departed already.
        if self.roll.get(slot).is_some_and(|tracked| tracked.life != TrackedState::Exited) {
            let parent = self.census.parent_of_exited(seen).and_then(|parent| parent.slot);
            self.mark_exited(slot, parent);
        }
    }

    /// Reads the command lines that are due and takes the processes into their
    /// images, or out of them.
    pub(crate) fn read_due_cmdlines(&mut self, due: Urgency, classify: &mut Classify<'_>) {
        let Some(command_lines) = &mut self.command_lines else { return };
        command_lines.review();
        let mut asked = std::mem::take(&mut self.requested);
        asked.clear();
        for (at, seen) in (0..).zip(&mut self.census.all) {
            let pressing = seen.is_recent(self.cycle) || seen.next_read < self.cycle;
            if seen.next_read > self.cycle || pressing != (due == Urgency::Urgent) {
                continue;
            }
            let pid = seen.live_thread.unwrap_or(seen.pid);
            if seen.blocked && command_lines.is_still_stuck(pid) {
                continue;
            }
            // Before the command line, so that what it does meanwhile shows.
            let member = seen.slot.and_then(|slot| self.roll.get(slot));
            let cpu = match member.filter(|member| member.cpu.opened.is_some()) {
                _ if !self.procfs.fast.cpu_clock => None,
                // Just read.
                Some(member) => NonZeroU64::new(member.cpu.last),
                None => sys::process_cpu_time_ns(seen.pid).ok().and_then(NonZeroU64::new),
            };
            let idle = cpu.is_some() && cpu == seen.cpu;
            if idle && !pressing && !is_due_when_idle(seen, self.cycle) {
                seen.next_read = next_read(seen, self.cycle);
                continue;
            }
            seen.cpu = cpu;
            asked.push(at);
            command_lines.requested.push(pid);
        }
        // Out of its place while its answers change everything else.
        if !asked.is_empty()
            && let Some(mut command_lines) = self.command_lines.take()
        {
            shrink_vec(&mut asked);
            command_lines.run(&mut |index, answer| {
                let Some(&at) = asked.get(index) else { return };
                self.handle_cmdline(at, answer, classify);
            });
            self.command_lines = Some(command_lines);
        }
        self.requested = asked;
    }

    fn handle_cmdline(
        &mut self,
        at: usize,
        answer: CmdlineResult<'_>,
        classify: &mut Classify<'_>,
    ) {
        let cycle = self.cycle;
        if self.must_retry_on_live_thread(at, &answer) {
            return;
        }
        let Some(seen) = self.census.all.get_mut(at) else { return };
        if !matches!(answer, CmdlineResult::Read(Outcome::Value(_))) {
            seen.cpu = None;
        }
        match answer {
            CmdlineResult::Read(Outcome::Value(raw)) => {
                seen.mark_read(cycle);
                let seen = *seen;
                self.assign_images(at, seen, raw, classify);
            }
            // The next listing will tell.
            CmdlineResult::Read(Outcome::Exited) => {}
            CmdlineResult::Read(Outcome::Denied) => {
                seen.denied = true;
                seen.next_read = cycle + DENIED_RETRY_INTERVAL;
            }
            CmdlineResult::Read(Outcome::Failed(_)) => {
                self.health.failed.command_line += 1;
                seen.next_read = cycle + 1;
            }
            CmdlineResult::Blocked => {
                seen.blocked = true;
                seen.next_read = cycle + 1;
            }
            // Still due.
            CmdlineResult::Deferred => {
                self.health.cmdlines_deferred += 1;
                self.health.failed.command_line += 1;
            }
        }
    }

    /// Whether the answer is not the process's: a leader that has ended has no
    /// command line, and the number of a thread that has ended may be another's.
    /// Then one that lives is to be asked.
    fn must_retry_on_live_thread(&mut self, at: usize, answer: &CmdlineResult<'_>) -> bool {
        let Some(seen) = self.census.all.get_mut(at) else { return false };
        let in_doubt = match (answer, seen.live_thread) {
            (CmdlineResult::Read(Outcome::Value(line)), None) => {
                line.is_empty() && seen.last_classified != 0
            }
            (CmdlineResult::Read(Outcome::Value(line)), Some(tid)) => {
                line.is_empty() || !process::has_thread(&self.procfs, seen.pid, tid)
            }
            (CmdlineResult::Read(Outcome::Exited), Some(_)) => true,
            _ => false,
        };
        if !in_doubt {
            return false;
        }
        let before = seen.live_thread.take();
        let mut buffer = [0; 1024];
        if let Outcome::Value(stat) = process::stat(&self.procfs, seen.pid, &mut buffer)
            && leader_exited(&stat)
        {
            seen.live_thread = process::live_thread(&self.procfs, seen.listed(), &mut self.lister);
        }
        let is_another = seen.live_thread != before;
        if is_another {
            seen.cpu = None;
            // Still in this cycle, if the others' turn is to come.
            seen.next_read = self.cycle;
        }
        is_another
    }

    /// Finds the images for a command line and notes the changes.
    fn assign_images(
        &mut self,
        at: usize,
        seen: ProcessEntry,
        raw: &[u8],
        classify: &mut Classify<'_>,
    ) {
        let cmdline = Cmdline::new(raw);
        let mut images = std::mem::take(&mut self.images_found);
        images.clear();
        if !cmdline.is_empty() {
            self.text.extend(cmdline.joined());
            let candidate = Candidate {
                pid: seen.pid,
                ppid: seen.ppid,
                command_line: raw,
                args_joined: &self.text,
            };
            classify(&candidate, &mut images);
            self.text.clear();
            // A rare huge one does not stay in memory.
            self.text.shrink_to(LARGE_CMDLINE_BUFFER);
            images.sort_unstable();
            images.dedup();
            self.census.all[at].last_classified = self.cycle;
        } else if let Some(tracked) = seen.slot.and_then(|slot| self.roll.get(slot)) {
            // A zombie has none, nor has a process in the middle of an exec:
            // it stays what it was.
            images.extend_from_slice(&tracked.images);
        }
        if let Some(&last) = images.last() {
            // Not by a change of the rules, so what its first process did
            // before is not the image's.
            self.ensure_images(last.index() + 1, 0);
        }
        match seen.slot.and_then(|slot| Some((slot, *self.roll.get(slot)?.images == *images))) {
            Some((_, true)) if images.is_empty() => self.record_recent_io(&seen),
            Some((_, true)) => {}
            Some((slot, false)) => self.set_images(slot, &seen, &images),
            None if images.is_empty() => self.record_recent_io(&seen),
            None => {
                let slot = self.track(&seen);
                self.census.all[at].slot = Some(slot);
                self.tree_dirty = true;
                self.set_images(slot, &seen, &images);
            }
        }
        self.images_found = images;
    }

    /// Opens the books for a process.
    fn track(&mut self, seen: &ProcessEntry) -> Slot {
        let slot = self.roll.add(seen.listed(), seen.starttime);
        self.ledger.open(slot);
        slot
    }

    /// A process that stays in no image may be about to become a program that
    /// does: what it has done until then is not that image's.
    fn record_recent_io(&mut self, seen: &ProcessEntry) {
        if seen.is_recent(self.cycle) && !self.is_first_cycle {
            let io =
                process::ProcessFds::default().io(&self.procfs, seen.listed(), FdAllowance::NONE);
            if let Outcome::Value(io) = io {
                self.recent.insert(seen.pid, IoCounters::of(io));
            }
        }
    }

    /// Takes a tracked process out of its images and into others.
    fn set_images(&mut self, slot: Slot, seen: &ProcessEntry, images: &[ImageId]) {
        let Some(tracked) = self.roll.get_mut(slot) else { return };
        for group in tracked.groups() {
            self.owners.remove(group, &tracked.sockets.inodes);
        }
        let before = std::mem::replace(&mut tracked.images, images.into());
        self.tree_dirty |= before.is_empty() != images.is_empty();
        for group in tracked.groups() {
            self.owners.add(group, &tracked.sockets.inodes);
        }
        tracked.sockets.stale = true;
        self.namespaces.changed = true;
        let left = before.iter().filter(|image| !images.contains(image));
        let joined = images.iter().filter(|image| !before.contains(image));
        for &image in left {
            self.ledger.leave(slot, image);
        }
        // Not when it came: its command line may have blocked.
        if before.is_empty() && seen.last_classified != 0 {
            // What it has done until now. While it belongs to no image it is
            // not read, so an earlier reading is no help, but for the young.
            let young = self.recent.get(&seen.pid).copied();
            let done = young.or_else(|| {
                let io = tracked.handles.io(&self.procfs, tracked.key, self.keep.at(slot));
                io.value().map(IoCounters::of)
            });
            self.ledger.set_baseline(slot, done);
        }
        for &image in joined {
            // An image that was first heard of since the process was last asked.
            let is_new = self
                .image_first_cycle
                .get(image.index())
                .is_some_and(|&born| born > seen.last_classified);
            match is_new || seen.last_classified == 0 {
                true => self.ledger.join_with_history(slot, image),
                false => self.ledger.join(slot, image),
            }
        }
        if images.is_empty() {
            // Not read any more.
            tracked.handles = process::ProcessFds::default();
        }
    }

    /// Links the tracked processes anew, if any came, went or got another
    /// parent.
    pub(crate) fn rebuild_process_tree(&mut self) {
        if !self.tree_dirty {
            return;
        }
        self.tree_dirty = false;
        let ledger = &mut self.ledger;
        self.forest.rebuild(&mut self.census, &mut self.roll, |seen, roll| {
            let slot = roll.add(seen.listed(), seen.starttime);
            ledger.open(slot);
            slot
        });
        self.keep = process::FdBudget::split(self.budget, self.roll.count());
        for (slot, tracked) in self.roll.iter_mut() {
            tracked.handles.limit(self.keep.at(slot));
        }
    }
}

/// Whether its first thread has ended while others live.
fn leader_exited(stat: &StatCore<'_>) -> bool {
    stat.state == ProcessState::Zombie && stat.num_threads > 1
}

#[cfg(test)]
mod tests;

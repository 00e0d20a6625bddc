//! Finding the processes: who came, who went, who became another program.

use std::num::NonZeroU64;

use psstat_proc_parse::{Cmdline, ProcessState, StatCore};
use rustix::io::Errno;

use crate::image::ImageId;
use crate::keep::schedule::{DENIED_TURN, LISTING_TURN, is_due_when_idle, next_look};
use crate::keep::seen::Seen;
use crate::keep::tracked::Life;
use crate::memory::{give_back, give_back_map};
use crate::read::command_line::Answer;
use crate::read::outcome::Outcome;
use crate::read::process::{self, KeepFiles};
use crate::read::sys;
use crate::reckon::counters::Counters;
use crate::reckon::ledger::Slot;
use crate::sampler::{Candidate, Classify, Sampler};

/// Command lines are seldom longer, in bytes.
const LONG: usize = 1 << 16;

/// Which looks at command lines are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Those that decide who takes part in the coming window: the new, the
    /// young, and whoever is suspected of an exec.
    Pressing,
    /// Everyone's in turn.
    InTurn,
}

impl Sampler {
    /// Brings the census up to date.
    pub(crate) fn take_census(&mut self) {
        if self.count_the_people().is_err() {
            self.health.listing_failed = true;
            self.census.vanished.clear();
            return;
        }
        let roll = &self.roll;
        self.census.take_back(|seen| {
            let tracked = seen.slot.and_then(|slot| roll.get(slot));
            tracked.is_some_and(|tracked| tracked.handles.say_it_is_there())
        });
        self.meet_the_new();
        self.recognise_the_old();
        self.part_from_vanished();
        if !self.census.vanished.is_empty() || !self.zombies.is_empty() {
            self.find_new_parents();
        }
        let cycle = self.cycle;
        self.young.retain(|pid, _| self.census.find(*pid).is_some_and(|seen| seen.is_young(cycle)));
        give_back_map(&mut self.young);
    }

    /// Lists those that can have changed, or all.
    fn count_the_people(&mut self) -> Result<(), Errno> {
        // The pid of one that was found gone may be another's, chosen by whoever
        // made that (clone3), and then as many are there as before.
        let found_gone = std::mem::take(&mut self.found_gone);
        if !found_gone
            && !self.cycle.is_multiple_of(LISTING_TURN)
            && let Some(part) = self.roster.part(&self.procfs)
            && self.census.update_part(&part, self.cycle)
        {
            return Ok(());
        }
        let listed = self.roster.whole(&self.procfs)?;
        self.census.update(listed, self.cycle);
        Ok(())
    }

    /// Memory pressure makes the kernel forget entries of `/proc`, which then
    /// come back with another inode.
    fn recognise_the_old(&mut self) {
        let roll = &mut self.roll;
        self.census.recognise(self.cycle, |before, now| {
            let Some(tracked) = before.slot.and_then(|slot| roll.get_mut(slot)) else {
                return true;
            };
            // A kept descriptor would have kept the entry in the cache.
            let may_be = tracked.life != Life::Gone && tracked.handles.count() == 0;
            if may_be {
                tracked.who.inode = now.inode;
            }
            may_be
        });
    }

    /// Hands the accounts of those that are gone to the ledger.
    fn part_from_vanished(&mut self) {
        for at in 0..self.census.vanished.len() {
            let Some(&seen) = self.census.vanished.get(at) else { break };
            let Some(slot) = seen.slot else { continue };
            self.kin_changed = true;
            self.bury_as_child(slot, &seen);
        }
    }

    /// A tracked process has ended: its descriptors are closed, its sockets
    /// are nobody's, its account waits to be settled.
    pub(crate) fn bury(&mut self, slot: Slot, parent: Option<Slot>) {
        self.ledger.depart(slot, parent);
        self.clear_away(slot);
    }

    /// The same after everyone's io was read.
    pub(crate) fn bury_late(&mut self, slot: Slot, parent: Option<Slot>) {
        self.ledger.depart_late(slot, parent);
        self.clear_away(slot);
    }

    fn clear_away(&mut self, slot: Slot) {
        self.kin_changed = true;
        self.found_gone = true;
        self.forget_sockets(slot);
        if let Some(tracked) = self.roll.get_mut(slot) {
            tracked.life = Life::Gone;
            tracked.handles = process::Handles::default();
        }
    }

    /// Reads `stat` of those that came.
    fn meet_the_new(&mut self) {
        let mut buffer = [0; 1024];
        for seen in self.census.all.iter_mut().filter(|seen| seen.born == self.cycle) {
            let outcome = process::stat(&self.procfs, seen.pid, &mut buffer);
            let Outcome::There(stat) = outcome else { continue };
            let now = self.procfs.tick();
            // After the reading: who is there now was there then.
            if !process::is_as_listed(&self.procfs, seen.listed()) {
                // Its pid is another's already. The next listing tells whose, and
                // is to list everyone.
                seen.look = u32::MAX;
                self.found_gone = true;
                continue;
            }
            seen.began(stat.starttime, now);
            seen.ppid = stat.ppid.unsigned_abs();
            if has_lost_its_leader(&stat) {
                seen.living_thread =
                    process::living_thread(&self.procfs, seen.listed(), &mut self.lister);
            }
        }
    }

    /// Whose parent has ended has another one now, before it was waited for.
    fn find_new_parents(&mut self) {
        let mut buffer = [0; 1024];
        for at in 0..self.census.all.len() {
            let seen = self.census.all[at];
            if !self.census.has_vanished(seen.ppid)
                && self.zombies.binary_search(&seen.ppid).is_err()
            {
                continue;
            }
            match process::stat(&self.procfs, seen.pid, &mut buffer) {
                Outcome::There(stat) => {
                    self.census.all[at].ppid = stat.ppid.unsigned_abs();
                    self.kin_changed = true;
                }
                // Now, for after the next linking nobody is its parent; but one that
                // is hidden from us lives on.
                Outcome::Gone => {
                    if let Some(slot) = seen.slot
                        && let Some(tracked) = self.roll.get(slot)
                        && !tracked.handles.say_it_is_there()
                    {
                        self.bury_as_child(slot, &seen);
                    }
                }
                Outcome::Denied | Outcome::Failed(_) => {}
            }
        }
    }

    /// A process is gone that may have vanished together with its parent.
    fn bury_as_child(&mut self, slot: Slot, seen: &Seen) {
        // One that was found gone in the last cycle has departed already.
        if self.roll.get(slot).is_some_and(|tracked| tracked.life != Life::Gone) {
            let parent = self.census.parent_of_vanished(seen).and_then(|parent| parent.slot);
            self.bury(slot, parent);
        }
    }

    /// Reads the command lines that are due and takes the processes into their
    /// images, or out of them.
    pub(crate) fn look(&mut self, due: Due, classify: &mut Classify<'_>) {
        let Some(command_lines) = &mut self.command_lines else { return };
        command_lines.review();
        let mut asked = std::mem::take(&mut self.asked);
        asked.clear();
        for (at, seen) in (0..).zip(&mut self.census.all) {
            let pressing = seen.is_young(self.cycle) || seen.look < self.cycle;
            if seen.look > self.cycle || pressing != (due == Due::Pressing) {
                continue;
            }
            let pid = seen.living_thread.unwrap_or(seen.pid);
            if seen.blocked && command_lines.still_hangs(pid) {
                continue;
            }
            // Before the command line, so that what it does meanwhile shows.
            let member = seen.slot.and_then(|slot| self.roll.get(slot));
            let cpu = match member.filter(|member| member.cpu.opened.is_some()) {
                _ if !self.procfs.fast.cpu_clock => None,
                // Just read.
                Some(member) => NonZeroU64::new(member.cpu.last),
                None => sys::process_cpu_nanoseconds(seen.pid).ok().and_then(NonZeroU64::new),
            };
            let idle = cpu.is_some() && cpu == seen.cpu;
            if idle && !pressing && !is_due_when_idle(seen, self.cycle) {
                seen.look = next_look(seen, self.cycle);
                continue;
            }
            seen.cpu = cpu;
            asked.push(at);
            command_lines.asked.push(pid);
        }
        // Out of its place while its answers change everything else.
        if !asked.is_empty()
            && let Some(mut command_lines) = self.command_lines.take()
        {
            give_back(&mut asked);
            command_lines.run(&mut |index, answer| {
                let Some(&at) = asked.get(index) else { return };
                self.hear(at, answer, classify);
            });
            self.command_lines = Some(command_lines);
        }
        self.asked = asked;
    }

    fn hear(&mut self, at: usize, answer: Answer<'_>, classify: &mut Classify<'_>) {
        let cycle = self.cycle;
        if self.is_asked_in_vain(at, &answer) {
            return;
        }
        let Some(seen) = self.census.all.get_mut(at) else { return };
        if !matches!(answer, Answer::Read(Outcome::There(_))) {
            seen.cpu = None;
        }
        match answer {
            Answer::Read(Outcome::There(raw)) => {
                seen.looked(cycle);
                let seen = *seen;
                self.place(at, seen, raw, classify);
            }
            // The next listing will tell.
            Answer::Read(Outcome::Gone) => {}
            Answer::Read(Outcome::Denied) => {
                seen.denied = true;
                seen.look = cycle + DENIED_TURN;
            }
            Answer::Read(Outcome::Failed(_)) => {
                self.health.failed.command_line += 1;
                seen.look = cycle + 1;
            }
            Answer::Blocks => {
                seen.blocked = true;
                seen.look = cycle + 1;
            }
            // Still due.
            Answer::Later => {
                self.health.unread += 1;
                self.health.failed.command_line += 1;
            }
        }
    }

    /// Whether the answer is not the process's: a leader that has ended has no
    /// command line, and the number of a thread that has ended may be another's.
    /// Then one that lives is to be asked.
    fn is_asked_in_vain(&mut self, at: usize, answer: &Answer<'_>) -> bool {
        let Some(seen) = self.census.all.get_mut(at) else { return false };
        let in_doubt = match (answer, seen.living_thread) {
            (Answer::Read(Outcome::There(line)), None) => line.is_empty() && seen.known != 0,
            (Answer::Read(Outcome::There(line)), Some(tid)) => {
                line.is_empty() || !process::has_thread(&self.procfs, seen.pid, tid)
            }
            (Answer::Read(Outcome::Gone), Some(_)) => true,
            _ => false,
        };
        if !in_doubt {
            return false;
        }
        let before = seen.living_thread.take();
        let mut buffer = [0; 1024];
        if let Outcome::There(stat) = process::stat(&self.procfs, seen.pid, &mut buffer)
            && has_lost_its_leader(&stat)
        {
            seen.living_thread =
                process::living_thread(&self.procfs, seen.listed(), &mut self.lister);
        }
        let is_another = seen.living_thread != before;
        if is_another {
            seen.cpu = None;
            // Still in this cycle, if the others' turn is to come.
            seen.look = self.cycle;
        }
        is_another
    }

    /// Finds the images for a command line and notes the changes.
    fn place(&mut self, at: usize, seen: Seen, raw: &[u8], classify: &mut Classify<'_>) {
        let cmdline = Cmdline::new(raw);
        let mut images = std::mem::take(&mut self.images_found);
        images.clear();
        if !cmdline.is_empty() {
            self.text.extend(cmdline.joined());
            let candidate =
                Candidate { pid: seen.pid, ppid: seen.ppid, command_line: raw, text: &self.text };
            classify(&candidate, &mut images);
            self.text.clear();
            // A rare huge one does not stay in memory.
            self.text.shrink_to(LONG);
            images.sort_unstable();
            images.dedup();
            self.census.all[at].known = self.cycle;
        } else if let Some(tracked) = seen.slot.and_then(|slot| self.roll.get(slot)) {
            // A zombie has none, nor has a process in the middle of an exec:
            // it stays what it was.
            images.extend_from_slice(&tracked.images);
        }
        if let Some(&last) = images.last() {
            // Not by a change of the rules, so what its first process did
            // before is not the image's.
            self.know_images(last.index() + 1, 0);
        }
        match seen.slot.and_then(|slot| Some((slot, *self.roll.get(slot)?.images == *images))) {
            Some((_, true)) if images.is_empty() => self.remember_young(&seen),
            Some((_, true)) => {}
            Some((slot, false)) => self.move_to(slot, &seen, &images),
            None if images.is_empty() => self.remember_young(&seen),
            None => {
                let slot = self.track(&seen);
                self.census.all[at].slot = Some(slot);
                self.kin_changed = true;
                self.move_to(slot, &seen, &images);
            }
        }
        self.images_found = images;
    }

    /// Opens the books for a process.
    fn track(&mut self, seen: &Seen) -> Slot {
        let slot = self.roll.add(seen.listed(), seen.starttime);
        self.ledger.open(slot);
        slot
    }

    /// A process that stays in no image may be about to become a program that
    /// does: what it has done until then is not that image's.
    fn remember_young(&mut self, seen: &Seen) {
        if seen.is_young(self.cycle) && !self.starting {
            let io = process::Handles::default().io(&self.procfs, seen.listed(), KeepFiles::NONE);
            if let Outcome::There(io) = io {
                self.young.insert(seen.pid, Counters::of(io));
            }
        }
    }

    /// Takes a tracked process out of its images and into others.
    fn move_to(&mut self, slot: Slot, seen: &Seen, images: &[ImageId]) {
        let Some(tracked) = self.roll.get_mut(slot) else { return };
        for group in tracked.groups() {
            self.owners.remove(group, &tracked.sockets.inodes);
        }
        let before = std::mem::replace(&mut tracked.images, images.into());
        self.kin_changed |= before.is_empty() != images.is_empty();
        for group in tracked.groups() {
            self.owners.add(group, &tracked.sockets.inodes);
        }
        tracked.sockets.suspect = true;
        self.namespaces.changed = true;
        let left = before.iter().filter(|image| !images.contains(image));
        let joined = images.iter().filter(|image| !before.contains(image));
        for &image in left {
            self.ledger.leave(slot, image);
        }
        // Not when it came: its command line may have blocked.
        if before.is_empty() && seen.known != 0 {
            // What it has done until now. While it belongs to no image it is
            // not read, so an earlier reading is no help, but for the young.
            let young = self.young.get(&seen.pid).copied();
            let done = young.or_else(|| {
                let io = tracked.handles.io(&self.procfs, tracked.who, self.keep.at(slot));
                io.there().map(Counters::of)
            });
            self.ledger.begin(slot, done);
        }
        for &image in joined {
            // An image that was first heard of since the process was last asked.
            let is_new = self.image_born.get(image.index()).is_some_and(|&born| born > seen.known);
            match is_new || seen.known == 0 {
                true => self.ledger.join_in_full(slot, image),
                false => self.ledger.join(slot, image),
            }
        }
        if images.is_empty() {
            // Not read any more.
            tracked.handles = process::Handles::default();
        }
    }

    /// Links the tracked processes anew, if any came, went or got another
    /// parent.
    pub(crate) fn renew_kinship(&mut self) {
        if !self.kin_changed {
            return;
        }
        self.kin_changed = false;
        let ledger = &mut self.ledger;
        self.forest.grow(&mut self.census, &mut self.roll, |seen, roll| {
            let slot = roll.add(seen.listed(), seen.starttime);
            ledger.open(slot);
            slot
        });
        self.keep = process::Keep::within(self.budget, self.roll.count());
        for (slot, tracked) in self.roll.iter_mut() {
            tracked.handles.limit(self.keep.at(slot));
        }
    }
}

/// Whether its first thread has ended while others live.
fn has_lost_its_leader(stat: &StatCore<'_>) -> bool {
    stat.state == ProcessState::Zombie && stat.num_threads > 1
}

#[cfg(test)]
mod tests;

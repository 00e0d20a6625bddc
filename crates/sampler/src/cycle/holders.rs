//! Who holds which sockets.
//!
//! That is the dearest thing to find out, so it is remembered. A process's
//! descriptors are looked at again when something points to a change: their
//! number is another one, a socket that it held is ESTABLISHED no more (another
//! may have its descriptor), or it is another program; and each process in
//! turn, for what leaves no trace.
//!
//! What points to a change may do so in each cycle, so there is a limit to what
//! is looked at for that; who comes too late in a cycle is the first in the
//! next. A process with more descriptors than fit a cycle is looked at in its
//! turn alone, a part in each cycle.

use std::time::Instant;

use rustix::fd::OwnedFd;

use crate::keep::schedule::{
    DENIED_TURN, DESCRIPTOR_TURN, DESCRIPTORS_A_CYCLE, DESCRIPTORS_AT_ONCE,
};
use crate::keep::sockets::{Group, Netns};
use crate::keep::tracked::{FileState, Tracked};
use crate::read::descriptors::{self, SocketFinder};
use crate::read::listing::Listed;
use crate::read::outcome::Outcome;
use crate::read::process::open_folder;
use crate::read::procfs::Procfs;
use crate::reckon::ledger::Slot;
use crate::sampler::Sampler;

/// Where the looks at descriptors have come to.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    /// Whose turn it was last.
    turn: Slot,
    /// How many descriptors are still to be looked at in turn in this cycle,
    share: u64,
    /// and of how many places at most.
    places: Slot,
    /// How many descriptors may still be looked at in this cycle because
    /// something points to a change.
    left: u64,
    /// The first of whom that was not so, in this cycle or the last.
    late: Option<Slot>,
    long: Option<LongLook>,
}

/// A look that takes several cycles.
#[derive(Debug)]
struct LongLook {
    slot: Slot,
    who: Listed,
    /// Where in the folder it goes on.
    at: u64,
    /// Nanoseconds of CPU time of the process before it.
    cpu: u64,
    finder: SocketFinder,
}

impl Sampler {
    /// Looks at some processes' descriptors although nothing points to a
    /// change; all have their turn within [`DESCRIPTOR_TURN`] cycles. What is left
    /// of that at `until`, [`finish_looks_in_turn`](Self::finish_looks_in_turn) does.
    /// Those never looked at come too, as long as `until` allows.
    pub(crate) fn look_at_sockets_in_turn(&mut self, until: Instant) {
        let total: u64 = self.roll.iter().map(|(_, tracked)| tracked.sockets.descriptors + 1).sum();
        let end = self.roll.end();
        self.looks.share = (total / DESCRIPTOR_TURN).max(DESCRIPTORS_A_CYCLE);
        self.looks.places = end;
        while Instant::now() < until && self.look_at_next_in_turn() {}
        for slot in 0..end {
            if self.is_unread(slot) {
                if Instant::now() >= until {
                    break;
                }
                self.look_at_sockets(slot);
            }
            while self.looks.long.as_ref().is_some_and(|long| self.is_unread(long.slot))
                && Instant::now() < until
            {
                self.go_on_with_long_look(DESCRIPTORS_AT_ONCE);
            }
        }
    }

    /// Looks at the rest of this cycle's share, after the window, if the machine was
    /// too busy for it: the turn holds all the same.
    pub(crate) fn finish_looks_in_turn(&mut self) {
        while self.look_at_next_in_turn() {}
    }

    /// Looks at the next one in turn, or goes on with a long look; `false` if all of
    /// this cycle's share has been looked at.
    fn look_at_next_in_turn(&mut self) -> bool {
        if self.looks.share == 0 || self.looks.places == 0 {
            return false;
        }
        let looked_at = if self.looks.long.is_some() {
            self.go_on_with_long_look(self.looks.share.min(DESCRIPTORS_AT_ONCE))
        } else {
            self.looks.places -= 1;
            let next = self.looks.turn + 1;
            self.looks.turn = if next < self.roll.end() { next } else { 0 };
            let slot = self.looks.turn;
            let Some(tracked) = self.roll.get(slot) else { return true };
            let idle = self.procfs.fast.cpu_clock && !tracked.may_have_other_sockets(self.cycle);
            match idle {
                // Counts as looked at, so that the turn does not become
                // shorter where few are busy: its length is for all.
                true => tracked.sockets.descriptors + 1,
                false => self.look_at_sockets(slot),
            }
        };
        self.looks.share = self.looks.share.saturating_sub(looked_at);
        true
    }

    fn is_unread(&self, slot: Slot) -> bool {
        self.roll.get(slot).is_some_and(|tracked| {
            tracked.is_running_member() && tracked.sockets.state == FileState::Unread
        })
    }

    /// Looks at the descriptors of those that something points to.
    pub(crate) fn look_at_suspects(&mut self) {
        let end = self.roll.end();
        let first = self.looks.late.take().unwrap_or(0).min(end);
        self.looks.left = DESCRIPTORS_AT_ONCE;
        for slot in (first..end).chain(0..first) {
            let Some(tracked) = self.roll.get(slot) else { continue };
            let sockets = &tracked.sockets;
            let count = tracked.readings.descriptors.there();
            if sockets.suspect || count.is_some_and(|count| count != sockets.descriptors) {
                self.look_at_suspect(slot);
            }
        }
    }

    /// Looks at those that held a socket which is ESTABLISHED no more.
    pub(super) fn look_at_losers(&mut self) {
        for slot in 0..self.roll.end() {
            let Some(tracked) = self.roll.get(slot) else { continue };
            let fresh = tracked.sockets.looked == self.cycle && !tracked.sockets.suspect;
            let inodes = &tracked.sockets.inodes;
            if !fresh && inodes.iter().any(|&inode| self.owners.is_lost(inode)) {
                self.look_at_suspect(slot);
            }
        }
    }

    /// Looks at a member's descriptors, if that fits this cycle.
    fn look_at_suspect(&mut self, slot: Slot) {
        let Some(tracked) = self.roll.get_mut(slot) else { return };
        // Until it was looked at.
        tracked.sockets.suspect = true;
        if tracked.number_of_descriptors() > DESCRIPTORS_AT_ONCE {
            return;
        }
        if self.looks.left == 0 {
            self.looks.late.get_or_insert(slot);
            return;
        }
        let looked_at = self.look_at_sockets(slot);
        self.looks.left = self.looks.left.saturating_sub(looked_at);
    }

    /// Looks at a member's descriptors; gives how many they were. Of very many
    /// only at the first: a long look begins, unless there is one.
    fn look_at_sockets(&mut self, slot: Slot) -> u64 {
        let cycle = self.cycle;
        let Some(tracked) = self.roll.get_mut(slot) else { return 0 };
        if !tracked.is_running_member() || !tracked.sockets.state.is_due(cycle) {
            return 0;
        }
        if tracked.number_of_descriptors() > DESCRIPTORS_AT_ONCE && self.looks.long.is_some() {
            return 0;
        }
        let cpu = tracked.cpu.last;
        tracked.sockets.suspect = false;
        let finder = &mut self.socket_finder;
        finder.clear();
        let found = finder.find(folder(&self.procfs, tracked), 0, DESCRIPTORS_AT_ONCE);
        let looked_at = finder.descriptors;
        let Outcome::There(Some(at)) = found else {
            return self.conclude(slot, cpu, found.map(drop));
        };
        tracked.sockets.suspect = self.looks.long.is_some();
        // It is known from now on to have many.
        tracked.sockets.descriptors = tracked.sockets.descriptors.max(looked_at);
        if self.looks.long.is_none() {
            let finder = std::mem::replace(finder, SocketFinder::new());
            self.looks.long = Some(LongLook { slot, who: tracked.who, at, cpu, finder });
        }
        looked_at
    }

    /// Goes on with the long look, for so many descriptors; gives how many they
    /// were.
    fn go_on_with_long_look(&mut self, limit: u64) -> u64 {
        let Some(mut long) = self.looks.long.take() else { return 0 };
        let still_wanted = |tracked: &&Tracked| {
            (tracked.who.pid, tracked.who.starttime) == (long.who.pid, long.who.starttime)
                && tracked.is_running_member()
        };
        let Some(tracked) = self.roll.get(long.slot).filter(still_wanted) else { return 0 };
        let before = long.finder.descriptors;
        let found = long.finder.find(folder(&self.procfs, tracked), long.at, limit);
        let looked_at = long.finder.descriptors - before;
        if let Outcome::There(Some(at)) = found {
            self.looks.long = Some(LongLook { at, ..long });
        } else {
            self.socket_finder = long.finder;
            self.conclude(long.slot, long.cpu, found.map(drop));
        }
        looked_at
    }

    /// Takes over what was found; gives how many descriptors the member has.
    fn conclude(&mut self, slot: Slot, cpu: u64, found: Outcome<()>) -> u64 {
        let cycle = self.cycle;
        let Some(tracked) = self.roll.get_mut(slot) else { return 0 };
        let finder = &mut self.socket_finder;
        finder.sort();
        let netns = match self.procfs.read_netns(tracked.place()) {
            Outcome::There(netns) => Some(Netns(netns)),
            // The next listing will tell.
            Outcome::Gone => return 1,
            Outcome::Denied | Outcome::Failed(_) => None,
        };
        tracked.sockets.looked = cycle;
        tracked.sockets.cpu = cpu;
        // What is held by a process that may not be looked at is not known any
        // more, and not what it was.
        match found {
            Outcome::There(()) => {
                tracked.sockets.state = FileState::Read;
                tracked.sockets.descriptors = finder.descriptors;
            }
            Outcome::Gone => return 1,
            Outcome::Denied => {
                tracked.sockets.state = FileState::Denied { until: cycle + DENIED_TURN };
                self.forget_sockets(slot);
                return 1;
            }
            Outcome::Failed(_) => {
                tracked.sockets.state = FileState::Failed;
                tracked.sockets.suspect = true;
                self.forget_sockets(slot);
                return 1;
            }
        }
        let moved = tracked.sockets.netns != netns;
        if moved || *tracked.sockets.inodes != *finder.sockets {
            // The new ones first, so that what stays is not forgotten in
            // between.
            for group in
                tracked.images.iter().filter_map(|&image| Some(Group { image, netns: netns? }))
            {
                self.owners.add(group, &finder.sockets);
            }
            for group in tracked.groups() {
                self.owners.remove(group, &tracked.sockets.inodes);
            }
            self.namespaces.changed |= moved;
            tracked.sockets.netns = netns;
            if *tracked.sockets.inodes != *finder.sockets {
                tracked.sockets.inodes = finder.sockets.as_slice().into();
            }
        }
        tracked.sockets.descriptors + 1
    }

    /// What a process holds is not known, or it ended: its sockets are nobody's,
    /// or those of the others that hold them.
    pub(crate) fn forget_sockets(&mut self, slot: Slot) {
        let Some(tracked) = self.roll.get_mut(slot) else { return };
        for group in tracked.groups() {
            self.owners.remove(group, &tracked.sockets.inodes);
        }
        tracked.sockets.inodes = Box::default();
        self.namespaces.changed = true;
    }
}

/// The folder of a member's descriptors.
fn folder(procfs: &Procfs, tracked: &Tracked) -> Outcome<OwnedFd> {
    match tracked.living_thread {
        None => open_folder(procfs, tracked.who, c"fd"),
        Some(_) => descriptors::open_folder_at(procfs, tracked.place()),
    }
}

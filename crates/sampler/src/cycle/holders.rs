//! Who holds which sockets.
//!
//! That is the dearest thing to find out, so it is remembered. A process's
//! descriptors are looked at again when something points to a change: their
//! number is another one, a socket that it held is ESTABLISHED no more (another
//! may have its descriptor), or it is another program; and each process in
//! turn, for what leaves no trace.

use std::time::Instant;

use crate::keep::schedule::{DENIED_TURN, DESCRIPTOR_TURN, DESCRIPTORS_A_CYCLE};
use crate::keep::sockets::{Group, Netns};
use crate::keep::tracked::FileState;
use crate::outcome::Outcome;
use crate::reckon::ledger::Slot;
use crate::sampler::Sampler;

impl Sampler {
    /// Looks at some processes' descriptors although nothing points to a
    /// change; all have their turn within [`DESCRIPTOR_TURN`] cycles. Those
    /// never looked at come too, as long as `until` allows.
    pub(crate) fn look_at_sockets_in_turn(&mut self, until: Instant) {
        let total: u64 = self.roll.iter().map(|(_, tracked)| tracked.sockets.descriptors + 1).sum();
        let mut left = (total / DESCRIPTOR_TURN).max(DESCRIPTORS_A_CYCLE);
        let end = self.roll.end();
        for _ in 0..end {
            if left == 0 || Instant::now() >= until {
                break;
            }
            self.socket_turn = if self.socket_turn + 1 < end { self.socket_turn + 1 } else { 0 };
            let slot = self.socket_turn;
            let Some(tracked) = self.roll.get(slot) else { continue };
            let idle = self.procfs.fast.cpu_clock && !tracked.may_have_other_sockets(self.cycle);
            let looked_at = match idle {
                // Counts as looked at, so that the turn does not become shorter
                // where few are busy: its length is for all.
                true => tracked.sockets.descriptors + 1,
                false => self.look_at_sockets(slot),
            };
            left = left.saturating_sub(looked_at);
        }
        for slot in 0..end {
            let first = self.roll.get(slot).is_some_and(|tracked| {
                tracked.is_running_member() && tracked.sockets.state == FileState::Unread
            });
            if first {
                if Instant::now() >= until {
                    break;
                }
                self.look_at_sockets(slot);
            }
        }
    }

    /// Looks at the descriptors of those that something points to.
    pub(crate) fn look_at_suspects(&mut self) {
        for slot in 0..self.roll.end() {
            let Some(tracked) = self.roll.get(slot) else { continue };
            let sockets = &tracked.sockets;
            let count = tracked.descriptors.there();
            if sockets.suspect || count.is_some_and(|count| count != sockets.descriptors) {
                self.look_at_sockets(slot);
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
                self.look_at_sockets(slot);
            }
        }
    }

    /// Looks at a member's descriptors; gives how many they were.
    fn look_at_sockets(&mut self, slot: Slot) -> u64 {
        let cycle = self.cycle;
        let Some(tracked) = self.roll.get_mut(slot) else { return 0 };
        if !tracked.is_running_member() || !tracked.sockets.state.is_due(cycle) {
            return 0;
        }
        let (procfs, finder) = (&self.procfs, &mut self.socket_finder);
        let place = tracked.place();
        let found = match tracked.living_thread {
            None => finder.find(procfs, tracked.who),
            Some(_) => finder.find_at(procfs, place),
        };
        let netns = match procfs.read_netns(place) {
            Outcome::There(netns) => Some(Netns(netns)),
            // The next listing will tell.
            Outcome::Gone => return 1,
            Outcome::Denied | Outcome::Failed(_) => None,
        };
        tracked.sockets.looked = cycle;
        tracked.sockets.cpu = tracked.cpu.last;
        tracked.sockets.suspect = false;
        // What is held by a process that may not be looked at is not known any
        // more, and not what it was.
        match found {
            Outcome::There(()) => {
                tracked.sockets.state = FileState::Read;
                tracked.sockets.descriptors = finder.descriptors as u64;
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

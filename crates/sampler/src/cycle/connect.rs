//! Whose sockets are ESTABLISHED.
//!
//! Which socket belongs to whom is the dearest thing to find out, so it is
//! remembered. A process's descriptors are looked at again when something
//! points to a change: their number is another one, a socket that it held is
//! ESTABLISHED no more (another may have its descriptor), or it is another
//! program; and each process in turn, for what leaves no trace.

use std::time::Instant;

use crate::keep::schedule::{DENIED_TURN, DESCRIPTOR_TURN, DESCRIPTORS_A_CYCLE};
use crate::keep::sockets::{Found, Group, Netns, Strangers};
use crate::keep::tracked::{FileState, Life};
use crate::outcome::Outcome;
use crate::read::tables::Protocol;
use crate::reckon::ledger::Slot;
use crate::sampler::Sampler;

/// How often a text table that lacks a row is read again in a cycle, as long as
/// that brings rows back. A socket that has truly left costs one reading more.
const SEARCHES: usize = 8;

/// The members that live in a network namespace; their tables are the same.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// (namespace, member), sorted.
    members: Vec<(Netns, Slot)>,
    /// Some member, or its namespace, is another.
    pub(crate) changed: bool,
}

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

    /// Reads the tables and counts.
    pub(crate) fn read_tables(&mut self) {
        self.renew_namespaces();
        let cycle = self.cycle;
        let mut strangers = std::mem::take(&mut self.strangers);
        strangers.clear();
        for protocol in Protocol::ALL {
            self.tables_read[protocol as usize] = self.read_table(protocol, None, &mut strangers);
        }
        if self.owners.any_lost(cycle) {
            self.look_at_losers();
            // A socket that took a lost one's place was a stranger until now.
            for stranger in strangers.iter() {
                self.owners.established(stranger, cycle);
            }
            self.search_for_lost(&mut strangers);
        }
        strangers.settle();
        self.strangers = strangers;
    }

    /// Reads the text tables again that may have left out a row.
    ///
    /// The kernel gives a text table out a page at a time, and begins each page
    /// of udp's by counting the rows from the start of the table: those that
    /// were closed since the page before make it skip as many others. So a
    /// socket that was ESTABLISHED in the last cycle, is still held and not in
    /// the table, may be there all the same.
    fn search_for_lost(&mut self, strangers: &mut Strangers) {
        let mut lost = self.owners.lost(self.cycle);
        for _ in 0..SEARCHES {
            let before = lost.count;
            for &(protocol, netns) in &lost.tables {
                let own = self.procfs.own_netns == Some(netns.0);
                if self.tables.is_text(own, protocol) {
                    self.read_table(protocol, Some(netns), strangers);
                }
            }
            lost = self.owners.lost(self.cycle);
            if lost.count == before {
                break;
            }
        }
    }

    /// Reads one protocol's table in each namespace, or in one for the second
    /// time, by way of any member. Tells whether none failed.
    fn read_table(
        &mut self,
        protocol: Protocol,
        again: Option<Netns>,
        strangers: &mut Strangers,
    ) -> bool {
        let mut complete = true;
        let mut done = None;
        for &(netns, slot) in &self.namespaces.members {
            if done == Some(netns) || again.is_some_and(|again| again != netns) {
                continue;
            }
            let Some(tracked) = self.roll.get(slot).filter(|t| t.life != Life::Gone) else {
                continue;
            };
            let (own, owners, cycle) =
                (self.procfs.own_netns == Some(netns.0), &mut self.owners, self.cycle);
            let outcome = self.tables.established(
                &self.procfs,
                tracked.place(),
                own,
                protocol,
                &mut |inode| {
                    // The kernel numbers sockets with 32 bits.
                    let Ok(inode) = u32::try_from(inode) else { return };
                    let row = Found { inode, protocol, netns };
                    if !owners.established(row, cycle) && again.is_none() {
                        strangers.push(row);
                    }
                },
            );
            match outcome {
                Outcome::There(()) => done = Some(netns),
                // Another member's will do.
                Outcome::Gone => {}
                Outcome::Denied | Outcome::Failed(_) => {
                    self.health.failed.net += 1;
                    complete = false;
                    done = Some(netns);
                }
            }
        }
        complete
    }

    /// Looks at those that held a socket which is ESTABLISHED no more.
    fn look_at_losers(&mut self) {
        for slot in 0..self.roll.end() {
            let Some(tracked) = self.roll.get(slot) else { continue };
            let fresh = tracked.sockets.looked == self.cycle && !tracked.sockets.suspect;
            let inodes = &tracked.sockets.inodes;
            if !fresh && inodes.iter().any(|&inode| self.owners.is_lost(inode, self.cycle)) {
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
        match found {
            Outcome::There(()) => {
                tracked.sockets.state = FileState::Read;
                tracked.sockets.descriptors = finder.descriptors as u64;
            }
            Outcome::Gone => return 1,
            Outcome::Denied => {
                tracked.sockets.state = FileState::Denied { until: cycle + DENIED_TURN };
                return 1;
            }
            Outcome::Failed(_) => {
                tracked.sockets.state = FileState::Failed;
                tracked.sockets.suspect = true;
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

    fn renew_namespaces(&mut self) {
        if std::mem::take(&mut self.namespaces.changed) {
            let members = &mut self.namespaces.members;
            members.clear();
            let living = self.roll.iter().filter(|(_, tracked)| tracked.is_running_member());
            members
                .extend(living.filter_map(|(slot, tracked)| Some((tracked.sockets.netns?, slot))));
            members.sort_unstable();
        }
    }
}

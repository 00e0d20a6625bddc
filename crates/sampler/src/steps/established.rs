//! Which sockets are ESTABLISHED, in every network namespace that a member
//! lives in.

use crate::accounting::ledger::Slot;
use crate::read::outcome::Outcome;
use crate::read::socket_tables::Protocol;
use crate::sampler::Sampler;
use crate::shrink::shrink_vec;
use crate::state::sockets::{NetnsId, SocketRow, UnownedSockets};
use crate::state::tracked::TrackedState;

/// How often a text table that lacks a row is read again in a cycle, as long as
/// that brings rows back. A socket that has truly left costs one reading more.
const MAX_REREADS: usize = 8;

/// The members that live in a network namespace; their tables are the same.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// (namespace, member), sorted.
    members: Vec<(NetnsId, Slot)>,
    /// Some member, or its namespace, is another.
    pub(crate) changed: bool,
}

impl Sampler {
    /// Reads the tables and counts.
    pub(crate) fn read_tables(&mut self) {
        self.refresh_netns();
        self.owners.begin(self.cycle);
        let mut strangers = std::mem::take(&mut self.unowned_sockets);
        strangers.clear();
        self.unread_tables.clear();
        for protocol in Protocol::ALL {
            self.read_table(protocol, None, &mut strangers);
        }
        if self.owners.has_missing() {
            self.scan_owners_of_missing();
            // A socket that took a lost one's place was a stranger until now.
            for stranger in strangers.iter() {
                self.owners.established(stranger);
            }
            self.reread_for_missing(&mut strangers);
        }
        strangers.finish();
        self.unowned_sockets = strangers;
    }

    /// Reads the text tables again that may have left out a row.
    ///
    /// The kernel gives a text table out a page at a time, and begins each page
    /// of udp's by counting the rows from the start of the table: those that
    /// were closed since the page before make it skip as many others. So a
    /// socket that was ESTABLISHED in the last cycle, is still held and not in
    /// the table, may be there all the same.
    fn reread_for_missing(&mut self, strangers: &mut UnownedSockets) {
        let mut lost = self.owners.lost();
        for _ in 0..MAX_REREADS {
            let before = lost.count;
            for &(protocol, netns) in &lost.tables {
                let own = self.procfs.own_netns == Some(netns.0);
                if self.tables.uses_text_table(own, protocol) {
                    self.read_table(protocol, Some(netns), strangers);
                }
            }
            lost = self.owners.lost();
            if lost.count == before {
                break;
            }
        }
    }

    /// Reads one protocol's table in each namespace, or in one for the second
    /// time, by way of any member.
    fn read_table(
        &mut self,
        protocol: Protocol,
        again: Option<NetnsId>,
        strangers: &mut UnownedSockets,
    ) {
        let mut done = None;
        for &(netns, slot) in &self.namespaces.members {
            if done == Some(netns) || again.is_some_and(|again| again != netns) {
                continue;
            }
            let Some(tracked) = self.roll.get(slot).filter(|t| t.life != TrackedState::Exited)
            else {
                continue;
            };
            let own = self.procfs.own_netns == Some(netns.0);
            let owners = &mut self.owners;
            let outcome = self.tables.established(
                &self.procfs,
                tracked.proc_dir(),
                own,
                protocol,
                &mut |inode| {
                    // The kernel numbers sockets with 32 bits.
                    let Ok(inode) = u32::try_from(inode) else { return };
                    let row = SocketRow { inode, protocol, netns };
                    if !owners.established(row) && again.is_none() {
                        strangers.push(row);
                    }
                },
            );
            match outcome {
                Outcome::Value(()) => done = Some(netns),
                // Another member's will do.
                Outcome::Exited => {}
                Outcome::Denied | Outcome::Failed(_) => {
                    self.health.failed.net += 1;
                    if again.is_none() {
                        self.unread_tables.push((protocol, netns));
                    }
                    done = Some(netns);
                }
            }
        }
    }

    fn refresh_netns(&mut self) {
        if std::mem::take(&mut self.namespaces.changed) {
            let members = &mut self.namespaces.members;
            members.clear();
            let living = self.roll.iter().filter(|(_, tracked)| tracked.is_live_member());
            members
                .extend(living.filter_map(|(slot, tracked)| Some((tracked.sockets.netns?, slot))));
            members.sort_unstable();
            shrink_vec(members);
        }
    }
}

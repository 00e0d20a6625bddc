//! The sockets in other states than ESTABLISHED, if they are requested.
//!
//! The kernel's counters do not show all of their changes: listen(2) sends nothing. So the tables
//! are walked in every cycle.

use super::SocketTracker;
use super::owners::{SocketOwners, SocketRow};
use crate::health::Health;
use crate::ids::{NetnsId, Protocol, Slot, SocketInode};
use crate::image::ImageIndex;
use crate::read::outcome::Outcome;
use crate::shrink::shrink_vec;
use crate::source::SocketSource;
use crate::state::tracked::{FileState, TrackedProcesses};
use crate::tcp_states::{OtherTcpState, TcpStateCounts};

/// The sockets of this cycle.
#[derive(Debug, Default)]
pub(super) struct TcpStates {
    /// By inode and namespace, each once.
    rows: Vec<Row>,
    /// The namespaces whose tables could not be read.
    unread: Vec<NetnsId>,
    /// By image.
    totals: Vec<TcpStateCounts>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    inode: SocketInode,
    netns: NetnsId,
    state: OtherTcpState,
}

impl SocketTracker {
    /// Reads the tables of all namespaces of members, each through any of them.
    pub(crate) fn read_tcp_states<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &TrackedProcesses<S::Handles>,
        health: &mut Health,
    ) {
        let TcpStates { rows, unread, .. } = &mut self.tcp_states;
        rows.clear();
        unread.clear();
        let mut done = None;
        for (netns, slot) in self.namespaces.members() {
            if done == Some(netns) {
                continue;
            }
            let Some(process) = tracked.live(slot) else { continue };
            let found = &mut |inode, state| rows.push(Row { inode, netns, state });
            match source.tcp_states(process.proc_dir(), netns, found) {
                Outcome::Value(()) => done = Some(netns),
                // The table can be read through another member.
                Outcome::Exited => {}
                Outcome::Denied | Outcome::Failed(_) | Outcome::Unread(_) => {
                    health.failed.net += 1;
                    unread.push(netns);
                    done = Some(netns);
                }
            }
        }
        // A table that changes while it is read can have a row twice.
        rows.sort_unstable_by_key(|row| (row.inode, row.netns));
        rows.dedup_by_key(|row| (row.inode, row.netns));
        shrink_vec(rows);
    }

    /// Whether the sockets of a process in other states can be counted in this cycle.
    pub(crate) fn are_tcp_states_current(&self, slot: Slot) -> bool {
        self.process(slot).is_some_and(|process| {
            let is_table_read =
                process.netns.is_some_and(|netns| !self.tcp_states.unread.contains(&netns));
            process.state == FileState::Read && (is_table_read || process.inodes.is_empty())
        })
    }

    /// The sockets of a process in other states.
    pub(crate) fn count_tcp_states(&self, slot: Slot) -> TcpStateCounts {
        let mut counts = TcpStateCounts::ZERO;
        let Some(process) = self.process(slot) else { return counts };
        let Some(netns) = process.netns else { return counts };
        let rows = &self.tcp_states.rows;
        for &inode in &process.inodes {
            if let Ok(at) = rows.binary_search_by_key(&(inode, netns), |row| (row.inode, row.netns))
            {
                counts.add(rows[at].state);
            }
        }
        counts
    }

    /// Counts the distinct sockets by image.
    pub(crate) fn sum_tcp_states(&mut self, images: usize) -> &[TcpStateCounts] {
        let TcpStates { rows, unread, totals } = &mut self.tcp_states;
        totals.clear();
        totals.resize(images, TcpStateCounts::ZERO);
        for row in rows.iter().filter(|row| !unread.contains(&row.netns)) {
            let count = |image: ImageIndex| {
                if let Some(counts) = totals.get_mut(image.index()) {
                    counts.add(row.state);
                }
            };
            count_owners(&self.owners, row, count);
        }
        totals
    }
}

fn count_owners(owners: &SocketOwners, row: &Row, count: impl FnMut(ImageIndex)) {
    let Row { inode, netns, .. } = *row;
    owners.count_owners(SocketRow { inode, protocol: Protocol::Tcp, netns }, count);
}

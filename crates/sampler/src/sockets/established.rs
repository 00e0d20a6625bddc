//! Which sockets are ESTABLISHED, in every network namespace that a member lives in.

use super::SocketTracker;
use super::owners::SocketRow;
use super::tcp_table::TcpTable;
use crate::health::Health;
use crate::ids::{NetnsId, Protocol, Slot};
use crate::read::outcome::Outcome;
use crate::read::socket_tables::Shortcuts;
use crate::shrink::shrink_vec;
use crate::source::SocketSource;
use crate::state::tracked::TrackedProcesses;

/// How often a text table that lacks a row is read again in a cycle, as long as
/// that brings rows back. A socket that was closed costs one more read.
const MAX_REREADS: usize = 8;

/// The network namespaces of the members; the tables of all members of one are the same.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    /// (namespace, member), sorted.
    members: Vec<(NetnsId, Slot)>,
    /// One for each namespace, sorted.
    tcp: Vec<TcpTable>,
    /// A member came, exited, or moved to another namespace.
    pub(super) changed: bool,
}

impl SocketTracker {
    /// Reads the tables and notes which sockets are ESTABLISHED.
    pub(crate) async fn read_tables<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &mut TrackedProcesses<S::Handles>,
        cycle: u32,
        health: &mut Health,
    ) {
        self.refresh_namespaces(tracked);
        self.owners.begin(cycle);
        self.unowned.clear();
        self.unread_tables.clear();
        for protocol in Protocol::ALL {
            self.read_table(source, tracked, protocol, None, cycle, health);
        }
        if self.owners.has_missing() {
            self.scan_owners_of_missing(source, tracked, cycle).await;
            // A socket that took the place of a missing one had no owner until now.
            for row in self.unowned.iter() {
                self.owners.established(row);
            }
            self.reread_for_missing(source, tracked, cycle, health);
        }
        self.unowned.finish();
    }

    /// Reads the text tables again that may have omitted a row, and those that were not
    /// read.
    ///
    /// The kernel returns a text table in pages, and begins each page of udp by counting
    /// the rows from the start of the table: for each row that was closed since the
    /// previous page it skips another one. So a socket that was ESTABLISHED in the last
    /// cycle, is still held and is not in the table, may be ESTABLISHED nevertheless.
    fn reread_for_missing<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &TrackedProcesses<S::Handles>,
        cycle: u32,
        health: &mut Health,
    ) {
        let mut missing = self.owners.missing();
        for _ in 0..MAX_REREADS {
            let before = missing.count;
            for &(protocol, netns) in &missing.tables {
                if source.uses_text_table(netns, protocol)
                    || (protocol == Protocol::Tcp && self.namespaces.used_shortcut(netns))
                {
                    self.read_table(source, tracked, protocol, Some(netns), cycle, health);
                }
            }
            missing = self.owners.missing();
            if missing.count == before {
                break;
            }
        }
    }

    /// Reads the table of one protocol in each namespace, or again in the one given,
    /// through any member.
    fn read_table<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &TrackedProcesses<S::Handles>,
        protocol: Protocol,
        again: Option<NetnsId>,
        cycle: u32,
        health: &mut Health,
    ) {
        let mut done = None;
        let Namespaces { members, tcp, .. } = &mut self.namespaces;
        for &(netns, slot) in &*members {
            if done == Some(netns) || again.is_some_and(|again| again != netns) {
                continue;
            }
            let Some(process) = tracked.live(slot) else { continue };
            let table = (protocol, netns);
            let (owners, unowned) = (&mut self.owners, &mut self.unowned);
            let found = &mut |inode| {
                let row = SocketRow { inode, protocol, netns };
                if !owners.established(row) && again.is_none() {
                    unowned.push(row);
                }
            };
            let directory = process.proc_dir();
            let outcome = match table_of(tcp, netns)
                .filter(|_| protocol == Protocol::Tcp && !source.leaves_out_tables(netns))
            {
                Some(tables) if again.is_none() => {
                    tables.read(source, (process.key, directory), cycle, found)
                }
                Some(tables) => tables.read_again(source, directory, found),
                None => {
                    let shortcuts = Shortcuts { udp: again.is_none(), ..Shortcuts::NONE };
                    let rows = source.established(directory, netns, protocol, shortcuts, found);
                    rows.map(|rows| {
                        if again.is_none() {
                            health.contradictory_sockets += rows.contradictory;
                        }
                    })
                }
            };
            match outcome {
                Outcome::Value(()) => {
                    done = Some(netns);
                    let unread = self.unread_tables.iter().position(|one| *one == table);
                    if let Some(unread) = unread.filter(|_| again.is_none()) {
                        self.unread_tables.remove(unread);
                        health.failed.net -= 1;
                    }
                }
                // The table can be read through another member.
                Outcome::Exited => {}
                // A capture can have the table in the directory of another process.
                Outcome::Denied | Outcome::Failed(_) | Outcome::Unread(_)
                    if source.has_table_per_process() && self.unread_tables.contains(&table) => {}
                Outcome::Denied | Outcome::Failed(_) | Outcome::Unread(_) => {
                    health.failed.net += 1;
                    if again.is_none() {
                        self.unread_tables.push(table);
                    }
                    if !source.has_table_per_process() {
                        done = Some(netns);
                    }
                }
            }
        }
    }

    pub(super) fn refresh_namespaces<H>(&mut self, tracked: &TrackedProcesses<H>) {
        if !std::mem::take(&mut self.namespaces.changed) {
            return;
        }
        let Namespaces { members, tcp, .. } = &mut self.namespaces;
        members.clear();
        for (slot, process) in tracked.iter() {
            let sockets = self.processes.get(slot as usize).and_then(Option::as_deref);
            if let Some(netns) = sockets.and_then(|sockets| sockets.netns)
                && process.is_live_member()
            {
                members.push((netns, slot));
            }
        }
        members.sort_unstable();
        shrink_vec(members);
        let mut before = std::mem::take(tcp).into_iter().peekable();
        for namespace in members.chunk_by(|(a, _), (b, _)| a == b) {
            let Some(&(netns, _)) = namespace.first() else { continue };
            while before.next_if(|table| table.netns < netns).is_some() {}
            let table = before.next_if(|table| table.netns == netns);
            tcp.push(table.unwrap_or_else(|| TcpTable::new(netns)));
        }
    }
}

impl Namespaces {
    /// The namespaces with their members, sorted.
    pub(super) fn members(&self) -> impl Iterator<Item = (NetnsId, Slot)> {
        self.members.iter().copied()
    }

    /// The members of one namespace after the other, never none.
    pub(super) fn by_namespace(&self) -> impl Iterator<Item = &[(NetnsId, Slot)]> {
        self.members.chunk_by(|(a, _), (b, _)| a == b)
    }

    /// Whether a TCP table of a namespace was not read in this cycle.
    fn used_shortcut(&mut self, netns: NetnsId) -> bool {
        table_of(&mut self.tcp, netns).is_some_and(|table| table.used_shortcut)
    }
}

/// The table of a namespace in a sorted list.
fn table_of(tables: &mut [TcpTable], netns: NetnsId) -> Option<&mut TcpTable> {
    let index = tables.binary_search_by_key(&netns, |table| table.netns).ok()?;
    tables.get_mut(index)
}

//! Which sockets are ESTABLISHED, in every network namespace that a member lives in.

use super::SocketTracker;
use super::kept_table::KeptTable;
use super::owners::SocketRow;
use super::tcp_table::TcpTable;
use crate::health::Health;
use crate::ids::{NetnsId, ProcessKey, Protocol, Slot};
use crate::read::outcome::Outcome;
use crate::read::procfs::ProcDir;
use crate::read::socket_tables::Shortcuts;
use crate::shrink::shrink_vec;
use crate::source::SocketSource;
use crate::state::schedule::is_idle_table_due;
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
    tables: Vec<Tables>,
    /// A member came, exited, or moved to another namespace.
    pub(super) changed: bool,
    /// The CPU time of each member in the last cycle, by slot; 0 if it is not known.
    cpu: Vec<u64>,
}

/// The tables of a namespace.
#[derive(Debug, Default)]
struct Tables {
    tcp: TcpTable,
    udp: KeptTable,
    unix: KeptTable,
    /// A member has run since the last cycle.
    has_run: bool,
    /// They were not read in the last cycle: the pass over the sockets of members stood for them.
    is_at_once: bool,
}

impl Tables {
    /// Whether they are those of the last read.
    fn are_current<S: SocketSource>(
        &mut self,
        source: &mut S,
        reader: (ProcessKey, ProcDir),
        cycle: u32,
        states: bool,
    ) -> bool {
        let netns = self.tcp.netns;
        if self.is_at_once {
            let is_quiet = !self.has_run && !states && !is_idle_table_due(netns.0, cycle);
            return is_quiet && self.tcp.has_counters(source, reader);
        }
        self.udp.is_current(netns, cycle)
            && self.unix.is_current(netns, cycle)
            && self.tcp.is_current(source, reader, cycle)
    }

    fn kept(&mut self, protocol: Protocol) -> Option<&mut KeptTable> {
        match protocol {
            Protocol::Tcp => None,
            Protocol::Udp => Some(&mut self.udp),
            Protocol::Unix => Some(&mut self.unix),
        }
    }
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
        self.are_tables_current &= !self.owners_changed;
        if self.are_tables_current {
            let tables =
                self.namespaces.tables.iter().flat_map(|tables| [&tables.udp, &tables.unix]);
            health.contradictory_sockets += tables.map(KeptTable::contradictory).sum::<u64>();
            return;
        }
        self.owners_changed = false;
        self.tables_read += 1;
        self.owners.begin(self.tables_read);
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

    /// Finds out whether all tables and their owners are as at the last read, before the scans at
    /// the end of the window. `states`: the other TCP states are requested as well.
    pub(super) fn check_tables<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &TrackedProcesses<S::Handles>,
        cycle: u32,
        states: bool,
    ) {
        self.refresh_namespaces(tracked);
        self.namespaces.note_runs(source, tracked);
        let is_known =
            !self.owners_changed && self.unread_tables.is_empty() && !self.owners.has_missing();
        let Namespaces { members, tables, .. } = &mut self.namespaces;
        let mut namespaces = members.chunk_by(|(a, _), (b, _)| a == b).zip(tables);
        self.are_tables_current = is_known
            && namespaces.all(|(members, tables)| {
                let mut live = members.iter().filter_map(|&(_, slot)| tracked.live(slot));
                let reader = live.next().map(|process| (process.key, process.proc_dir()));
                reader.is_some_and(|reader| tables.are_current(source, reader, cycle, states))
            });
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
        let Namespaces { members, tables, .. } = &mut self.namespaces;
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
            let without_tables = source.leaves_out_tables(netns);
            let tables = tables_of(tables, netns).filter(|_| !without_tables);
            let outcome = match tables {
                Some(Tables { tcp, .. }) if protocol == Protocol::Tcp => match again {
                    None => tcp.read(source, (process.key, directory), cycle, found),
                    Some(_) => tcp.read_again(source, directory, found),
                },
                tables => {
                    let mut kept = tables.and_then(|tables| tables.kept(protocol));
                    if let Some(kept) = &mut kept {
                        if again.is_none() && kept.is_current(netns, cycle) {
                            health.contradictory_sockets += kept.contradictory();
                            kept.sockets().for_each(found);
                            done = Some(netns);
                            continue;
                        }
                        kept.begin();
                    }
                    let shortcuts = Shortcuts { udp: again.is_none(), ..Shortcuts::NONE };
                    let found = &mut |inode| {
                        if let Some(kept) = &mut kept {
                            kept.push(inode);
                        }
                        found(inode);
                    };
                    let rows = source.established(directory, netns, protocol, shortcuts, found);
                    rows.map(|rows| {
                        if again.is_none() {
                            health.contradictory_sockets += rows.contradictory;
                            if let Some(kept) = kept {
                                kept.finish(rows.contradictory);
                            }
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
        let Namespaces { members, tables, .. } = &mut self.namespaces;
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
        let mut before = std::mem::take(tables).into_iter().peekable();
        for namespace in members.chunk_by(|(a, _), (b, _)| a == b) {
            let Some(&(netns, _)) = namespace.first() else { continue };
            while before.next_if(|tables| tables.tcp.netns < netns).is_some() {}
            let known = before.next_if(|tables| tables.tcp.netns == netns);
            tables.push(
                known.unwrap_or_else(|| Tables { tcp: TcpTable::new(netns), ..Tables::default() }),
            );
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

    /// The tables of a namespace in which a member has run are out of date.
    fn note_runs<S: SocketSource>(&mut self, source: &S, tracked: &TrackedProcesses<S::Handles>) {
        let skips_idle = source.skips_idle();
        self.cpu.resize(tracked.end() as usize, 0);
        shrink_vec(&mut self.cpu);
        let namespaces = self.members.chunk_by(|(a, _), (b, _)| a == b);
        for (members, tables) in namespaces.zip(&mut self.tables) {
            let mut has_run = !skips_idle;
            for &(_, slot) in members {
                let process = tracked.live(slot).filter(|process| process.cpu.used.is_some());
                let now = process.map_or(0, |process| process.cpu.last.total);
                if let Some(before) = self.cpu.get_mut(slot as usize) {
                    let is_same = std::mem::replace(before, now) == now;
                    has_run |= !is_same || now == 0;
                }
            }
            tables.has_run = has_run;
            if has_run {
                tables.udp.invalidate();
                tables.unix.invalidate();
            }
        }
    }

    /// The pass over the sockets of members is about to be read instead of the tables of a
    /// namespace.
    pub(super) fn begin_at_once<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &TrackedProcesses<S::Handles>,
        netns: NetnsId,
    ) {
        let Some(tables) = tables_of(&mut self.tables, netns) else { return };
        let members = self.members.iter().filter(|(other, _)| *other == netns);
        let reader = members.filter_map(|&(_, slot)| tracked.live(slot)).next();
        // In another namespace the counters cost more than such a pass.
        let reader = reader.filter(|_| source.is_own_netns(netns));
        tables.tcp.note_counters(source, reader.map(|process| (process.key, process.proc_dir())));
    }

    /// These namespaces, sorted, need no tables in this cycle.
    pub(super) fn set_at_once(&mut self, namespaces: &[NetnsId]) {
        for tables in &mut self.tables {
            tables.is_at_once = namespaces.binary_search(&tables.tcp.netns).is_ok();
        }
    }

    /// The next reads take nothing for granted.
    pub(super) fn forget_runs(&mut self) {
        self.cpu.fill(0);
    }

    /// The same for a process that has come, or moved.
    pub(super) fn forget_run(&mut self, slot: Slot) {
        if let Some(cpu) = self.cpu.get_mut(slot as usize) {
            *cpu = 0;
        }
    }

    /// Whether a TCP table of a namespace was not read in this cycle.
    fn used_shortcut(&mut self, netns: NetnsId) -> bool {
        tables_of(&mut self.tables, netns).is_some_and(|tables| tables.tcp.used_shortcut)
    }
}

/// The tables of a namespace in a sorted list.
fn tables_of(tables: &mut [Tables], netns: NetnsId) -> Option<&mut Tables> {
    let index = tables.binary_search_by_key(&netns, |tables| tables.tcp.netns).ok()?;
    tables.get_mut(index)
}

//! Socket ownership: which process holds which sockets, and which of them are
//! ESTABLISHED.
//!
//! Reading the links of all descriptors of all processes is the most expensive read that there is,
//! so the owners are remembered ([`owners`]) and the descriptors of a process are scanned again
//! only now and then ([`fd_scan`]). The tables of each network namespace are read ([`established`])
//! if something may have changed: those of TCP if a counter of the kernel shows it ([`tcp_table`]),
//! the others if a member has run ([`kept_table`]). Where a source reads the descriptors of many
//! processes at once, they can stand for the tables ([`at_once`]).

mod at_once;
mod established;
mod fd_scan;
mod kept_table;
pub(crate) mod owners;
mod tcp_states;
mod tcp_table;

use std::time::Instant;

use self::at_once::AtOnce;
use self::established::Namespaces;
use self::fd_scan::FdScan;
use self::owners::{Group, SocketOwners, Table, UnownedSockets};
use self::tcp_states::TcpStates;
use crate::ids::{NetnsId, Protocol, Slot, SocketCounts, SocketInode};
use crate::image::ImageIndex;
use crate::read::fd_sockets::FdSockets;
use crate::shrink::shrink_vec;
use crate::source::SocketSource;
use crate::state::tracked::{FileState, TrackedProcesses};

/// The sockets of all tracked processes.
#[derive(Debug, Default)]
pub(crate) struct SocketTracker {
    /// By slot. Boxed, so that an empty slot below a used one costs a pointer.
    processes: Vec<Option<Box<ProcessSockets>>>,
    owners: SocketOwners,
    namespaces: Namespaces,
    scan: FdScan,
    at_once: AtOnce,
    /// The tables that could not be read in this cycle.
    unread_tables: Vec<Table>,
    /// The rows of this cycle's tables that no tracked process owns.
    unowned: UnownedSockets,
    tcp_states: TcpStates,
    /// The sockets of the process that is scanned.
    found: FdSockets,
    /// How often the tables were read.
    tables_read: u32,
    /// A process has other sockets, or other images, than at the last read of the tables.
    owners_changed: bool,
    /// In this cycle all tables and totals are those of the last read.
    are_tables_current: bool,
    /// By image, counted at the end of a cycle.
    totals: Vec<SocketCounts>,
}

/// The sockets of one process.
#[derive(Debug)]
pub(crate) struct ProcessSockets {
    /// How the last scan of its descriptors ended.
    pub(crate) state: FileState,
    /// All its sockets at the last scan, sorted.
    inodes: Box<[SocketInode]>,
    /// The number of its descriptors then.
    fds: u64,
    /// Its network namespace then. `None` where it could not be read, and then none of
    /// its sockets count.
    pub(crate) netns: Option<NetnsId>,
    /// Something indicates a change since.
    stale: bool,
    /// The cycle of the last scan.
    scanned_in: u32,
    /// Its CPU time in nanoseconds before the last scan.
    cpu: u64,
}

impl Default for ProcessSockets {
    fn default() -> ProcessSockets {
        ProcessSockets {
            state: FileState::Never,
            inodes: Box::default(),
            fds: 0,
            netns: None,
            stale: true,
            scanned_in: 0,
            cpu: 0,
        }
    }
}

impl ProcessSockets {
    /// Whether the sockets of a protocol can be counted: its descriptors could be read,
    /// and so could the table in which its sockets would be.
    fn is_current(&self, protocol: Protocol, unread: &[Table]) -> bool {
        let table = self.netns.is_some_and(|netns| !unread.contains(&(protocol, netns)));
        self.state == FileState::Read && (table || self.inodes.is_empty())
    }

    /// The owners of its sockets: its images, in its network namespace.
    fn groups<'a>(
        &self,
        images: &'a [ImageIndex],
    ) -> impl DoubleEndedIterator<Item = Group> + use<'a> {
        let netns = self.netns;
        images.iter().filter_map(move |&image| Some(Group { image, netns: netns? }))
    }
}

impl SocketTracker {
    /// Adds a process that is tracked from now on.
    pub(crate) fn track(&mut self, slot: Slot) {
        let at = slot as usize;
        if self.processes.len() <= at {
            self.processes.resize_with(at + 1, || None);
        }
        self.processes[at] = Some(Box::default());
        self.namespaces.forget_run(slot);
    }

    /// Removes a process whose slot is freed.
    pub(crate) fn remove(&mut self, slot: Slot) {
        if let Some(place) = self.processes.get_mut(slot as usize) {
            *place = None;
        }
        while self.processes.last().is_some_and(Option::is_none) {
            self.processes.pop();
        }
        shrink_vec(&mut self.processes);
    }

    /// The sockets of a process.
    pub(crate) fn process(&self, slot: Slot) -> Option<&ProcessSockets> {
        self.processes.get(slot as usize)?.as_deref()
    }

    fn process_mut(&mut self, slot: Slot) -> Option<&mut ProcessSockets> {
        self.processes.get_mut(slot as usize)?.as_deref_mut()
    }

    /// Moves a process from some images to others.
    pub(crate) fn set_images(&mut self, slot: Slot, before: &[ImageIndex], now: &[ImageIndex]) {
        let Some(process) = self.processes.get_mut(slot as usize).and_then(Option::as_deref_mut)
        else {
            return;
        };
        // The last first, which is the last of the owners of a socket.
        for group in process.groups(before).rev() {
            self.owners.remove(group, &process.inodes);
        }
        for group in process.groups(now) {
            self.owners.add(group, &process.inodes);
        }
        process.stale = true;
        self.namespaces.changed = true;
        self.owners_changed = true;
    }

    /// Something indicates that the sockets of a process have changed.
    pub(crate) fn mark_stale(&mut self, slot: Slot) {
        if let Some(process) = self.process_mut(slot) {
            process.stale = true;
        }
    }

    /// The same for all processes and their namespaces.
    pub(crate) fn mark_all_stale(&mut self) {
        self.namespaces.changed = true;
        self.namespaces.forget_runs();
        self.owners_changed = true;
        // As if there was a read that found nothing.
        self.tables_read += 1;
        for process in self.processes.iter_mut().flatten() {
            process.stale = true;
        }
    }

    /// Whether the descriptors were denied and are not due again.
    pub(crate) fn are_fds_denied(&self, slot: Slot, cycle: u32) -> bool {
        self.process(slot).is_some_and(|process| !process.state.is_due(cycle))
    }

    /// The sockets of a process are unknown, or it has exited: they belong to no process
    /// any more, or only to the others that hold them.
    pub(crate) fn forget(&mut self, slot: Slot, images: &[ImageIndex]) {
        let process = self.processes.get_mut(slot as usize).and_then(Option::as_deref_mut);
        let Some(process) = process else { return };
        for group in process.groups(images).rev() {
            self.owners.remove(group, &process.inodes);
        }
        process.inodes = Box::default();
        self.namespaces.changed = true;
        self.owners_changed = true;
    }

    /// Scans the descriptors of this cycle's share of the processes, in turn, until
    /// `deadline`; see [`fd_scan`].
    pub(crate) async fn scan_scheduled<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &mut TrackedProcesses<S::Handles>,
        cycle: u32,
        deadline: Instant,
    ) {
        self.begin_scan(tracked);
        self.scan_round_robin(source, tracked, cycle, deadline).await;
    }

    /// Scans at the end of the window: the processes whose sockets may have changed,
    /// and the rest of this cycle's share. `states`: the other TCP states will be read too.
    pub(crate) async fn scan_changed<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &mut TrackedProcesses<S::Handles>,
        cycle: u32,
        states: bool,
    ) {
        self.check_tables(source, tracked, cycle, states);
        self.read_at_once(source, tracked, cycle);
        self.scan_stale(source, tracked, cycle).await;
        self.finish_round_robin(source, tracked, cycle).await;
        if !self.are_tables_current {
            self.leave_out_tables(source, tracked);
        }
    }

    /// Whether the sockets of a process can be counted in this cycle.
    pub(crate) fn is_current(&self, slot: Slot, protocol: Protocol) -> bool {
        let process = self.process(slot);
        process.is_some_and(|process| process.is_current(protocol, &self.unread_tables))
    }

    /// How many sockets of a process are ESTABLISHED.
    pub(crate) fn count(&self, slot: Slot) -> SocketCounts {
        let mut counts = SocketCounts::default();
        let Some(process) = self.process(slot) else { return counts };
        let netns = process.netns.unwrap_or_default();
        for &inode in &process.inodes {
            if let Some(protocol) = self.owners.protocol(inode, netns) {
                counts[protocol as usize] += 1;
            }
        }
        counts
    }

    /// Counts the distinct ESTABLISHED sockets by image. SocketTables that could not be read
    /// to their end do not count.
    pub(crate) fn sum(&mut self, images: usize) {
        if self.are_tables_current && self.totals.len() == images {
            return;
        }
        self.totals.clear();
        self.totals.resize(images, SocketCounts::default());
        self.owners.count(|image, table| {
            if let Some(counts) = self.totals.get_mut(image.index())
                && !self.unread_tables.contains(&table)
            {
                counts[table.0 as usize] += 1;
            }
        });
    }

    /// The counts by image.
    pub(crate) fn totals(&self) -> &[SocketCounts] {
        &self.totals
    }
}

//! Reading the sockets of many processes at once, where the source can: their descriptors, and the
//! states of the sockets that these refer to.
//!
//! So few or many processes cost a pass over all tasks, and then something for each descriptor. The
//! tables cost something for each socket of the machine, and those of another network namespace
//! than this process's far more, since they are text. So the descriptors of all members of a
//! namespace are read in every cycle, instead of its tables, unless they have very many.

use super::SocketTracker;
use crate::ids::{NetnsId, Slot};
use crate::source::SocketSource;
use crate::state::schedule::MAX_FDS_PER_CYCLE;
use crate::state::tracked::{FileState, Tracked, TrackedProcesses};

/// The members of this process's network namespace are read without tables if they have at most
/// this number of descriptors together: they cost as much as a walk over tables without sockets.
const MAX_FDS_OWN: u64 = 4096;
/// The same of another namespace, the text tables of which cost several times more.
const MAX_FDS_OTHER: u64 = 16_384;
/// At most this number of processes is read ahead of a scan, unless they are all due,
const MAX_AHEAD: usize = 256;
/// and about this number of descriptors.
const MAX_FDS_AHEAD: u64 = 8192;

/// The passes of a cycle. Lists that are kept to be used again.
#[derive(Debug, Default)]
pub(super) struct AtOnce {
    /// The processes of the pass at the end of the window.
    pids: Vec<u32>,
    /// Those of a pass ahead of scans.
    ahead: Vec<u32>,
    /// The namespaces without tables, sorted.
    namespaces: Vec<NetnsId>,
}

impl SocketTracker {
    /// Reads the sockets of all processes that are to be scanned at the end of the window: those of
    /// namespaces without tables, and those that may have changed.
    pub(super) fn read_at_once<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &TrackedProcesses<S::Handles>,
        cycle: u32,
    ) {
        if !source.reads_sockets_at_once() {
            return;
        }
        let AtOnce { mut pids, ahead, mut namespaces } = std::mem::take(&mut self.at_once);
        pids.clear();
        namespaces.clear();
        let fds = |slot: Slot| {
            let process = tracked.get(slot).zip(self.process(slot));
            process.map_or(0, |(process, sockets)| sockets.fd_count(process))
        };
        for members in self.namespaces.by_namespace().filter(|_| !self.are_tables_current) {
            let Some(&(netns, _)) = members.first() else { continue };
            let max = if source.is_own_netns(netns) { MAX_FDS_OWN } else { MAX_FDS_OTHER };
            if members.iter().map(|&(_, slot)| fds(slot)).sum::<u64>() <= max {
                namespaces.push(netns);
            }
        }
        for &netns in &namespaces {
            self.namespaces.begin_at_once(source, tracked, netns);
        }
        let mut budget = MAX_FDS_PER_CYCLE;
        for (slot, process) in tracked.iter() {
            let Some(sockets) =
                self.processes.get_mut(slot as usize).and_then(Option::as_deref_mut)
            else {
                continue;
            };
            if !process.is_live_member() || !sockets.state.is_due(cycle) {
                continue;
            }
            let netns = sockets.netns.filter(|_| sockets.state == FileState::Read);
            if netns.is_some_and(|netns| namespaces.binary_search(&netns).is_ok()) {
                sockets.stale = true;
            } else if sockets.may_have_changed_fds(process) {
                let fds = sockets.fd_count(process) + 1;
                if fds > budget {
                    continue;
                }
                budget -= fds;
            } else {
                continue;
            }
            pids.push(process.key.pid);
        }
        source.read_sockets(&pids);
        self.at_once = AtOnce { pids, ahead, namespaces };
    }

    /// After the scans: a namespace needs no tables if the pass has all its members.
    pub(super) fn leave_out_tables<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &TrackedProcesses<S::Handles>,
    ) {
        if !source.reads_sockets_at_once() {
            return;
        }
        self.refresh_namespaces(tracked);
        let AtOnce { pids, ahead, mut namespaces } = std::mem::take(&mut self.at_once);
        namespaces.clear();
        let is_read = |slot: Slot| {
            let process = tracked.get(slot).zip(self.process(slot));
            process.is_some_and(|(process, sockets)| {
                sockets.state == FileState::Read
                    && !sockets.stale
                    && source.has_all_sockets(process.key.pid)
            })
        };
        for members in self.namespaces.by_namespace() {
            if let Some(&(netns, _)) = members.first()
                && members.iter().all(|&(_, slot)| is_read(slot))
            {
                namespaces.push(netns);
            }
        }
        self.namespaces.set_at_once(&namespaces);
        source.leave_out_tables(&namespaces);
        self.at_once = AtOnce { pids, ahead, namespaces };
    }

    /// Before the scan of a process in turn: reads its sockets together with those of the next ones
    /// that are due, unless they were read.
    pub(super) fn read_ahead<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &TrackedProcesses<S::Handles>,
        slot: Slot,
        is_due: impl Fn(&SocketTracker, Slot, &Tracked<S::Handles>) -> bool,
    ) {
        let member = tracked.get(slot).filter(|process| process.is_live_member());
        if !source.reads_sockets_at_once()
            || member.is_none_or(|process| source.has_sockets(process.key.pid))
        {
            return;
        }
        let mut ahead = std::mem::take(&mut self.at_once.ahead);
        ahead.clear();
        let mut fds = 0;
        let end = tracked.end();
        for next in (slot..end).chain(0..slot) {
            let Some((process, sockets)) = tracked.get(next).zip(self.process(next)) else {
                continue;
            };
            if !process.is_live_member() || (next != slot && !is_due(self, next, process)) {
                continue;
            }
            ahead.push(process.key.pid);
            fds += sockets.fd_count(process);
            if ahead.len() == MAX_AHEAD || fds > MAX_FDS_AHEAD {
                break;
            }
        }
        source.read_more_sockets(&ahead);
        self.at_once.ahead = ahead;
    }
}

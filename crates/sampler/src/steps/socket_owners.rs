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

use crate::accounting::ledger::Slot;
use crate::read::fd_sockets::{self, FdSocketScanner};
use crate::read::outcome::Outcome;
use crate::read::proc_dir::ProcessKey;
use crate::read::process::open_dir;
use crate::read::procfs::Procfs;
use crate::sampler::Sampler;
use crate::state::schedule::{
    DENIED_RETRY_INTERVAL, FD_SCAN_INTERVAL, MAX_FDS_PER_CYCLE, MIN_FDS_PER_CYCLE,
};
use crate::state::sockets::{Group, NetnsId};
use crate::state::tracked::{FileState, Tracked};

/// Where the looks at descriptors have come to.
#[derive(Debug, Default)]
pub(crate) struct FdScan {
    /// Whose turn it was last.
    cursor: Slot,
    /// How many descriptors are still to be looked at in turn in this cycle,
    quota: u64,
    /// and of how many places at most.
    slots_left: Slot,
    /// How many descriptors may still be looked at in this cycle because
    /// something points to a change.
    budget_left: u64,
    /// The first of whom that was not so, in this cycle or the last.
    resume_at: Option<Slot>,
    partial: Option<PartialScan>,
}

/// A look that takes several cycles.
#[derive(Debug)]
struct PartialScan {
    slot: Slot,
    who: ProcessKey,
    /// Where in the folder it goes on.
    at: u64,
    /// Nanoseconds of CPU time of the process before it.
    cpu: u64,
    finder: FdSocketScanner,
}

impl Sampler {
    /// Looks at some processes' descriptors although nothing points to a
    /// change; all have their turn within [`DESCRIPTOR_TURN`] cycles. What is left
    /// of that at `until`, [`finish_looks_in_turn`](Self::finish_looks_in_turn) does.
    /// Those never looked at come too, as long as `until` allows.
    pub(crate) fn scan_round_robin(&mut self, until: Instant) {
        let total: u64 = self.roll.iter().map(|(_, tracked)| tracked.sockets.descriptors + 1).sum();
        let end = self.roll.end();
        self.fd_scan.quota = (total / FD_SCAN_INTERVAL).max(MIN_FDS_PER_CYCLE);
        self.fd_scan.slots_left = end;
        while Instant::now() < until && self.scan_next() {}
        for slot in 0..end {
            if self.is_unread(slot) {
                if Instant::now() >= until {
                    break;
                }
                self.scan_sockets(slot);
            }
            while self.fd_scan.partial.as_ref().is_some_and(|long| self.is_unread(long.slot))
                && Instant::now() < until
            {
                self.continue_partial_scan(MAX_FDS_PER_CYCLE);
            }
        }
    }

    /// Looks at the rest of this cycle's share, after the window, if the machine was
    /// too busy for it: the turn holds all the same.
    pub(crate) fn finish_round_robin(&mut self) {
        while self.scan_next() {}
    }

    /// Looks at the next one in turn, or goes on with a long look; `false` if all of
    /// this cycle's share has been looked at.
    fn scan_next(&mut self) -> bool {
        if self.fd_scan.quota == 0 || self.fd_scan.slots_left == 0 {
            return false;
        }
        let looked_at = if self.fd_scan.partial.is_some() {
            self.continue_partial_scan(self.fd_scan.quota.min(MAX_FDS_PER_CYCLE))
        } else {
            self.fd_scan.slots_left -= 1;
            let next = self.fd_scan.cursor + 1;
            self.fd_scan.cursor = if next < self.roll.end() { next } else { 0 };
            let slot = self.fd_scan.cursor;
            let Some(tracked) = self.roll.get(slot) else { return true };
            let idle = self.procfs.fast.cpu_clock && !tracked.sockets_may_have_changed(self.cycle);
            match idle {
                // Counts as looked at, so that the turn does not become
                // shorter where few are busy: its length is for all.
                true => tracked.sockets.descriptors + 1,
                false => self.scan_sockets(slot),
            }
        };
        self.fd_scan.quota = self.fd_scan.quota.saturating_sub(looked_at);
        true
    }

    fn is_unread(&self, slot: Slot) -> bool {
        self.roll.get(slot).is_some_and(|tracked| {
            tracked.is_live_member() && tracked.sockets.state == FileState::Unread
        })
    }

    /// Looks at the descriptors of those that something points to.
    pub(crate) fn scan_stale(&mut self) {
        let end = self.roll.end();
        let first = self.fd_scan.resume_at.take().unwrap_or(0).min(end);
        self.fd_scan.budget_left = MAX_FDS_PER_CYCLE;
        for slot in (first..end).chain(0..first) {
            let Some(tracked) = self.roll.get(slot) else { continue };
            let sockets = &tracked.sockets;
            let count = tracked.readings.descriptors.value();
            if sockets.stale || count.is_some_and(|count| count != sockets.descriptors) {
                self.scan_one_stale(slot);
            }
        }
    }

    /// Looks at those that held a socket which is ESTABLISHED no more.
    pub(super) fn scan_owners_of_missing(&mut self) {
        for slot in 0..self.roll.end() {
            let Some(tracked) = self.roll.get(slot) else { continue };
            let fresh = tracked.sockets.scanned_at == self.cycle && !tracked.sockets.stale;
            let inodes = &tracked.sockets.inodes;
            if !fresh && inodes.iter().any(|&inode| self.owners.is_lost(inode)) {
                self.scan_one_stale(slot);
            }
        }
    }

    /// Looks at a member's descriptors, if that fits this cycle.
    fn scan_one_stale(&mut self, slot: Slot) {
        let Some(tracked) = self.roll.get_mut(slot) else { return };
        // Until it was looked at.
        tracked.sockets.stale = true;
        if tracked.fd_count() > MAX_FDS_PER_CYCLE {
            return;
        }
        if self.fd_scan.budget_left == 0 {
            self.fd_scan.resume_at.get_or_insert(slot);
            return;
        }
        let looked_at = self.scan_sockets(slot);
        self.fd_scan.budget_left = self.fd_scan.budget_left.saturating_sub(looked_at);
    }

    /// Looks at a member's descriptors; gives how many they were. Of very many
    /// only at the first: a long look begins, unless there is one.
    fn scan_sockets(&mut self, slot: Slot) -> u64 {
        let cycle = self.cycle;
        let Some(tracked) = self.roll.get_mut(slot) else { return 0 };
        if !tracked.is_live_member() || !tracked.sockets.state.is_due(cycle) {
            return 0;
        }
        if tracked.fd_count() > MAX_FDS_PER_CYCLE && self.fd_scan.partial.is_some() {
            return 0;
        }
        let cpu = tracked.cpu.last;
        tracked.sockets.stale = false;
        let finder = &mut self.socket_finder;
        finder.clear();
        let found = finder.find(folder(&self.procfs, tracked), 0, MAX_FDS_PER_CYCLE);
        let looked_at = finder.fd_sockets;
        let Outcome::Value(Some(at)) = found else {
            return self.apply_scan(slot, cpu, found.map(drop));
        };
        tracked.sockets.stale = self.fd_scan.partial.is_some();
        // It is known from now on to have many.
        tracked.sockets.descriptors = tracked.sockets.descriptors.max(looked_at);
        if self.fd_scan.partial.is_none() {
            let finder = std::mem::replace(finder, FdSocketScanner::new());
            self.fd_scan.partial = Some(PartialScan { slot, who: tracked.key, at, cpu, finder });
        }
        looked_at
    }

    /// Goes on with the long look, for so many descriptors; gives how many they
    /// were.
    fn continue_partial_scan(&mut self, limit: u64) -> u64 {
        let Some(mut long) = self.fd_scan.partial.take() else { return 0 };
        let still_wanted = |tracked: &&Tracked| {
            (tracked.key.pid, tracked.key.starttime) == (long.who.pid, long.who.starttime)
                && tracked.is_live_member()
        };
        let Some(tracked) = self.roll.get(long.slot).filter(still_wanted) else { return 0 };
        let before = long.finder.fd_sockets;
        let found = long.finder.find(folder(&self.procfs, tracked), long.at, limit);
        let looked_at = long.finder.fd_sockets - before;
        if let Outcome::Value(Some(at)) = found {
            self.fd_scan.partial = Some(PartialScan { at, ..long });
        } else {
            self.socket_finder = long.finder;
            self.apply_scan(long.slot, long.cpu, found.map(drop));
        }
        looked_at
    }

    /// Takes over what was found; gives how many descriptors the member has.
    fn apply_scan(&mut self, slot: Slot, cpu: u64, found: Outcome<()>) -> u64 {
        let cycle = self.cycle;
        let Some(tracked) = self.roll.get_mut(slot) else { return 0 };
        let finder = &mut self.socket_finder;
        finder.sort();
        let netns = match self.procfs.read_netns(tracked.proc_dir()) {
            Outcome::Value(netns) => Some(NetnsId(netns)),
            // The next listing will tell.
            Outcome::Exited => return 1,
            Outcome::Denied | Outcome::Failed(_) => None,
        };
        tracked.sockets.scanned_at = cycle;
        tracked.sockets.cpu = cpu;
        // What is held by a process that may not be looked at is not known any
        // more, and not what it was.
        match found {
            Outcome::Value(()) => {
                tracked.sockets.state = FileState::Read;
                tracked.sockets.descriptors = finder.fd_sockets;
            }
            Outcome::Exited => return 1,
            Outcome::Denied => {
                tracked.sockets.state = FileState::Denied { until: cycle + DENIED_RETRY_INTERVAL };
                self.forget_sockets(slot);
                return 1;
            }
            Outcome::Failed(_) => {
                tracked.sockets.state = FileState::Failed;
                tracked.sockets.stale = true;
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
        None => open_dir(procfs, tracked.key, c"fd"),
        Some(_) => fd_sockets::open_folder_at(procfs, tracked.proc_dir()),
    }
}

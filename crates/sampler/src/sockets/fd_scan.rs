//! When the descriptors of a process are scanned for sockets.
//!
//! They are scanned when something indicates a change: their number is different, a
//! socket that the process held is no longer ESTABLISHED (another one may have its
//! descriptor), or the process has become another program; and those of every process
//! in turn, for the changes that leave no trace.
//!
//! Changes may be indicated in every cycle, so the number of descriptors that are
//! scanned for them is limited; a process that exceeds the limit of a cycle comes first
//! in the next. A process with more descriptors than one cycle allows is scanned only in
//! turn, a part in each cycle.

use std::time::Instant;

use super::SocketTracker;
use crate::ids::{ProcessKey, Slot};
use crate::read::fd_sockets::FdSockets;
use crate::read::outcome::Outcome;
use crate::source::SocketSource;
use crate::state::schedule::{
    DENIED_RETRY_INTERVAL, FD_SCAN_INTERVAL, IDLE_FD_SCAN_INTERVAL, MAX_FDS_PER_CYCLE,
    MIN_FDS_PER_CYCLE,
};
use crate::state::tracked::{FileState, Tracked, TrackedProcesses};

/// The progress of the scans.
#[derive(Debug, Default)]
pub(super) struct FdScan {
    /// The slot that was scanned in turn last.
    cursor: Slot,
    /// How many descriptors are still to be scanned in turn in this cycle.
    quota: u64,
    /// The number of slots that may still be visited in turn in this cycle.
    slots_left: Slot,
    /// How many descriptors may still be scanned in this cycle for indicated changes.
    budget_left: u64,
    /// The first slot for which that budget was exhausted, in this cycle or the last.
    resume_at: Option<Slot>,
    partial: Option<PartialScan>,
}

/// A scan that takes several cycles.
#[derive(Debug)]
struct PartialScan {
    slot: Slot,
    key: ProcessKey,
    /// The position in the directory at which it continues.
    position: u64,
    /// The CPU time of the process in nanoseconds before the scan.
    cpu: u64,
    found: FdSockets,
}

impl SocketTracker {
    /// Computes the share of this cycle.
    pub(super) fn begin_scan<H>(&mut self, tracked: &TrackedProcesses<H>) {
        let processes = self.processes.iter().flatten();
        let total: u64 = processes.map(|process| process.fds + 1).sum();
        self.scan.quota = (total / FD_SCAN_INTERVAL).max(MIN_FDS_PER_CYCLE);
        self.scan.slots_left = tracked.end();
    }

    /// Scans processes without an indicated change; every process is scanned within
    /// [`FD_SCAN_INTERVAL`] cycles. The part of the share that is left at `deadline` is
    /// done by [`finish_round_robin`](Self::finish_round_robin). Processes that were never
    /// scanned come as well, as long as `deadline` allows.
    pub(super) async fn scan_round_robin<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &mut TrackedProcesses<S::Handles>,
        cycle: u32,
        deadline: Instant,
    ) {
        while Instant::now() < deadline && self.scan_next(source, tracked, cycle).await {}
        for slot in 0..tracked.end() {
            if tracked.get(slot).is_some_and(|process| self.is_unread(slot, process)) {
                if Instant::now() >= deadline {
                    break;
                }
                self.read_ahead(source, tracked, slot, SocketTracker::is_unread);
                self.scan_sockets(source, tracked, slot, cycle).await;
            }
            while self.scan.partial.as_ref().is_some_and(|scan| {
                tracked.get(scan.slot).is_some_and(|process| self.is_unread(scan.slot, process))
            }) && Instant::now() < deadline
            {
                self.continue_partial_scan(source, tracked, MAX_FDS_PER_CYCLE, cycle).await;
            }
        }
    }

    /// Scans the rest of this cycle's share after the window, if the machine was too
    /// busy for it: the interval holds nevertheless.
    pub(super) async fn finish_round_robin<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &mut TrackedProcesses<S::Handles>,
        cycle: u32,
    ) {
        while self.scan_next(source, tracked, cycle).await {}
    }

    /// Scans the next process in turn, or continues a partial scan; `false` when the
    /// share of this cycle is done.
    async fn scan_next<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &mut TrackedProcesses<S::Handles>,
        cycle: u32,
    ) -> bool {
        if self.scan.quota == 0 || self.scan.slots_left == 0 {
            return false;
        }
        let scanned = if self.scan.partial.is_some() {
            let limit = self.scan.quota.min(MAX_FDS_PER_CYCLE);
            self.continue_partial_scan(source, tracked, limit, cycle).await
        } else {
            self.scan.slots_left -= 1;
            let next = self.scan.cursor + 1;
            self.scan.cursor = if next < tracked.end() { next } else { 0 };
            let slot = self.scan.cursor;
            let (Some(process), Some(sockets)) = (tracked.get(slot), self.process(slot)) else {
                return true;
            };
            if source.has_cpu_clock() && !sockets.may_have_changed(process, cycle) {
                // Counts as scanned, so that the interval does not become shorter where
                // few processes are busy: its length is for all.
                sockets.fds + 1
            } else if source.reads_sockets_at_once() && sockets.scanned_in + 1 == cycle {
                // As in every cycle, at the end of its window.
                sockets.fds + 1
            } else {
                let uses_clock = source.has_cpu_clock();
                self.read_ahead(source, tracked, slot, |sockets, slot, process| {
                    sockets.process(slot).is_some_and(|sockets| {
                        !uses_clock || sockets.may_have_changed(process, cycle)
                    })
                });
                self.scan_sockets(source, tracked, slot, cycle).await
            }
        };
        self.scan.quota = self.scan.quota.saturating_sub(scanned);
        true
    }

    fn is_unread<H>(&self, slot: Slot, process: &Tracked<H>) -> bool {
        process.is_live_member()
            && self.process(slot).is_some_and(|sockets| sockets.state == FileState::Never)
    }

    /// Scans the processes with an indicated change.
    pub(super) async fn scan_stale<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &mut TrackedProcesses<S::Handles>,
        cycle: u32,
    ) {
        let end = tracked.end();
        let first = self.scan.resume_at.take().unwrap_or(0).min(end);
        self.scan.budget_left = MAX_FDS_PER_CYCLE;
        for slot in (first..end).chain(0..first) {
            let (Some(process), Some(sockets)) = (tracked.get(slot), self.process(slot)) else {
                continue;
            };
            if sockets.may_have_changed_fds(process) {
                self.scan_one_stale(source, tracked, slot, cycle).await;
            }
        }
    }

    /// Scans the processes that held a socket which is no longer ESTABLISHED.
    pub(super) async fn scan_owners_of_missing<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &mut TrackedProcesses<S::Handles>,
        cycle: u32,
    ) {
        for slot in 0..tracked.end() {
            let Some(sockets) = self.process(slot) else { continue };
            let is_recent = sockets.scanned_in == cycle && !sockets.stale;
            if !is_recent && self.has_missing(slot) {
                let is_due = |sockets: &SocketTracker, slot, _: &_| sockets.has_missing(slot);
                self.read_ahead(source, tracked, slot, is_due);
                self.scan_one_stale(source, tracked, slot, cycle).await;
            }
        }
    }

    /// Whether a process held a socket which is no longer ESTABLISHED.
    fn has_missing(&self, slot: Slot) -> bool {
        self.process(slot).is_some_and(|sockets| {
            sockets.inodes.iter().any(|&inode| self.owners.is_missing(inode))
        })
    }

    /// Scans the descriptors of a member, if the budget of this cycle allows.
    async fn scan_one_stale<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &mut TrackedProcesses<S::Handles>,
        slot: Slot,
        cycle: u32,
    ) {
        let Some(process) = tracked.get(slot) else { return };
        let Some(sockets) = self.process_mut(slot) else { return };
        // Until it is scanned.
        sockets.stale = true;
        if sockets.fd_count(process) > MAX_FDS_PER_CYCLE {
            return;
        }
        // They were read within a limit of their own.
        let is_read = source.reads_sockets_at_once() && source.has_sockets(process.key.pid);
        if self.scan.budget_left == 0 && !is_read {
            self.scan.resume_at.get_or_insert(slot);
            return;
        }
        let scanned = self.scan_sockets(source, tracked, slot, cycle).await;
        if !is_read {
            self.scan.budget_left = self.scan.budget_left.saturating_sub(scanned);
        }
    }

    /// Scans the descriptors of a member; gives their number. If there are very many, it
    /// scans only the first: a partial scan begins, unless there is one already.
    async fn scan_sockets<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &mut TrackedProcesses<S::Handles>,
        slot: Slot,
        cycle: u32,
    ) -> u64 {
        let Some(process) = tracked.get_mut(slot) else { return 0 };
        let has_partial = self.scan.partial.is_some();
        let sockets = self.processes.get_mut(slot as usize).and_then(Option::as_deref_mut);
        let Some(sockets) = sockets else { return 0 };
        if !process.is_live_member() || !sockets.state.is_due(cycle) {
            return 0;
        }
        if sockets.fd_count(process) > MAX_FDS_PER_CYCLE && has_partial {
            return 0;
        }
        let (key, cpu) = (process.key, process.cpu.last.total);
        sockets.stale = false;
        self.found.clear();
        let outcome =
            source.scan_fds(process.target(slot), 0, MAX_FDS_PER_CYCLE, &mut self.found).await;
        let scanned = self.found.fds;
        let Outcome::Value(Some(position)) = outcome else {
            return self.apply_scan(source, tracked, slot, cpu, outcome.map(drop), cycle).await;
        };
        sockets.stale = has_partial;
        // From now on it is known to have many.
        sockets.fds = sockets.fds.max(scanned);
        if !has_partial {
            let found = std::mem::take(&mut self.found);
            self.scan.partial = Some(PartialScan { slot, key, position, cpu, found });
        }
        scanned
    }

    /// Continues the partial scan for at most `limit` descriptors; gives how many were
    /// scanned.
    async fn continue_partial_scan<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &mut TrackedProcesses<S::Handles>,
        limit: u64,
        cycle: u32,
    ) -> u64 {
        let Some(mut scan) = self.scan.partial.take() else { return 0 };
        let is_same = |process: &&mut Tracked<S::Handles>| {
            (process.key.pid, process.key.starttime) == (scan.key.pid, scan.key.starttime)
                && process.is_live_member()
        };
        let Some(process) = tracked.get_mut(scan.slot).filter(is_same) else { return 0 };
        let before = scan.found.fds;
        let target = process.target(scan.slot);
        let outcome = source.scan_fds(target, scan.position, limit, &mut scan.found).await;
        let scanned = scan.found.fds - before;
        if let Outcome::Value(Some(position)) = outcome {
            self.scan.partial = Some(PartialScan { position, ..scan });
        } else {
            self.found = scan.found;
            self.apply_scan(source, tracked, scan.slot, scan.cpu, outcome.map(drop), cycle).await;
        }
        scanned
    }

    /// Applies the result of a scan; gives the number of descriptors of the member.
    async fn apply_scan<S: SocketSource>(
        &mut self,
        source: &mut S,
        tracked: &TrackedProcesses<S::Handles>,
        slot: Slot,
        cpu: u64,
        outcome: Outcome<()>,
        cycle: u32,
    ) -> u64 {
        let Some(process) = tracked.get(slot) else { return 0 };
        let sockets = self.processes.get_mut(slot as usize).and_then(Option::as_deref_mut);
        let Some(sockets) = sockets else { return 0 };
        self.found.sort();
        let netns = match source.netns(process.proc_dir()).await {
            Outcome::Value(netns) => Some(netns),
            // The next listing shows it.
            Outcome::Exited => return 1,
            Outcome::Denied | Outcome::Failed(_) | Outcome::Unread(_) => None,
        };
        sockets.scanned_in = cycle;
        sockets.cpu = cpu;
        // If the descriptors can no longer be read, the sockets are unknown, and not
        // those of the last scan.
        match outcome {
            Outcome::Value(()) => {
                sockets.state = FileState::Read;
                sockets.fds = self.found.fds;
            }
            Outcome::Exited => return 1,
            Outcome::Denied => {
                sockets.state = FileState::Denied { until: cycle + DENIED_RETRY_INTERVAL };
                self.forget(slot, &process.images);
                return 1;
            }
            Outcome::Failed(_) | Outcome::Unread(_) => {
                sockets.state = match outcome {
                    Outcome::Unread(unread) => FileState::Unread(unread),
                    _ => FileState::Failed,
                };
                sockets.stale = true;
                self.forget(slot, &process.images);
                return 1;
            }
        }
        let moved = sockets.netns != netns;
        if moved || *sockets.inodes != *self.found.sockets {
            self.owners_changed = true;
            // The new groups first, so that a socket that stays is not forgotten in
            // between.
            let before = sockets.groups(&process.images);
            sockets.netns = netns;
            for group in sockets.groups(&process.images) {
                self.owners.add(group, &self.found.sockets);
            }
            for group in before.rev() {
                self.owners.remove(group, &sockets.inodes);
            }
            self.namespaces.changed |= moved;
            self.namespaces.forget_run(slot);
            if *sockets.inodes != *self.found.sockets {
                sockets.inodes = self.found.sockets.as_slice().into();
            }
        }
        sockets.fds + 1
    }
}

impl super::ProcessSockets {
    /// Whether something indicates that its descriptors have changed since the last scan.
    pub(super) fn may_have_changed_fds<H>(&self, process: &Tracked<H>) -> bool {
        self.stale || process.readings.fds.value().is_some_and(|fds| fds != self.fds)
    }

    /// The number of descriptors of the process, as far as it is known.
    pub(super) fn fd_count<H>(&self, process: &Tracked<H>) -> u64 {
        process.readings.fds.value().unwrap_or(self.fds)
    }

    /// Whether the process has run since its descriptors were last scanned; without
    /// running it opens and closes none. Called in a cycle that has read its CPU time.
    fn may_have_changed<H>(&self, process: &Tracked<H>, cycle: u32) -> bool {
        let has_cpu = process.cpu.opened.is_some() || process.cpu.used.is_some();
        let is_known = self.state == FileState::Read && !self.stale && has_cpu;
        !is_known
            || self.cpu != process.cpu.last.total
            || self.scanned_in + IDLE_FD_SCAN_INTERVAL <= cycle
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::cpu_time::CpuReading;
    use crate::sockets::ProcessSockets;
    use crate::state::tracked::CpuWindow;

    /// Its descriptors are shared with a process that changes them, for example.
    #[test]
    fn idle_process_uses_long_scan_interval() {
        let mut tracked = TrackedProcesses::<()>::default();
        let slot = tracked.add(ProcessKey { pid: 1, inode: 1, starttime: 0 }, 0);
        let process = tracked.get_mut(slot).unwrap();
        let last = CpuReading { total: 77, user: None };
        process.cpu = CpuWindow { last, opened: Some(Instant::now()), ..CpuWindow::default() };
        let mut sockets = ProcessSockets { scanned_in: 1000, cpu: 77, ..ProcessSockets::default() };
        assert!(sockets.may_have_changed(process, 1001), "never scanned");
        sockets.state = FileState::Read;
        assert!(sockets.may_have_changed(process, 1001), "stale");
        sockets.stale = false;
        let end = 1000 + IDLE_FD_SCAN_INTERVAL;
        assert!((1001..end).all(|cycle| !sockets.may_have_changed(process, cycle)));
        assert!((end..end + 50).all(|cycle| sockets.may_have_changed(process, cycle)));
        // With the interval of all processes, the bound that the documents state.
        assert_eq!(u64::from(IDLE_FD_SCAN_INTERVAL) + FD_SCAN_INTERVAL, 360);
        sockets.cpu = 76;
        assert!(sockets.may_have_changed(process, 1001), "has run since");
    }
}

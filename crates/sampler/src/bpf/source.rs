//! The source that answers from the rows of the last pass.

use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use psstat_proc_parse::net::snmp::TcpCounters;
use rustix::io::Errno;

use super::row::{CpuRow, Row};
use super::snapshot::Snapshot;
use super::sockets::SocketPass;
use super::{Bpf, Ring};
use crate::classifier::CmdlineBatch;
use crate::cpu_time::{CpuReading, CpuSamples};
use crate::health::BlockedRead;
use crate::ids::{NetnsId, ProcessKey, Protocol, Slot, SocketInode};
use crate::io_counters::IoCounters;
use crate::lifetimes::LifeEvents;
use crate::live::LiveSource;
use crate::read::boot_clock::BootClock;
use crate::read::fd_sockets::FdSockets;
use crate::read::outcome::{Failure, Outcome};
use crate::read::process_list::PartialListing;
use crate::read::procfs::ProcDir;
use crate::read::socket_tables::{RowCounts, Shortcuts};
use crate::read::status::{StatusValues, ThreadSwitches};
use crate::source::{
    Existence, ParentStat, ProcessSource, ReadRequest, SocketSource, StatSummary, Target, Values,
};
use crate::tcp_states::OtherTcpState;
use crate::usage::ProcessReadings;

type Handles = <LiveSource as ProcessSource>::Handles;

/// A procfs, and the rows of the last pass if processes are read by BPF.
#[derive(Debug)]
pub(crate) struct BpfSource {
    pub(crate) live: LiveSource,
    bpf: Option<Snapshot>,
    sockets: Option<SocketPass>,
    more_sockets: Option<SocketPass>,
    /// The namespaces for which the pass over sockets stands for the tables, sorted.
    without_tables: Vec<NetnsId>,
    /// The passes that failed since the last question, and why the last one did.
    failed_passes: u64,
    last_error: Option<Errno>,
    /// The last pass failed.
    is_failing: bool,
    ring: Option<Arc<Mutex<Ring>>>,
    /// Readable when the ring is half full.
    events_fd: Option<Arc<OwnedFd>>,
    /// The process whose `io` was read last, if that was the one of its row.
    last_io: Option<ProcessKey>,
}

impl BpfSource {
    pub(crate) fn new(live: LiveSource, bpf: Option<&Bpf>) -> BpfSource {
        BpfSource {
            live,
            bpf: bpf.map(Bpf::snapshot),
            sockets: bpf.and_then(Bpf::socket_pass),
            more_sockets: bpf.and_then(Bpf::socket_pass),
            without_tables: Vec::new(),
            ring: bpf.and_then(Bpf::ring),
            events_fd: bpf.and_then(Bpf::events_fd),
            failed_passes: 0,
            last_error: None,
            is_failing: false,
            last_io: None,
        }
    }

    /// Why the last pass that failed did.
    pub(crate) fn last_error(&self) -> Option<Errno> {
        self.last_error
    }

    /// A descriptor that is readable when the ring is half full.
    pub(crate) fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        self.events_fd.as_deref().map(AsFd::as_fd)
    }

    /// CPU time of a process at the last pass.
    fn cpu_row(&mut self, key: ProcessKey) -> Option<CpuRow> {
        let row = *self.cpu_row_of_pid(key.pid)?;
        self.is_same(key, &row).then_some(row)
    }

    /// Whether a row is that of a process, and not of another one with its pid.
    fn is_same(&mut self, key: ProcessKey, row: &CpuRow) -> bool {
        let tick = self.live.tick_nanoseconds();
        match key.starttime {
            _ if row.is_unchanged() => true,
            // It was listed before the pass. If it exists, the row is not that of another one.
            0 => self.live.inode_matches(key),
            starttime => row.start_ticks(tick) == starttime,
        }
    }

    /// The same of the process that had this pid then.
    fn cpu_row_of_pid(&self, pid: u32) -> Option<&CpuRow> {
        self.bpf.as_ref()?.cpu_row(pid)
    }

    /// The row of a process.
    fn row(&mut self, key: ProcessKey) -> Option<Row> {
        self.cpu_row(key)?;
        let row = self.row_of_pid(key.pid)?;
        // If it was read again, that may be another one.
        self.is_same(key, &row.cpu).then_some(row)
    }

    /// The row of the process that had this pid at the last pass. If that has its CPU time alone,
    /// it is read again: it has not run, but something else shows a change.
    fn row_of_pid(&mut self, pid: u32) -> Option<Row> {
        let bpf = self.bpf.as_ref()?;
        let before = *bpf.cpu_row(pid)?;
        if let Some(&row) = bpf.row(pid) {
            return Some(row);
        }
        let row = self.read_again(pid)?;
        (before.is_unchanged() || row.cpu.start == before.start).then_some(row)
    }

    /// Reads one process now: it has this row then.
    fn read_again(&mut self, pid: u32) -> Option<Row> {
        let row = self.read_one(pid)?;
        self.bpf.as_mut()?.set_row(row);
        Some(row)
    }

    /// Reads one process now.
    fn read_one(&mut self, pid: u32) -> Option<Row> {
        // One error is enough.
        if self.is_failing {
            return None;
        }
        match self.bpf.as_mut()?.read_one(pid) {
            Ok(row) => row,
            Err(errno) => {
                self.note(Some(errno));
                None
            }
        }
    }

    /// The pass over sockets, if it stands for the tables of a namespace.
    fn pass_for(&self, netns: NetnsId) -> Option<&SocketPass> {
        let has_states = self.without_tables.binary_search(&netns).is_ok();
        self.sockets.as_ref().filter(|_| has_states)
    }

    /// The pass that was to show the sockets of a process.
    fn socket_pass(&self, pid: u32) -> Option<&SocketPass> {
        let mut passes = [&self.more_sockets, &self.sockets].into_iter().flatten();
        passes.find(|pass| pass.is_requested(pid))
    }

    /// Adds the sockets of a process to `found` from a descriptor on. Gives that at which to
    /// continue, if there are more than `limit`. `None` if they cannot be read by BPF.
    fn scan_pass(
        &mut self,
        key: ProcessKey,
        from: u64,
        limit: u64,
        found: &mut FdSockets,
    ) -> Option<Option<u64>> {
        let tick = self.live.tick_nanoseconds().max(1);
        // It was listed before the pass, as in `row`.
        let is_known = key.starttime != 0;
        if !is_known && !self.live.inode_matches(key) {
            return None;
        }
        let is_same = |start: Option<u64>| {
            start.is_some_and(|start| !is_known || start / tick == key.starttime)
        };
        let end = found.fds.saturating_add(limit);
        let mut next = Some(from);
        if from == 0
            && let Some(pass) = self.socket_pass(key.pid)
        {
            // One that it does not have has exited, or is not visited.
            if !is_same(pass.start(key.pid)) {
                return None;
            }
            next = pass.scan(key.pid, found)?;
        }
        while let Some(from) = next.filter(|_| found.fds < end) {
            let sockets = self.sockets.as_mut()?;
            next = match sockets.scan_from((key.pid, from), is_same, found) {
                Ok(next) => next?,
                Err(errno) => {
                    self.note(Some(errno));
                    return None;
                }
            };
        }
        Some(next)
    }

    /// A value from the procfs, since the pass failed. A value that may not be read there is not
    /// denied for long: the next pass may have it.
    fn without_pass<T>(&self, outcome: Outcome<T>) -> Outcome<T> {
        match outcome {
            Outcome::Denied if self.is_failing => Errno::AGAIN.into(),
            outcome => outcome,
        }
    }

    /// Notes the error of a pass.
    fn note(&mut self, error: Option<Errno>) {
        if error.is_some() {
            self.failed_passes += 1;
            self.last_error = error;
        }
        self.is_failing = error.is_some();
    }

    /// The io of a process, from its row if that was not used: to be read again means to be read
    /// after that. Reading it needs no capability, as it would in the procfs.
    fn io_by_bpf(&mut self, key: ProcessKey) -> Option<IoCounters> {
        let has_row = self.row(key).is_some();
        if has_row && self.bpf.as_mut()?.use_io(key.pid) {
            self.last_io = Some(key);
            return self.row(key)?.io();
        }
        let row = self.read_one(key.pid)?;
        if !self.is_same(key, &row.cpu) {
            return None;
        }
        if has_row {
            let bpf = self.bpf.as_mut()?;
            bpf.set_row(row);
            bpf.use_io(key.pid);
            self.last_io = Some(key);
        }
        row.io()
    }
}

impl ProcessSource for BpfSource {
    type Handles = Handles;

    fn list(&mut self) -> Result<&[ProcessKey], Failure> {
        self.live.list()
    }

    fn list_new(&mut self) -> Option<PartialListing<'_>> {
        self.live.list_new()
    }

    fn has_life_events(&self) -> bool {
        self.ring.is_some()
    }

    fn take_life_events(&mut self, events: &mut LifeEvents) {
        if let Some(ring) = &self.ring {
            ring.lock().unwrap_or_else(PoisonError::into_inner).take(events);
        }
    }

    fn boot_ticks(&mut self) -> u64 {
        self.live.boot_ticks()
    }

    fn boot_clock(&mut self) -> Option<BootClock> {
        self.live.boot_clock()
    }

    fn fd_limit(&mut self, pid: u32) -> Outcome<u64> {
        match self.row_of_pid(pid) {
            Some(row) => Outcome::Value(row.fd_limit()),
            None => {
                let outcome = self.live.fd_limit(pid);
                self.without_pass(outcome)
            }
        }
    }

    fn status(&mut self, process: ProcDir) -> Outcome<StatusValues> {
        let row = match process {
            ProcDir::Pid(pid) => self.row_of_pid(pid),
            _ => None,
        };
        match row.and_then(|row| row.status(self.live.page_size())) {
            Some(status) => Outcome::Value(status),
            None => self.live.status(process),
        }
    }

    async fn thread_switches(
        &mut self,
        key: ProcessKey,
        is_single: bool,
        found: &mut Vec<ThreadSwitches>,
    ) -> Outcome<()> {
        if self.bpf.is_none() {
            return self.live.thread_switches(key, is_single, found).await;
        }
        // All threads count as one. They are never read one by one, which would count them twice.
        match self.row(key).map(|row| row.switches()) {
            Some(Some((voluntary, involuntary))) => {
                found.push(ThreadSwitches { tid: key.pid, voluntary, involuntary });
                Outcome::Value(())
            }
            Some(None) | None => Errno::AGAIN.into(),
        }
    }

    fn has_swap(&mut self) -> bool {
        self.live.has_swap()
    }

    async fn stat(&mut self, pid: u32) -> Outcome<StatSummary> {
        self.live.stat(pid).await
    }

    async fn has_argument_addresses(&mut self, pid: u32) -> bool {
        self.live.has_argument_addresses(pid).await
    }

    fn inode_matches(&mut self, key: ProcessKey) -> bool {
        self.live.inode_matches(key)
    }

    async fn live_thread(&mut self, key: ProcessKey) -> Option<u32> {
        self.live.live_thread(key).await
    }

    fn has_thread(&mut self, pid: u32, tid: u32) -> bool {
        self.live.has_thread(pid, tid)
    }

    fn has_kernel_threads(&self) -> bool {
        self.live.has_kernel_threads()
    }

    fn has_cpu_clock(&self) -> bool {
        self.live.has_cpu_clock()
    }

    fn skips_idle(&self) -> bool {
        self.live.skips_idle()
    }

    fn cpu_clock(&mut self, pid: u32) -> Option<u64> {
        self.live.cpu_clock(pid)
    }

    async fn cpu_time(&mut self, pid: u32) -> Outcome<CpuReading> {
        match self.cpu_row_of_pid(pid).and_then(CpuRow::total) {
            Some(total) => Outcome::Value(CpuReading { total, user: None }),
            None => self.live.cpu_time(pid).await,
        }
    }

    fn cpu_samples(&mut self, pid: u32) -> Option<CpuSamples> {
        let samples = self.row_of_pid(pid).and_then(|row| row.cpu_samples());
        samples.or_else(|| self.live.cpu_samples(pid))
    }

    fn tick_nanoseconds(&self) -> u64 {
        self.live.tick_nanoseconds()
    }

    fn tick(&self) -> Duration {
        self.live.tick()
    }

    fn reads_at_once(&self) -> bool {
        self.bpf.is_some()
    }

    fn read_at_once(&mut self, requests: &mut Vec<ReadRequest>) {
        self.last_io = None;
        if let Some(bpf) = &mut self.bpf {
            // After an error there are no rows, and all is read from the procfs.
            let error = bpf.take(requests).err();
            self.note(error);
        }
    }

    fn take_failed_passes(&mut self) -> u64 {
        std::mem::take(&mut self.failed_passes)
    }

    fn end_read_at_once(&mut self) {
        self.last_io = None;
        if let Some(bpf) = &mut self.bpf {
            bpf.forget();
        }
        for sockets in [&mut self.sockets, &mut self.more_sockets].into_iter().flatten() {
            sockets.forget();
        }
        self.without_tables.clear();
    }

    fn read_at_once_began(&self) -> Option<Instant> {
        self.bpf.as_ref()?.began()
    }

    fn cpu_time_instant(&self, pid: u32) -> Option<Instant> {
        let bpf = self.bpf.as_ref()?;
        bpf.cpu_row(pid).filter(|row| row.total().is_some()).and_then(|row| bpf.instant(row))
    }

    fn leave_tick(&mut self) {
        self.live.leave_tick();
    }

    fn wait_until(&mut self, due: Option<Instant>) -> Instant {
        self.live.wait_until(due)
    }

    fn review_blocked(&mut self) {
        self.live.review_blocked();
    }

    fn is_blocked(&self, pid: u32) -> bool {
        self.live.is_blocked(pid)
    }

    fn is_cmdline_blocked(&self, pid: u32) -> bool {
        self.live.is_cmdline_blocked(pid)
    }

    fn blocked_reads(&self) -> impl Iterator<Item = BlockedRead> {
        self.live.blocked_reads()
    }

    async fn cmdline(
        &mut self,
        pid: u32,
        tid: u32,
        limit: usize,
        line: &mut Vec<u8>,
    ) -> Outcome<()> {
        self.live.cmdline(pid, tid, limit, line).await
    }

    async fn comm(&mut self, pid: u32, text: &mut Vec<u8>) -> Outcome<()> {
        self.live.comm(pid, text).await
    }

    async fn effective_uid(&mut self, pid: u32) -> Outcome<u32> {
        self.live.effective_uid(pid).await
    }

    async fn cgroup(&mut self, pid: u32, tid: u32, path: &mut Vec<u8>) -> Outcome<()> {
        self.live.cgroup(pid, tid, path).await
    }

    fn real_uid(&self, pid: u32) -> Option<u32> {
        self.live.real_uid(pid)
    }

    async fn classify(&mut self, batch: CmdlineBatch) -> CmdlineBatch {
        self.live.classify(batch).await
    }

    fn end_cmdline(&mut self) {
        self.live.end_cmdline();
    }

    fn cmdlines_per_batch(&self) -> usize {
        self.live.cmdlines_per_batch()
    }

    async fn io(&mut self, process: Target<'_, Handles>) -> Outcome<IoCounters> {
        self.last_io = None;
        if let Some(io) = self.io_by_bpf(process.key) {
            return Outcome::Value(io);
        }
        let outcome = self.live.io(process).await;
        self.without_pass(outcome)
    }

    async fn io_once(&mut self, key: ProcessKey) -> Outcome<IoCounters> {
        match self.io_by_bpf(key) {
            Some(io) => Outcome::Value(io),
            None => self.live.io_once(key).await,
        }
    }

    async fn parent_stat(&mut self, key: ProcessKey) -> Outcome<ParentStat> {
        self.live.parent_stat(key).await
    }

    async fn parent_stat_with_io(&mut self, key: ProcessKey) -> Outcome<ParentStat> {
        if self.last_io == Some(key) {
            let tick = self.live.tick_nanoseconds();
            if let Some(parent) = self.row(key).and_then(|row| row.parent(tick)) {
                return Outcome::Value(parent);
            }
        }
        self.live.parent_stat(key).await
    }

    fn exec_id(&mut self, key: ProcessKey) -> Option<NonZeroU32> {
        // Of its 64 bits only a change matters.
        NonZeroU32::new((self.row(key)?.exec_id() as u32).wrapping_add(1))
    }

    async fn check_exists(&mut self, process: Target<'_, Handles>) -> Existence {
        // A process that was seen after the other one's io was read is not in that.
        if let Some(last) = self.last_io
            && let Some(last) = self.cpu_row_of_pid(last.pid).map(|row| row.time)
            && let Some(row) = self.cpu_row(process.key)
            && row.time > last
        {
            let row = self.bpf.as_ref().and_then(|bpf| bpf.row(process.key.pid));
            return Existence { exited: false, fds: row.and_then(Row::fds).map(Outcome::Value) };
        }
        self.live.check_exists(process).await
    }

    async fn is_alive_by_handles(&mut self, process: Target<'_, Handles>) -> bool {
        let key = process.key;
        if self.bpf.is_none() {
            return self.live.is_alive_by_handles(process).await;
        }
        // It has no handles, but shows in a pass.
        self.read_at_once(&mut vec![ReadRequest { pid: key.pid, values: Values::All }]);
        let is_alive = self.cpu_row(key).is_some();
        self.end_read_at_once();
        is_alive || self.live.is_alive_by_handles(process).await
    }

    async fn read_gauges(
        &mut self,
        process: Target<'_, Handles>,
        fds: Option<Outcome<u64>>,
        readings: &mut ProcessReadings,
    ) {
        let page_size = self.live.page_size();
        let is_read =
            self.row(process.key).is_some_and(|row| row.read_gauges(fds, page_size, readings));
        if !is_read {
            self.live.read_gauges(process, fds, readings).await;
        }
    }

    async fn read_thread_gauges(&mut self, pid: u32, tid: u32, readings: &mut ProcessReadings) {
        self.live.read_thread_gauges(pid, tid, readings).await;
    }

    fn counts_fds_by_listing(&self) -> bool {
        self.bpf.is_none() && self.live.counts_fds_by_listing()
    }

    fn split_fd_budget(&mut self, processes: usize) {
        self.live.split_fd_budget(processes);
    }

    fn limit_handles(&mut self, slot: Slot, handles: &mut Handles) {
        self.live.limit_handles(slot, handles);
    }

    fn page_size(&self) -> u64 {
        self.live.page_size()
    }
}

impl SocketSource for BpfSource {
    async fn scan_fds(
        &mut self,
        process: Target<'_, Handles>,
        from: u64,
        limit: u64,
        found: &mut FdSockets,
    ) -> Outcome<Option<u64>> {
        let key = process.key;
        match self.scan_pass(key, from, limit, found) {
            Some(next) => Outcome::Value(next),
            // Such as one that has exited.
            None => {
                let outcome = self.live.scan_fds(process, from, limit, found).await;
                self.without_pass(outcome)
            }
        }
    }

    fn reads_sockets_at_once(&self) -> bool {
        self.sockets.is_some()
    }

    fn read_sockets(&mut self, pids: &[u32]) {
        self.without_tables.clear();
        if let Some(more) = &mut self.more_sockets {
            more.forget();
        }
        let result = self.sockets.as_mut().map(|sockets| sockets.take(pids));
        // Without processes nothing is read, which does not show that it works.
        if !pids.is_empty() {
            self.note(result.and_then(Result::err));
        }
    }

    fn read_more_sockets(&mut self, pids: &[u32]) {
        let result = self.more_sockets.as_mut().map(|sockets| sockets.take(pids));
        self.note(result.and_then(Result::err));
    }

    fn has_sockets(&self, pid: u32) -> bool {
        self.socket_pass(pid).is_some()
    }

    fn has_all_sockets(&self, pid: u32) -> bool {
        self.sockets.as_ref().is_some_and(|sockets| sockets.has_all(pid))
    }

    fn leave_out_tables(&mut self, namespaces: &[NetnsId]) {
        self.without_tables.clear();
        self.without_tables.extend_from_slice(namespaces);
    }

    fn leaves_out_tables(&self, netns: NetnsId) -> bool {
        self.pass_for(netns).is_some()
    }

    fn is_own_netns(&self, netns: NetnsId) -> bool {
        self.live.is_own_netns(netns)
    }

    async fn netns(&mut self, process: ProcDir) -> Outcome<NetnsId> {
        let pid = match process {
            ProcDir::Pid(pid) | ProcDir::Thread(pid, _) => Some(pid),
            _ => None,
        };
        let passes = [&self.more_sockets, &self.sockets].into_iter().flatten();
        match pid.and_then(|pid| passes.flat_map(|pass| pass.netns(pid)).next()) {
            Some(netns) => Outcome::Value(netns),
            None => self.live.netns(process).await,
        }
    }

    fn tcp_counters(&mut self, process: ProcDir) -> Option<TcpCounters> {
        self.live.tcp_counters(process)
    }

    fn established(
        &mut self,
        process: ProcDir,
        netns: NetnsId,
        protocol: Protocol,
        shortcuts: Shortcuts,
        found: &mut dyn FnMut(SocketInode),
    ) -> Outcome<RowCounts> {
        match self.pass_for(netns) {
            Some(sockets) => {
                sockets.established(netns, protocol).for_each(found);
                Outcome::Value(RowCounts::default())
            }
            None => self.live.established(process, netns, protocol, shortcuts, found),
        }
    }

    fn tcp_states(
        &mut self,
        process: ProcDir,
        netns: NetnsId,
        found: &mut dyn FnMut(SocketInode, OtherTcpState),
    ) -> Outcome<()> {
        match self.pass_for(netns) {
            Some(sockets) => {
                sockets.tcp_states(netns).for_each(|(inode, state)| found(inode, state));
                Outcome::Value(())
            }
            None => self.live.tcp_states(process, netns, found),
        }
    }

    fn has_table_per_process(&self) -> bool {
        self.live.has_table_per_process()
    }

    fn uses_text_table(&self, netns: NetnsId, protocol: Protocol) -> bool {
        self.pass_for(netns).is_none() && self.live.uses_text_table(netns, protocol)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use psstat_testproc::{Config, TestProcess, oracle};

    use super::*;
    use crate::bpf::load_in_test;
    use crate::options::FastPaths;
    use crate::read::procfs::Procfs;
    use crate::read::stuck_readers::Limits;

    /// A process that has not run has no start time in its row, and another one has its pid when it
    /// is read again.
    #[test]
    fn row_that_is_read_again_is_not_that_of_another_process() {
        let Some(bpf) = load_in_test() else { return };
        let procfs = Procfs::open(Path::new("/proc"), FastPaths::ALL).unwrap();
        let live = LiveSource::new(Arc::new(procfs), Limits::DEFAULT, 0);
        let mut source = BpfSource::new(live, Some(&bpf));
        let mut parent = TestProcess::spawn(&Config::new("reused")).unwrap();
        let mut child = parent.fork_child(&Config::new("reused")).unwrap();
        child.quiesce().unwrap();
        let pid = child.pid();
        let key = ProcessKey { pid, inode: 0, starttime: oracle::starttime(pid).unwrap() };
        source.read_at_once(&mut vec![ReadRequest { pid, values: Values::All }]);
        assert!(source.exec_id(key).is_some());
        while !source.cpu_row_of_pid(pid).unwrap().is_unchanged() {
            source.read_at_once(&mut vec![ReadRequest { pid, values: Values::Cpu }]);
        }
        // A tick later.
        std::thread::sleep(2 * source.tick());
        child.exit(0).unwrap();
        parent.wait(child).unwrap();
        let Ok(_other) = parent.fork_child_as(pid, &Config::new("reused")) else {
            return println!("skipped: no privilege to choose a pid");
        };
        assert_eq!(source.exec_id(key), None);
    }
}

//! A procfs as a source of readings: the live one, or a captured one in a directory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use psstat_proc_parse::net::snmp::TcpCounters;
use psstat_proc_parse::{Cgroups, ProcessState, SignedTicks, Stat, StatCore, Status};
use rustix::thread::{NanosleepRelativeResult, nanosleep};
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

use crate::classifier::CmdlineBatch;
use crate::cpu_time::{CpuReading, CpuSamples, CpuTime};
use crate::executor;
use crate::fault_counts::FaultCounts;
use crate::health::BlockedRead;
use crate::ids::{NetnsId, ProcessKey, Protocol, Slot, SocketInode};
use crate::io_counters::IoCounters;
use crate::options::FastPaths;
use crate::read::blocking::{LinkScan, Lock, Read, StatOf, unread};
use crate::read::boot_clock::BootClock;
use crate::read::fd_sockets::FdSockets;
use crate::read::outcome::{Failure, Outcome, Unread};
use crate::read::proc_dir::ProcDirReader;
use crate::read::process::{self, Access, FdAllowance, FdBudget, ProcessFds};
use crate::read::process_list::{PartialListing, ProcessList};
use crate::read::procfs::{ProcDir, ProcPath, Procfs, READ};
use crate::read::reader::ProcessReader;
use crate::read::reads::Reads;
use crate::read::socket_tables::{RowCounts, Shortcuts, SocketTables};
use crate::read::status::{StatusReader, StatusValues, ThreadSwitches};
use crate::read::stuck_readers::Limits;
use crate::read::sys;
use crate::read::text_file::TextFile;
use crate::source::{
    Existence, Handles, ParentStat, ProcessSource, SocketSource, StatSummary, Target,
};
use crate::tcp_states::OtherTcpState;
use crate::usage::ProcessReadings;

/// How many command lines are read before the first of them is classified.
const CMDLINES_PER_BATCH: usize = 1024;
/// The kernel ends a sleep up to this much late, to wake threads together.
const TIMER_SLACK: Duration = Duration::from_micros(50);
/// How many descriptors are scanned in one request, which takes about 5 ms.
const LINKS_PER_READ: u64 = 1024;
/// A longer name of a program does not exist.
const MAX_COMM: usize = 256;
/// Longer than `status` and `cgroup` are, with thousands of CPUs or the longest paths in all
/// hierarchies.
const MAX_TEXT: usize = 1 << 18;

/// Sleeps for about this time; can wake early. [`std::thread::sleep`] panics where a filter of
/// system calls (seccomp) refuses `nanosleep`.
fn sleep(time: Duration) {
    let request = Timespec::try_from(time).unwrap_or_default();
    if let NanosleepRelativeResult::Err(_) = nanosleep(&request) {
        // A wait for a futex, which is as exact.
        std::thread::park_timeout(time);
    }
}

/// Reads a procfs.
#[derive(Debug)]
pub(crate) struct LiveSource {
    reads: Reads,
    process_list: ProcessList,
    /// For directories of processes.
    dir_reader: ProcDirReader,
    /// Lost if a thread is stuck in it.
    link_scan: Option<Box<LinkScan>>,
    tables: SocketTables,
    status_reader: StatusReader,
    /// The procfs shows the kernel's threads.
    has_kernel_threads: bool,
    /// A buffer for files of names.
    text: Vec<u8>,
    /// Descriptors that may be kept open,
    budget: usize,
    /// and how they are divided.
    shares: FdBudget,
}

impl LiveSource {
    /// Reads an open procfs. At most `budget` descriptors are kept open.
    pub(crate) fn new(procfs: Arc<Procfs>, limits: Limits, budget: usize) -> LiveSource {
        LiveSource {
            process_list: ProcessList::new(&procfs),
            tables: SocketTables::new(&procfs),
            status_reader: StatusReader::default(),
            has_kernel_threads: procfs.is_initial(),
            text: Vec::new(),
            reads: Reads::new(procfs, limits),
            dir_reader: ProcDirReader::new(),
            link_scan: None,
            budget,
            shares: FdBudget::split(budget, 0),
        }
    }

    /// The fast paths that are in use.
    pub(crate) fn fast_paths(&self) -> FastPaths {
        FastPaths { sock_diag: self.tables.uses_sock_diag(), ..self.reads.procfs.fast }
    }

    /// Tries sock_diag for each protocol, and returns for which it works.
    pub(crate) fn probe_sock_diag(&mut self) -> [bool; 3] {
        self.tables.probe_sock_diag()
    }

    /// The files of a process that this kernel does not have.
    pub(crate) fn missing_files(&self) -> &[&'static str] {
        &self.reads.procfs.missing
    }

    /// How many descriptors may be kept open.
    pub(crate) fn budget(&self) -> usize {
        self.budget
    }

    fn access(&self, process: &Target<'_, ProcessFds>) -> Access {
        Access { key: process.key, allowance: self.shares.at(process.slot) }
    }

    /// Reads `io`, through the descriptor if one is held open.
    async fn read_io(&mut self, access: Access, handles: &mut ProcessFds) -> Outcome<IoCounters> {
        let Access { key, allowance } = access;
        if let Some(unread) = self.reads.refusal(key.pid, Lock::Program) {
            return Outcome::Unread(unread);
        }
        let (held, keep) = (handles.take_io(), allowance.covers(process::File::Io));
        let read = Read::Io { held, key, keep, outcome: unread() };
        match self.reads.request(key.pid, read).await {
            Some(Read::Io { held, outcome, .. }) => {
                handles.return_io(held);
                outcome.map(IoCounters::from)
            }
            _ => Outcome::Unread(Unread::Blocked),
        }
    }
}

/// A time of a clock.
fn time(time: Timespec) -> Duration {
    Duration::try_from(time).unwrap_or_default()
}

impl Handles for ProcessFds {
    fn open_fds(&self) -> usize {
        self.count()
    }
}

impl From<&StatCore<'_>> for StatSummary {
    fn from(stat: &StatCore<'_>) -> StatSummary {
        StatSummary {
            ppid: stat.ppid.unsigned_abs(),
            starttime: Some(stat.starttime.0),
            is_zombie: matches!(stat.state, ProcessState::Zombie | ProcessState::Dead),
            num_threads: stat.num_threads,
        }
    }
}

/// A process as a parent; `tick` in nanoseconds.
fn parent_stat(stat: &Stat<'_>, tick: u64) -> ParentStat {
    // A process whose leader alone has exited has other threads.
    let is_zombie =
        matches!(stat.state, ProcessState::Zombie | ProcessState::Dead) && stat.num_threads <= 1;
    let time = |ticks: SignedTicks| u64::try_from(ticks.0).unwrap_or(0).saturating_mul(tick);
    let children = CpuTime { user: time(stat.cutime), system: time(stat.cstime) };
    ParentStat {
        cminflt: stat.cminflt,
        faults: FaultCounts { minor: stat.minflt, major: stat.majflt },
        child_faults: FaultCounts { minor: stat.cminflt, major: stat.cmajflt },
        children,
        is_zombie,
    }
}

impl ProcessSource for LiveSource {
    type Handles = ProcessFds;

    fn list(&mut self) -> Result<&[ProcessKey], Failure> {
        let failure = |errno: rustix::io::Errno| Failure::Errno(errno.raw_os_error());
        self.process_list.list_all(&self.reads.procfs).map_err(failure)
    }

    fn list_new(&mut self) -> Option<PartialListing<'_>> {
        self.process_list.list_new(&self.reads.procfs)
    }

    fn boot_ticks(&mut self) -> u64 {
        self.reads.procfs.boot_ticks()
    }

    fn boot_clock(&mut self) -> Option<BootClock> {
        let procfs = &self.reads.procfs;
        let now = procfs.since_boot()?;
        Some(BootClock { now, tick_nanoseconds: procfs.tick_nanoseconds })
    }

    fn fd_limit(&mut self, pid: u32) -> Outcome<u64> {
        self.reads.fd_limit(pid)
    }

    fn status(&mut self, process: ProcDir) -> Outcome<StatusValues> {
        self.status_reader.read(&self.reads.procfs, process)
    }

    async fn thread_switches(
        &mut self,
        key: ProcessKey,
        is_single: bool,
        found: &mut Vec<ThreadSwitches>,
    ) -> Outcome<()> {
        let procfs = Arc::clone(&self.reads.procfs);
        if is_single {
            let dir = self.reads.open_process_dir(key).await;
            return dir.and_then(|dir| {
                let open = || process::open_at(&procfs, &dir, c"status", READ);
                self.status_reader.switches(key.pid, open).map(|thread| found.push(thread))
            });
        }
        let dir = self.reads.open_dir(key, c"task").await;
        dir.and_then(|dir| {
            let threads = match self.dir_reader.list(&dir) {
                Ok(threads) => threads,
                Err(errno) => return errno.into(),
            };
            let mut path = ProcPath::new();
            for thread in threads {
                let path = path.thread_status(thread.pid);
                let open = || procfs.open_in(&dir, path, READ).into();
                match self.status_reader.switches(thread.pid, open) {
                    Outcome::Value(thread) => found.push(thread),
                    // The others live.
                    Outcome::Exited => {}
                    other => return other.map(drop),
                }
            }
            Outcome::Value(())
        })
    }

    fn has_swap(&mut self) -> bool {
        !self.reads.procfs.is_live || rustix::system::sysinfo().totalswap > 0
    }

    async fn stat(&mut self, pid: u32) -> Outcome<StatSummary> {
        let stat = self.reads.stat_core(pid, |stat| StatSummary::from(stat)).await;
        let Outcome::Unread(_) = stat else { return stat };
        let summary = self.reads.status(pid, |status| {
            let is_zombie = matches!(status.state?, ProcessState::Zombie | ProcessState::Dead);
            let (ppid, num_threads) = (status.ppid?.unsigned_abs(), status.threads?);
            Some(StatSummary { ppid, starttime: None, is_zombie, num_threads })
        });
        summary.map_or(stat, Outcome::Value)
    }

    async fn has_argument_addresses(&mut self, pid: u32) -> bool {
        // The kernel sets this address last.
        let is_set = |stat: &Stat<'_>| stat.env_end.is_some_and(|address| address != 0);
        matches!(self.reads.stat(pid, StatOf::Pid(pid), is_set).await, Outcome::Value(true))
    }

    fn inode_matches(&mut self, key: ProcessKey) -> bool {
        process::inode_matches(&self.reads.procfs, key)
    }

    async fn live_thread(&mut self, key: ProcessKey) -> Option<u32> {
        let dir = self.reads.open_dir(key, c"task").await.value()?;
        let threads = self.dir_reader.list(&dir).ok()?;
        threads.iter().map(|thread| thread.pid).find(|&tid| tid != key.pid)
    }

    fn has_thread(&mut self, pid: u32, tid: u32) -> bool {
        process::has_thread(&self.reads.procfs, pid, tid)
    }

    fn has_kernel_threads(&self) -> bool {
        self.has_kernel_threads
    }

    fn has_cpu_clock(&self) -> bool {
        self.reads.procfs.fast.cpu_clock
    }

    fn skips_idle(&self) -> bool {
        self.reads.procfs.fast.idle_processes
    }

    fn cpu_clock(&mut self, pid: u32) -> Option<u64> {
        sys::process_cpu_time_ns(pid).ok()
    }

    async fn cpu_time(&mut self, pid: u32) -> Outcome<CpuReading> {
        if self.reads.procfs.fast.cpu_clock {
            return match sys::process_cpu_time_ns(pid) {
                Ok(total) => Outcome::Value(CpuReading { total, user: None }),
                Err(_) => Outcome::Exited,
            };
        }
        let tick = self.reads.procfs.tick_nanoseconds;
        let ticks = self.reads.stat_core(pid, |stat| (stat.utime.0, stat.stime.0)).await;
        ticks.map(|(user, system)| CpuReading {
            total: user.saturating_add(system).saturating_mul(tick),
            user: Some(user.saturating_mul(tick)),
        })
    }

    fn cpu_samples(&mut self, pid: u32) -> Option<CpuSamples> {
        if !self.reads.procfs.fast.cpu_clock {
            return None;
        }
        let (user, total) = sys::process_cpu_samples_ns(pid).ok()?;
        Some(CpuSamples { user, total })
    }

    fn tick_nanoseconds(&self) -> u64 {
        self.reads.procfs.tick_nanoseconds
    }

    fn tick(&self) -> Duration {
        time(clock_getres(ClockId::MonotonicCoarse))
    }

    fn leave_tick(&mut self) {
        let tick = self.tick();
        // The coarse clock has the time of the last tick.
        let coarse = time(clock_gettime(ClockId::MonotonicCoarse));
        let phase = time(clock_gettime(ClockId::Monotonic)).saturating_sub(coarse);
        if phase < tick / 8 {
            sleep(tick / 8 - phase);
        } else if phase > tick / 2 {
            sleep((tick + tick / 8).saturating_sub(phase));
        }
    }

    fn wait_until(&mut self, due: Option<Instant>) -> Instant {
        loop {
            let now = Instant::now();
            let left = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
            if left.is_zero() {
                return now;
            }
            if left > TIMER_SLACK {
                sleep(left - TIMER_SLACK);
            } else {
                std::hint::spin_loop();
            }
        }
    }

    fn review_blocked(&mut self) {
        self.reads.stuck.review();
    }

    fn is_blocked(&self, pid: u32) -> bool {
        self.reads.stuck.is_stuck_on(pid)
    }

    fn is_cmdline_blocked(&self, pid: u32) -> bool {
        self.reads.stuck.is_stuck_on_lock(pid, Lock::AddressSpace)
    }

    fn blocked_reads(&self) -> impl Iterator<Item = BlockedRead> {
        self.reads.stuck.reads()
    }

    async fn cmdline(
        &mut self,
        pid: u32,
        tid: u32,
        limit: usize,
        line: &mut Vec<u8>,
    ) -> Outcome<()> {
        self.reads.text(pid, tid, TextFile::Cmdline, limit, line).await
    }

    async fn comm(&mut self, pid: u32, text: &mut Vec<u8>) -> Outcome<()> {
        let outcome = self.reads.text(pid, pid, TextFile::Comm, MAX_COMM, text).await;
        if text.last() == Some(&b'\n') {
            text.pop();
        }
        outcome
    }

    async fn effective_uid(&mut self, pid: u32) -> Outcome<u32> {
        let mut text = std::mem::take(&mut self.text);
        let outcome = self.reads.text(pid, pid, TextFile::Status, MAX_TEXT, &mut text).await;
        let uid = outcome.and_then(|()| {
            let status = Status::parse(&text).map(|status| status.uid);
            match status {
                Ok(Some(ids)) => Outcome::Value(ids.effective),
                Ok(None) => rustix::io::Errno::INVAL.into(),
                Err(error) => error.into(),
            }
        });
        self.text = text;
        uid
    }

    async fn cgroup(&mut self, pid: u32, tid: u32, path: &mut Vec<u8>) -> Outcome<()> {
        let mut text = std::mem::take(&mut self.text);
        let outcome = self.reads.text(pid, tid, TextFile::Cgroup, MAX_TEXT, &mut text).await;
        let outcome = outcome.and_then(|()| match Cgroups::parse(&text) {
            Ok(groups) => {
                path.extend_from_slice(groups.path().unwrap_or_default());
                Outcome::Value(())
            }
            Err(error) => error.into(),
        });
        self.text = text;
        outcome
    }

    fn real_uid(&self, pid: u32) -> Option<u32> {
        self.reads.real_uid(pid)
    }

    async fn classify(&mut self, batch: CmdlineBatch) -> CmdlineBatch {
        executor::classify(batch).await
    }

    fn cmdlines_per_batch(&self) -> usize {
        CMDLINES_PER_BATCH
    }

    async fn io(&mut self, process: Target<'_, ProcessFds>) -> Outcome<IoCounters> {
        self.read_io(self.access(&process), process.handles).await
    }

    async fn io_once(&mut self, key: ProcessKey) -> Outcome<IoCounters> {
        let access = Access { key, allowance: FdAllowance::NONE };
        self.read_io(access, &mut ProcessFds::default()).await
    }

    async fn parent_stat(&mut self, key: ProcessKey) -> Outcome<ParentStat> {
        let tick = self.reads.procfs.tick_nanoseconds;
        self.reads.stat(key.pid, StatOf::Key(key), |stat| parent_stat(stat, tick)).await
    }

    async fn check_exists(&mut self, process: Target<'_, ProcessFds>) -> Existence {
        if self.reads.procfs.fast.fd_count_from_size && process.handles.keeps_fd() {
            let access = self.access(&process);
            let dir_reader = &mut self.dir_reader;
            let fds = process.handles.descriptors(&mut self.reads, access, dir_reader).await;
            Existence { exited: fds.is_exited(), fds: Some(fds) }
        } else {
            let dir = self.reads.open_process_dir(process.key).await;
            Existence { exited: dir.is_exited(), fds: None }
        }
    }

    async fn is_alive_by_handles(&mut self, process: Target<'_, ProcessFds>) -> bool {
        // Without permission to read `io`, a process that is hidden counts as exited.
        if !process.handles.keeps_io() {
            return false;
        }
        // Its read cannot block.
        if let Some(is_alive) = process.handles.is_alive_by_statm() {
            return is_alive;
        }
        // A denied read and one that blocks mean that it is alive.
        let access = self.access(&process);
        !self.read_io(access, process.handles).await.is_exited()
    }

    async fn read_gauges(
        &mut self,
        process: Target<'_, ProcessFds>,
        fds: Option<Outcome<u64>>,
        readings: &mut ProcessReadings,
    ) {
        let access = self.access(&process);
        let (reads, dir_reader) = (&mut self.reads, &mut self.dir_reader);
        let handles = process.handles;
        readings.read(&mut ProcessReader { reads, access, handles, dir_reader, fds }).await;
    }

    async fn read_thread_gauges(&mut self, pid: u32, tid: u32, readings: &mut ProcessReadings) {
        let (procfs, thread) = (&self.reads.procfs, ProcDir::Thread(pid, tid));
        readings.statm = process::statm_at(procfs, thread);
        readings.fds = process::descriptors_at(procfs, thread, &mut self.dir_reader);
    }

    fn counts_fds_by_listing(&self) -> bool {
        !self.reads.procfs.fast.fd_count_from_size
    }

    fn split_fd_budget(&mut self, processes: usize) {
        self.shares = FdBudget::split(self.budget, processes);
    }

    fn limit_handles(&mut self, slot: Slot, handles: &mut ProcessFds) {
        handles.limit(self.shares.at(slot));
    }

    fn page_size(&self) -> u64 {
        self.reads.procfs.page_size
    }
}

impl SocketSource for LiveSource {
    async fn scan_fds(
        &mut self,
        process: Target<'_, ProcessFds>,
        from: u64,
        limit: u64,
        found: &mut FdSockets,
    ) -> Outcome<Option<u64>> {
        let key = process.key;
        if let Some(unread) = self.reads.refusal(key.pid, Lock::Program) {
            return Outcome::Unread(unread);
        }
        let opened = match process.live_thread {
            None => self.reads.open_dir(key, c"fd").await,
            Some(tid) => {
                let thread = ProcDir::Thread(key.pid, tid);
                process::open_fd_dir_at(&self.reads.procfs, thread)
            }
        };
        let mut scan = self.link_scan.take().unwrap_or_else(|| Box::new(LinkScan::new()));
        scan.found = std::mem::take(found);
        let outcome = opened.map(|dir| scan.dir = Some(dir));
        let end = scan.found.fds.saturating_add(limit);
        scan.outcome = outcome.map(|()| Some(from));
        while let Outcome::Value(Some(position)) = scan.outcome {
            scan.from = position;
            scan.limit = end.saturating_sub(scan.found.fds).min(LINKS_PER_READ);
            scan.outcome = unread();
            let Some(Read::Links(back)) = self.reads.request(key.pid, Read::Links(scan)).await
            else {
                return Outcome::Unread(Unread::Blocked);
            };
            scan = back;
            if scan.found.fds >= end {
                break;
            }
        }
        *found = std::mem::take(&mut scan.found);
        scan.dir = None;
        let outcome = std::mem::replace(&mut scan.outcome, unread());
        self.link_scan = Some(scan);
        outcome
    }

    fn is_own_netns(&self, netns: NetnsId) -> bool {
        self.reads.procfs.self_netns == Some(netns.0)
    }

    async fn netns(&mut self, process: ProcDir) -> Outcome<NetnsId> {
        let (ProcDir::Pid(pid) | ProcDir::Thread(pid, _)) = process else {
            return self.reads.procfs.read_netns(process).map(NetnsId);
        };
        if let Some(unread) = self.reads.refusal(pid, Lock::Program) {
            return Outcome::Unread(unread);
        }
        match self.reads.request(pid, Read::Netns { process, outcome: unread() }).await {
            Some(Read::Netns { outcome, .. }) => outcome.map(NetnsId),
            _ => Outcome::Unread(Unread::Blocked),
        }
    }

    fn tcp_counters(&mut self, process: ProcDir) -> Option<TcpCounters> {
        self.tables.tcp_counters(&self.reads.procfs, process)
    }

    fn established(
        &mut self,
        process: ProcDir,
        netns: NetnsId,
        protocol: Protocol,
        shortcuts: Shortcuts,
        found: &mut dyn FnMut(SocketInode),
    ) -> Outcome<RowCounts> {
        let is_own = self.is_own_netns(netns);
        self.tables.established(&self.reads.procfs, (process, is_own), protocol, shortcuts, found)
    }

    fn tcp_states(
        &mut self,
        process: ProcDir,
        netns: NetnsId,
        found: &mut dyn FnMut(SocketInode, OtherTcpState),
    ) -> Outcome<()> {
        let is_own = self.is_own_netns(netns);
        self.tables.tcp_states(&self.reads.procfs, (process, is_own), found)
    }

    fn has_table_per_process(&self) -> bool {
        !self.reads.procfs.is_live
    }

    fn uses_text_table(&self, netns: NetnsId, protocol: Protocol) -> bool {
        self.tables.uses_text_table(self.is_own_netns(netns), protocol)
    }
}

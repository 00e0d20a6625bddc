//! A procfs as a source of readings: the live one, or a captured one in a directory.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use psstat_proc_parse::net::snmp::TcpCounters;
use psstat_proc_parse::{ProcessState, Stat, StatCore};

use crate::ids::{NetnsId, ProcessKey, Protocol, Slot, SocketInode};
use crate::io_counters::IoCounters;
use crate::options::{FastPaths, Options};
use crate::read::command_line::{CmdlineReader, CmdlineResult};
use crate::read::fd_sockets::{FdSocketScanner, FdSockets};
use crate::read::outcome::{Failure, Outcome};
use crate::read::proc_dir::ProcDirReader;
use crate::read::process::{self, Access, FdAllowance, FdBudget, ProcessFds, open_dir};
use crate::read::process_list::{PartialListing, ProcessList};
use crate::read::procfs::{ProcDir, Procfs};
use crate::read::reader::ProcessReader;
use crate::read::socket_tables::{RowCounts, Shortcuts, SocketTables};
use crate::read::sys;
use crate::sampler::Error;
use crate::source::{
    Existence, Handles, ParentStat, ProcessSource, SocketSource, StatSummary, Target,
};
use crate::usage::ProcessReadings;

/// Reads a procfs.
#[derive(Debug)]
pub(crate) struct LiveSource {
    procfs: Procfs,
    proc_root: PathBuf,
    cmdline_timeout: Duration,
    process_list: ProcessList,
    /// For directories of processes.
    dir_reader: ProcDirReader,
    /// `None` after a panic while it was in use.
    cmdlines: Option<CmdlineReader>,
    fd_scanner: FdSocketScanner,
    tables: SocketTables,
    /// Descriptors that may be kept open,
    budget: usize,
    /// and how they are divided.
    shares: FdBudget,
}

impl LiveSource {
    /// Opens a procfs and probes the fast paths. At most `budget` descriptors are kept open.
    ///
    /// # Errors
    /// When the procfs cannot be opened, or a thread not started.
    pub(crate) fn open(options: &Options, budget: usize) -> Result<LiveSource, Error> {
        let proc_root = options.proc_root.clone();
        let procfs = Procfs::open(&proc_root, options.fast_paths)
            .map_err(|errno| Error::Procfs { path: proc_root.clone(), source: errno.into() })?;
        let cmdline_timeout = options.cmdline_timeout;
        let cmdlines = CmdlineReader::new(&proc_root, cmdline_timeout)
            .map_err(|errno| Error::Thread(errno.into()))?;
        Ok(LiveSource {
            process_list: ProcessList::new(&procfs),
            tables: SocketTables::new(&procfs),
            procfs,
            proc_root,
            cmdline_timeout,
            dir_reader: ProcDirReader::new(),
            cmdlines: Some(cmdlines),
            fd_scanner: FdSocketScanner::new(),
            budget,
            shares: FdBudget::split(budget, 0),
        })
    }

    /// The fast paths that are in use.
    pub(crate) fn fast_paths(&self) -> FastPaths {
        FastPaths { sock_diag: self.tables.uses_sock_diag(), ..self.procfs.fast }
    }

    /// Tries sock_diag for each protocol, and returns for which it works.
    pub(crate) fn probe_sock_diag(&mut self) -> [bool; 3] {
        self.tables.probe_sock_diag()
    }

    /// The files of a process that this kernel does not have.
    pub(crate) fn missing_files(&self) -> &[&'static str] {
        &self.procfs.missing
    }

    /// How many descriptors may be kept open.
    pub(crate) fn budget(&self) -> usize {
        self.budget
    }

    fn is_own_netns(&self, netns: NetnsId) -> bool {
        self.procfs.self_netns == Some(netns.0)
    }
}

fn access<'a>(
    procfs: &'a Procfs,
    shares: FdBudget,
    process: &Target<'_, ProcessFds>,
) -> Access<'a> {
    Access { procfs, key: process.key, allowance: shares.at(process.slot) }
}

impl Handles for ProcessFds {
    fn open_fds(&self) -> usize {
        self.count()
    }
}

impl From<StatCore<'_>> for StatSummary {
    fn from(stat: StatCore<'_>) -> StatSummary {
        StatSummary {
            ppid: stat.ppid.unsigned_abs(),
            starttime: stat.starttime,
            is_zombie: matches!(stat.state, ProcessState::Zombie | ProcessState::Dead),
            num_threads: stat.num_threads,
        }
    }
}

impl From<&Stat<'_>> for ParentStat {
    fn from(stat: &Stat<'_>) -> ParentStat {
        // A process whose leader alone has exited has other threads.
        let is_zombie = matches!(stat.state, ProcessState::Zombie | ProcessState::Dead)
            && stat.num_threads <= 1;
        ParentStat { cminflt: stat.cminflt, is_zombie }
    }
}

impl ProcessSource for LiveSource {
    type Handles = ProcessFds;

    fn list(&mut self) -> Result<&[ProcessKey], Failure> {
        let failure = |errno: rustix::io::Errno| Failure::Errno(errno.raw_os_error());
        self.process_list.list_all(&self.procfs).map_err(failure)
    }

    fn list_new(&mut self) -> Option<PartialListing<'_>> {
        self.process_list.list_new(&self.procfs)
    }

    fn boot_ticks(&mut self) -> u64 {
        self.procfs.boot_ticks()
    }

    fn stat(&mut self, pid: u32) -> Outcome<StatSummary> {
        let mut buffer = [0; 1024];
        process::stat(&self.procfs, pid, &mut buffer).map(StatSummary::from)
    }

    fn inode_matches(&mut self, key: ProcessKey) -> bool {
        process::inode_matches(&self.procfs, key)
    }

    fn live_thread(&mut self, key: ProcessKey) -> Option<u32> {
        process::live_thread(&self.procfs, key, &mut self.dir_reader)
    }

    fn has_thread(&mut self, pid: u32, tid: u32) -> bool {
        process::has_thread(&self.procfs, pid, tid)
    }

    fn has_cpu_clock(&self) -> bool {
        self.procfs.fast.cpu_clock
    }

    fn cpu_clock(&mut self, pid: u32) -> Option<u64> {
        sys::process_cpu_time_ns(pid).ok()
    }

    fn cpu_time(&mut self, pid: u32) -> Outcome<(u64, Instant)> {
        if self.procfs.fast.cpu_clock {
            let at = Instant::now();
            return match sys::process_cpu_time_ns(pid) {
                Ok(nanoseconds) => Outcome::Value((nanoseconds, at)),
                Err(_) => Outcome::Exited,
            };
        }
        let mut buffer = [0; 1024];
        let at = Instant::now();
        process::stat(&self.procfs, pid, &mut buffer).map(|stat| {
            ((stat.utime + stat.stime).saturating_mul(self.procfs.tick_nanoseconds), at)
        })
    }

    fn prepare_cmdlines(&mut self) -> bool {
        if self.cmdlines.is_none() {
            self.cmdlines = CmdlineReader::new(&self.proc_root, self.cmdline_timeout).ok();
        }
        let Some(cmdlines) = &mut self.cmdlines else { return false };
        cmdlines.review();
        true
    }

    fn is_still_stuck(&mut self, pid: u32) -> bool {
        self.cmdlines.as_ref().is_some_and(|cmdlines| cmdlines.is_still_stuck(pid))
    }

    fn read_cmdlines(
        &mut self,
        pids: &mut Vec<u32>,
        each: &mut dyn FnMut(&mut LiveSource, usize, CmdlineResult<'_>),
    ) {
        // Out of its place, so that `each` can use the source.
        let Some(mut cmdlines) = self.cmdlines.take() else { return };
        std::mem::swap(pids, &mut cmdlines.requested);
        cmdlines.run(&mut |index, result| each(self, index, result));
        std::mem::swap(pids, &mut cmdlines.requested);
        self.cmdlines = Some(cmdlines);
    }

    fn io(&mut self, process: Target<'_, ProcessFds>) -> Outcome<IoCounters> {
        let access = access(&self.procfs, self.shares, &process);
        process.handles.io(access).map(IoCounters::from)
    }

    fn io_once(&mut self, key: ProcessKey) -> Outcome<IoCounters> {
        let access = Access { procfs: &self.procfs, key, allowance: FdAllowance::NONE };
        ProcessFds::default().io(access).map(IoCounters::from)
    }

    fn parent_stat(&mut self, key: ProcessKey) -> Outcome<ParentStat> {
        process::full_stat(&self.procfs, key, |stat| ParentStat::from(stat))
    }

    fn check_exists(&mut self, process: Target<'_, ProcessFds>) -> Existence {
        if self.procfs.fast.fd_count_from_size && process.handles.keeps_fd() {
            let access = access(&self.procfs, self.shares, &process);
            let fds = process.handles.descriptors(access, &mut self.dir_reader);
            Existence { exited: fds.is_exited(), fds: Some(fds) }
        } else {
            Existence { exited: !process::is_alive(&self.procfs, process.key), fds: None }
        }
    }

    fn is_alive_by_handles(&mut self, handles: &ProcessFds) -> bool {
        handles.is_alive()
    }

    fn read_gauges(
        &mut self,
        process: Target<'_, ProcessFds>,
        fds: Option<Outcome<u64>>,
        readings: &mut ProcessReadings,
    ) {
        readings.read(&mut ProcessReader {
            access: access(&self.procfs, self.shares, &process),
            handles: process.handles,
            dir_reader: &mut self.dir_reader,
            fds,
        });
    }

    fn read_thread_gauges(&mut self, pid: u32, tid: u32, readings: &mut ProcessReadings) {
        let thread = ProcDir::Thread(pid, tid);
        readings.statm = process::statm_at(&self.procfs, thread);
        readings.fds = process::descriptors_at(&self.procfs, thread, &mut self.dir_reader);
    }

    fn counts_fds_by_listing(&self) -> bool {
        !self.procfs.fast.fd_count_from_size
    }

    fn split_fd_budget(&mut self, processes: usize) {
        self.shares = FdBudget::split(self.budget, processes);
    }

    fn limit_handles(&mut self, slot: Slot, handles: &mut ProcessFds) {
        handles.limit(self.shares.at(slot));
    }

    fn page_size(&self) -> u64 {
        self.procfs.page_size
    }
}

impl SocketSource for LiveSource {
    fn scan_fds(
        &mut self,
        process: Target<'_, ProcessFds>,
        from: u64,
        limit: u64,
        found: &mut FdSockets,
    ) -> Outcome<Option<u64>> {
        let directory = match process.live_thread {
            None => open_dir(&self.procfs, process.key, c"fd"),
            Some(tid) => {
                process::open_fd_dir_at(&self.procfs, ProcDir::Thread(process.key.pid, tid))
            }
        };
        self.fd_scanner.scan(directory, from, limit, found)
    }

    fn netns(&mut self, process: ProcDir) -> Outcome<NetnsId> {
        self.procfs.read_netns(process).map(NetnsId)
    }

    fn tcp_counters(&mut self, process: ProcDir) -> Option<TcpCounters> {
        self.tables.tcp_counters(&self.procfs, process)
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
        self.tables.established(&self.procfs, (process, is_own), protocol, shortcuts, found)
    }

    fn uses_text_table(&self, netns: NetnsId, protocol: Protocol) -> bool {
        self.tables.uses_text_table(self.is_own_netns(netns), protocol)
    }
}

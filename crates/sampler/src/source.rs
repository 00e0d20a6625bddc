//! The interface between the driver and the place that readings come from: the
//! live procfs, a captured one (`LiveSource`), or the
//! model kernel of the tests.
//!
//! The driver decides the order of the reads; a source only performs them. Anything
//! may happen between two reads.

use std::fmt::Debug;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::{Duration, Instant};

use psstat_proc_parse::net::snmp::TcpCounters;

use crate::classifier::CmdlineBatch;
use crate::cpu_time::{CpuReading, CpuSamples, CpuTime};
use crate::fault_counts::FaultCounts;
use crate::health::BlockedRead;
use crate::ids::{NetnsId, ProcessKey, Protocol, Slot, SocketInode};
use crate::io_counters::IoCounters;
use crate::lifetimes::LifeEvents;
use crate::read::boot_clock::BootClock;
use crate::read::fd_sockets::FdSockets;
use crate::read::outcome::{Failure, Outcome};
use crate::read::process_list::PartialListing;
use crate::read::procfs::ProcDir;
use crate::read::socket_tables::{RowCounts, Shortcuts};
use crate::read::status::{StatusValues, ThreadSwitches};
use crate::tcp_states::OtherTcpState;
use crate::usage::ProcessReadings;

/// The state that a source keeps for each tracked process between two reads, such as open
/// descriptors. Dropping it closes them.
pub(crate) trait Handles: Debug + Default {
    /// The number of open descriptors.
    fn open_fds(&self) -> usize;
}

#[cfg(test)]
impl Handles for () {
    fn open_fds(&self) -> usize {
        0
    }
}

/// A tracked process as a source needs it.
#[derive(Debug)]
pub(crate) struct Target<'a, H> {
    pub(crate) key: ProcessKey,
    /// Decides its share of the descriptor budget.
    pub(crate) slot: Slot,
    /// A thread that has the memory and the descriptors of a process whose leader
    /// has exited.
    pub(crate) live_thread: Option<u32>,
    pub(crate) handles: &'a mut H,
}

/// The fields of `/proc/PID/stat` that identify a process and its parent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatSummary {
    /// 0 if the parent is not visible.
    pub(crate) ppid: u32,
    /// In ticks since boot. `None` if only `status` could be read.
    pub(crate) starttime: Option<u64>,
    /// The state is `Z` or `X`: the leader has exited.
    pub(crate) is_zombie: bool,
    pub(crate) num_threads: u64,
}

impl StatSummary {
    /// Whether the leader has exited while other threads live.
    pub(crate) fn leader_exited(&self) -> bool {
        self.is_zombie && self.num_threads > 1
    }
}

/// The fields of `/proc/PID/stat` that describe a process as a parent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParentStat {
    /// Minor page faults of the children that it has waited for.
    pub(crate) cminflt: u64,
    /// Its own page faults, and those of these children.
    pub(crate) faults: FaultCounts,
    pub(crate) child_faults: FaultCounts,
    /// CPU time of these children: each mode in whole ticks, the rest is cut off.
    pub(crate) children: CpuTime,
    /// It has exited, so its children have other parents.
    pub(crate) is_zombie: bool,
}

/// The result of a check whether a process still exists.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Existence {
    pub(crate) exited: bool,
    /// The number of its descriptors, where the check reads it as well.
    pub(crate) fds: Option<Outcome<u64>>,
}

/// A process to read at once with others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadRequest {
    pub(crate) pid: u32,
    pub(crate) values: Values,
}

/// The values of a process to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    All,
    /// CPU time alone.
    Cpu,
    /// All, unless its CPU time is still this, in nanoseconds: then CPU time alone.
    AllUnless(NonZeroU64),
}

/// Reads processes.
pub(crate) trait ProcessSource: Sized {
    type Handles: Handles;

    /// Lists all processes, by ascending pid.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn list(&mut self) -> Result<&[ProcessKey], Failure>;

    /// Lists the pids that were assigned since the last listing. `None` where the
    /// source cannot; then [`list`](Self::list) is called.
    fn list_new(&mut self) -> Option<PartialListing<'_>> {
        None
    }

    /// Whether it reports the events of processes.
    fn has_life_events(&self) -> bool {
        false
    }

    /// Moves the next events of processes into an empty buffer, in their order: some of those since
    /// the last call, none if there are no more.
    fn take_life_events(&mut self, _events: &mut LifeEvents) {}

    /// Clock ticks since boot, in which start times are given.
    fn boot_ticks(&mut self) -> u64;

    /// The time to which start times refer. `None` in a capture that does not show it.
    fn boot_clock(&mut self) -> Option<BootClock> {
        None
    }

    /// Reads the soft limit of open descriptors (`Max open files` of `limits`) of the process that
    /// has this pid now; `u64::MAX` for no limit.
    fn fd_limit(&mut self, _pid: u32) -> Outcome<u64> {
        Outcome::Value(u64::MAX)
    }

    /// Reads `status` of the process or thread that has this id now.
    fn status(&mut self, _process: ProcDir) -> Outcome<StatusValues> {
        Outcome::Denied
    }

    /// Reads the context switches of all threads of a process, by their ids. `is_single`: it has
    /// only one.
    async fn thread_switches(
        &mut self,
        _key: ProcessKey,
        _is_single: bool,
        _found: &mut Vec<ThreadSwitches>,
    ) -> Outcome<()> {
        Outcome::Denied
    }

    /// Whether memory can be swapped out.
    fn has_swap(&mut self) -> bool {
        true
    }

    /// Reads `stat` of the process that has this pid now.
    async fn stat(&mut self, pid: u32) -> Outcome<StatSummary>;

    /// Whether `stat` shows where the arguments of the process that has this pid are: it has a
    /// program whose exec has ended, and its addresses may be read.
    async fn has_argument_addresses(&mut self, _pid: u32) -> bool {
        false
    }

    /// Whether this pid is still that of the listed process.
    fn inode_matches(&mut self, key: ProcessKey) -> bool;

    /// A thread of a process other than its leader.
    async fn live_thread(&mut self, key: ProcessKey) -> Option<u32>;

    /// Whether a process has this thread.
    fn has_thread(&mut self, pid: u32, tid: u32) -> bool;

    /// Whether the children of the process with pid 2, and itself, are threads of the kernel.
    fn has_kernel_threads(&self) -> bool {
        false
    }

    /// Whether processes have a CPU clock, which tells without a lock of the process
    /// whether it has run.
    fn has_cpu_clock(&self) -> bool;

    /// Whether a process whose CPU clock has not moved need not be read.
    fn skips_idle(&self) -> bool {
        false
    }

    /// The CPU clock of a process in nanoseconds.
    fn cpu_clock(&mut self, pid: u32) -> Option<u64>;

    /// CPU time of a process without its children.
    async fn cpu_time(&mut self, pid: u32) -> Outcome<CpuReading>;

    /// The same by the kernel's samples, if the process has a CPU clock.
    fn cpu_samples(&mut self, pid: u32) -> Option<CpuSamples>;

    /// Nanoseconds per clock tick.
    fn tick_nanoseconds(&self) -> u64;

    /// The time from one tick of the kernel to the next.
    fn tick(&self) -> Duration {
        Duration::from_millis(10)
    }

    /// Whether it can read many processes at once.
    fn reads_at_once(&self) -> bool {
        false
    }

    /// Reads these processes at once, if it can. Later reads of a process give its values of
    /// that moment, where the source has them, until [`end_read_at_once`](Self::end_read_at_once).
    /// The order of the requests may change.
    fn read_at_once(&mut self, _requests: &mut Vec<ReadRequest>) {}

    /// From now on, reads give the values of their own moment.
    fn end_read_at_once(&mut self) {}

    /// How many of these reads failed since the last call of this.
    fn take_failed_passes(&mut self) -> u64 {
        0
    }

    /// The instant at which processes were read at once last, unless that failed.
    fn read_at_once_began(&self) -> Option<Instant> {
        None
    }

    /// The instant at which this process was read at once with others, if
    /// [`cpu_time`](Self::cpu_time) gives its value of then.
    fn cpu_time_instant(&self, _pid: u32) -> Option<Instant> {
        None
    }

    /// Waits until the last tick of the kernel's clock and the next one are not close.
    fn leave_tick(&mut self) {}

    /// Waits until an instant, unless it has passed, and gives the time.
    fn wait_until(&mut self, _due: Option<Instant>) -> Instant {
        Instant::now()
    }

    /// Begins a step: finds out which of the reads that blocked have returned.
    fn review_blocked(&mut self) {}

    /// Whether a read of this process blocked that has not returned yet.
    fn is_blocked(&self, pid: u32) -> bool;

    /// Whether that was the read of its command line.
    fn is_cmdline_blocked(&self, pid: u32) -> bool {
        self.is_blocked(pid)
    }

    /// The reads that block.
    fn blocked_reads(&self) -> impl Iterator<Item = BlockedRead> {
        std::iter::empty()
    }

    /// Reads the command line of a process by the pid of a thread of it, into an empty buffer: the
    /// raw bytes, arguments terminated by NUL, at most `limit`. It is empty for a kernel thread and
    /// a zombie.
    async fn cmdline(
        &mut self,
        pid: u32,
        tid: u32,
        limit: usize,
        line: &mut Vec<u8>,
    ) -> Outcome<()>;

    /// Reads the name of a process's program into an empty buffer.
    async fn comm(&mut self, _pid: u32, _text: &mut Vec<u8>) -> Outcome<()> {
        Outcome::Denied
    }

    /// The effective user id of a process.
    async fn effective_uid(&mut self, _pid: u32) -> Outcome<u32> {
        Outcome::Denied
    }

    /// Reads the path of the control group of a process's thread into an empty buffer. It is empty
    /// if there are no control groups.
    async fn cgroup(&mut self, _pid: u32, _tid: u32, _path: &mut Vec<u8>) -> Outcome<()> {
        Outcome::Denied
    }

    /// The real user id of a process, if it can be read.
    fn real_uid(&self, pid: u32) -> Option<u32>;

    /// Passes command lines to the caller's closure, which finds their images.
    async fn classify(&mut self, batch: CmdlineBatch) -> CmdlineBatch;

    /// The driver has done everything that follows from the last command line.
    fn end_cmdline(&mut self) {}

    /// How many command lines are read before the first of them is classified.
    fn cmdlines_per_batch(&self) -> usize;

    /// `/proc/PID/io` of a tracked process.
    async fn io(&mut self, process: Target<'_, Self::Handles>) -> Outcome<IoCounters>;

    /// `/proc/PID/io` of a process that is not tracked.
    async fn io_once(&mut self, key: ProcessKey) -> Outcome<IoCounters>;

    /// Reads the fields of a process that concern its children.
    async fn parent_stat(&mut self, key: ProcessKey) -> Outcome<ParentStat>;

    /// The same of the moment of the last read of its `io`, or later.
    async fn parent_stat_with_io(&mut self, key: ProcessKey) -> Outcome<ParentStat> {
        self.parent_stat(key).await
    }

    /// A number that changes when the process executes a program, if the source has it.
    fn exec_id(&mut self, _key: ProcessKey) -> Option<NonZeroU32> {
        None
    }

    /// Checks whether a process still exists, after the last read of `io`; a zombie does.
    async fn check_exists(&mut self, process: Target<'_, Self::Handles>) -> Existence;

    /// Whether the handles prove that a process exists which is not listed.
    async fn is_alive_by_handles(&mut self, process: Target<'_, Self::Handles>) -> bool;

    /// Reads the gauges at the end of a window. `fds`: the number of descriptors, where
    /// it is known already.
    async fn read_gauges(
        &mut self,
        process: Target<'_, Self::Handles>,
        fds: Option<Outcome<u64>>,
        readings: &mut ProcessReadings,
    );

    /// Reads the gauges of a process whose leader has exited from a thread of it.
    async fn read_thread_gauges(&mut self, pid: u32, tid: u32, readings: &mut ProcessReadings);

    /// Whether descriptors are counted by listing them, which takes the same
    /// permission as reading their links.
    fn counts_fds_by_listing(&self) -> bool {
        false
    }

    /// Divides the descriptor budget among this number of tracked processes.
    fn split_fd_budget(&mut self, _processes: usize) {}

    /// Closes the descriptors of the process in this slot that exceed its share.
    fn limit_handles(&mut self, _slot: Slot, _handles: &mut Self::Handles) {}

    /// Bytes per page.
    fn page_size(&self) -> u64;
}

/// Reads sockets. The default methods are a source without
/// sockets.
pub(crate) trait SocketSource: ProcessSource {
    /// Reads the links of descriptors and adds the sockets to `found`: from a position
    /// on (0: from the start) and at most `limit` descriptors. Gives the position at
    /// which to continue if there may be more.
    async fn scan_fds(
        &mut self,
        _process: Target<'_, Self::Handles>,
        _from: u64,
        _limit: u64,
        _found: &mut FdSockets,
    ) -> Outcome<Option<u64>> {
        Outcome::Value(None)
    }

    /// Whether it can read the sockets of many processes at once, with their states.
    fn reads_sockets_at_once(&self) -> bool {
        false
    }

    /// Reads the sockets of these processes. Later scans of their descriptors give those of this
    /// moment, until the next call or [`end_read_at_once`](ProcessSource::end_read_at_once).
    fn read_sockets(&mut self, _pids: &[u32]) {}

    /// The same of further processes, until the next call of this as well.
    fn read_more_sockets(&mut self, _pids: &[u32]) {}

    /// Whether it has the sockets of a process from one of these calls.
    fn has_sockets(&self, _pid: u32) -> bool {
        false
    }

    /// Whether the last [`read_sockets`](Self::read_sockets) and scans have all its sockets.
    fn has_all_sockets(&self, _pid: u32) -> bool {
        false
    }

    /// The last [`read_sockets`](Self::read_sockets) has read all members of these namespaces,
    /// given in ascending order: it stands for their tables, until the next call.
    fn leave_out_tables(&mut self, _namespaces: &[NetnsId]) {}

    /// Whether it stands for those of this namespace.
    fn leaves_out_tables(&self, _netns: NetnsId) -> bool {
        false
    }

    /// Whether a namespace is that of this process, whose tables are read by netlink.
    fn is_own_netns(&self, _netns: NetnsId) -> bool {
        true
    }

    /// The network namespace of a process.
    async fn netns(&mut self, _process: ProcDir) -> Outcome<NetnsId> {
        Outcome::Denied
    }

    /// The kernel's counters of the network namespace of a process, if the source has them.
    fn tcp_counters(&mut self, _process: ProcDir) -> Option<TcpCounters> {
        None
    }

    /// Calls `found` with the inode of each ESTABLISHED socket of a protocol in the
    /// network namespace of a process, possibly more than once.
    fn established(
        &mut self,
        _process: ProcDir,
        _netns: NetnsId,
        _protocol: Protocol,
        _shortcuts: Shortcuts,
        _found: &mut dyn FnMut(SocketInode),
    ) -> Outcome<RowCounts> {
        Outcome::Value(RowCounts::default())
    }

    /// Calls `found` with each TCP socket in another state than ESTABLISHED in the network
    /// namespace of a process, possibly more than once.
    fn tcp_states(
        &mut self,
        _process: ProcDir,
        _netns: NetnsId,
        _found: &mut dyn FnMut(SocketInode, OtherTcpState),
    ) -> Outcome<()> {
        Outcome::Value(())
    }

    /// Whether each process of a namespace can have a table of its own, or none, as in a capture.
    fn has_table_per_process(&self) -> bool {
        false
    }

    /// Whether a table is read as text, which may omit rows while sockets are closed.
    fn uses_text_table(&self, _netns: NetnsId, _protocol: Protocol) -> bool {
        false
    }
}

/// The result of a future that does not wait, as those of the model kernel.
#[cfg(test)]
pub(crate) fn ready<F: Future>(future: F) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("the future waits"),
    }
}

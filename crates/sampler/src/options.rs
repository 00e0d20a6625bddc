//! Options of the sampler.

use std::time::Duration;

/// Maximum number of descriptors that a sampler keeps open per process.
pub const FDS_PER_PROCESS: usize = 4;
/// Number of descriptors under the soft limit that a sampler leaves for everything else.
pub const RESERVED_FDS: usize = 64;

/// Maximum of [`SamplerBuilder::window`](crate::SamplerBuilder::window): a day.
pub const MAX_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the I/O counters of images begin. Those of a process are always the kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoStart {
    /// At the first cycle of the sampler, or, for an image that appears later
    /// ([`reclassify_all`](crate::Sampler::reclassify_all)), at that moment: the image has 0
    /// then, and nothing that a process did before counts, nor do the kernel's additions of
    /// it to the counters of other processes. A process that starts later counts in full.
    #[default]
    FirstCycle,
    /// At the start of each process: an image has the totals of its processes, with all that
    /// they did before the sampler began.
    ProcessStart,
}

/// Values that are read only if they are requested, since each costs a further read per process.
/// Default: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricGroups {
    /// [`Usage::faults`](crate::Usage::faults).
    pub faults: bool,
    /// [`Usage::states`](crate::Usage::states).
    pub states: bool,
    /// [`Usage::swap`](crate::Usage::swap).
    pub swap: bool,
    /// [`Usage::switches`](crate::Usage::switches).
    pub switches: bool,
    /// [`Usage::tcp_states`](crate::Usage::tcp_states).
    pub tcp: bool,
}

/// Faster ways to read the same values. In
/// [`SamplerBuilder::fast_paths`](crate::SamplerBuilder::fast_paths): those to use; from
/// [`Sampler::fast_paths`](crate::Sampler::fast_paths): those in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastPaths {
    /// CPU time from the process's CPU clock (nanoseconds) instead of `stat`
    /// (ticks). Needs the procfs of the caller's pid namespace.
    pub cpu_clock: bool,
    /// The number of descriptors from the size of `/proc/PID/fd` instead of a
    /// listing. Linux 6.2 and later.
    pub fd_count_from_size: bool,
    /// The number of threads from the link count of `/proc/PID/task` instead
    /// of `stat`.
    pub thread_count_from_links: bool,
    /// Sockets of the caller's network namespace by netlink (`sock_diag`), filtered
    /// in the kernel, instead of the text tables. Without the feature `netlink`
    /// this has no effect, and is never in use.
    pub sock_diag: bool,
    /// A listing of only the part of `/proc` that can contain new processes, if
    /// the kernel's count shows that no process exited. Needs the initial pid
    /// namespace.
    pub partial_listing: bool,
    /// The socket tables of a network namespace are left out if the kernel's counters
    /// (`/proc/PID/net/snmp`, `sockstat`) show that they have no rows, or the same as before.
    pub socket_counters: bool,
    /// The files of a process that has not run since they were read, by its CPU clock, are read in
    /// turn, each within 8 cycles. Needs `cpu_clock`, and a kernel whose clocks count less than a
    /// tick. By BPF the values of all processes are read in each cycle.
    pub idle_processes: bool,
}

impl FastPaths {
    /// All fast paths.
    pub const ALL: FastPaths = FastPaths {
        cpu_clock: true,
        fd_count_from_size: true,
        thread_count_from_links: true,
        sock_diag: true,
        partial_listing: true,
        socket_counters: true,
        idle_processes: true,
    };
    /// No fast path.
    pub const NONE: FastPaths = FastPaths {
        cpu_clock: false,
        fd_count_from_size: false,
        thread_count_from_links: false,
        sock_diag: false,
        partial_listing: false,
        socket_counters: false,
        idle_processes: false,
    };
}

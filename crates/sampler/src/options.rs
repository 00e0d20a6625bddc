//! What a user of the sampler can choose.

use std::path::PathBuf;
use std::time::Duration;

/// How a [`Sampler`](crate::Sampler) works. `Options::default()` is right for
/// a collector on a real machine.
#[derive(Clone, Debug)]
pub struct Options {
    /// The procfs to read; `/proc`. A copy of one in a folder works too, with
    /// the slower ways of reading.
    pub proc_root: PathBuf,
    /// How much time lies between the two readings of CPU time; 1 s.
    pub window: Duration,
    /// How many descriptors may be kept open, four a process; with fewer, some
    /// files are opened at each reading. `None`, and at most: what the process's
    /// soft limit (`RLIMIT_NOFILE`) leaves when the sampler is made, less 64 for
    /// everything else.
    pub max_open_fds: Option<usize>,
    /// Which of the kernel's faster answers to use where they are to be had.
    pub fast_paths: FastPaths,
    /// How long one command line may take to be read before its process is set
    /// aside; 100 ms. While the reader does not block but waits for a processor, ten
    /// times that is added, once for all that are read together. The kernel holds a
    /// reader up while the process has its memory map locked.
    pub cmdline_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            proc_root: PathBuf::from("/proc"),
            window: Duration::from_secs(1),
            max_open_fds: None,
            fast_paths: FastPaths::ALL,
            cmdline_timeout: Duration::from_millis(100),
        }
    }
}

/// Faster ways to the same numbers. In [`Options`]: which are wanted; from
/// [`Sampler::fast_paths`](crate::Sampler::fast_paths): which are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastPaths {
    /// CPU time from the process's CPU clock (nanoseconds) instead of `stat`
    /// (ticks). Needs the procfs of the own pid namespace.
    pub cpu_clock: bool,
    /// The number of descriptors from the size of `/proc/PID/fd` instead of a
    /// listing. Linux 6.2 and later.
    pub fd_count_from_size: bool,
    /// The number of threads from the link count of `/proc/PID/task` instead
    /// of `stat`.
    pub thread_count_from_links: bool,
    /// The own network namespace's sockets by netlink (`sock_diag`), filtered
    /// in the kernel, instead of the text tables. Without the feature `netlink`
    /// this has no effect, and is never in use.
    pub sock_diag: bool,
    /// Only that part of `/proc` listed in which new processes can be, where
    /// the kernel's count says that nobody went. Needs the first pid namespace.
    pub partial_listing: bool,
}

impl FastPaths {
    /// All of them.
    pub const ALL: FastPaths = FastPaths {
        cpu_clock: true,
        fd_count_from_size: true,
        thread_count_from_links: true,
        sock_diag: true,
        partial_listing: true,
    };
    /// None of them: every number the plain way.
    pub const NONE: FastPaths = FastPaths {
        cpu_clock: false,
        fd_count_from_size: false,
        thread_count_from_links: false,
        sock_diag: false,
        partial_listing: false,
    };
}

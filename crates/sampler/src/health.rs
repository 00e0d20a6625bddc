//! How a cycle went.

/// How a cycle went. Each is a number of processes unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Processes in `/proc`.
    pub processes: u64,
    /// Processes that belong to an image, without zombies.
    pub matched: u64,
    /// Processes of which a file may not be read, by file.
    pub denied: PerFile,
    /// Reads of this cycle that failed otherwise, by file.
    pub failed: PerFile,
    /// Processes of which a read blocks. Their values from files that can block are missing.
    pub blocked: u64,
    /// Reads that were due and not attempted, because the limit of blocked reads was reached,
    /// for the same user or in total, by file. They are counted under `failed` too.
    pub deferred: PerFile,
    /// Command lines that were due and are classified in a later cycle. Those of more than 4 KiB:
    /// others of this cycle have used 16 MiB, 8 MiB more of their user, or 64 MiB in total. CPU
    /// time of the closure that classifies counts as 168 bytes per microsecond. Shorter ones:
    /// those for which the closure took more than 0.25 ms have used as much time. They are
    /// counted under `failed` too.
    pub long_cmdlines: u64,
    /// Unix sockets with rows in different states in a text table: the name of another socket
    /// contains a row. They do not count as connected.
    pub contradictory_sockets: u64,
    /// Passes of the [BPF program](crate::Bpf) in this cycle that failed: the numbers were read from
    /// the procfs. Each cycle tries again. [`Sampler::bpf_error`](crate::Sampler::bpf_error) gives the reason.
    pub failed_bpf_passes: u64,
    /// Forks, execs and ends of processes that were lost since the first cycle, because the
    /// [ring](crate::Bpf::with_ring) was full.
    pub lost_events: u64,
    /// Descriptors kept open.
    pub fds_held: u64,
    /// `/proc` could not be listed; the numbers are those of the processes of before.
    pub listing_failed: bool,
}

/// A read of a process that blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockedRead {
    /// The process.
    pub pid: u32,
    /// The file, relative to the directory of the process.
    pub file: &'static str,
}

/// A number for each file of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerFile {
    /// `cmdline`
    pub command_line: u64,
    /// `io`
    pub io: u64,
    /// `fd`: the links of the descriptors, or their number
    pub fd: u64,
    /// `ns/net`
    pub netns: u64,
    /// `statm`
    pub statm: u64,
    /// `stat`, the CPU clock, `task`
    pub stat: u64,
    /// `limits`
    pub limits: u64,
    /// `status`
    pub status: u64,
    /// `comm`
    pub comm: u64,
    /// `cgroup`
    pub cgroup: u64,
    /// `net/*`, or sock_diag (tables, not processes)
    pub net: u64,
}

impl PerFile {
    pub(crate) fn add(&mut self, other: PerFile) {
        let PerFile { command_line, io, fd, netns, statm, stat, limits, status, comm, cgroup, net } =
            other;
        self.command_line += command_line;
        self.io += io;
        self.fd += fd;
        self.netns += netns;
        self.statm += statm;
        self.stat += stat;
        self.limits += limits;
        self.status += status;
        self.comm += comm;
        self.cgroup += cgroup;
        self.net += net;
    }
}

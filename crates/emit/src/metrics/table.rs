//! The table of metrics. An entry has the metric's name, kind and unit, its OpenMetrics family,
//! its help text, and its series, each with the value of its `type` tag, if any.

use super::metric::{Entry, Group};
use super::units;
use crate::metric::{Kind, Metric};

metrics! {
    /// One series of an image: a metric and, if it has types, one of them.
    Series (SERIES, labels: &["image"]) {
        IO_BYTES: "proc.stat.ps.io", Counter, BYTES,
        family "proc_stat_ps_io_bytes",
        help "Bytes read and written, from /proc/PID/io: through system calls (rchar, wchar) from and to storage (read_bytes, write_bytes), and counted as written but then truncated (cancelled_write_bytes).",
        {
            /// Bytes that `read(2)` and similar calls returned.
            IoRchar = "rchar",
            /// Bytes passed to `write(2)` and similar calls.
            IoWchar = "wchar",
            /// Bytes that the storage layer fetched.
            IoReadBytes = "read_bytes",
            /// Bytes sent to the storage layer.
            IoWriteBytes = "write_bytes",
            /// Bytes of cancelled writes.
            IoCancelledWriteBytes = "cancelled_write_bytes",
        }
        IO_CALLS: "proc.stat.ps.io", Counter, CALLS,
        family "proc_stat_ps_io_calls",
        help "Read and write system calls, from /proc/PID/io.",
        {
            /// Calls of `read(2)` and similar.
            IoSyscr = "syscr",
            /// Calls of `write(2)` and similar.
            IoSyscw = "syscw",
        }
        FD: "proc.stat.ps.fd", Gauge, DESCRIPTORS,
        family "proc_stat_ps_fd",
        help "Open file descriptors.",
        {
            /// Entries of `/proc/PID/fd`.
            FdOpen = "open",
        }
        FD_RATIO: "proc.stat.ps.fd.ratio", Gauge, PERCENT,
        family "proc_stat_ps_fd_ratio",
        help "Open file descriptors per soft limit (RLIMIT_NOFILE), of the process that is nearest to its limit.",
        {
            /// Descriptors by `Max open files` of `/proc/PID/limits`, of one process.
            FdRatio,
        }
        THREADS: "proc.stat.ps.threads", Gauge, THREADS,
        family "proc_stat_ps_threads",
        help "Threads.",
        {
            /// Entries of `/proc/PID/task`.
            Threads,
        }
        NET: "proc.stat.ps.net", Gauge, SOCKETS,
        family "proc_stat_ps_net",
        help "Distinct sockets in state ESTABLISHED, IPv4 and IPv6 together.",
        {
            /// TCP sockets.
            NetTcp = "tcp",
            /// Connected UDP sockets.
            NetUdp = "udp",
            /// Connected unix domain sockets.
            NetUnix = "unix",
        }
        PCPU: "proc.stat.ps.pcpu", Gauge, PERCENT_OF_CORE,
        family "proc_stat_ps_pcpu_ratio",
        help "CPU time, user and system, per time: 1 is one core. Measured over a window of one second.",
        {
            /// CPU time of the processes' own threads in the window.
            Pcpu,
        }
        CPU_TIME: "proc.stat.ps.cpu", Counter, SECONDS,
        family "proc_stat_ps_cpu_seconds",
        help "CPU time of the processes and of the children that they reaped.",
        {
            /// In user mode.
            CpuUser = "user",
            /// In the kernel.
            CpuSystem = "system",
        }
        MEM: "proc.stat.ps.mem", Gauge, BYTES,
        family "proc_stat_ps_mem_bytes",
        help "Memory in bytes: virtual memory size (total), resident set size (resident), and its part that is backed by files or shared memory (shared).",
        {
            /// Virtual memory size, `size` of `/proc/PID/statm`.
            MemTotal = "total",
            /// Resident set size, `resident` of `/proc/PID/statm`.
            MemResident = "resident",
            /// Resident pages of files and of shared memory, `shared` of `/proc/PID/statm`.
            MemShared = "shared",
        }
        PROCS: "proc.stat.ps.procs", Gauge, PROCESSES,
        family "proc_stat_ps_procs",
        help "Processes that currently match the image's rules.",
        {
            /// Processes of the image, 0 included.
            Procs,
        }
        STARTS: "proc.stat.ps.starts", Counter, PROCESSES,
        family "proc_stat_ps_starts",
        help "Processes that began to belong to the image: that started, or joined it by an exec or a new title.",
        {
            /// Since the collector started.
            Starts,
        }
        EXITS: "proc.stat.ps.exits", Counter, PROCESSES,
        family "proc_stat_ps_exits",
        help "Processes that ceased to belong to the image: that exited, or left it by an exec or a new title.",
        {
            /// Since the collector started.
            Exits,
        }
        AGE: "proc.stat.ps.age", Gauge, SECONDS,
        family "proc_stat_ps_age_seconds",
        help "Time since the start of the oldest and of the youngest process of the image, 0 without one.",
        {
            /// Of the process that started first.
            AgeOldest = "oldest",
            /// Of the process that started last.
            AgeYoungest = "youngest",
        }
        STATE: "proc.stat.ps.state", Gauge, PROCESSES,
        group States,
        family "proc_stat_ps_state",
        help "Processes by the state of their first living thread, and zombies whose parent belongs to the image.",
        {
            /// State `R`.
            StateRunning = "running",
            /// State `S`.
            StateSleeping = "sleeping",
            /// State `D`.
            StateDisk = "disk",
            /// States `T` and `t`.
            StateStopped = "stopped",
            /// State `Z`.
            StateZombie = "zombie",
        }
        FAULTS: "proc.stat.ps.faults", Counter, FAULTS,
        group Faults,
        family "proc_stat_ps_faults",
        help "Page faults of the processes and of the children that they reaped, without (minor) and with (major) a read from storage.",
        {
            /// `minflt` and `cminflt` of `/proc/PID/stat`.
            FaultsMinor = "minor",
            /// `majflt` and `cmajflt`.
            FaultsMajor = "major",
        }
        SWITCHES: "proc.stat.ps.switches", Counter, SWITCHES,
        group Switches,
        family "proc_stat_ps_switches",
        help "Context switches of all threads: because a thread had to wait (voluntary), or another one was to run (involuntary).",
        {
            /// `voluntary_ctxt_switches` of `/proc/PID/task/TID/status`.
            SwitchesVoluntary = "voluntary",
            /// `nonvoluntary_ctxt_switches`.
            SwitchesInvoluntary = "involuntary",
        }
        SWAP: "proc.stat.ps.swap", Gauge, BYTES,
        group Swap,
        family "proc_stat_ps_swap_bytes",
        help "Swapped-out anonymous memory.",
        {
            /// `VmSwap` of `/proc/PID/status`.
            Swap,
        }
        TCP: "proc.stat.ps.tcp", Gauge, SOCKETS,
        group Tcp,
        family "proc_stat_ps_tcp",
        help "Distinct TCP sockets in other states than ESTABLISHED, IPv4 and IPv6 together.",
        {
            /// In state LISTEN.
            TcpListen = "listen",
            /// In state SYN_SENT.
            TcpSynSent = "syn_sent",
            /// In state SYN_RECV.
            TcpSynRecv = "syn_recv",
            /// In state FIN_WAIT1.
            TcpFinWait1 = "fin_wait1",
            /// In state FIN_WAIT2.
            TcpFinWait2 = "fin_wait2",
            /// In state CLOSE_WAIT.
            TcpCloseWait = "close_wait",
            /// In state LAST_ACK.
            TcpLastAck = "last_ack",
            /// In state CLOSING.
            TcpClosing = "closing",
        }
        UNREAD: "proc.stat.ps.unread", Gauge, PROCESSES,
        family "proc_stat_ps_unread",
        help "Processes of the image whose value (the type) could not be read, so that it is missing in the sum.",
        {
            /// Missing in `proc.stat.ps.io`.
            UnreadIo = "io",
            /// Missing in a type of `proc.stat.ps.net`.
            UnreadNet = "net",
            /// Missing in `proc.stat.ps.fd`.
            UnreadFd = "fd",
            /// Missing in `proc.stat.ps.mem`.
            UnreadMem = "mem",
            /// Missing in `proc.stat.ps.pcpu` or `proc.stat.ps.cpu`.
            UnreadCpu = "cpu",
        }
    }

    /// One series of the collector itself: a metric and, if it has types, one of them.
    CollectorSeries (COLLECTOR_SERIES, labels: &[]) {
        CPU: "proc.stat.ps.collector.cpu", Gauge, MILLISECONDS,
        family "proc_stat_ps_collector_cpu_seconds",
        help "CPU time that the collector has used since its previous points, or since its start.",
        {
            /// CPU time since the previous points, to a thousandth of a millisecond.
            Cpu,
        }
        WALL: "proc.stat.ps.collector.wall", Gauge, MILLISECONDS,
        family "proc_stat_ps_collector_wall_seconds",
        help "Duration of the last cycle, including its window of one second.",
        {
            /// Duration of the last cycle.
            Wall,
        }
        PROCESSES: "proc.stat.ps.collector.processes", Gauge, PROCESSES,
        family "proc_stat_ps_collector_processes",
        help "Processes on the host.",
        {
            /// Processes that `/proc` lists.
            Processes,
        }
        MATCHED: "proc.stat.ps.collector.matched", Gauge, PROCESSES,
        family "proc_stat_ps_collector_matched",
        help "Processes that match at least one rule.",
        {
            /// Processes of all images, each counted once.
            Matched,
        }
        DENIED: "proc.stat.ps.collector.denied", Gauge, PROCESSES,
        family "proc_stat_ps_collector_denied",
        help "Processes whose file (the type) the collector is not permitted to read.",
        {
            /// `/proc/PID/io` is denied.
            DeniedIo = "io",
            /// `/proc/PID/fd` is denied.
            DeniedFd = "fd",
            /// `/proc/PID/cmdline` is denied.
            DeniedCmdline = "cmdline",
            /// `/proc/PID/ns/net` is denied.
            DeniedNs = "ns",
            /// `/proc/PID/statm` is denied.
            DeniedStatm = "statm",
            /// `/proc/PID/stat` is denied.
            DeniedStat = "stat",
            /// `/proc/PID/limits` is denied.
            DeniedLimits = "limits",
            /// `/proc/PID/status` is denied.
            DeniedStatus = "status",
            /// `/proc/PID/comm` is denied.
            DeniedComm = "comm",
            /// `/proc/PID/cgroup` is denied.
            DeniedCgroup = "cgroup",
            /// Socket tables that are denied.
            DeniedNet = "net",
        }
        FAILED: "proc.stat.ps.collector.failed", Gauge, READS,
        family "proc_stat_ps_collector_failed",
        help "Reads of a process's file (the type) that failed in the last cycle for reasons other than permissions or process exit.",
        {
            /// Failed reads of `/proc/PID/io`.
            FailedIo = "io",
            /// Failed reads of `/proc/PID/fd`.
            FailedFd = "fd",
            /// Failed reads of `/proc/PID/cmdline`.
            FailedCmdline = "cmdline",
            /// Failed reads of `/proc/PID/ns/net`.
            FailedNs = "ns",
            /// Failed reads of `/proc/PID/statm`.
            FailedStatm = "statm",
            /// Failed reads of `/proc/PID/stat`.
            FailedStat = "stat",
            /// Failed reads of `/proc/PID/limits`.
            FailedLimits = "limits",
            /// Failed reads of `/proc/PID/status`.
            FailedStatus = "status",
            /// Failed reads of `/proc/PID/comm`.
            FailedComm = "comm",
            /// Failed reads of `/proc/PID/cgroup`.
            FailedCgroup = "cgroup",
            /// Failed reads of a socket table.
            FailedNet = "net",
        }
        BLOCKED: "proc.stat.ps.collector.blocked", Gauge, PROCESSES,
        family "proc_stat_ps_collector_blocked",
        help "Processes skipped because reading their command line blocks.",
        {
            /// Processes whose command line cannot be read at present.
            Blocked,
        }
        CONF_LOADED: "proc.stat.ps.collector.conf_loaded", Gauge, BOOLEAN,
        family "proc_stat_ps_collector_conf_loaded",
        help "1 if the active rules are those of the current config file, 0 otherwise.",
        {
            /// Whether the active rules are those of the config file on disk.
            ConfLoaded,
        }
        BAD_LINES: "proc.stat.ps.collector.bad_lines", Gauge, LINES,
        family "proc_stat_ps_collector_bad_lines",
        help "Invalid lines of the config file, which are ignored.",
        {
            /// Invalid lines of the config file at its last read.
            ConfBadLines,
        }
        RULES: "proc.stat.ps.collector.rules", Gauge, RULES,
        family "proc_stat_ps_collector_rules",
        help "Active rules.",
        {
            /// Active rules.
            Rules,
        }
        STEP_LIMITED_RULES: "proc.stat.ps.collector.step_limited_rules", Gauge, RULES,
        family "proc_stat_ps_collector_step_limited_rules",
        help "Active rules that have exceeded their step limit.",
        {
            /// Rules that exceeded their step limit on a command line.
            StepLimitedRules,
        }
        CAPABILITY: "proc.stat.ps.collector.capability", Gauge, BOOLEAN,
        family "proc_stat_ps_collector_capability",
        help "1 if the collector has the capability (the type), 0 otherwise.",
        {
            /// `CAP_SYS_PTRACE`: I/O, descriptors and namespaces of other users' processes.
            SysPtrace = "sys_ptrace",
            /// `CAP_DAC_READ_SEARCH`: directories that only their owners may search.
            DacReadSearch = "dac_read_search",
        }
        RSS: "proc.stat.ps.collector.rss", Gauge, BYTES,
        family "proc_stat_ps_collector_rss_bytes",
        help "Resident memory of the collector.",
        {
            /// Resident set size of the collector.
            Rss,
        }
        FDS: "proc.stat.ps.collector.fds", Gauge, DESCRIPTORS,
        family "proc_stat_ps_collector_fds",
        help "File descriptors that the collector keeps open between cycles.",
        {
            /// Descriptors kept open between cycles.
            Fds,
        }
        PANICS: "proc.stat.ps.collector.panics", Counter, CYCLES,
        family "proc_stat_ps_collector_panics",
        help "Cycles lost to a panic since the collector started.",
        {
            /// Cycles that panicked.
            Panics,
        }
        LOST_EVENTS: "proc.stat.ps.collector.lost_events", Counter, EVENTS,
        family "proc_stat_ps_collector_lost_events",
        help "Starts and ends of processes that were not recorded since the collector started, because the BPF ring was full.",
        {
            /// Records that did not fit into the ring.
            LostEvents,
        }
        SKIPPED_CYCLES: "proc.stat.ps.collector.skipped_cycles", Counter, CYCLES,
        family "proc_stat_ps_collector_skipped_cycles",
        help "Cycles skipped since the collector started, because its output was blocked or the host was suspended.",
        {
            /// Cycles that were due and did not run.
            SkippedCycles,
        }
    }
}

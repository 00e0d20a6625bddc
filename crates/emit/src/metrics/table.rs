//! The tables. An entry of the units is the unit's name and its words, and what
//! OpenMetrics calls it, if it does. An entry of the catalogue is: the metric's
//! name, kind and unit; its OpenMetrics family; a line of help; and its series,
//! each with its `type`, if any.

use super::{Kind, Metric};

units! {
    /// Bytes.
    Bytes = "bytes", openmetrics "bytes";
    /// System calls.
    Calls = "calls";
    /// Cycles of the collector.
    Cycles = "cycles";
    /// Open file descriptors.
    Descriptors = "descriptors";
    /// Lines of the conf.
    Lines = "lines";
    /// Thousandths of a second.
    Milliseconds = "milliseconds", openmetrics "milliseconds";
    /// Hundredths of one core's time: two busy cores are 200.
    PercentOfCore = "percent of one core", openmetrics "percent";
    /// Processes.
    Processes = "processes";
    /// Reads of a file.
    Reads = "reads";
    /// Rules of the conf.
    Rules = "rules";
    /// Sockets.
    Sockets = "sockets";
    /// Threads.
    Threads = "threads";
    /// 1 for yes, 0 for no.
    Boolean = "0 or 1";
}

metrics! {
    /// One series of an image: a metric and, where it has one, its type.
    Series (per_image: true) {
        IO_BYTES: "proc.stat.ps.io", Counter, Bytes,
        family "proc_stat_ps_io_bytes",
        help "Bytes read and written, from /proc/PID/io: through system calls (rchar, wchar) and from and to storage (read_bytes, write_bytes).",
        {
            /// Bytes that `read(2)` and the like returned.
            IoRchar = "rchar",
            /// Bytes passed to `write(2)` and the like.
            IoWchar = "wchar",
            /// Bytes that the storage layer fetched.
            IoReadBytes = "read_bytes",
            /// Bytes sent to the storage layer.
            IoWriteBytes = "write_bytes",
        }
        IO_CALLS: "proc.stat.ps.io", Counter, Calls,
        family "proc_stat_ps_io_calls",
        help "System calls that read and that write, from /proc/PID/io.",
        {
            /// Calls of `read(2)` and the like.
            IoSyscr = "syscr",
            /// Calls of `write(2)` and the like.
            IoSyscw = "syscw",
        }
        IO_CANCELLED: "proc.stat.ps.io", Gauge, Bytes,
        family "proc_stat_ps_io_cancelled_bytes",
        help "Bytes counted as written that never reached storage because the page cache was truncated, from /proc/PID/io. It can shrink, and be negative.",
        {
            /// Bytes of a cancelled write; may be negative.
            IoCancelledWriteBytes = "cancelled_write_bytes",
        }
        FD: "proc.stat.ps.fd", Gauge, Descriptors,
        family "proc_stat_ps_fd",
        help "Open file descriptors.",
        {
            /// Entries of `/proc/PID/fd`.
            FdOpen = "open",
        }
        THREADS: "proc.stat.ps.threads", Gauge, Threads,
        family "proc_stat_ps_threads",
        help "Threads.",
        {
            /// Entries of `/proc/PID/task`.
            Threads,
        }
        NET: "proc.stat.ps.net", Gauge, Sockets,
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
        PCPU: "proc.stat.ps.pcpu", Gauge, PercentOfCore,
        family "proc_stat_ps_pcpu_percent",
        help "CPU time, user and system, in percent of one core over a window of one second.",
        {
            /// CPU time of the processes' own threads in the window.
            Pcpu,
        }
        MEM: "proc.stat.ps.mem", Gauge, Bytes,
        family "proc_stat_ps_mem_bytes",
        help "Memory in bytes: virtual memory size (total) and resident set size (resident).",
        {
            /// Virtual memory size, `size` of `/proc/PID/statm`.
            MemTotal = "total",
            /// Resident set size, `resident` of `/proc/PID/statm`.
            MemResident = "resident",
        }
        PROCS: "proc.stat.ps.procs", Gauge, Processes,
        family "proc_stat_ps_procs",
        help "Processes that match the image's rules now.",
        {
            /// Processes of the image, 0 included.
            Procs,
        }
    }

    /// One series of the collector's own health.
    CollectorSeries (per_image: false) {
        CPU: "proc.stat.ps.collector.cpu", Gauge, Milliseconds,
        family "proc_stat_ps_collector_cpu_milliseconds",
        help "CPU time that the collector used since its last points, or since its start.",
        {
            /// CPU time since the last points, to a thousandth of a millisecond.
            Cpu,
        }
        WALL: "proc.stat.ps.collector.wall", Gauge, Milliseconds,
        family "proc_stat_ps_collector_wall_milliseconds",
        help "Time that the last cycle took, its window of one second included.",
        {
            /// Duration of the last cycle.
            Wall,
        }
        SEEN: "proc.stat.ps.collector.seen", Gauge, Processes,
        family "proc_stat_ps_collector_seen",
        help "Processes seen.",
        {
            /// Processes that `/proc` lists.
            Seen,
        }
        MATCHED: "proc.stat.ps.collector.matched", Gauge, Processes,
        family "proc_stat_ps_collector_matched",
        help "Processes that match at least one rule.",
        {
            /// Processes of any image, each counted once.
            Matched,
        }
        DENIED: "proc.stat.ps.collector.denied", Gauge, Processes,
        family "proc_stat_ps_collector_denied",
        help "Processes whose file (the type) the collector may not read.",
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
            /// Socket tables that are denied.
            DeniedNet = "net",
        }
        FAILED: "proc.stat.ps.collector.failed", Gauge, Reads,
        family "proc_stat_ps_collector_failed",
        help "Reads of a process's file (the type) that failed in the last cycle for another reason than a lack of rights or the process's end.",
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
            /// Failed reads of a socket table.
            FailedNet = "net",
        }
        BLOCKED: "proc.stat.ps.collector.blocked", Gauge, Processes,
        family "proc_stat_ps_collector_blocked",
        help "Processes set aside because the read of their command line blocks.",
        {
            /// Processes whose command line is not to be had for now.
            Blocked,
        }
        CONF_LOADED: "proc.stat.ps.collector.conf_loaded", Gauge, Boolean,
        family "proc_stat_ps_collector_conf_loaded",
        help "1 when the rules in force are those of the conf as it is now, 0 when not.",
        {
            /// Whether the rules in force are those of the conf on disk.
            ConfLoaded,
        }
        BAD_LINES: "proc.stat.ps.collector.bad_lines", Gauge, Lines,
        family "proc_stat_ps_collector_bad_lines",
        help "Lines of the conf that are not rules and were left out.",
        {
            /// Bad lines of the conf last read.
            ConfBadLines,
        }
        RULES: "proc.stat.ps.collector.rules", Gauge, Rules,
        family "proc_stat_ps_collector_rules",
        help "Rules in force.",
        {
            /// Rules in force.
            Rules,
        }
        LIMITED_RULES: "proc.stat.ps.collector.limited_rules", Gauge, Rules,
        family "proc_stat_ps_collector_limited_rules",
        help "Rules in force that hit their step limit.",
        {
            /// Rules that gave up on a command line.
            LimitedRules,
        }
        CAPABILITY: "proc.stat.ps.collector.capability", Gauge, Boolean,
        family "proc_stat_ps_collector_capability",
        help "1 when the collector has the capability (the type) that it can use, 0 when not.",
        {
            /// `CAP_SYS_PTRACE`, for io, descriptors and namespaces of others.
            SysPtrace = "sys_ptrace",
            /// `CAP_DAC_READ_SEARCH`, for folders that only their owners may
            /// search.
            DacReadSearch = "dac_read_search",
        }
        RSS: "proc.stat.ps.collector.rss", Gauge, Bytes,
        family "proc_stat_ps_collector_rss_bytes",
        help "Resident memory of the collector.",
        {
            /// Resident set size of the collector.
            Rss,
        }
        FDS: "proc.stat.ps.collector.fds", Gauge, Descriptors,
        family "proc_stat_ps_collector_fds",
        help "Descriptors that the collector keeps open.",
        {
            /// Descriptors kept from one cycle to the next.
            Fds,
        }
        PANICS: "proc.stat.ps.collector.panics", Counter, Cycles,
        family "proc_stat_ps_collector_panics",
        help "Cycles lost to a defect of the collector since it started.",
        {
            /// Cycles that panicked.
            Panics,
        }
        LATE: "proc.stat.ps.collector.late", Counter, Cycles,
        family "proc_stat_ps_collector_late",
        help "Cycles skipped since the collector started, because its output was blocked or the machine slept.",
        {
            /// Cycles that were due and never began.
            Late,
        }
    }
}

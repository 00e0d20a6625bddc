//! The options.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::peers::Peer;
use crate::population::Spec;

/// Measure a cycle of psstat against the floor of the kernel and other tools, on a test population.
///
/// Needs root, to read everything that psstat reads, and an otherwise idle machine. The tools are
/// run where they are installed: prometheus-process-exporter, netdata's apps.plugin, pidstat,
/// python3-psutil, otelcol. System calls are counted by strace.
///
/// The floor is a bare loop over the reads that every cycle of psstat makes of each process and of
/// the socket tables. It does not include the listing of /proc, which psstat makes completely in
/// some cycles only; the ratio to a floor with a listing per cycle is in the next column. Ratios are
/// of medians and of means, which an expensive cycle now and then moves; the worse one for psstat is
/// shown and checked. Exits 1 if a printed target is missed. Tools that are not installed are not
/// checked.
///
/// By default the processes are idle, which spares psstat the periodic reads of the command lines
/// and file descriptors of processes that have run: see --busy and --socket-churn. The floor does
/// not include the cost of changes, so with --churn or --socket-churn it is not a target.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Processes of the population
    #[arg(long, default_value_t = 2000)]
    pub(crate) processes: u64,

    /// How many of them belong to an image [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) matched: Option<u64>,

    /// Images, with one rule each
    #[arg(long, default_value_t = 50)]
    pub(crate) images: u64,

    /// File descriptors per process
    #[arg(long, default_value_t = 34)]
    pub(crate) fds: u64,

    /// Established tcp sockets in total
    #[arg(long, default_value_t = 8000)]
    pub(crate) tcp: u64,

    /// Connected udp sockets in total
    #[arg(long, default_value_t = 2000)]
    pub(crate) udp: u64,

    /// Connected unix sockets in total
    #[arg(long, default_value_t = 8000)]
    pub(crate) unix: u64,

    /// Additional unmatched processes that start per second and live for one second
    #[arg(long, value_name = "PER-SECOND", default_value_t = 0)]
    pub(crate) churn: u64,

    /// How many of the processes run for some microseconds twice per second: enough for the periodic
    /// reads of their command lines and file descriptors
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) busy: u64,

    /// Connections that are replaced per second by the same process
    #[arg(long, value_name = "PER-SECOND", default_value_t = 0)]
    pub(crate) socket_churn: u64,

    /// Cycles to measure; 40 scan the file descriptors of each process once
    #[arg(long, default_value_t = 40)]
    pub(crate) cycles: u32,

    /// Cycles before these
    #[arg(long, default_value_t = 12)]
    pub(crate) warm_up: u32,

    /// Seconds per cycle
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(2..))]
    pub(crate) interval: u64,

    /// The collector to measure [default: a release build of the working tree]
    #[arg(long, value_name = "PATH")]
    pub(crate) psstat: Option<PathBuf>,

    /// How the collector reads processes; may be repeated. Each is measured; the targets are those
    /// of the last one [default: bpf and proc]
    #[arg(long, value_enum, value_name = "SOURCE")]
    #[arg(default_values_t = [Source::Bpf, Source::Proc], hide_default_value = true)]
    pub(crate) source: Vec<Source>,

    /// Leave out an observer; may be repeated
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) without: Vec<Part>,

    /// Instead: run the collector of this commit and that of the working tree at the same time on
    /// the same population, both by one --source if that is given. Exits 1 if the latter takes more
    /// than 1.03 times the CPU per cycle or more system calls. The commit is built in a git worktree under target/baseline
    #[arg(long, value_name = "COMMIT", conflicts_with_all = ["curves", "flood"])]
    pub(crate) baseline: Option<String>,

    /// Instead: the cost of psstat and of the floor from 500 to 8,000 processes, from 0 to 100,000
    /// file descriptors, and by churn; in proportion if --processes is not 2,000. Exits 1 if the
    /// cost per process is a quarter higher in a large population than in the smallest
    #[arg(long, conflicts_with = "flood")]
    pub(crate) curves: bool,

    /// Instead: start and end this number of processes as fast as possible, and show the memory of
    /// the collector before and after, where 20,000 others precede. A million takes some minutes
    #[arg(long, value_name = "FORKS")]
    pub(crate) flood: Option<u64>,
}

/// The values of the collector's `--source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// By a BPF program
    Bpf,
    /// From the files in /proc
    Proc,
}

impl Source {
    /// The value of the option.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Source::Bpf => "bpf",
            Source::Proc => "proc",
        }
    }

    /// The collector in the table.
    pub(crate) fn observer(self) -> &'static str {
        match self {
            Source::Bpf => "psstat-tcollector, by BPF",
            Source::Proc => "psstat-tcollector",
        }
    }
}

/// A part of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The sampler without matcher and encoder
    Sampler,
    /// The collector
    Collector,
    /// The counts of system calls
    Syscalls,
    /// prometheus-process-exporter
    ProcessExporter,
    /// netdata's apps.plugin
    Netdata,
    /// pidstat
    Pidstat,
    /// A plain Python script
    Python,
    /// The OpenTelemetry collector's process scraper
    Otel,
    /// A Python script with psutil: minutes per cycle
    Psutil,
}

impl Options {
    pub(crate) fn spec(&self) -> Spec {
        Spec {
            processes: self.processes,
            matched: self.matched.unwrap_or(self.processes),
            images: self.images,
            fds: self.fds,
            tcp: self.tcp,
            udp: self.udp,
            unix: self.unix,
            active: self.busy,
            replaced: self.socket_churn,
        }
    }

    pub(crate) fn has(&self, part: Part) -> bool {
        !self.without.contains(&part)
    }

    pub(crate) fn has_peer(&self, peer: Peer) -> bool {
        self.has(match peer {
            Peer::Netdata => Part::Netdata,
            Peer::Pidstat => Part::Pidstat,
            Peer::Python => Part::Python,
            Peer::ProcessExporterLean | Peer::ProcessExporter => Part::ProcessExporter,
            Peer::OtelHostmetrics => Part::Otel,
            Peer::Psutil => Part::Psutil,
        })
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs(self.interval)
    }
}

//! What can be chosen.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::population::{Busy, Spec};

/// Measure psstat beside the kernel's floor and other tools, on processes made for it.
///
/// Needs root, to read all that psstat reads, and nothing else that keeps the machine busy. The
/// tools are run where they are installed: prometheus-process-exporter, netdata's apps.plugin,
/// pidstat, python3-psutil; system calls are counted by strace.
///
/// The floor is a bare loop over the reads that every cycle of psstat makes of every process and of
/// the socket tables. It has no listing of /proc, which psstat makes whole in some cycles only;
/// the ratio to a floor that lists in each is beside it. Ratios are of medians and of means, which a
/// dear cycle now and then moves; the worse for psstat is shown, and judged: exits 1 if a bound
/// that is printed is missed. Peers that are not installed are not judged.
///
/// As they come the processes do nothing, which spares psstat what it does for those that have run:
/// command lines and links of descriptors in turn. --busy and --socket-churn make them do that. The
/// floor has none of what changes cost, so its bound is for a steady state: with --churn or
/// --socket-churn it is not judged.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Processes to make
    #[arg(long, default_value_t = 2000)]
    pub(crate) processes: u64,

    /// How many of them belong to an image [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) matched: Option<u64>,

    /// Images, each with a rule
    #[arg(long, default_value_t = 50)]
    pub(crate) images: u64,

    /// Descriptors of each process
    #[arg(long, default_value_t = 34)]
    pub(crate) descriptors: u64,

    /// Established tcp sockets in all
    #[arg(long, default_value_t = 8000)]
    pub(crate) tcp: u64,

    /// Connected udp sockets in all
    #[arg(long, default_value_t = 2000)]
    pub(crate) udp: u64,

    /// Connected unix sockets in all
    #[arg(long, default_value_t = 8000)]
    pub(crate) unix: u64,

    /// Further processes, of no image, that start each second and live for one
    #[arg(long, value_name = "PER-SECOND", default_value_t = 0)]
    pub(crate) churn: u64,

    /// How many of the processes run a little, some microseconds each half second: enough to have
    /// their command lines and descriptors looked at in turn
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) busy: u64,

    /// Connections that are closed each second, and made anew by the same process
    #[arg(long, value_name = "PER-SECOND", default_value_t = 0)]
    pub(crate) socket_churn: u64,

    /// Cycles to measure; 40 see every process's descriptors once
    #[arg(long, default_value_t = 40)]
    pub(crate) cycles: u32,

    /// Cycles before these
    #[arg(long, default_value_t = 12)]
    pub(crate) warm_up: u32,

    /// Seconds from one cycle to the next
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(2..))]
    pub(crate) interval: u64,

    /// The collector to measure [default: psstat-tcollector beside this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) psstat: Option<PathBuf>,

    /// Leave something out; may be repeated
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) without: Vec<Part>,

    /// Instead of the other tools, the curve of psstat and the floor: from 500 to 8,000 processes,
    /// from 0 to 100,000 descriptors, and by churn; with another --processes than 2,000 all in
    /// proportion. Exits 1 if a process costs a quarter more among many than among few
    #[arg(long, conflicts_with_all = ["flood", "dedup"])]
    pub(crate) scale: bool,

    /// Instead of all comparing: let so many processes begin and end as fast as they can, and show
    /// the collector's memory before and after. Before is after 20,000 others, which bring in what
    /// any flood needs. A million takes some minutes
    #[arg(long, value_name = "FORKS", conflicts_with = "dedup")]
    pub(crate) flood: Option<u64>,

    /// Instead of all comparing: keep every other image busy, and show how many of the points
    /// tcollector's dedup would keep back, the cycles taken as 15 s apart
    #[arg(long, conflicts_with_all = ["busy", "socket_churn"])]
    pub(crate) dedup: bool,
}

/// What can be left out of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The sampler by itself
    Sampler,
    /// The collector
    Collector,
    /// The counting of system calls
    Syscalls,
    /// prometheus-process-exporter
    ProcessExporter,
    /// netdata's apps.plugin
    Netdata,
    /// pidstat
    Pidstat,
    /// A plain Python script
    Python,
    /// A Python script with psutil: minutes a cycle
    Psutil,
}

impl Options {
    pub(crate) fn spec(&self) -> Spec {
        Spec {
            processes: self.processes,
            matched: self.matched.unwrap_or(self.processes),
            images: self.images,
            descriptors: self.descriptors,
            tcp: self.tcp,
            udp: self.udp,
            unix: self.unix,
            busy: if self.dedup { Busy::EveryOtherImage } else { Busy::Some(self.busy) },
            replaced: self.socket_churn,
        }
    }

    pub(crate) fn has(&self, part: Part) -> bool {
        !self.without.contains(&part)
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs(self.interval)
    }
}

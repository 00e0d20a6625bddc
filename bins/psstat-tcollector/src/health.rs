//! Metrics of the collector itself.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use psstat_proc_parse::Statm;
use psstat_support::clock::process_cpu_time;
use rustix::fs::{Mode, OFlags};

use crate::privileges::Capabilities;

/// The values of one cycle that describe the collector itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SelfMetrics {
    /// CPU time since the previous points, milliseconds.
    pub(crate) cpu_milliseconds: f64,
    /// Duration of the cycle including its window, milliseconds.
    pub(crate) wall_milliseconds: f64,
    /// Invalid lines of the config file.
    pub(crate) bad_lines: u64,
    /// The active rules are those of the current config file.
    pub(crate) conf_loaded: bool,
    /// Active rules.
    pub(crate) rules: u64,
    /// Active rules that have exceeded their step limit.
    pub(crate) step_limited_rules: u64,
    /// Panics since the start. Each aborted a cycle or a load of the config file.
    pub(crate) panics: u64,
    /// Resident memory, bytes; `None` if it cannot be read.
    pub(crate) rss: Option<u64>,
    /// Cycles skipped since the start, because the output was blocked or the host suspended.
    pub(crate) skipped_cycles: u64,
    /// The effective capabilities.
    pub(crate) capabilities: Capabilities,
}

/// Measures the resource usage of the collector itself.
#[derive(Debug)]
pub(crate) struct SelfMeter {
    /// The start of the cycle.
    start: Instant,
    /// CPU time that previous points have reported.
    reported_cpu: Duration,
    /// `/proc/self/statm`, kept open because it is read in every cycle.
    statm: Option<OwnedFd>,
}

impl SelfMeter {
    /// Starts at the start of the program: the first points report all CPU time since then.
    pub(crate) fn new() -> SelfMeter {
        SelfMeter { start: Instant::now(), reported_cpu: Duration::ZERO, statm: None }
    }

    /// Marks the start of a cycle.
    pub(crate) fn begin(&mut self) {
        self.start = Instant::now();
    }

    /// Updates CPU time, duration and memory. The CPU time is that of all threads since the
    /// previous call, so the time spent after the points of a cycle (encoding, writing, reading
    /// the config file) is part of the next points.
    pub(crate) fn read(&mut self, metrics: &mut SelfMetrics) {
        let cpu = process_cpu_time();
        metrics.cpu_milliseconds = cpu.saturating_sub(self.reported_cpu).as_secs_f64() * 1e3;
        self.reported_cpu = cpu;
        metrics.wall_milliseconds = self.start.elapsed().as_secs_f64() * 1e3;
        metrics.rss = self.rss();
    }

    /// Resident memory of this process in bytes; `None` without a procfs.
    fn rss(&mut self) -> Option<u64> {
        let statm = match self.statm.take() {
            Some(statm) => statm,
            None => rustix::fs::open(
                "/proc/self/statm",
                OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .ok()?,
        };
        let mut buffer = [0; 256];
        let read = rustix::io::pread(&statm, &mut buffer, 0).ok()?;
        let resident = Statm::parse(buffer.get(..read)?).ok()?.resident;
        self.statm = Some(statm);
        Some(resident.to_bytes(rustix::param::page_size() as u64))
    }
}

impl Default for SelfMeter {
    fn default() -> SelfMeter {
        SelfMeter::new()
    }
}

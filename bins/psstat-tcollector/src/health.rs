//! What the collector knows of itself.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use psstat_proc_parse::Statm;
use psstat_support::clock::process_cpu_time;
use rustix::fs::{Mode, OFlags};

use crate::privileges::Capabilities;

/// The collector's own numbers of a cycle.
#[derive(Clone, Copy, Debug, Default)]
pub struct SelfMetrics {
    /// CPU time since the last points, milliseconds.
    pub cpu_milliseconds: f64,
    /// Duration of the cycle, window included, milliseconds.
    pub wall_milliseconds: f64,
    /// Bad lines of the conf.
    pub bad_lines: u64,
    /// The rules in force are those of the conf as it is.
    pub conf_loaded: bool,
    /// Rules in force.
    pub rules: u64,
    /// Rules that have hit their step limit.
    pub limited_rules: u64,
    /// Defects since the start, each of which cost a cycle or a reading of the
    /// conf.
    pub panics: u64,
    /// Resident memory, bytes; `None` if it cannot be read.
    pub rss: Option<u64>,
    /// Cycles left out since the start, because the reader or the machine
    /// stood still.
    pub late: u64,
    /// The capabilities that it has.
    pub fds_held: Capabilities,
}

/// Measures what the collector itself takes.
#[derive(Debug)]
pub struct SelfMeter {
    /// When the cycle began.
    began: Instant,
    /// CPU time that the points have told of.
    told: Duration,
    /// Kept, since it is read in every cycle.
    statm: Option<OwnedFd>,
}

impl SelfMeter {
    /// Nothing was told yet of what was used since the start of the program.
    pub fn new() -> SelfMeter {
        SelfMeter { began: Instant::now(), told: Duration::ZERO, statm: None }
    }

    /// A cycle begins.
    pub fn begin(&mut self) {
        self.began = Instant::now();
    }

    /// Puts its numbers among the collector's own. The CPU time is that of all
    /// threads since the last time, so that what follows a cycle's points (their
    /// encoding, their write, looks at the conf) is in those of the next one.
    pub fn read(&mut self, own: &mut SelfMetrics) {
        let cpu = process_cpu_time();
        own.cpu_milliseconds = cpu.saturating_sub(self.told).as_secs_f64() * 1e3;
        self.told = cpu;
        own.wall_milliseconds = self.began.elapsed().as_secs_f64() * 1e3;
        own.rss = self.rss();
    }

    /// The own resident memory in bytes; nothing without a procfs.
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
        Some(resident * rustix::param::page_size() as u64)
    }
}

impl Default for SelfMeter {
    fn default() -> SelfMeter {
        SelfMeter::new()
    }
}

//! What the collector knows of itself.

use std::time::{Duration, Instant};

use psstat_proc_parse::Statm;
use rustix::time::{ClockId, clock_gettime};

use crate::rights::Held;

/// The collector's own numbers of a cycle.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnHealth {
    /// CPU time of the cycle, milliseconds.
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
    /// Resident memory, bytes.
    pub rss: u64,
    /// Cycles left out since the start, because the reader or the machine
    /// stood still.
    pub late: u64,
    /// The capabilities that it has.
    pub held: Held,
}

/// Measures what a cycle costs.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    wall: Instant,
    cpu: Duration,
}

impl Meter {
    /// Starts measuring.
    pub fn start() -> Meter {
        Meter { wall: Instant::now(), cpu: own_cpu() }
    }

    /// Milliseconds since: CPU time of all threads, and time.
    pub fn read(&self) -> (f64, f64) {
        let cpu = own_cpu().saturating_sub(self.cpu);
        (cpu.as_secs_f64() * 1e3, self.wall.elapsed().as_secs_f64() * 1e3)
    }
}

fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// The own resident memory in bytes; 0 without a procfs.
pub fn own_rss() -> u64 {
    let mut buffer = [0; 256];
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let read = rustix::fs::open("/proc/self/statm", flags, rustix::fs::Mode::empty())
        .and_then(|file| rustix::io::read(&file, &mut buffer))
        .unwrap_or(0);
    let statm = Statm::parse(buffer.get(..read).unwrap_or_default());
    statm.map_or(0, |statm| statm.resident * rustix::param::page_size() as u64)
}

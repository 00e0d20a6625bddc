//! The collector under test: its cycles, its log, the resources that it holds.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use psstat_testproc::formats::tsd;
use psstat_testproc::oracle;
use rustix::process::{Pid, Signal};

use crate::observer::{self, Running};
use crate::reads::Reads;
use crate::stop::Stop;
use crate::{Result, child_modes};

/// The last line of each cycle contains one of these: the name in this version, and in those
/// before 0.1.0.
pub(crate) const CYCLE_END: &[&str] =
    &["proc.stat.ps.collector.skipped_cycles ", "proc.stat.ps.collector.late "];
/// Former names of series, for older collectors.
const RENAMED: [(&str, &str); 2] =
    [("collector.seen", "collector.processes"), ("collector.late", "collector.skipped_cycles")];
/// The variable of the collector's option `--source`. The experiments are on reads from /proc, except
/// where it is set otherwise.
pub(crate) const SOURCE: &str = "PSSTAT_SOURCE";
/// The variable of its option `--bpf-ring`.
const RING: &str = "PSSTAT_BPF_RING";
/// How long to wait for a cycle.
const CYCLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A running collector; killed when dropped, and when this program exits.
#[derive(Debug)]
pub(crate) struct Collector {
    running: Running,
    log: Receiver<String>,
    /// The lines of the previous cycle.
    previous: Vec<String>,
    previous_at: Option<Instant>,
}

/// A printed cycle.
#[derive(Debug)]
pub(crate) struct Cycle {
    /// By metric, without its prefix, and tags: `io image=web type=rchar`.
    values: BTreeMap<String, String>,
    /// Time since the previous cycle.
    pub(crate) gap: Duration,
    /// Open file descriptors of the collector.
    pub(crate) fds: usize,
    /// Resident memory of the collector in bytes.
    pub(crate) resident: u64,
    /// CPU time of the collector up to the end of the cycle.
    pub(crate) cpu: Duration,
    /// Why tcollector would reject a line of the cycle.
    pub(crate) rejected: Option<String>,
}

impl Cycle {
    /// A cycle with these values.
    #[cfg(test)]
    pub(crate) fn of(values: &[(&str, u64)]) -> Cycle {
        let values = values.iter().map(|&(series, value)| (series.to_owned(), value.to_string()));
        Cycle {
            values: values.collect(),
            gap: Duration::from_secs(1),
            fds: 20,
            resident: 4 << 20,
            cpu: Duration::ZERO,
            rejected: None,
        }
    }

    /// An integer, if the series is present.
    pub(crate) fn get(&self, series: &str) -> Option<u64> {
        self.values.get(series)?.parse().ok()
    }

    /// Whether a series is present.
    pub(crate) fn has(&self, series: &str) -> bool {
        self.values.contains_key(series)
    }

    /// A number, if the series is present.
    pub(crate) fn number(&self, series: &str) -> Option<f64> {
        self.values.get(series)?.parse().ok()
    }

    /// The series that never decrease, with their values.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (&str, u64)> {
        let series = self.values.keys().filter(|series| {
            series.starts_with("io ")
                || ["collector.panics", "collector.skipped_cycles"].contains(&series.as_str())
        });
        series.filter_map(|series| Some((series.as_str(), self.get(series)?)))
    }

    /// The images that have points.
    pub(crate) fn images(&self) -> Vec<&str> {
        self.values.keys().filter_map(|series| series.strip_prefix("procs image=")).collect()
    }
}

impl Collector {
    /// Starts a collector with this fd budget and this number of seconds per cycle.
    pub(crate) fn start(
        program: &Path,
        config: &Path,
        fd_budget: usize,
        interval: u64,
        reads: &Reads,
    ) -> Result<Collector> {
        let mut command = Command::new(program);
        command.env(SOURCE, &reads.source).env_remove(RING);
        command.envs(reads.bpf_ring.map(|kib| (RING, kib.to_string())));
        command.arg("--conf").arg(config);
        command.args(["--interval", &interval.to_string()]);
        command.args(["--descriptors", &fd_budget.to_string()]);
        let mut command = child_modes::bound(&command);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut running = Running::spawn(command, CYCLE_END)?;
        let stderr = running.child().stderr.take().ok_or("no stderr")?;
        Ok(Collector {
            running,
            log: observer::lines(stderr),
            previous: Vec::new(),
            previous_at: None,
        })
    }

    /// Waits for the next cycle.
    pub(crate) fn next(&mut self, stop: &Stop) -> Result<Cycle> {
        let marker = match self.running.next(CYCLE_TIMEOUT, stop) {
            Ok(marker) => marker,
            Err(error) => {
                stop.check()?;
                return Err(format!("{error}: {}", self.exit_report()).into());
            }
        };
        // Timestamps and the order of tags are checked across two adjacent cycles.
        let both = self.previous.iter().chain(&marker.lines);
        let (rejected, points) = match tsd::parse_stream(both) {
            Ok(points) => (None, points),
            Err(reason) => (Some(reason), Vec::new()),
        };
        let values = points.into_iter().skip(self.previous.len()).map(|point| {
            let tags = point.tags.iter().map(|(key, tag)| format!(" {key}={tag}"));
            let metric = point.metric.strip_prefix("proc.stat.ps.").unwrap_or(&point.metric);
            let renamed = RENAMED.iter().find(|(former, _)| *former == metric);
            let metric = renamed.map_or(metric, |(_, name)| name);
            (format!("{metric}{}", tags.collect::<String>()), point.printed())
        });
        let values = values.collect();
        self.previous = marker.lines;
        let now = Instant::now();
        let gap = self.previous_at.replace(now).map_or(Duration::ZERO, |previous| now - previous);
        let resident = oracle::memory(self.pid())?.resident;
        Ok(Cycle { values, gap, fds: self.fds()?, resident, cpu: marker.cpu, rejected })
    }

    /// Whether another cycle has been printed already.
    pub(crate) fn has_next(&mut self) -> bool {
        self.running.has_next()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// The number of open file descriptors.
    pub(crate) fn fds(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.pid()))?.count())
    }

    /// The lines logged since the last call.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.try_iter().collect()
    }

    /// Makes it reload its config.
    pub(crate) fn send_sighup(&mut self) -> Result<()> {
        Ok(rustix::process::kill_process(Pid::from_child(self.running.child()), Signal::HUP)?)
    }

    /// Terminates it; whether it exited with status 0.
    pub(crate) fn terminate(mut self) -> Result<bool> {
        let child = self.running.child();
        rustix::process::kill_process(Pid::from_child(child), Signal::TERM)?;
        Ok(child.wait()?.success())
    }

    fn exit_report(&mut self) -> String {
        let status = match self.running.child().try_wait() {
            Ok(Some(status)) => status.to_string(),
            Ok(None) => "still running".to_owned(),
            Err(error) => error.to_string(),
        };
        format!("the collector: {status}\n{}", self.log().join("\n"))
    }
}

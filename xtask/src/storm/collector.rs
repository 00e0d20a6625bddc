//! The collector under test, its cycles, and what it holds.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use psstat_testproc::oracle;
use rustix::process::{Pid, Signal};

use crate::stop::Stop;
use crate::{Result, helpers};

/// What the last line of each cycle has.
const LAST: &str = "proc.stat.ps.collector.late ";
/// How long a cycle may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A collector that runs; ended when dropped, and with xtask.
#[derive(Debug)]
pub(crate) struct Collector {
    child: Child,
    cycles: Receiver<Vec<String>>,
    /// How many cycles it has printed, and how many of them were taken.
    printed: Arc<AtomicUsize>,
    taken: usize,
    log: Receiver<String>,
    /// The cycle before, as it was printed.
    before: Vec<String>,
    came: Option<Instant>,
}

/// A cycle that was printed.
#[derive(Debug)]
pub(crate) struct Cycle {
    /// By metric, without its prefix, and tags: `io image=web type=rchar`.
    values: BTreeMap<String, String>,
    /// Time since the one before.
    pub(crate) gap: Duration,
    /// Descriptors of the collector.
    pub(crate) descriptors: usize,
    /// Its resident memory, bytes.
    pub(crate) resident: u64,
    /// Why a line of it would not be taken.
    pub(crate) refused: Option<String>,
}

impl Cycle {
    /// A cycle with these values and nothing else that is noteworthy.
    #[cfg(test)]
    pub(crate) fn of(values: &[(&str, u64)]) -> Cycle {
        let values = values.iter().map(|&(series, value)| (series.to_owned(), value.to_string()));
        Cycle {
            values: values.collect(),
            gap: Duration::from_secs(1),
            descriptors: 20,
            resident: 4 << 20,
            refused: None,
        }
    }

    /// A whole number, if it is there.
    pub(crate) fn get(&self, series: &str) -> Option<u64> {
        self.values.get(series)?.parse().ok()
    }

    /// Whether it has a series, whatever its value is.
    pub(crate) fn has(&self, series: &str) -> bool {
        self.values.contains_key(series)
    }

    /// A number that may have decimals, if it is there.
    pub(crate) fn number(&self, series: &str) -> Option<f64> {
        self.values.get(series)?.parse().ok()
    }

    /// The series that only grow, with their values.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (&str, u64)> {
        let series = self.values.keys().filter(|series| {
            series.starts_with("io ") && !series.ends_with("cancelled_write_bytes")
                || ["collector.panics", "collector.late"].contains(&series.as_str())
        });
        series.filter_map(|series| Some((series.as_str(), self.get(series)?)))
    }

    /// The images that have points.
    pub(crate) fn images(&self) -> Vec<&str> {
        self.values.keys().filter_map(|series| series.strip_prefix("procs image=")).collect()
    }
}

impl Collector {
    /// Starts one with so many descriptors to keep and seconds from cycle to
    /// cycle.
    pub(crate) fn start(
        program: &Path,
        conf: &Path,
        budget: usize,
        interval: u64,
    ) -> Result<Collector> {
        let mut command = helpers::command(helpers::BOUND);
        command.arg(program).arg("--conf").arg(conf);
        command.args(["--interval", &interval.to_string(), "--descriptors", &budget.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (cycle, cycles) = channel();
        let mut lines = Vec::new();
        let printed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&printed);
        follow(out.ok_or("no stdout")?, move |line| {
            let last = line.starts_with(LAST);
            lines.push(line);
            count.fetch_add(usize::from(last), Ordering::Relaxed);
            !last || cycle.send(std::mem::take(&mut lines)).is_ok()
        });
        let (line, log) = channel();
        follow(err.ok_or("no stderr")?, move |text| line.send(text).is_ok());
        Ok(Collector { child, cycles, printed, taken: 0, log, before: Vec::new(), came: None })
    }

    /// Waits for the next cycle.
    pub(crate) fn next(&mut self, stop: &Stop) -> Result<Cycle> {
        let deadline = Instant::now() + PATIENCE;
        let lines = loop {
            stop.check()?;
            match self.cycles.recv_timeout(Duration::from_millis(50)) {
                Ok(lines) => break lines,
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => return Err("the collector is silent".into()),
                Err(RecvTimeoutError::Disconnected) => return Err(self.epitaph().into()),
            }
        };
        self.taken += 1;
        // Time and order of tags are those of two cycles beside each other.
        let both = self.before.iter().chain(&lines);
        let (refused, points) = match oracle::check_stream(both) {
            Ok(points) => (None, points),
            Err(why) => (Some(why), Vec::new()),
        };
        let values = points.into_iter().skip(self.before.len()).map(|point| {
            let tags = point.tags.iter().map(|(key, tag)| format!(" {key}={tag}"));
            let metric = point.metric.strip_prefix("proc.stat.ps.").unwrap_or(&point.metric);
            (format!("{metric}{}", tags.collect::<String>()), point.value)
        });
        let values = values.collect();
        self.before = lines;
        let now = Instant::now();
        let gap = self.came.replace(now).map_or(Duration::ZERO, |before| now - before);
        let descriptors = self.descriptors()?;
        let resident = oracle::memory(self.child.id())?.resident;
        Ok(Cycle { values, gap, descriptors, resident, refused })
    }

    /// Whether the last cycle taken is not the last one printed.
    pub(crate) fn has_more(&self) -> bool {
        self.printed.load(Ordering::Relaxed) > self.taken
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many descriptors it has open now.
    pub(crate) fn descriptors(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// What it has logged since the last time.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.try_iter().collect()
    }

    /// Tells it to read the conf again.
    pub(crate) fn hup(&self) -> Result<()> {
        Ok(rustix::process::kill_process(Pid::from_child(&self.child), Signal::HUP)?)
    }

    /// Tells it to end; whether it did with status 0.
    pub(crate) fn end(mut self) -> Result<bool> {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        Ok(self.child.wait()?.success())
    }

    fn epitaph(&mut self) -> String {
        let status = self.child.wait().map_or_else(|error| error.to_string(), |s| s.to_string());
        format!("the collector has ended ({status}):\n{}", self.log().join("\n"))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Hands out a stream's lines in a thread of its own, until `take` wants no more.
fn follow(
    stream: impl Read + Send + 'static,
    mut take: impl FnMut(String) -> bool + Send + 'static,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { return };
            // Not UTF-8 is refused with the line.
            if !take(String::from_utf8_lossy(&line).into_owned()) {
                return;
            }
        }
    });
}

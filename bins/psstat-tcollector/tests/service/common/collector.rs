//! A collector that a test runs.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use psstat_testproc::oracle;
use rustix::process::{Pid, Signal};

use super::cycle::{self, Cycle};
use super::lines::{Line, Lines};
use super::{PROGRAM, TIMEOUT, until};

/// How to run a collector: with an empty environment, a thread that reads its stdout, and a check
/// of its lines against tcollector's rules.
#[derive(Debug)]
pub(crate) struct Setup {
    command: Command,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    are_points: bool,
}

impl Setup {
    /// No options.
    pub(crate) fn bare() -> Setup {
        Setup::of(Command::new(PROGRAM))
    }

    /// This config file, and cycles of one second unless an option sets another interval.
    pub(crate) fn with(conf: &Path) -> Setup {
        Setup::bare().env("PSSTAT_INTERVAL", "1").arg("--conf").arg(conf)
    }

    /// Another command, which executes the collector.
    pub(crate) fn of(mut command: Command) -> Setup {
        command.env_clear().stdin(Stdio::null());
        // So that its counters can be compared with the kernel's.
        command.env("PSSTAT_TEST_IO_START", "process");
        // Most tests are on what does not depend on it; to load the program takes a second of CPU time
        // without optimization. `by_default` uses it where the collector does.
        command.env("PSSTAT_SOURCE", "proc");
        Setup { command, stdout: None, stderr: None, are_points: true }
    }

    /// I/O counters begin with the collector, as they do for users.
    pub(crate) fn io_since_start(self) -> Setup {
        self.env("PSSTAT_TEST_IO_START", "collector")
    }

    /// Reads processes as it does for users: by BPF where that works.
    pub(crate) fn by_default(mut self) -> Setup {
        self.command.env_remove("PSSTAT_SOURCE");
        self
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Setup {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Setup {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Setup {
        self.command.env(name, value);
        self
    }

    /// Redirects stdout from the reader.
    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Setup {
        self.stdout = Some(stdout.into());
        self
    }

    /// Redirects stderr from the reader.
    pub(crate) fn stderr(mut self, stderr: impl Into<Stdio>) -> Setup {
        self.stderr = Some(stderr.into());
        self
    }

    /// Prints another format than tcollector's lines.
    pub(crate) fn other_format(mut self, format: &str) -> Setup {
        self.command.args(["--format", format]);
        self.are_points = false;
        self
    }

    pub(crate) fn spawn(mut self) -> Collector {
        self.command.stdout(self.stdout.unwrap_or_else(Stdio::piped));
        self.command.stderr(self.stderr.unwrap_or_else(Stdio::piped));
        let begun = Instant::now();
        let mut child = self.command.spawn().unwrap();
        let mut readers = Vec::new();
        let mut follow = |stream: Option<Box<dyn Read + Send>>| match stream {
            Some(stream) => {
                let (lines, thread) = Lines::follow(stream);
                readers.push(thread);
                lines
            }
            None => Arc::default(),
        };
        let log = follow(child.stderr.take().map(|stderr| Box::new(stderr) as _));
        let output = follow(child.stdout.take().map(|stdout| Box::new(stdout) as _));
        Collector { child, output, log, readers, are_points: self.are_points, begun, ended: None }
    }
}

/// A collector that runs or has exited. Dropping it kills and reaps it.
#[derive(Debug)]
pub(crate) struct Collector {
    child: Child,
    output: Arc<Lines>,
    log: Arc<Lines>,
    readers: Vec<JoinHandle<()>>,
    are_points: bool,
    begun: Instant,
    ended: Option<Option<i32>>,
}

impl Collector {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the first `count` cycles; returns all cycles so far.
    pub(crate) fn cycles(&self, count: usize) -> Vec<Cycle> {
        self.output.wait(&format!("{count} cycles"), |lines| {
            let texts = || lines.iter().map(|line| line.text.as_str());
            (cycle::count(texts()) >= count).then(|| cycle::parse_cycles(texts()))
        })
    }

    /// The number of complete cycles.
    pub(crate) fn count(&self) -> usize {
        let lines = self.output.snapshot();
        cycle::count(lines.iter().map(|line| line.text.as_str()))
    }

    /// Waits for a cycle that starts and ends from now on. Cycles are identified by their
    /// timestamps: on a busy machine, earlier ones may not have been read yet. The timestamp of a
    /// late cycle can be that of the next second.
    pub(crate) fn next_cycle(&self) -> Cycle {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let first = self.cycle("a cycle that ends from now on", |cycle| cycle.time > now + 1);
        self.cycle("the one after it", |cycle| cycle.time > first.time)
    }

    /// Asserts that each cycle so far was on time: one second after the previous one, plus the
    /// delay that other load on the machine may cause.
    pub(crate) fn assert_on_time(&self) {
        cycle::assert_on_time(&self.parse_output());
    }

    /// The number of cycles that were read in an interval.
    pub(crate) fn count_between(&self, from: Instant, to: Instant) -> usize {
        let mut lines = self.output.snapshot();
        lines.retain(|line| (from..=to).contains(&line.at));
        cycle::count(lines.iter().map(|line| line.text.as_str()))
    }

    /// Waits for a cycle that satisfies a condition.
    pub(crate) fn cycle(&self, what: &str, is_expected: impl Fn(&Cycle) -> bool) -> Cycle {
        self.output.wait(what, |lines| {
            // A cycle is one write: it is parsed once its last line is there.
            let last = lines.last().is_some_and(|line| cycle::count([&*line.text].into_iter()) > 0);
            let cycles =
                last.then(|| cycle::parse_cycles(lines.iter().map(|line| line.text.as_str())));
            cycles.and_then(|cycles| cycles.into_iter().rev().find(&is_expected))
        })
    }

    /// The lines printed so far.
    pub(crate) fn printed(&self) -> Vec<String> {
        self.output.snapshot().into_iter().map(|line| line.text).collect()
    }

    /// The lines logged so far, except those that the processes of other tests can cause: their
    /// very long command lines can count as blocked, or exceed the budget of a cycle.
    pub(crate) fn log(&self) -> Vec<String> {
        let others = ["blocks; skipping its files", "too many reads are", "the budget of a cycle"];
        let lines = self.logged("").into_iter();
        lines.filter(|line| !others.iter().any(|other| line.contains(other))).collect()
    }

    /// The logged lines that contain a text.
    pub(crate) fn logged(&self, text: &str) -> Vec<String> {
        let lines = self.log.snapshot().into_iter().map(|line| line.text);
        lines.filter(|line| line.contains(text)).collect()
    }

    /// Waits for the `count`th logged line that contains a text.
    pub(crate) fn wait_for_log(&self, count: usize, text: &str) -> Line {
        self.log.wait(&format!("{count} log lines with {text:?}"), |lines| {
            lines.iter().filter(|line| line.text.contains(text)).nth(count - 1).cloned()
        })
    }

    /// Waits until rules have been loaded `count` times; returns the time of that.
    pub(crate) fn wait_loaded(&self, count: usize) -> Instant {
        self.wait_for_log(count, ": loaded ").at
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Stops the collector in the middle of a window, when it is not writing a cycle, and returns
    /// the number of complete cycles.
    pub(crate) fn stop_in_window(&self) -> usize {
        loop {
            let count = self.count();
            self.cycles(count + 1);
            let begin = Instant::now();
            std::thread::sleep(Duration::from_millis(300));
            self.signal(Signal::STOP);
            until("it has stopped", || oracle::state(self.pid()).unwrap() == 'T');
            // On a busy machine, the stop may have taken longer than the window.
            if begin.elapsed() < Duration::from_millis(700) {
                return self.count();
            }
            self.signal(Signal::CONT);
        }
    }

    /// Waits for the exit and returns the status, or `None` after a signal.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + TIMEOUT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(2));
        };
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        self.ended = Some(status);
        status
    }

    /// Waits for the successful exit of a collector that prints this number of cycles, one second
    /// apart, while its output is not read.
    pub(crate) fn finish_on_time(&mut self, cycles: u64) {
        assert_eq!(self.end(), Some(0), "{:#?}", self.log());
        assert!(self.begun.elapsed() < Duration::from_secs(cycles) + cycle::MAX_DELAY);
    }

    /// Waits for the exit, which must be successful, and returns the cycles.
    pub(crate) fn finish(&mut self) -> Vec<Cycle> {
        assert_eq!(self.end(), Some(0), "{:#?}", self.log());
        self.parse_output()
    }

    /// The complete cycles of a collector that has exited with any status.
    pub(crate) fn finished(&self) -> Vec<Cycle> {
        self.parse_output()
    }

    fn parse_output(&self) -> Vec<Cycle> {
        cycle::parse_cycles(self.output.snapshot().iter().map(|line| line.text.as_str()))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // A stopped process does not handle other signals.
            let _ = self.child.kill();
            let _ = self.child.wait();
            for reader in self.readers.drain(..) {
                let _ = reader.join();
            }
        }
        if !std::thread::panicking() && self.are_points {
            self.parse_output();
        }
    }
}

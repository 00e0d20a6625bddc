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

/// How a collector is to be run: with an empty environment, its stdout read all
/// the time, and its lines held against tcollector's rules.
#[derive(Debug)]
pub(crate) struct Setup {
    command: Command,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    are_points: bool,
}

impl Setup {
    /// Without any option.
    pub(crate) fn bare() -> Setup {
        Setup::of(Command::new(PROGRAM))
    }

    /// With this conf and, unless an option says otherwise, a cycle a second.
    pub(crate) fn with(conf: &Path) -> Setup {
        Setup::bare().env("PSSTAT_INTERVAL", "1").arg("--conf").arg(conf)
    }

    /// Another command, which becomes the collector.
    pub(crate) fn of(mut command: Command) -> Setup {
        command.env_clear().stdin(Stdio::null());
        Setup { command, stdout: None, stderr: None, are_points: true }
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

    /// Writes somewhere else than to the reader.
    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Setup {
        self.stdout = Some(stdout.into());
        self
    }

    /// Logs somewhere else than to the reader.
    pub(crate) fn stderr(mut self, stderr: impl Into<Stdio>) -> Setup {
        self.stderr = Some(stderr.into());
        self
    }

    /// What it prints are not tcollector's lines.
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

/// A collector that runs, or has. Told to end and reaped when dropped.
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

    /// Waits for the first `count` cycles; gives all there are.
    pub(crate) fn cycles(&self, count: usize) -> Vec<Cycle> {
        self.output.wait(&format!("{count} cycles"), |lines| {
            let texts = || lines.iter().map(|line| line.text.as_str());
            (cycle::count(texts()) >= count).then(|| cycle::judge(texts()))
        })
    }

    /// How many cycles came to their end.
    pub(crate) fn count(&self) -> usize {
        let lines = self.output.so_far();
        cycle::count(lines.iter().map(|line| line.text.as_str()))
    }

    /// A cycle that begins and ends from now on. By their times: on a busy machine
    /// one may have come already and not have been read yet.
    pub(crate) fn fresh(&self) -> Cycle {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let first = self.cycle("a cycle that ends from now on", |cycle| cycle.time > now);
        self.cycle("the one after it", |cycle| cycle.time > first.time)
    }

    /// That each cycle so far came when it was due: a second after the one before,
    /// or as much later as a machine with other work to do may make it.
    pub(crate) fn on_time(&self) {
        cycle::on_time(&self.judge());
    }

    /// How many cycles came between two moments.
    pub(crate) fn came_between(&self, from: Instant, to: Instant) -> usize {
        let mut lines = self.output.so_far();
        lines.retain(|line| (from..=to).contains(&line.at));
        cycle::count(lines.iter().map(|line| line.text.as_str()))
    }

    /// Waits for a cycle that is as wanted.
    pub(crate) fn cycle(&self, what: &str, wanted: impl Fn(&Cycle) -> bool) -> Cycle {
        self.output.wait(what, |lines| {
            // A cycle comes by one write: judged once, when its last line is there.
            let last = lines.last().is_some_and(|line| cycle::count([&*line.text].into_iter()) > 0);
            let cycles = last.then(|| cycle::judge(lines.iter().map(|line| line.text.as_str())));
            cycles.and_then(|cycles| cycles.into_iter().rev().find(&wanted))
        })
    }

    /// What it printed so far, line by line.
    pub(crate) fn printed(&self) -> Vec<String> {
        self.output.so_far().into_iter().map(|line| line.text).collect()
    }

    /// What it logged so far, but of processes that block: on a busy machine, those
    /// of other tests with very long command lines count as such.
    pub(crate) fn log(&self) -> Vec<String> {
        let others = ["reading the command line of process", "too many reads are"];
        let lines = self.logged("").into_iter();
        lines.filter(|line| !others.iter().any(|other| line.contains(other))).collect()
    }

    /// The logged lines that have this in them.
    pub(crate) fn logged(&self, text: &str) -> Vec<String> {
        let lines = self.log.so_far().into_iter().map(|line| line.text);
        lines.filter(|line| line.contains(text)).collect()
    }

    /// Waits for the `count`th logged line that has this in it.
    pub(crate) fn hear(&self, count: usize, text: &str) -> Line {
        self.log.wait(&format!("{count} log lines with {text:?}"), |lines| {
            lines.iter().filter(|line| line.text.contains(text)).nth(count - 1).cloned()
        })
    }

    /// Waits for the `count`th time that rules come into force, and tells when
    /// that was.
    pub(crate) fn in_force(&self, count: usize) -> Instant {
        self.hear(count, ": loaded ").at
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Stops it in the middle of a window, when no cycle of it is on its way, and
    /// gives how many there are.
    pub(crate) fn stop_in_a_window(&self) -> usize {
        loop {
            let count = self.count();
            self.cycles(count + 1);
            let begin = Instant::now();
            std::thread::sleep(Duration::from_millis(300));
            self.signal(Signal::STOP);
            until("it has stopped", || oracle::state(self.pid()).unwrap() == 'T');
            // A busy machine may have taken all of the window for that.
            if begin.elapsed() < Duration::from_millis(700) {
                return self.count();
            }
            self.signal(Signal::CONT);
        }
    }

    /// Waits for its end, and gives its status, if it was not a signal.
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

    /// Waits for the good end of one that was to print so many cycles, a second
    /// apart, to where nobody reads them.
    pub(crate) fn finish_on_time(&mut self, cycles: u64) {
        assert_eq!(self.end(), Some(0), "{:#?}", self.log());
        assert!(self.begun.elapsed() < Duration::from_secs(cycles) + cycle::TARDY);
    }

    /// Waits for its end, which must be a good one, and gives its cycles.
    pub(crate) fn finish(&mut self) -> Vec<Cycle> {
        assert_eq!(self.end(), Some(0), "{:#?}", self.log());
        self.judge()
    }

    /// The whole cycles of one that has ended, in whatever way.
    pub(crate) fn finished(&self) -> Vec<Cycle> {
        self.judge()
    }

    fn judge(&self) -> Vec<Cycle> {
        cycle::judge(self.output.so_far().iter().map(|line| line.text.as_str()))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // It may be stopped, and then would not hear anything else.
            let _ = self.child.kill();
            let _ = self.child.wait();
            for reader in self.readers.drain(..) {
                let _ = reader.join();
            }
        }
        if !std::thread::panicking() && self.are_points {
            self.judge();
        }
    }
}

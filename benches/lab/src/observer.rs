//! A running observer: its cycles and their CPU time.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::child_modes::{self, ChildGuard};
use crate::stats::Stats;
use crate::stop::Stop;
use crate::{Result, sys};

/// The end of a cycle.
#[derive(Clone, Debug)]
pub(crate) struct Marker {
    /// CPU time of the observer up to now.
    pub(crate) cpu: Duration,
    /// The lines of the cycle.
    pub(crate) lines: Vec<String>,
}

/// The lines of an output of a child, until its end.
pub(crate) fn lines(output: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(std::result::Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    lines
}

/// An observer that writes to stdout in each cycle. It is killed when dropped, and when this
/// program exits.
#[derive(Debug)]
pub(crate) struct Running {
    child: ChildGuard,
    markers: Receiver<Marker>,
    /// Received ahead of time.
    pending: Option<Marker>,
}

impl Running {
    /// Starts an observer. A line that contains one of `ends` is the last one of a cycle.
    pub(crate) fn start(command: &Command, ends: &'static [&'static str]) -> Result<Running> {
        // Some tools exit when their stdin is closed.
        let mut bound = child_modes::bound(command);
        bound.stdin(Stdio::piped()).stderr(Stdio::null());
        Running::spawn(bound, ends)
    }

    /// The same for a command that is bound to this program already and has its own stderr.
    pub(crate) fn spawn(mut bound: Command, ends: &'static [&'static str]) -> Result<Running> {
        let mut child = ChildGuard(bound.stdout(Stdio::piped()).spawn()?);
        let stdout = child.0.stdout.take().ok_or("no stdout")?;
        let (sender, markers) = channel();
        let pid = child.0.id();
        std::thread::spawn(move || {
            let mut lines = Vec::new();
            for line in BufReader::new(stdout).split(b'\n') {
                let Ok(line) = line else { return };
                let line = String::from_utf8_lossy(&line).into_owned();
                let is_end = ends.iter().any(|end| line.contains(end));
                lines.push(line);
                if is_end {
                    let Ok(cpu) = sys::cpu_nanoseconds(pid) else { return };
                    let lines = std::mem::take(&mut lines);
                    let marker = Marker { cpu: Duration::from_nanos(cpu), lines };
                    if sender.send(marker).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Running { child, markers, pending: None })
    }

    /// Waits for the end of the next cycle.
    pub(crate) fn next(&mut self, timeout: Duration, stop: &Stop) -> Result<Marker> {
        if let Some(marker) = self.pending.take() {
            return Ok(marker);
        }
        let deadline = Instant::now() + timeout;
        loop {
            stop.check()?;
            match self.markers.recv_timeout(Duration::from_millis(50)) {
                Ok(marker) => return Ok(marker),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => return Err("a cycle takes too long".into()),
                Err(RecvTimeoutError::Disconnected) => return Err("the observer exited".into()),
            }
        }
    }

    /// Whether another cycle has ended already.
    pub(crate) fn has_next(&mut self) -> bool {
        if self.pending.is_none() {
            self.pending = self.markers.try_recv().ok();
        }
        self.pending.is_some()
    }

    /// Waits for this number of cycles; returns their ends.
    pub(crate) fn pass(
        &mut self,
        cycles: u32,
        timeout: Duration,
        stop: &Stop,
    ) -> Result<Vec<Marker>> {
        let mut ends = Vec::new();
        for cycle in 1..=cycles {
            let end = self.next(timeout, stop);
            ends.push(end.map_err(|error| format!("cycle {cycle}: {error}"))?);
        }
        Ok(ends)
    }

    /// CPU time per cycle over `cycles` cycles after `warm_up`, and the end of the last one.
    pub(crate) fn measure(
        &mut self,
        warm_up: u32,
        cycles: u32,
        timeout: Duration,
        stop: &Stop,
    ) -> Result<(Stats, Marker)> {
        let warm_up = warm_up.max(1);
        let mut ends = self.pass(warm_up, timeout, stop)?.split_off(warm_up as usize - 1);
        ends.extend(self.pass(cycles.max(1), timeout, stop)?);
        let readings: Vec<_> = ends.iter().map(|end| end.cpu).collect();
        let last = ends.pop().ok_or("no cycle")?;
        Ok((Stats::between(&readings), last))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// The process.
    pub(crate) fn child(&mut self) -> &mut std::process::Child {
        &mut self.child.0
    }
}

//! Runs an observer and measures what its cycles cost.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::population::Truth;
use super::spread::Spread;
use crate::stop::Stop;
use crate::{Result, helpers, sys};

/// The end of a cycle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// CPU time of the observer until then.
    pub(crate) cpu: Duration,
    /// What it said of the population, if it is psstat.
    pub(crate) found: Truth,
}

/// An observer that writes something to stdout each cycle. It is ended when
/// dropped, and with xtask.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    marks: Receiver<Mark>,
}

impl Running {
    /// Starts one, [`bound`] to xtask. A cycle ends with each line of its
    /// stdout that holds `marker`.
    pub(crate) fn start(mut command: Command, marker: &'static str) -> Result<Running> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().ok_or("no stdout")?;
        let (sender, marks) = channel();
        let pid = child.id();
        std::thread::spawn(move || {
            let mut found = Truth::default();
            each_line(out, |line| {
                found.hear(line);
                if !contains(line, marker.as_bytes()) {
                    return true;
                }
                let Ok(cpu) = sys::cpu_nanoseconds(pid) else { return false };
                let mark = Mark { cpu: Duration::from_nanos(cpu), found };
                found = Truth::default();
                sender.send(mark).is_ok()
            });
        });
        Ok(Running { child, marks })
    }

    /// What so many cycles cost, and the last one's end.
    pub(crate) fn measure(
        &self,
        warm_up: u32,
        cycles: u32,
        patience: Duration,
        stop: &Stop,
    ) -> Result<(Spread, Mark)> {
        let mut ends =
            self.pass(warm_up.max(1), patience, stop)?.split_off(warm_up.max(1) as usize - 1);
        ends.extend(self.pass(cycles.max(1), patience, stop)?);
        let readings: Vec<_> = ends.iter().map(|end| end.cpu).collect();
        let last = ends.pop().ok_or("no cycle")?;
        Ok((Spread::between(&readings), last))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for so many cycles to end, and gives their ends.
    pub(crate) fn pass(&self, cycles: u32, patience: Duration, stop: &Stop) -> Result<Vec<Mark>> {
        let mut ends = Vec::new();
        for cycle in 1..=cycles {
            let until = Instant::now() + patience;
            ends.push(loop {
                stop.check()?;
                match self.marks.recv_timeout(Duration::from_millis(50)) {
                    Ok(mark) => break mark,
                    Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
                    Err(RecvTimeoutError::Timeout) => {
                        return Err(format!("cycle {cycle} takes too long").into());
                    }
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(format!("it ended in cycle {cycle}").into());
                    }
                }
            });
        }
        Ok(ends)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same command by way of a helper that binds it to the life of xtask.
/// Its stdin stays open, since netdata's plugins end with theirs.
pub(crate) fn bound(command: &Command) -> Command {
    let mut bound = helpers::command(helpers::BOUND);
    bound.arg(command.get_program()).args(command.get_args());
    bound.stdin(Stdio::piped());
    bound
}

/// Resident memory of a process in bytes (`VmRSS` in `/proc/PID/status`).
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmRSS")?;
    Ok(kib.trim().parse::<u64>()? * 1024)
}

impl Truth {
    /// Adds what a line of tcollector's says, if it is one of these.
    fn hear(&mut self, line: &[u8]) {
        let Some(said) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(' '))
        else {
            return;
        };
        let (metric, rest) = said;
        let Some(value) = rest.split(' ').nth(1).and_then(|value| value.parse::<u64>().ok()) else {
            return;
        };
        let sum = match metric {
            "proc.stat.ps.procs" => &mut self.procs,
            "proc.stat.ps.fd" => &mut self.descriptors,
            "proc.stat.ps.net" if rest.contains("type=tcp") => &mut self.tcp,
            "proc.stat.ps.net" if rest.contains("type=udp") => &mut self.udp,
            "proc.stat.ps.net" if rest.contains("type=unix") => &mut self.unix,
            _ => return,
        };
        *sum += value;
    }
}

fn each_line(out: ChildStdout, mut line: impl FnMut(&[u8]) -> bool) {
    let mut out = BufReader::new(out);
    let mut bytes = Vec::new();
    while out.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
        if !line(&bytes) {
            return;
        }
        bytes.clear();
    }
}

fn contains(line: &[u8], marker: &[u8]) -> bool {
    line.windows(marker.len()).any(|part| part == marker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_of_lines_is_summed_up() {
        let mut found = Truth::default();
        for line in [
            "proc.stat.ps.procs 1700000000 3 image=a\n",
            "proc.stat.ps.procs 1700000000 4 image=b\n",
            "proc.stat.ps.net 1700000000 5 image=b type=udp\n",
            "proc.stat.ps.pcpu 1700000000 12.5 image=b\n",
            "\n",
        ] {
            found.hear(line.as_bytes());
        }
        assert_eq!(found, Truth { procs: 7, udp: 5, ..Truth::default() });
    }
}

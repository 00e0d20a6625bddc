//! System calls per cycle, counted by strace.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal};

use crate::Result;
use crate::child_modes::ChildGuard;

/// Calls per cycle by name, the most frequent first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(pub(crate) Vec<(String, f64)>);

impl Calls {
    pub(crate) fn total(&self) -> f64 {
        self.0.iter().map(|(_, calls)| calls).sum()
    }
}

/// Counts over whole cycles, until dropped or finished.
#[derive(Debug)]
pub(crate) struct Tracer(ChildGuard);

impl Tracer {
    /// Attaches strace to a process. Between two cycles: the process sleeps then.
    pub(crate) fn attach(pid: u32) -> Result<Tracer> {
        let strace = Command::new("strace")
            .args(["-f", "-c", "-U", "calls,name", "-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Tracer(ChildGuard(strace)))
    }

    /// Detaches between two cycles; returns the calls per cycle.
    pub(crate) fn finish(mut self, cycles: u32) -> Result<Calls> {
        // strace detaches and writes the table.
        rustix::process::kill_process(Pid::from_child(&self.0.0), Signal::INT)?;
        let table = self.0.0.stderr.take().ok_or("no stderr")?;
        let lines = BufReader::new(table).lines().collect::<std::io::Result<Vec<_>>>()?;
        self.0.0.wait()?;
        Ok(parse(&lines, f64::from(cycles)))
    }
}

/// Parses the summary: rows of two columns between two rules.
fn parse(lines: &[String], cycles: f64) -> Calls {
    let rule = |line: &&String| line.starts_with("---");
    let rows = lines.iter().skip_while(|line| !rule(line)).skip(1).take_while(|line| !rule(line));
    let mut calls: Vec<_> = rows
        .filter_map(|row| {
            let (count, name) = row.trim().split_once(' ')?;
            Some((name.trim().to_owned(), count.parse::<f64>().ok()? / cycles))
        })
        .collect();
    calls.sort_by(|a, b| b.1.total_cmp(&a.1));
    Calls(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_is_parsed() {
        let text = "strace: Process 7 attached with 2 threads\nstrace: Process 7 detached\n    \
                    calls syscall\n--------- ----------------\n        4 getdents64\n      \
                    400 pread64\n--------- ----------------\n      404 total\n";
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let calls = parse(&lines, 2.0);
        assert_eq!(calls.0, [("pread64".to_owned(), 200.0), ("getdents64".to_owned(), 2.0)]);
        assert_eq!(calls.total(), 202.0);
    }
}

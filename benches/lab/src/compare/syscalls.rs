//! System calls per cycle, counted by strace.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::Result;
use crate::observer::Running;
use crate::stop::Stop;

/// Calls per cycle by name, the most frequent first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(pub(crate) Vec<(String, f64)>);

impl Calls {
    pub(crate) fn total(&self) -> f64 {
        self.0.iter().map(|(_, calls)| calls).sum()
    }
}

/// Counts over whole cycles: attached and detached between two cycles, while the observer sleeps.
pub(crate) fn count(
    observer: &mut Running,
    cycles: u32,
    timeout: Duration,
    stop: &Stop,
) -> Result<Calls> {
    observer.pass(1, timeout, stop)?;
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-U", "calls,name", "-p", &observer.pid().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let passed = observer.pass(cycles, timeout, stop);
    // strace detaches and writes the table.
    let pid = Pid::from_child(&strace);
    rustix::process::kill_process(pid, Signal::INT)?;
    let table = strace.stderr.take().ok_or("no stderr")?;
    let lines = BufReader::new(table).lines().collect::<std::io::Result<Vec<_>>>()?;
    strace.wait()?;
    passed?;
    Ok(parse(&lines, f64::from(cycles)))
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

//! A process that forks others of one [`Kind`] at a constant rate, and reports what they write:
//! before they do, so that no count may ever exceed it, and the exact numbers at the end.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::WaitOptions;

use super::kind::{Kind, LONG_LIVED};
use super::reap;
use super::write_loop::{self, CALLS};
use crate::{Result, sys};

/// The number of forks of an image and its writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) forks: u64,
    pub(crate) bytes: u64,
    pub(crate) calls: u64,
}

/// The prefix of the last line of a report.
const DONE: &str = "done ";
/// How far ahead the writes are reported.
const AHEAD: Duration = Duration::from_millis(250);

impl Written {
    /// Prints a line of the report.
    fn print(self, prefix: &str) -> std::io::Result<()> {
        let line = format!("{prefix}{} {} {}\n", self.forks, self.bytes, self.calls);
        std::io::stdout().write_all(line.as_bytes())
    }

    /// With one more process.
    fn plus_one(self, kind: Kind, serial: u64) -> Written {
        Written {
            forks: self.forks + kind.forks(),
            bytes: self.bytes + CALLS * write_loop::bytes(serial),
            calls: self.calls + CALLS,
        }
    }
}

/// The report of a driver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DriverReport {
    /// The last line.
    reported: Written,
    /// The lines themselves: a driver in the image has written them, too.
    lines: Written,
    /// Whether it was the last line, which has the exact numbers.
    pub(crate) is_complete: bool,
}

impl DriverReport {
    /// Reads the next line.
    pub(crate) fn read_line(&mut self, line: &str) -> Result<()> {
        let rest = line.strip_prefix(DONE);
        let mut numbers = rest.unwrap_or(line).split_whitespace().map(str::parse);
        let mut next = || Ok::<u64, crate::Error>(numbers.next().ok_or("missing number")??);
        self.reported = Written { forks: next()?, bytes: next()?, calls: next()? };
        // With the line end.
        self.lines.bytes += line.len() as u64 + 1;
        self.lines.calls += 1;
        self.is_complete = rest.is_some();
        Ok(())
    }

    /// The writes of the image by this report: an upper bound, exact when it is complete.
    pub(crate) fn of(self, kind: Kind) -> Written {
        let DriverReport { reported, lines, .. } = self;
        // An exec is not a fork.
        let forks = if kind == kind.driver() { reported.forks } else { 0 };
        let own = u64::from(kind.parent_is_tracked());
        Written {
            forks,
            bytes: reported.bytes + own * lines.bytes,
            calls: reported.calls + own * lines.calls,
        }
    }
}

/// The command of the driver of a kind.
pub(crate) fn command(kind: Kind, storm: u64, rate: u64, time: Duration) -> Result<Command> {
    let mut command = super::command(super::STORM);
    if kind.parent_is_tracked() {
        command.arg0(kind.argv0(storm));
    }
    let micros = 100_000_000 * kind.forks() / (rate * kind.share()).max(1);
    let millis = u64::try_from(time.as_millis())?;
    command.args([kind.number(), storm, micros, millis].map(|field| field.to_string()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command)
}

/// The loop of the shell, until file `$1` exists. The shell itself writes its report only; each
/// subshell writes 1,000 bytes with one call.
const SHELL: &str = "i=0; while [ ! -e \"$1\" ]; do i=$((i+1)); \
    echo $((2*i)) $((1000*i)) $i; (printf %01000d 0) >/dev/null; sleep $2; \
    done; echo done $((2*i)) $((1000*i)) $i; read x";

/// The command of the shell.
pub(crate) fn shell(storm: u64, rate: u64, stop: &std::path::Path) -> Command {
    let kind = Kind::Shell;
    let pause = (100 * kind.forks()) as f64 / (rate * kind.share()).max(1) as f64;
    let mut command = super::command(super::EXEC_INTO);
    command.args(["sh", "-c", SHELL]).arg(kind.argv0(storm)).arg(stop).arg(format!("{pause:.4}"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Runs the mode: `[kind, storm, microseconds between forks, milliseconds in total]`.
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[number, storm, micros, millis] = fields else {
        return Err("wrong number of fields".into());
    };
    let kind = Kind::from_number(number)?;
    if kind == Kind::Ignored {
        sys::ignore_children()?;
    }
    // Orphans are reparented to this process, whatever subreaper the machine has.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut written = Written::default();
    let mut zombies: VecDeque<(Child, Instant)> = VecDeque::new();
    let start = Instant::now();
    let (end, pause) = (start + Duration::from_millis(millis), Duration::from_micros(micros));
    let mut due = start;
    let ahead = u64::try_from(AHEAD.as_micros())? / micros.max(1) + 1;
    for (serial, &lifetime) in (0..).zip(kind.lifetimes().iter().cycle()) {
        if due >= end {
            break;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += pause;
        if serial % ahead == 0 {
            let serials = serial..serial + ahead;
            serials.fold(written, |sum, next| sum.plus_one(kind, next)).print("")?;
        }
        let bytes = write_loop::bytes(serial);
        if kind.parent_is_tracked() {
            if sys::fork()?.is_none() {
                let done = write_loop::write(kind.when(), lifetime, bytes);
                std::process::exit(i32::from(done.is_err()));
            }
        } else {
            let mut command = super::command(super::WRITE_LOOP);
            command.arg0(kind.argv0(storm)).stdin(Stdio::null()).stdout(Stdio::null());
            command.args(write_loop::arguments(kind, storm, lifetime, bytes)?);
            let child = command.spawn()?;
            if kind == Kind::Zombie {
                zombies.push_back((child, Instant::now() + lifetime + LONG_LIVED));
            }
        }
        written = written.plus_one(kind, serial);
        if kind == Kind::Zombie {
            reap_zombies(&mut zombies)?;
        } else {
            while reap(WaitOptions::NOHANG)? {}
        }
    }
    while !zombies.is_empty() {
        std::thread::sleep(Duration::from_millis(20));
        reap_zombies(&mut zombies)?;
    }
    while reap(WaitOptions::empty())? {}
    written.print(DONE)?;
    // Its own io must stay readable until the experiment has checked it.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Reaps the zombies whose time has passed.
fn reap_zombies(zombies: &mut VecDeque<(Child, Instant)>) -> Result<()> {
    while let Some((child, due)) = zombies.front_mut()
        && *due <= Instant::now()
    {
        if !child.wait()?.success() {
            return Err("a short-lived process failed".into());
        }
        zombies.pop_front();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_lines_count_for_the_image() {
        let mut report = DriverReport::default();
        report.read_line("2 4000 4").unwrap();
        assert!(!report.is_complete);
        let written = Written { forks: 2, bytes: 4000, calls: 4 };
        assert_eq!(report.of(Kind::LongLived), written);
        assert_eq!(report.of(Kind::Inside), Written { bytes: 4009, calls: 5, ..written });
        report.read_line("done 2 4000 4").unwrap();
        assert!(report.is_complete);
        assert_eq!(report.of(Kind::Inside), Written { bytes: 4023, calls: 6, ..written });
        assert_eq!(report.of(Kind::ExecAfter), Written { forks: 0, ..written });
        assert!(report.read_line("2 4000").is_err());
    }
}

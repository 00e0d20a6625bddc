//! A process that forks others of one kind, so many a second, and says what
//! they write: before they do, so that what is counted can be held against it
//! at any time, and in the end what it was.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::WaitOptions;

use super::child::{self, CALLS};
use super::kind::{Kind, LASTING};
use crate::{Result, helpers, sys};

/// What the processes of an image did, or will have done soon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) forks: u64,
    pub(crate) bytes: u64,
    pub(crate) calls: u64,
}

/// What the last of a driver's lines begins with.
const DONE: &str = "done ";
/// How far ahead a driver tells what its processes will have written.
const AHEAD: Duration = Duration::from_millis(250);

impl Written {
    /// A line with it.
    fn say(self, what: &str) -> std::io::Result<()> {
        let line = format!("{what}{} {} {}\n", self.forks, self.bytes, self.calls);
        std::io::stdout().write_all(line.as_bytes())
    }

    /// With a process more of a kind.
    fn and(self, kind: Kind, serial: u64) -> Written {
        Written {
            forks: self.forks + kind.forks(),
            bytes: self.bytes + CALLS * child::bytes(serial),
            calls: self.calls + CALLS,
        }
    }
}

/// What a driver has said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    /// Of its processes, by its last line.
    told: Written,
    /// The lines themselves: a driver of the image has written them, too.
    lines: Written,
    /// Whether it was the last line, which tells no more than was written.
    pub(crate) is_all: bool,
}

impl Said {
    /// Takes the next line.
    pub(crate) fn hear(&mut self, line: &str) -> Result<()> {
        let rest = line.strip_prefix(DONE);
        let mut numbers = rest.unwrap_or(line).split_whitespace().map(str::parse);
        let mut next = || Ok::<u64, crate::Error>(numbers.next().ok_or("no number")??);
        self.told = Written { forks: next()?, bytes: next()?, calls: next()? };
        self.lines.bytes += line.len() as u64;
        self.lines.calls += 1;
        self.is_all = rest.is_some();
        Ok(())
    }

    /// What the processes of an image have written at most, and in the end
    /// exactly, if this is what their driver said.
    pub(crate) fn of(self, kind: Kind) -> Written {
        let Said { told, lines, .. } = self;
        // An exec is no fork.
        let forks = if kind == kind.driven_by() { told.forks } else { 0 };
        let own = u64::from(kind.has_parent_inside());
        Written {
            forks,
            bytes: told.bytes + own * lines.bytes,
            calls: told.calls + own * lines.calls,
        }
    }
}

/// The command of a driver of a kind.
pub(crate) fn command(kind: Kind, storm: u64, rate: u64, time: Duration) -> Result<Command> {
    let mut command = helpers::command(helpers::DRIVER);
    if kind.has_parent_inside() {
        command.arg0(kind.word(storm));
    }
    let micros = 100_000_000 * kind.forks() / (rate * kind.share()).max(1);
    let millis = u64::try_from(time.as_millis())?;
    command.args([kind.number(), storm, micros, millis].map(|field| field.to_string()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command)
}

/// The shell's loop, until there is a file `$1`. What it writes by itself is
/// its lines; each subshell writes 1,000 bytes by one call.
const SHELL: &str = "i=0; while [ ! -e \"$1\" ]; do i=$((i+1)); \
    echo $((2*i)) $((1000*i)) $i; (printf %01000d 0) >/dev/null; sleep $2; \
    done; echo done $((2*i)) $((1000*i)) $i; read x";

/// The command of the shell.
pub(crate) fn shell(storm: u64, rate: u64, stop: &std::path::Path) -> Command {
    let kind = Kind::Shell;
    let pause = (100 * kind.forks()) as f64 / (rate * kind.share()).max(1) as f64;
    let mut command = helpers::command(helpers::BOUND);
    command.args(["sh", "-c", SHELL]).arg(kind.word(storm)).arg(stop).arg(format!("{pause:.4}"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// The driver's life.
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[number, storm, micros, millis] = fields else {
        return Err("wrong number of fields".into());
    };
    let kind = Kind::of(number)?;
    if kind == Kind::Ignored {
        sys::ignore_children()?;
    }
    // Where an orphan goes, whatever else is on the machine.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut written = Written::default();
    let mut zombies: VecDeque<(Child, Instant)> = VecDeque::new();
    let start = Instant::now();
    let (end, pause) = (start + Duration::from_millis(millis), Duration::from_micros(micros));
    let mut due = start;
    let ahead = u64::try_from(AHEAD.as_micros())? / micros.max(1) + 1;
    for (serial, &life) in (0..).zip(kind.lives().iter().cycle()) {
        if due >= end {
            break;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += pause;
        if serial % ahead == 0 {
            let soon = (serial..serial + ahead).fold(written, |soon, next| soon.and(kind, next));
            soon.say("")?;
        }
        let bytes = child::bytes(serial);
        if kind.has_parent_inside() {
            if sys::fork()?.is_none() {
                end_copy(&child::live(kind.when(), life, bytes));
            }
        } else {
            let child = start_stranger(kind, storm, life, bytes)?;
            if kind == Kind::Lingering {
                zombies.push_back((child, Instant::now() + life + LASTING));
            }
        }
        written = written.and(kind, serial);
        if kind == Kind::Lingering {
            reap_zombies(&mut zombies, Instant::now())?;
        } else {
            while reap(WaitOptions::NOHANG)? {}
        }
    }
    while !zombies.is_empty() {
        std::thread::sleep(Duration::from_millis(20));
        reap_zombies(&mut zombies, Instant::now())?;
    }
    while reap(WaitOptions::empty())? {}
    written.say(DONE)?;
    // It stays, so that what it has by then can be looked at.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The end of a copy: not by the way of its original.
fn end_copy(done: &Result<()>) -> ! {
    std::process::exit(i32::from(done.is_err()))
}

/// A process of the image, started by this one, which is not.
fn start_stranger(kind: Kind, storm: u64, life: Duration, bytes: u64) -> Result<Child> {
    let mut command = helpers::command(helpers::CHILD);
    command.arg0(kind.word(storm)).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command.args(child::arguments(kind, storm, life, bytes)?).spawn()?)
}

/// Reaps whoever has ended; whether there was one.
fn reap(options: WaitOptions) -> Result<bool> {
    match rustix::process::wait(options) {
        Ok(Some((_, status))) if status.exit_status() == Some(0) => Ok(true),
        Ok(Some((pid, status))) => Err(format!("{pid} ended with {status:?}").into()),
        Ok(None) | Err(rustix::io::Errno::CHILD) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Reaps those that have been zombies for long enough.
fn reap_zombies(zombies: &mut VecDeque<(Child, Instant)>, now: Instant) -> Result<()> {
    while let Some((child, due)) = zombies.front_mut()
        && *due <= now
    {
        if !child.wait()?.success() {
            return Err("a short process failed".into());
        }
        zombies.pop_front();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drivers_own_lines_are_its_images() {
        let mut said = Said::default();
        said.hear("2 4000 4\n").unwrap();
        assert!(!said.is_all);
        let told = Written { forks: 2, bytes: 4000, calls: 4 };
        assert_eq!(said.of(Kind::Lasting), told);
        assert_eq!(said.of(Kind::Inside), Written { bytes: 4009, calls: 5, ..told });
        said.hear("done 2 4000 4\n").unwrap();
        assert!(said.is_all);
        assert_eq!(said.of(Kind::Inside), Written { bytes: 4023, calls: 6, ..told });
        assert_eq!(said.of(Kind::Arriving), Written { forks: 0, ..told });
        assert!(said.hear("2 4000\n").is_err());
    }
}

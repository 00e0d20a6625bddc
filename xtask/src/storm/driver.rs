//! A process that forks others of one kind, so many a second, and says in the
//! end what they wrote.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::WaitOptions;

use super::child::{self, CALLS};
use super::kind::{Kind, LASTING};
use crate::{Result, helpers, sys};

/// What the processes of an image did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub(crate) forks: u64,
    pub(crate) bytes: u64,
    pub(crate) calls: u64,
}

impl Written {
    /// The driver's line with it.
    fn line(self) -> String {
        format!("{} {} {}\n", self.forks, self.bytes, self.calls)
    }

    /// From that line; a driver of the image has written the line itself, too.
    pub(crate) fn read(line: &str, kind: Kind) -> Result<Written> {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || Ok::<u64, crate::Error>(numbers.next().ok_or("no number")??);
        let (forks, bytes, calls) = (next()?, next()?, next()?);
        let own = u64::from(kind.has_parent_inside());
        Ok(Written { forks, bytes: bytes + own * line.len() as u64, calls: calls + own })
    }
}

/// The command of a driver of a kind.
pub(crate) fn command(kind: Kind, storm: u64, rate: u64, time: Duration) -> Result<Command> {
    let mut command = helpers::command(helpers::DRIVER);
    if kind.has_parent_inside() {
        command.arg0(kind.word(storm));
    }
    let number = Kind::ALL.iter().position(|&other| other == kind).unwrap_or_default() as u64;
    let micros = 100_000_000 * kind.forks() / (rate * kind.share()).max(1);
    let millis = u64::try_from(time.as_millis())?;
    command.args([number, storm, micros, millis].map(|field| field.to_string()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command)
}

/// The shell's loop, until there is a file `$1`. What it writes by itself is
/// the line at the end; each subshell writes 1,000 bytes by one call.
const SHELL: &str = "i=0; while [ ! -e \"$1\" ]; do (printf %01000d 0) >/dev/null; sleep $2; \
    i=$((i+1)); done; echo $((2*i)) $((1000*i)) $i; read x";

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
    let kind = *Kind::ALL.get(usize::try_from(number)?).ok_or("no such kind")?;
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
    for (serial, &life) in (0..).zip(kind.lives().iter().cycle()) {
        if due >= end {
            break;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += pause;
        let bytes = child::bytes(serial);
        if kind.has_parent_inside() {
            if sys::fork()?.is_none() {
                end_copy(&child::live(life, bytes));
            }
        } else {
            let child = start_stranger(kind, storm, life, bytes)?;
            if kind == Kind::Lingering {
                zombies.push_back((child, Instant::now() + life + LASTING));
            }
        }
        written.forks += kind.forks();
        written.bytes += CALLS * bytes;
        written.calls += CALLS;
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
    std::io::stdout().write_all(written.line().as_bytes())?;
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
    let millis = u64::try_from(life.as_millis())?;
    let fields = [millis, bytes, u64::from(kind == Kind::Orphan)];
    Ok(command.args(fields.map(|field| field.to_string())).spawn()?)
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

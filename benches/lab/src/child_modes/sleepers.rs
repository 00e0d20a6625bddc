//! A large population of sleeping processes. Each consumes a little CPU time when woken: a process
//! that sleeps at both ends of a window shows the same CPU time to every reader there, so its share
//! of CPU tells the length of the window.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use rustix::thread::ClockId;

use super::ChildGuard;
use crate::{Result, sys};

/// CPU time per wake-up.
const BURN: Duration = Duration::from_micros(200);
/// A process that was woken leaves further wake-ups to the others for this long.
const PAUSE: Duration = Duration::from_millis(200);

/// The population; it exits when dropped.
#[derive(Debug)]
pub(crate) struct Sleepers {
    _parent: ChildGuard,
    wake_ups: ChildStdin,
    size: usize,
}

impl Sleepers {
    /// Starts `size` processes whose command lines begin with `name`.
    pub(crate) fn start(name: &str, size: usize) -> Result<Sleepers> {
        let mut command = super::command(super::SLEEPERS);
        command.arg0(name).arg(size.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut parent = ChildGuard(command.spawn()?);
        let wake_ups = parent.0.stdin.take().ok_or("no stdin")?;
        let mut ready = String::new();
        BufReader::new(parent.0.stdout.take().ok_or("no stdout")?).read_line(&mut ready)?;
        if ready.is_empty() {
            return Err("the population could not be started".into());
        }
        Ok(Sleepers { _parent: parent, wake_ups, size })
    }

    /// Wakes each process once.
    pub(crate) fn wake(&mut self) -> Result<()> {
        Ok(self.wake_ups.write_all(&vec![0; self.size])?)
    }
}

/// Runs the mode of the parent: `[number of processes]`.
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[size] = fields else { return Err("wrong number of fields".into()) };
    let parent = rustix::process::getpid();
    for _ in 0..size {
        if sys::fork()?.is_none() {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have exited before the line above.
            if rustix::process::getppid() != Some(parent) {
                return Ok(());
            }
            return sleep();
        }
    }
    std::io::stdout().write_all(b"ready\n")?;
    loop {
        std::thread::park();
    }
}

fn sleep() -> Result<()> {
    let mut stdin = std::fs::File::open("/proc/self/fd/0")?;
    while stdin.read(&mut [0])? != 0 {
        let start = cpu_time();
        while cpu_time() - start < BURN {}
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn cpu_time() -> Duration {
    // A CPU clock is never negative.
    Duration::try_from(rustix::time::clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

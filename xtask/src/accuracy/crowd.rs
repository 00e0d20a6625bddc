//! Many processes that sleep, and each burn a little when poked: one that
//! sleeps at both ends of a window has used the same whoever reads its clock
//! there, so that its share tells how long the window was.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use rustix::thread::ClockId;

use crate::{Result, helpers, sys};

/// What each burns when poked.
const BURN: Duration = Duration::from_micros(200);
/// How long one that was poked leaves the pokes to others.
const PAUSE: Duration = Duration::from_millis(200);

/// A crowd; ended when dropped.
#[derive(Debug)]
pub(crate) struct Crowd {
    child: Child,
    pokes: ChildStdin,
    size: usize,
}

impl Crowd {
    /// Starts so many, all with a command line that begins with `word`.
    pub(crate) fn start(word: &str, size: usize) -> Result<Crowd> {
        let mut command = helpers::command(helpers::CROWD);
        command.arg0(word).arg(size.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let pokes = child.stdin.take().ok_or("no stdin")?;
        let mut ready = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut ready)?;
        if ready.is_empty() {
            return Err("the crowd did not come together".into());
        }
        Ok(Crowd { child, pokes, size })
    }

    /// Lets each burn a little.
    pub(crate) fn poke(&mut self) -> Result<()> {
        Ok(self.pokes.write_all(&vec![0; self.size])?)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The life of the one that forks the crowd: `[how many]`.
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[size] = fields else { return Err("wrong number of fields".into()) };
    let parent = rustix::process::getpid();
    for _ in 0..size {
        if sys::fork()?.is_none() {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // It may have ended before the line above.
            if rustix::process::getppid() != Some(parent) {
                return Ok(());
            }
            return stand();
        }
    }
    std::io::stdout().write_all(b"ready\n")?;
    loop {
        std::thread::park();
    }
}

/// The life of one of the crowd.
fn stand() -> Result<()> {
    let mut stdin = std::fs::File::open("/proc/self/fd/0")?;
    while stdin.read(&mut [0])? != 0 {
        let start = cpu();
        while cpu() - start < BURN {}
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn cpu() -> Duration {
    // It never reads below zero.
    Duration::try_from(rustix::time::clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

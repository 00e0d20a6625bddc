//! Very many processes that begin and end at once, and what the collector's
//! memory is before and after them.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::WaitOptions;

use super::meter::{self, Running};
use super::options::Options;
use super::population::name_of_first;
use super::psstat;
use super::scratch::Scratch;
use super::table::{Table, machine};
use crate::stop::Stop;
use crate::{Result, helpers, sys};

/// Processes that fork; as many as there are cores to be busy.
const FORKING: u64 = 2;
/// So many copies of one may not have been waited for.
const OUTSTANDING: usize = 16;
/// What the collector's memory may have grown by in the end, bytes: the
/// allocator keeps a little of what was once more.
const SLACK: u64 = 512 << 10;
/// Cycles before and after.
const QUIET: u32 = 12;
/// Forks before the first look at the memory.
const WARM_UP: u64 = 20_000;
/// How long a cycle may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Processes that fork, ended when dropped.
#[derive(Debug)]
struct Flood(Vec<Child>);

impl Drop for Flood {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Lets it come and prints what came of it.
pub(super) fn run(forks: u64, options: &Options, scratch: &Scratch, stop: &Stop) -> Result<()> {
    let path = psstat::collector_path(options)?;
    let command = psstat::collector(&path, options, scratch)?;
    let running = Running::start(meter::bound(&command), psstat::MARKER)?;
    let resident = || meter::resident(running.pid());
    // With it the program's own code, which counts as memory too once it has
    // run, is there before.
    raise(WARM_UP, &running, stop)?;
    running.pass(QUIET, PATIENCE, stop)?;
    let before = resident()?;
    let start = Instant::now();
    let (most, seen) = raise(forks, &running, stop)?;
    let took = start.elapsed().as_secs_f64();
    running.pass(QUIET, PATIENCE, stop)?;
    let after = resident()?;
    let mut table = Table::new(&["forks", "a second", "KiB before", "at most", "after"]);
    let kib = |bytes: u64| (bytes >> 10).to_string();
    let rate = format!("{:.0}", forks as f64 / took);
    table.row([forks.to_string(), rate, kib(before), kib(most), kib(after)]);
    println!("{}. At most {seen} of them in a sample.\n\n{}", machine(), table.text());
    if after > before + SLACK {
        return Err(format!("memory grew by {} KiB", kib(after - before)).into());
    }
    Ok(())
}

/// Lets so many forks come; gives the most memory that the collector took, and
/// the most processes that it saw of them.
fn raise(forks: u64, running: &Running, stop: &Stop) -> Result<(u64, u64)> {
    let mut flood = Flood(Vec::new());
    for _ in 0..FORKING {
        let mut command = helpers::command(helpers::FLOOD);
        // They and their copies are the first image's.
        command.arg0(name_of_first()).arg((forks / FORKING).to_string()).stdin(Stdio::null());
        flood.0.push(command.spawn()?);
    }
    let (mut most, mut seen) = (0, 0);
    loop {
        let ends = running.pass(1, PATIENCE, stop)?;
        most = most.max(meter::resident(running.pid())?);
        seen = ends.iter().map(|end| end.found.procs).fold(seen, u64::max);
        let ended = flood.0.iter_mut().map(Child::try_wait).collect::<std::io::Result<Vec<_>>>()?;
        if ended.iter().flatten().any(|status| !status.success()) {
            return Err("a process could not fork".into());
        }
        if ended.iter().all(Option::is_some) {
            return Ok((most, seen));
        }
    }
}

/// The life of a process that forks.
pub(crate) fn fork_on(fields: &[u64]) -> Result<()> {
    let &[forks] = fields else { return Err("wrong number of fields".into()) };
    let mut outstanding = 0;
    for _ in 0..forks {
        if sys::fork()?.is_none() {
            std::process::exit(0);
        }
        outstanding += 1;
        if outstanding == OUTSTANDING {
            for _ in 0..OUTSTANDING {
                rustix::process::wait(WaitOptions::empty())?;
            }
            outstanding = 0;
        }
    }
    while rustix::process::wait(WaitOptions::empty()).is_ok() {}
    Ok(())
}

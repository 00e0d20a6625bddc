//! A very large number of processes that start and exit at once, and the memory of the collector
//! before and after.

use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use psstat_testproc::TempDir;

use super::options::Options;
use super::psstat;
use crate::child_modes::{self, ChildGuard};
use crate::collector::CYCLE_END;
use crate::observer::Running;
use crate::population::{Totals, name_of_first};
use crate::stop::Stop;
use crate::table::Table;
use crate::{Result, host_info};

/// Processes that fork.
const FORKING: u64 = 2;
/// How much the memory of the collector may grow, in bytes: the allocator keeps some of a previous
/// maximum.
const SLACK: u64 = 512 << 10;
/// Cycles before and after.
const QUIET: u32 = 12;
/// Forks before the memory is first read.
const WARM_UP: u64 = 20_000;
/// The maximum duration of a cycle.
const CYCLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the flood and prints the table.
pub(super) fn run(forks: u64, options: &Options, dir: &TempDir, stop: &Stop) -> Result<()> {
    let command = psstat::collector(&psstat::program(options)?, options, dir)?;
    let mut running = Running::start(&command, CYCLE_END)?;
    let pid = running.pid();
    // Afterwards the code of the program is resident and the lists have their size.
    spawn_flood(WARM_UP, &mut running, stop)?;
    running.pass(QUIET, CYCLE_TIMEOUT, stop)?;
    let before = psstat::resident(pid)?;
    let start = Instant::now();
    let (max_resident, max_processes) = spawn_flood(forks, &mut running, stop)?;
    let time = start.elapsed().as_secs_f64();
    running.pass(QUIET, CYCLE_TIMEOUT, stop)?;
    let after = psstat::resident(pid)?;
    let mut table = Table::new(&["forks", "per second", "KiB before", "maximum", "after"]);
    let kib = |bytes: u64| (bytes >> 10).to_string();
    let rate = format!("{:.0}", forks as f64 / time);
    table.row([forks.to_string(), rate, kib(before), kib(max_resident), kib(after)]);
    println!("{}. At most {max_processes} per sample.\n\n{}", host_info::line(), table.text());
    if after > before + SLACK {
        return Err(format!("memory grew by {} KiB", kib(after - before)).into());
    }
    Ok(())
}

/// Forks; returns the maximum of the collector's memory and of the processes in a sample.
fn spawn_flood(forks: u64, running: &mut Running, stop: &Stop) -> Result<(u64, u64)> {
    let mut children = Vec::new();
    for _ in 0..FORKING {
        let mut command = child_modes::command(child_modes::FORK_EXIT);
        // They and their children belong to the first image.
        command.arg0(name_of_first()).arg((forks / FORKING).to_string()).stdin(Stdio::null());
        children.push(ChildGuard(command.spawn()?));
    }
    let (mut resident, mut processes) = (0, 0);
    loop {
        let end = running.next(CYCLE_TIMEOUT, stop)?;
        resident = resident.max(psstat::resident(running.pid())?);
        processes = processes.max(Totals::of(&end.lines).processes);
        let statuses = children.iter_mut().map(|child| child.0.try_wait());
        let statuses = statuses.collect::<std::io::Result<Vec<_>>>()?;
        if statuses.iter().flatten().any(|status| !status.success()) {
            return Err("a process could not fork".into());
        }
        if statuses.iter().all(Option::is_some) {
            return Ok((resident, processes));
        }
    }
}

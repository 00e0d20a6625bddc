//! `cargo lab scale`: the collector with tens of thousands of processes.

use std::fs;
use std::time::Duration;

use clap::Args;
use psstat_testproc::TempDir;

use crate::child_modes::sleepers::Sleepers;
use crate::collector::Collector;
use crate::reads::Reads;
use crate::run_lock::RunLock;
use crate::stop::Stop;
use crate::{Result, cargo, host_info};

/// Run the collector with tens of thousands of sleeping processes, and check its output.
///
/// Runs a release build of the collector with a cycle every 5 s, once with the file descriptors
/// that the limit allows and once with 64. In each cycle all processes must be counted with their
/// threads, and no read may fail. After the first cycle, which classifies them all, none may be
/// skipped or more than a second late. After the processes have exited, none may be counted and no
/// io may have decreased. Exits 1 if a check fails. Takes 100 KiB of memory per process, and needs
/// root where the machine has fewer pids (kernel.pid_max): the limit is raised during the run.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The number of processes
    #[arg(long, default_value_t = 32_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    processes: u64,
}

/// The `argv[0]` of the processes.
const NAME: &str = "psstat-scale";
/// The series of the image that are 1 for each idle process.
const ONE_PER_PROCESS: [&str; 2] = ["procs image=scale", "threads image=scale"];
/// Seconds per cycle: enough for the window and all reads.
const INTERVAL: u64 = 5;
/// How much later a cycle may be.
const SLACK: Duration = Duration::from_secs(1);
const PID_MAX: &str = "/proc/sys/kernel/pid_max";

/// A raised limit of pids; restored when dropped.
#[derive(Debug)]
struct PidMax {
    previous: Option<String>,
}

impl PidMax {
    fn raise_for(processes: u64) -> Result<PidMax> {
        let previous = fs::read_to_string(PID_MAX)?;
        // The processes of the machine need some too.
        let needed = processes * 2;
        if previous.trim().parse::<u64>()? >= needed {
            return Ok(PidMax { previous: None });
        }
        fs::write(PID_MAX, needed.to_string()).map_err(|error| format!("{PID_MAX}: {error}"))?;
        Ok(PidMax { previous: Some(previous) })
    }
}

impl Drop for PidMax {
    fn drop(&mut self) {
        if let Some(previous) = &self.previous {
            let _ = fs::write(PID_MAX, previous.trim());
        }
    }
}

/// Checks that a cycle is on time: the gap since the previous one, and the skipped cycles so far.
fn check_time(gap: Duration, skipped: u64) -> Result<()> {
    if skipped > 0 {
        return Err(format!("{skipped} cycles were skipped").into());
    }
    if gap > Duration::from_secs(INTERVAL) + SLACK {
        return Err(format!("a cycle ended {gap:.2?} after the previous one").into());
    }
    Ok(())
}

/// Runs the experiment.
pub(crate) fn run(options: &Options) -> Result<()> {
    let program = cargo::collector()?;
    let _lock = RunLock::acquire()?;
    let stop = Stop::on_signals()?;
    let _pid_max = PidMax::raise_for(options.processes)?;
    let dir = TempDir::new()?;
    let config = crate::write(&dir, "psstat.conf", &format!("scale ^{NAME}\n"))?;
    println!("{}; load {}", host_info::line(), host_info::load());
    println!(" fd budget  processes  cpu, ms  wall, ms  resident, MiB    fds  gap, s");
    for budget in [usize::try_from(options.processes)? * 4, 64] {
        let sleepers = Sleepers::start(NAME, usize::try_from(options.processes)?)?;
        let mut collector =
            Collector::start(&program, &config, budget, INTERVAL, &Reads::from_proc())?;
        let mut io = 0;
        for number in 0..4 {
            let cycle = collector.next(&stop)?;
            let get = |series: &str| cycle.get(series).ok_or_else(|| format!("no {series}"));
            if let Some(reason) = &cycle.rejected {
                return Err(format!("tcollector would reject a line: {reason}").into());
            }
            // The sleepers and their parent.
            let expected = options.processes + 1;
            for series in ONE_PER_PROCESS {
                let counted = get(series)?;
                if counted != expected {
                    return Err(format!("{series} is {counted}, expected {expected}").into());
                }
            }
            for file in ["io", "fd", "statm", "stat", "cmdline"] {
                let failed = get(&format!("collector.failed type={file}"))?;
                if failed != 0 {
                    return Err(format!("{failed} reads of {file} failed").into());
                }
            }
            io = get("io image=scale type=rchar")?;
            let number_of = |series: &str| cycle.number(series).unwrap_or(f64::NAN);
            // The first cycle classifies all processes.
            if number > 0 {
                println!(
                    "{budget:>10} {:>10} {:>8.0} {:>9.0} {:>14.1} {:>6} {:>7.2}",
                    get("procs image=scale")?,
                    number_of("collector.cpu"),
                    number_of("collector.wall"),
                    cycle.resident as f64 / f64::from(1 << 20),
                    cycle.fds,
                    cycle.gap.as_secs_f64(),
                );
                check_time(cycle.gap, get("collector.skipped_cycles")?)?;
            }
        }
        drop(sleepers);
        loop {
            let cycle = collector.next(&stop)?;
            let after = cycle.get("io image=scale type=rchar").ok_or("no io")?;
            if after < io {
                return Err(format!("io fell from {io} to {after}").into());
            }
            if cycle.get("procs image=scale") == Some(0) {
                break;
            }
        }
        let log = collector.log();
        if log.len() != 1 {
            return Err(format!("the log has more than one line:\n{}", log.join("\n")).into());
        }
        if !collector.terminate()? {
            return Err("the collector did not exit with status 0".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_cycle_is_an_error() {
        let after = |seconds| Duration::from_secs_f64(seconds);
        // After a long first cycle the second one ends sooner.
        assert!(check_time(after(2.5), 0).is_ok());
        assert!(check_time(after(5.9), 0).is_ok());
        assert!(check_time(after(6.1), 0).is_err());
        assert!(check_time(after(5.0), 1).is_err());
    }
}

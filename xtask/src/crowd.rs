//! `cargo xtask crowd`: tens of thousands of processes beside the collector.

use std::fs;
use std::time::Duration;

use clap::Args;

use crate::accuracy::crowd::Crowd;
use crate::compare::scratch::Scratch;
use crate::stop::Stop;
use crate::storm::collector::Collector;
use crate::{Result, cargo, machine};

/// Let tens of thousands of processes sleep beside the collector, and check what it counts.
///
/// Builds the collector (release) and runs it with a cycle every 5 s, once with the descriptors that
/// the limit allows and once with 64. In each cycle all processes are counted with their threads,
/// and no reading fails; after the first one, which gets to know them all, each is on time: none is
/// left out, and from one to the next it is no more than a second longer. When they have ended,
/// none is left and no io has fallen. Exits 1 if anything of it did not hold. Takes 100 KiB of memory a process, and needs root where the
/// machine has fewer pids (kernel.pid_max): more are allowed meanwhile, then as many as before.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How many processes
    #[arg(long, default_value_t = 32_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    processes: u64,
}

/// What the processes' command lines begin with.
const WORD: &str = "psstat-crowd";
/// The image's series of an idle process, each 1 a process.
const EACH_ONE: [&str; 2] = ["procs image=crowd", "threads image=crowd"];
/// Seconds from cycle to cycle: time for the window and for all the reads.
const INTERVAL: u64 = 5;
/// How much later than that a cycle may come.
const SLACK: Duration = Duration::from_secs(1);
const PID_MAX: &str = "/proc/sys/kernel/pid_max";

/// More pids, until it is dropped.
#[derive(Debug)]
struct Pids {
    before: Option<String>,
}

impl Pids {
    fn enough_for(processes: u64) -> Result<Pids> {
        let before = fs::read_to_string(PID_MAX)?;
        // The machine's own need some too.
        let wanted = processes * 2;
        if before.trim().parse::<u64>()? >= wanted {
            return Ok(Pids { before: None });
        }
        fs::write(PID_MAX, wanted.to_string()).map_err(|error| format!("{PID_MAX}: {error}"))?;
        Ok(Pids { before: Some(before) })
    }
}

impl Drop for Pids {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = fs::write(PID_MAX, before.trim());
        }
    }
}

/// Whether a cycle came when it should, so long after the one before, with so
/// many left out until then.
fn on_time(gap: Duration, left_out: u64) -> Result<()> {
    if left_out > 0 {
        return Err(format!("{left_out} cycles were left out").into());
    }
    if gap > Duration::from_secs(INTERVAL) + SLACK {
        return Err(format!("a cycle came {gap:.2?} after the one before").into());
    }
    Ok(())
}

/// Does it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let stop = Stop::on_signals()?;
    let program = cargo::release("psstat-tcollector")?;
    let _pids = Pids::enough_for(options.processes)?;
    let scratch = Scratch::new()?;
    let conf = scratch.write("psstat.conf", &format!("crowd ^{WORD}\n"))?;
    println!("{}, {}", machine::line(), machine::load());
    println!("descriptors  processes  cpu, ms  wall, ms  resident, MiB  kept  after, s");
    for budget in [usize::try_from(options.processes)? * 4, 64] {
        let crowd = Crowd::start(WORD, usize::try_from(options.processes)?)?;
        let mut collector = Collector::start(&program, &conf, budget, INTERVAL)?;
        let mut io = 0;
        // The first cycle gets to know them all.
        for number in 0..4 {
            let cycle = collector.next(&stop)?;
            let get = |series: &str| cycle.get(series).ok_or_else(|| format!("no {series}"));
            if let Some(refused) = &cycle.refused {
                return Err(format!("a line that tcollector would not take: {refused}").into());
            }
            // The crowd, and the one that started it.
            for series in EACH_ONE {
                let (counted, true_number) = (get(series)?, options.processes + 1);
                if counted != true_number {
                    return Err(format!("{series} is {counted}, not {true_number}").into());
                }
            }
            for file in ["io", "fd", "statm", "stat", "cmdline"] {
                let failed = get(&format!("collector.failed type={file}"))?;
                if failed != 0 {
                    return Err(format!("{failed} readings of {file} failed").into());
                }
            }
            io = get("io image=crowd type=rchar")?;
            let number_of = |series: &str| cycle.number(series).unwrap_or(f64::NAN);
            if number > 0 {
                println!(
                    "{budget:>11} {:>10} {:>8.0} {:>9.0} {:>14.1} {:>5} {:>9.2}",
                    get("procs image=crowd")?,
                    number_of("collector.cpu"),
                    number_of("collector.wall"),
                    cycle.resident as f64 / f64::from(1 << 20),
                    cycle.descriptors,
                    cycle.gap.as_secs_f64(),
                );
                on_time(cycle.gap, get("collector.late")?)?;
            }
        }
        drop(crowd);
        loop {
            let cycle = collector.next(&stop)?;
            let after = cycle.get("io image=crowd type=rchar").ok_or("no io")?;
            if after < io {
                return Err(format!("io fell from {io} to {after}").into());
            }
            if cycle.get("procs image=crowd") == Some(0) {
                break;
            }
        }
        let log = collector.log();
        if log.len() != 1 {
            return Err(format!("it logged:\n{}", log.join("\n")).into());
        }
        if !collector.end()? {
            return Err("it did not end with 0".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_cycle_is_told() {
        let after = |seconds| Duration::from_secs_f64(seconds);
        // After a long first one the second ends sooner.
        assert!(on_time(after(2.5), 0).is_ok());
        assert!(on_time(after(5.9), 0).is_ok());
        assert!(on_time(after(6.1), 0).is_err());
        assert!(on_time(after(5.0), 1).is_err());
    }
}

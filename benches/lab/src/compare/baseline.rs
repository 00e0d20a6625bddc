//! The collector of the working tree against that of a commit, at the same time on the same
//! population.

use std::time::Duration;

use psstat_testproc::TempDir;

use super::Bench;
use super::options::Options;
use super::psstat::{self, CYCLE_TIMEOUT, WINDOW};
use super::syscalls::Calls;
use super::targets::{self, Target};
use crate::collector::CYCLE_END;
use crate::observer::Running;
use crate::stats::{Ratio, Stats};
use crate::stop::Stop;
use crate::table::{Table, mib, ms};
use crate::{Result, cargo, host_info};

/// The measurements of one of the two.
#[derive(Debug, Default)]
struct Side {
    /// Costs of single cycles.
    costs: Vec<Duration>,
    calls: Option<Calls>,
    resident: u64,
}

/// Measures both and prints the table.
pub(super) fn run(commit: &str, options: &Options, dir: &TempDir, stop: &Stop) -> Result<()> {
    let (baseline, hash) = cargo::collector_of(commit)?;
    let commands = [baseline, psstat::program(options)?]
        .map(|program| psstat::collector(&program, options, dir));
    let [baseline, current] = commands;
    let commands = [baseline?, current?];
    let bench = Bench::start(options, stop)?;
    let timeout = CYCLE_TIMEOUT + options.interval();
    let mut sides = [Side::default(), Side::default()];
    // In the second half they start in reverse order, since one of them has the earlier pid and
    // the earlier phase.
    for order in [[0, 1], [1, 0]] {
        eprintln!("both collectors, {} first", ["the baseline", "the current one"][order[0]]);
        let mut running = Vec::new();
        for side in order {
            running.push((side, Running::start(&commands[side], CYCLE_END)?));
            // The windows of the two must neither start nor end at the same time.
            stop.sleep(WINDOW / 2)?;
        }
        let mut readings = [Vec::new(), Vec::new()];
        let (warm_up, cycles) = (options.warm_up.max(1), options.cycles.div_ceil(2).max(1));
        for cycle in 0..warm_up + cycles {
            for (side, running) in &mut running {
                let end = running.next(timeout, stop)?;
                if cycle + 1 >= warm_up {
                    readings[*side].push(end.cpu);
                }
                if cycle + 1 == warm_up + cycles {
                    psstat::check_totals(&end, options, &bench.population)?;
                }
            }
        }
        for (side, mut running) in running {
            let costs = readings[side].windows(2).filter_map(|pair| pair[1].checked_sub(pair[0]));
            sides[side].costs.extend(costs);
            sides[side].resident = sides[side].resident.max(psstat::resident(running.pid())?);
            // Each is traced once, in the half in which it started first.
            if side == order[0] {
                sides[side].calls = psstat::count_calls(&mut running, options, stop)?;
            }
        }
    }
    report(&hash, &sides, &bench.describe())
}

fn report(hash: &str, sides: &[Side; 2], bench: &str) -> Result<()> {
    let stats = sides.each_ref().map(|side| Stats::of(side.costs.clone()));
    let calls = sides.each_ref().map(|side| side.calls.as_ref().map(Calls::total));
    let ratio = Ratio::of(stats[1], stats[0]);
    let calls_ratio = calls[1].zip(calls[0]).map(|(current, baseline)| current / baseline);
    let mut table = Table::new(&[
        "collector",
        "CPU per cycle, ms",
        "mean, ms",
        "calls per cycle",
        "resident, MiB",
    ]);
    for (name, (side, (stats, calls))) in [format!("baseline {hash}"), "current".to_owned()]
        .into_iter()
        .zip(sides.iter().zip(stats.iter().zip(calls)))
    {
        let calls = calls.map_or_else(String::new, |calls| format!("{calls:.0}"));
        table.row([name, ms(stats.median), ms(stats.mean), calls, mib(side.resident)]);
    }
    table.row([
        "ratio".to_owned(),
        format!("{:.3}", ratio.median),
        format!("{:.3}", ratio.mean),
        calls_ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}")),
        format!("{:.3}", sides[1].resident as f64 / sides[0].resident as f64),
    ]);
    println!("{}. {bench} {} cycles of each.\n", host_info::line(), sides[0].costs.len());
    println!("{}", table.text());
    let mut checked = vec![Target::baseline(ratio.max())];
    checked.extend(calls_ratio.map(Target::baseline_calls));
    targets::check(&checked)
}

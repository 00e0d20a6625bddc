//! The collector of the working tree against that of a commit, at the same time on the same
//! population.

use std::time::Duration;

use psstat_testproc::TempDir;

use super::Bench;
use super::options::{Options, Part};
use super::psstat::{self, CYCLE_TIMEOUT, WINDOW};
use super::syscalls::Tracer;
use super::targets::{self, Target};
use crate::collector::{CYCLE_END, SOURCE};
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
    /// System calls per cycle in each half.
    calls: Vec<f64>,
    resident: u64,
}

/// Measures both and prints the table.
pub(super) fn run(commit: &str, options: &Options, dir: &TempDir, stop: &Stop) -> Result<()> {
    let (baseline, hash) = cargo::collector_of(commit)?;
    let commands = [baseline, psstat::program(options)?]
        .map(|program| psstat::collector(&program, options, dir));
    let [baseline, current] = commands;
    let mut commands = [baseline?, current?];
    // Otherwise each by its default.
    if let [source] = options.source[..] {
        for command in &mut commands {
            command.env(SOURCE, source.name());
        }
    }
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
        for cycle in 1..=warm_up + cycles {
            for (side, running) in &mut running {
                let end = running.next(timeout, stop)?;
                if cycle >= warm_up {
                    readings[*side].push(end.cpu);
                }
                if cycle == warm_up + cycles {
                    psstat::check_totals(&end, options, &bench.population)?;
                }
            }
        }
        for (side, readings) in readings.iter().enumerate() {
            let costs = readings.windows(2).filter_map(|pair| pair[1].checked_sub(pair[0]));
            sides[side].costs.extend(costs);
        }
        for (side, running) in &running {
            sides[*side].resident = sides[*side].resident.max(psstat::resident(running.pid())?);
        }
        if options.has(Part::Syscalls) {
            let tracers = running.iter().map(|(_, running)| Tracer::attach(running.pid()));
            let tracers = tracers.collect::<Result<Vec<_>>>()?;
            let cycles = psstat::traced_cycles(options);
            for _ in 0..cycles {
                for (_, running) in &mut running {
                    running.next(timeout, stop)?;
                }
            }
            for (tracer, (side, _)) in tracers.into_iter().zip(&running) {
                sides[*side].calls.push(tracer.finish(cycles)?.total());
            }
        }
    }
    report(&hash, &sides, &bench.describe())
}

fn report(hash: &str, sides: &[Side; 2], bench: &str) -> Result<()> {
    let stats = sides.each_ref().map(|side| Stats::of(side.costs.clone()));
    let calls = sides.each_ref().map(|side| {
        let sum: f64 = side.calls.iter().sum();
        (!side.calls.is_empty()).then(|| sum / side.calls.len() as f64)
    });
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

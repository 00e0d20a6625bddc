//! The cost by number of processes, by number of file descriptors, and by churn.

use std::process::Command;
use std::time::Duration;

use psstat_testproc::TempDir;

use super::floor::Cost;
use super::options::Options;
use super::targets::{self, Target};
use super::{Bench, Relative, own_commands, ratio};
use crate::population::Spec;
use crate::stats::Stats;
use crate::stop::Stop;
use crate::table::{Table, mib, ms};
use crate::{Result, host_info};

/// The population for the values below; with another number of processes they are in proportion.
const BASE: u64 = 2000;
/// Processes, with a proportional number of sockets.
const PROCESSES: [u64; 5] = [500, 1000, 2000, 4000, 8000];
/// File descriptors in total.
const FDS: [u64; 4] = [0, 30_000, 68_000, 100_000];
/// Short-lived processes per second.
const CHURN: [u64; 4] = [0, 10, 100, 800];

/// Measures and prints the curves of the last of psstat's observers.
pub(super) fn run(options: &Options, dir: &TempDir, stop: &Stop) -> Result<()> {
    let (name, command) = own_commands(options, dir)?.pop().ok_or("nothing to measure")?;
    println!("{}. {name}, {} images.\n", host_info::line(), options.images);
    let base = options.spec();
    let scaled = |all: u64, processes: u64| all * processes / base.processes.max(1);

    let mut points = Vec::new();
    let in_proportion = |value: u64| value * base.processes / BASE;
    for processes in PROCESSES.map(in_proportion) {
        let spec = Spec {
            processes,
            matched: scaled(base.matched, processes),
            tcp: scaled(base.tcp, processes),
            udp: scaled(base.udp, processes),
            unix: scaled(base.unix, processes),
            active: scaled(base.active, processes),
            replaced: scaled(base.replaced, processes),
            ..base
        };
        points.push((processes, spec, 0));
    }
    let growth = curve("processes", &points, &command, options, stop)?;

    points.clear();
    for total in FDS.map(in_proportion) {
        let fds = total / base.processes.max(1);
        let spec = if fds == 0 {
            Spec { fds, tcp: 0, udp: 0, unix: 0, replaced: 0, ..base }
        } else {
            Spec { fds, ..base }
        };
        points.push((total, spec, 0));
    }
    curve("file descriptors", &points, &command, options, stop)?;

    points.clear();
    points.extend(CHURN.map(|churn| (churn, base, churn)));
    curve("short-lived processes per second", &points, &command, options, stop)?;
    targets::check(&[Target::growth(growth)])
}

/// One table: (value of the first column, population, churn). Returns the growth of the cost per
/// process.
fn curve(
    axis: &str,
    points: &[(u64, Spec, u64)],
    command: &Command,
    options: &Options,
    stop: &Stop,
) -> Result<f64> {
    let mut table = Table::new(&[
        axis,
        "floor, ms",
        "mean",
        "psstat, ms",
        "mean",
        "to floor",
        "with listing",
        "new processes, ms",
        "psstat, µs per process",
        "calls per cycle",
        "resident, MiB",
        "bytes per further process",
    ]);
    let mut first: Option<(u64, u64)> = None;
    let mut costs = Vec::new();
    for &(value, spec, churn) in points {
        let bench = Bench::with(&spec, churn, stop)?;
        let mut floor = bench.floor(options, stop)?;
        let measured = bench.measure(command, options, stop)?;
        floor.extend(bench.floor(options, stop)?);
        let relative = Relative::new(measured.cpu, &floor);
        let new_processes = Cost::stats(&floor, |cost| cost.new_processes);
        let floor = Cost::stats(&floor, Cost::total);
        let calls =
            measured.calls.map_or_else(String::new, |calls| format!("{:.0}", calls.total()));
        costs.push((relative.cpu, spec.matched));
        let (smallest, resident) = *first.get_or_insert((spec.processes, measured.resident));
        let more = spec.processes.saturating_sub(smallest);
        let grown = measured.resident.saturating_sub(resident);
        let further = grown.checked_div(more).map_or_else(String::new, |bytes| bytes.to_string());
        let per_process = relative.cpu.median.as_secs_f64() * 1e6 / spec.matched.max(1) as f64;
        table.row([
            value.to_string(),
            ms(floor.median),
            ms(floor.mean),
            ms(relative.cpu.median),
            ms(relative.cpu.mean),
            ratio(relative.to_floor.max()),
            ratio(relative.with_listing.max()),
            ms(new_processes.median),
            ratio(per_process),
            calls,
            mib(measured.resident),
            further,
        ]);
    }
    println!("{}", table.text());
    Ok(growth(&costs))
}

/// The growth of the cost per process from the first point to the most expensive one, as a
/// fraction; by median or mean, whichever is more.
fn growth(costs: &[(Stats, u64)]) -> f64 {
    let growth = |part: fn(Stats) -> Duration| {
        let mut each = costs
            .iter()
            .map(|&(cost, processes)| part(cost).as_secs_f64() / processes.max(1) as f64);
        let first = each.next().unwrap_or(f64::NAN);
        each.fold(first, f64::max) / first - 1.0
    };
    growth(|cost| cost.median).max(growth(|cost| cost.mean))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_worst_with_first() {
        let stats = |median, mean| Stats {
            median: Duration::from_millis(median),
            mean: Duration::from_millis(mean),
        };
        let points = [(stats(10, 10), 500), (stats(24, 26), 1000), (stats(40, 40), 2000)];
        assert!((growth(&points) - 0.3).abs() < 1e-9);
        assert!(growth(&points[..1]).abs() < 1e-9);
        assert!(growth(&[]).is_nan());
    }
}

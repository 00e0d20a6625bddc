//! The curve: cost by number of processes, of descriptors, and by churn.

use std::process::Command;
use std::time::Duration;

use super::floor::Cost;
use super::options::Options;
use super::population::{Busy, Spec};
use super::reach::{self, Reach};
use super::scratch::Scratch;
use super::spread::Spread;
use super::table::{Table, machine, mib, ms};
use super::{Placed, Stage, each, own_commands, times};
use crate::Result;
use crate::stop::Stop;

/// The population to which the values below belong; with another number of
/// processes they are in proportion.
const BASE: u64 = 2000;
/// Processes, each with its share of sockets.
const PROCESSES: [u64; 5] = [500, 1000, 2000, 4000, 8000];
/// Descriptors in all.
const DESCRIPTORS: [u64; 4] = [0, 30_000, 68_000, 100_000];
/// Short processes a second.
const CHURN: [u64; 4] = [0, 10, 100, 800];

/// Measures and prints the curve of the last of psstat's own that is there.
pub(super) fn run(options: &Options, scratch: &Scratch, stop: &Stop) -> Result<()> {
    let (name, command) = own_commands(options, scratch)?.pop().ok_or("nothing to measure")?;
    println!("{}. {name}, {} images.\n", machine(), options.images);
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
            busy: match base.busy {
                Busy::Some(busy) => Busy::Some(scaled(busy, processes)),
                Busy::EveryOtherImage => Busy::EveryOtherImage,
            },
            replaced: scaled(base.replaced, processes),
            ..base
        };
        points.push((processes, spec, 0));
    }
    let growth = curve("processes", &points, &command, options, stop)?;

    points.clear();
    for descriptors in DESCRIPTORS.map(in_proportion) {
        let each = descriptors / base.processes.max(1);
        let spec = if each == 0 {
            Spec { descriptors: 0, tcp: 0, udp: 0, unix: 0, replaced: 0, ..base }
        } else {
            Spec { descriptors: each, ..base }
        };
        points.push((descriptors, spec, 0));
    }
    curve("descriptors in all", &points, &command, options, stop)?;

    points.clear();
    points.extend(CHURN.map(|churn| (churn, base, churn)));
    curve("short processes a second", &points, &command, options, stop)?;
    reach::judge(&[Reach::growth(growth)])
}

/// One table: (value of the first column, population, churn). Gives by how much
/// of the first a point costs more a process.
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
        "to the floor",
        "and a listing",
        "those that came, ms",
        "psstat, µs a process",
        "calls a cycle",
        "resident, MiB",
        "bytes a further process",
    ]);
    let mut first: Option<(u64, u64)> = None;
    let mut costs = Vec::new();
    for (value, spec, churn) in points {
        eprintln!("{axis}: {value}");
        let stage = Stage::set(spec, *churn, stop)?;
        let mut floor = stage.floor(options, stop)?;
        let measured = stage.measure(command, options, stop)?;
        floor.extend(stage.floor(options, stop)?);
        let placed = Placed::new(measured.cpu, &floor);
        let newcomers = Cost::spread(&floor, |cost| cost.newcomers);
        let floor = Cost::spread(&floor, Cost::total);
        let calls =
            measured.calls.map_or_else(String::new, |calls| format!("{:.0}", calls.total()));
        costs.push((placed.cpu, spec.matched));
        let (least, lightest) = *first.get_or_insert((spec.processes, measured.resident));
        let more = spec.processes.saturating_sub(least);
        let grown = measured.resident.saturating_sub(lightest);
        let further = grown.checked_div(more).map_or_else(String::new, |each| each.to_string());
        table.row([
            value.to_string(),
            ms(floor.median),
            ms(floor.mean),
            ms(placed.cpu.median),
            ms(placed.cpu.mean),
            times(placed.to_floor.most()),
            times(placed.with_listing.most()),
            ms(newcomers.median),
            each(placed.cpu.median, spec.matched),
            calls,
            mib(measured.resident),
            further,
        ]);
    }
    println!("{}", table.text());
    Ok(growth(&costs))
}

/// By how much of the first the dearest of some points costs more a process,
/// by the middle or the mean, whichever grows more.
fn growth(costs: &[(Spread, u64)]) -> f64 {
    let of = |part: fn(Spread) -> Duration| {
        let mut each = costs
            .iter()
            .map(|&(cost, processes)| part(cost).as_secs_f64() / processes.max(1) as f64);
        let first = each.next().unwrap_or(f64::NAN);
        each.fold(first, f64::max) / first - 1.0
    };
    of(|cost| cost.median).max(of(|cost| cost.mean))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dearest_is_held_against_the_first() {
        let spread = |median, mean| Spread {
            median: Duration::from_millis(median),
            mean: Duration::from_millis(mean),
        };
        let points = [(spread(10, 10), 500), (spread(24, 26), 1000), (spread(40, 40), 2000)];
        assert!((growth(&points) - 0.3).abs() < 1e-9);
        assert!(growth(&points[..1]).abs() < 1e-9);
        assert!(growth(&[]).is_nan());
    }
}

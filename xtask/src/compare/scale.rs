//! The curve: cost by number of processes, of descriptors, and by churn.

use std::process::Command;

use super::floor::Cost;
use super::options::Options;
use super::population::Spec;
use super::scratch::Scratch;
use super::table::{Table, machine, mib, ms, ratio};
use super::{Stage, each, own_commands, psstat};
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
            ..base
        };
        points.push((processes, spec, 0));
    }
    curve("processes", &points, &command, options, stop)?;

    points.clear();
    for descriptors in DESCRIPTORS.map(in_proportion) {
        let each = descriptors / base.processes.max(1);
        let spec = if each == 0 {
            Spec { descriptors: 0, tcp: 0, udp: 0, unix: 0, ..base }
        } else {
            Spec { descriptors: each, ..base }
        };
        points.push((descriptors, spec, 0));
    }
    curve("descriptors in all", &points, &command, options, stop)?;

    points.clear();
    points.extend(CHURN.map(|churn| (churn, base, churn)));
    curve("short processes a second", &points, &command, options, stop)
}

/// One table: (value of the first column, population, churn).
fn curve(
    axis: &str,
    points: &[(u64, Spec, u64)],
    command: &Command,
    options: &Options,
    stop: &Stop,
) -> Result<()> {
    let mut table = Table::new(&[
        axis,
        "floor, ms",
        "psstat, ms",
        "to the floor",
        "psstat, µs a process",
        "calls a cycle",
        "resident, MiB",
        "bytes a further process",
    ]);
    let mut first: Option<(u64, u64, f64)> = None;
    let mut dearest = 0.0f64;
    for (value, spec, churn) in points {
        eprintln!("{axis}: {value}");
        let stage = Stage::set(spec, *churn, stop)?;
        let mut costs = stage.floor(options, stop)?;
        let measured = psstat::measure(command, options, stage.population.truth, stop)?;
        costs.extend(stage.floor(options, stop)?);
        let floor = Cost::median(&costs).total();
        let calls =
            measured.calls.map_or_else(String::new, |calls| format!("{:.0}", calls.total()));
        let cost = measured.cpu.median.as_secs_f64() / spec.matched.max(1) as f64;
        dearest = dearest.max(cost);
        let (least, lightest, _) = *first.get_or_insert((spec.processes, measured.resident, cost));
        let more = spec.processes.saturating_sub(least);
        let grown = measured.resident.saturating_sub(lightest);
        let further = grown.checked_div(more).map_or_else(String::new, |each| each.to_string());
        table.row([
            value.to_string(),
            ms(floor),
            ms(measured.cpu.median),
            format!("{:.2}", ratio(measured.cpu.median, floor)),
            each(measured.cpu.median, spec.matched),
            calls,
            mib(measured.resident),
            further,
        ]);
    }
    println!("{}", table.text());
    if let Some((.., of_first)) = first {
        let growth = 100.0 * (dearest / of_first - 1.0);
        println!("The dearest costs {growth:+.0} % a process against the first.\n");
    }
    Ok(())
}

//! `cargo xtask compare`: what a cycle of psstat costs, beside the kernel's
//! floor and other tools, all on the same processes and in the same run.

pub(crate) mod churn;
mod dedup;
mod diag;
pub(crate) mod flood;
mod floor;
pub(crate) mod member;
pub(crate) mod meter;
mod only;
pub(crate) mod options;
pub(crate) mod peers;
pub(crate) mod population;
mod psstat;
pub(crate) mod release;
pub(crate) mod sample;
mod scale;
pub(crate) mod scratch;
mod spread;
mod syscalls;
pub(crate) mod table;

use std::process::Command;
use std::time::Duration;

use self::churn::Churn;
use self::floor::{Cost, Floor};
use self::options::{Options, Part};
use self::population::{Population, Spec, raise_descriptor_limit};
use self::psstat::Measured;
use self::scratch::Scratch;
use self::spread::Spread;
use self::table::{Table, machine, mib, ms, ratio};
use crate::Result;
use crate::stop::Stop;

/// Runs the comparison and prints its tables.
pub(crate) fn run(options: &Options) -> Result<()> {
    release::hand_over()?;
    let _only = only::Only::here()?;
    let stop = Stop::on_signals()?;
    let scratch = Scratch::new()?;
    if options.scale {
        return scale::run(options, &scratch, &stop);
    }
    if let Some(forks) = options.flood {
        return flood::run(forks, options, &scratch, &stop);
    }
    if options.dedup {
        return dedup::run(options, &scratch, &stop);
    }
    let stage = Stage::set(&options.spec(), options.churn, &stop)?;
    let mut table = Table::new(&[
        "observer",
        "CPU a cycle, ms",
        "mean, ms",
        "to psstat",
        "to the floor",
        "calls a cycle",
        "resident, MiB",
        "lacks",
    ]);
    eprintln!("the kernel's floor");
    let mut beside = Beside::new(&stage, options, &stop)?;
    let mut own = Vec::new();
    for (name, command) in own_commands(options, &scratch)? {
        eprintln!("{name}");
        let measured = psstat::measure(&command, options, stage.population.truth, &stop)?;
        own.push((name, beside.place(measured.cpu)?, measured));
    }
    let mut others = Vec::new();
    let mut absent = Vec::new();
    for peer in peers::PEERS {
        eprintln!("{}", peer.name);
        match peer.measure(options, &scratch, &stop) {
            Ok(cpu) => others.push((peer, beside.place(cpu)?)),
            Err(error) => {
                stop.check()?;
                absent.push(format!("{}: {error}", peer.name));
            }
        }
    }
    let floor = Cost::median(&beside.all);
    let psstat = own.last().map(|(_, placed, _)| placed.to_floor);
    let to_psstat = |to_floor: f64| {
        psstat.map_or_else(String::new, |psstat| format!("{:.2}", to_floor / psstat))
    };
    let empty = String::new;
    let parts = [
        ("floor: listing /proc", floor.listing),
        ("floor: processes", floor.processes),
        ("floor: tcp table", floor.tcp),
        ("floor: udp tables", floor.udp),
        ("floor: unix table", floor.unix),
        ("floor in all", floor.total()),
    ];
    for (name, cpu) in parts {
        let to_floor = ratio(cpu, floor.total());
        let cells = [to_psstat(to_floor), format!("{to_floor:.2}")];
        let [to_psstat, to_floor] = cells;
        table.row([name.into(), ms(cpu), empty(), to_psstat, to_floor, empty(), empty(), empty()]);
    }
    for (name, placed, measured) in &own {
        let Measured { cpu, calls, resident } = measured;
        let (cpu, mean) = (ms(cpu.median), ms(cpu.mean));
        let calls =
            calls.as_ref().map_or_else(String::new, |calls| format!("{:.0}", calls.total()));
        let (to_psstat, to_floor) = (to_psstat(placed.to_floor), placed.text());
        let resident = mib(*resident);
        table.row([(*name).into(), cpu, mean, to_psstat, to_floor, calls, resident, empty()]);
    }
    for (peer, placed) in &others {
        let (to_psstat, to_floor) = (to_psstat(placed.to_floor), placed.text());
        let (cpu, mean) = (ms(placed.cpu.median), ms(placed.cpu.mean));
        let lacks = peer.lacks.into();
        table.row([peer.name.into(), cpu, mean, to_psstat, to_floor, empty(), empty(), lacks]);
    }
    println!("{}. {}\n", machine(), stage.describe());
    println!("{}", table.text());
    for line in absent {
        println!("- {line}");
    }
    print_calls(&own);
    if let Some((name, placed, _)) = own.last() {
        let beyond = placed.cpu.median.saturating_sub(placed.floor.tables());
        println!("\n{name} less the socket tables: {} ms", ms(beyond));
    }
    Ok(())
}

/// psstat's own: the sampler, the collector.
fn own_commands(options: &Options, scratch: &Scratch) -> Result<Vec<(&'static str, Command)>> {
    let mut commands = Vec::new();
    if options.has(Part::Sampler) {
        commands.push(("psstat, the sampler alone", psstat::sampler(options)));
    }
    if options.has(Part::Collector) {
        let path = psstat::collector_path(options)?;
        commands.push(("psstat-tcollector", psstat::collector(&path, options, scratch)?));
    }
    Ok(commands)
}

fn print_calls(own: &[(&'static str, Placed, Measured)]) {
    for (name, _, measured) in own {
        let Some(calls) = &measured.calls else { continue };
        let calls = calls.0.iter().map(|(call, count)| format!("{call} {count:.1}"));
        println!("\nSystem calls a cycle, {name}: {}", calls.collect::<Vec<_>>().join(", "));
    }
}

/// Measures the floor again after each observer, so that each is held against
/// the floor right before and right after it: a machine's speed drifts.
#[derive(Debug)]
struct Beside<'a> {
    stage: &'a Stage,
    options: &'a Options,
    stop: &'a Stop,
    /// The cycles of the last measurement.
    last: Vec<Cost>,
    /// The cycles of all.
    all: Vec<Cost>,
}

/// What an observer costs, and the floor beside it.
#[derive(Clone, Copy, Debug)]
struct Placed {
    cpu: Spread,
    floor: Cost,
    to_floor: f64,
}

impl<'a> Beside<'a> {
    fn new(stage: &'a Stage, options: &'a Options, stop: &'a Stop) -> Result<Beside<'a>> {
        let last = stage.floor(options, stop)?;
        Ok(Beside { stage, options, stop, all: last.clone(), last })
    }

    /// For an observer that was measured since the last floor.
    fn place(&mut self, cpu: Spread) -> Result<Placed> {
        let after = self.stage.floor(self.options, self.stop)?;
        self.all.extend(&after);
        self.last.extend(&after);
        let floor = Cost::median(&self.last);
        self.last = after;
        Ok(Placed { cpu, floor, to_floor: ratio(cpu.median, floor.total()) })
    }
}

impl Placed {
    fn text(&self) -> String {
        format!("{:.2}", self.to_floor)
    }
}

/// A population, with what else lives beside it.
#[derive(Debug)]
struct Stage {
    spec: Spec,
    /// How many a process may have open here.
    descriptors: u64,
    population: Population,
    churning: u64,
    /// Ended when the stage is.
    _churn: Option<Churn>,
}

impl Stage {
    fn set(spec: &Spec, churn: u64, stop: &Stop) -> Result<Stage> {
        let descriptors = raise_descriptor_limit(floor::DESCRIPTORS * spec.processes + 1000)?;
        eprintln!("{} processes", spec.processes);
        let population = Population::start(spec, stop)?;
        let running = if churn > 0 { Some(Churn::start(churn)?) } else { None };
        Ok(Stage { spec: *spec, descriptors, population, churning: churn, _churn: running })
    }

    /// A quarter of the cycles; it is measured at least twice.
    fn floor(&self, options: &Options, stop: &Stop) -> Result<Vec<Cost>> {
        let mut floor = Floor::new(&self.population.matched, self.descriptors)?;
        let cycles = (options.cycles / 4).max(2);
        let costs = floor.cycles(cycles, psstat::WINDOW, options.interval(), stop)?;
        let wanted = [self.spec.tcp, self.spec.udp, self.spec.unix];
        if floor.rows.iter().zip(wanted).any(|(&rows, wanted)| rows < wanted / 2 * 2) {
            let rows = floor.rows;
            return Err(format!("the tables have {rows:?} rows where {wanted:?} are made").into());
        }
        Ok(costs)
    }

    fn describe(&self) -> String {
        let Spec { processes, matched, images, descriptors, tcp, udp, unix, .. } = self.spec;
        let churn = match self.churning {
            0 => String::new(),
            churn => format!(", {churn} short processes a second"),
        };
        format!(
            "{processes} processes of {descriptors} descriptors, {matched} of them in {images} \
             images; {tcp} tcp, {udp} udp and {unix} unix sockets{churn}."
        )
    }
}

/// CPU time a process.
fn each(time: Duration, processes: u64) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e6 / processes.max(1) as f64)
}

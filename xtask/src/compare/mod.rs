//! `cargo xtask compare`: what a cycle of psstat costs, beside the kernel's
//! floor and other tools, all on the same processes and in the same run.

pub(crate) mod churn;
mod dedup;
mod diag;
pub(crate) mod flood;
mod floor;
pub(crate) mod member;
pub(crate) mod meter;
mod newcomers;
mod only;
pub(crate) mod options;
pub(crate) mod peers;
pub(crate) mod population;
mod psstat;
mod reach;
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
use self::population::{Busy, Population, Spec, raise_descriptor_limit};
use self::psstat::Measured;
use self::reach::Reach;
use self::scratch::Scratch;
use self::spread::{Spread, Times};
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
    eprintln!("the kernel's floor");
    let mut beside = Beside::new(&stage, options, &stop)?;
    let mut own = Vec::new();
    for (name, command) in own_commands(options, &scratch)? {
        eprintln!("{name}");
        let measured = stage.measure(&command, options, &stop)?;
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
    let (table, bounds) = table(&stage, &beside.all, &own, &others);
    println!("{}. {}\n", machine(), stage.describe());
    println!("{}", table.text());
    for line in absent {
        println!("- {line}");
    }
    print_calls(&own);
    println!();
    reach::judge(&bounds)
}

/// The table, and what is to be reached: of the last of psstat's own, and of
/// the others beside it. Where not all are matched, others that read all the
/// processes have no bound, nor has the floor, which reads the matched alone.
fn table(
    stage: &Stage,
    floor: &[Cost],
    own: &[(&'static str, Placed, Measured)],
    others: &[(peers::Peer, Placed)],
) -> (Table, Vec<Reach>) {
    let mut table = Table::new(&[
        "observer",
        "CPU a cycle, ms",
        "mean, ms",
        "to psstat",
        "to the floor",
        "and a listing",
        "calls a cycle",
        "resident, MiB",
        "reach",
        "lacks",
    ]);
    let Spec { processes, matched, .. } = stage.spec;
    let all_matched = matched == processes;
    let mut bounds = Vec::new();
    let psstat = own.last().map(|(_, placed, _)| *placed);
    let empty = String::new;
    let total = Cost::spread(floor, Cost::total);
    let part = |part: fn(Cost) -> Duration| Cost::spread(floor, part);
    let came = came_a_cycle(floor);
    let newcomers = format!("the {came} that came, no part of the floor");
    let newcomers = (came > 0).then(|| (&*newcomers, part(|cost| cost.newcomers)));
    let beside = [("listing /proc, no part of the floor", part(|cost| cost.listing))];
    for (name, cpu) in beside.into_iter().chain(newcomers).chain([
        ("floor: processes", part(|cost| cost.processes)),
        ("floor: tcp table", part(|cost| cost.tcp)),
        ("floor: udp tables", part(|cost| cost.udp)),
        ("floor: unix table", part(|cost| cost.unix)),
        ("floor in all", total),
    ]) {
        let to_floor = format!("{:.2}", ratio(cpu.median, total.median));
        let mut cells = [const { String::new() }; 10];
        cells[..3].clone_from_slice(&[name.into(), ms(cpu.median), ms(cpu.mean)]);
        cells[4] = to_floor;
        table.row(cells);
    }
    for (number, (name, placed, measured)) in own.iter().enumerate() {
        let Measured { calls, resident, .. } = measured;
        let calls =
            calls.as_ref().map_or_else(String::new, |calls| format!("{:.0}", calls.total()));
        let mut reach = Vec::new();
        if number + 1 == own.len() {
            let beyond = placed.cpu.median.max(placed.cpu.mean).saturating_sub(placed.tables);
            let has_bound = has_bound_by_floor(&stage.spec, stage.churning);
            reach.extend(has_bound.then(|| Reach::floor(placed.to_floor.most())));
            reach.extend(Reach::beyond_tables(beyond, matched, processes));
            reach.push(Reach::memory(*resident, processes));
        }
        let cells: Vec<_> = reach.iter().map(Reach::bound).collect();
        bounds.extend(reach);
        table.row([
            (*name).into(),
            ms(placed.cpu.median),
            ms(placed.cpu.mean),
            psstat.map_or_else(empty, |psstat| times(placed.to_floor.to(psstat.to_floor).most())),
            times(placed.to_floor.most()),
            times(placed.with_listing.most()),
            calls,
            mib(*resident),
            cells.join(", "),
            empty(),
        ]);
    }
    for (peer, placed) in others {
        let to_psstat = psstat.map(|psstat| placed.to_floor.to(psstat.to_floor).least());
        let reach = to_psstat.zip(peer.reach.filter(|_| all_matched));
        let reach = reach.map(|(times, reach)| Reach::peer(peer.name, times, reach));
        table.row([
            peer.name.into(),
            ms(placed.cpu.median),
            ms(placed.cpu.mean),
            to_psstat.map_or_else(empty, times),
            times(placed.to_floor.least()),
            times(placed.with_listing.least()),
            empty(),
            empty(),
            reach.as_ref().map_or_else(empty, Reach::bound),
            peer.lacks.into(),
        ]);
        bounds.extend(reach);
    }
    (table, bounds)
}

/// Whether the floor reads all that psstat does of these processes, beside so many
/// short ones a second: it reads the matched alone, and nothing that only changes ask
/// for.
fn has_bound_by_floor(spec: &Spec, churning: u64) -> bool {
    spec.matched == spec.processes && spec.replaced == 0 && churning == 0
}

/// How many processes came between two cycles, on the average.
fn came_a_cycle(floor: &[Cost]) -> usize {
    floor.iter().map(|cost| cost.came).sum::<usize>() / floor.len().max(1)
}

fn times(times: f64) -> String {
    format!("{times:.2}")
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
    /// The socket tables alone.
    tables: Duration,
    to_floor: Times,
    /// To a floor that lists `/proc` in each cycle too.
    with_listing: Times,
}

impl Placed {
    fn new(cpu: Spread, floor: &[Cost]) -> Placed {
        let times = |part| Times::of(cpu, Cost::spread(floor, part));
        Placed {
            cpu,
            tables: Cost::spread(floor, Cost::tables).median,
            to_floor: times(Cost::total),
            with_listing: times(Cost::with_listing),
        }
    }
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
        let placed = Placed::new(cpu, &self.last);
        self.last = after;
        Ok(placed)
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
        // Both ends of a connection that is being replaced are missing.
        let missing = 2 * self.spec.replaced;
        let least = |wanted: u64| (wanted / 2 * 2).saturating_sub(missing);
        if floor.rows.iter().zip(wanted).any(|(&rows, wanted)| rows < least(wanted)) {
            let rows = floor.rows;
            return Err(format!("the tables have {rows:?} rows where {wanted:?} are made").into());
        }
        Ok(costs)
    }

    /// What psstat costs by this command.
    fn measure(&self, command: &Command, options: &Options, stop: &Stop) -> Result<Measured> {
        psstat::measure(command, options, self.population.truth, self.spec.replaced, stop)
    }

    fn describe(&self) -> String {
        let Spec { processes, matched, images, descriptors, tcp, udp, unix, .. } = self.spec;
        let mut besides = String::new();
        for (count, what) in [
            (if let Busy::Some(busy) = self.spec.busy { busy } else { 0 }, "busy ones"),
            (self.spec.replaced, "connections replaced a second"),
            (self.churning, "short processes a second"),
        ] {
            if count > 0 {
                besides.push_str(&format!(", {count} {what}"));
            }
        }
        format!(
            "{processes} processes of {descriptors} descriptors, {matched} of them in {images} \
             images; {tcp} tcp, {udp} udp and {unix} unix sockets{besides}."
        )
    }
}

/// CPU time a process.
fn each(time: Duration, processes: u64) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e6 / processes.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound was once missed for changes that the floor does not read.
    #[test]
    fn the_floor_is_no_measure_where_something_changes() {
        let spec = Spec {
            processes: 2,
            matched: 2,
            images: 1,
            descriptors: 4,
            tcp: 2,
            udp: 0,
            unix: 0,
            busy: Busy::Some(1),
            replaced: 0,
        };
        assert!(has_bound_by_floor(&spec, 0));
        assert!(!has_bound_by_floor(&spec, 1));
        assert!(!has_bound_by_floor(&Spec { replaced: 1, ..spec }, 0));
        assert!(!has_bound_by_floor(&Spec { matched: 1, ..spec }, 0));
    }
}

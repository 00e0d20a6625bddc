//! `cargo lab compare`: the cost of a cycle of psstat, of the kernel's floor and of other tools, on
//! the same processes in the same run.

mod baseline;
mod curves;
mod flood;
mod floor;
mod new_processes;
pub(crate) mod options;
mod psstat;
mod sock_diag;
mod syscalls;
mod targets;

use std::process::Command;
use std::time::Duration;

use psstat_testproc::TempDir;

use self::floor::{Cost, Floor};
use self::options::{Options, Part};
use self::psstat::Measured;
use self::targets::Target;
use crate::child_modes::{ChildGuard, churn};
use crate::collector::SOURCE;
use crate::peers::Peer;
use crate::population::{Population, Spec, raise_fd_limit};
use crate::run_lock::RunLock;
use crate::stats::{Ratio, Stats};
use crate::stop::Stop;
use crate::table::{Table, mib, ms};
use crate::{Result, host_info};

/// Runs the comparison and prints its tables.
pub(crate) fn run(options: &Options) -> Result<()> {
    let _lock = RunLock::acquire()?;
    let stop = Stop::on_signals()?;
    let dir = TempDir::new()?;
    if let Some(commit) = &options.baseline {
        return baseline::run(commit, options, &dir, &stop);
    }
    if options.curves {
        return curves::run(options, &dir, &stop);
    }
    if let Some(forks) = options.flood {
        return flood::run(forks, options, &dir, &stop);
    }
    let commands = own_commands(options, &dir)?;
    let bench = Bench::start(options, &stop)?;
    eprintln!("the floor of the kernel");
    let mut floor = FloorTracker::new(&bench, options, &stop)?;
    let mut own = Vec::new();
    for (name, command) in commands {
        eprintln!("{name}");
        let measured = bench.measure(&command, options, &stop)?;
        own.push((name, floor.relative(measured.cpu)?, measured));
    }
    let mut peers = Vec::new();
    let mut absent = Vec::new();
    for peer in Peer::ALL {
        if !options.has_peer(peer) {
            absent.push(format!("{}: left out", peer.name()));
            continue;
        }
        eprintln!("{}", peer.name());
        match peer.measure(&dir, &stop) {
            Ok(cost) => peers.push((peer, floor.relative(cost.cpu)?, cost.resident)),
            Err(error) => {
                stop.check()?;
                absent.push(format!("{}: {error}", peer.name()));
            }
        }
    }
    let (table, targets) = table(&bench, &floor.all, &own, &peers);
    println!("{}. {}\n", host_info::line(), bench.describe());
    println!("{}", table.text());
    for line in absent {
        println!("- {line}");
    }
    for (name, _, measured) in &own {
        let Some(calls) = &measured.calls else { continue };
        let calls = calls.0.iter().map(|(call, count)| format!("{call} {count:.1}"));
        println!("\nSystem calls per cycle, {name}: {}", calls.collect::<Vec<_>>().join(", "));
    }
    println!();
    targets::check(&targets)
}

/// psstat's observers: the sampler, the collector.
fn own_commands(options: &Options, dir: &TempDir) -> Result<Vec<(&'static str, Command)>> {
    let mut commands = Vec::new();
    if options.has(Part::Sampler) {
        commands.push(("psstat, the sampler alone", psstat::sampler(options)));
    }
    if options.has(Part::Collector) {
        let program = psstat::program(options)?;
        for source in &options.source {
            let mut command = psstat::collector(&program, options, dir)?;
            command.env(SOURCE, source.name());
            commands.push((source.observer(), command));
        }
    }
    Ok(commands)
}

/// The table and the targets: of the last of psstat's observers, and of the other tools relative to
/// it. Where not all processes are matched, there is no target for tools that read all of them, nor
/// for the floor, which reads the matched ones only.
fn table(
    bench: &Bench,
    floor: &[Cost],
    own: &[(&'static str, Relative, Measured)],
    peers: &[(Peer, Relative, u64)],
) -> (Table, Vec<Target>) {
    let mut table = Table::new(&[
        "observer",
        "CPU per cycle, ms",
        "mean, ms",
        "to psstat",
        "to floor",
        "with listing",
        "calls per cycle",
        "resident, MiB",
        "target",
        "lacks",
    ]);
    let Spec { processes, matched, .. } = bench.spec;
    let mut targets = Vec::new();
    let psstat = own.last().map(|(_, relative, _)| *relative);
    let stats = |part: fn(Cost) -> Duration| Cost::stats(floor, part);
    let total = stats(Cost::total);
    let new_count = floor.iter().map(|cost| cost.new_count).sum::<usize>() / floor.len().max(1);
    let new = format!("{new_count} new processes, not in the floor");
    let mut rows = vec![("listing /proc, not in the floor", stats(|cost| cost.listing))];
    if new_count > 0 {
        rows.push((&new, stats(|cost| cost.new_processes)));
    }
    rows.extend([
        ("floor: processes", stats(|cost| cost.processes)),
        ("floor: tcp table", stats(|cost| cost.tcp)),
        ("floor: udp tables", stats(|cost| cost.udp)),
        ("floor: unix table", stats(|cost| cost.unix)),
        ("floor, total", total),
    ]);
    for (name, cpu) in rows {
        let mut cells = [const { String::new() }; 10];
        cells[..3].clone_from_slice(&[name.into(), ms(cpu.median), ms(cpu.mean)]);
        cells[4] = ratio(Ratio::of(cpu, total).median);
        table.row(cells);
    }
    for (number, (name, relative, measured)) in own.iter().enumerate() {
        let calls = measured.calls.as_ref();
        let mut own_targets = Vec::new();
        if number + 1 == own.len() {
            let cpu = relative.cpu.median.max(relative.cpu.mean);
            let above_tables = cpu.saturating_sub(relative.tables);
            let has_target = floor_is_target(&bench.spec, bench.churn);
            own_targets.extend(has_target.then(|| Target::floor(relative.to_floor.max())));
            own_targets.extend(Target::above_tables(above_tables, matched, processes));
            own_targets.push(Target::memory(measured.resident, processes));
        }
        let bounds: Vec<_> = own_targets.iter().map(Target::bound).collect();
        targets.extend(own_targets);
        table.row([
            (*name).into(),
            ms(relative.cpu.median),
            ms(relative.cpu.mean),
            psstat.map_or_else(String::new, |psstat| {
                ratio(relative.to_floor.to(psstat.to_floor).max())
            }),
            ratio(relative.to_floor.max()),
            ratio(relative.with_listing.max()),
            calls.map_or_else(String::new, |calls| format!("{:.0}", calls.total())),
            mib(measured.resident),
            bounds.join(", "),
            String::new(),
        ]);
    }
    for (peer, relative, resident) in peers {
        let to_psstat = psstat.map(|psstat| relative.to_floor.to(psstat.to_floor).min());
        let target = to_psstat.zip(peer.target().filter(|_| matched == processes));
        let target = target.map(|(ratio, target)| Target::peer(peer.name(), ratio, target));
        table.row([
            peer.name().into(),
            ms(relative.cpu.median),
            ms(relative.cpu.mean),
            to_psstat.map_or_else(String::new, ratio),
            ratio(relative.to_floor.min()),
            ratio(relative.with_listing.min()),
            String::new(),
            mib(*resident),
            target.as_ref().map_or_else(String::new, Target::bound),
            peer.lacks().into(),
        ]);
        targets.extend(target);
    }
    (table, targets)
}

/// Whether the floor reads everything that psstat reads of this population: it reads the matched
/// processes only, and nothing that is read after a change.
fn floor_is_target(spec: &Spec, churn: u64) -> bool {
    spec.matched == spec.processes && spec.replaced == 0 && churn == 0
}

fn ratio(ratio: f64) -> String {
    format!("{ratio:.2}")
}

/// The cost of an observer relative to the floor right before and after it.
#[derive(Clone, Copy, Debug)]
struct Relative {
    cpu: Stats,
    /// The cost of the socket tables alone.
    tables: Duration,
    to_floor: Ratio,
    /// To a floor with a listing of `/proc` per cycle.
    with_listing: Ratio,
}

impl Relative {
    fn new(cpu: Stats, floor: &[Cost]) -> Relative {
        let ratio = |part| Ratio::of(cpu, Cost::stats(floor, part));
        Relative {
            cpu,
            tables: Cost::stats(floor, Cost::tables).median,
            to_floor: ratio(Cost::total),
            with_listing: ratio(Cost::with_listing),
        }
    }
}

/// Measures the floor again after each observer, since the speed of a machine changes.
#[derive(Debug)]
struct FloorTracker<'a> {
    bench: &'a Bench,
    options: &'a Options,
    stop: &'a Stop,
    /// The cycles of the last measurement.
    last: Vec<Cost>,
    /// The cycles of all.
    all: Vec<Cost>,
}

impl<'a> FloorTracker<'a> {
    fn new(bench: &'a Bench, options: &'a Options, stop: &'a Stop) -> Result<FloorTracker<'a>> {
        let last = bench.floor(options, stop)?;
        Ok(FloorTracker { bench, options, stop, all: last.clone(), last })
    }

    /// For an observer that was measured after the last floor.
    fn relative(&mut self, cpu: Stats) -> Result<Relative> {
        let after = self.bench.floor(self.options, self.stop)?;
        self.all.extend(&after);
        self.last.extend(&after);
        let relative = Relative::new(cpu, &self.last);
        self.last = after;
        Ok(relative)
    }
}

/// A population and the churn besides.
#[derive(Debug)]
struct Bench {
    spec: Spec,
    /// The fd limit of a process.
    fd_limit: u64,
    population: Population,
    churn: u64,
    _churn: Option<ChildGuard>,
}

impl Bench {
    fn start(options: &Options, stop: &Stop) -> Result<Bench> {
        Bench::with(&options.spec(), options.churn, stop)
    }

    fn with(spec: &Spec, churn: u64, stop: &Stop) -> Result<Bench> {
        let fd_limit = raise_fd_limit(floor::FDS_PER_PROCESS * spec.processes + 1000)?;
        eprintln!("{} processes", spec.processes);
        let population = Population::start(spec, stop)?;
        let guard = if churn > 0 { Some(churn::start(churn)?) } else { None };
        Ok(Bench { spec: *spec, fd_limit, population, churn, _churn: guard })
    }

    /// Measures the floor for a quarter of the cycles, at least two: it is measured at least twice.
    fn floor(&self, options: &Options, stop: &Stop) -> Result<Vec<Cost>> {
        let mut floor = Floor::new(&self.population.matched, self.fd_limit)?;
        let cycles = (options.cycles / 4).max(2);
        let costs = floor.cycles(cycles, psstat::WINDOW, options.interval(), stop)?;
        let expected = [self.spec.tcp, self.spec.udp, self.spec.unix];
        // Both ends of a connection under replacement are missing.
        let missing = 2 * self.spec.replaced;
        let least = |expected: u64| (expected / 2 * 2).saturating_sub(missing);
        if floor.rows.iter().zip(expected).any(|(&rows, expected)| rows < least(expected)) {
            let rows = floor.rows;
            return Err(format!("the tables have {rows:?} rows, expected {expected:?}").into());
        }
        Ok(costs)
    }

    /// Measures psstat with this command.
    fn measure(&self, command: &Command, options: &Options, stop: &Stop) -> Result<Measured> {
        psstat::measure(command, options, &self.population, stop)
    }

    fn describe(&self) -> String {
        let Spec { processes, matched, images, fds, tcp, udp, unix, .. } = self.spec;
        let mut also = String::new();
        for (count, name) in [
            (self.spec.active, "active"),
            (self.spec.replaced, "connections replaced per second"),
            (self.churn, "short-lived processes per second"),
        ] {
            if count > 0 {
                also.push_str(&format!(", {count} {name}"));
            }
        }
        format!(
            "{processes} processes with {fds} fds each, {matched} of them in {images} images; {tcp} \
             tcp, {udp} udp and {unix} unix sockets{also}."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The target was once missed because of changes, which the floor does not read.
    #[test]
    fn floor_is_not_a_target_under_churn() {
        let spec = Spec {
            processes: 2,
            matched: 2,
            images: 1,
            fds: 4,
            tcp: 2,
            udp: 0,
            unix: 0,
            active: 1,
            replaced: 0,
        };
        assert!(floor_is_target(&spec, 0));
        assert!(!floor_is_target(&spec, 1));
        assert!(!floor_is_target(&Spec { replaced: 1, ..spec }, 0));
        assert!(!floor_is_target(&Spec { matched: 1, ..spec }, 0));
    }
}

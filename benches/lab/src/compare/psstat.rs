//! Measures psstat: the collector, or the sampler alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use psstat_testproc::TempDir;

use super::options::{Options, Part, Source};
use super::syscalls::{Calls, Tracer};
use crate::collector::{CYCLE_END, SOURCE};
use crate::observer::{Marker, Running};
use crate::population::{Population, Totals, config};
use crate::stats::Stats;
use crate::stop::Stop;
use crate::{Result, cargo, child_modes};

/// The cost of a cycle of psstat.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) cpu: Stats,
    pub(crate) calls: Option<Calls>,
    /// Bytes.
    pub(crate) resident: u64,
}

/// The window of psstat.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);
/// The maximum duration of a cycle, under strace too.
pub(crate) const CYCLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The command of the sampler alone.
pub(crate) fn sampler(options: &Options) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(child_modes::command(child_modes::SAMPLER).get_args());
    command.args([WINDOW, options.interval()].map(|time| time.as_millis().to_string()));
    command
}

/// The collector of the working tree, or the given one.
pub(crate) fn program(options: &Options) -> Result<PathBuf> {
    options.psstat.clone().map_or_else(cargo::collector, Ok)
}

/// The command of a collector.
pub(crate) fn collector(program: &Path, options: &Options, dir: &TempDir) -> Result<Command> {
    let config = crate::write(dir, "psstat.conf", &config(options.images))?;
    let mut command = Command::new(program);
    // The variable instead of the option, which older collectors do not have.
    command.env(SOURCE, Source::Proc.name());
    command.arg("--conf").arg(config).args(["--interval", &options.interval.to_string()]);
    Ok(command)
}

/// Runs psstat, and compares its numbers with those of the population.
pub(crate) fn measure(
    command: &Command,
    options: &Options,
    population: &Population,
    stop: &Stop,
) -> Result<Measured> {
    let mut running = Running::start(command, CYCLE_END)?;
    let timeout = CYCLE_TIMEOUT + options.interval();
    let (cpu, last) = running.measure(options.warm_up, options.cycles, timeout, stop)?;
    check_totals(&last, options, population)?;
    let resident = resident(running.pid())?;
    let mut calls = None;
    if options.has(Part::Syscalls) {
        running.next(timeout, stop)?;
        let tracer = Tracer::attach(running.pid())?;
        running.pass(traced_cycles(options), timeout, stop)?;
        calls = Some(tracer.finish(traced_cycles(options))?);
    }
    Ok(Measured { cpu, calls, resident })
}

/// Compares the numbers of a cycle with those of the population.
pub(crate) fn check_totals(
    cycle: &Marker,
    options: &Options,
    population: &Population,
) -> Result<()> {
    let (found, expected) = (Totals::of(&cycle.lines), population.totals);
    if expected.matches(found, options.socket_churn) {
        return Ok(());
    }
    Err(format!("psstat found {found:?}, expected {expected:?}").into())
}

/// The traced cycles: some files are read in every eighth cycle only.
pub(crate) fn traced_cycles(options: &Options) -> u32 {
    options.cycles.clamp(8, 24) / 8 * 8
}

/// Resident memory of a process in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    Ok(psstat_testproc::oracle::memory(pid)?.resident)
}

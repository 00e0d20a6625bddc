//! Measures psstat: the collector, or the sampler by itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::meter::{self, Running};
use super::options::{Options, Part};
use super::population::{Truth, conf};
use super::scratch::Scratch;
use super::spread::Spread;
use super::syscalls::{self, Calls};
use crate::stop::Stop;
use crate::{Result, helpers};

/// What a cycle of psstat costs.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) cpu: Spread,
    pub(crate) calls: Option<Calls>,
    /// Bytes.
    pub(crate) resident: u64,
}

/// The window of psstat.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);
/// The last metric but a few of a cycle, and one that it has once: its line
/// ends the cycle for us.
pub(super) const MARKER: &str = "proc.stat.ps.collector.seen ";
/// How long a cycle may take under strace.
const PATIENCE: Duration = Duration::from_secs(60);

/// The command of the sampler alone.
pub(crate) fn sampler(options: &Options) -> Command {
    let command = helpers::command(helpers::SAMPLE);
    let mut real = Command::new("/proc/self/exe");
    // The helper that starts it has the same pid, and with it the same children.
    real.args(command.get_args());
    real.args([WINDOW, options.interval()].map(|time| time.as_millis().to_string()));
    real
}

/// The command of the collector.
pub(crate) fn collector(path: &Path, options: &Options, scratch: &Scratch) -> Result<Command> {
    let conf = scratch.write("psstat.conf", &conf(options.images))?;
    let mut command = Command::new(path);
    command.arg("--conf").arg(conf).args(["--interval", &options.interval.to_string()]);
    Ok(command)
}

/// Where the collector is, if it is built.
pub(crate) fn collector_path(options: &Options) -> Result<PathBuf> {
    let beside = || Ok::<_, crate::Error>(std::env::current_exe()?.with_file_name(COLLECTOR));
    let path = options.psstat.clone().map_or_else(beside, Ok)?;
    if path.exists() { Ok(path) } else { Err(format!("no {}", path.display()).into()) }
}

const COLLECTOR: &str = "psstat-tcollector";

/// Runs it, and holds what it says of the population against the truth, while
/// so many connections a second are replaced.
pub(crate) fn measure(
    command: &Command,
    options: &Options,
    truth: Truth,
    replaced: u64,
    stop: &Stop,
) -> Result<Measured> {
    let running = Running::start(meter::bound(command), MARKER)?;
    let patience = PATIENCE + options.interval();
    let (cpu, last) = running.measure(options.warm_up, options.cycles, patience, stop)?;
    if !truth.is_found(last.found, replaced) {
        let found = last.found;
        return Err(format!(
            "psstat found {found:?} where there is {truth:?} (is another comparison running?)"
        )
        .into());
    }
    let resident = meter::resident(running.pid())?;
    let calls = if options.has(Part::Syscalls) {
        syscalls::count(&running, options.cycles.clamp(1, 20), patience, stop).map(Some)?
    } else {
        None
    };
    Ok(Measured { cpu, calls, resident })
}

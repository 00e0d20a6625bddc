//! `cargo lab fork-storm`: processes fork and exit in every way while the collector runs and its
//! config changes.

mod config;
mod summary;

use std::process::{ChildStdin, Command};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use clap::Args;

use self::config::Config;
use self::summary::Account;
use crate::checks::Session;
use crate::child_modes::ChildGuard;
use crate::child_modes::kind::{Kind, LONG_LIVED};
use crate::child_modes::storm::{self, DriverReport};
use crate::collector::{Collector, Cycle};
use crate::reads::{Reads, Used};
use crate::run_lock::RunLock;
use crate::stop::Stop;
use crate::stuck::Stuck;
use crate::{Result, cargo, observer, stuck};

/// Start and end hundreds of processes per second while the collector runs, and check its output.
///
/// Runs a release build of the collector with a cycle per second, and changes its config every five
/// cycles while processes fork, exec, write known bytes and exit: reaped inside and outside their
/// image, not reaped, as orphans, as zombies, in another image after an exec. Checks in each cycle:
/// no panic, no counter that decreases, every line is accepted by tcollector, no more counted than
/// written, file descriptors within the budget, memory within 2 MiB of its value after ten seconds
/// and 1 KiB per further process of the machine, and 8 KiB for each end per second with a ring. Checks at the end: file descriptors closed, and
/// everything counted that each image wrote, except for images whose processes live too briefly or
/// are not reaped. With the ring of BPF these count too, up to 1 % for which the kernel reports no end
/// of a process. Exits 1 if a check fails. Needs root, or processes of the same user only. The
/// exact counts of children reaped outside their image need an otherwise idle core.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How long new processes are started
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(15..=86_400))]
    seconds: u64,

    /// Forks per second, with the same number of exits
    #[arg(long, value_name = "PER-SECOND", default_value_t = 200)]
    #[arg(value_parser = clap::value_parser!(u64).range(10..=5_000))]
    rate: u64,

    #[command(flatten)]
    reads: Reads,

    #[command(flatten)]
    stuck: stuck::Options,
}

/// The collector's fd budget.
const FD_BUDGET: usize = 256;
/// Cycles per change of the config. A change must be applied within them.
const CHANGE_INTERVAL: usize = 5;
/// Cycles without any activity at the end.
const QUIET: usize = 6;

/// A process that forks others, and its report.
#[derive(Debug)]
struct Driver {
    kind: Kind,
    child: ChildGuard,
    /// The driver exits when it is closed.
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    report: DriverReport,
}

impl Driver {
    fn start(kind: Kind, mut command: Command) -> Result<Driver> {
        let mut child = ChildGuard(command.spawn()?);
        let stdin = child.0.stdin.take();
        let stdout = child.0.stdout.take().ok_or("no stdout")?;
        let lines = observer::lines(stdout);
        Ok(Driver { kind, child, stdin, lines, report: DriverReport::default() })
    }

    /// Reads the new lines of the report; whether it is complete.
    fn is_done(&mut self) -> Result<bool> {
        for line in self.lines.try_iter() {
            let read = self.report.read_line(&line);
            read.map_err(|error| format!("{} reported {line:?}: {error}", self.kind.name()))?;
        }
        Ok(self.report.is_complete)
    }

    /// Lets it exit.
    fn release(&mut self) -> Result<()> {
        self.stdin = None;
        self.child.0.wait()?;
        Ok(())
    }
}

/// Runs cycles; returns the last one.
fn cycles(session: &mut Session<'_>, config: &Config, count: usize) -> Result<Cycle> {
    for _ in 1..count {
        session.cycle(&config.images(), CHANGE_INTERVAL)?;
    }
    session.cycle(&config.images(), CHANGE_INTERVAL)
}

/// The counted and the written io of each image.
fn accounts(drivers: &[Driver], used: Used, cycle: &Cycle) -> Vec<Account> {
    let account = |kind: Kind| {
        let driver = drivers.iter().find(|driver| driver.kind == kind.driver())?;
        Some(Account::new(kind, used.ring.is_some(), driver.report.of(kind), cycle))
    };
    Kind::ALL.into_iter().filter_map(account).collect()
}

/// Runs the fork storm and prints the report.
pub(crate) fn run(options: &Options) -> Result<()> {
    let program = cargo::collector()?;
    let _lock = RunLock::acquire()?;
    let stop = Stop::on_signals()?;
    // Before the collector starts, whose idle descriptors include those of blocked reads.
    let stuck = options.stuck.start()?;
    let number = u64::from(std::process::id());
    let mut config = Config::new(number)?;
    let collector = Collector::start(&program, &config.path(), FD_BUDGET, 1, &options.reads)?;
    let mut session = Session::new(collector, FD_BUDGET, &stop);
    session.checks.stuck = stuck.as_ref().map_or(0, Stuck::number);
    let first = cycles(&mut session, &config, 3)?;
    session.checks.idle_fds = first.fds;
    let used = Used::by(session.collector.pid())?;
    if options.reads.source == "bpf" && !used.bpf {
        return Err("the collector cannot read by BPF here; its log says why".into());
    }
    session.checks.ended_per_second = used.ring.map_or(0, |_| options.rate);

    let (time, rate) = (Duration::from_secs(options.seconds), options.rate);
    let flag = config.dir().join("stop");
    let start = Instant::now();
    let mut drivers = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.driver() == *kind) {
        let command = match kind {
            Kind::Shell => storm::shell(number, rate, &flag),
            _ => storm::command(kind, number, rate, time)?,
        };
        drivers.push(Driver::start(kind, command)?);
    }
    loop {
        let cycle = cycles(&mut session, &config, 1)?;
        if start.elapsed() >= Duration::from_secs(10) {
            session.checks.set_stable(&cycle);
        }
        if start.elapsed() >= time {
            std::fs::write(&flag, "")?;
        } else if session.since_change >= CHANGE_INTERVAL {
            session.since_change = 0;
            config.change()?;
        }
        // After the cycle: writes are reported before they happen.
        let done = drivers.iter_mut().map(Driver::is_done).collect::<Result<Vec<_>>>()?;
        for account in accounts(&drivers, used, &cycle) {
            account.check_maximum(&mut session.checks);
        }
        if done.into_iter().all(|done| done) {
            break;
        }
        if start.elapsed() > time + 4 * LONG_LIVED + Duration::from_secs(60) {
            return Err("the processes do not exit".into());
        }
    }
    config.complete()?;
    session.since_change = 0;
    let quiet = cycles(&mut session, &config, QUIET)?;
    let accounts = accounts(&drivers, used, &quiet);
    for account in &accounts {
        account.check(&mut session.checks);
    }

    for driver in &mut drivers {
        driver.release()?;
    }
    let last = cycles(&mut session, &config, QUIET)?;
    session.check_empty(&last, &config.images());
    let (idle, fds) = (session.checks.idle_fds, session.collector.fds()?);
    if fds > idle {
        session.checks.violated(format!("{fds} fds at the end, {idle} at the beginning"));
    }
    let mut checks = session.terminate()?;
    if let Some(stuck) = stuck {
        stuck.check(&mut checks);
    }
    let (changes, accounts) = (config.changes(), &accounts);
    let numbers =
        summary::Numbers { used, time, first: &first, last: &last, fds, changes, accounts };
    summary::print(&checks, &numbers);
    checks.report()
}

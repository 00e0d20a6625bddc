//! `cargo lab soak`: every kind of load for a long time, and the state of the collector afterwards.

mod checks;
mod config;
mod population;
mod summary;
mod trace;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use self::config::{Config, UpdateMethod};
use self::population::{Counts, Population};
use self::summary::Numbers;
use self::trace::{Medians, Snapshot, Trace};
use crate::checks::Session;
use crate::child_modes::{role, workload};
use crate::collector::{Collector, Cycle};
use crate::reads::Reads;
use crate::run_lock::RunLock;
use crate::stop::Stop;
use crate::stuck::Stuck;
use crate::{Result, cargo, stuck};

/// Run the collector for an hour under every kind of load, and check its state afterwards.
///
/// Processes fork, reap, exec and exit in several images; they open and close connections, files,
/// threads, network and pid namespaces; images are added to and removed from the config, which is
/// updated every 12 s with eight methods. Checks in each cycle: every line is accepted by tcollector, no
/// counter decreases, every image is complete, no panic. After the first minute and at the end all
/// processes are quiescent for some 15 cycles: the numbers must then be those of slow independent
/// readers. In the last quiescent phase the memory must be at most 512 KiB above that of the first,
/// file descriptors and threads must be the same, and a cycle may cost at most 1.25 times as much,
/// relative to reference reads by this program at the same time. Exits 1 if a check fails. Needs
/// root. The processes take some 10 % of a core.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Total time, with the first minute
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(3..=10_080))]
    minutes: u64,

    /// Seconds per cycle; 2 is the shortest with a pause between two windows
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    interval: u64,

    /// The collector to run [default: a release build of the working tree]
    #[arg(long, value_name = "PATH")]
    collector: Option<PathBuf>,

    #[command(flatten)]
    stuck: stuck::Options,
}

/// The collector's fd budget: more than it can use, so that the budget does not limit a leak.
const FD_BUDGET: usize = 2000;
/// The time until the first quiescent phase.
const FIRST: Duration = Duration::from_secs(60);
/// The part of the load at its start and its end that is compared, if it is long enough.
const PART: Duration = Duration::from_secs(300);
/// Cycles per change of the config.
const CHANGE_INTERVAL: usize = 6;
/// Cycles until a change is applied.
const APPLIED: usize = 4;
/// Cycles until the numbers of a quiescent phase are exact: the promised maximum delay until the
/// owners of sockets are found.
const UNTIL_EXACT: usize = 45;
/// Cycles of a quiescent phase after that.
const QUIESCENT: usize = 15;

/// The counts of independent readers by the names of the roles.
type Expected = BTreeMap<&'static str, Counts>;

/// A running soak.
struct Soak<'s> {
    session: Session<'s>,
    start: Instant,
    config: Config,
    population: Option<Population>,
    trace: Trace,
}

/// A quiescent phase.
#[derive(Debug)]
pub(crate) struct Quiescent {
    /// Cycles until all numbers were exact.
    waited: usize,
    medians: Medians,
    expected: Expected,
}

impl Soak<'_> {
    fn cycle(&mut self) -> Result<(Cycle, Snapshot)> {
        let cycle = self.session.cycle(&self.config.names(), APPLIED)?;
        let pid = self.session.collector.pid();
        let snapshot = self.trace.add(pid, &cycle, self.start.elapsed())?;
        for image in cycle.images() {
            if let Some(series) = checks::missing_series(&cycle, image) {
                let number = self.session.checks.cycles;
                self.session.checks.violated(format!("cycle {number}: {series} is missing"));
            }
        }
        if let Some(population) = &mut self.population {
            population.check()?;
        }
        Ok((cycle, snapshot))
    }

    /// Load until a time after the start.
    fn churn(&mut self, until: Duration) -> Result<()> {
        population::set_quiescent(self.config.dir(), false)?;
        while self.start.elapsed() < until {
            if self.session.since_change >= CHANGE_INTERVAL {
                self.session.since_change = 0;
                if self.config.change()? == UpdateMethod::Sighup {
                    self.session.collector.send_sighup()?;
                }
            }
            self.cycle()?;
        }
        Ok(())
    }

    /// Processes the cycles that were printed during slow reads.
    fn catch_up(&mut self) -> Result<()> {
        while self.session.collector.has_next() {
            self.cycle()?;
        }
        Ok(())
    }

    /// A quiescent phase: the numbers must become exact and stay so.
    fn quiescent(&mut self) -> Result<Quiescent> {
        population::set_quiescent(self.config.dir(), true)?;
        let mut waited = 0;
        let expected = loop {
            self.catch_up()?;
            let (cycle, _) = self.cycle()?;
            let expected = self.expected()?;
            let mismatches = self.mismatches(&cycle, &expected);
            waited += 1;
            // No change of the config is pending.
            if mismatches.is_empty() && self.session.since_change >= APPLIED && waited > 3 {
                break expected;
            }
            if waited == UNTIL_EXACT {
                for line in mismatches {
                    self.session.checks.violated(format!("quiescent for {waited} cycles: {line}"));
                }
                break expected;
            }
        };
        self.catch_up()?;
        let mut snapshots = Vec::new();
        for _ in 0..QUIESCENT {
            let (cycle, snapshot) = self.cycle()?;
            snapshots.push(snapshot);
            for line in self.mismatches(&cycle, &expected) {
                self.session.checks.violated(format!("quiescent: {line}"));
            }
        }
        if self.expected()? != expected {
            self.session.checks.violated("the processes were not quiescent".to_owned());
        }
        self.catch_up()?;
        Ok(Quiescent { waited, medians: Medians::of(&snapshots), expected })
    }

    fn expected(&self) -> Result<Expected> {
        self.population.as_ref().ok_or("no processes")?.expected()
    }

    /// The differences between a cycle of a quiescent phase and the independent readers.
    fn mismatches(&self, cycle: &Cycle, expected: &Expected) -> Vec<String> {
        let mut mismatches = checks::mismatches(cycle, &self.config.images(), expected);
        mismatches.extend(self.wrong_counts(cycle));
        mismatches
    }

    /// The differences between the counted io of the forkers and their records.
    fn wrong_counts(&self, cycle: &Cycle) -> Vec<String> {
        let mut written = [0, 0];
        for number in 0..role::FORKERS {
            let path = self.config.dir().join(workload::record_name(number));
            let record = workload::read_record(&path).unwrap_or_default();
            written = [written[0] + record[0], written[1] + record[1]];
        }
        let mut wrong = Vec::new();
        for (kind, written) in ["wchar", "syscw"].into_iter().zip(written) {
            let series = format!("io image=forker type={kind}");
            let counted = cycle.get(&series);
            if counted != Some(written) {
                wrong.push(format!("{series} is {counted:?}, {written} were written"));
            }
        }
        wrong
    }

    /// Ends all processes; their io must stay, and nothing else.
    fn end(&mut self) -> Result<()> {
        self.population = None;
        for _ in 0..4 {
            self.cycle()?;
        }
        let (cycle, _) = self.cycle()?;
        self.session.check_empty(&cycle, &self.config.names());
        for line in self.wrong_counts(&cycle) {
            self.session.checks.violated(format!("after all have exited: {line}"));
        }
        Ok(())
    }
}

/// Runs the soak and prints the report.
pub(crate) fn run(options: &Options) -> Result<()> {
    let program = options.collector.clone().map_or_else(cargo::collector, Ok)?;
    let _lock = RunLock::acquire()?;
    let stop = Stop::on_signals()?;
    // Before the collector starts, whose idle descriptors include those of blocked reads.
    let stuck = options.stuck.start()?;
    let number = u64::from(std::process::id());
    let config = Config::new(number)?;
    let collector = Collector::start(
        &program,
        &config.path(),
        FD_BUDGET,
        options.interval,
        &Reads::from_proc(),
    )?;
    let mut session = Session::new(collector, FD_BUDGET, &stop);
    session.checks.stuck = stuck.as_ref().map_or(0, Stuck::number);
    let (start, trace) = (Instant::now(), Trace::default());
    let mut soak = Soak { session, start, config, population: None, trace };
    let (idle, _) = soak.cycle()?;
    soak.session.checks.idle_fds = idle.fds;
    soak.population = Some(Population::start(number, soak.config.dir())?);
    soak.churn(FIRST)?;
    let processes_first = soak.session.checks.max_processes();
    let first = soak.quiescent()?;
    let again = soak.start.elapsed();
    let time = Duration::from_secs(60 * options.minutes);
    // There is a minute of load between the quiescent phases in any case.
    soak.churn(time.max(again + FIRST))?;
    let end = soak.start.elapsed();
    let last = soak.quiescent()?;
    let more = soak.session.checks.max_processes().saturating_sub(processes_first);

    let part = ((end - again) / 2).clamp(FIRST, PART);
    let (load_start, load_end) = (
        Medians::of(soak.trace.between(again, again + part)),
        Medians::of(soak.trace.between(end.saturating_sub(part), end)),
    );
    let all = &mut soak.session.checks;
    checks::compare(all, "in the last quiescent phase", &first.medians, &last.medians, more);
    checks::compare_fds(all, &first.medians, &last.medians);
    checks::compare(all, "in the last minutes", &load_start, &load_end, more);
    if first.expected != last.expected {
        all.violated("the processes of the two quiescent phases differ".to_owned());
    }
    soak.end()?;
    let (logged, changes) = (soak.session.logged, soak.config.changes);
    checks::check_log(&mut soak.session.checks, logged, changes);
    let mut checks = soak.session.terminate()?;
    if let Some(stuck) = stuck {
        stuck.check(&mut checks);
    }
    let numbers = Numbers {
        time: end,
        interval: options.interval,
        changes,
        logged,
        first: &first,
        last: &last,
        start: load_start,
        end: load_end,
        more,
    };
    summary::print(&checks, &soak.trace, &numbers);
    checks.report()
}

//! `cargo lab overhead`: the impact of an observer on the operations of an observed process.

mod observer;
mod report;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use clap::Args;
use psstat_testproc::TempDir;

use self::observer::Observer;
use self::report::Rounds;
use crate::child_modes::histogram::Durations;
use crate::child_modes::latency_target::Operation;
use crate::child_modes::{self, ChildGuard};
use crate::population::{self, Population, Spec, raise_fd_limit};
use crate::run_lock::RunLock;
use crate::stop::Stop;
use crate::{Result, cargo};

/// Measure the latency of a process's operations unobserved, and under psstat and other tools.
///
/// A process with much memory and many file descriptors, one of an image of 500 others, times each
/// of its operations: mapping, touching and unmapping memory in eight threads, opening and closing
/// files in four, connecting and closing, and requests between two threads without a pause. The
/// observers alternate, in another order in each round, with two unobserved periods per round: the
/// range of those is the noise. Exits 1 if the best round of psstat is worse than the worst
/// unobserved one. The tools are run where they are installed, as by `compare`. Needs root and an
/// otherwise idle machine. Takes some 12 minutes with all tools.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Rounds, each with every observer
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Seconds per observer and round: at least one cycle of psstat at its default interval
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(15..=3600))]
    seconds: u64,
}

/// Resident memory of the process in MiB.
const MEMORY: u64 = 1024;
/// File descriptors of the process besides those of its operations.
const FDS: u64 = 500;
/// Observed images. The process belongs to the first.
const IMAGES: u64 = 10;
/// The other observed processes.
const OTHERS: Spec = Spec {
    processes: 500,
    matched: 500,
    images: IMAGES,
    fds: 34,
    tcp: 2000,
    udp: 500,
    unix: 2000,
    active: 0,
    replaced: 0,
};

/// The process; killed when dropped, and when this program exits.
struct LatencyTarget {
    _child: ChildGuard,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl LatencyTarget {
    fn start() -> Result<LatencyTarget> {
        let mut command = child_modes::command(child_modes::LATENCY_TARGET);
        command.arg0(population::name_of_first());
        command.args([MEMORY, FDS].map(|field| field.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = ChildGuard(command.spawn()?);
        let stdin = child.0.stdin.take().ok_or("no stdin")?;
        let stdout = BufReader::new(child.0.stdout.take().ok_or("no stdout")?);
        let mut target = LatencyTarget { _child: child, stdin, stdout };
        // The first response comes after the memory is resident.
        target.take()?;
        Ok(target)
    }

    /// The durations since the last call, in the order of [`Operation::ALL`].
    fn take(&mut self) -> Result<Vec<Durations>> {
        self.stdin.write_all(b"\n")?;
        let mut durations = Vec::new();
        for _ in Operation::ALL {
            let mut line = String::new();
            if self.stdout.read_line(&mut line)? == 0 {
                return Err("the observed process has exited".into());
            }
            durations.push(Durations::parse(&line)?);
        }
        Ok(durations)
    }
}

/// Measures and prints the tables.
pub(crate) fn run(options: &Options) -> Result<()> {
    let program = cargo::collector()?;
    let _lock = RunLock::acquire()?;
    let stop = Stop::on_signals()?;
    let dir = TempDir::new()?;
    let config = crate::write(&dir, "psstat.conf", &population::config(IMAGES))?;
    raise_fd_limit(10_000)?;
    let _population = Population::start(&OTHERS, &stop)?;
    let mut target = LatencyTarget::start()?;
    let time = Duration::from_secs(options.seconds);
    let mut absent: Vec<String> = Vec::new();
    let mut observers = Observer::all();
    let mut found: Vec<Rounds> = Vec::new();
    for round in 1..=options.rounds {
        // Another order in each round, so that no observer always follows the same one.
        let middle = observers.len() / 2;
        let order =
            [&observers[..middle], &[Observer::None], &observers[middle..], &[Observer::None]];
        for observer in order.concat() {
            stop.check()?;
            eprintln!("round {round}: {}", observer.name());
            let active = match observer.start(&program, &config, &dir, &stop) {
                Ok(active) => active,
                Err(error) => {
                    stop.check()?;
                    absent.push(format!("{}: {error}", observer.name()));
                    observers.retain(|other| *other != observer);
                    continue;
                }
            };
            target.take()?;
            active.observe(time, &stop)?;
            let durations = target.take()?;
            drop(active);
            match found.iter_mut().find(|(other, _)| *other == observer) {
                Some((_, rounds)) => rounds.push(durations),
                None => found.push((observer, vec![durations])),
            }
        }
        let first = 1.min(observers.len());
        observers.rotate_left(first);
    }
    found.sort_by_key(|(observer, _)| *observer);
    for line in absent {
        println!("- {line}");
    }
    report::print(&found, time)
}

//! `cargo xtask interfere`: what a process notices of being observed.

mod histogram;
mod observer;
mod report;
pub(crate) mod target;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use clap::Args;

use self::histogram::Times;
use self::observer::Observer;
use self::target::Work;
use crate::compare::population::{self, Busy, Population, Spec, raise_descriptor_limit};
use crate::compare::release;
use crate::compare::scratch::Scratch;
use crate::stop::Stop;
use crate::{Result, helpers};

/// Time a process's own operations while nobody, psstat, or another tool observes it.
///
/// A process with much memory and many descriptors, one of an image of 500 others, times each of
/// its operations: mapping, touching and unmapping memory in eight threads, opening and closing in
/// four, connecting and closing, and requests between two threads without a pause. Observers take
/// turns, in another order each round, with nobody twice a round: how far nobody's rounds are apart
/// is the noise. Exits 1 if the best of psstat's rounds is worse than
/// nobody's worst. The tools are run where they are installed, as by
/// `compare`. Needs root, and a machine that does nothing else. Some 12 minutes with all tools.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Rounds, each with every observer
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Seconds of each observer in a round: no less than psstat's default interval, so that each
    /// meets a cycle of it
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(15..=3600))]
    seconds: u64,

    /// Two rounds, without the tools but netdata and process-exporter: 4 minutes. Too few to judge by
    #[arg(long)]
    quick: bool,

    /// Resident memory of the process, MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    memory: u64,
}

/// Descriptors of the process beside those of its work.
const DESCRIPTORS: u64 = 500;
/// Images that are observed. The process is one of the first.
pub(crate) const IMAGES: u64 = 10;
/// Who else is observed.
const OTHERS: Spec = Spec {
    processes: 500,
    matched: 500,
    images: IMAGES,
    descriptors: 34,
    tcp: 2000,
    udp: 500,
    unix: 2000,
    busy: Busy::Some(0),
    replaced: 0,
};

/// The process; ended when dropped, and with xtask.
struct Target {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Target {
    fn start(memory: u64) -> Result<Target> {
        let mut command = helpers::command(helpers::TARGET);
        command.arg0("member-0").args([memory, DESCRIPTORS].map(|field| field.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().ok_or("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut target = Target { child, stdin, stdout };
        // An answer says that its memory is there.
        target.take()?;
        Ok(target)
    }

    /// What it did since the last time, as [`Work::ALL`].
    fn take(&mut self) -> Result<Vec<Times>> {
        self.stdin.write_all(b"\n")?;
        let mut times = Vec::new();
        for _ in Work::ALL {
            let mut line = String::new();
            if self.stdout.read_line(&mut line)? == 0 {
                return Err("the observed process has ended".into());
            }
            times.push(Times::read(&line)?);
        }
        Ok(times)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures and prints the tables.
pub(crate) fn run(options: &Options) -> Result<()> {
    release::hand_over()?;
    let stop = Stop::on_signals()?;
    let scratch = Scratch::new()?;
    let conf = scratch.write("psstat.conf", &population::conf(IMAGES))?;
    raise_descriptor_limit(10_000)?;
    let _population = Population::start(&OTHERS, &stop)?;
    let mut target = Target::start(options.memory)?;
    let rounds = if options.quick { options.rounds.min(2) } else { options.rounds };
    let time = Duration::from_secs(options.seconds);
    let mut absent: Vec<String> = Vec::new();
    let mut observers = Observer::all(options.quick);
    let mut found: Vec<(Observer, Vec<Vec<Times>>)> = Vec::new();
    for round in 1..=rounds {
        // Another order each time, so that no one always follows the same.
        let middle = observers.len() / 2;
        let turns =
            [&observers[..middle], &[Observer::Nobody], &observers[middle..], &[Observer::Nobody]];
        for observer in turns.concat() {
            stop.check()?;
            eprintln!("round {round}: {}", observer.name());
            let watching = match observer.start(&conf, &scratch, &stop) {
                Ok(watching) => watching,
                Err(error) => {
                    stop.check()?;
                    absent.push(format!("{}: {error}", observer.name()));
                    observers.retain(|other| *other != observer);
                    continue;
                }
            };
            target.take()?;
            watching.watch(time, &stop)?;
            let times = target.take()?;
            drop(watching);
            match found.iter_mut().find(|(other, _)| *other == observer) {
                Some((_, rounds)) => rounds.push(times),
                None => found.push((observer, vec![times])),
            }
        }
        let turn = 1.min(observers.len());
        observers.rotate_left(turn);
    }
    found.sort_by_key(|(observer, _)| *observer);
    let outside = report::print(&found, time, options.memory);
    for line in absent {
        println!("- {line}");
    }
    if outside.is_empty() { Ok(()) } else { Err("psstat is beyond the noise".into()) }
}

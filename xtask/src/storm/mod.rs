//! `cargo xtask storm`: processes that fork and end in every way while the
//! collector looks and its conf changes.

pub(crate) mod child;
pub(crate) mod collector;
mod conf;
pub(crate) mod driver;
pub(crate) mod judge;
pub(crate) mod kind;
mod summary;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use clap::Args;

use self::collector::{Collector, Cycle};
use self::conf::Conf;
use self::driver::Said;
use self::judge::Judge;
use self::kind::{Kind, LASTING};
use self::summary::Account;
use crate::stop::Stop;
use crate::{Result, cargo};

/// Let hundreds of processes a second begin and end under the collector's eyes, and check it.
///
/// Builds the collector (release), runs it with a cycle a second, and changes its conf every five
/// cycles while processes fork, exec, write known bytes and end: reaped inside and outside their
/// image, by nobody, as orphans, as zombies, in another image than they began in. In each cycle: no panic, no counter that falls, every
/// line one that tcollector takes, no more counted than was written, descriptors within the budget,
/// memory within 2 MiB of what it was after ten seconds, and 1 KiB for each further process of the
/// machine. In the end: descriptors back, and for each image all counted that was written, but for
/// those that live too briefly or are reaped by nobody. Exits 1 if anything of it did not hold.
/// Needs root, or processes of the same user only; that nothing of strangers' children is lost
/// holds where the machine has a core to spare.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How long processes begin
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(15..=86_400))]
    seconds: u64,

    /// Forks a second, and as many exits
    #[arg(long, value_name = "PER-SECOND", default_value_t = 200)]
    #[arg(value_parser = clap::value_parser!(u64).range(10..=5_000))]
    rate: u64,
}

/// Descriptors that the collector may keep.
const BUDGET: usize = 256;
/// Cycles from one change of the conf to the next. A change must be in force
/// by then.
const TURN: usize = 5;
/// Cycles that show what is left when all is quiet.
const AFTER: usize = 6;

/// A process that starts others, with what it says at the end.
#[derive(Debug)]
struct Driver {
    kind: Kind,
    child: Child,
    /// Closed to let it go.
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    said: Said,
}

impl Driver {
    fn start(kind: Kind, mut command: Command) -> Result<Driver> {
        let mut child = command.spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let (line, lines) = channel();
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut text = String::new();
            while stdout.read_line(&mut text).is_ok_and(|read| read > 0) {
                // Nobody is there to hear it when the storm was broken off.
                if line.send(std::mem::take(&mut text)).is_err() {
                    return;
                }
            }
        });
        Ok(Driver { kind, child, stdin, lines, said: Said::default() })
    }

    /// Takes what it has said since; whether it was all.
    fn is_done(&mut self) -> Result<bool> {
        for line in self.lines.try_iter() {
            let heard = self.said.hear(&line);
            heard.map_err(|error| format!("{} said {line:?}: {error}", self.kind.name()))?;
        }
        Ok(self.said.is_all)
    }

    fn let_go(&mut self) -> Result<()> {
        self.stdin = None;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A storm under way.
struct Storm<'s> {
    stop: &'s Stop,
    conf: Conf,
    collector: Collector,
    judge: Judge,
    since_change: usize,
}

impl Storm<'_> {
    fn cycle(&mut self) -> Result<Cycle> {
        let cycle = self.collector.next(self.stop)?;
        self.judge.cycle(&cycle, &self.collector.log());
        self.since_change += 1;
        if self.since_change >= TURN && cycle.images() != self.conf.images() {
            let images = self.conf.images();
            self.judge.broke(format!("the conf has {images:?}, not {:?}", cycle.images()));
        }
        Ok(cycle)
    }

    fn cycles(&mut self, count: usize) -> Result<Cycle> {
        for _ in 1..count {
            self.cycle()?;
        }
        self.cycle()
    }

    fn change_conf(&mut self) -> Result<()> {
        self.since_change = 0;
        self.conf.change()
    }
}

/// What each image has in a cycle of what its processes have written.
fn accounts(drivers: &[Driver], cycle: &Cycle) -> Vec<Account> {
    let of = |kind: Kind| {
        let driver = drivers.iter().find(|driver| driver.kind == kind.driven_by())?;
        Some(Account::new(kind, driver.said.of(kind), cycle))
    };
    Kind::ALL.into_iter().filter_map(of).collect()
}

/// Raises a storm and prints what came of it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let program = cargo::release("psstat-tcollector")?;
    let stop = Stop::on_signals()?;
    let number = u64::from(std::process::id());
    let conf = Conf::new(number)?;
    let collector = Collector::start(&program, &conf.path(), BUDGET, 1)?;
    let mut storm =
        Storm { stop: &stop, conf, collector, judge: Judge::default(), since_change: 0 };
    storm.judge.budget = BUDGET;
    let first = storm.cycles(3)?;
    storm.judge.idle_descriptors = first.descriptors;

    let (time, rate) = (Duration::from_secs(options.seconds), options.rate);
    let flag = storm.conf.folder().join("stop");
    let start = Instant::now();
    let mut drivers = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.driven_by() == *kind) {
        let command = match kind {
            Kind::Shell => driver::shell(number, rate, &flag),
            _ => driver::command(kind, number, rate, time)?,
        };
        drivers.push(Driver::start(kind, command)?);
    }
    loop {
        let cycle = storm.cycle()?;
        if start.elapsed() >= Duration::from_secs(10) {
            storm.judge.settle(&cycle);
        }
        if start.elapsed() >= time {
            std::fs::write(&flag, "")?;
        } else if storm.since_change >= TURN {
            storm.change_conf()?;
        }
        // After the cycle: what it counts was told before it was written.
        let done = drivers.iter_mut().map(Driver::is_done).collect::<Result<Vec<_>>>()?;
        for account in accounts(&drivers, &cycle) {
            account.judge_most(&mut storm.judge);
        }
        if done.into_iter().all(|done| done) {
            break;
        }
        if start.elapsed() > time + 4 * LASTING + Duration::from_secs(60) {
            return Err("the processes do not come to their end".into());
        }
    }
    storm.conf.complete()?;
    storm.since_change = 0;
    let quiet = storm.cycles(AFTER)?;
    let accounts = accounts(&drivers, &quiet);
    for account in &accounts {
        account.judge(&mut storm.judge);
    }

    for driver in &mut drivers {
        driver.let_go()?;
    }
    let last = storm.cycles(AFTER)?;
    for image in storm.conf.images() {
        if last.get(&format!("procs image={image}")) != Some(0) {
            storm.judge.broke(format!("{image} has processes when all have ended"));
        }
    }
    let (idle, left) = (storm.judge.idle_descriptors, storm.collector.descriptors()?);
    if left > idle {
        storm.judge.broke(format!("{left} descriptors in the end, {idle} in the beginning"));
    }
    let Storm { conf, collector, mut judge, .. } = storm;
    if !collector.end()? {
        judge.broke("the collector did not end with status 0".to_owned());
    }
    let numbers = summary::Numbers {
        time,
        first: &first,
        last: &last,
        left,
        changes: conf.changes(),
        accounts: &accounts,
    };
    summary::print(&judge, &numbers);
    if judge.is_content() { Ok(()) } else { Err("the collector did not stand the storm".into()) }
}

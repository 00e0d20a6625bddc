//! `cargo xtask soak`: everything at once, for long, and then a look at what
//! the collector still holds of it.

mod chance;
mod conf;
mod holder;
mod judge;
mod people;
pub(crate) mod restless;
mod role;
mod summary;
mod trace;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use self::conf::{Conf, Way};
use self::people::{Counts, People};
use self::summary::Numbers;
use self::trace::{Look, Middle, Trace};
use crate::stop::Stop;
use crate::storm::collector::{Collector, Cycle};
use crate::storm::judge::Judge;
use crate::{Result, cargo};

/// Run the collector for an hour under everything at once, and check what it still holds then.
///
/// Processes fork, reap, exec and end in several images; connections, descriptors and threads come
/// and go, and so do network and pid namespaces; images come and go with the conf, which changes
/// every 12 s by eight means. In each cycle: every line one that tcollector takes, no counter that
/// falls, every image complete, no panic. After the first minute and in the end all hold still for
/// some 15 cycles: what the collector says is then what slow independent readers find, and in the
/// end its memory is at most 512 KiB above what it was in the first calm, its descriptors and
/// threads are the same, and a cycle costs at most 1.25 times as much. CPU time is held against a
/// yardstick: reads by the verb itself, at the same moments. Exits 1 if anything of it did not
/// hold. Needs root. The processes take some 10 % of a core.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How long, the first minute included
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(3..=10_080))]
    minutes: u64,

    /// Seconds from cycle to cycle: 2 is as short as leaves the collector time between two
    /// windows, for an hour of as many cycles as possible
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    interval: u64,

    /// The collector to run [default: a release build of it]
    #[arg(long, value_name = "PATH")]
    collector: Option<PathBuf>,
}

/// Descriptors that the collector may keep: more than it has use for, so that
/// a leak is not kept small by the budget.
const BUDGET: usize = 2000;
/// What is taken for settled.
const FIRST: Duration = Duration::from_secs(60);
/// What is compared of the time between the calms: this much of its beginning
/// and of its end, if it is long enough.
const PART: Duration = Duration::from_secs(300);
/// Cycles from one change of the conf to the next.
const TURN: usize = 6;
/// Cycles after a change by which it is in force.
const IN_FORCE: usize = 4;
/// Cycles until what is said in a calm is true: as long as sockets may take
/// to be found, which is [docs/metrics.md]'s promise.
const TO_TRUTH: usize = 45;
/// Cycles of a calm after that.
const CALM: usize = 15;

/// What slow readers find, by the role's name.
type Truth = BTreeMap<&'static str, Counts>;

/// A soak under way.
struct Soak<'s> {
    stop: &'s Stop,
    start: Instant,
    number: u64,
    conf: Conf,
    collector: Collector,
    people: Option<People>,
    judge: Judge,
    trace: Trace,
    /// Cycles since the last change of the conf.
    since_change: usize,
    logged: usize,
}

impl Soak<'_> {
    fn cycle(&mut self) -> Result<(Cycle, Option<Look>)> {
        let cycle = self.collector.next(self.stop)?;
        let late = self.collector.has_more();
        let look = self.trace.look(self.collector.pid(), &cycle, self.start.elapsed(), late)?;
        let log = self.collector.log();
        self.logged += log.len();
        self.judge.cycle(&cycle, &log);
        self.since_change += 1;
        if self.since_change >= IN_FORCE {
            let images = self.conf.images();
            let names: Vec<&str> = images.iter().map(|(image, _)| image.as_str()).collect();
            if cycle.images() != names {
                self.judge.broke(format!("the conf has {names:?}, not {:?}", cycle.images()));
            }
        }
        for image in cycle.images() {
            if let Some(series) = judge::lacks(&cycle, image) {
                self.judge.broke(format!("cycle {}: there is no {series}", self.judge.cycles));
            }
        }
        if let Some(people) = &mut self.people {
            people.check()?;
        }
        Ok((cycle, look))
    }

    /// Everything at once until a time after the start.
    fn bustle(&mut self, until: Duration) -> Result<()> {
        people::set_calm(self.conf.folder(), false)?;
        while self.start.elapsed() < until {
            if self.since_change >= TURN {
                self.since_change = 0;
                if self.conf.change()? == Way::Hup {
                    self.collector.hup()?;
                }
            }
            self.cycle()?;
        }
        Ok(())
    }

    /// Takes what was printed while the verb was busy.
    fn catch_up(&mut self) -> Result<()> {
        while self.collector.has_more() {
            self.cycle()?;
        }
        Ok(())
    }

    /// Everybody holds still: what is said must come to be true and stay so.
    fn calm(&mut self) -> Result<Calm> {
        people::set_calm(self.conf.folder(), true)?;
        let mut waited = 0;
        let truth = loop {
            self.catch_up()?;
            let (cycle, _) = self.cycle()?;
            let truth = self.truth()?;
            let wrong = self.untrue(&cycle, &truth)?;
            waited += 1;
            // No change of the conf is under way.
            if wrong.is_empty() && self.since_change >= IN_FORCE && waited > 3 {
                break truth;
            }
            if waited == TO_TRUTH {
                for wrong in wrong {
                    self.judge.broke(format!("calm for {waited} cycles: {wrong}"));
                }
                break truth;
            }
        };
        self.catch_up()?;
        let mut looks = Vec::new();
        for _ in 0..CALM {
            let (cycle, look) = self.cycle()?;
            looks.extend(look);
            for wrong in self.untrue(&cycle, &truth)? {
                self.judge.broke(format!("in a calm: {wrong}"));
            }
        }
        if self.truth()? != truth {
            self.judge.broke("the calm was none".to_owned());
        }
        self.catch_up()?;
        let calm = Calm { waited, middle: Middle::of(&looks), truth };
        Ok(calm)
    }

    fn truth(&self) -> Result<Truth> {
        self.people.as_ref().ok_or("nobody is there")?.truth()
    }

    /// What a cycle of a calm says otherwise than independent readers.
    fn untrue(&self, cycle: &Cycle, truth: &Truth) -> Result<Vec<String>> {
        let mut wrong = judge::untrue(cycle, &self.conf.images(), truth);
        wrong.extend(self.miscounted(cycle)?);
        Ok(wrong)
    }

    /// What is counted otherwise of the families' io than they wrote.
    fn miscounted(&self, cycle: &Cycle) -> Result<Vec<String>> {
        let mut written = [0, 0];
        for number in 0..role::members(role::Role::Family) {
            let path = self.conf.folder().join(format!("family-{number}"));
            let record = restless::read_record(&path).unwrap_or_default();
            written = [written[0] + record[0], written[1] + record[1]];
        }
        let counted = ["wchar", "syscw"].map(|kind| {
            let series = format!("io image=family type={kind}");
            (cycle.get(&series), series)
        });
        let wrong =
            counted.into_iter().zip(written).filter(|((said, _), wrote)| *said != Some(*wrote));
        Ok(wrong
            .map(|((said, series), wrote)| format!("{series}: {said:?} where {wrote} were written"))
            .collect())
    }
}

/// What a calm showed.
#[derive(Debug)]
pub(crate) struct Calm {
    /// Cycles until all was true.
    waited: usize,
    middle: Middle,
    truth: Truth,
}

/// Soaks the collector and prints what came of it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let program =
        options.collector.clone().map_or_else(|| cargo::release("psstat-tcollector"), Ok)?;
    let stop = Stop::on_signals()?;
    let number = u64::from(std::process::id());
    let conf = Conf::new(number)?;
    let collector = Collector::start(&program, &conf.path(), BUDGET, options.interval)?;
    let mut soak = Soak {
        stop: &stop,
        start: Instant::now(),
        number,
        conf,
        collector,
        people: None,
        judge: Judge::default(),
        trace: Trace::default(),
        since_change: 0,
        logged: 0,
    };
    soak.judge.budget = BUDGET;
    let (idle, _) = soak.cycle()?;
    soak.judge.idle_descriptors = idle.descriptors;
    soak.people = Some(People::start(soak.number, soak.conf.folder())?);
    soak.bustle(FIRST)?;
    let seen_first = soak.judge.most_seen();
    let first = soak.calm()?;
    let again = soak.start.elapsed();
    let time = Duration::from_secs(60 * options.minutes);
    // A calm takes a while itself; there is a minute of everything in between
    // in any case.
    soak.bustle(time.max(again + FIRST))?;
    let end = soak.start.elapsed();
    let last = soak.calm()?;
    let more = soak.judge.most_seen().saturating_sub(seen_first);

    let part = ((end - again) / 2).clamp(FIRST, PART);
    let (early, late) = (
        Middle::of(soak.trace.between(again, again + part)),
        Middle::of(soak.trace.between(end.saturating_sub(part), end)),
    );
    judge::compare(&mut soak.judge, "in the last calm", &first.middle, &last.middle, more);
    judge::compare_descriptors(&mut soak.judge, &first.middle, &last.middle);
    judge::compare(&mut soak.judge, "in the last minutes", &early, &late, more);
    if first.truth != last.truth {
        soak.judge.broke("the two calms are not the same".to_owned());
    }
    soak.end()?;
    let Soak { conf, collector, mut judge, trace, logged, .. } = soak;
    judge::judge_log(&mut judge, logged, conf.changes);
    if !collector.end()? {
        judge.broke("the collector did not end with status 0".to_owned());
    }
    let numbers = Numbers {
        time: end,
        interval: options.interval,
        changes: conf.changes,
        logged,
        first: &first,
        last: &last,
        early,
        late,
        more,
    };
    summary::print(&judge, &trace, &numbers);
    if judge.is_content() { Ok(()) } else { Err("the collector did not stand the soak".into()) }
}

impl Soak<'_> {
    /// All processes end; what they did must stay, and nothing else.
    fn end(&mut self) -> Result<()> {
        self.people = None;
        for _ in 0..4 {
            self.cycle()?;
        }
        let (cycle, _) = self.cycle()?;
        for (image, _) in self.conf.images() {
            if cycle.get(&format!("procs image={image}")) != Some(0) {
                self.judge.broke(format!("{image} has processes when all have ended"));
            }
        }
        for wrong in self.miscounted(&cycle)? {
            self.judge.broke(format!("when all have ended: {wrong}"));
        }
        Ok(())
    }
}

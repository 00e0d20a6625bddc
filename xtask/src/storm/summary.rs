//! What came of a storm.

use std::time::Duration;

use super::collector::Cycle;
use super::driver::Written;
use super::judge::{Judge, MEMORY_SLACK};
use super::kind::Kind;
use crate::machine;

/// The longest time between two cycles with which no process that lives for
/// 2.5 s is missed.
const PROMPT: Duration = Duration::from_millis(1200);

/// What an image wrote, and what was counted of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    kind: Kind,
    written: Written,
    /// `wchar`, `syscw`; `None` where it was not printed.
    counted: [Option<u64>; 2],
    judged: [Judged; 2],
}

/// What is judged. Of those that became another program it is both images
/// together, and what may be counted in the first is as much: on a machine so
/// busy that one is looked at only after its exec, or noticed too late to be
/// another, nothing tells what it had done before.
#[derive(Clone, Copy, Debug)]
struct Judged {
    what: &'static str,
    written: u64,
    most: u64,
    counted: Option<u64>,
}

impl Account {
    pub(crate) fn new(kind: Kind, written: Written, cycle: &Cycle) -> Account {
        let of = |kind: Kind| {
            let name = kind.name();
            ["wchar", "syscw"].map(|field| cycle.get(&format!("io image={name} type={field}")))
        };
        let counted = of(kind);
        let (own, others) = ([written.bytes, written.calls], of(Kind::Leaving));
        let judged = [0, 1].map(|at| {
            // They write as much again.
            let (written, both) = (own[at], 2 * own[at]);
            let sum = || counted[at].zip(others[at]).map(|(after, before)| after + before);
            let what = ["bytes", "calls"][at];
            match kind {
                Kind::Leaving => Judged { what, written, most: both, counted: counted[at] },
                Kind::Arriving => Judged { what, written: both, most: both, counted: sum() },
                _ => Judged { what, written, most: written, counted: counted[at] },
            }
        });
        Account { kind, written, counted, judged }
    }

    /// Never more than was written: at any time, if a driver has told before
    /// what its processes would write.
    pub(crate) fn judge_most(&self, judge: &mut Judge) {
        let name = self.kind.name();
        for Judged { what, most, counted, .. } in self.judged {
            if let Some(counted) = counted
                && counted > most
            {
                judge.broke(format!("{name}: {counted} {what} counted, {most} written"));
            }
        }
    }

    /// In the end, nothing is lost that may not be, either.
    pub(crate) fn judge(&self, judge: &mut Judge) {
        self.judge_most(judge);
        let name = self.kind.name();
        // Those reaped in their image are in their parent, seen or not.
        let all = self.kind.has_parent_inside() || judge.longest <= PROMPT;
        for Judged { what, written, most, counted } in self.judged {
            let Some(counted) = counted else {
                judge.broke(format!("{name} has no {what}"));
                continue;
            };
            if all && !self.kind.may_lose() && counted != written && counted <= most {
                judge.broke(format!("{name}: {counted} {what} counted of {written}"));
            }
        }
    }

    fn row(&self) -> String {
        let lost = self.written.bytes.saturating_sub(self.counted[0].unwrap_or(0));
        let percent = 100.0 * lost as f64 / self.written.bytes.max(1) as f64;
        format!(
            "{:<10} {:>6} {:>10} {:>10} {:>9} {:>6.1}  {}",
            self.kind.name(),
            self.written.forks,
            self.written.bytes,
            self.counted[0].map_or("-".to_owned(), |counted| counted.to_string()),
            lost,
            percent,
            self.kind.why(),
        )
    }
}

/// What the storm left.
#[derive(Debug)]
pub(crate) struct Numbers<'n> {
    pub(crate) time: Duration,
    pub(crate) first: &'n Cycle,
    pub(crate) last: &'n Cycle,
    /// Descriptors of the collector in the end.
    pub(crate) left: usize,
    /// Of the conf.
    pub(crate) changes: usize,
    pub(crate) accounts: &'n [Account],
}

/// Prints the tables, and what did not hold.
pub(crate) fn print(judge: &Judge, numbers: &Numbers<'_>) {
    let Numbers { time, first, last, left, changes, accounts } = numbers;
    let kib = |bytes: u64| bytes >> 10;
    let forks: u64 = accounts.iter().map(|account| account.written.forks).sum();
    println!("{}; load {}", machine::line(), machine::load());
    println!("forks, and exits    {forks}, {:.0} a second", forks as f64 / time.as_secs_f64());
    println!("cycles              {}, {} left out", judge.cycles, judge.late());
    println!("longest time to one {:.2} s", judge.longest.as_secs_f64());
    println!("changes of the conf {changes}");
    println!(
        "descriptors         {} idle, {} at most, {left} in the end",
        judge.idle_descriptors, judge.most_descriptors
    );
    println!(
        "resident, KiB       {} idle, {} after 10 s, {} at most, {} in the end ({} more allowed)",
        kib(first.resident),
        judge.settled().map_or("-".to_owned(), |bytes| kib(bytes).to_string()),
        kib(judge.most_resident),
        kib(last.resident),
        kib(MEMORY_SLACK),
    );
    println!("processes seen      {} at most", judge.most_seen());
    println!(
        "\n{:<10} {:>6} {:>10} {:>10} {:>9} {:>6}  why",
        "image", "forks", "written", "counted", "lost", "%"
    );
    for account in *accounts {
        println!("{}", account.row());
    }
    if judge.longest > PROMPT {
        println!("\nThe machine was too busy to hold what strangers' children lose to its bound.");
    }
    println!();
    for line in judge.broken() {
        println!("broken: {line}");
    }
    if judge.is_content() {
        println!("All held, in every cycle.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much is wrong with this much counted of 100 written.
    fn wrong(kind: Kind, counted: u64, judge: impl Fn(&Account, &mut Judge)) -> usize {
        let written = Written { forks: 1, bytes: 100, calls: 100 };
        let of = |field| format!("io image={} type={field}", kind.name());
        let cycle = Cycle::of(&[
            (&of("wchar"), counted),
            (&of("syscw"), 100),
            ("io image=leaving type=wchar", if kind == Kind::Leaving { counted } else { 100 }),
            ("io image=leaving type=syscw", 100),
        ]);
        let mut told = Judge::default();
        judge(&Account::new(kind, written, &cycle), &mut told);
        told.broken().len()
    }

    #[test]
    fn nothing_is_counted_twice_in_any_cycle() {
        for kind in Kind::ALL {
            let most = if kind == Kind::Leaving { 200 } else { 100 };
            assert_eq!(wrong(kind, most + 1, Account::judge_most), 1, "{kind:?}");
            assert_eq!(wrong(kind, 50, Account::judge_most), 0, "{kind:?}");
        }
    }

    /// On a machine so busy that a process execs before the first look at it,
    /// nothing tells what it had done by then.
    #[test]
    fn what_was_done_before_an_exec_counts_once_in_either_image() {
        let written = Written { forks: 1, bytes: 100, calls: 100 };
        let told = |leaving, arriving| {
            let cycle = Cycle::of(&[
                ("io image=leaving type=wchar", leaving),
                ("io image=leaving type=syscw", 100),
                ("io image=arriving type=wchar", arriving),
                ("io image=arriving type=syscw", 100),
            ]);
            let mut judge = Judge::default();
            Account::new(Kind::Arriving, written, &cycle).judge(&mut judge);
            judge.broken().len()
        };
        assert_eq!((told(100, 100), told(60, 140)), (0, 0));
        assert_eq!((told(60, 141), told(60, 139)), (1, 1));
    }

    /// Lasting children wrote half of it after the last look once: half the
    /// bytes could be lost, and half of them counted twice, unseen.
    #[test]
    fn in_the_end_it_is_as_much_as_was_written() {
        for kind in Kind::ALL {
            assert_eq!(wrong(kind, 100, Account::judge), 0, "{kind:?}");
            assert_eq!(wrong(kind, 101, Account::judge), 1, "{kind:?}");
            let loses = matches!(kind, Kind::Ignored | Kind::Brief);
            assert_eq!(wrong(kind, 99, Account::judge), usize::from(!loses), "{kind:?}");
        }
    }
}

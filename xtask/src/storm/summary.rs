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
}

impl Account {
    pub(crate) fn new(kind: Kind, written: Written, cycle: &Cycle) -> Account {
        let counted = ["wchar", "syscw"]
            .map(|field| cycle.get(&format!("io image={} type={field}", kind.name())));
        Account { kind, written, counted }
    }

    /// Never more than was written: at any time, if a driver has told before
    /// what its processes would write.
    pub(crate) fn judge_most(&self, judge: &mut Judge) {
        for (what, written, counted) in self.both() {
            if let Some(counted) = counted
                && counted > written
            {
                let name = self.kind.name();
                judge.broke(format!("{name}: {counted} {what} counted, {written} written"));
            }
        }
    }

    /// In the end, nothing is lost that may not be, either.
    pub(crate) fn judge(&self, judge: &mut Judge) {
        self.judge_most(judge);
        let name = self.kind.name();
        for (what, written, counted) in self.both() {
            let Some(counted) = counted else {
                judge.broke(format!("{name} has no {what}"));
                continue;
            };
            // Those reaped in their image are in their parent, seen or not.
            let must = self.kind.has_parent_inside() || judge.longest <= PROMPT;
            if must && !self.kind.may_lose() && counted < written {
                let lost = written - counted;
                judge.broke(format!("{name}: {lost} {what} lost of {written}"));
            }
        }
    }

    /// What was written and counted of it: bytes, and calls.
    fn both(&self) -> [(&'static str, u64, Option<u64>); 2] {
        let Account { written, counted, .. } = *self;
        [("bytes", written.bytes, counted[0]), ("calls", written.calls, counted[1])]
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
        let cycle = Cycle::of(&[(&of("wchar"), counted), (&of("syscw"), 100)]);
        let mut told = Judge::default();
        judge(&Account::new(kind, written, &cycle), &mut told);
        told.broken().len()
    }

    #[test]
    fn nothing_is_counted_twice_in_any_cycle() {
        for kind in Kind::ALL {
            assert_eq!(wrong(kind, 101, Account::judge_most), 1, "{kind:?}");
            assert_eq!(wrong(kind, 50, Account::judge_most), 0, "{kind:?}");
        }
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

//! What must hold in each cycle of a storm.

use std::collections::BTreeMap;
use std::time::Duration;

use super::collector::Cycle;

/// Descriptors beyond the kept ones that a cycle opens for a moment: a listing,
/// a file, a netlink socket, a look at the conf.
const IN_PASSING: usize = 12;
/// What the collector's line about a panic has.
const DEFECT: &str = ": defect at ";
/// How much memory may be added after the first ten seconds.
pub(crate) const MEMORY_SLACK: u64 = 2 << 20;
/// And for each process of the machine beyond the most there were until then:
/// others may fill it while the storm goes on.
pub(crate) const MEMORY_A_PROCESS: u64 = 1 << 10;

/// Holds cycles against what must hold, and keeps what did not.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// Descriptors of a collector that has nothing to do.
    pub(crate) idle_descriptors: usize,
    /// How many more it may keep.
    pub(crate) budget: usize,
    /// Resident memory after the first seconds, with the most processes that
    /// it had seen by then.
    settled: Option<(u64, u64)>,
    most_seen: u64,
    highest: BTreeMap<String, u64>,
    broken: Vec<String>,
    pub(crate) cycles: usize,
    pub(crate) most_descriptors: usize,
    pub(crate) most_resident: u64,
    pub(crate) longest: Duration,
}

impl Judge {
    /// Notes that something did not hold.
    pub(crate) fn broke(&mut self, what: String) {
        eprintln!("broken: {what}");
        self.broken.push(what);
    }

    pub(crate) fn is_content(&self) -> bool {
        self.broken.is_empty()
    }

    /// From this cycle on memory may not grow.
    pub(crate) fn settle(&mut self, cycle: &Cycle) {
        self.settled.get_or_insert((cycle.resident, self.most_seen));
    }

    /// Resident memory when it settled.
    pub(crate) fn settled(&self) -> Option<u64> {
        self.settled.map(|(resident, _)| resident)
    }

    /// The most processes that the machine had.
    pub(crate) fn most_seen(&self) -> u64 {
        self.most_seen
    }

    /// All that did not hold.
    pub(crate) fn broken(&self) -> &[String] {
        &self.broken
    }

    /// Judges a cycle and what was logged during it.
    pub(crate) fn cycle(&mut self, cycle: &Cycle, log: &[String]) {
        self.cycles += 1;
        let number = self.cycles;
        if let Some(why) = &cycle.refused {
            self.broke(format!("cycle {number}: a line is not taken: {why}"));
        }
        let mut fell = Vec::new();
        for (series, value) in cycle.counters() {
            let highest = self.highest.entry(series.to_owned()).or_insert(value);
            if value < *highest {
                fell.push(format!("cycle {number}: {series} fell from {highest} to {value}"));
            }
            *highest = value.max(*highest);
        }
        for line in fell {
            self.broke(line);
        }
        if cycle.get("collector.panics") != Some(0) {
            self.broke(format!("cycle {number}: not free of panics"));
        }
        for line in log.iter().filter(|line| line.contains(DEFECT)) {
            self.broke(format!("cycle {number}: logged {line:?}"));
        }
        let most = self.idle_descriptors + self.budget + IN_PASSING;
        if self.idle_descriptors > 0 && cycle.descriptors > most {
            let now = cycle.descriptors;
            self.broke(format!("cycle {number}: {now} descriptors, {most} are the most"));
        }
        self.most_seen = self.most_seen.max(cycle.get("collector.seen").unwrap_or(0));
        if let Some((settled, seen)) = self.settled {
            let more = self.most_seen.saturating_sub(seen);
            let most = settled + MEMORY_SLACK + more * MEMORY_A_PROCESS;
            // Told when it gets worse, not in each cycle.
            if cycle.resident > most.max(self.most_resident) {
                let now = cycle.resident;
                self.broke(format!("cycle {number}: {now} bytes resident, {most} are the most"));
            }
        }
        self.most_descriptors = self.most_descriptors.max(cycle.descriptors);
        self.most_resident = self.most_resident.max(cycle.resident);
        self.longest = self.longest.max(cycle.gap);
    }

    /// How often the collector left a cycle out.
    pub(crate) fn late(&self) -> u64 {
        self.highest.get("collector.late").copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIES: &str = "io image=web type=wchar";

    fn cycle(wchar: u64) -> Cycle {
        Cycle::of(&[(SERIES, wchar), ("collector.panics", 0)])
    }

    /// How many things did not hold in the last of these.
    fn broken(cycles: &[Cycle], log: &[&str]) -> usize {
        let mut judge = Judge { idle_descriptors: 10, budget: 50, ..Judge::default() };
        judge.settle(&cycle(0));
        let log: Vec<String> = log.iter().map(|&line| line.to_owned()).collect();
        for cycle in cycles {
            judge.cycle(cycle, &log);
        }
        judge.broken().len()
    }

    #[test]
    fn what_is_right_holds() {
        assert_eq!(broken(&[cycle(5), cycle(5), cycle(7)], &["conf: 3 rules"]), 0);
        // An image that is out of the conf for a while.
        let without = Cycle::of(&[("collector.panics", 0)]);
        assert_eq!(broken(&[cycle(5), without, cycle(6)], &[]), 0);
        // These are no counters.
        let gauge = |fd| Cycle::of(&[("fd image=web type=open", fd), ("collector.panics", 0)]);
        assert_eq!(broken(&[gauge(5), gauge(4)], &[]), 0);
        let cancelled = "io image=web type=cancelled_write_bytes";
        let cancelled = |bytes| Cycle::of(&[(cancelled, bytes), ("collector.panics", 0)]);
        assert_eq!(broken(&[cancelled(5), cancelled(4)], &[]), 0);
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert_eq!(broken(&[cycle(5), cycle(4)], &[]), 1, "a counter fell");
        let without = Cycle::of(&[("collector.panics", 0)]);
        assert_eq!(broken(&[cycle(5), without, cycle(4)], &[]), 1, "it fell while it was away");
        assert_eq!(broken(&[Cycle::of(&[("collector.panics", 1)])], &[]), 1);
        assert_eq!(broken(&[Cycle::of(&[])], &[]), 1, "nothing is said of panics");
        // The collector's own words: "panic" is not among them, and was looked for once.
        let defect = "psstat: defect at src/cycle.rs:7:9: out of bounds; please report it";
        assert_eq!(broken(&[cycle(5)], &[defect]), 1);
        let mut wrong = cycle(5);
        wrong.descriptors = 10 + 50 + IN_PASSING + 1;
        wrong.resident = (4 << 20) + MEMORY_SLACK + 1;
        wrong.refused = Some("line 3".to_owned());
        assert_eq!(broken(&[wrong], &[]), 3);
    }

    #[test]
    fn memory_may_grow_with_the_machine() {
        let of = |seen, resident| {
            let mut cycle = Cycle::of(&[("collector.seen", seen), ("collector.panics", 0)]);
            cycle.resident = resident;
            cycle
        };
        let most = (4 << 20) + MEMORY_SLACK;
        assert_eq!(broken(&[of(0, most)], &[]), 0);
        assert_eq!(broken(&[of(0, most + 1)], &[]), 1);
        assert_eq!(broken(&[of(100, most + 100 * MEMORY_A_PROCESS)], &[]), 0);
        assert_eq!(broken(&[of(100, most + 100 * MEMORY_A_PROCESS + 1)], &[]), 1);
    }
}

//! The checks on each cycle of a collector under load, and the loop that applies them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Result;
use crate::collector::{Collector, Cycle};
use crate::stop::Stop;

/// File descriptors beyond the cached ones that a cycle opens for a moment: a directory, a file, a
/// netlink socket, the config.
const TRANSIENT_FDS: usize = 12;
/// The collector's log line about a panic contains this.
const PANIC: &str = ": panic at ";
/// How much resident memory may grow from then on.
pub(crate) const MEMORY_SLACK: u64 = 2 << 20;
/// Additional growth per process of the machine beyond the previous maximum: other processes may
/// start while the experiment runs.
pub(crate) const MEMORY_PER_PROCESS: u64 = 1 << 10;

/// With a ring the collector remembers an ended process for 30 s, in about this number of bytes.
const MEMORY_PER_ENDED: u64 = 256;
const ENDED_KEPT_SECONDS: u64 = 30;

/// Checks cycles and collects the violations.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// File descriptors of an idle collector.
    pub(crate) idle_fds: usize,
    /// How many more it may cache.
    pub(crate) fd_budget: usize,
    /// Processes of which a read blocks from the second cycle on.
    pub(crate) stuck: u64,
    /// Processes that end in a second, if the collector has a ring.
    pub(crate) ended_per_second: u64,
    /// Resident memory when it became stable, and the maximum of processes by then.
    stable: Option<(u64, u64)>,
    max_processes: u64,
    highest: BTreeMap<String, u64>,
    violations: Vec<String>,
    pub(crate) cycles: usize,
    pub(crate) max_fds: usize,
    pub(crate) max_resident: u64,
    pub(crate) longest_gap: Duration,
}

impl Checks {
    /// Records a violation.
    pub(crate) fn violated(&mut self, message: String) {
        eprintln!("violated: {message}");
        self.violations.push(message);
    }

    pub(crate) fn passed(&self) -> bool {
        self.violations.is_empty()
    }

    /// From this cycle on the memory is limited.
    pub(crate) fn set_stable(&mut self, cycle: &Cycle) {
        self.stable.get_or_insert((cycle.resident, self.max_processes));
    }

    /// Resident memory when it became stable.
    pub(crate) fn stable(&self) -> Option<u64> {
        self.stable.map(|(resident, _)| resident)
    }

    /// How much resident memory may grow, with the same number of processes on the machine.
    pub(crate) fn memory_slack(&self) -> u64 {
        MEMORY_SLACK + self.ended_per_second * ENDED_KEPT_SECONDS * MEMORY_PER_ENDED
    }

    /// The maximum of processes on the machine.
    pub(crate) fn max_processes(&self) -> u64 {
        self.max_processes
    }

    /// The number of violations.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.violations.len()
    }

    /// Checks a cycle and the lines logged during it.
    pub(crate) fn cycle(&mut self, cycle: &Cycle, log: &[String]) {
        self.cycles += 1;
        let number = self.cycles;
        if let Some(reason) = &cycle.rejected {
            self.violated(format!("cycle {number}: tcollector would reject a line: {reason}"));
        }
        let mut decreased = Vec::new();
        for (series, value) in cycle.counters() {
            let highest = self.highest.entry(series.to_owned()).or_insert(value);
            if value < *highest {
                decreased.push(format!("cycle {number}: {series} fell from {highest} to {value}"));
            }
            *highest = value.max(*highest);
        }
        for line in decreased {
            self.violated(line);
        }
        if cycle.get("collector.panics") != Some(0) {
            self.violated(format!("cycle {number}: collector.panics is not 0"));
        }
        let blocked = cycle.get("collector.blocked");
        if self.stuck > 0 && number > 1 && blocked < Some(self.stuck) {
            self.violated(format!("cycle {number}: {blocked:?} blocked, {} stuck", self.stuck));
        }
        for line in log.iter().filter(|line| line.contains(PANIC)) {
            self.violated(format!("cycle {number}: logged {line:?}"));
        }
        let limit = self.idle_fds + self.fd_budget + TRANSIENT_FDS;
        if self.idle_fds > 0 && cycle.fds > limit {
            self.violated(format!("cycle {number}: {} fds; the limit is {limit}", cycle.fds));
        }
        self.max_processes = self.max_processes.max(cycle.get("collector.processes").unwrap_or(0));
        if let Some((stable, processes)) = self.stable {
            let more = self.max_processes.saturating_sub(processes);
            let limit = stable + self.memory_slack() + more * MEMORY_PER_PROCESS;
            // Reported when it gets worse, not in each cycle.
            if cycle.resident > limit.max(self.max_resident) {
                let now = cycle.resident;
                self.violated(format!("cycle {number}: {now} bytes resident; limit {limit}"));
            }
        }
        self.max_fds = self.max_fds.max(cycle.fds);
        self.max_resident = self.max_resident.max(cycle.resident);
        self.longest_gap = self.longest_gap.max(cycle.gap);
    }

    /// The number of cycles that the collector skipped.
    pub(crate) fn skipped(&self) -> u64 {
        self.highest.get("collector.skipped_cycles").copied().unwrap_or(0)
    }

    /// Prints the violations.
    ///
    /// # Errors
    /// If there are any.
    pub(crate) fn report(&self) -> Result<()> {
        for line in &self.violations {
            println!("violated: {line}");
        }
        if self.passed() {
            println!("All checks passed in every cycle.");
            return Ok(());
        }
        Err(format!("{} checks failed", self.violations.len()).into())
    }
}

/// A collector under load with its checks.
#[derive(Debug)]
pub(crate) struct Session<'s> {
    pub(crate) stop: &'s Stop,
    pub(crate) collector: Collector,
    pub(crate) checks: Checks,
    /// Cycles since the last change of the config.
    pub(crate) since_change: usize,
    /// Lines of the log.
    pub(crate) logged: usize,
}

impl<'s> Session<'s> {
    pub(crate) fn new(collector: Collector, fd_budget: usize, stop: &'s Stop) -> Session<'s> {
        let checks = Checks { fd_budget, ..Checks::default() };
        Session { stop, collector, checks, since_change: 0, logged: 0 }
    }

    /// Waits for a cycle and checks it. Its images must be `images`, in the order of their names,
    /// once `applied` cycles have passed since the last change of the config.
    pub(crate) fn cycle(&mut self, images: &[String], applied: usize) -> Result<Cycle> {
        let cycle = self.collector.next(self.stop)?;
        let log = self.collector.log();
        self.logged += log.len();
        self.checks.cycle(&cycle, &log);
        self.since_change += 1;
        if self.since_change >= applied && cycle.images() != images {
            let found = cycle.images();
            self.checks.violated(format!("the config has {images:?}, the cycle {found:?}"));
        }
        Ok(cycle)
    }

    /// Checks that no image of a cycle has a process.
    pub(crate) fn check_empty(&mut self, cycle: &Cycle, images: &[String]) {
        for image in images {
            if cycle.get(&format!("procs image={image}")) != Some(0) {
                self.checks.violated(format!("{image} has processes after all have exited"));
            }
        }
    }

    /// Terminates the collector; returns the checks.
    pub(crate) fn terminate(self) -> Result<Checks> {
        let Session { collector, mut checks, .. } = self;
        if !collector.terminate()? {
            checks.violated("the collector did not exit with status 0".to_owned());
        }
        Ok(checks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIES: &str = "io image=web type=wchar";

    fn cycle(wchar: u64) -> Cycle {
        Cycle::of(&[(SERIES, wchar), ("collector.panics", 0)])
    }

    /// The number of violations.
    fn violations(cycles: &[Cycle], log: &[&str]) -> usize {
        let mut checks = Checks { idle_fds: 10, fd_budget: 50, ..Checks::default() };
        checks.set_stable(&cycle(0));
        let log: Vec<String> = log.iter().map(|&line| line.to_owned()).collect();
        for cycle in cycles {
            checks.cycle(cycle, &log);
        }
        checks.count()
    }

    #[test]
    fn missing_blocked_read_is_reported() {
        let cycle = |blocked| Cycle::of(&[("collector.panics", 0), ("collector.blocked", blocked)]);
        let mut checks = Checks { stuck: 2, ..Checks::default() };
        checks.cycle(&cycle(0), &[]);
        checks.cycle(&cycle(3), &[]);
        assert_eq!(checks.count(), 0);
        checks.cycle(&cycle(1), &[]);
        assert_eq!(checks.count(), 1);
    }

    /// A collector with a ring remembers processes that have ended.
    #[test]
    fn ended_processes_are_remembered_with_a_ring() {
        let violations = |ended_per_second, grown| {
            let mut checks = Checks { ended_per_second, ..Checks::default() };
            checks.set_stable(&cycle(0));
            let mut cycle = cycle(0);
            cycle.resident += grown;
            checks.cycle(&cycle, &[]);
            checks.count()
        };
        assert_eq!([violations(0, 2 << 20), violations(0, 3 << 20)], [0, 1]);
        assert_eq!([violations(200, 3 << 20), violations(200, 4 << 20)], [0, 1]);
    }

    #[test]
    fn valid_cycle_passes() {
        assert_eq!(violations(&[cycle(5), cycle(5), cycle(7)], &["conf: 3 rules"]), 0);
        // An image that is absent from the config for a while.
        let without = Cycle::of(&[("collector.panics", 0)]);
        assert_eq!(violations(&[cycle(5), without, cycle(6)], &[]), 0);
        // Series that are not counters.
        let gauge = |fd| Cycle::of(&[("fd image=web type=open", fd), ("collector.panics", 0)]);
        assert_eq!(violations(&[gauge(5), gauge(4)], &[]), 0);
    }

    #[test]
    fn invalid_cycle_fails() {
        assert_eq!(violations(&[cycle(5), cycle(4)], &[]), 1, "a counter fell");
        let without = Cycle::of(&[("collector.panics", 0)]);
        assert_eq!(violations(&[cycle(5), without, cycle(4)], &[]), 1, "it fell while absent");
        assert_eq!(violations(&[Cycle::of(&[("collector.panics", 1)])], &[]), 1);
        assert_eq!(violations(&[Cycle::of(&[])], &[]), 1, "no count of panics");
        let panic = "psstat: panic at src/cycle.rs:7:9: out of bounds; please report this bug";
        assert_eq!(violations(&[cycle(5)], &[panic]), 1);
        let mut invalid = cycle(5);
        invalid.fds = 10 + 50 + TRANSIENT_FDS + 1;
        invalid.resident = (4 << 20) + MEMORY_SLACK + 1;
        invalid.rejected = Some("line 3".to_owned());
        assert_eq!(violations(&[invalid], &[]), 3);
    }

    #[test]
    fn memory_limit_grows_with_processes() {
        let of = |processes, resident| {
            let mut cycle =
                Cycle::of(&[("collector.processes", processes), ("collector.panics", 0)]);
            cycle.resident = resident;
            cycle
        };
        let limit = (4 << 20) + MEMORY_SLACK;
        assert_eq!(violations(&[of(0, limit)], &[]), 0);
        assert_eq!(violations(&[of(0, limit + 1)], &[]), 1);
        assert_eq!(violations(&[of(100, limit + 100 * MEMORY_PER_PROCESS)], &[]), 0);
        assert_eq!(violations(&[of(100, limit + 100 * MEMORY_PER_PROCESS + 1)], &[]), 1);
    }
}

//! The io that each image wrote and the io that was counted; the report.

use std::time::Duration;

use crate::checks::Checks;
use crate::child_modes::kind::Kind;
use crate::child_modes::storm::Written;
use crate::collector::Cycle;
use crate::host_info;
use crate::reads::Used;

/// The maximum time between two cycles with which no process that lives for 2.5 s is missed.
const MAX_CYCLE_GAP: Duration = Duration::from_millis(1200);
/// One in this number of bytes may be of a process whose end the kernel does not report: on some virtual
/// machines no BPF program runs where the end interrupts a thread of the host's agent.
const MAX_UNREPORTED: u64 = 100;

/// The written and the counted io of an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    kind: Kind,
    has_ring: bool,
    written: Written,
    /// `wchar`; `None` if it was not printed.
    counted: Option<u64>,
    expected: [Expected; 2],
}

/// The expectation for `wchar` or `syscw`. Before and after an exec it is the sum of both images,
/// and the first one may have as much: on a machine so busy that a process is first read after its
/// exec, or that the exec is detected too late, the io before it cannot be distinguished.
#[derive(Clone, Copy, Debug)]
struct Expected {
    unit: &'static str,
    written: u64,
    max: u64,
    counted: Option<u64>,
}

impl Account {
    /// `has_ring`: the ends of processes are reported.
    pub(crate) fn new(kind: Kind, has_ring: bool, written: Written, cycle: &Cycle) -> Account {
        let of = |kind: Kind| {
            let name = kind.name();
            ["wchar", "syscw"].map(|field| cycle.get(&format!("io image={name} type={field}")))
        };
        let counted = of(kind);
        let (own, before) = ([written.bytes, written.calls], of(Kind::ExecBefore));
        let expected = [0, 1].map(|at| {
            // After the exec they write the same amount again.
            let (written, both) = (own[at], 2 * own[at]);
            let sum = || counted[at].zip(before[at]).map(|(after, before)| after + before);
            let unit = ["bytes", "calls"][at];
            match kind {
                Kind::ExecBefore => Expected { unit, written, max: both, counted: counted[at] },
                Kind::ExecAfter => Expected { unit, written: both, max: both, counted: sum() },
                _ => Expected { unit, written, max: written, counted: counted[at] },
            }
        });
        Account { kind, has_ring, written, counted: counted[0], expected }
    }

    /// Checks that no more is counted than was written; valid at any time, if the report of the
    /// driver is from before the cycle.
    pub(crate) fn check_maximum(&self, checks: &mut Checks) {
        let name = self.kind.name();
        for Expected { unit, max, counted, .. } in self.expected {
            if let Some(counted) = counted
                && counted > max
            {
                checks.violated(format!("{name}: {counted} {unit} counted, {max} written"));
            }
        }
    }

    /// Checks also that nothing is lost; valid after all processes have exited.
    pub(crate) fn check(&self, checks: &mut Checks) {
        self.check_maximum(checks);
        let name = self.kind.name();
        // The io of children reaped in their image is in their parent in any case.
        let is_exact = self.kind.parent_is_tracked() || checks.longest_gap <= MAX_CYCLE_GAP;
        for Expected { unit, written, max, counted } in self.expected {
            let Some(counted) = counted else {
                checks.violated(format!("{name} has no {unit}"));
                continue;
            };
            let lost = written.saturating_sub(counted);
            let is_missing = match (self.kind.needs_ring(), self.has_ring) {
                (false, _) => is_exact && counted != written,
                (true, true) => lost.saturating_mul(MAX_UNREPORTED) > written,
                (true, false) => false,
            };
            if is_missing && counted <= max {
                checks.violated(format!("{name}: {counted} {unit} counted of {written}"));
            }
        }
    }

    fn row(&self) -> String {
        let lost = self.written.bytes.saturating_sub(self.counted.unwrap_or(0));
        let percent = 100.0 * lost as f64 / self.written.bytes.max(1) as f64;
        format!(
            "{:<11} {:>6} {:>10} {:>10} {:>9} {:>6.1}  {}",
            self.kind.name(),
            self.written.forks,
            self.written.bytes,
            self.counted.map_or("-".to_owned(), |counted| counted.to_string()),
            lost,
            percent,
            self.kind.explanation(self.has_ring),
        )
    }
}

/// The numbers of the report.
#[derive(Debug)]
pub(crate) struct Numbers<'n> {
    pub(crate) used: Used,
    pub(crate) time: Duration,
    pub(crate) first: &'n Cycle,
    pub(crate) last: &'n Cycle,
    /// File descriptors of the collector at the end.
    pub(crate) fds: usize,
    /// Changes of the config.
    pub(crate) changes: usize,
    pub(crate) accounts: &'n [Account],
}

/// Prints the tables.
pub(crate) fn print(checks: &Checks, numbers: &Numbers<'_>) {
    let Numbers { used, time, first, last, fds, changes, accounts } = numbers;
    let kib = |bytes: u64| bytes >> 10;
    let forks: u64 = accounts.iter().map(|account| account.written.forks).sum();
    println!("{}; load {}", host_info::line(), host_info::load());
    println!("processes read by  {}", used.describe());
    if used.ring.is_some() {
        let lost = last.get("collector.lost_events");
        let lost = lost.map_or("unknown".to_owned(), |lost| lost.to_string());
        println!("lost events        {lost}");
    }
    println!("forks and exits    {forks}, {:.0} per second", forks as f64 / time.as_secs_f64());
    println!("cycles             {}, {} skipped", checks.cycles, checks.skipped());
    println!("longest gap        {:.2} s", checks.longest_gap.as_secs_f64());
    println!("config changes     {changes}");
    println!(
        "file descriptors   {} idle, {} maximum, {fds} at the end",
        checks.idle_fds, checks.max_fds
    );
    println!(
        "resident, KiB      {} idle, {} after 10 s, {} maximum, {} at the end ({} more allowed)",
        kib(first.resident),
        checks.stable().map_or("-".to_owned(), |bytes| kib(bytes).to_string()),
        kib(checks.max_resident),
        kib(last.resident),
        kib(checks.memory_slack()),
    );
    println!("processes          {} maximum", checks.max_processes());
    println!(
        "\n{:<11} {:>6} {:>10} {:>10} {:>9} {:>6}  why",
        "image", "forks", "written", "counted", "lost", "%"
    );
    for account in *accounts {
        println!("{}", account.row());
    }
    if checks.longest_gap > MAX_CYCLE_GAP {
        println!("\nThe machine was too busy to check the losses of children reaped outside.");
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of violations if this much is counted of 100 written.
    fn violations(kind: Kind, counted: u64, check: impl Fn(&Account, &mut Checks)) -> usize {
        violations_with(false, kind, counted, check)
    }

    fn violations_with(
        has_ring: bool,
        kind: Kind,
        counted: u64,
        check: impl Fn(&Account, &mut Checks),
    ) -> usize {
        let written = Written { forks: 1, bytes: 100, calls: 100 };
        let series = |field| format!("io image={} type={field}", kind.name());
        let before = if kind == Kind::ExecBefore { counted } else { 100 };
        let cycle = Cycle::of(&[
            (&series("wchar"), counted),
            (&series("syscw"), 100),
            ("io image=exec-before type=wchar", before),
            ("io image=exec-before type=syscw", 100),
        ]);
        let mut checks = Checks::default();
        check(&Account::new(kind, has_ring, written, &cycle), &mut checks);
        checks.count()
    }

    #[test]
    fn double_count_fails_in_any_cycle() {
        for kind in Kind::ALL {
            let max = if kind == Kind::ExecBefore { 200 } else { 100 };
            assert_eq!(violations(kind, max + 1, Account::check_maximum), 1, "{kind:?}");
            assert_eq!(violations(kind, 50, Account::check_maximum), 0, "{kind:?}");
        }
    }

    /// If a process is first read after its exec, the io before it counts in either image.
    #[test]
    fn io_before_an_exec_counts_once_in_either_image() {
        let written = Written { forks: 1, bytes: 100, calls: 100 };
        let violations = |before, after| {
            let cycle = Cycle::of(&[
                ("io image=exec-before type=wchar", before),
                ("io image=exec-before type=syscw", 100),
                ("io image=exec-after type=wchar", after),
                ("io image=exec-after type=syscw", 100),
            ]);
            let mut checks = Checks::default();
            Account::new(Kind::ExecAfter, false, written, &cycle).check(&mut checks);
            checks.count()
        };
        assert_eq!((violations(100, 100), violations(60, 140)), (0, 0));
        assert_eq!((violations(60, 141), violations(60, 139)), (1, 1));
    }

    /// Long-lived children once wrote half of it after the last read: half of the bytes could be
    /// lost, and half of them counted twice, without a violation.
    #[test]
    fn final_count_is_exact() {
        for kind in Kind::ALL {
            assert_eq!(violations(kind, 100, Account::check), 0, "{kind:?}");
            assert_eq!(violations(kind, 101, Account::check), 1, "{kind:?}");
            let loses = matches!(kind, Kind::Ignored | Kind::Brief);
            assert_eq!(violations(kind, 99, Account::check), usize::from(!loses), "{kind:?}");
        }
    }

    /// The ends of processes that live briefly are in the ring, but for a few.
    #[test]
    fn ring_has_the_io_of_brief_processes() {
        for kind in Kind::ALL {
            assert_eq!(violations_with(true, kind, 100, Account::check), 0, "{kind:?}");
            let is_exact = !matches!(kind, Kind::Ignored | Kind::Brief);
            let at_99 = violations_with(true, kind, 99, Account::check);
            assert_eq!(at_99, usize::from(is_exact), "{kind:?}");
            assert_eq!(violations_with(true, kind, 98, Account::check), 1, "{kind:?}");
        }
    }
}

//! The resources and the CPU time of the collector, cycle by cycle.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::Result;
use crate::collector::Cycle;
use crate::table::{Table, ms};

/// The state of the collector at the end of a cycle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    /// Time since the start.
    pub(crate) at: Duration,
    /// CPU time of the collector since the previous cycle.
    pub(crate) cpu: Duration,
    /// CPU time of [`reference_reads`] right after the cycle.
    pub(crate) reference: Duration,
    /// Bytes.
    pub(crate) resident: u64,
    pub(crate) fds: usize,
    pub(crate) threads: u64,
    /// Processes of the machine and those of an image, by the collector.
    pub(crate) processes: u64,
    pub(crate) matched: u64,
    pub(crate) gap: Duration,
}

/// All snapshots.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    snapshots: Vec<Snapshot>,
    cpu: Option<Duration>,
}

/// The medians of some snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Medians {
    pub(crate) cpu: Duration,
    /// CPU time relative to the reference.
    pub(crate) relative: f64,
    pub(crate) resident: u64,
    pub(crate) fds: usize,
    pub(crate) threads: u64,
    pub(crate) processes: u64,
    pub(crate) matched: u64,
}

/// The heading of [`Medians::cells`].
pub(crate) const MEDIANS: [&str; 7] = [
    "CPU per cycle, ms",
    "to reference",
    "resident, KiB",
    "fds",
    "threads",
    "processes",
    "matched",
];

impl Trace {
    /// Takes a snapshot of the collector after a cycle.
    pub(crate) fn add(&mut self, pid: u32, cycle: &Cycle, at: Duration) -> Result<Snapshot> {
        let previous = self.cpu.replace(cycle.cpu).unwrap_or(cycle.cpu);
        let snapshot = Snapshot {
            at,
            cpu: cycle.cpu.saturating_sub(previous),
            reference: reference_reads()?,
            resident: cycle.resident,
            fds: cycle.fds,
            threads: psstat_testproc::oracle::threads(pid)?,
            processes: cycle.get("collector.processes").unwrap_or(0),
            matched: cycle.get("collector.matched").unwrap_or(0),
            gap: cycle.gap,
        };
        self.snapshots.push(snapshot);
        Ok(snapshot)
    }

    /// The snapshots between two times.
    pub(crate) fn between(&self, from: Duration, to: Duration) -> &[Snapshot] {
        let first = self.snapshots.partition_point(|snapshot| snapshot.at < from);
        let end = self.snapshots.partition_point(|snapshot| snapshot.at < to);
        &self.snapshots[first..end.max(first)]
    }

    /// A row per twelfth of the time, at least one minute each.
    pub(crate) fn table(&self, time: Duration) -> String {
        let heading = ["minutes", "cycles", "longest gap, s", "maximum fds"];
        let mut table = Table::new(&[&heading[..], &MEDIANS].concat());
        let step = Duration::from_secs((time.as_secs() / 60).div_ceil(12).max(1) * 60);
        let mut from = Duration::ZERO;
        while from < time {
            let snapshots = self.between(from, from + step);
            let medians = Medians::of(snapshots);
            let longest = snapshots.iter().map(|snapshot| snapshot.gap).max().unwrap_or_default();
            let max_fds = snapshots.iter().map(|snapshot| snapshot.fds).max().unwrap_or(0);
            let cells = [
                format!("{}-{}", from.as_secs() / 60, (from + step).as_secs() / 60),
                snapshots.len().to_string(),
                format!("{:.2}", longest.as_secs_f64()),
                max_fds.to_string(),
            ];
            table.row(cells.into_iter().chain(medians.cells()));
            from += step;
        }
        table.text()
    }
}

impl Medians {
    pub(crate) fn of(snapshots: &[Snapshot]) -> Medians {
        let mut relative: Vec<f64> = snapshots
            .iter()
            .map(|snapshot| snapshot.cpu.as_secs_f64() / snapshot.reference.as_secs_f64())
            .collect();
        relative.sort_unstable_by(f64::total_cmp);
        Medians {
            cpu: median(snapshots, |snapshot| snapshot.cpu),
            relative: relative.get(relative.len() / 2).copied().unwrap_or(0.0),
            resident: median(snapshots, |snapshot| snapshot.resident),
            fds: median(snapshots, |snapshot| snapshot.fds),
            threads: median(snapshots, |snapshot| snapshot.threads),
            processes: median(snapshots, |snapshot| snapshot.processes),
            matched: median(snapshots, |snapshot| snapshot.matched),
        }
    }

    /// The cells of a row.
    pub(crate) fn cells(&self) -> [String; 7] {
        [
            ms(self.cpu),
            format!("{:.2}", self.relative),
            (self.resident >> 10).to_string(),
            self.fds.to_string(),
            self.threads.to_string(),
            self.processes.to_string(),
            self.matched.to_string(),
        ]
    }
}

fn median<T: Copy + Ord + Default>(snapshots: &[Snapshot], value: impl Fn(&Snapshot) -> T) -> T {
    let mut values: Vec<T> = snapshots.iter().map(value).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// CPU time of this thread for a constant number of reads like those of the collector: the speed of
/// the machine at the moment.
fn reference_reads() -> Result<Duration> {
    let clock = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime));
    let before = clock()?;
    for _ in 0..100 {
        for file in ["/proc/self/stat", "/proc/self/statm", "/proc/self/io"] {
            std::fs::read(file)?;
        }
    }
    Ok((clock()? - before).max(Duration::from_nanos(1)))
}

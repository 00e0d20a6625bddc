//! What the collector held and used, cycle by cycle.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::compare::table::{Table, ms};
use crate::storm::collector::Cycle;
use crate::{Result, sys};

/// What was seen of the collector at the end of a cycle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Since the start.
    pub(crate) at: Duration,
    /// CPU time of the collector since the look before.
    pub(crate) cpu: Duration,
    /// CPU time of the [`yardstick`] right after.
    pub(crate) yard: Duration,
    /// Bytes.
    pub(crate) resident: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: u64,
    /// Processes of the machine and of an image, as the collector says.
    pub(crate) seen: u64,
    pub(crate) matched: u64,
    pub(crate) gap: Duration,
}

/// All looks.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    looks: Vec<Look>,
    cpu: Option<u64>,
    was_late: bool,
}

/// The middle of some looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Middle {
    pub(crate) cpu: Duration,
    /// CPU time in yardsticks.
    pub(crate) relative: f64,
    pub(crate) resident: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: u64,
    pub(crate) seen: u64,
    pub(crate) matched: u64,
}

impl Trace {
    /// Looks at the collector after a cycle; `late` says that another one has
    /// ended by now, whose CPU time would be in this look: there is none then.
    pub(crate) fn look(
        &mut self,
        pid: u32,
        cycle: &Cycle,
        at: Duration,
        late: bool,
    ) -> Result<Option<Look>> {
        let cpu = sys::cpu_nanoseconds(pid)?;
        let before = self.cpu.replace(cpu).unwrap_or(cpu);
        let look = Look {
            at,
            cpu: Duration::from_nanos(cpu.saturating_sub(before)),
            yard: yardstick()?,
            resident: cycle.resident,
            descriptors: cycle.descriptors,
            threads: psstat_testproc::oracle::threads(pid)?,
            seen: cycle.get("collector.seen").unwrap_or(0),
            matched: cycle.get("collector.matched").unwrap_or(0),
            gap: cycle.gap,
        };
        let is_whole = !std::mem::replace(&mut self.was_late, late) && !late;
        self.looks.extend(is_whole.then_some(look));
        Ok(is_whole.then_some(look))
    }

    /// The looks between two times.
    pub(crate) fn between(&self, from: Duration, to: Duration) -> &[Look] {
        let first = self.looks.partition_point(|look| look.at < from);
        let end = self.looks.partition_point(|look| look.at < to);
        &self.looks[first..end.max(first)]
    }

    /// A row for each twelfth of the time, a minute at least.
    pub(crate) fn table(&self, time: Duration) -> String {
        let mut table = Table::new(&[
            "minutes",
            "cycles",
            "longest gap, s",
            "CPU a cycle, ms",
            "to the yardstick",
            "resident, KiB",
            "descriptors, at most",
            "threads",
            "seen",
            "matched",
        ]);
        let step = Duration::from_secs((time.as_secs() / 60).div_ceil(12).max(1) * 60);
        let mut from = Duration::ZERO;
        while from < time {
            let looks = self.between(from, from + step);
            let middle = Middle::of(looks);
            let longest = looks.iter().map(|look| look.gap).max().unwrap_or_default();
            let most = looks.iter().map(|look| look.descriptors).max().unwrap_or(0);
            table.row([
                format!("{}-{}", from.as_secs() / 60, (from + step).as_secs() / 60),
                looks.len().to_string(),
                format!("{:.2}", longest.as_secs_f64()),
                ms(middle.cpu),
                format!("{:.2}", middle.relative),
                (middle.resident >> 10).to_string(),
                most.to_string(),
                middle.threads.to_string(),
                middle.seen.to_string(),
                middle.matched.to_string(),
            ]);
            from += step;
        }
        table.text()
    }
}

impl Middle {
    pub(crate) fn of(looks: &[Look]) -> Middle {
        let mut relative: Vec<f64> =
            looks.iter().map(|look| look.cpu.as_secs_f64() / look.yard.as_secs_f64()).collect();
        relative.sort_unstable_by(f64::total_cmp);
        Middle {
            cpu: middle(looks, |look| look.cpu),
            relative: relative.get(relative.len() / 2).copied().unwrap_or(0.0),
            resident: middle(looks, |look| look.resident),
            descriptors: middle(looks, |look| look.descriptors),
            threads: middle(looks, |look| look.threads),
            seen: middle(looks, |look| look.seen),
            matched: middle(looks, |look| look.matched),
        }
    }
}

fn middle<T: Copy + Ord + Default>(looks: &[Look], of: impl Fn(&Look) -> T) -> T {
    let mut values: Vec<T> = looks.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// CPU time of this thread for reads of the kind that the collector makes, the
/// same at all times: how fast the machine is at the moment, with what else
/// runs on it.
fn yardstick() -> Result<Duration> {
    let clock = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime));
    let before = clock()?;
    for _ in 0..100 {
        for file in ["/proc/self/stat", "/proc/self/statm", "/proc/self/io"] {
            std::fs::read(file)?;
        }
    }
    Ok((clock()? - before).max(Duration::from_nanos(1)))
}

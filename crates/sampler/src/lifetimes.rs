//! The lives of processes as a source reports them: forks, execs and ends, in their order.

use std::ops::Range;

use crate::cpu_time::{CpuCounters, CpuReading, CpuSamples, CpuTime, OwnCpu};
use crate::fault_counts::{FaultCounters, FaultCounts};
use crate::io_counters::IoCounters;

/// An event of a process.
#[derive(Clone, Debug)]
pub(crate) struct LifeEvent {
    pub(crate) pid: u32,
    /// Its start in nanoseconds since boot, which identifies it together with the pid.
    pub(crate) start: u64,
    pub(crate) kind: LifeEventKind,
}

#[derive(Clone, Debug)]
pub(crate) enum LifeEventKind {
    /// This number of events before it were lost.
    Lost(u64),
    /// It began, as a copy of this process.
    Fork { parent: u32 },
    /// It executed a program.
    Exec(ExecTexts),
    /// It exits, and its parent will not wait for it.
    Unwaited,
    /// It has ended, with these counters. `parent`: the last one, which waited for it unless it is
    /// known that it did not.
    End { parent: u32, counters: FinalCounters },
}

/// The texts of a program, in those of the batch.
#[derive(Clone, Debug)]
pub(crate) struct ExecTexts {
    /// Its arguments, each terminated by NUL: at most 4 KiB of them. `None` if they could not be
    /// read.
    pub(crate) command_line: Option<Range<usize>>,
    pub(crate) comm: Range<usize>,
    /// The effective user id.
    pub(crate) uid: u32,
}

/// Events, in their order.
#[derive(Debug, Default)]
pub(crate) struct LifeEvents {
    pub(crate) events: Vec<LifeEvent>,
    /// Of all programs, concatenated.
    pub(crate) texts: Vec<u8>,
}

impl LifeEvents {
    pub(crate) fn clear(&mut self) {
        self.events.clear();
        self.texts.clear();
    }

    /// A range of the texts.
    pub(crate) fn text(&self, range: &Range<usize>) -> &[u8] {
        self.texts.get(range.clone()).unwrap_or_default()
    }
}

/// The counters of a process, with those of the children that it reaped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FinalCounters {
    pub(crate) io: IoCounters,
    pub(crate) cpu: CpuCounters,
    pub(crate) faults: FaultCounters,
}

/// The CPU time of an ended process as the kernel shows it, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FinalCpu {
    /// Exact, of the process itself.
    pub(crate) total: u64,
    /// The same by samples.
    pub(crate) samples: CpuTime,
    /// Of the children that it reaped.
    pub(crate) children: CpuTime,
}

impl FinalCounters {
    pub(crate) fn new(
        io: IoCounters,
        cpu: FinalCpu,
        faults: FaultCounts,
        child_faults: FaultCounts,
    ) -> FinalCounters {
        let FinalCpu { total, samples, children } = cpu;
        let samples = CpuSamples { user: samples.user, total: samples.total() };
        let mut own = OwnCpu::default();
        own.update(CpuReading { total, user: None }, Some(samples));
        FinalCounters {
            io,
            cpu: CpuCounters::new(own.time(), children),
            faults: FaultCounters::new(faults, child_faults),
        }
    }

    /// By how much they are more than others; 0 where they are not.
    #[must_use]
    pub(crate) fn growth_since(self, before: FinalCounters) -> FinalCounters {
        let cpu = self.cpu.zip(before.cpu, i64::saturating_sub);
        let faults = self.faults.zip(before.faults, i64::saturating_sub);
        FinalCounters {
            io: self.io.saturating_sub(before.io).max(IoCounters::ZERO),
            // Only the sum of its modes is exact.
            cpu: if cpu.total() < 0 { CpuCounters::default() } else { cpu },
            faults: faults.zip(FaultCounters::default(), i64::max),
        }
    }

    /// The sum.
    #[must_use]
    pub(crate) fn plus(self, other: FinalCounters) -> FinalCounters {
        FinalCounters {
            io: self.io.saturating_add(other.io),
            cpu: self.cpu.zip(other.cpu, i64::saturating_add),
            faults: self.faults.zip(other.faults, i64::saturating_add),
        }
    }
}

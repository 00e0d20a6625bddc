//! The rows of a table.

use std::time::SystemTime;

use psstat_sampler::{CpuTime, IoCounters, Usage};

/// The name that the kernel has for a process without a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommName {
    /// Of a kernel thread.
    KernelThread(Vec<u8>),
    /// Of a process whose arguments are empty.
    Process(Vec<u8>),
}

impl CommName {
    /// The name; any bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            CommName::KernelThread(name) | CommName::Process(name) => name,
        }
    }

    /// The name in place of a command line: in brackets for a kernel thread, in braces for a
    /// process.
    pub fn enclosed(&self) -> Vec<u8> {
        let (open, close) = match self {
            CommName::KernelThread(_) => (b"[", b"]"),
            CommName::Process(_) => (b"{", b"}"),
        };
        [&open[..], self.bytes(), &close[..]].concat()
    }
}

/// The identity of a process in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessId {
    /// Pid in the procfs that is read.
    pub pid: u32,
    /// Pid of the parent; 0 if the parent is not visible.
    pub ppid: u32,
    /// Start time in clock ticks after boot.
    pub starttime: u64,
    /// The time at which it started, exact to a tick; `None` if that is unknown.
    pub started: Option<SystemTime>,
    /// Arguments joined by one space; any bytes.
    pub command_line: Vec<u8>,
    /// The name if there is no command line.
    pub comm: Option<CommName>,
    /// The state as in `/proc/PID/stat`, of a kernel thread; of a process only if states are read.
    pub state: Option<u8>,
    /// The owner of its directory in `/proc`: its effective user id, or 0 if it is not dumpable.
    pub uid: Option<u32>,
    /// The name of this user, or the number without one; `None` unless it is requested.
    pub owner: Option<Vec<u8>>,
}

/// One line of a table: an image, a process, or the total.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The name of the image, or the names of all images of the process; empty
    /// for the total.
    pub images: Vec<String>,
    /// The process; `None` for an image and the total.
    pub id: Option<ProcessId>,
    /// The values. A value is `None` if it could not be read or if there is no
    /// previous reading.
    pub numbers: Usage,
    /// The growth of the counters between the last two readings.
    pub growth: Growth,
}

/// The growth of counters; `None` where a reading is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Growth {
    /// Of `/proc/PID/io`.
    pub io: Option<(IoCounters, Seconds)>,
    /// CPU time in seconds, with that of reaped children.
    pub cpu: Option<(f64, Seconds)>,
    /// Voluntary and involuntary context switches.
    pub switches: Option<([u64; 2], Seconds)>,
    /// Minor and major page faults, with those of reaped children.
    pub faults: Option<([u64; 2], Seconds)>,
}

/// The seconds between two readings.
pub type Seconds = f64;

impl Growth {
    /// The growth from one reading to another.
    pub(crate) fn between(before: &Usage, after: &Usage, seconds: Seconds) -> Growth {
        let io = |before: IoCounters, after: IoCounters| after.saturating_sub(before);
        let total = |usage: &Usage| usage.cpu.map(CpuTime::total);
        let cpu = |before: u64, after: u64| after.saturating_sub(before) as f64 / 1e9;
        let switches = |usage: &Usage| usage.switches.map(|it| [it.voluntary, it.involuntary]);
        let faults = |usage: &Usage| usage.faults.map(|it| [it.minor, it.major]);
        let pair = |counts: &dyn Fn(&Usage) -> Option<[u64; 2]>| {
            let ([a, b], [c, d]) = counts(before).zip(counts(after))?;
            Some(([c.saturating_sub(a), d.saturating_sub(b)], seconds))
        };
        Growth {
            io: before.io.zip(after.io).map(|(one, other)| (io(one, other), seconds)),
            cpu: total(before).zip(total(after)).map(|(one, other)| (cpu(one, other), seconds)),
            switches: pair(&switches),
            faults: pair(&faults),
        }
    }

    /// The growth in both windows; that of one if it is missing in the other.
    pub(crate) fn add(&self, other: &Growth) -> Growth {
        fn sum<T: Copy>(
            one: Option<(T, Seconds)>,
            other: Option<(T, Seconds)>,
            add: impl Fn(T, T) -> T,
        ) -> Option<(T, Seconds)> {
            match (one, other) {
                (Some((a, before)), Some((b, after))) => Some((add(a, b), before + after)),
                (one, other) => one.or(other),
            }
        }
        Growth {
            io: sum(self.io, other.io, IoCounters::saturating_add),
            cpu: sum(self.cpu, other.cpu, |one, other| one + other),
            switches: sum(self.switches, other.switches, |[a, b], [c, d]| [a + c, b + d]),
            faults: sum(self.faults, other.faults, |[a, b], [c, d]| [a + c, b + d]),
        }
    }
}

//! The rows of a table.

use std::time::SystemTime;

use psstat_sampler::{IoCounters, Usage};

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
}

/// One line of a table: an image, a process, or the total.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The name of the image, or the names of all images of the process; empty
    /// for the total.
    pub images: Vec<String>,
    /// The process; `None` for an image and the total.
    pub id: Option<ProcessId>,
    /// The values. A value is `None` if it could not be read or if there is no
    /// previous reading.
    pub numbers: Usage,
    /// The growth of the io counters between the last two readings, and the
    /// seconds between them.
    pub io_done: Option<(IoCounters, f64)>,
}

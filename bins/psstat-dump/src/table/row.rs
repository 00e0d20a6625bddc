//! What a table is made of.

use psstat_sampler::{IoCounters, Numbers};

/// A process, as far as a row tells who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessId {
    /// Its pid in the procfs that is read.
    pub pid: u32,
    /// Its parent's pid; 0 when there is none to be seen.
    pub ppid: u32,
    /// Its start time in ticks since boot.
    pub starttime: u64,
    /// Its arguments joined by one space; any bytes.
    pub command_line: Vec<u8>,
}

/// One line of a table: an image, a process, or the total.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The image's name; those of all images that a process belongs to; none
    /// for the total.
    pub images: Vec<String>,
    /// Which process; `None` for an image and the total.
    pub who: Option<ProcessId>,
    /// What they use. `None` also where there is no earlier reading to compare
    /// with.
    pub numbers: Numbers,
    /// What has been read and written between the last two readings of io, and
    /// the seconds between them.
    pub io_done: Option<(IoCounters, f64)>,
}

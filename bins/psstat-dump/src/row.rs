//! What a table is made of.

use psstat_sampler::Counters;

/// The numbers of an image or a process. `None`: could not be read, or there
/// is no earlier reading to compare with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Numbers {
    /// CPU time used in the window, percent of one core.
    pub pcpu: Option<f64>,
    /// Resident memory, bytes.
    pub rss: Option<u64>,
    /// Virtual memory, bytes.
    pub vsize: Option<u64>,
    /// Open file descriptors.
    pub descriptors: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// ESTABLISHED sockets, tcp and tcp6.
    pub tcp: Option<u64>,
    /// ESTABLISHED sockets, udp and udp6.
    pub udp: Option<u64>,
    /// Connected unix domain sockets.
    pub unix: Option<u64>,
    /// What has been read and written so far.
    pub io: Option<Counters>,
    /// What has been read and written between the last two readings of io, and
    /// the seconds between them.
    pub io_done: Option<(Counters, f64)>,
}

/// A process, as far as a row tells who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
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
    pub who: Option<Who>,
    /// How many processes; 1 for a process.
    pub procs: u64,
    /// What they use.
    pub numbers: Numbers,
}

//! The table of the plain numbers. An entry is: the number's name, with what it
//! is, its source and its unit as a comment for users; and how it is read.

use psstat_proc_parse::Statm;

use super::{add, note, read_by};
use crate::health::PerFile;
use crate::io_counters::IoCounters;
use crate::read::outcome::Outcome;
use crate::read::reader::ProcessReader;

numbers! {
    // By which read of `Reader`, and which file of `Health` a failure counts
    // under.
    read {
        /// Open file descriptors: the size of `/proc/PID/fd` (Linux 6.2), else
        /// the number of its entries.
        descriptors = ProcessReader::descriptors, fd;
        /// Threads: the links of `/proc/PID/task`, else `num_threads` of
        /// `/proc/PID/stat`.
        threads = ProcessReader::threads, stat;
    }
    // Which field of `/proc/PID/statm`; pages there, bytes here.
    statm {
        /// Virtual memory in bytes: `size` of `/proc/PID/statm`.
        vsize = size;
        /// Resident memory in bytes: `resident` of `/proc/PID/statm`. Before
        /// Linux 6.2 it may be off by some dozens of pages a thread.
        rss = resident;
    }
}

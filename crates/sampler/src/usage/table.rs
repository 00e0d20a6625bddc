//! The table of the plain numbers. An entry is the name of a number, with its meaning, source
//! and unit as a comment for users, and the read that gives it.

use std::time::Duration;

use psstat_proc_parse::Statm;

use super::{UnreadCounts, add, note};
use crate::cpu_time::CpuTime;
use crate::fault_counts::FaultCounts;
use crate::health::PerFile;
use crate::io_counters::IoCounters;
use crate::read::outcome::Outcome;
use crate::read::reader::ProcessReader;
use crate::state_counts::StateCounts;
use crate::switches::SwitchCounts;
use crate::tcp_states::TcpStateCounts;

usage! {
    // The read of `ProcessReader`, and the file of `Health` under which an error counts.
    read {
        /// Open file descriptors: the size of `/proc/PID/fd` (Linux 6.2), else
        /// the number of its entries.
        fds = ProcessReader::descriptors, fd;
        /// Threads: the links of `/proc/PID/task`, else `num_threads` of
        /// `/proc/PID/stat`.
        threads = ProcessReader::threads, stat;
    }
    // The field of `/proc/PID/statm`; pages there, bytes here.
    statm {
        /// Virtual memory in bytes: `size` of `/proc/PID/statm`.
        vsize = size;
        /// Resident memory in bytes: `resident` of `/proc/PID/statm`. Before
        /// Linux 6.2 it may be off by some dozens of pages per thread.
        rss = resident;
        /// Resident memory that is backed by a file or by shared memory, in bytes: `shared` of
        /// `/proc/PID/statm`.
        shared = shared;
    }
}

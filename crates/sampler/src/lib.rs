//! Reads live processes and computes numbers per image from two readings that are one second
//! apart: io, descriptors, threads, connections, CPU, memory.
//!
//! An image is any group of processes that you select by their command line. The sampler calls
//! a closure to find the images of a process, so it needs no config file. It never sleeps: the
//! caller waits.
//!
//! ```
//! use psstat_sampler::{ImageId, Options, Sampler};
//!
//! let mut sampler = Sampler::new(Options::default())?;
//! let due = sampler.open(&mut |process, images| {
//!     if process.args_joined.starts_with(b"/usr/sbin/") {
//!         images.push(ImageId(0));
//!     }
//! });
//! std::thread::sleep(due.saturating_duration_since(std::time::Instant::now()));
//! let daemons = sampler.close().image(ImageId(0));
//! println!("{} processes use {:?} % of a core", daemons.processes, daemons.cpu_percent);
//! # Ok::<(), psstat_sampler::Error>(())
//! ```
//!
//! Each number is the sum over the processes of the image. A number that could not be read of
//! any of them is `None`, never 0. io is continuous: the io of a process stays in the sum of
//! its image when it exits, and is not counted again when its parent inherits it. A socket
//! counts once per image, whatever the number of processes that hold it, in the network
//! namespaces that the processes live in.
//!
//! The sampler sends no signal, stops no process with ptrace, and never reads `maps`, `smaps`,
//! `numa_maps`, `environ` or `exe`. One thread reads. The caller's thread waits for it, and abandons
//! it if a read blocks; then another one continues.
//!
//! # Parts
//! The `driver` calls four parts: the process table (`state`), the `classifier`, `accounting`
//! and `sockets`. All of them read through the trait in `source`, which `live` implements with
//! the system calls in `read`.
#![deny(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounting;
mod bpf;
pub mod capture;
mod classifier;
mod cpu_time;
mod driver;
mod executor;
mod fault_counts;
mod fields;
mod health;
mod ids;
mod image;
mod io_counters;
mod live;
mod options;
mod read;
mod sample;
mod sampler;
mod shrink;
mod sockets;
mod source;
mod state;
mod state_counts;
mod switches;
mod tcp_states;
mod usage;

pub use bpf::{Bpf, BpfError};
pub use classifier::{Candidate, Classify};
pub use cpu_time::CpuTime;
pub use fault_counts::FaultCounts;
pub use fields::ProcessFields;
pub use health::{BlockedRead, Health, PerFile};
pub use image::ImageId;
pub use io_counters::IoCounters;
pub use options::{
    FDS_PER_PROCESS, FastPaths, IoStart, MAX_WINDOW, MetricGroups, Options, RESERVED_FDS,
};
pub use read::thread::{spawn_with_private_fd_table, unblock_signals};
pub use sample::{ProcessSample, Sample};
pub use sampler::{Error, Sampler};
pub use state_counts::StateCounts;
pub use switches::SwitchCounts;
pub use tcp_states::TcpStateCounts;
pub use usage::{UnreadCounts, Usage};

/// The intervals within which changes are noticed, for this crate's tests.
#[doc(hidden)]
pub mod intervals {
    pub use crate::state::cmdline_budget::{
        CMDLINE_BYTES_COMMON, CMDLINE_BYTES_PER_MICROSECOND, CMDLINE_BYTES_PER_USER,
        CMDLINE_BYTES_TOTAL, CMDLINE_UNCOUNTED,
    };
    pub use crate::state::schedule::{
        CGROUP_INTERVAL, CMDLINE_INTERVAL, DENIED_RETRY_INTERVAL, FD_SCAN_INTERVAL,
        FULL_LISTING_INTERVAL, IDLE_CMDLINE_INTERVAL, LIMITS_INTERVAL, MAX_FDS_PER_CYCLE,
        REAPING_INTERVAL, TCP_WALK_INTERVAL,
    };
}

/// Compiles the example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

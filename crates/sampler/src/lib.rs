//! Reads live processes and computes numbers per image from two readings that are one second
//! apart: io, descriptors, threads, connections, CPU, memory.
//!
//! An image is a named group of processes, which a closure selects.
//!
//! ```no_run
//! use std::time::Duration;
//! use psstat_sampler::Sampler;
//!
//! let mut sampler =
//!     Sampler::builder().image("web", |process| process.name() == b"nginx").build()?;
//! for sample in sampler.every(Duration::from_secs(1)) {
//!     for (name, usage) in sample.images() {
//!         println!("{name}: {} processes, {:?} % CPU", usage.processes, usage.cpu_percent);
//!     }
//!     for process in sample.processes() {
//!         println!("{} {}: {:?}", process.pid, process.command_line(), process.usage.rss);
//!     }
//! }
//! # Ok::<(), psstat_sampler::Error>(())
//! ```
//!
//! A program with a loop of its own, or without threads, uses the two steps of a cycle itself:
//! [`open`](Sampler::open) and [`close`](Window::close). These never sleep; [`Sampler::every`] and
//! [`Sampler::measure`] do.
//!
//! # Rules
//! The images of rules, such as those of the crate `psstat-matcher`, are joined by name. A name stays
//! that of the same counters, whatever the order of the rules.
//!
//! ```
//! use psstat_sampler::Sampler;
//!
//! /// Stands for the rules of a config file: the names of the images of a command line.
//! fn images_of(command_line: &[u8]) -> impl Iterator<Item = &'static str> {
//!     command_line.starts_with(b"/usr/sbin/").then_some("daemons").into_iter()
//! }
//!
//! let mut sampler = Sampler::builder()
//!     .classify(|process, images| images.extend(images_of(process.args_joined)))
//!     .build()?;
//! sampler.set_images(["daemons"]);
//! let window = sampler.open();
//! // Wait until `window.deadline()`.
//! let sample = window.close();
//! assert!(sample.image("daemons").is_some() && sample.image("web").is_none());
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
mod builder;
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
// Only BPF reports them.
#[cfg_attr(
    not(all(feature = "bpf", target_endian = "little", target_pointer_width = "64")),
    allow(dead_code)
)]
mod lifetimes;
mod live;
mod options;
mod read;
mod registry;
mod sample;
mod sampler;
mod shrink;
mod sockets;
mod source;
mod state;
mod state_counts;
mod switches;
mod tcp_states;
mod texts;
mod usage;
mod window;

pub use bpf::{Bpf, BpfError, MIN_RING};
pub use builder::SamplerBuilder;
pub use classifier::Candidate;
pub use cpu_time::CpuTime;
pub use fault_counts::FaultCounts;
pub use fields::ProcessFields;
pub use health::{BlockedRead, Health, PerFile};
pub use io_counters::IoCounters;
pub use options::{FDS_PER_PROCESS, FastPaths, IoStart, MAX_WINDOW, MetricGroups, RESERVED_FDS};
pub use read::thread::{spawn_with_private_fd_table, unblock_signals};
pub use registry::{ImageId, ImageSet};
pub use sample::{ProcessSample, Sample};
pub use sampler::{Error, Sampler};
pub use state_counts::StateCounts;
pub use switches::SwitchCounts;
pub use tcp_states::TcpStateCounts;
pub use usage::{UnreadCounts, Usage};
pub use window::{DetachedWindow, Samples, Window};

/// The intervals within which changes are noticed, for this crate's tests.
#[doc(hidden)]
pub mod intervals {
    pub use crate::state::cmdline_budget::{
        CMDLINE_BYTES_COMMON, CMDLINE_BYTES_PER_MICROSECOND, CMDLINE_BYTES_PER_USER,
        CMDLINE_BYTES_TOTAL, CMDLINE_UNCOUNTED,
    };
    pub use crate::state::schedule::{
        CGROUP_INTERVAL, CMDLINE_INTERVAL, DENIED_RETRY_INTERVAL, FD_SCAN_INTERVAL,
        FULL_LISTING_INTERVAL, IDLE_CMDLINE_INTERVAL, IDLE_READ_INTERVAL, IDLE_TABLE_INTERVAL,
        LIMITS_INTERVAL, MAX_FDS_PER_CYCLE, REAPING_INTERVAL, TCP_WALK_INTERVAL,
    };
}

/// Compiles the example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

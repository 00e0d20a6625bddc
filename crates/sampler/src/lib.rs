//! Reads live processes and turns two readings one second apart into numbers
//! an image: io, descriptors, threads, connections, CPU, memory.
//!
//! An image is any group of processes that you choose by their command line.
//! The sampler asks a closure which images a process belongs to, so it needs
//! no conf; it never sleeps, so the waiting is yours:
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
//! println!("{} processes use {:?} % of a core", daemons.procs, daemons.pcpu);
//! # Ok::<(), psstat_sampler::Error>(())
//! ```
//!
//! What the numbers are: each is the sum over the image's processes. One that
//! could not be read of any of them is `None`, never 0. io is continuous:
//! what a process did stays in its image's sum when it ends, and is not counted
//! again when its parent inherits it. Sockets are counted once an image,
//! however many processes hold them, in the network namespaces that the
//! processes live in.
//!
//! What it does not do: it sends no signal, stops nothing with ptrace, and
//! never reads `maps`, `smaps`, `numa_maps`, `environ` or `exe`. One thread
//! reads; a second one only waits for command lines, which can block.
#![deny(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounting;
mod classifier;
mod driver;
mod health;
mod ids;
mod image;
mod io_counters;
mod live;
mod numbers;
mod options;
mod read;
mod sample;
mod sampler;
mod shrink;
mod sockets;
mod source;
mod state;

pub use classifier::{Candidate, Classify};
pub use health::{Health, PerFile};
pub use image::ImageId;
pub use io_counters::IoCounters;
pub use numbers::Numbers;
pub use options::{FDS_PER_PROCESS, FastPaths, Options, RESERVED_FDS};
pub use read::thread::spawn_with_private_fd_table;
pub use sample::{ProcessSample, Sample};
pub use sampler::{Error, Sampler};

/// The intervals within which changes are noticed, for this crate's tests.
#[doc(hidden)]
pub mod intervals {
    pub use crate::state::schedule::{
        CMDLINE_INTERVAL, DENIED_RETRY_INTERVAL, FD_SCAN_INTERVAL, FULL_LISTING_INTERVAL,
        IDLE_CMDLINE_INTERVAL, MAX_FDS_PER_CYCLE,
    };
}

/// Compiles the example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

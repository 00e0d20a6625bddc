//! Parsers for the files of Linux's `/proc`, over `&[u8]`.
//!
//! ```
//! use psstat_proc_parse::{FdTarget, Io, Stat};
//! use psstat_proc_parse::net::inet;
//!
//! let stat = Stat::parse(b"42 (sh) S 1 42 42 0 -1 4194304 117 0 1 0 7 3 0 0 20 0 1 0 133599 \
//!     3133440 381 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0\n")?;
//! assert_eq!((stat.pid, stat.comm, stat.utime + stat.stime), (42, &b"sh"[..], 10));
//!
//! assert_eq!(FdTarget::parse(b"socket:[1145]"), FdTarget::Socket(1145));
//!
//! let row = b"   0: 0100007F:0277 0100007F:9C40 01 00000000:00000000 00:00000000 \
//!     00000000     0        0 1145 1 0000000000000000 20 4 30 10 -1\n";
//! assert_eq!(inet::established(row)?, Some(1145));
//!
//! let error = Io::parse(b"rchar: 69").unwrap_err();
//! assert_eq!(error.to_string(), "io: field 1 (rchar) at byte 9: expected the end of the line");
//! # Ok::<(), psstat_proc_parse::Error>(())
//! ```
//!
//! A type a file: [`Stat`], [`Statm`], [`Io`], [`Status`], [`Cmdline`],
//! [`Limits`], [`FdTarget`] for the links of `fd`, and the socket tables of
//! [`net`]. Fields have the names of proc(5) and say their unit and the kernel
//! that brought them.
//!
//! What holds for all of them:
//!
//! - No I/O, no allocation, no `std`, no `unsafe`, no panic on any bytes. Text
//!   in a result is borrowed from what was given.
//! - What the kernel does not promise to be UTF-8 (names, paths, arguments)
//!   stays bytes.
//! - A number that was cut off is an error, never a smaller number: where the
//!   kernel ends a line, the line end must be there. Give a file's whole
//!   content; for `net` what one read(2) gave.
//! - A value that the kernel did not print is `None`, never 0.
//! - An [`Error`] says file, field, byte and what was expected, in eight bytes.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cmdline;
mod cursor;
mod error;
mod fd;
mod io;
mod limits;
pub mod net;
mod number;
mod stat;
mod state;
mod statm;
mod status;

pub use cmdline::{Cmdline, CmdlineArgs};
pub use error::{Error, Expected, ProcFile};
pub use fd::FdTarget;
pub use io::Io;
pub use limits::{LimitValue, Limits, ResourceLimit};
pub use stat::{Stat, StatCore};
pub use state::ProcessState;
pub use statm::Statm;
pub use status::{EscapedName, Ids, NsPids, NsPidsIter, SigQueue, Status, Unescaped};

/// The README's example, compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

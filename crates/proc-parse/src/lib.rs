//! Parsers for the files of Linux's `/proc`, over `&[u8]`.
//!
//! ```
//! use psstat_proc_parse::{FdTarget, Io, Stat, Ticks};
//! use psstat_proc_parse::net::inet;
//!
//! let stat = Stat::parse(b"42 (sh) S 1 42 42 0 -1 4194304 117 0 1 0 7 3 0 0 20 0 1 0 133599 \
//!     3133440 381 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0\n")?;
//! assert_eq!((stat.pid, stat.comm, stat.utime + stat.stime), (42, &b"sh"[..], Ticks(10)));
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
//! One type per file: [`Stat`], [`Statm`], [`Io`], [`Status`], [`Cmdline`],
//! [`Cgroups`], [`Limits`], [`FdTarget`] for the links of `fd`, and the socket
//! tables of [`net`]; [`CgroupPath`] for the path in `cgroup`. Fields have the names of proc(5) and document their unit and
//! the kernel version that introduced them.
//!
//! Each grammar is written with nom, in the order of proc(5), and is a nom parser
//! that can be combined with others: see [`grammar`].
//!
//! All parsers have these properties:
//!
//! - No I/O, no allocation, no `std`, no `unsafe`, and no panic on any input.
//!   Text in a result is borrowed from the input.
//! - Data that the kernel does not guarantee to be UTF-8 (names, paths,
//!   arguments) stays bytes.
//! - A truncated number is an error, never a smaller number: the line end that
//!   the kernel prints is required. Parse the whole content of a file; for `net`,
//!   the bytes of one read(2).
//! - A value that the kernel did not print is `None`, never 0.
//! - An [`Error`] holds file, field, byte and the expected element, in eight
//!   bytes.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod cgroup;
mod cgroup_path;
mod cmdline;
mod error;
mod fd;
mod io;
mod leaf;
mod limits;
pub mod net;
mod record;
#[cfg(feature = "serde")]
mod serialize;
mod stat;
mod state;
mod statm;
mod status;
mod units;

#[cfg(feature = "alloc")]
pub use cgroup::OwnedCgroup;
pub use cgroup::{Cgroup, CgroupOf, Cgroups, CgroupsIter};
pub use cgroup_path::{CgroupPath, Container};
pub use cmdline::{Cmdline, CmdlineArgs};
pub use error::{Error, Expected, ProcFile};
pub use fd::FdTarget;
pub use io::Io;
#[cfg(feature = "alloc")]
pub use limits::OwnedResourceLimit;
pub use limits::{LimitValue, Limits, LimitsIter, Resource, ResourceLimit, ResourceLimitOf};
#[cfg(feature = "alloc")]
pub use stat::{OwnedStat, OwnedStatCore};
pub use stat::{Stat, StatCore, StatCoreOf, StatOf};
pub use state::ProcessState;
pub use statm::Statm;
pub use status::{EscapedName, Ids, NsPids, NsPidsIter, SigQueue, Status, Unescaped};
pub use units::{Kilobytes, Pages, SignedTicks, Ticks};

/// The grammars as nom parsers, to combine with those of nom and others.
///
/// Their input is `&[u8]`, their error type is [`ParseError`](grammar::ParseError).
/// A line or a row is parsed with its line end. Files without an end mark of
/// their own (`status`, `limits`, `cgroup`, `cmdline`, links) are parsed up to the
/// end of the input.
///
/// ```
/// use nom::Parser;
/// use nom::multi::fold_many1;
/// use nom::sequence::pair;
/// use psstat_proc_parse::grammar::{io, statm};
/// use psstat_proc_parse::{Io, Pages, Statm};
///
/// // Two files of two processes, one after the other.
/// let text = b"765 406 377 5 0 123 0\n\
///     rchar: 6976\nwchar: 12\nsyscr: 10\nsyscw: 1\n\
///     read_bytes: 4096\nwrite_bytes: 0\ncancelled_write_bytes: 0\n\
///     10 4 3 1 0 2 0\n\
///     rchar: 24\nwchar: 0\nsyscr: 2\nsyscw: 0\n\
///     read_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n";
/// let sum = |(pages, bytes), (statm, io): (Statm, Io)| {
///     (pages + statm.resident, bytes + io.rchar)
/// };
/// let (rest, sums) = fold_many1(pair(statm, io), || (Pages(0), 0), sum).parse(&text[..]).unwrap();
/// assert_eq!((rest, sums), (&b""[..], (Pages(410), 7000)));
/// ```
pub mod grammar {
    pub use crate::cgroup::{cgroup, cgroups};
    pub use crate::cmdline::{argument, cmdline};
    pub use crate::error::{ParseError, ParseResult};
    pub use crate::fd::fd_target;
    pub use crate::io::io;
    pub use crate::limits::{limits, limits_row};
    pub use crate::net::inet::{header as inet_header, row as inet_row};
    pub use crate::net::snmp::tcp_counters;
    pub use crate::net::sockstat::in_use as udp_in_use;
    pub use crate::net::unix::{header as unix_header, row as unix_row};
    pub use crate::stat::{stat, stat_core};
    pub use crate::statm::statm;
    pub use crate::status::status;
}

/// The example of the README, compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

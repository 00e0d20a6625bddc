//! Values of `status` that are more than a number.

use nom::Parser;
use nom::combinator::opt;
use nom::sequence::terminated;

use crate::leaf::{byte, signed};

/// The name of a process as `status` prints it: a newline is escaped as `\n`, a
/// backslash as `\\`. All other bytes are unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EscapedName<'a>(&'a [u8]);

impl<'a> EscapedName<'a> {
    /// The name whose escaped form is `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The escaped bytes, as printed.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The bytes of the name itself, equal to `comm` of `stat`.
    #[must_use]
    pub fn unescaped(self) -> Unescaped<'a> {
        Unescaped { rest: self.0 }
    }
}

/// The bytes of an [`EscapedName`], from [`EscapedName::unescaped`]. A backslash
/// that starts neither of the two escapes is copied.
#[derive(Clone, Debug)]
pub struct Unescaped<'a> {
    rest: &'a [u8],
}

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = match self.rest {
            [b'\\', b'n', rest @ ..] => (b'\n', rest),
            [b'\\', b'\\', rest @ ..] => (b'\\', rest),
            [byte, rest @ ..] => (*byte, rest),
            [] => return None,
        };
        self.rest = rest;
        Some(byte)
    }
}

impl core::iter::FusedIterator for Unescaped<'_> {}

/// Four ids of one process: users in [`Status::uid`](crate::Status::uid), groups
/// in [`Status::gid`](crate::Status::gid).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Ids {
    /// The real id.
    pub real: u32,
    /// The effective id.
    pub effective: u32,
    /// The saved set-id.
    pub saved: u32,
    /// The id for file system access.
    pub fs: u32,
}

impl Ids {
    /// The ids in the order in which `status` prints them.
    #[must_use]
    pub const fn to_array(self) -> [u32; 4] {
        [self.real, self.effective, self.saved, self.fs]
    }
}

/// Queued signals, `SigQ` of `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SigQueue {
    /// Signals queued for the real user of the process.
    pub queued: u64,
    /// The resource limit of queued signals.
    pub limit: u64,
}

/// The pid of a process in each of its pid namespaces, from the namespace of the
/// `/proc` that was read to the innermost one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NsPids<'a>(
    /// Numbers separated by tabs, already validated.
    &'a [u8],
);

impl<'a> NsPids<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// The pids, the innermost last.
    #[must_use]
    pub const fn iter(self) -> NsPidsIter<'a> {
        NsPidsIter { rest: self.0 }
    }
}

impl<'a> IntoIterator for NsPids<'a> {
    type Item = i32;
    type IntoIter = NsPidsIter<'a>;

    fn into_iter(self) -> NsPidsIter<'a> {
        self.iter()
    }
}

/// The pids of [`NsPids`], from [`NsPids::iter`].
#[derive(Clone, Debug)]
pub struct NsPidsIter<'a> {
    rest: &'a [u8],
}

impl Iterator for NsPidsIter<'_> {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        let pid;
        (self.rest, pid) = terminated(signed(), opt(byte(b'\t'))).parse_complete(self.rest).ok()?;
        Some(pid)
    }
}

impl core::iter::FusedIterator for NsPidsIter<'_> {}

//! Values of `status` that are more than a number.

use crate::number;

/// A process's name, with a line end written `\n` and a backslash `\\`, as the
/// kernel escapes them. All other bytes are as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name<'a>(pub &'a [u8]);

impl<'a> Name<'a> {
    /// The name's own bytes, equal to `comm` of `stat`.
    #[must_use]
    pub fn unescaped(self) -> Unescaped<'a> {
        Unescaped { rest: self.0 }
    }
}

/// The bytes of a [`Name`], from [`Name::unescaped`]. A backslash that begins
/// none of the two escapes stands for itself.
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

/// The pid in each pid namespace that the process is in, from that of the
/// `/proc` that was read down to its own: an iterator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NsPids<'a> {
    /// Numbers with a tab between each two; they have been read once.
    rest: &'a [u8],
}

impl<'a> NsPids<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }
}

impl Iterator for NsPids<'_> {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        let (pid, rest) = number::signed(self.rest).ok()?;
        self.rest = rest.strip_prefix(b"\t").unwrap_or(rest);
        i32::try_from(pid).ok()
    }
}

impl core::iter::FusedIterator for NsPids<'_> {}

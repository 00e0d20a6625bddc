//! `/proc/PID/cmdline`: the arguments, each terminated by a NUL. See
//! proc_pid_cmdline(5).

use nom::Parser;
use nom::combinator::{eof, map, not, opt, rest};
use nom::sequence::{preceded, terminated};

use crate::error::ParseResult;
use crate::leaf::{byte, until};

/// The command line of a process.
///
/// Any bytes are valid: a process may overwrite its own command line, which
/// then may have no terminating NUL, or many. The command line of a kernel
/// thread or a zombie is empty.
///
/// ```
/// use psstat_proc_parse::Cmdline;
///
/// let cmdline = Cmdline::new(b"java\0-cp\0\0Main\0");
/// assert_eq!(cmdline.argv0(), b"java");
/// assert_eq!(cmdline.args().count(), 4);
/// assert!(cmdline.joined().eq(b"java -cp  Main".iter().copied()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cmdline<'a>(&'a [u8]);

impl<'a> Cmdline<'a> {
    /// The command line in `bytes`, the content of the file.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The content of the file, unchanged.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there are no bytes except NULs, as for a kernel thread or a
    /// zombie.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.trim_trailing_nuls().is_empty()
    }

    /// The first argument, `argv[0]`; empty if there is none.
    #[must_use]
    pub fn argv0(self) -> &'a [u8] {
        self.args().next().unwrap_or_default()
    }

    /// The arguments in order, including empty ones. The NUL that terminates
    /// the last argument does not start another one.
    #[must_use]
    pub fn args(self) -> CmdlineArgs<'a> {
        CmdlineArgs { rest: self.0 }
    }

    /// The bytes of the arguments joined by spaces: trailing NULs are dropped,
    /// every other NUL becomes a space.
    #[must_use]
    pub fn joined(self) -> impl DoubleEndedIterator<Item = u8> + ExactSizeIterator + Clone + 'a {
        self.trim_trailing_nuls().iter().map(|&byte| if byte == 0 { b' ' } else { byte })
    }

    /// Writes [`joined`](Self::joined) to the start of `buffer` and returns the
    /// number of bytes written, at most `buffer.len()`. A buffer as long as the
    /// file is always large enough.
    pub fn write_joined(self, buffer: &mut [u8]) -> usize {
        let joined = self.joined();
        let len = joined.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(joined) {
            *to = from;
        }
        len
    }

    fn trim_trailing_nuls(self) -> &'a [u8] {
        let end = self.0.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        self.0.get(..end).unwrap_or_default()
    }
}

impl<'a> From<&'a [u8]> for Cmdline<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::new(bytes)
    }
}

impl<'a> IntoIterator for Cmdline<'a> {
    type Item = &'a [u8];
    type IntoIter = CmdlineArgs<'a>;

    fn into_iter(self) -> CmdlineArgs<'a> {
        self.args()
    }
}

/// The grammar of [`Cmdline`]: takes all of the input.
///
/// # Errors
/// Never: any bytes are a command line.
pub fn cmdline(input: &[u8]) -> ParseResult<'_, Cmdline<'_>> {
    map(rest, Cmdline::new).parse_complete(input)
}

/// The grammar of an argument, with its NUL unless the input ends before it.
///
/// # Errors
/// At the end of the input.
pub fn argument(input: &[u8]) -> ParseResult<'_, &[u8]> {
    preceded(not(eof), terminated(until(0), opt(byte(0)))).parse_complete(input)
}

/// The arguments of a [`Cmdline`], from [`Cmdline::args`].
#[derive(Clone, Debug)]
pub struct CmdlineArgs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for CmdlineArgs<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let next;
        (self.rest, next) = argument(self.rest).ok()?;
        Some(next)
    }
}

impl core::iter::FusedIterator for CmdlineArgs<'_> {}

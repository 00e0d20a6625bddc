//! `/proc/PID/io`: bytes read and written. See proc_pid_io(5).

use nom::branch::alt;
use nom::combinator::map;
use nom::sequence::delimited;

use crate::error::{Error, ProcFile, parse};
use crate::leaf::{Grammar, inlined, line_end, signed, unsigned, word};
use crate::record::record;

record! {
    /// The input and output of a process since its start, including exited
    /// threads and reaped children.
    ///
    /// The file exists since Linux 2.6.20, with all seven lines, in kernels with
    /// `CONFIG_TASK_IO_ACCOUNTING`.
    ///
    /// ```
    /// use psstat_proc_parse::Io;
    ///
    /// let io = Io::parse(
    ///     b"rchar: 6976\nwchar: 12\nsyscr: 10\nsyscw: 1\n\
    ///       read_bytes: 4096\nwrite_bytes: 0\ncancelled_write_bytes: 0\n",
    /// )?;
    /// assert_eq!((io.rchar, io.read_bytes), (6976, 4096));
    /// # Ok::<(), psstat_proc_parse::Error>(())
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Io, grammar io of Io {
        /// bytes returned by read(2) and similar calls, from any source.
        1 rchar: u64 = line(b"rchar: ", unsigned());
        /// bytes accepted by write(2) and similar calls, for any target.
        2 wchar: u64 = line(b"wchar: ", unsigned());
        /// calls of read(2) and similar.
        3 syscr: u64 = line(b"syscr: ", unsigned());
        /// calls of write(2) and similar.
        4 syscw: u64 = line(b"syscw: ", unsigned());
        /// bytes fetched from the storage layer.
        5 read_bytes: u64 = line(b"read_bytes: ", unsigned());
        /// bytes sent to the storage layer, or scheduled to be.
        6 write_bytes: u64 = line(b"write_bytes: ", unsigned());
        /// bytes of `write_bytes` that were never written because the pages were
        /// truncated. May be negative: pages dirtied by one process count for the
        /// process that truncates them. Kernels print an unsigned number that
        /// wraps around or a signed one; both are accepted.
        7 cancelled_write_bytes: i64 = line(
            b"cancelled_write_bytes: ",
            alt((map(unsigned(), u64::cast_signed), signed())),
        );
    }
}

impl Io {
    /// Parses the seven lines and ignores lines that a later kernel might add.
    ///
    /// # Errors
    /// If a line is missing or in another order, if its value is malformed or
    /// larger than 64 bits, or if it does not end, as in truncated text.
    #[inline]
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        parse(ProcFile::Io, text, inlined(io))
    }
}

/// `KEY: VALUE` and the line end.
#[inline(always)]
fn line<'a, T, const N: usize>(
    key: &'static [u8; N],
    value: impl Grammar<'a, T>,
) -> impl Grammar<'a, T> {
    delimited(word(key), value, line_end())
}

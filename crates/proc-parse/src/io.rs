//! `/proc/PID/io`: what a process read and wrote. See proc_pid_io(5).

use crate::cursor::Cursor;
use crate::error::{Error, Expected, ProcFile};
use crate::number;

pub(crate) const FIELDS: [&str; 7] =
    ["rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes"];

/// A process's input and output since it began, its exited threads and its
/// reaped children included.
///
/// The file is there since Linux 2.6.20, with all seven lines, if the kernel
/// has `CONFIG_TASK_IO_ACCOUNTING`.
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
#[non_exhaustive]
pub struct Io {
    /// Bytes that read(2) and its like returned, from whatever source.
    pub rchar: u64,
    /// Bytes that write(2) and its like took, to whatever target.
    pub wchar: u64,
    /// Calls of read(2) and its like.
    pub syscr: u64,
    /// Calls of write(2) and its like.
    pub syscw: u64,
    /// Bytes fetched from the storage layer.
    pub read_bytes: u64,
    /// Bytes sent to the storage layer, or meant to be.
    pub write_bytes: u64,
    /// Bytes of `write_bytes` that never went out because pages were
    /// truncated. May be negative: pages that another process dirtied count for
    /// the one that truncates them. Kernels print it as an unsigned number
    /// that wraps round or with its sign; both are read.
    pub cancelled_write_bytes: i64,
}

impl Io {
    /// Reads the seven lines. Lines that a later kernel might add behind them
    /// are not looked at.
    ///
    /// # Errors
    /// If a line is missing or in another order, if its value is no number or
    /// does not fit 64 bits, or if it has no line end, as when it was cut off.
    #[inline]
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let mut at = Cursor::new(ProcFile::Io, text);
        let io = Self {
            rchar: line(&mut at, 1, b"rchar: ")?,
            wchar: line(&mut at, 2, b"wchar: ")?,
            syscr: line(&mut at, 3, b"syscr: ")?,
            syscw: line(&mut at, 4, b"syscw: ")?,
            read_bytes: line(&mut at, 5, b"read_bytes: ")?,
            write_bytes: line(&mut at, 6, b"write_bytes: ")?,
            cancelled_write_bytes: {
                at.keyword(7, b"cancelled_write_bytes: ")?;
                at.number(7, wrapped)?
            },
        };
        at.byte(7, b'\n', Expected::LineEnd)?;
        Ok(io)
    }
}

#[inline(always)]
fn line(at: &mut Cursor<'_>, field: u8, key: &[u8]) -> Result<u64, Error> {
    at.keyword(field, key)?;
    let value = at.u64(field)?;
    at.byte(field, b'\n', Expected::LineEnd)?;
    Ok(value)
}

/// A signed number, printed with its sign or as the unsigned one of the same
/// 64 bits.
#[inline(always)]
fn wrapped(text: &[u8]) -> number::Parsed<'_, i64> {
    if text.first() == Some(&b'-') {
        return number::signed(text);
    }
    let (value, rest) = number::decimal(text)?;
    Ok((value.cast_signed(), rest))
}

//! `/proc/PID/net/unix`: unix domain sockets. See proc_pid_net(5).

use core::fmt;

use crate::cursor::Cursor;
use crate::error::{Error, Expected, ProcFile};
use crate::number::{hex2, hex4, hex8, zero_or_hex8};

use super::{Lines, all_are, column};

pub(crate) const FIELDS: [&str; 8] =
    ["Num", "RefCount", "Protocol", "Flags", "Type", "St", "Inode", "Path"];
const NUM: u8 = 1;
const REF_COUNT: u8 = 2;
const PROTOCOL: u8 = 3;
const FLAGS: u8 = 4;
const TYPE: u8 = 5;
const ST: u8 = 6;
const INODE: u8 = 7;
const PATH: u8 = 8;

/// A socket's state: the kernel's `SS_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnixState {
    /// `01`: neither; a listener, too.
    Unconnected,
    /// `02`
    Connecting,
    /// `03`: connected. For datagram sockets newer kernels only say so.
    Connected,
    /// `04`
    Disconnecting,
    /// A number of another kernel.
    Other(u8),
}

impl From<u8> for UnixState {
    #[inline]
    fn from(number: u8) -> Self {
        match number {
            1 => Self::Unconnected,
            2 => Self::Connecting,
            3 => Self::Connected,
            4 => Self::Disconnecting,
            other => Self::Other(other),
        }
    }
}

impl From<UnixState> for u8 {
    fn from(state: UnixState) -> u8 {
        match state {
            UnixState::Unconnected => 1,
            UnixState::Connecting => 2,
            UnixState::Connected => 3,
            UnixState::Disconnecting => 4,
            UnixState::Other(number) => number,
        }
    }
}

impl fmt::Display for UnixState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unconnected => "UNCONNECTED",
            Self::Connecting => "CONNECTING",
            Self::Connected => "CONNECTED",
            Self::Disconnecting => "DISCONNECTING",
            Self::Other(number) => return write!(f, "{number:02X}"),
        })
    }
}

/// A row of the table: a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Row<'a> {
    /// How many users the socket has in the kernel.
    pub ref_count: u32,
    /// The kernel's flags; `0x10000` is a listener.
    pub flags: u32,
    /// `SOCK_STREAM` (1), `SOCK_DGRAM` (2) or `SOCK_SEQPACKET` (5).
    pub socket_type: u16,
    /// The state.
    pub state: UnixState,
    /// The socket's inode, as in `socket:[inode]`. 0 where nobody owns it.
    pub inode: u64,
    /// What it is bound to, if anything. An abstract name begins with `@`, and
    /// NULs in it are printed as `@`; a path may hold any other byte.
    pub path: Option<&'a [u8]>,
}

impl<'a> Row<'a> {
    /// Reads one row, without its line end: all behind the inode is the path.
    ///
    /// # Errors
    /// If a column is missing or has another form.
    #[inline]
    pub fn parse(line: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new(ProcFile::Unix, line);
        let at = &mut cursor;
        skip_number(at)?;
        let (ref_count, flags, socket_type, state) = ref_count_to_state(at)?;
        let state = UnixState::from(state);
        let inode = inode(at)?;
        let path = match at.rest.split_first() {
            None => None,
            Some((b' ', path)) => Some(path),
            Some(_) => return Err(at.error(PATH, Expected::Separator)),
        };
        Ok(Self { ref_count, flags, socket_type, state, inode, path })
    }
}

/// The inode of a row whose socket is [`Connected`](UnixState::Connected);
/// `None` for a row in another state and for the table's header.
///
/// # Errors
/// As [`Row::parse`], for the columns that are read.
#[inline]
pub fn established(line: &[u8]) -> Result<Option<u64>, Error> {
    if is_header(line) { Ok(None) } else { read_established(line) }
}

/// [`established`] for a row.
#[inline(always)]
fn read_established(line: &[u8]) -> Result<Option<u64>, Error> {
    let mut cursor = Cursor::new(ProcFile::Unix, line);
    let at = &mut cursor;
    match columns(line) {
        Some(behind) => at.rest = behind,
        None => return Err(at.error(NUM, Expected::Separator)),
    }
    at.byte(ST, b' ', Expected::Separator)?;
    if at.hex2(ST)? != 3 {
        return Ok(None);
    }
    inode(at).map(Some)
}

/// The rows of a chunk of the table, as an iterator.
///
/// A path may hold line ends. A line that does not begin as a row does, behind
/// one that did, is therefore taken as more of that one's path. (Whoever
/// binds a socket to a path that has a whole row in it makes up a row; the
/// kernel's text has nothing to tell it by.)
///
/// ```
/// use psstat_proc_parse::net::unix::{Rows, UnixState};
///
/// let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
///     0000000004cdac08: 00000003 00000000 00000000 0001 03  1142 /run/a b\n";
/// let mut rows = Rows::new(table);
/// let row = rows.next().unwrap()?;
/// assert_eq!((row.state, row.inode), (UnixState::Connected, 1142));
/// assert_eq!(row.path, Some(&b"/run/a b"[..]));
/// # Ok::<(), psstat_proc_parse::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    lines: Lines<'a>,
    /// The length of the next line, where it has been seen to begin a row.
    ahead: Option<usize>,
}

impl<'a> Rows<'a> {
    /// Over the complete lines of `chunk`.
    #[must_use]
    pub fn new(chunk: &'a [u8]) -> Self {
        Self { lines: Lines::new(chunk), ahead: None }
    }

    /// What has not been read: behind the last row, an unfinished line.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.lines.rest
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<Row<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.lines.rest;
            let offset = self.lines.offset();
            let mut line;
            let is_row = match self.ahead.take() {
                Some(len) => {
                    line = self.lines.line_of(len)?;
                    true
                }
                None => {
                    line = self.lines.next()?;
                    if offset == 0 && is_header(line) {
                        continue;
                    }
                    columns(line).is_some()
                }
            };
            if is_row {
                line = self.with_continuations(start, line);
            }
            return Some(Row::parse(line).map_err(|error| error.offset_by(offset)));
        }
    }
}

impl<'a> Rows<'a> {
    /// `line`, which `start` begins with, and the lines that continue its path.
    #[inline]
    fn with_continuations(&mut self, start: &'a [u8], line: &'a [u8]) -> &'a [u8] {
        let mut line = line;
        let mut ahead = self.lines.clone();
        while let Some(next) = ahead.next() {
            if columns(next).is_some() {
                self.ahead = Some(next.len());
                break;
            }
            self.lines = ahead.clone();
            let end = start.len() - ahead.rest.len() - 1;
            line = start.get(..end).unwrap_or(line);
        }
        line
    }
}

/// The inodes of a chunk's connected sockets, as an iterator: [`established`]
/// over every complete line that is a row. Lines behind a row that are none
/// belong to its path, as [`Rows`] says.
#[derive(Clone, Debug)]
pub struct Established<'a> {
    lines: Lines<'a>,
    /// Whether a row came before, so that a path can go on.
    in_row: bool,
}

impl<'a> Established<'a> {
    /// Over the complete lines of `chunk`.
    #[must_use]
    pub fn new(chunk: &'a [u8]) -> Self {
        Self { lines: Lines::new(chunk), in_row: false }
    }

    /// What has not been read: behind the last row, an unfinished line.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.lines.rest
    }
}

impl Iterator for Established<'_> {
    type Item = Result<u64, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let offset = self.lines.offset();
            let line = self.lines.next()?;
            if offset == 0 && is_header(line) {
                continue;
            }
            if columns(line).is_none() {
                if self.in_row {
                    continue;
                }
            } else {
                self.in_row = true;
            }
            match read_established(line) {
                Ok(None) => {}
                Ok(Some(inode)) => return Some(Ok(inode)),
                Err(error) => return Some(Err(error.offset_by(offset))),
            }
        }
    }
}

fn is_header(line: &[u8]) -> bool {
    line.starts_with(b"Num ")
}

/// What follows the columns `Num` to `Type`, if `line` begins with them:
/// `%p: %08X %08X %08X %04X`. The digits themselves are not looked at.
#[inline(always)]
fn columns(line: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor::new(ProcFile::Unix, line);
    skip_number(&mut cursor).ok()?;
    let behind = cursor.rest;
    let at = |index| behind.get(index) == Some(&b' ');
    if at(0) && at(9) && at(18) && at(27) && at(32) { behind.get(32..) } else { None }
}

/// `%p:`. The pointer says nothing, and soon after boot it is
/// `(____ptrval____)`.
#[inline(always)]
fn skip_number(at: &mut Cursor<'_>) -> Result<(), Error> {
    // 16 digits, or 8 on a 32-bit machine.
    for width in [16, 8] {
        if at.rest.get(width) == Some(&b':') {
            at.rest = at.rest.get(width + 1..).unwrap_or_default();
            return Ok(());
        }
    }
    Err(at.error(NUM, Expected::Separator))
}

/// `RefCount`, `Flags`, `Type` and `St`.
#[inline(always)]
fn ref_count_to_state(at: &mut Cursor<'_>) -> Result<(u32, u32, u16, u8), Error> {
    // All columns at once, where each is as it should be.
    if let Some((columns, rest)) = at.rest.split_first_chunk::<35>()
        && all_are(columns, [0, 9, 18, 27, 32], b' ')
        && let Some(ref_count) = hex8(column::<1, 8, 35>(columns))
        && let Some(0) = zero_or_hex8(column::<10, 8, 35>(columns))
        && let Some(flags) = zero_or_hex8(column::<19, 8, 35>(columns))
        && let Some(socket_type) = hex4(column::<28, 4, 35>(columns))
        && let Some(state) = hex2(column::<33, 2, 35>(columns))
    {
        at.rest = rest;
        return Ok((ref_count, flags, socket_type, state));
    }
    at.byte(REF_COUNT, b' ', Expected::Separator)?;
    let ref_count = at.hex8(REF_COUNT)?;
    at.byte(PROTOCOL, b' ', Expected::Separator)?;
    at.hex8(PROTOCOL)?;
    at.byte(FLAGS, b' ', Expected::Separator)?;
    let flags = at.hex8(FLAGS)?;
    at.byte(TYPE, b' ', Expected::Separator)?;
    let socket_type = at.hex4(TYPE)?;
    at.byte(ST, b' ', Expected::Separator)?;
    let state = at.hex2(ST)?;
    Ok((ref_count, flags, socket_type, state))
}

/// ` %5lu`.
#[inline(always)]
fn inode(at: &mut Cursor<'_>) -> Result<u64, Error> {
    at.byte(INODE, b' ', Expected::Separator)?;
    at.skip_spaces();
    at.u64(INODE)
}

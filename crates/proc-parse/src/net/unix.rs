//! `/proc/PID/net/unix`: unix domain sockets. See proc_pid_net(5).

use core::fmt;

use nom::Parser;
use nom::branch::alt;
use nom::combinator::{eof, map, not, recognize, value};
use nom::multi::many0_count;
use nom::sequence::{preceded, terminated};

use super::Lines;
use crate::error::{Error, Field, ParseResult, ProcFile, field, parse};
use crate::leaf::{
    Grammar, after_space, byte, hex, inlined, line_end, skipped_column, space, spaces, unsigned,
    until, word, zero_or_hex,
};

pub(crate) const FIELDS: [&str; 8] =
    ["Num", "RefCount", "Protocol", "Flags", "Type", "St", "Inode", "Path"];
const NUM: Field = Field(ProcFile::Unix, 1);
const REF_COUNT: Field = Field(ProcFile::Unix, 2);
const PROTOCOL: Field = Field(ProcFile::Unix, 3);
const FLAGS: Field = Field(ProcFile::Unix, 4);
const TYPE: Field = Field(ProcFile::Unix, 5);
const ST: Field = Field(ProcFile::Unix, 6);
const INODE: Field = Field(ProcFile::Unix, 7);
const PATH: Field = Field(ProcFile::Unix, 8);

/// The state of a socket, `SS_*` of the kernel.
///
/// `Display` writes the kernel's name without its prefix: `CONNECTED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnixState {
    /// `01`: not connected, including listeners.
    Unconnected,
    /// `02`
    Connecting,
    /// `03`: connected; for datagram sockets only in newer kernels.
    Connected,
    /// `04`
    Disconnecting,
    /// Any other number.
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
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(bound(serialize = "T: AsRef<[u8]>")))]
pub struct UnixRowOf<T> {
    /// References to the socket in the kernel.
    pub ref_count: u32,
    /// Flags of the kernel; `0x10000` (`SO_ACCEPTCON`) is a listener.
    pub flags: u32,
    /// `SOCK_STREAM` (1), `SOCK_DGRAM` (2) or `SOCK_SEQPACKET` (5).
    pub socket_type: u16,
    /// The state.
    pub state: UnixState,
    /// The inode of the socket, as in `socket:[inode]`. 0 if no process owns it.
    pub inode: u64,
    /// The path or abstract name that the socket is bound to. An abstract name
    /// starts with `@`, and its NULs are printed as `@`; a path may contain any
    /// other byte.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::optional_text"))]
    pub path: Option<T>,
}

/// [`UnixRowOf`] that borrows from the text of the file.
pub type UnixRow<'a> = UnixRowOf<&'a [u8]>;

/// [`UnixRowOf`] that keeps its text.
#[cfg(feature = "alloc")]
pub type OwnedUnixRow = UnixRowOf<alloc::vec::Vec<u8>>;

#[cfg(feature = "alloc")]
impl UnixRow<'_> {
    /// A copy that does not borrow from the text of the file.
    #[must_use]
    pub fn into_owned(self) -> OwnedUnixRow {
        UnixRowOf {
            ref_count: self.ref_count,
            flags: self.flags,
            socket_type: self.socket_type,
            state: self.state,
            inode: self.inode,
            path: self.path.map(Into::into),
        }
    }
}

impl<'a> UnixRow<'a> {
    /// Parses one row without its line end: everything after the inode is the
    /// path.
    ///
    /// # Errors
    /// If a column is missing or malformed.
    #[inline]
    pub fn parse(line: &'a [u8]) -> Result<Self, Error> {
        parse(ProcFile::Unix, line, columns())
    }
}

/// The inode of a row whose socket is [`Connected`](UnixState::Connected);
/// `None` for a row in another state and for the header of the table.
///
/// # Errors
/// As [`UnixRow::parse`], for the columns that are parsed.
#[inline]
pub fn established(line: &[u8]) -> Result<Option<u64>, Error> {
    if is_header(line) { Ok(None) } else { parse(ProcFile::Unix, line, inlined(connected_inode)) }
}

/// The grammar of a row, with its line end. A path may contain newlines: it ends
/// before the next line that starts a row, or at the end of the input.
///
/// # Errors
/// As [`UnixRow::parse`]; also if the last line does not end.
pub fn row(input: &[u8]) -> ParseResult<'_, UnixRow<'_>> {
    let more_of_path = (line_end(), not(start_of_row()), not(eof), until(b'\n'));
    let text = recognize((until(b'\n'), many0_count(more_of_path)));
    let (rest, text) = field(PATH, terminated(text, line_end())).parse_complete(input)?;
    let line = input.get(..text.len()).unwrap_or(input);
    let (_, row) = columns()
        .parse_complete(line)
        .map_err(|error| error.map(|e| e.with_more(input.len() - line.len())))?;
    Ok((rest, row))
}

/// The grammar of the header, with its line end.
///
/// # Errors
/// If the input does not start with a header.
pub fn header(input: &[u8]) -> ParseResult<'_, ()> {
    let title = (word(b"Num "), until(b'\n'), line_end());
    field(NUM, map(title, |_| ())).parse_complete(input)
}

/// `%p: %08X %08X %08X %04X %02X %5lu`, a space and a path, up to the end of the
/// input.
#[inline(always)]
fn columns<'a>() -> impl Grammar<'a, UnixRow<'a>> {
    let path = alt((value(None, eof), map(after_space(nom::combinator::rest), Some)));
    let columns = (
        pointer(),
        field(REF_COUNT, after_space(hex::<8>())),
        field(PROTOCOL, after_space(zero_or_hex())),
        field(FLAGS, after_space(zero_or_hex())),
        field(TYPE, after_space(hex::<4>())),
        field(ST, after_space(hex::<2>())),
        inode(),
        field(PATH, path),
    );
    map(columns, |(_, ref_count, _, flags, socket_type, state, inode, path)| UnixRow {
        ref_count,
        flags,
        socket_type: socket_type as u16,
        state: UnixState::from(state as u8),
        inode,
        path,
    })
}

/// The inode of a row in the state `03`; the other columns are skipped.
#[inline(always)]
fn connected_inode(input: &[u8]) -> ParseResult<'_, Option<u64>> {
    let (rest, (_, state)) =
        (field(NUM, start_of_row()), field(ST, hex::<2>())).parse_complete(input)?;
    if state == 3 { map(inode(), Some).parse_complete(rest) } else { Ok((rest, None)) }
}

/// The state and the inode of a row; the other columns are skipped.
#[inline(always)]
fn state_and_inode(input: &[u8]) -> ParseResult<'_, SocketState> {
    let (rest, (_, state, inode)) =
        (field(NUM, start_of_row()), field(ST, hex::<2>()), inode()).parse_complete(input)?;
    Ok((rest, SocketState { state: UnixState::from(state as u8), inode }))
}

/// The columns `Num` to `Type` and the space after them; the digits are not
/// validated.
#[inline(always)]
fn start_of_row<'a>() -> impl Grammar<'a, ()> {
    let column = (space(), skipped_column::<8>());
    let columns = (
        pointer(),
        (space(), skipped_column::<8>()),
        (space(), skipped_column::<8>()),
        column,
        (space(), skipped_column::<4>()),
        space(),
    );
    map(columns, |_| ())
}

/// `%p:`, an address without meaning; soon after boot it is `(____ptrval____)`.
#[inline(always)]
fn pointer<'a>() -> impl Grammar<'a, ()> {
    // 16 digits, or 8 on a 32-bit machine.
    let wide = terminated(skipped_column::<16>(), byte(b':'));
    let narrow = terminated(skipped_column::<8>(), byte(b':'));
    field(NUM, alt((wide, narrow)))
}

/// ` %5lu`.
#[inline(always)]
fn inode<'a>() -> impl Grammar<'a, u64> {
    field(INODE, preceded((space(), spaces()), unsigned()))
}

fn is_header(line: &[u8]) -> bool {
    line.starts_with(b"Num ")
}

/// Whether `line` starts a row.
#[inline(always)]
fn is_row(line: &[u8]) -> bool {
    start_of_row().parse_complete(line).is_ok()
}

/// The rows of a chunk of the table.
///
/// A path may contain newlines, so a line that does not start as a row is part of
/// the path of the row before it. A socket bound to a path that contains a whole
/// row adds a row to the table, and nothing in the text distinguishes it. Each
/// socket of the namespace has its true row as well, so two rows with the same
/// inode and different states mean that one of them is forged.
///
/// ```
/// use psstat_proc_parse::net::unix::{UnixRows, UnixState};
///
/// let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
///     0000000004cdac08: 00000003 00000000 00000000 0001 03  1142 /run/a b\n";
/// let mut rows = UnixRows::new(table);
/// let row = rows.next().unwrap()?;
/// assert_eq!((row.state, row.inode), (UnixState::Connected, 1142));
/// assert_eq!(row.path, Some(&b"/run/a b"[..]));
/// # Ok::<(), psstat_proc_parse::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct UnixRows<'a> {
    lines: Lines<'a>,
}

impl<'a> UnixRows<'a> {
    /// The rows in the complete lines of `chunk`.
    #[must_use]
    pub fn new(chunk: &'a [u8]) -> Self {
        let mut lines = Lines::new(chunk);
        lines.skip_header(is_header);
        Self { lines }
    }

    /// The bytes not parsed yet: after the last row, an incomplete line.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.lines.rest
    }

    /// The next line, with the lines that continue its path.
    #[inline]
    fn next_logical_line(&mut self) -> Option<&'a [u8]> {
        let start = self.lines.rest;
        let mut line = self.lines.next()?;
        if is_row(line) {
            let mut lookahead = self.lines.clone();
            while let Some(next) = lookahead.next()
                && !is_row(next)
            {
                self.lines = lookahead.clone();
                line = start.get(..start.len() - lookahead.rest.len() - 1).unwrap_or(line);
            }
        }
        Some(line)
    }
}

impl<'a> Iterator for UnixRows<'a> {
    type Item = Result<UnixRow<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.lines.offset();
        let line = self.next_logical_line()?;
        Some(UnixRow::parse(line).map_err(|error| error.offset_by(offset)))
    }
}

/// The inodes of the connected sockets in a chunk: [`established`] for every
/// complete line that starts a row. Other lines after a row are part of its path,
/// as for [`UnixRows`].
#[derive(Clone, Debug)]
pub struct Established<'a> {
    lines: Lines<'a>,
    /// Whether a row has been seen, whose path may continue.
    in_row: bool,
}

impl<'a> Established<'a> {
    /// The inodes in the complete lines of `chunk`.
    #[must_use]
    pub fn new(chunk: &'a [u8]) -> Self {
        let mut lines = Lines::new(chunk);
        lines.skip_header(is_header);
        Self { lines, in_row: false }
    }

    /// The bytes not parsed yet: after the last row, an incomplete line.
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
            let is_row = is_row(line);
            if self.in_row && !is_row {
                continue;
            }
            self.in_row |= is_row;
            match parse(ProcFile::Unix, line, inlined(connected_inode)) {
                Ok(None) => {}
                Ok(Some(inode)) => return Some(Ok(inode)),
                Err(error) => return Some(Err(error.offset_by(offset))),
            }
        }
    }
}

/// The state and the inode of a socket, from [`States`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SocketState {
    /// The state.
    pub state: UnixState,
    /// The inode, as [`UnixRow::inode`].
    pub inode: u64,
}

/// State and inode of every socket in a chunk, by the rules of [`Established`]. With the
/// other states, rows that contradict each other are detected: see [`UnixRows`].
#[derive(Clone, Debug)]
pub struct States<'a> {
    lines: Lines<'a>,
    /// Whether a row has been seen, whose path may continue.
    in_row: bool,
}

impl<'a> States<'a> {
    /// The sockets in the complete lines of `chunk`.
    #[must_use]
    pub fn new(chunk: &'a [u8]) -> Self {
        let mut lines = Lines::new(chunk);
        lines.skip_header(is_header);
        Self { lines, in_row: false }
    }

    /// The bytes not parsed yet: after the last row, an incomplete line.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.lines.rest
    }
}

impl Iterator for States<'_> {
    type Item = Result<SocketState, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let offset = self.lines.offset();
            let line = self.lines.next()?;
            let is_row = is_row(line);
            if self.in_row && !is_row {
                continue;
            }
            self.in_row |= is_row;
            let row = parse(ProcFile::Unix, line, inlined(state_and_inode));
            return Some(row.map_err(|error| error.offset_by(offset)));
        }
    }
}

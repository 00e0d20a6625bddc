//! `/proc/PID/net/tcp`, `tcp6`, `udp` and `udp6`, which have one format. See
//! proc_pid_net(5) and the kernel's `networking/proc_net_tcp.rst`.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nom::Parser;
use nom::branch::alt;
use nom::combinator::{map, opt, peek, value, verify};
use nom::sequence::{delimited, preceded, separated_pair, terminated};

use super::Lines;
use crate::error::{Error, Field, ParseResult, ProcFile, field, parse};
use crate::leaf::{
    Grammar, after_space, byte, hex, inlined, line_end, skipped, skipped_column, space, spaces,
    unsigned, until, word, zero_or_hex,
};

#[rustfmt::skip]
pub(crate) const FIELDS: [&str; 10] = [
    "sl", "local_address", "rem_address", "st", "tx_queue:rx_queue", "tr:when", "retrnsmt", "uid",
    "timeout", "inode",
];
const SL: Field = Field(ProcFile::Inet, 1);
const LOCAL_ADDRESS: Field = Field(ProcFile::Inet, 2);
const REM_ADDRESS: Field = Field(ProcFile::Inet, 3);
const ST: Field = Field(ProcFile::Inet, 4);
const QUEUES: Field = Field(ProcFile::Inet, 5);
const TR_WHEN: Field = Field(ProcFile::Inet, 6);
const RETRNSMT: Field = Field(ProcFile::Inet, 7);
const UID: Field = Field(ProcFile::Inet, 8);
const TIMEOUT: Field = Field(ProcFile::Inet, 9);
const INODE: Field = Field(ProcFile::Inet, 10);

const ESTABLISHED: u32 = 1;
const CLOSE_WAIT: u32 = 8;

/// One end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Address {
    /// The address; unspecified (`0.0.0.0`, `::`) if there is none. In tcp6 and
    /// udp6 the IPv4 peers of a dual-stack socket are `::ffff:a.b.c.d`.
    pub ip: IpAddr,
    /// The port; 0 if there is none.
    pub port: u16,
}

impl From<Address> for SocketAddr {
    fn from(Address { ip, port }: Address) -> Self {
        Self::new(ip, port)
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address { ip: address.ip(), port: address.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

/// The state of a socket. In udp tables a connected socket is
/// [`Established`](Self::Established), any other [`Close`](Self::Close).
///
/// `Display` writes the kernel's name without its prefix: `SYN_SENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TcpState {
    /// `01`
    Established,
    /// `02`
    SynSent,
    /// `03`
    SynRecv,
    /// `04`
    FinWait1,
    /// `05`
    FinWait2,
    /// `06`; the inode is 0.
    TimeWait,
    /// `07`
    Close,
    /// `08`
    CloseWait,
    /// `09`
    LastAck,
    /// `0A`
    Listen,
    /// `0B`
    Closing,
    /// `0C`: a request not yet accepted (Linux 4.1); most kernels print `03`.
    NewSynRecv,
    /// Any other number.
    Other(u8),
}

impl From<u8> for TcpState {
    #[inline]
    fn from(number: u8) -> Self {
        match number {
            1 => Self::Established,
            2 => Self::SynSent,
            3 => Self::SynRecv,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Close,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            12 => Self::NewSynRecv,
            other => Self::Other(other),
        }
    }
}

impl From<TcpState> for u8 {
    fn from(state: TcpState) -> u8 {
        match state {
            TcpState::Established => 1,
            TcpState::SynSent => 2,
            TcpState::SynRecv => 3,
            TcpState::FinWait1 => 4,
            TcpState::FinWait2 => 5,
            TcpState::TimeWait => 6,
            TcpState::Close => 7,
            TcpState::CloseWait => 8,
            TcpState::LastAck => 9,
            TcpState::Listen => 10,
            TcpState::Closing => 11,
            TcpState::NewSynRecv => 12,
            TcpState::Other(number) => number,
        }
    }
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait1 => "FIN_WAIT1",
            Self::FinWait2 => "FIN_WAIT2",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
            Self::NewSynRecv => "NEW_SYN_RECV",
            Self::Other(number) => return write!(f, "{number:02X}"),
        })
    }
}

/// A row of the table: a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct InetRow {
    /// The local address.
    pub local: Address,
    /// The remote address.
    pub remote: Address,
    /// The state.
    pub state: TcpState,
    /// Bytes in the send queue, not yet acknowledged or not yet sent.
    pub tx_queue: u32,
    /// Bytes in the receive queue; for a listener, connections to accept.
    pub rx_queue: u32,
    /// The user who created the socket.
    pub uid: u32,
    /// The inode of the socket, as in `socket:[inode]`. 0 if no process owns it.
    pub inode: u64,
}

impl InetRow {
    /// Parses one row, with or without its line end. The columns after the
    /// inode, which differ between the tables, are ignored.
    ///
    /// Addresses are printed as native 32-bit words, so a table must be parsed on
    /// a machine with the byte order of the one that printed it.
    ///
    /// # Errors
    /// If a column is missing or malformed, or if the row ends right after the
    /// inode: every table has more columns, so digits may be missing.
    #[inline]
    pub fn parse(line: &[u8]) -> Result<Self, Error> {
        parse(ProcFile::Inet, line, columns())
    }
}

/// The inode of a row whose socket is [`Established`](TcpState::Established);
/// `None` for a row in another state and for the header of the table.
///
/// Parses the state and, if it matches, the inode. Addresses and queues are
/// skipped.
///
/// # Errors
/// As [`InetRow::parse`], for the columns that are parsed.
#[inline]
pub fn established(line: &[u8]) -> Result<Option<u64>, Error> {
    if is_header(line) {
        return Ok(None);
    }
    Ok(match parse(ProcFile::Inet, line, inlined(established_inode))? {
        Brief::Established(inode) => Some(inode),
        Brief::Other(_) => None,
    })
}

/// The grammar of a row, with its line end.
///
/// # Errors
/// As [`InetRow::parse`]; also if the line does not end.
pub fn row(input: &[u8]) -> ParseResult<'_, InetRow> {
    let end = field(INODE, preceded(until(b'\n'), line_end()));
    terminated(columns(), end).parse_complete(input)
}

/// The grammar of the header, with its line end.
///
/// # Errors
/// If the input does not start with a header.
pub fn header(input: &[u8]) -> ParseResult<'_, ()> {
    let title = (word(b"  "), opt(space()), word(b"sl"), until(b'\n'), line_end());
    field(SL, map(title, |_| ())).parse_complete(input)
}

/// `%4d: %08X:%04X %08X:%04X %02X %08X:%08X %02X:%08lX %08X %5u %8d %lu `, up to
/// the space after the inode.
#[inline(always)]
fn columns<'a>() -> impl Grammar<'a, InetRow> {
    let state = map(hex::<2>(), |number| TcpState::from(number as u8));
    let queues = separated_pair(zero_or_hex(), byte(b':'), zero_or_hex());
    let columns = (
        slot_number(),
        field(LOCAL_ADDRESS, after_space(address())),
        field(REM_ADDRESS, after_space(address())),
        field(ST, after_space(state)),
        field(QUEUES, after_space(queues)),
        skipped_timer(),
        field(UID, preceded((space(), spaces()), unsigned())),
        inode(),
    );
    map(columns, |(_, local, remote, state, (tx_queue, rx_queue), _, uid, inode)| InetRow {
        local,
        remote,
        state,
        tx_queue,
        rx_queue,
        uid,
        inode,
    })
}

/// The inode of an established socket, or the number of another state.
enum Brief {
    Established(u64),
    Other(u32),
}

/// The inode of a row in the state `01`; the other columns are skipped.
#[inline(always)]
fn established_inode(input: &[u8]) -> ParseResult<'_, Brief> {
    // " 0100007F:0277 00000000:0000", and four words per address in IPv6.
    let v4 = verify(nom::bytes::complete::take(28_usize), |both: &[u8]| both.get(9) == Some(&b':'));
    let addresses = alt((map(v4, |_| ()), skipped_column::<76>()));
    let state = alt((value(ESTABLISHED, word(b" 01")), after_space(hex::<2>())));
    let (rest, (_, _, state)) =
        (slot_number(), field(LOCAL_ADDRESS, addresses), field(ST, state)).parse_complete(input)?;
    if state != ESTABLISHED {
        return Ok((rest, Brief::Other(state)));
    }
    // " 00000000:00000000"
    let queues = field(QUEUES, skipped_column::<18>());
    let uid = field(UID, (space(), spaces(), skipped()));
    map((queues, skipped_timer(), uid, inode()), |(_, _, _, inode)| Brief::Established(inode))
        .parse_complete(rest)
}

/// `%4d:` or `%5d:`, the number of the row, skipped. It is as wide as its column
/// except in tcp tables of more than 10,000 rows.
#[inline(always)]
fn slot_number<'a>() -> impl Grammar<'a, ()> {
    let tcp = terminated(skipped_column::<4>(), byte(b':'));
    let udp = terminated(skipped_column::<5>(), byte(b':'));
    let other = map((spaces(), unsigned::<u64>(), byte(b':')), |_| ());
    field(SL, alt((tcp, udp, other)))
}

/// `%08X:%04X`, or four words in IPv6.
#[inline(always)]
fn address<'a>() -> impl Grammar<'a, Address> {
    let v4 = map(word_octets(), |octets| IpAddr::V4(Ipv4Addr::from(octets)));
    let v6 = map((word_octets(), word_octets(), word_octets(), word_octets()), |(a, b, c, d)| {
        let mut octets = [0; 16];
        let (words, _) = octets.as_chunks_mut::<4>();
        words.copy_from_slice(&[a, b, c, d]);
        IpAddr::V6(Ipv6Addr::from(octets))
    });
    // The port is a number, whatever the byte order.
    let port = || preceded(byte(b':'), hex::<4>());
    map(alt(((v4, port()), (v6, port()))), |(ip, port)| Address { ip, port: port as u16 })
}

/// `%08X`: four octets, printed as a native word.
#[inline(always)]
fn word_octets<'a>() -> impl Grammar<'a, [u8; 4]> {
    map(hex::<8>(), u32::to_ne_bytes)
}

/// ` %02X:%08lX %08X`: the timer and the number of retransmissions.
#[inline(always)]
fn skipped_timer<'a>() -> impl Grammar<'a, ()> {
    // The time left is a long: eight digits or, in theory, more.
    let timer = terminated(skipped_column::<12>(), opt(skipped()));
    map((field(TR_WHEN, timer), field(RETRNSMT, skipped_column::<9>())), |_| ())
}

/// ` %8d %lu `: the timeout, skipped, and the inode.
#[inline(always)]
fn inode<'a>() -> impl Grammar<'a, u64> {
    // Unanswered zero-window probes, nearly always none.
    let no_timeout = terminated(word(b"        0"), peek(space()));
    let timeout = map((space(), spaces(), skipped()), |_| ());
    let timeout = field(TIMEOUT, alt((no_timeout, timeout)));
    preceded(timeout, field(INODE, delimited(space(), unsigned(), space())))
}

/// `  sl  local_address …`; a row starts with spaces and a digit.
#[inline(always)]
fn is_header(line: &[u8]) -> bool {
    matches!(line, [b' ', b' ', b's', b'l', ..] | [b' ', b' ', b' ', b's', b'l', ..])
}

/// The rows of a chunk of one of the four tables.
///
/// ```
/// use psstat_proc_parse::net::inet::{InetRows, TcpState};
///
/// let table = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
///     uid  timeout inode\n   \
///     0: 0100007F:0277 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        \
///     0 1145 1 00000000a8ab655e 100 0 0 10 0\n";
/// let mut rows = InetRows::new(table);
/// let row = rows.next().unwrap()?;
/// assert_eq!((row.local.port, row.state, row.inode), (631, TcpState::Listen, 1145));
/// assert!(rows.next().is_none() && rows.rest().is_empty());
/// # Ok::<(), psstat_proc_parse::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct InetRows<'a> {
    lines: Lines<'a>,
}

impl<'a> InetRows<'a> {
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
}

impl Iterator for InetRows<'_> {
    type Item = Result<InetRow, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.lines.parse_next(ProcFile::Inet, columns())
    }
}

/// The inodes of the established sockets in a chunk: [`established`] for every
/// complete line. Sockets that no process owns are included, with inode 0.
#[derive(Clone, Debug)]
pub struct Established<'a> {
    lines: Lines<'a>,
    close_wait: usize,
}

impl<'a> Established<'a> {
    /// The inodes in the complete lines of `chunk`.
    #[must_use]
    pub fn new(chunk: &'a [u8]) -> Self {
        let mut lines = Lines::new(chunk);
        lines.skip_header(is_header);
        Self { lines, close_wait: 0 }
    }

    /// The bytes not parsed yet: after the last row, an incomplete line.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.lines.rest
    }

    /// How many of the rows so far are [`CloseWait`](TcpState::CloseWait): together with the
    /// established ones those that the kernel counts as
    /// [`curr_estab`](super::snmp::TcpCounters::curr_estab).
    #[must_use]
    pub const fn close_wait(&self) -> usize {
        self.close_wait
    }
}

impl Iterator for Established<'_> {
    type Item = Result<u64, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.lines.parse_next(ProcFile::Inet, inlined(established_inode))? {
                Ok(Brief::Established(inode)) => return Some(Ok(inode)),
                Ok(Brief::Other(state)) => self.close_wait += usize::from(state == CLOSE_WAIT),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

//! `/proc/PID/net/tcp`, `tcp6`, `udp` and `udp6`, which share one format. See
//! proc_pid_net(5) and the kernel's `networking/proc_net_tcp.rst`.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cursor::Cursor;
use crate::error::{Error, Expected, ProcFile};
use crate::number::{hex2, hex8, zero_or_hex8};

use super::{Lines, all_are, column};

#[rustfmt::skip]
pub(crate) const FIELDS: [&str; 10] = [
    "sl", "local_address", "rem_address", "st", "tx_queue:rx_queue", "tr:when", "retrnsmt", "uid",
    "timeout", "inode",
];
const SL: u8 = 1;
const LOCAL_ADDRESS: u8 = 2;
const REM_ADDRESS: u8 = 3;
const ST: u8 = 4;
const QUEUES: u8 = 5;
const TR_WHEN: u8 = 6;
const RETRNSMT: u8 = 7;
const UID: u8 = 8;
const TIMEOUT: u8 = 9;
const INODE: u8 = 10;

/// The timeout that nearly every row has, with the spaces around it.
const NO_TIMEOUT: [u8; 10] = *b"        0 ";

/// One end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The address; unspecified (`0.0.0.0`, `::`) where there is none. In tcp6
    /// and udp6 the peers of a dual-stack socket are `::ffff:a.b.c.d`.
    pub ip: IpAddr,
    /// The port; 0 where there is none.
    pub port: u16,
}

/// A socket's state. udp has [`Established`](Self::Established) for a connected
/// socket and [`Close`](Self::Close) for any other.
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
    /// `06`; its inode is 0.
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
    /// `0C`: a connection not yet accepted in full (Linux 4.1); printed as
    /// `03` by most kernels.
    NewSynRecv,
    /// A number of another kernel.
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
pub struct Row {
    /// This end.
    pub local: Address,
    /// The other end.
    pub remote: Address,
    /// The state.
    pub state: TcpState,
    /// Bytes that were sent and not yet acknowledged, or wait to be sent.
    pub tx_queue: u32,
    /// Bytes that wait to be read; connections to be accepted for a listener.
    pub rx_queue: u32,
    /// The user that made the socket.
    pub uid: u32,
    /// The socket's inode, as in `socket:[inode]`. 0 where nobody owns it.
    pub inode: u64,
}

impl Row {
    /// Reads one row, with or without its line end. The columns behind the
    /// inode, which differ between the tables, are not looked at.
    ///
    /// Addresses are printed as the machine's own 32-bit words, so a table
    /// reads rightly on a machine of the byte order that printed it.
    ///
    /// # Errors
    /// If a column is missing or has another form, or if the row ends with the
    /// inode's last digit: more columns follow in every table, and a row cut
    /// off there may have lost digits.
    #[inline]
    pub fn parse(line: &[u8]) -> Result<Self, Error> {
        Self::read(&mut Cursor::new(ProcFile::Inet, line))
    }

    /// Reads to the space behind the inode.
    #[inline(always)]
    fn read(at: &mut Cursor<'_>) -> Result<Self, Error> {
        skip_slot(at)?;
        if let Some(row) = Self::read_idle(at) {
            return Ok(row);
        }
        let (local, remote) = if at.rest.get(9) == Some(&b':') {
            (address_v4(at, LOCAL_ADDRESS)?, address_v4(at, REM_ADDRESS)?)
        } else {
            (address_v6(at, LOCAL_ADDRESS)?, address_v6(at, REM_ADDRESS)?)
        };
        let state = TcpState::from(state(at)?);
        at.byte(QUEUES, b' ', Expected::Separator)?;
        let tx_queue = at.hex8(QUEUES)?;
        at.byte(QUEUES, b':', Expected::Separator)?;
        let rx_queue = at.hex8(QUEUES)?;
        to_uid(at)?;
        let before = *at;
        let uid = u32::try_from(at.u64(UID)?).map_err(|_| before.error(UID, Expected::Range))?;
        let inode = inode(at)?;
        Ok(Self { local, remote, state, tx_queue, rx_queue, uid, inode })
    }

    /// Behind the slot: a row of IPv4 whose timer does not run, in the columns of
    /// the kernel's format. That is most of a table, and most of such a row can
    /// be compared as a whole or read at its place. `None` says nothing: the
    /// rest of [`Row::read`] says what it is.
    #[inline(always)]
    fn read_idle(at: &mut Cursor<'_>) -> Option<Self> {
        const NO_TIMER: [u8; 22] = *b" 00:00000000 00000000 ";
        let (columns, rest) = at.rest.split_first_chunk::<71>()?;
        if !all_are(columns, [0, 14, 28, 31], b' ')
            || !all_are(columns, [9, 23, 40], b':')
            || !columns.ends_with(&NO_TIMER)
        {
            return None;
        }
        let ip = |digits| hex8(digits).map(|word| IpAddr::V4(Ipv4Addr::from(word.to_ne_bytes())));
        let [a, b, c, d]: [u8; 4] = column::<10, 4, 71>(columns);
        let [e, f, g, h]: [u8; 4] = column::<24, 4, 71>(columns);
        let ports = hex8([a, b, c, d, e, f, g, h])?;
        let local = Address { ip: ip(column::<1, 8, 71>(columns))?, port: (ports >> 16) as u16 };
        let remote = Address { ip: ip(column::<15, 8, 71>(columns))?, port: ports as u16 };
        let state = TcpState::from(hex2(column::<29, 2, 71>(columns))?);
        let tx_queue = zero_or_hex8(column::<32, 8, 71>(columns))?;
        let rx_queue = zero_or_hex8(column::<41, 8, 71>(columns))?;

        let mut end = *at;
        end.rest = rest;
        end.skip_spaces();
        let uid = u32::try_from(end.u64(UID).ok()?).ok()?;
        end.rest = end.rest.strip_prefix(&NO_TIMEOUT)?;
        let inode = end.u64(INODE).ok()?;
        end.byte(INODE, b' ', Expected::Separator).ok()?;
        *at = end;
        Some(Self { local, remote, state, tx_queue, rx_queue, uid, inode })
    }
}

/// The inode of a row whose socket is [`Established`](TcpState::Established);
/// `None` for a row in another state and for the table's header.
///
/// This reads the state and, only if it is the wanted one, the inode; addresses
/// and queues are stepped over unread.
///
/// # Errors
/// As [`Row::parse`], for the columns that are read.
#[inline]
pub fn established(line: &[u8]) -> Result<Option<u64>, Error> {
    if is_header(line) {
        return Ok(None);
    }
    read_established(&mut Cursor::new(ProcFile::Inet, line))
}

/// [`established`] for a row; reads to the state, or to the space behind the
/// inode.
#[inline(always)]
fn read_established(at: &mut Cursor<'_>) -> Result<Option<u64>, Error> {
    skip_slot(at)?;
    // " 0100007F:0277 00000000:0000", and four words an address in IPv6.
    if at.rest.get(9) == Some(&b':') {
        at.chunk::<28>(LOCAL_ADDRESS, Expected::Hex)?;
    } else {
        at.chunk::<76>(LOCAL_ADDRESS, Expected::Hex)?;
    }
    if let Some(rest) = at.rest.strip_prefix(b" 01") {
        at.rest = rest;
    } else {
        // Another state, or none at all.
        return state(at).map(|_| None);
    }
    // " 00000000:00000000"
    at.chunk::<18>(QUEUES, Expected::Hex)?;
    to_uid(at)?;
    at.skip_word();
    inode(at).map(Some)
}

/// The rows of a chunk of one of the four tables, as an iterator.
///
/// ```
/// use psstat_proc_parse::net::inet::{Rows, TcpState};
///
/// let table = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
///     uid  timeout inode\n   \
///     0: 0100007F:0277 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        \
///     0 1145 1 00000000a8ab655e 100 0 0 10 0\n";
/// let mut rows = Rows::new(table);
/// let row = rows.next().unwrap()?;
/// assert_eq!((row.local.port, row.state, row.inode), (631, TcpState::Listen, 1145));
/// assert!(rows.next().is_none() && rows.rest().is_empty());
/// # Ok::<(), psstat_proc_parse::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    lines: Lines<'a>,
}

impl<'a> Rows<'a> {
    /// Over the complete lines of `chunk`.
    #[must_use]
    pub fn new(chunk: &'a [u8]) -> Self {
        Self { lines: Lines::new(chunk) }
    }

    /// What has not been read: behind the last row, an unfinished line.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.lines.rest
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.lines.skip_header(is_header);
        self.lines.read(ProcFile::Inet, Row::read)
    }
}

/// The inodes of a chunk's established sockets, as an iterator: [`established`]
/// over every complete line. Those that nobody owns, 0, are among them.
#[derive(Clone, Debug)]
pub struct Established<'a> {
    lines: Lines<'a>,
}

impl<'a> Established<'a> {
    /// Over the complete lines of `chunk`.
    #[must_use]
    pub fn new(chunk: &'a [u8]) -> Self {
        Self { lines: Lines::new(chunk) }
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
        self.lines.skip_header(is_header);
        loop {
            match self.lines.read(ProcFile::Inet, read_established)? {
                Ok(None) => {}
                Ok(Some(inode)) => return Some(Ok(inode)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// `  sl  local_address …`; rows begin with spaces and a digit.
#[inline(always)]
fn is_header(line: &[u8]) -> bool {
    matches!(line, [b' ', b' ', b's', b'l', ..] | [b' ', b' ', b' ', b's', b'l', ..])
}

/// `   0:`, the row's number, which says nothing.
#[inline(always)]
fn skip_slot(at: &mut Cursor<'_>) -> Result<(), Error> {
    // Up to 9,999 rows of tcp, and any of udp's slots.
    for width in [4, 5] {
        if let Some((b':', rest)) = at.rest.get(width..).and_then(<[u8]>::split_first) {
            at.rest = rest;
            return Ok(());
        }
    }
    at.skip_spaces();
    at.u64(SL)?;
    at.byte(SL, b':', Expected::Separator)
}

/// ` %08X:%04X`. Ports are printed as numbers, whatever the byte order.
#[inline(always)]
fn address_v4(at: &mut Cursor<'_>, field: u8) -> Result<Address, Error> {
    at.byte(field, b' ', Expected::Separator)?;
    let ip = IpAddr::V4(Ipv4Addr::from(at.hex8(field)?.to_ne_bytes()));
    at.byte(field, b':', Expected::Separator)?;
    Ok(Address { ip, port: at.hex4(field)? })
}

/// ` %08X%08X%08X%08X:%04X`.
#[inline(always)]
fn address_v6(at: &mut Cursor<'_>, field: u8) -> Result<Address, Error> {
    at.byte(field, b' ', Expected::Separator)?;
    let mut octets = [0; 16];
    let (words, _) = octets.as_chunks_mut::<4>();
    for word in words {
        *word = at.hex8(field)?.to_ne_bytes();
    }
    let ip = IpAddr::V6(Ipv6Addr::from(octets));
    at.byte(field, b':', Expected::Separator)?;
    Ok(Address { ip, port: at.hex4(field)? })
}

/// ` %02X`.
#[inline(always)]
fn state(at: &mut Cursor<'_>) -> Result<u8, Error> {
    at.byte(ST, b' ', Expected::Separator)?;
    at.hex2(ST)
}

/// ` %02X:%08lX %08X `: over the timer, to the user's first digit.
#[inline(always)]
fn to_uid(at: &mut Cursor<'_>) -> Result<(), Error> {
    // The time left is a long: eight digits or, in theory, more.
    at.chunk::<12>(TR_WHEN, Expected::Hex)?;
    at.skip_word();
    at.chunk::<9>(RETRNSMT, Expected::Hex)?;
    at.byte(UID, b' ', Expected::Separator)?;
    at.skip_spaces();
    Ok(())
}

/// ` %8d %lu `: from behind the user over the timeout to the inode, which has
/// more columns behind it in each table.
#[inline(always)]
fn inode(at: &mut Cursor<'_>) -> Result<u64, Error> {
    if let Some(rest) = at.rest.strip_prefix(&NO_TIMEOUT) {
        at.rest = rest;
    } else {
        at.byte(TIMEOUT, b' ', Expected::Separator)?;
        at.skip_spaces();
        at.skip_word();
        at.byte(INODE, b' ', Expected::Separator)?;
    }
    let inode = at.u64(INODE)?;
    at.byte(INODE, b' ', Expected::Separator)?;
    Ok(inode)
}

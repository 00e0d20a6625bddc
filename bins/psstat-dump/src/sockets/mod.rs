//! Sockets with their addresses, states and queues: from the tables of a network namespace or, in
//! that of this program, by sock_diag(7).

mod inet_diag;
mod netlink;
mod unix_diag;

use std::collections::btree_map::{BTreeMap, Entry};
use std::fmt;
use std::net::IpAddr;

use psstat_proc_parse::net::inet::{self, TcpState};
use psstat_proc_parse::net::unix::{self, UnixState};

use crate::process_report::{ByteOrder, Files, ReadError};
use unix_diag::{Peer, UnixSocket};

/// The state of a unix socket with a forged row: see [`unix::UnixRows`].
const CONTRADICTORY: &str = "CONTRADICTORY";

/// The flag of a listening unix socket (`__SO_ACCEPTCON`).
const SO_ACCEPTCON: u32 = 0x1_0000;

const LISTEN: &str = "LISTEN";
const UNCONNECTED_UDP: &str = "UNCONN";

/// A row of a table. An MPTCP socket has a row for each of its connections, all with its inode.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    /// 0 if no process owns it.
    pub(crate) inode: u64,
    pub(crate) protocol: &'static str,
    pub(crate) state: String,
    pub(crate) local: Endpoint,
    pub(crate) remote: Endpoint,
    pub(crate) peer_inode: Option<u64>,
    pub(crate) rx_queue: Option<u32>,
    pub(crate) tx_queue: Option<u32>,
    /// Connections waiting to be accepted.
    pub(crate) accept_queue: Option<u32>,
    /// Their maximum number.
    pub(crate) backlog: Option<u32>,
    pub(crate) established: bool,
    /// The user who created it.
    pub(crate) uid: Option<u32>,
}

impl Socket {
    pub(crate) fn order(&self) -> (&str, &str, &Endpoint, &Endpoint) {
        (self.protocol, &self.state, &self.local, &self.remote)
    }

    /// Whether it waits for connections or, of UDP, for datagrams from any address.
    pub(crate) fn listens(&self) -> bool {
        self.state == LISTEN || (self.state == UNCONNECTED_UDP && self.protocol.starts_with("udp"))
    }
}

/// The address of a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    /// None.
    Unnamed,
    /// Address and port.
    Inet(IpAddr, u16),
    /// The path or the abstract name, which begins with `@`.
    Path(Vec<u8>),
}

impl fmt::Display for Endpoint {
    /// `127.0.0.1:80`, `[::1]:80`, or a path, which is not escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unnamed => Ok(()),
            Endpoint::Inet(IpAddr::V4(ip), port) => write!(f, "{ip}:{port}"),
            Endpoint::Inet(IpAddr::V6(ip), port) => write!(f, "[{ip}]:{port}"),
            Endpoint::Path(path) => f.write_str(&String::from_utf8_lossy(path)),
        }
    }
}

/// An IPv4 address that is written as IPv6, as tcp6 has those of a dual-stack server, as IPv4.
pub(crate) fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// Which sockets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum States {
    /// All.
    All,
    /// Those that [listen](Socket::listens).
    Listening,
}

/// The tables of TCP and UDP.
pub(crate) const INET_TABLES: [&str; 4] = ["tcp", "tcp6", "udp", "udp6"];

/// The sockets in one of [`INET_TABLES`] of the namespace of a process. `is_own_namespace`: it is
/// that of this program; there a listener has a backlog. Rows in an unknown format are skipped.
///
/// # Errors
/// When the table cannot be read; [`ReadError::NotFound`] if the host has no IPv6.
pub(crate) fn inet_sockets(
    files: &Files,
    table: &'static str,
    states: States,
    is_own_namespace: bool,
    byte_order: ByteOrder,
) -> Result<Vec<Socket>, ReadError> {
    let mut sockets = match is_own_namespace.then(|| inet_diag::query(table, states)) {
        Some(Ok(sockets)) => sockets,
        _ => inet::InetRows::new(&files.read(&format!("net/{table}"))?)
            .filter_map(Result::ok)
            .map(|row| of_inet(table, &row, byte_order))
            .collect(),
    };
    if states == States::Listening {
        sockets.retain(Socket::listens);
    }
    Ok(sockets)
}

/// The unix sockets in the namespace of a process. The peers and queues are known only in the
/// namespace of this program.
///
/// # Errors
/// When the table cannot be read.
pub(crate) fn unix_sockets(
    files: &Files,
    is_own_namespace: bool,
    is_selected: impl Fn(&u64) -> bool,
) -> Result<Vec<Socket>, ReadError> {
    let rows = unix_rows(files, is_own_namespace, is_selected)?;
    Ok(rows.into_iter().map(|(inode, row)| of_unix(inode, row)).collect())
}

/// A row of a unix socket.
#[derive(PartialEq, Eq)]
struct UnixRow {
    socket_type: u16,
    state: String,
    path: Option<Vec<u8>>,
    peer: Option<Peer>,
    queues: Option<[u32; 2]>,
}

/// The unix sockets with these inodes: by sock_diag, which gives their peers as well, or as the
/// table has them.
fn unix_rows(
    files: &Files,
    by_sock_diag: bool,
    is_selected: impl Fn(&u64) -> bool,
) -> Result<BTreeMap<u64, UnixRow>, ReadError> {
    if by_sock_diag && let Ok(sockets) = unix_diag::query() {
        let sockets = sockets.into_iter().filter(|(inode, _)| is_selected(inode));
        return Ok(sockets.map(|(inode, socket)| (inode, UnixRow::from(socket))).collect());
    }
    let mut rows: BTreeMap<u64, UnixRow> = BTreeMap::new();
    for row in unix::UnixRows::new(&files.read("net/unix")?).filter_map(Result::ok) {
        if !is_selected(&row.inode) {
            continue;
        }
        let row = (row.inode, UnixRow::from(row));
        match rows.entry(row.0) {
            Entry::Vacant(entry) => drop(entry.insert(row.1)),
            Entry::Occupied(mut entry) if *entry.get() != row.1 => {
                let kept = entry.get_mut();
                if kept.state != row.1.state {
                    CONTRADICTORY.clone_into(&mut kept.state);
                }
                kept.path = None;
            }
            Entry::Occupied(_) => {}
        }
    }
    Ok(rows)
}

/// An address as the machine of the table means it.
fn endpoint_of(address: inet::Address, byte_order: ByteOrder) -> Endpoint {
    // The kernel prints each four bytes as a number.
    let ip = match address.ip {
        ip if byte_order.is_native() => ip,
        IpAddr::V4(ip) => IpAddr::from(ip.to_bits().swap_bytes().to_be_bytes()),
        IpAddr::V6(ip) => {
            let mut bytes = ip.octets();
            bytes.chunks_exact_mut(4).for_each(<[u8]>::reverse);
            IpAddr::from(bytes)
        }
    };
    Endpoint::Inet(ip, address.port)
}

fn of_inet(protocol: &'static str, row: &inet::InetRow, byte_order: ByteOrder) -> Socket {
    let listens = row.state == TcpState::Listen;
    Socket {
        inode: row.inode,
        protocol,
        state: inet_state(protocol, row.state),
        local: endpoint_of(row.local, byte_order),
        remote: endpoint_of(row.remote, byte_order),
        peer_inode: None,
        // For a listener the kernel prints connections, not bytes.
        rx_queue: (!listens).then_some(row.rx_queue),
        tx_queue: (!listens).then_some(row.tx_queue),
        accept_queue: listens.then_some(row.rx_queue),
        backlog: None,
        established: row.state == TcpState::Established,
        uid: Some(row.uid),
    }
}

impl From<UnixSocket> for UnixRow {
    fn from(socket: UnixSocket) -> UnixRow {
        let state = match socket.state {
            1 => "CONNECTED",
            10 => LISTEN,
            _ => "UNCONNECTED",
        };
        let UnixSocket { socket_type, path, peer, queues, .. } = socket;
        UnixRow { socket_type, state: state.to_owned(), path, peer, queues }
    }
}

impl From<unix::UnixRow<'_>> for UnixRow {
    fn from(row: unix::UnixRow<'_>) -> UnixRow {
        let state = match row.state {
            UnixState::Unconnected if row.flags & SO_ACCEPTCON != 0 => LISTEN.to_owned(),
            UnixState::Unconnected => "UNCONNECTED".to_owned(),
            UnixState::Connecting => "CONNECTING".to_owned(),
            UnixState::Connected => "CONNECTED".to_owned(),
            UnixState::Disconnecting => "DISCONNECTING".to_owned(),
            other => format!("{other:?}"),
        };
        let path = row.path.map(<[u8]>::to_vec);
        UnixRow { socket_type: row.socket_type, state, path, peer: None, queues: None }
    }
}

fn of_unix(inode: u64, row: UnixRow) -> Socket {
    let UnixRow { socket_type, state, path: local, peer, queues } = row;
    let listens = state == LISTEN;
    let protocol = match socket_type {
        1 => "unix stream",
        2 => "unix dgram",
        5 => "unix seqpacket",
        _ => "unix",
    };
    let path = |path: Option<Vec<u8>>| path.map_or(Endpoint::Unnamed, Endpoint::Path);
    Socket {
        inode,
        protocol,
        established: state == "CONNECTED",
        state,
        local: path(local),
        peer_inode: peer.as_ref().map(|peer| peer.inode),
        remote: path(peer.and_then(|peer| peer.path)),
        rx_queue: queues.filter(|_| !listens).map(|[read, _]| read),
        tx_queue: queues.filter(|_| !listens).map(|[_, write]| write),
        accept_queue: queues.filter(|_| listens).map(|[read, _]| read),
        backlog: queues.filter(|_| listens).map(|[_, write]| write),
        uid: None,
    }
}

fn inet_state(protocol: &str, state: TcpState) -> String {
    let word = match state {
        TcpState::Established => "ESTABLISHED",
        TcpState::SynSent => "SYN_SENT",
        TcpState::SynRecv => "SYN_RECV",
        TcpState::FinWait1 => "FIN_WAIT1",
        TcpState::FinWait2 => "FIN_WAIT2",
        TcpState::TimeWait => "TIME_WAIT",
        // The kernel uses one number for both.
        TcpState::Close if protocol.starts_with("udp") => UNCONNECTED_UDP,
        TcpState::Close => "CLOSE",
        TcpState::CloseWait => "CLOSE_WAIT",
        TcpState::LastAck => "LAST_ACK",
        TcpState::Listen => LISTEN,
        TcpState::Closing => "CLOSING",
        TcpState::NewSynRecv => "NEW_SYN_RECV",
        other => return format!("{other:?}"),
    };
    word.to_owned()
}

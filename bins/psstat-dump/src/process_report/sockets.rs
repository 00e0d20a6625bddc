//! The sockets of a process, from the tables of its network namespace.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::net::IpAddr;

use psstat_proc_parse::FdTarget;
use psstat_proc_parse::net::inet::{self, TcpState};
use psstat_proc_parse::net::unix::{self, UnixState};

use super::files::Link;
use super::unix_peers::{self, Peer, UnixSocket};
use super::{ByteOrder, Files, ReadError, Section, Value};

/// The state of a unix socket with a forged row: see [`unix::Rows`].
const CONTRADICTORY: &str = "CONTRADICTORY";

/// The flag of a listening unix socket (`__SO_ACCEPTCON`).
const SO_ACCEPTCON: u32 = 0x1_0000;

const FIELDS: &[&str] = &[
    "protocol",
    "state",
    "local",
    "remote",
    "peer_inode",
    "rx_queue_bytes",
    "tx_queue_bytes",
    "accept_queue",
    "fds",
];

/// A row of a table. An MPTCP socket has a row for each of its connections, all with its inode.
struct Socket {
    inode: u64,
    protocol: &'static str,
    state: String,
    local: Endpoint,
    remote: Endpoint,
    peer_inode: Option<u64>,
    rx_queue: Option<u32>,
    tx_queue: Option<u32>,
    /// Connections waiting to be accepted.
    accept_queue: Option<u32>,
    established: bool,
    fds: String,
}

impl Socket {
    fn order(&self) -> (&str, &str, &Endpoint, &Endpoint) {
        (self.protocol, &self.state, &self.local, &self.remote)
    }
}

/// The address of a socket.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Endpoint {
    Unnamed,
    Inet(IpAddr, u16),
    Path(Vec<u8>),
}

/// `is_own_namespace`: the process is in the network namespace of this program.
/// The peers of unix sockets are known only there, and no row can be forged there.
pub(super) fn section(
    files: &Files,
    links: &Result<Vec<Link>, ReadError>,
    is_own_namespace: bool,
    byte_order: ByteOrder,
) -> Section {
    let mut section = Section::new("sockets");
    let links = match links {
        Ok(links) => links,
        Err(error) => {
            section.unread = Some(error.clone());
            return section;
        }
    };
    let mut fds: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (fd, link) in links {
        if let FdTarget::Socket(inode) = FdTarget::parse(link) {
            fds.entry(inode).or_default().push(fd.to_string());
        }
    }
    let mut sockets = Vec::new();
    let mut found = BTreeSet::new();
    for protocol in ["tcp", "tcp6", "udp", "udp6"] {
        match files.read(&format!("net/{protocol}")) {
            Ok(table) => {
                // Rows in an unknown format are skipped.
                for row in inet::Rows::new(&table).filter_map(Result::ok) {
                    if let Some(fds) = fds.get(&row.inode) {
                        let fd = fds.first().filter(|_| protocol.starts_with("tcp"));
                        let mut socket = of_inet(protocol, &row, byte_order, fds);
                        if fd.is_some_and(|fd| files.is_mptcp(fd)) {
                            // Those of a connection, while the data waits in the socket.
                            (socket.rx_queue, socket.tx_queue) = (None, None);
                        }
                        found.insert(row.inode);
                        sockets.push(socket);
                    }
                }
            }
            // This host has no IPv6.
            Err(ReadError::NotFound) if files.is_procfs() || protocol.ends_with('6') => {}
            Err(error) => section.unread = Some(of_capture(error, protocol)),
        }
    }
    // The other tables contain no names, so their rows are true.
    let is_unknown = |inode: &u64| fds.contains_key(inode) && !found.contains(inode);
    match unix_sockets(files, is_own_namespace && !fds.is_empty(), is_unknown) {
        Ok(rows) => {
            for (inode, row) in rows {
                if let Some(fds) = fds.get(&inode) {
                    found.insert(inode);
                    sockets.push(of_unix(inode, row, fds));
                }
            }
        }
        Err(ReadError::NotFound) if files.is_procfs() => {}
        Err(error) => section.unread = Some(of_capture(error, "unix")),
    }
    fds.retain(|inode, _| !found.contains(inode));
    sockets.sort_by(|one: &Socket, other| one.order().cmp(&other.order()));
    let each_once = each_once(&sockets);
    let established = each_once.iter().filter(|socket| socket.established).count();
    section.field("established", Value::Number(established as u64));
    section.field("in_tables", Value::Number(each_once.len() as u64));
    // Sockets of other protocols (netlink, raw, packet), and sockets that were
    // created in another network namespace.
    let others = section.unread.is_none().then_some(fds.len() as u64);
    section.field("not_in_tables", Value::number(others));
    let order = order_text(byte_order);
    section.field("address_byte_order", order.map_or(Value::Absent, Value::text));
    section.list("by_state", &["protocol", "state", "sockets"], by_state(&each_once));
    section.list("list", FIELDS, sockets.into_iter().map(row).collect());
    section
}

/// The reason that a table cannot be read.
fn of_capture(error: ReadError, table: &str) -> ReadError {
    match error {
        ReadError::NotFound => ReadError::Failed(format!("the capture has no net/{table} of it")),
        other => other,
    }
}

/// A row of a unix socket.
#[derive(PartialEq, Eq)]
struct UnixRow {
    socket_type: u16,
    state: String,
    path: Option<Vec<u8>>,
    peer: Option<Peer>,
}

/// The unix sockets with these inodes: by sock_diag, which gives their peers as well, or as the
/// table has them.
fn unix_sockets(
    files: &Files,
    by_sock_diag: bool,
    is_selected: impl Fn(&u64) -> bool,
) -> Result<BTreeMap<u64, UnixRow>, ReadError> {
    if by_sock_diag && let Ok(sockets) = unix_peers::query() {
        let sockets = sockets.into_iter().filter(|(inode, _)| is_selected(inode));
        return Ok(sockets.map(|(inode, socket)| (inode, UnixRow::from(socket))).collect());
    }
    let mut rows: BTreeMap<u64, UnixRow> = BTreeMap::new();
    for row in unix::Rows::new(&files.read("net/unix")?).filter_map(Result::ok) {
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

/// One row of each socket, in their order: an established one if there is any.
fn each_once(sockets: &[Socket]) -> Vec<&Socket> {
    let mut states: BTreeMap<u64, &Socket> = BTreeMap::new();
    for socket in sockets {
        let kept = states.entry(socket.inode).or_insert(socket);
        if socket.established && !kept.established {
            *kept = socket;
        }
    }
    let mut once: Vec<&Socket> = states.into_values().collect();
    once.sort_by(|one, other| one.order().cmp(&other.order()));
    once
}

/// The number of sockets per protocol and state.
fn by_state(sockets: &[&Socket]) -> Vec<Vec<Value>> {
    let groups =
        sockets.chunk_by(|one, other| one.protocol == other.protocol && one.state == other.state);
    let row = |sockets: &[&Socket]| {
        let first = sockets.first()?;
        let count = Value::Number(sockets.len() as u64);
        Some(vec![Value::text(first.protocol), Value::text(&first.state[..]), count])
    };
    groups.filter_map(row).collect()
}

fn row(socket: Socket) -> Vec<Value> {
    vec![
        Value::text(socket.protocol),
        Value::text(socket.state),
        endpoint(socket.local),
        endpoint(socket.remote),
        Value::number(socket.peer_inode),
        Value::bytes(socket.rx_queue.map(u64::from)),
        Value::bytes(socket.tx_queue.map(u64::from)),
        Value::number(socket.accept_queue),
        Value::text(socket.fds),
    ]
}

fn endpoint(endpoint: Endpoint) -> Value {
    match endpoint {
        Endpoint::Unnamed => Value::Absent,
        Endpoint::Inet(IpAddr::V4(ip), port) => Value::text(format!("{ip}:{port}")),
        Endpoint::Inet(IpAddr::V6(ip), port) => Value::text(format!("[{ip}]:{port}")),
        Endpoint::Path(path) => Value::Text(path),
    }
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

fn order_text(byte_order: ByteOrder) -> Option<&'static str> {
    match byte_order {
        ByteOrder::Native => None,
        ByteOrder::Captured { is_big_endian: true } => Some("big endian"),
        ByteOrder::Captured { is_big_endian: false } => Some("little endian"),
        ByteOrder::Assumed if cfg!(target_endian = "big") => {
            Some("assumed to be big endian: the capture does not contain it")
        }
        ByteOrder::Assumed => Some("assumed to be little endian: the capture does not contain it"),
    }
}

fn of_inet(
    protocol: &'static str,
    row: &inet::Row,
    byte_order: ByteOrder,
    fds: &[String],
) -> Socket {
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
        established: row.state == TcpState::Established,
        fds: fds.join(" "),
    }
}

impl From<UnixSocket> for UnixRow {
    fn from(socket: UnixSocket) -> UnixRow {
        let state = match socket.state {
            1 => "CONNECTED",
            10 => "LISTEN",
            _ => "UNCONNECTED",
        };
        let UnixSocket { socket_type, path, peer, .. } = socket;
        UnixRow { socket_type, state: state.to_owned(), path, peer }
    }
}

impl From<unix::Row<'_>> for UnixRow {
    fn from(row: unix::Row<'_>) -> UnixRow {
        let state = match row.state {
            UnixState::Unconnected if row.flags & SO_ACCEPTCON != 0 => "LISTEN".to_owned(),
            UnixState::Unconnected => "UNCONNECTED".to_owned(),
            UnixState::Connecting => "CONNECTING".to_owned(),
            UnixState::Connected => "CONNECTED".to_owned(),
            UnixState::Disconnecting => "DISCONNECTING".to_owned(),
            other => format!("{other:?}"),
        };
        let path = row.path.map(<[u8]>::to_vec);
        UnixRow { socket_type: row.socket_type, state, path, peer: None }
    }
}

fn of_unix(inode: u64, row: UnixRow, fds: &[String]) -> Socket {
    let UnixRow { socket_type, state, path: local, peer } = row;
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
        rx_queue: None,
        tx_queue: None,
        accept_queue: None,
        fds: fds.join(" "),
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
        TcpState::Close if protocol.starts_with("udp") => "UNCONN",
        TcpState::Close => "CLOSE",
        TcpState::CloseWait => "CLOSE_WAIT",
        TcpState::LastAck => "LAST_ACK",
        TcpState::Listen => "LISTEN",
        TcpState::Closing => "CLOSING",
        TcpState::NewSynRecv => "NEW_SYN_RECV",
        other => return format!("{other:?}"),
    };
    word.to_owned()
}

//! The sockets of a process, from the tables of its network namespace.

use std::collections::{BTreeMap, BTreeSet};

use psstat_proc_parse::FdTarget;

use super::files::Link;
use super::summary::endpoint;
use super::{ByteOrder, Files, ReadError, Section, Value};
use crate::sockets::{self, INET_TABLES, Socket, States};

const FIELDS: &[&str] = &[
    "protocol",
    "state",
    "local",
    "remote",
    "peer_inode",
    "rx_queue_bytes",
    "tx_queue_bytes",
    "accept_queue",
    "backlog",
    "fds",
];

/// The section and all sockets. `is_own_namespace`: the process is in the network namespace of this program.
/// The peers of unix sockets are known only there, and no row can be forged there.
pub(super) fn section(
    files: &Files,
    links: &Result<Vec<Link>, ReadError>,
    is_own_namespace: bool,
    byte_order: ByteOrder,
) -> (Section, Vec<Socket>) {
    let mut section = Section::new("sockets");
    let links = match links {
        Ok(links) => links,
        Err(error) => {
            section.unread = Some(error.clone());
            return (section, Vec::new());
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
    for protocol in INET_TABLES {
        match sockets::inet_sockets(files, protocol, States::All, is_own_namespace, byte_order) {
            Ok(rows) => {
                for mut socket in rows {
                    let Some(fds) = fds.get(&socket.inode) else { continue };
                    let fd = fds.first().filter(|_| protocol.starts_with("tcp"));
                    if fd.is_some_and(|fd| files.is_mptcp(fd)) {
                        // Those of a connection, while the data waits in the socket.
                        (socket.rx_queue, socket.tx_queue) = (None, None);
                    }
                    found.insert(socket.inode);
                    sockets.push(socket);
                }
            }
            // This host has no IPv6.
            Err(ReadError::NotFound) if files.is_procfs() || protocol.ends_with('6') => {}
            Err(error) => section.unread = Some(of_capture(error, protocol)),
        }
    }
    // The other tables contain no names, so their rows are true.
    let is_unknown = |inode: &u64| fds.contains_key(inode) && !found.contains(inode);
    match sockets::unix_sockets(files, is_own_namespace && !fds.is_empty(), is_unknown) {
        Ok(rows) => {
            found.extend(rows.iter().map(|socket| socket.inode));
            sockets.extend(rows);
        }
        Err(ReadError::NotFound) if files.is_procfs() => {}
        Err(error) => section.unread = Some(of_capture(error, "unix")),
    }
    sockets.sort_by(|one: &Socket, other| one.order().cmp(&other.order()));
    let each_once = each_once(&sockets);
    let established = each_once.iter().filter(|socket| socket.established).count();
    section.field("established", Value::Number(established as u64));
    section.field("in_tables", Value::Number(each_once.len() as u64));
    // Sockets of other protocols (netlink, raw, packet), and sockets that were
    // created in another network namespace.
    let others = fds.keys().filter(|inode| !found.contains(inode)).count();
    let others = section.unread.is_none().then_some(others as u64);
    section.field("not_in_tables", Value::number(others));
    let order = order_text(byte_order);
    section.field("address_byte_order", order.map_or(Value::Absent, Value::text));
    section.list("by_state", &["protocol", "state", "sockets"], by_state(&each_once));
    section.list("list", FIELDS, sockets.iter().map(|socket| row(socket, &fds)).collect());
    (section, sockets)
}

/// The reason that a table cannot be read.
fn of_capture(error: ReadError, table: &str) -> ReadError {
    match error {
        ReadError::NotFound => ReadError::Failed(format!("the capture has no net/{table} of it")),
        other => other,
    }
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

fn row(socket: &Socket, fds: &BTreeMap<u64, Vec<String>>) -> Vec<Value> {
    let fds = fds.get(&socket.inode).map(|fds| fds.join(" ")).unwrap_or_default();
    vec![
        Value::text(socket.protocol),
        Value::text(&*socket.state),
        endpoint(&socket.local),
        endpoint(&socket.remote),
        Value::number(socket.peer_inode),
        Value::bytes(socket.rx_queue.map(u64::from)),
        Value::bytes(socket.tx_queue.map(u64::from)),
        Value::number(socket.accept_queue),
        Value::number(socket.backlog),
        Value::text(fds),
    ]
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

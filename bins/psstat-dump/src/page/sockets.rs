//! A process's sockets, looked up in the tables of its own network namespace.

use std::collections::BTreeMap;
use std::net::IpAddr;

use psstat_proc_parse::FdTarget;
use psstat_proc_parse::net::inet::{self, Address, TcpState};
use psstat_proc_parse::net::unix::{self, UnixState};

use super::files::Link;
use super::{Files, List, Section, Unread, Value};

/// The flag of a unix socket that listens (`__SO_ACCEPTCON`).
const LISTENER: u32 = 0x1_0000;

const FIELDS: &[&str] = &["protocol", "state", "local", "remote", "rx_queue", "tx_queue", "fds"];

pub(super) fn section(files: &Files, links: &Result<Vec<Link>, Unread>) -> Section {
    let mut section = Section::new("sockets");
    let links = match links {
        Ok(links) => links,
        Err(unread) => {
            section.unread = Some(unread.clone());
            return section;
        }
    };
    let mut fds: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (fd, link) in links {
        if let FdTarget::Socket(inode) = FdTarget::parse(link) {
            fds.entry(inode).or_default().push(fd.to_string());
        }
    }
    let mut rows = Vec::new();
    let mut established = 0;
    for protocol in ["tcp", "tcp6", "udp", "udp6"] {
        match files.read(&format!("net/{protocol}")) {
            Ok(table) => {
                // A row in an unknown form is none that could be shown.
                for row in inet::Rows::new(&table).filter_map(Result::ok) {
                    if let Some(fds) = fds.remove(&row.inode) {
                        established += u64::from(row.state == TcpState::Established);
                        rows.push(inet_row(protocol, &row, &fds));
                    }
                }
            }
            // No IPv6 on this machine.
            Err(Unread::Gone) => {}
            Err(unread) => section.unread = Some(unread),
        }
    }
    match files.read("net/unix") {
        Ok(table) => {
            for row in unix::Rows::new(&table).filter_map(Result::ok) {
                if let Some(fds) = fds.remove(&row.inode) {
                    established += u64::from(row.state == UnixState::Connected);
                    rows.push(unix_row(&row, &fds));
                }
            }
        }
        Err(Unread::Gone) => {}
        Err(unread) => section.unread = Some(unread),
    }
    // netlink, raw, packet and others have tables of their own; so have
    // sockets that were made in another network namespace.
    let others = fds.len() as u64;
    section.fact("established", Value::Number(established));
    section.fact("in_these_tables", Value::Number(rows.len() as u64));
    section.fact("in_none_of_them", Value::Number(others));
    section.list = Some(List { fields: FIELDS, rows });
    section
}

fn inet_row(protocol: &str, row: &inet::Row, fds: &[String]) -> Vec<Value> {
    vec![
        Value::text(protocol),
        Value::text(tcp_state(row.state)),
        Value::text(address(row.local)),
        Value::text(address(row.remote)),
        Value::Number(row.rx_queue.into()),
        Value::Number(row.tx_queue.into()),
        Value::text(fds.join(" ")),
    ]
}

fn unix_row(row: &unix::Row<'_>, fds: &[String]) -> Vec<Value> {
    let kind = match row.type_ {
        1 => "unix stream",
        2 => "unix dgram",
        5 => "unix seqpacket",
        _ => "unix",
    };
    let state = match row.state {
        UnixState::Unconnected if row.flags & LISTENER != 0 => "LISTEN".to_owned(),
        UnixState::Unconnected => "UNCONNECTED".to_owned(),
        UnixState::Connecting => "CONNECTING".to_owned(),
        UnixState::Connected => "CONNECTED".to_owned(),
        UnixState::Disconnecting => "DISCONNECTING".to_owned(),
        other => format!("{other:?}"),
    };
    vec![
        Value::text(kind),
        Value::text(state),
        row.path.map_or(Value::Absent, |path| Value::Text(path.to_vec())),
        // The kernel's table does not name the other end.
        Value::Absent,
        Value::Absent,
        Value::Absent,
        Value::text(fds.join(" ")),
    ]
}

fn address(address: Address) -> String {
    let Address { ip, port } = address;
    match ip {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    }
}

fn tcp_state(state: TcpState) -> String {
    let word = match state {
        TcpState::Established => "ESTABLISHED",
        TcpState::SynSent => "SYN_SENT",
        TcpState::SynRecv => "SYN_RECV",
        TcpState::FinWait1 => "FIN_WAIT1",
        TcpState::FinWait2 => "FIN_WAIT2",
        TcpState::TimeWait => "TIME_WAIT",
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

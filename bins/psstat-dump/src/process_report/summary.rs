//! The start of the page of a process: its program, user and images, its load, its clients and
//! servers.

use std::collections::{BTreeMap, BTreeSet};

use psstat_proc_parse::{CgroupPath, Cgroups, Status};

use super::{Files, ReadError, Report, Section, Value};
use crate::sockets::{Endpoint, Socket, canonical};
use crate::table::row::Row;
use crate::users::Users;

/// The name of the section.
pub(super) const NAME: &str = "summary";

/// The values of a window.
const MEASURED: [&str; 6] = [
    "cpu_percent",
    "resident_bytes",
    "read_bytes_per_second",
    "write_bytes_per_second",
    "rchar_bytes_per_second",
    "wchar_bytes_per_second",
];

/// `identity` has the times. The images and the measured values are absent: see
/// [`Report::set_images`] and [`Report::set_measured`].
pub(super) fn section(
    files: &Files,
    status: Option<&Status<'_>>,
    identity: &Section,
    sockets: &[Socket],
    users: &Users,
) -> Section {
    let mut section = Section::new(NAME);
    // No lock of the memory map is taken for these.
    for (field, link) in [("exe", files.link("exe")), ("cwd", files.link("cwd"))] {
        match link {
            Ok(link) => section.field(field, Value::Text(link)),
            Err(error) => {
                section.field(field, Value::Absent);
                // A kernel thread has none, and a capture has no copy.
                if !matches!(error, ReadError::NotFound) {
                    section.unread = section.unread.or(Some(error));
                }
            }
        }
    }
    let uid = status.and_then(|status| Some(status.uid?.effective));
    section.field("user", uid.map_or(Value::Absent, |uid| Value::Text(users.name(uid))));
    let cgroup = files.read("cgroup").unwrap_or_default();
    let cgroups = Cgroups::parse(&cgroup).unwrap_or_default();
    let group = cgroups.path().map(CgroupPath);
    let unit = group.and_then(CgroupPath::unit);
    section.field("unit", unit.map_or(Value::Absent, |unit| Value::Text(unit.to_vec())));
    let container = group.and_then(CgroupPath::container);
    let container = container.map(|container| Value::Text(container.bytes().collect()));
    section.field("container", container.unwrap_or(Value::Absent));
    section.field("images", Value::Absent);
    for field in &identity.fields {
        if ["started_unix_seconds", "age_seconds"].contains(&field.name) {
            section.field(field.name, field.value.clone());
        }
    }
    for field in MEASURED {
        section.field(field, Value::Absent);
    }
    let listeners = sockets.iter().filter(|socket| socket.listens());
    section.list(
        "listening",
        &["protocol", "local", "accept_queue", "backlog"],
        listeners.map(listener).collect(),
    );
    section.list(
        "peers",
        &["direction", "protocol", "local", "remote", "connections"],
        peers(sockets),
    );
    section
}

fn listener(socket: &Socket) -> Vec<Value> {
    vec![
        Value::text(socket.protocol),
        endpoint(&socket.local),
        Value::number(socket.accept_queue),
        Value::number(socket.backlog),
    ]
}

/// An address, or the name of a unix socket.
pub(super) fn endpoint(endpoint: &Endpoint) -> Value {
    match endpoint {
        Endpoint::Unnamed => Value::Absent,
        Endpoint::Path(path) => Value::Text(path.clone()),
        inet => Value::text(inet.to_string()),
    }
}

/// Direction, protocol, local and remote end of connections that are counted together.
type Peer<'a> = (&'a str, &'a str, Vec<u8>, Vec<u8>);

/// The connections by their peers, most connections first: `in` from an address to a port on which
/// the process listens, `out` to an address and port.
fn peers(sockets: &[Socket]) -> Vec<Vec<Value>> {
    let port = |endpoint: &Endpoint| match endpoint {
        Endpoint::Inet(_, port) => Some(*port),
        _ => None,
    };
    let listening: BTreeSet<(&str, Option<u16>)> = sockets
        .iter()
        .filter(|socket| socket.listens())
        .map(|socket| (family(socket.protocol), port(&socket.local)))
        .collect();
    let mut peers: BTreeMap<Peer<'_>, u64> = BTreeMap::new();
    for socket in sockets.iter().filter(|socket| !socket.listens()) {
        let protocol = family(socket.protocol);
        let key = match (&socket.local, &socket.remote) {
            (Endpoint::Inet(_, local), Endpoint::Inet(remote, port)) if *port != 0 => {
                let remote = canonical(*remote);
                if listening.contains(&(protocol, Some(*local))) {
                    (
                        "in",
                        protocol,
                        format!(":{local}").into_bytes(),
                        remote.to_string().into_bytes(),
                    )
                } else {
                    let remote = Endpoint::Inet(remote, *port).to_string();
                    ("out", protocol, Vec::new(), remote.into_bytes())
                }
            }
            (Endpoint::Path(local), _) if socket.established => {
                ("in", protocol, local.clone(), Vec::new())
            }
            (_, Endpoint::Path(remote)) => ("out", protocol, Vec::new(), remote.clone()),
            _ => continue,
        };
        *peers.entry(key).or_default() += 1;
    }
    let mut peers: Vec<_> = peers.into_iter().collect();
    peers.sort_by_key(|(_, connections)| std::cmp::Reverse(*connections));
    let text = |text: Vec<u8>| if text.is_empty() { Value::Absent } else { Value::Text(text) };
    let row = |((direction, protocol, local, remote), connections): (_, u64)| {
        let (direction, protocol): (&str, &str) = (direction, protocol);
        let connections = Value::Number(connections);
        vec![Value::text(direction), Value::text(protocol), text(local), text(remote), connections]
    };
    peers.into_iter().map(row).collect()
}

/// The protocol without the version of IP.
fn family(protocol: &str) -> &str {
    protocol.strip_suffix('6').unwrap_or(protocol)
}

impl Report {
    fn set(&mut self, name: &str, value: Value) {
        let summary = self.sections.iter_mut().find(|section| section.name == NAME);
        let fields = summary.into_iter().flat_map(|section| &mut section.fields);
        for field in fields.filter(|field| field.name == name) {
            field.value = value.clone();
        }
    }

    /// Sets the names of the images of the process.
    pub(crate) fn set_images(&mut self, images: &[String]) {
        let images = if images.is_empty() { "none" } else { &images.join(" ") };
        self.set("images", Value::text(images));
    }

    /// Sets the values of a window.
    pub(crate) fn set_measured(&mut self, row: &Row) {
        let percent = row.numbers.cpu_percent.map_or(Value::Absent, Value::Percent);
        self.set("cpu_percent", percent);
        self.set("resident_bytes", Value::bytes(row.numbers.rss));
        if let Some((io, seconds)) = row.growth.io {
            // Bytes per second have no fractions of interest.
            let rate = |bytes: i64| Value::Bytes((bytes as f64 / seconds).round() as i64);
            self.set("read_bytes_per_second", rate(io.read_bytes));
            self.set("write_bytes_per_second", rate(io.write_bytes));
            self.set("rchar_bytes_per_second", rate(io.rchar));
            self.set("wchar_bytes_per_second", rate(io.wchar));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_grouped() {
        let socket = |protocol, state: &str, local: &str, remote: &str| {
            let end = |text: &str| match text.parse::<std::net::SocketAddr>() {
                Ok(address) => Endpoint::Inet(address.ip(), address.port()),
                Err(_) if text.is_empty() => Endpoint::Unnamed,
                Err(_) => Endpoint::Path(text.as_bytes().to_vec()),
            };
            Socket {
                protocol,
                established: state == "ESTABLISHED" || state == "CONNECTED",
                state: state.to_owned(),
                local: end(local),
                remote: end(remote),
                inode: 1,
                peer_inode: None,
                rx_queue: None,
                tx_queue: None,
                accept_queue: None,
                backlog: None,
                uid: None,
            }
        };
        let sockets = [
            socket("tcp6", "LISTEN", "[::]:80", "[::]:0"),
            socket("tcp6", "ESTABLISHED", "[::ffff:10.0.0.5]:80", "[::ffff:10.0.0.9]:4001"),
            socket("tcp", "ESTABLISHED", "10.0.0.5:80", "10.0.0.9:4002"),
            socket("tcp", "CLOSE_WAIT", "10.0.0.5:80", "10.0.0.9:4003"),
            socket("tcp", "ESTABLISHED", "10.0.0.5:5001", "10.0.0.7:5432"),
            socket("tcp", "ESTABLISHED", "10.0.0.5:5002", "10.0.0.7:5432"),
            socket("udp", "UNCONN", "0.0.0.0:53", "0.0.0.0:0"),
            socket("unix stream", "CONNECTED", "", "/run/db"),
            socket("unix stream", "CONNECTED", "", ""),
        ];
        let text = |value: &Value| match value {
            Value::Text(text) => String::from_utf8(text.clone()).unwrap(),
            Value::Number(number) => number.to_string(),
            _ => "-".to_owned(),
        };
        let rows: Vec<String> = peers(&sockets)
            .iter()
            .map(|row| row.iter().map(text).collect::<Vec<_>>().join(" "))
            .collect();
        let want =
            ["in tcp :80 10.0.0.9 3", "out tcp - 10.0.0.7:5432 2", "out unix stream - /run/db 1"];
        assert_eq!(rows, want);
    }
}

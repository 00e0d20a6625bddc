//! The objects that `find` searches for, from an argument.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use psstat_support::escape;

use crate::sockets::{Endpoint, Socket, canonical};

/// Something that processes can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Sockets with this address and port at either end. Without addresses: any address.
    Address {
        /// The addresses; several for `localhost`.
        ips: Vec<IpAddr>,
        /// The port; `None`: any.
        port: Option<u16>,
    },
    /// A unix socket with this abstract name, which begins with `@`, at either end.
    Abstract(Vec<u8>),
    /// An inode: of a socket, a pipe, or a file.
    Inode(u64),
    /// A path, as it was given.
    Path(PathBuf),
    /// All sockets that wait for connections or datagrams.
    Listeners,
}

impl Target {
    /// Parses an argument.
    ///
    /// # Errors
    /// A help for the user, if it is none of these and no file has this name.
    pub(crate) fn parse(argument: &OsStr) -> Result<Target, String> {
        let bytes = argument.as_bytes();
        let path = || Ok(Target::Path(PathBuf::from(argument)));
        let Some(text) = argument.to_str() else { return path() };
        if text.is_empty() {
            return Err("an empty argument; write `.` for the current directory".to_owned());
        }
        if let Some(name) = bytes.strip_prefix(b"@").filter(|name| !name.is_empty()) {
            return Ok(Target::Abstract([b"@", name].concat()));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let inode = text.parse().map_err(|_| format!("{text} is larger than any inode"))?;
            return Ok(Target::Inode(inode));
        }
        // As the links of descriptors are printed.
        let in_brackets = ["socket:[", "pipe:["].iter().find_map(|kind| text.strip_prefix(kind));
        if let Some(inode) = in_brackets.and_then(|rest| rest.strip_suffix(']')?.parse().ok()) {
            return Ok(Target::Inode(inode));
        }
        if let Some(target) = address(text)? {
            return Ok(target);
        }
        if text.contains('/') || Path::new(text).symlink_metadata().is_ok() {
            return path();
        }
        let text = escape::text(text);
        Err(format!(
            "`{text}` is not a port (`:8080`), address (`10.0.0.5:5432`, `[::1]:443`), abstract name \
             (`@name`) or inode, and no file has this name; write `./{text}` for a file that was \
             deleted, and `psstat-dump -p {text}` for the processes of an image"
        ))
    }

    /// A better argument to try if nothing was found.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Target::Inode(number @ 1..=65535) => {
                Some(format!("{number} is an inode; write `:{number}` for the port"))
            }
            _ => None,
        }
    }

    /// Whether it can be a socket of TCP or UDP.
    pub(crate) fn can_be_inet(&self) -> bool {
        !matches!(self, Target::Abstract(_) | Target::Path(_))
    }

    /// Whether it can be a unix socket.
    pub(crate) fn can_be_unix(&self) -> bool {
        !matches!(self, Target::Address { .. })
    }
}

/// `:PORT`, `*:PORT`, `IP:PORT`, `[IP]:PORT`, `IP`, `[IP]`, `localhost:PORT`; `None` if it is none
/// of these.
fn address(text: &str) -> Result<Option<Target>, String> {
    let bracketed = |text: &str| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let ip = |text: &str| text.parse().ok().or_else(|| bracketed(text).map(IpAddr::V6));
    if let Some(ip) = ip(text) {
        return Ok(Some(Target::Address { ips: vec![canonical(ip)], port: None }));
    }
    let Some((host, port)) = text.rsplit_once(':') else { return Ok(None) };
    let ips = match host {
        "" | "*" => Vec::new(),
        "localhost" => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        // An IPv6 address without brackets has no port.
        _ => match ip(host).filter(|_| host.starts_with('[') || !host.contains(':')) {
            Some(ip) => vec![canonical(ip)],
            None => return Ok(None),
        },
    };
    match port.parse::<u16>() {
        Ok(port @ 1..) => Ok(Some(Target::Address { ips, port: Some(port) })),
        _ if port == "*" && !ips.is_empty() => Ok(Some(Target::Address { ips, port: None })),
        _ if host.contains('/') || text.contains('/') => Ok(None),
        _ => Err(format!("`{}`: the port is not a number from 1 to 65535", escape::text(text))),
    }
}

/// How a socket matches an address; the order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// It waits for connections at this address.
    Listens,
    /// Its own address.
    Local,
    /// The address of its peer.
    Remote,
}

/// Whether a socket has this address, and at which end. A socket that is bound to all addresses
/// has each of `local_ips`, those of its host.
pub(crate) fn end_with_address(
    socket: &Socket,
    ips: &[IpAddr],
    port: Option<u16>,
    local_ips: &dyn Fn(IpAddr) -> bool,
) -> Option<End> {
    let matches = |endpoint: &Endpoint, is_local: bool| {
        let Endpoint::Inet(ip, its_port) = endpoint else { return false };
        let ip = canonical(*ip);
        let serves = |query: &IpAddr| {
            is_local
                && ip.is_unspecified()
                && (query.is_ipv4() || ip.is_ipv6())
                && local_ips(*query)
        };
        port.is_none_or(|port| port == *its_port)
            && (ips.is_empty() || ips.iter().any(|query| *query == ip || serves(query)))
    };
    if matches(&socket.local, true) {
        return Some(if socket.listens() { End::Listens } else { End::Local });
    }
    matches(&socket.remote, false).then_some(End::Remote)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Target, String> {
        Target::parse(OsStr::new(text))
    }

    #[test]
    fn arguments() {
        let address = |ips: &[&str], port: Option<u16>| Target::Address {
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
            port,
        };
        for (text, want) in [
            (":8080", address(&[], Some(8080))),
            ("*:80", address(&[], Some(80))),
            ("10.0.0.5:5432", address(&["10.0.0.5"], Some(5432))),
            ("[::1]:443", address(&["::1"], Some(443))),
            ("::1", address(&["::1"], None)),
            ("[::1]", address(&["::1"], None)),
            ("10.0.0.5", address(&["10.0.0.5"], None)),
            ("10.0.0.5:*", address(&["10.0.0.5"], None)),
            ("[::ffff:10.0.0.5]:80", address(&["10.0.0.5"], Some(80))),
            ("localhost:80", address(&["127.0.0.1", "::1"], Some(80))),
            ("@/tmp/.X11-unix/X0", Target::Abstract(b"@/tmp/.X11-unix/X0".to_vec())),
            ("4711", Target::Inode(4711)),
            ("socket:[4711]", Target::Inode(4711)),
            ("pipe:[4711]", Target::Inode(4711)),
            ("/var/log/x:80", Target::Path("/var/log/x:80".into())),
            ("./4711", Target::Path("./4711".into())),
            (".", Target::Path(".".into())),
            ("/tmp/a:b", Target::Path("/tmp/a:b".into())),
        ] {
            assert_eq!(parse(text), Ok(want), "{text}");
        }
        assert!(Target::parse(OsStr::from_bytes(b"\xff/x")).is_ok());
    }

    #[test]
    fn errors_say_what_to_write() {
        for (text, want) in [
            ("", "`.`"),
            (":0", "1 to 65535"),
            (":x", "1 to 65535"),
            (":70000", "1 to 65535"),
            ("1.2.3.4:http", "1 to 65535"),
            ("nginx-is-no-file", "psstat-dump -p nginx-is-no-file"),
            ("db.example:5432", "address"),
            ("99999999999999999999", "larger"),
            ("no\x1b[31m", "\\x1b[31m"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(want) && !error.contains('\x1b'), "{text}: {error}");
        }
        assert!(parse("8080").unwrap().hint().unwrap().contains("`:8080`"));
    }

    #[test]
    fn ends() {
        let socket = |state: &str, local: (&str, u16), remote: (&str, u16)| {
            let end = |(ip, port): (&str, u16)| Endpoint::Inet(ip.parse().unwrap(), port);
            Socket {
                inode: 1,
                protocol: "tcp",
                state: state.to_owned(),
                local: end(local),
                remote: end(remote),
                peer_inode: None,
                rx_queue: None,
                tx_queue: None,
                accept_queue: None,
                backlog: None,
                established: false,
                uid: None,
            }
        };
        let listener = socket("LISTEN", ("::", 80), ("::", 0));
        let of_ipv4 = socket("LISTEN", ("0.0.0.0", 80), ("0.0.0.0", 0));
        let server = socket("ESTABLISHED", ("::ffff:10.0.0.5", 80), ("::ffff:10.0.0.9", 4000));
        for (socket, ips, port, want) in [
            (&listener, &[][..], Some(80), Some(End::Listens)),
            (&listener, &["10.0.0.5"], Some(80), Some(End::Listens)),
            (&listener, &["::5"], Some(80), Some(End::Listens)),
            (&listener, &["10.0.0.9"], Some(80), None),
            (&of_ipv4, &["10.0.0.5"], Some(80), Some(End::Listens)),
            (&of_ipv4, &["::5"], Some(80), None),
            (&of_ipv4, &["10.0.0.5"], Some(81), None),
            (&server, &["10.0.0.5"], Some(80), Some(End::Local)),
            (&server, &["10.0.0.9"], Some(4000), Some(End::Remote)),
            (&server, &["10.0.0.9"], Some(80), None),
            (&server, &[], Some(4000), Some(End::Remote)),
        ] {
            let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
            let local: [IpAddr; 2] = ["10.0.0.5".parse().unwrap(), "::5".parse().unwrap()];
            let end = end_with_address(socket, &ips, port, &|ip| local.contains(&ip));
            assert_eq!(end, want, "{socket:?} {ips:?} {port:?}");
        }
    }
}

//! The TCP and UDP sockets of this program's network namespace, by sock_diag(7). It costs a third
//! of the table in `/proc`, can be limited to states, and has the backlog of a listener.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use psstat_proc_parse::net::inet::TcpState;
use rustix::io::Errno;
use rustix::net::AddressFamily;

use super::netlink::{self, number};
use super::{Endpoint, Socket, States, inet_state};

const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
/// `inet_diag_req_v2`
const REQUEST: usize = 56;

const TCP_LISTEN: u8 = 10;
/// The state that UDP has for a socket without a connection.
const CLOSE: u8 = 7;

/// The sockets of a table (`tcp`, `tcp6`, `udp`, `udp6`).
///
/// # Errors
/// When the kernel has no sock_diag for such sockets.
pub(super) fn query(table: &'static str, states: States) -> Result<Vec<Socket>, Errno> {
    let states = match states {
        States::All => u32::MAX,
        States::Listening => 1 << TCP_LISTEN | 1 << CLOSE,
    };
    let is_v6 = table.ends_with('6');
    let mut request = [0; REQUEST];
    // inet_diag_req_v2: family, protocol, ext, pad, states, id (48)
    let family = if is_v6 { AddressFamily::INET6 } else { AddressFamily::INET };
    // Address families fit into a byte.
    request[0] = family.as_raw() as u8;
    request[1] = if table.starts_with("tcp") { IPPROTO_TCP } else { IPPROTO_UDP };
    request[4..8].copy_from_slice(&states.to_ne_bytes());
    let mut rows = Vec::new();
    netlink::dump(&request, |body| rows.extend(row(body, table)))?;
    Ok(rows)
}

/// One `inet_diag_msg`: family, state, timer, retrans; source and destination port, source and
/// destination address (16 each), interface, cookie (8); expires, rqueue, wqueue, uid, inode.
fn row(body: &[u8], table: &'static str) -> Option<Socket> {
    let is_v6 = table.ends_with('6');
    let port = |at: usize| Some(u16::from_be_bytes(*body.get(at..)?.first_chunk()?));
    let ip = |at: usize| {
        let bytes: [u8; 16] = *body.get(at..)?.first_chunk()?;
        let [a, b, c, d, ..] = bytes;
        let v4 = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
        Some(if is_v6 { IpAddr::V6(Ipv6Addr::from(bytes)) } else { v4 })
    };
    let state = TcpState::from(*body.get(1)?);
    let listens = state == TcpState::Listen;
    let (rx_queue, tx_queue) = (number(body, 56)?, number(body, 60)?);
    Some(Socket {
        inode: number(body, 68)?.into(),
        protocol: table,
        state: inet_state(table, state),
        local: Endpoint::Inet(ip(8)?, port(4)?),
        remote: Endpoint::Inet(ip(24)?, port(6)?),
        peer_inode: None,
        rx_queue: (!listens).then_some(rx_queue),
        tx_queue: (!listens).then_some(tx_queue),
        accept_queue: listens.then_some(rx_queue),
        backlog: listens.then_some(tx_queue),
        established: state == TcpState::Established,
        uid: Some(number(body, 64)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listener_of_this_process() {
        for (address, table) in [("127.0.0.1:0", "tcp"), ("[::1]:0", "tcp6")] {
            let Ok(listener) = std::net::TcpListener::bind(address) else {
                println!("skipped: no {address}");
                continue;
            };
            let local = listener.local_addr().unwrap();
            let local = Endpoint::Inet(local.ip(), local.port());
            let rows = query(table, States::Listening).unwrap();
            let row = rows.iter().find(|row| row.local == local).unwrap();
            assert_eq!((&*row.state, row.accept_queue, row.rx_queue), ("LISTEN", Some(0), None));
            assert!(row.backlog.is_some_and(|backlog| backlog > 0));
            assert_eq!(row.inode, rustix::fs::fstat(&listener).unwrap().st_ino);
            assert_eq!(row.uid, Some(rustix::process::geteuid().as_raw()));
            assert!(rows.iter().all(Socket::listens));
        }
    }

    #[test]
    fn truncated_rows_are_ignored() {
        for length in 0..72 {
            assert!(row(&[0; 72][..length], "tcp6").is_none(), "{length}");
        }
        assert!(row(&[0; 72], "tcp").is_some());
    }
}

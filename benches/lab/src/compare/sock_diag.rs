//! The socket tables by netlink (`sock_diag`), filtered to ESTABLISHED in the
//! kernel. Only the length of each message in the responses is read.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketType, netlink, recv, send, socket, sockopt,
};

use crate::Result;

/// A socket table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Table {
    /// Both address families in one pass over the hash table.
    Tcp,
    Udp4,
    Udp6,
    Unix,
}

impl Table {
    /// The type and body of the request, from `linux/inet_diag.h` and
    /// `linux/unix_diag.h`.
    fn request(self) -> (u16, Vec<u8>) {
        const TCPDIAG_GETSOCK: u16 = 18;
        const SOCK_DIAG_BY_FAMILY: u16 = 20;
        const IPPROTO_UDP: u8 = 17;
        // One bit per state; ESTABLISHED is state 1 of unix sockets too.
        let states = (1u32 << 1).to_ne_bytes();
        let udp = |family: AddressFamily| {
            // sdiag_family, sdiag_protocol, idiag_ext, pad, states, id of 48 bytes
            let mut body = vec![0; 56];
            body[0] = family.as_raw() as u8;
            body[1] = IPPROTO_UDP;
            body[4..8].copy_from_slice(&states);
            (SOCK_DIAG_BY_FAMILY, body)
        };
        match self {
            Table::Tcp => {
                // family, two lengths, ext, id of 48 bytes, states, dbs
                let mut body = vec![0; 60];
                body[52..56].copy_from_slice(&states);
                (TCPDIAG_GETSOCK, body)
            }
            Table::Udp4 => udp(AddressFamily::INET),
            Table::Udp6 => udp(AddressFamily::INET6),
            Table::Unix => {
                // sdiag_family, sdiag_protocol, pad, states, ino, show, cookie
                let mut body = vec![0; 24];
                body[0] = AddressFamily::UNIX.as_raw() as u8;
                body[4..8].copy_from_slice(&states);
                (SOCK_DIAG_BY_FAMILY, body)
            }
        }
    }
}

/// A netlink socket for dumps.
#[derive(Debug)]
pub(crate) struct Diag {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Diag {
    pub(crate) fn open() -> Result<Diag> {
        let socket = socket(AddressFamily::NETLINK, SocketType::DGRAM, Some(netlink::SOCK_DIAG))?;
        let timeout = Some(std::time::Duration::from_secs(5));
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, timeout)?;
        // The maximum size of a part.
        Ok(Diag { socket, buffer: vec![0; 32 * 1024] })
    }

    /// Dumps one table; returns the number of its rows.
    pub(crate) fn dump(&mut self, table: Table) -> Result<u64> {
        const NLMSG_ERROR: u16 = 2;
        const NLMSG_DONE: u16 = 3;
        const REQUEST_DUMP: u16 = 0x301;
        let (kind, body) = table.request();
        // nlmsghdr: length, type, flags, sequence, port
        let mut message = Vec::with_capacity(76);
        message.extend(((16 + body.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(REQUEST_DUMP.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        send(&self.socket, &message, SendFlags::empty())?;
        let mut rows = 0;
        loop {
            let (length, _) = match recv(&self.socket, &mut self.buffer[..], RecvFlags::empty()) {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            let mut rest = &self.buffer[..length];
            while let Some((head, _)) = rest.split_first_chunk::<8>() {
                let [a, b, c, d, kind @ .., _, _] = *head;
                let length = u32::from_ne_bytes([a, b, c, d]) as usize;
                match u16::from_ne_bytes(kind) {
                    NLMSG_DONE => return Ok(rows),
                    NLMSG_ERROR => {
                        return Err("the kernel does not support sock_diag for a table".into());
                    }
                    _ => rows += 1,
                }
                // Messages begin at multiples of 4.
                rest = rest.get(length.max(16).next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

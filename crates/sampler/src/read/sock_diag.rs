//! Established sockets of this process's network namespace by netlink (sock_diag(7)),
//! filtered in the kernel: a third of the cost of the text tables, without torn reads,
//! and the path of a unix socket cannot forge a row.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt};

use crate::ids::{Protocol, SocketInode};
use crate::read::socket_tables::RowCounts;
use crate::tcp_states::OtherTcpState;

/// An open sock_diag socket; it belongs to the namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct SockDiag {
    socket: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

/// A request of `linux/inet_diag.h` or `linux/unix_diag.h`.
#[derive(Clone, Copy)]
enum Request {
    /// tcp of both families in one walk of the hash (`TCPDIAG_GETSOCK`, whose
    /// family the kernel ignores), in these states.
    Tcp {
        states: u32,
    },
    /// udp of one family (`SOCK_DIAG_BY_FAMILY`).
    Udp(AddressFamily),
    Unix,
}

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_DUMP: u16 = 0x300;
/// The table changed during the dump, which may have missed rows.
const NLM_F_DUMP_INTR: u16 = 0x10;
const TCPDIAG_GETSOCK: u16 = 18;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const IPPROTO_UDP: u8 = 17;
/// The state of TCP, which the other sockets share.
const ESTABLISHED: u8 = 1;
const CLOSE_WAIT: u8 = 8;
/// The states that are counted for TCP.
const OPEN: u32 = 1 << ESTABLISHED | 1 << CLOSE_WAIT;
const HEADER: usize = 16;
/// How often a dump is repeated that a change interrupted.
const TRIES: usize = 3;

impl SockDiag {
    pub(crate) fn open() -> Result<SockDiag, Errno> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        )?;
        // The kernel responds at once; the timeout protects the cycle in any case.
        let timeout = Some(std::time::Duration::from_secs(1));
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, timeout)?;
        // The kernel sends parts of at most 32 KiB.
        Ok(SockDiag { socket, buffer: vec![0; 32 * 1024], sequence: 0 })
    }

    /// Calls `each` with the inode of each established socket of a protocol, in
    /// both address families.
    ///
    /// # Errors
    /// `ENOENT` and others if the kernel has no sock_diag for it; then `each` was
    /// not called.
    pub(crate) fn established(
        &mut self,
        protocol: Protocol,
        each: &mut dyn FnMut(SocketInode),
    ) -> Result<RowCounts, Errno> {
        match protocol {
            Protocol::Tcp => self.dump(Request::Tcp { states: OPEN }, each),
            Protocol::Udp => {
                let ipv4 = self.dump(Request::Udp(AddressFamily::INET), each)?;
                match self.dump(Request::Udp(AddressFamily::INET6), each) {
                    // IPv6 is disabled.
                    Err(Errno::NOENT) => Ok(ipv4),
                    result => result,
                }
            }
            Protocol::Unix => self.dump(Request::Unix, each),
        }
    }

    /// Calls `each` with the inode of each TCP socket in another state than ESTABLISHED, in both
    /// address families.
    ///
    /// # Errors
    /// As [`established`](Self::established).
    pub(crate) fn tcp_states(
        &mut self,
        each: &mut dyn FnMut(SocketInode, OtherTcpState),
    ) -> Result<(), Errno> {
        let states = OtherTcpState::ALL.iter().fold(0, |states, &state| states | 1 << state as u8);
        let request = Request::Tcp { states };
        for _ in 0..TRIES {
            self.send(request)?;
            let is_interrupted = self.receive(&mut |message| {
                let state = message.body.get(1).copied().and_then(OtherTcpState::from_number);
                let inode = message.inode(request).and_then(|inode| u32::try_from(inode).ok());
                // A socket without a descriptor has no inode.
                if let Some((state, inode)) = state.zip(inode.filter(|&inode| inode != 0)) {
                    each(inode, state);
                }
            })?;
            if !is_interrupted {
                break;
            }
        }
        Ok(())
    }

    /// One dump, repeated if a change interrupted it. `each` may then be called twice
    /// with a socket.
    fn dump(
        &mut self,
        request: Request,
        each: &mut dyn FnMut(SocketInode),
    ) -> Result<RowCounts, Errno> {
        let mut rows = RowCounts::default();
        for _ in 0..TRIES {
            self.send(request)?;
            rows = RowCounts::default();
            let is_interrupted = self.receive(&mut |message| {
                if message.is_close_wait(request) {
                    rows.open += 1;
                } else if let Some(inode) = message.inode(request) {
                    rows.add_established(inode, each);
                }
            })?;
            if !is_interrupted {
                break;
            }
        }
        Ok(rows)
    }

    fn send(&mut self, request: Request) -> Result<(), Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        // Header, then at most 60 bytes of inet_diag_req.
        let mut message = [0u8; HEADER + 60];
        let body = &mut message[HEADER..];
        let (kind, length) = match request {
            Request::Tcp { states } => {
                // inet_diag_req: family and others (4), id (48), states, dbs
                body[52..56].copy_from_slice(&states.to_ne_bytes());
                (TCPDIAG_GETSOCK, 60)
            }
            Request::Udp(family) => {
                // inet_diag_req_v2: family, protocol, ext, pad, states, id (48)
                // Address families fit a byte.
                body[0] = family.as_raw() as u8;
                body[1] = IPPROTO_UDP;
                body[4..8].copy_from_slice(&(1_u32 << ESTABLISHED).to_ne_bytes());
                (SOCK_DIAG_BY_FAMILY, 56)
            }
            Request::Unix => {
                // unix_diag_req: family, protocol, pad (2), states, ino, show, cookie (8)
                body[0] = AddressFamily::UNIX.as_raw() as u8;
                body[4..8].copy_from_slice(&(1_u32 << ESTABLISHED).to_ne_bytes());
                (SOCK_DIAG_BY_FAMILY, 24)
            }
        };
        let length = HEADER + length;
        // nlmsghdr: length, type, flags, sequence, port
        message[0..4].copy_from_slice(&(length as u32).to_ne_bytes());
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
        message[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        rustix::net::send(&self.socket, &message[..length], SendFlags::empty())?;
        Ok(())
    }

    /// Receives one response and calls `row` for each of its rows; returns whether it was
    /// interrupted.
    fn receive(&mut self, row: &mut dyn FnMut(&Message<'_>)) -> Result<bool, Errno> {
        let mut interrupted = false;
        loop {
            let received =
                match rustix::net::recv(&self.socket, &mut self.buffer[..], RecvFlags::empty()) {
                    Ok((received, _)) => received,
                    Err(Errno::INTR) => continue,
                    Err(errno) => return Err(errno),
                };
            let mut rest = self.buffer.get(..received).unwrap_or_default();
            while let Some(message) = Message::first(rest) {
                rest = rest.get(message.padded_length..).unwrap_or_default();
                // The end of a response to an earlier call.
                if message.sequence != self.sequence {
                    continue;
                }
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_DONE => {
                        message.status()?;
                        return Ok(interrupted);
                    }
                    NLMSG_ERROR => {
                        message.status()?;
                        return Err(Errno::PROTO);
                    }
                    _ => row(&message),
                }
            }
        }
    }
}

/// One netlink message of a received part.
struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
    /// Its length including padding.
    padded_length: usize,
}

impl<'a> Message<'a> {
    fn first(bytes: &'a [u8]) -> Option<Message<'a>> {
        let length = number(bytes, 0)? as usize;
        let body = bytes.get(HEADER..length)?;
        let kind_and_flags = number(bytes, 4)?.to_ne_bytes();
        Some(Message {
            kind: u16::from_ne_bytes([kind_and_flags[0], kind_and_flags[1]]),
            flags: u16::from_ne_bytes([kind_and_flags[2], kind_and_flags[3]]),
            sequence: number(bytes, 8)?,
            body,
            padded_length: length.next_multiple_of(4),
        })
    }

    /// The error number at the end of a response; 0 is success.
    fn status(&self) -> Result<(), Errno> {
        match number(self.body, 0).map(u32::cast_signed) {
            Some(status @ -4095..0) => Err(Errno::from_raw_os_error(-status)),
            // Not an error number.
            Some(..0) => Err(Errno::PROTO),
            _ => Ok(()),
        }
    }

    /// Whether a row's socket is in the other state that is requested for TCP.
    fn is_close_wait(&self, request: Request) -> bool {
        // inet_diag_msg: family, state
        matches!(request, Request::Tcp { .. }) && self.body.get(1) == Some(&CLOSE_WAIT)
    }

    /// The inode of a row's socket; 0 for a socket without a descriptor.
    fn inode(&self, request: Request) -> Option<u64> {
        match request {
            // inet_diag_msg: 4 bytes, id (48), expires, rqueue, wqueue, uid, inode
            Request::Tcp { .. } | Request::Udp(_) => number(self.body, 68),
            // unix_diag_msg: 4 bytes, ino
            Request::Unix => number(self.body, 4),
        }
        .map(u64::from)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests;

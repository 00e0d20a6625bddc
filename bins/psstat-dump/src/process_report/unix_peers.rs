//! The unix sockets of this program's network namespace, by sock_diag(7). No file in `/proc`
//! contains their peers, and the name of a socket can forge rows of `net/unix`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt};

/// The peer of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) inode: u64,
    /// The path it is bound to, in the format of `net/unix`.
    pub(super) path: Option<Vec<u8>>,
}

/// A unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnixSocket {
    /// `SOCK_STREAM` (1), `SOCK_DGRAM` (2) or `SOCK_SEQPACKET` (5).
    pub(super) socket_type: u16,
    /// As for TCP: 1 is connected, 10 is a listener.
    pub(super) state: u8,
    pub(super) path: Option<Vec<u8>>,
    pub(super) peer: Option<Peer>,
}

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_DUMP: u16 = 0x300;
/// Sockets were created or closed during the dump, so it can be incomplete.
const NLM_F_DUMP_INTR: u16 = 0x10;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `UDIAG_SHOW_NAME` and `UDIAG_SHOW_PEER` of `linux/unix_diag.h`.
const UDIAG_SHOW: u32 = 0x1 | 0x4;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_PEER: u16 = 2;
/// `nlmsghdr`, `unix_diag_req`, `unix_diag_msg`, `nlattr`.
const HEADER: usize = 16;
const REQUEST: usize = 24;
const SOCKET: usize = 16;
const ATTRIBUTE: usize = 4;

/// All unix sockets, by inode.
///
/// # Errors
/// When the kernel has no sock_diag for unix sockets.
pub(super) fn query() -> Result<BTreeMap<u64, UnixSocket>, Errno> {
    const TRIES: u32 = 3;
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    // The kernel responds immediately; the timeout is a safeguard.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_secs(1)))?;
    let mut dump = Dump::default();
    for sequence in 1..=TRIES {
        rustix::net::send(&socket, &request(sequence), SendFlags::empty())?;
        // The kernel sends at most 32 KiB at once.
        let mut buffer = vec![0; 32 * 1024];
        let mut end = None;
        while end.is_none() {
            match rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => {
                    end = dump.parse(buffer.get(..length).unwrap_or_default(), sequence)?;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        if end == Some(End::Complete) {
            break;
        }
    }
    Ok(dump.sockets())
}

/// A request for all unix sockets in all states.
fn request(sequence: u32) -> [u8; HEADER + REQUEST] {
    let mut message = [0; HEADER + REQUEST];
    // nlmsghdr: length, type, flags, sequence, port
    message[0..4].copy_from_slice(&((HEADER + REQUEST) as u32).to_ne_bytes());
    message[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    message[8..12].copy_from_slice(&sequence.to_ne_bytes());
    // unix_diag_req: family, protocol, pad (2), states, ino, show, cookie (8)
    let body = &mut message[HEADER..];
    // Address families fit into a byte.
    body[0] = AddressFamily::UNIX.as_raw() as u8;
    body[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    body[12..16].copy_from_slice(&UDIAG_SHOW.to_ne_bytes());
    message
}

/// The end of a dump.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    Interrupted,
}

/// The received data, by inode.
#[derive(Default)]
struct Dump {
    /// Type and state.
    kinds: HashMap<u32, (u8, u8)>,
    peer_inodes: HashMap<u32, u32>,
    names: HashMap<u32, Vec<u8>>,
    interrupted: bool,
}

impl Dump {
    /// Parses one part of the dump. Returns whether and how the dump ended.
    fn parse(&mut self, mut part: &[u8], sequence: u32) -> Result<Option<End>, Errno> {
        while let Some(length) = number(part, 0) {
            let length = length as usize;
            let Some(body) = part.get(HEADER..length) else { break };
            let (kind, flags, seq) = (short(part, 4), short(part, 6), number(part, 8));
            part = part.get(length.next_multiple_of(4)..).unwrap_or_default();
            if seq != Some(sequence) {
                continue;
            }
            self.interrupted |= flags.is_some_and(|flags| flags & NLM_F_DUMP_INTR != 0);
            match kind {
                Some(NLMSG_DONE | NLMSG_ERROR) => {
                    check_status(number(body, 0).map_or(0, u32::cast_signed))?;
                    let interrupted = std::mem::take(&mut self.interrupted);
                    return Ok(Some(if interrupted { End::Interrupted } else { End::Complete }));
                }
                _ => self.socket(body),
            }
        }
        Ok(None)
    }

    /// One `unix_diag_msg`: family, type, state, pad, ino, cookie (8); attributes.
    fn socket(&mut self, body: &[u8]) {
        let (Some(inode), Some(&[_, kind, state, _])) = (number(body, 4), body.first_chunk())
        else {
            return;
        };
        self.kinds.insert(inode, (kind, state));
        let mut rest = body.get(SOCKET..).unwrap_or_default();
        while let (Some(length), Some(kind)) = (short(rest, 0), short(rest, 2)) {
            let length = usize::from(length);
            let Some(value) = rest.get(ATTRIBUTE..length) else { break };
            match kind {
                UNIX_DIAG_NAME => {
                    self.names.insert(inode, printed(value));
                }
                // 0: the connection has not been accepted yet.
                UNIX_DIAG_PEER => {
                    if let Some(peer) = number(value, 0).filter(|peer| *peer != 0) {
                        self.peer_inodes.insert(inode, peer);
                    }
                }
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }

    fn sockets(&self) -> BTreeMap<u64, UnixSocket> {
        let socket = |(inode, (kind, state)): (&u32, &(u8, u8))| {
            let peer = self.peer_inodes.get(inode);
            let peer = peer
                .map(|peer| Peer { inode: u64::from(*peer), path: self.names.get(peer).cloned() });
            let path = self.names.get(inode).cloned();
            let socket = UnixSocket { socket_type: u16::from(*kind), state: *state, path, peer };
            (u64::from(*inode), socket)
        };
        self.kinds.iter().map(socket).collect()
    }
}

/// The error number at the end of a dump; 0 is success.
fn check_status(status: i32) -> Result<(), Errno> {
    match status {
        -4095..0 => Err(Errno::from_raw_os_error(-status)),
        // Not an error number.
        ..0 => Err(Errno::PROTO),
        _ => Ok(()),
    }
}

/// A name in the format of `net/unix`: in an abstract name, which begins with a
/// NUL, each NUL becomes `@`; a path has no trailing NUL.
fn printed(name: &[u8]) -> Vec<u8> {
    if name.first() == Some(&0) {
        return name.iter().map(|byte| if *byte == 0 { b'@' } else { *byte }).collect();
    }
    name.strip_suffix(b"\0").unwrap_or(name).to_vec()
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_the_table() {
        assert_eq!(printed(b"/run/x\0"), b"/run/x");
        assert_eq!(printed(b"\0a\0b"), b"@a@b");
        assert_eq!(printed(b""), b"");
    }

    /// The negative of the smallest number overflowed.
    #[test]
    fn any_status_ends_the_dump() {
        let end = |kind: u16, status: i32| {
            let mut message = request(1)[..HEADER].to_vec();
            message[0..4].copy_from_slice(&20_u32.to_ne_bytes());
            message[4..6].copy_from_slice(&kind.to_ne_bytes());
            message.extend(status.to_ne_bytes());
            Dump::default().parse(&message, 1).map(|end| end == Some(End::Complete))
        };
        for kind in [NLMSG_DONE, NLMSG_ERROR] {
            for (status, want) in [
                (0, Ok(true)),
                (7, Ok(true)),
                (-1, Err(Errno::PERM)),
                (-2, Err(Errno::NOENT)),
                (-4095, Err(Errno::from_raw_os_error(4095))),
                (-4096, Err(Errno::PROTO)),
                (i32::MIN, Err(Errno::PROTO)),
            ] {
                assert_eq!(end(kind, status), want, "{kind} {status}");
            }
        }
    }

    #[test]
    fn truncated_messages_are_ignored() {
        let mut dump = Dump::default();
        let message = request(1);
        for length in 0..message.len() {
            assert!(dump.parse(&message[..length], 1).is_ok_and(|end| end.is_none()));
        }
        assert!(dump.sockets().is_empty());
    }
}

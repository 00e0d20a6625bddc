//! Who is at the other end of unix sockets. No file of the kernel's tells it;
//! sock_diag(7) does, of the own network namespace.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt};

/// The other end of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) inode: u64,
    /// What it is bound to, as `net/unix` prints it.
    pub(super) path: Option<Vec<u8>>,
}

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_DUMP: u16 = 0x300;
/// Sockets came and went under the dump, which may have missed some.
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

/// The peers of all unix sockets that have one, by their inodes.
///
/// # Errors
/// When the kernel has no sock_diag for unix sockets.
pub(super) fn query() -> Result<BTreeMap<u64, Peer>, Errno> {
    const TRIES: u32 = 3;
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    // The kernel answers at once; were it ever not to, the page goes without.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_secs(1)))?;
    let mut found = Found::default();
    for sequence in 1..=TRIES {
        rustix::net::send(&socket, &request(sequence), SendFlags::empty())?;
        // The kernel's parts are at most 32 KiB.
        let mut buffer = vec![0; 32 * 1024];
        let mut end = None;
        while end.is_none() {
            match rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => {
                    end = found.take(buffer.get(..length).unwrap_or_default(), sequence)?;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        if end == Some(End::Whole) {
            break;
        }
    }
    Ok(found.unix_peers())
}

/// All unix sockets in any state.
fn request(sequence: u32) -> [u8; HEADER + REQUEST] {
    let mut message = [0; HEADER + REQUEST];
    // nlmsghdr: length, type, flags, sequence, port
    message[0..4].copy_from_slice(&((HEADER + REQUEST) as u32).to_ne_bytes());
    message[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    message[8..12].copy_from_slice(&sequence.to_ne_bytes());
    // unix_diag_req: family, protocol, pad (2), states, ino, show, cookie (8)
    let body = &mut message[HEADER..];
    // Address families fit a byte.
    body[0] = AddressFamily::UNIX.as_raw() as u8;
    body[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    body[12..16].copy_from_slice(&UDIAG_SHOW.to_ne_bytes());
    message
}

/// How an answer ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Interrupted,
}

/// What has been told of sockets, by their inodes.
#[derive(Default)]
struct Found {
    peers: HashMap<u32, u32>,
    names: HashMap<u32, Vec<u8>>,
    interrupted: bool,
}

impl Found {
    /// Takes in one part; tells when it was the answer's last.
    fn take(&mut self, mut part: &[u8], sequence: u32) -> Result<Option<End>, Errno> {
        while let Some(length) = number(part, 0) {
            let length = length as usize;
            let Some(body) = part.get(HEADER..length) else { break };
            let (kind, flags, of) = (short(part, 4), short(part, 6), number(part, 8));
            part = part.get(length.next_multiple_of(4)..).unwrap_or_default();
            if of != Some(sequence) {
                continue;
            }
            self.interrupted |= flags.is_some_and(|flags| flags & NLM_F_DUMP_INTR != 0);
            match kind {
                Some(NLMSG_DONE | NLMSG_ERROR) => {
                    let status = number(body, 0).map_or(0, u32::cast_signed);
                    if status < 0 {
                        return Err(Errno::from_raw_os_error(-status));
                    }
                    let interrupted = std::mem::take(&mut self.interrupted);
                    return Ok(Some(if interrupted { End::Interrupted } else { End::Whole }));
                }
                _ => self.socket(body),
            }
        }
        Ok(None)
    }

    /// One `unix_diag_msg`: 4 bytes, ino, cookie (8); attributes.
    fn socket(&mut self, body: &[u8]) {
        let Some(inode) = number(body, 4) else { return };
        let mut rest = body.get(SOCKET..).unwrap_or_default();
        while let (Some(length), Some(kind)) = (short(rest, 0), short(rest, 2)) {
            let length = usize::from(length);
            let Some(value) = rest.get(ATTRIBUTE..length) else { break };
            match kind {
                UNIX_DIAG_NAME => {
                    self.names.insert(inode, printed(value));
                }
                // 0: it has not been accepted yet.
                UNIX_DIAG_PEER => {
                    if let Some(peer) = number(value, 0).filter(|peer| *peer != 0) {
                        self.peers.insert(inode, peer);
                    }
                }
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }

    fn unix_peers(&self) -> BTreeMap<u64, Peer> {
        let peer = |(inode, peer): (&u32, &u32)| {
            let path = self.names.get(peer).cloned();
            (u64::from(*inode), Peer { inode: u64::from(*peer), path })
        };
        self.peers.iter().map(peer).collect()
    }
}

/// A name as `net/unix` has it: an abstract one, which begins with a NUL, with
/// `@` for each NUL; a path without the NUL at its end.
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
    fn names_are_printed_as_the_table_prints_them() {
        assert_eq!(printed(b"/run/x\0"), b"/run/x");
        assert_eq!(printed(b"\0a\0b"), b"@a@b");
        assert_eq!(printed(b""), b"");
    }

    #[test]
    fn a_torn_part_is_no_socket() {
        let mut found = Found::default();
        let whole = request(1);
        for length in 0..whole.len() {
            assert!(found.take(&whole[..length], 1).is_ok_and(|end| end.is_none()));
        }
        assert!(found.unix_peers().is_empty());
    }
}

//! The unix sockets of this program's network namespace, by sock_diag(7). No file in `/proc`
//! contains their peers, and the name of a socket can forge rows of `net/unix`.

use std::collections::{BTreeMap, HashMap};

use rustix::io::Errno;
use rustix::net::AddressFamily;

use super::netlink::{self, attributes, number};

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
    /// Bytes to read and bytes that the peer has not read; of a listener, connections that wait
    /// to be accepted, and their maximum number.
    pub(super) queues: Option<[u32; 2]>,
}

/// `UDIAG_SHOW_NAME`, `UDIAG_SHOW_PEER` and `UDIAG_SHOW_RQLEN` of `linux/unix_diag.h`.
const UDIAG_SHOW: u32 = 0x1 | 0x4 | 0x10;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_PEER: u16 = 2;
const UNIX_DIAG_RQLEN: u16 = 4;
/// `unix_diag_req`, `unix_diag_msg`
const REQUEST: usize = 24;
const SOCKET: usize = 16;

/// All unix sockets, by inode.
///
/// # Errors
/// When the kernel has no sock_diag for unix sockets.
pub(super) fn query() -> Result<BTreeMap<u64, UnixSocket>, Errno> {
    let mut dump = Dump::default();
    netlink::dump(&request(), |row| dump.socket(row))?;
    Ok(dump.sockets())
}

/// A request for all unix sockets in all states.
fn request() -> [u8; REQUEST] {
    // unix_diag_req: family, protocol, pad (2), states, ino, show, cookie (8)
    let mut body = [0; REQUEST];
    // Address families fit into a byte.
    body[0] = AddressFamily::UNIX.as_raw() as u8;
    body[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    body[12..16].copy_from_slice(&UDIAG_SHOW.to_ne_bytes());
    body
}

/// The received data, by inode.
#[derive(Default)]
struct Dump {
    /// Type and state.
    kinds: HashMap<u32, (u8, u8)>,
    peer_inodes: HashMap<u32, u32>,
    names: HashMap<u32, Vec<u8>>,
    queues: HashMap<u32, [u32; 2]>,
}

impl Dump {
    /// One `unix_diag_msg`: family, type, state, pad, ino, cookie (8); attributes.
    fn socket(&mut self, body: &[u8]) {
        let (Some(inode), Some(&[_, kind, state, _])) = (number(body, 4), body.first_chunk())
        else {
            return;
        };
        self.kinds.insert(inode, (kind, state));
        for (kind, value) in attributes(body.get(SOCKET..).unwrap_or_default()) {
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
                UNIX_DIAG_RQLEN => {
                    if let Some((read, write)) = number(value, 0).zip(number(value, 4)) {
                        self.queues.insert(inode, [read, write]);
                    }
                }
                _ => {}
            }
        }
    }

    fn sockets(&self) -> BTreeMap<u64, UnixSocket> {
        let socket = |(inode, (kind, state)): (&u32, &(u8, u8))| {
            let peer = self.peer_inodes.get(inode);
            let peer = peer
                .map(|peer| Peer { inode: u64::from(*peer), path: self.names.get(peer).cloned() });
            let path = self.names.get(inode).cloned();
            let queues = self.queues.get(inode).copied();
            let socket_type = u16::from(*kind);
            (u64::from(*inode), UnixSocket { socket_type, state: *state, path, peer, queues })
        };
        self.kinds.iter().map(socket).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_the_table() {
        assert_eq!(printed(b"/run/x\0"), b"/run/x");
        assert_eq!(printed(b"\0a\0b"), b"@a@b");
        assert_eq!(printed(b""), b"");
    }

    #[test]
    fn truncated_rows_are_ignored() {
        let mut dump = Dump::default();
        for length in 0..8 {
            dump.socket(&[1; 8][..length]);
        }
        assert!(dump.sockets().is_empty());
    }
}

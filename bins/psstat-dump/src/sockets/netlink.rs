//! Dumps of sock_diag(7): one request, and a callback for each row of the response.

use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_DUMP: u16 = 0x300;
/// Sockets were created or closed during the dump, so it can be incomplete.
const NLM_F_DUMP_INTR: u16 = 0x10;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `nlmsghdr`
const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;

/// Sends a request (`unix_diag_req`, `inet_diag_req_v2`) and calls `row` with each row. If sockets
/// were created or closed during the dump, it is repeated, and `row` is called again with those
/// that it has seen.
///
/// # Errors
/// When the kernel has no sock_diag for such sockets.
pub(super) fn dump(request: &[u8], mut row: impl FnMut(&[u8])) -> Result<(), Errno> {
    const TRIES: u32 = 3;
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    // The kernel responds immediately; the timeout is a safeguard.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_secs(1)))?;
    // The kernel sends at most 32 KiB at once.
    let mut buffer = vec![0; 32 * 1024];
    for sequence in 1..=TRIES {
        rustix::net::send(&socket, &message(request, sequence), SendFlags::empty())?;
        let mut parser = Parser { sequence, is_interrupted: false };
        let mut end = None;
        while end.is_none() {
            match rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => {
                    end = parser.parse(buffer.get(..length).unwrap_or_default(), &mut row)?;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        if end == Some(End::Complete) {
            break;
        }
    }
    Ok(())
}

/// `nlmsghdr`: length, type, flags, sequence, port; then the request.
fn message(request: &[u8], sequence: u32) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + request.len());
    message.extend(((HEADER + request.len()) as u32).to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(request);
    message
}

/// The end of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Complete,
    Interrupted,
}

struct Parser {
    sequence: u32,
    is_interrupted: bool,
}

impl Parser {
    /// Parses one part of the dump. Returns whether and how the dump ended.
    fn parse(&mut self, mut part: &[u8], row: &mut dyn FnMut(&[u8])) -> Result<Option<End>, Errno> {
        while let Some(length) = number(part, 0) {
            let length = length as usize;
            let Some(body) = part.get(HEADER..length) else { break };
            let (kind, flags, sequence) = (short(part, 4), short(part, 6), number(part, 8));
            part = part.get(length.next_multiple_of(4)..).unwrap_or_default();
            if sequence != Some(self.sequence) {
                continue;
            }
            self.is_interrupted |= flags.is_some_and(|flags| flags & NLM_F_DUMP_INTR != 0);
            match kind {
                Some(NLMSG_DONE | NLMSG_ERROR) => {
                    check_status(number(body, 0).map_or(0, u32::cast_signed))?;
                    let end = if self.is_interrupted { End::Interrupted } else { End::Complete };
                    return Ok(Some(end));
                }
                _ => row(body),
            }
        }
        Ok(None)
    }
}

/// The attributes in the bytes after a row, each with its type.
pub(super) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (usize::from(short(rest, 0)?), short(rest, 2)?);
        let value = rest.get(ATTRIBUTE..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
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

pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(part: &[u8]) -> Result<Option<End>, Errno> {
        let mut parser = Parser { sequence: 1, is_interrupted: false };
        parser.parse(part, &mut |_| panic!("no rows"))
    }

    /// The negative of the smallest number overflowed.
    #[test]
    fn any_status_ends_the_dump() {
        let end = |kind: u16, status: i32| {
            let mut message = message(&status.to_ne_bytes(), 1);
            message[4..6].copy_from_slice(&kind.to_ne_bytes());
            parse(&message).map(|end| end.is_some())
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
        let message = message(&[0; 24], 1);
        for length in 0..message.len() {
            assert_eq!(parse(&message[..length]), Ok(None), "{length}");
        }
    }

    #[test]
    fn truncated_attributes_end_the_list() {
        let bytes = [6, 0, 7, 0, b'a', b'b', 0, 0, 9, 0, 8, 0, b'c'];
        assert_eq!(attributes(&bytes).collect::<Vec<_>>(), [(7, &b"ab"[..])]);
        assert_eq!(attributes(&[3, 0, 0, 0]).count(), 0);
    }
}

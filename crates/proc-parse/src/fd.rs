//! What a link `/proc/PID/fd/N` says: the kind of thing a descriptor is open
//! on. See proc_pid_fd(5).

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while1};
use nom::combinator::all_consuming;
use nom::sequence::delimited;
use nom::{IResult, Parser};

use crate::number;

/// The target of a descriptor's link, from the bytes that readlink(2) gave.
///
/// `/proc/PID/ns/KIND` points to the same text as a descriptor on that
/// namespace, so [`FdTarget::parse`] reads it too.
///
/// A path that was renamed or removed to look like another kind is told by its
/// leading `/`, which only files and memfds have; a file whose name really ends
/// in ` (deleted)` can't be told from a deleted one, nor a deleted file
/// `/memfd:NAME` in the root directory from a memfd.
///
/// ```
/// use psstat_proc_parse::FdTarget;
///
/// assert_eq!(FdTarget::parse(b"socket:[12345]"), FdTarget::Socket(12345));
/// assert_eq!(FdTarget::parse(b"anon_inode:[eventpoll]"), FdTarget::AnonInode(b"[eventpoll]"));
/// assert_eq!(
///     FdTarget::parse(b"/var/log/x.log (deleted)"),
///     FdTarget::File { path: b"/var/log/x.log", deleted: true },
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FdTarget<'a> {
    /// `socket:[inode]`; the inode is the one in the tables of `net`.
    Socket(u64),
    /// `pipe:[inode]`: an unnamed pipe.
    Pipe(u64),
    /// `anon_inode:NAME`, with the name as printed: `[eventpoll]`,
    /// `[eventfd]`, `[timerfd]`, `inotify`, `bpf-map`, …
    AnonInode(&'a [u8]),
    /// `/memfd:NAME (deleted)`: memory from memfd_create(2).
    Memfd(&'a [u8]),
    /// `kind:[inode]`: a namespace, such as `net:[4026531840]`.
    Namespace {
        /// `net`, `mnt`, `pid`, `user`, `uts`, `ipc`, `cgroup`, `time`.
        kind: &'a [u8],
        /// What tells it apart.
        inode: u64,
    },
    /// A path below `/dev/`: a device, or whatever else is there.
    Device(&'a [u8]),
    /// Any other path: a file, a directory, a named pipe.
    File {
        /// The path, without ` (deleted)`.
        path: &'a [u8],
        /// Whether the name is gone.
        deleted: bool,
    },
    /// None of these, byte for byte.
    Other(&'a [u8]),
}

impl<'a> FdTarget<'a> {
    /// Sorts the link's bytes. Whatever has no known form is [`Other`](Self::Other).
    #[must_use]
    #[inline]
    pub fn parse(link: &'a [u8]) -> Self {
        // Sockets are what is asked for most; they get by without nom.
        if link.starts_with(b"socket:[") {
            return match number::between(link) {
                Some(inode) if link.ends_with(b"]") => Self::Socket(inode),
                _ => Self::Other(link),
            };
        }
        if link.starts_with(b"/") { Self::path(link) } else { Self::nameless(link) }
    }

    fn path(link: &'a [u8]) -> Self {
        let (path, deleted) = match link.strip_suffix(b" (deleted)") {
            Some(path) => (path, true),
            None => (link, false),
        };
        match path.strip_prefix(b"/memfd:") {
            Some(name) if deleted => Self::Memfd(name),
            _ if path.starts_with(b"/dev/") && !deleted => Self::Device(path),
            _ => Self::File { path, deleted },
        }
    }

    fn nameless(link: &'a [u8]) -> Self {
        if let Some(name) = link.strip_prefix(b"anon_inode:") {
            return Self::AnonInode(name);
        }
        match all_consuming(kind_and_inode).parse(link) {
            Ok((_, (b"pipe", inode))) => Self::Pipe(inode),
            Ok((_, (kind, inode))) => Self::Namespace { kind, inode },
            Err(_) => Self::Other(link),
        }
    }
}

/// `kind:[inode]`, for pipes and the kinds of namespaces.
fn kind_and_inode(link: &[u8]) -> IResult<&[u8], (&[u8], u64)> {
    let kind = alt((
        tag(&b"pipe"[..]),
        tag(&b"net"[..]),
        tag(&b"mnt"[..]),
        tag(&b"pid"[..]),
        tag(&b"user"[..]),
        tag(&b"uts"[..]),
        tag(&b"ipc"[..]),
        tag(&b"cgroup"[..]),
        tag(&b"time"[..]),
    ));
    let inode = take_while1(|byte: u8| byte.is_ascii_digit())
        .map_opt(|digits: &[u8]| number::decimal(digits).ok().map(|(inode, _)| inode));
    (kind, delimited(tag(&b":["[..]), inode, tag(&b"]"[..]))).parse(link)
}

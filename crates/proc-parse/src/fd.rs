//! Links in `/proc/PID/fd`: the kind of file that a descriptor refers to. See
//! proc_pid_fd(5).

use core::fmt;

use nom::Parser;
use nom::branch::alt;
use nom::combinator::{eof, map, peek, recognize, rest};
use nom::sequence::{delimited, preceded, terminated};

use crate::error::ParseResult;
use crate::leaf::{Grammar, byte, unsigned, word};

/// The target of a link in `fd`, from the bytes returned by readlink(2).
///
/// `/proc/PID/ns/KIND` has the same text as a descriptor of that namespace(), so
/// [`FdTarget::parse`] reads these links too.
///
/// Only files and memfds start with `/`, so a path cannot imitate another kind.
/// Two cases are ambiguous: a file whose name ends in ` (deleted)` looks like a
/// deleted one, and a deleted file `/memfd:NAME` in the root directory looks like
/// a memfd.
///
/// `Display` writes the link again, with bytes outside printable ASCII escaped.
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
    /// `socket:[inode]`, with the inode that the tables of `net` print.
    Socket(u64),
    /// `pipe:[inode]`: an unnamed pipe.
    Pipe(u64),
    /// `anon_inode:NAME`, with the name as printed: `[eventpoll]`,
    /// `[eventfd]`, `[timerfd]`, `inotify`, `bpf-map`, …
    AnonInode(&'a [u8]),
    /// `/memfd:NAME (deleted)`: memory from memfd_create(2).
    Memfd(&'a [u8]),
    /// `kind:[inode]`: a namespace(), such as `net:[4026531840]`.
    Namespace {
        /// `net`, `mnt`, `pid`, `user`, `uts`, `ipc`, `cgroup`, `time`.
        kind: &'a [u8],
        /// The inode, unique for each namespace.
        inode: u64,
    },
    /// A path below `/dev/`, usually a device.
    Device(&'a [u8]),
    /// Any other path: a file, a directory, a named pipe.
    File {
        /// The path, without ` (deleted)`.
        path: &'a [u8],
        /// Whether the name has been removed.
        deleted: bool,
    },
    /// Any other text.
    Other(&'a [u8]),
}

impl<'a> FdTarget<'a> {
    /// Classifies a link. Text of no known form is [`Other`](Self::Other).
    #[must_use]
    #[inline]
    pub fn parse(link: &'a [u8]) -> Self {
        fd_target(link).map_or(Self::Other(link), |(_, target)| target)
    }
}

/// The grammar of [`FdTarget`]: takes all of the input, since nothing in a link
/// marks its end.
///
/// # Errors
/// Never: any text is a target.
#[inline]
pub fn fd_target(input: &[u8]) -> ParseResult<'_, FdTarget<'_>> {
    alt((
        map(terminated(preceded(word(b"socket:"), inode()), eof), FdTarget::Socket),
        map(preceded(peek(byte(b'/')), rest), path),
        map(terminated(preceded(word(b"pipe:"), inode()), eof), FdTarget::Pipe),
        map(preceded(word(b"anon_inode:"), rest), FdTarget::AnonInode),
        map(terminated((namespace(), inode()), eof), |((kind, _), inode)| FdTarget::Namespace {
            kind,
            inode,
        }),
        map(rest, FdTarget::Other),
    ))
    .parse_complete(input)
}

/// `[INODE]`.
#[inline(always)]
fn inode<'a>() -> impl Grammar<'a, u64> {
    delimited(byte(b'['), unsigned(), byte(b']'))
}

/// `KIND:`.
#[inline(always)]
fn namespace<'a>() -> impl Grammar<'a, (&'a [u8], ())> {
    let kind = alt((
        word(b"net"),
        word(b"mnt"),
        word(b"pid"),
        word(b"user"),
        word(b"uts"),
        word(b"ipc"),
        word(b"cgroup"),
        word(b"time"),
    ));
    (recognize(kind), byte(b':'))
}

/// Sorts paths by their first and last bytes.
fn path(link: &[u8]) -> FdTarget<'_> {
    let (path, deleted) = match link.strip_suffix(b" (deleted)") {
        Some(path) => (path, true),
        None => (link, false),
    };
    match path.strip_prefix(b"/memfd:") {
        Some(name) if deleted => FdTarget::Memfd(name),
        _ if path.starts_with(b"/dev/") && !deleted => FdTarget::Device(path),
        _ => FdTarget::File { path, deleted },
    }
}

impl fmt::Display for FdTarget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(inode) => write!(f, "socket:[{inode}]"),
            Self::Pipe(inode) => write!(f, "pipe:[{inode}]"),
            Self::AnonInode(name) => write!(f, "anon_inode:{}", name.escape_ascii()),
            Self::Memfd(name) => write!(f, "/memfd:{} (deleted)", name.escape_ascii()),
            Self::Namespace { kind, inode } => write!(f, "{}:[{inode}]", kind.escape_ascii()),
            Self::File { path, deleted: true } => {
                write!(f, "{} (deleted)", path.escape_ascii())
            }
            Self::Device(text) | Self::File { path: text, .. } | Self::Other(text) => {
                text.escape_ascii().fmt(f)
            }
        }
    }
}

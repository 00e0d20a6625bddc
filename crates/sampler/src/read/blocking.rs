//! The reads of a process that can block, as requests.
//!
//! The kernel takes a lock of the process for these files, and another thread can hold it
//! indefinitely: an exec that waits for a file server, for example. So the thread that performs
//! such a read owns nothing but the request, and can be abandoned with it (see the module
//! `executor`). The descriptors and buffers of a request move into it, and come back with the
//! answer.

use psstat_proc_parse::{Io, StatCore};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::io::Errno;

use super::fd_sockets::{FdSocketScanner, FdSockets};
use super::outcome::{Outcome, Unread};
use super::process::{self, File, identify, parsed, read_held, without_contents};
use super::procfs::{ProcDir, Procfs, READ, pread_start};
use super::text_file::{self, TextFile};
use crate::ids::ProcessKey;

/// The size of a buffer for all of `stat`: up to 52 fields of up to 21 bytes, and a name.
pub(crate) const MAX_STAT: usize = 2048;

/// A buffer for `stat`.
pub(crate) type StatBuffer = Box<[u8; MAX_STAT]>;

/// A read that can block. Its `outcome` is [`UNREAD`] until it is performed.
#[derive(Debug)]
pub(crate) enum Read {
    /// `stat`: the length of the text in the buffer.
    Stat { of: StatOf, buffer: StatBuffer, outcome: Outcome<usize> },
    /// `io`, through the descriptor that is held open, if there is one.
    Io { held: Option<OwnedFd>, key: ProcessKey, keep: bool, outcome: Outcome<Io> },
    /// A text of the process or of any thread, into the buffer, at most `limit` bytes.
    Text { process: ProcDir, file: TextFile, limit: usize, text: Vec<u8>, outcome: Outcome<()> },
    /// The links in the directory `fd`.
    Links(Box<LinkScan>),
    /// `ns/net`.
    Netns { process: ProcDir, outcome: Outcome<u32> },
}

/// The lock that a read waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    /// The address space of the process, while it is changed: `cmdline`.
    AddressSpace,
    /// The control groups of all processes, before Linux 6.8: `cgroup`. The other files of names,
    /// `comm` and `status`, take no lock that could block.
    Groups,
    /// The program of the process, while it executes another one: all others.
    Program,
}

/// The outcome of a read that was not performed.
pub(crate) const fn unread<T>() -> Outcome<T> {
    Outcome::Unread(Unread::Deferred)
}

/// The process whose `stat` is read.
#[derive(Debug)]
pub(crate) enum StatOf {
    /// The one that has this pid now.
    Pid(u32),
    /// This one, or none.
    Key(ProcessKey),
    /// That of an open directory.
    Dir(OwnedFd),
}

/// The links of descriptors, from a position on.
#[derive(Debug)]
pub(crate) struct LinkScan {
    pub(crate) scanner: FdSocketScanner,
    /// The directory of the descriptors.
    pub(crate) dir: Option<OwnedFd>,
    pub(crate) from: u64,
    /// At most this number of descriptors.
    pub(crate) limit: u64,
    pub(crate) found: FdSockets,
    pub(crate) outcome: Outcome<Option<u64>>,
}

impl LinkScan {
    pub(crate) fn new() -> LinkScan {
        LinkScan {
            scanner: FdSocketScanner::new(),
            dir: None,
            from: 0,
            limit: 0,
            found: FdSockets::default(),
            outcome: unread(),
        }
    }
}

impl Read {
    /// The file, relative to the directory of the process.
    pub(crate) fn file(&self) -> &'static str {
        match self {
            Read::Stat { .. } => "stat",
            Read::Io { .. } => "io",
            Read::Text { file, .. } => file.name(),
            Read::Links(_) => "fd",
            Read::Netns { .. } => "ns/net",
        }
    }

    /// The lock that it may wait for.
    pub(crate) fn lock(&self) -> Lock {
        match self {
            Read::Text { file, .. } => file.lock(),
            Read::Stat { .. } | Read::Io { .. } | Read::Links(_) | Read::Netns { .. } => {
                Lock::Program
            }
        }
    }

    /// Reads. May never return.
    pub(crate) fn perform(&mut self, procfs: &Procfs) {
        match self {
            Read::Stat { of, buffer, outcome } => *outcome = read_stat(procfs, of, buffer),
            Read::Io { held, key, keep, outcome } => *outcome = read_io(procfs, held, *key, *keep),
            Read::Text { process, file, limit, text, outcome } => {
                *outcome = text_file::read(procfs, *process, *file, *limit, text);
            }
            Read::Links(scan) => {
                let LinkScan { scanner, dir, from, limit, found, outcome } = &mut **scan;
                *outcome = match dir {
                    Some(dir) => scanner.scan(dir, *from, *limit, found),
                    None => Errno::BADF.into(),
                };
            }
            Read::Netns { process, outcome } => *outcome = procfs.read_netns(*process),
        }
    }
}

fn read_stat(procfs: &Procfs, of: &StatOf, buffer: &mut StatBuffer) -> Outcome<usize> {
    let file = match of {
        StatOf::Pid(pid) => {
            let text = procfs.read_process_file(*pid, c"stat", &mut buffer[..]);
            return text.map(<[u8]>::len);
        }
        StatOf::Key(key) => open_process_dir(procfs, *key)
            .and_then(|dir| process::open_at(procfs, &dir, c"stat", READ)),
        StatOf::Dir(dir) => procfs.open_in(dir, c"stat", READ).into(),
    };
    file.and_then(|file: OwnedFd| pread_start(&file, &mut buffer[..]).map(<[u8]>::len))
}

fn read_io(
    procfs: &Procfs,
    held: &mut Option<OwnedFd>,
    key: ProcessKey,
    keep: bool,
) -> Outcome<Io> {
    let mut buffer = [0; 512];
    let mut read = |file: rustix::fd::BorrowedFd<'_>| {
        pread_start(file, &mut buffer).and_then(|bytes| parsed(Io::parse(bytes)))
    };
    if let Some(held) = held {
        return read(held.as_fd());
    }
    let (name, flags) = File::Io.name();
    let opened =
        open_process_dir(procfs, key).and_then(|dir| process::open_at(procfs, &dir, name, flags));
    opened.and_then(|opened| without_contents(procfs, read_held(held, opened, keep, read)))
}

/// Opens the directory of a process, and reads its `stat` if that is necessary to identify it.
fn open_process_dir(procfs: &Procfs, key: ProcessKey) -> Outcome<OwnedFd> {
    match process::open_process_dir(procfs, key) {
        Ok(dir) => dir,
        Err(dir) => {
            let mut buffer = [0; MAX_STAT];
            let text = Outcome::from(procfs.open_in(&dir, c"stat", READ))
                .and_then(|file: OwnedFd| pread_start(&file, &mut buffer).map(<[u8]>::len));
            text.and_then(|length| {
                parsed(StatCore::parse(buffer.get(..length).unwrap_or_default()))
            })
            .and_then(|stat| identify(dir, stat.starttime.0, key))
        }
    }
}

//! Finds the sockets of a process by the links of its descriptors: the most expensive read of all
//! (2 to 5 µs per descriptor, nearly all of it in the kernel).

use psstat_proc_parse::FdTarget;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{RawDir, SeekFrom};

use super::procfs::read_link;
use crate::read::outcome::Outcome;

/// The sockets that a scan of a process's descriptors has found.
#[derive(Debug, Default)]
pub(crate) struct FdSockets {
    /// Their inodes, established or not.
    pub(crate) sockets: Vec<u32>,
    /// How many descriptors were scanned.
    pub(crate) fds: u64,
}

impl FdSockets {
    /// Before the scan of another process.
    pub(crate) fn clear(&mut self) {
        self.sockets.clear();
        self.fds = 0;
    }

    /// After a scan: the sockets sorted, each once.
    pub(crate) fn sort(&mut self) {
        self.sockets.sort_unstable();
        self.sockets.dedup();
    }
}

/// Reads the links of descriptors; its buffer is kept from process to process.
#[derive(Debug)]
pub(crate) struct FdSocketScanner {
    buffer: Vec<u8>,
}

impl FdSocketScanner {
    pub(crate) fn new() -> FdSocketScanner {
        FdSocketScanner { buffer: Vec::with_capacity(16 * 1024) }
    }

    /// Adds the sockets of a process in the directory of its descriptors to `found`: from a
    /// position on (0: from the start), and at most `limit` descriptors. Gives the position
    /// at which to continue, if there may be more.
    pub(crate) fn scan(
        &mut self,
        dir: &OwnedFd,
        from: u64,
        limit: u64,
        found: &mut FdSockets,
    ) -> Outcome<Option<u64>> {
        if from > 0
            && let Err(errno) = rustix::fs::seek(dir, SeekFrom::Start(from))
        {
            return errno.into();
        }
        let end = found.fds.saturating_add(limit);
        let mut entries = RawDir::new(dir.as_fd(), self.buffer.spare_capacity_mut());
        let mut next = from;
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => return errno.into(),
            };
            if found.fds >= end {
                return Outcome::Value(Some(next));
            }
            next = entry.next_entry_cookie();
            let name = entry.file_name();
            if name.to_bytes().starts_with(b".") {
                continue;
            }
            found.fds += 1;
            // Long enough for `socket:[` and 20 digits; a longer link is not a socket.
            let mut link = [0; 64];
            match read_link(dir, name, &mut link) {
                Outcome::Value(target) => {
                    // The kernel numbers sockets with 32 bits.
                    if let FdTarget::Socket(inode) = FdTarget::parse(target)
                        && let Ok(inode) = u32::try_from(inode)
                    {
                        found.sockets.push(inode);
                    }
                }
                // The descriptor was closed after it was listed; the process may be alive.
                Outcome::Exited => {}
                Outcome::Denied => return Outcome::Denied,
                Outcome::Failed(failure) => return Outcome::Failed(failure),
                Outcome::Unread(unread) => return Outcome::Unread(unread),
            }
        }
        Outcome::Value(None)
    }
}

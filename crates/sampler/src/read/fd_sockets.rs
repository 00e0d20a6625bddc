//! Which sockets a process holds: by reading the links of all its descriptors,
//! the dearest read there is (2 to 5 µs a descriptor, nearly all of it the kernel's).

use psstat_proc_parse::FdTarget;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, RawDir, SeekFrom};

use super::procfs::{ProcDir, ProcPath, Procfs, READ, read_link};
use crate::read::outcome::Outcome;

/// Reads descriptors' links; its buffers are kept from process to process.
#[derive(Debug)]
pub(crate) struct FdSocketScanner {
    buffer: Vec<u8>,
    /// The socket inodes found, established or not.
    pub(crate) sockets: Vec<u32>,
    /// How many descriptors were looked at.
    pub(crate) fd_sockets: u64,
}

impl FdSocketScanner {
    pub(crate) fn new() -> FdSocketScanner {
        FdSocketScanner {
            buffer: Vec::with_capacity(16 * 1024),
            sockets: Vec::new(),
            fd_sockets: 0,
        }
    }

    /// Before another process.
    pub(crate) fn clear(&mut self) {
        self.sockets.clear();
        self.fd_sockets = 0;
    }

    /// At its end: the sockets sorted, each once.
    pub(crate) fn sort(&mut self) {
        self.sockets.sort_unstable();
        self.sockets.dedup();
    }

    /// Finds the sockets of a process in the folder of its descriptors: from a
    /// position on (0: the first), and among so many descriptors. Gives the
    /// position at which to go on, if there may be more.
    pub(crate) fn find(
        &mut self,
        folder: Outcome<OwnedFd>,
        from: u64,
        limit: u64,
    ) -> Outcome<Option<u64>> {
        folder.and_then(|folder| self.read_links(&folder, from, limit))
    }

    fn read_links(&mut self, folder: &OwnedFd, from: u64, limit: u64) -> Outcome<Option<u64>> {
        if from > 0
            && let Err(errno) = rustix::fs::seek(folder, SeekFrom::Start(from))
        {
            return errno.into();
        }
        let end = self.fd_sockets.saturating_add(limit);
        let mut entries = RawDir::new(folder.as_fd(), self.buffer.spare_capacity_mut());
        let mut next = from;
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => return errno.into(),
            };
            if self.fd_sockets >= end {
                return Outcome::Value(Some(next));
            }
            next = entry.next_entry_cookie();
            let name = entry.file_name();
            if name.to_bytes().starts_with(b".") {
                continue;
            }
            self.fd_sockets += 1;
            // Long enough for `socket:[` and 20 digits; what is longer is none.
            let mut link = [0; 64];
            match read_link(folder, name, &mut link) {
                Outcome::Value(target) => {
                    // The kernel numbers sockets with 32 bits.
                    if let FdTarget::Socket(inode) = FdTarget::parse(target)
                        && let Ok(inode) = u32::try_from(inode)
                    {
                        self.sockets.push(inode);
                    }
                }
                // Closed since it was listed, which is no news of the process.
                Outcome::Exited => {}
                Outcome::Denied => return Outcome::Denied,
                Outcome::Failed(failure) => return Outcome::Failed(failure),
            }
        }
        Outcome::Value(None)
    }
}

/// Opens the folder of the descriptors by way of one of a process's threads.
pub(crate) fn open_folder_at(procfs: &Procfs, place: ProcDir) -> Outcome<OwnedFd> {
    let mut name = ProcPath::new();
    let name = name.of(place, c"fd");
    rustix::fs::openat(&procfs.dir, name, READ, Mode::empty()).into()
}

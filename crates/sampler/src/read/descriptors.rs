//! Which sockets a process holds: by reading the links of all its descriptors,
//! the dearest read there is (about 2 µs a descriptor).

use psstat_proc_parse::FdTarget;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, RawDir};

use super::listing::Listed;
use super::process::open_folder;
use super::procfs::{Name, Procfs, READ, Where, read_link};
use crate::outcome::Outcome;

/// Reads descriptors' links; its buffers are kept from call to call.
#[derive(Debug)]
pub(crate) struct SocketFinder {
    buffer: Vec<u8>,
    /// The socket inodes found by the last call, sorted, each once.
    pub(crate) sockets: Vec<u32>,
    /// How many descriptors the last call looked at.
    pub(crate) descriptors: usize,
}

impl SocketFinder {
    pub(crate) fn new() -> SocketFinder {
        SocketFinder { buffer: Vec::with_capacity(16 * 1024), sockets: Vec::new(), descriptors: 0 }
    }

    /// Finds the sockets of a process, established or not.
    pub(crate) fn find(&mut self, procfs: &Procfs, who: Listed) -> Outcome<()> {
        let folder = open_folder(procfs, who, c"fd");
        self.find_in(folder)
    }

    /// The same by way of one of its threads.
    pub(crate) fn find_at(&mut self, procfs: &Procfs, place: Where) -> Outcome<()> {
        let mut name = Name::new();
        let name = name.of(place, c"fd");
        let folder = rustix::fs::openat(&procfs.dir, name, READ, Mode::empty());
        self.find_in(folder.into())
    }

    fn find_in(&mut self, folder: Outcome<OwnedFd>) -> Outcome<()> {
        self.sockets.clear();
        self.descriptors = 0;
        let outcome = folder.and_then(|folder| self.read_links(&folder));
        self.sockets.sort_unstable();
        self.sockets.dedup();
        outcome
    }

    fn read_links(&mut self, folder: &OwnedFd) -> Outcome<()> {
        let mut entries = RawDir::new(folder.as_fd(), self.buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => return errno.into(),
            };
            let name = entry.file_name();
            if name.to_bytes().starts_with(b".") {
                continue;
            }
            self.descriptors += 1;
            // Long enough for `socket:[` and 20 digits; what is longer is none.
            let mut link = [0; 64];
            match read_link(folder, name, &mut link) {
                Outcome::There(target) => {
                    // The kernel numbers sockets with 32 bits.
                    if let FdTarget::Socket(inode) = FdTarget::parse(target)
                        && let Ok(inode) = u32::try_from(inode)
                    {
                        self.sockets.push(inode);
                    }
                }
                // Closed since it was listed, which is no news of the process.
                Outcome::Gone => {}
                Outcome::Denied => return Outcome::Denied,
                Outcome::Failed(failure) => return Outcome::Failed(failure),
            }
        }
        Outcome::There(())
    }
}

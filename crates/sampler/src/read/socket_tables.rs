//! The socket tables: which sockets are ESTABLISHED, by namespace.

use psstat_proc_parse::net::{inet, unix};
use rustix::fd::OwnedFd;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::netlink::Netlink;
use super::procfs::{ProcDir, ProcPath, Procfs, READ};
use crate::ids::Protocol;
use crate::read::outcome::Outcome;

/// Reads the tables, by netlink where it is to be had.
#[derive(Debug)]
pub(crate) struct SocketTables {
    netlink: Netlink,
    buffer: Vec<u8>,
}

impl SocketTables {
    pub(crate) fn new(procfs: &Procfs) -> SocketTables {
        SocketTables { netlink: Netlink::open(procfs.fast.sock_diag), buffer: vec![0; 16 * 1024] }
    }

    /// Whether sock_diag is in use for every protocol.
    pub(crate) fn uses_sock_diag(&self) -> bool {
        Protocol::ALL.iter().all(|&protocol| self.netlink.supports(protocol))
    }

    /// Whether [`established`](Self::established) reads a text table, which may
    /// leave out rows while others come and go.
    pub(crate) fn uses_text_table(&self, own: bool, protocol: Protocol) -> bool {
        !own || !self.netlink.supports(protocol)
    }

    /// Calls `found` with the inode of each ESTABLISHED socket of a protocol in
    /// a process's network namespace; possibly twice with the same when the
    /// table changes meanwhile. `own` says that it is the collector's own.
    pub(crate) fn established(
        &mut self,
        procfs: &Procfs,
        process: ProcDir,
        own: bool,
        protocol: Protocol,
        found: &mut dyn FnMut(u64),
    ) -> Outcome<()> {
        // After an error the text serves. What was found already is found again,
        // which does no harm.
        if own && self.netlink.established(protocol, found) {
            return Outcome::Value(());
        }
        self.read_text(procfs, process, protocol, found)
    }

    fn read_text(
        &mut self,
        procfs: &Procfs,
        process: ProcDir,
        protocol: Protocol,
        found: &mut dyn FnMut(u64),
    ) -> Outcome<()> {
        let (first, second) = match protocol {
            Protocol::Tcp => (c"net/tcp", Some(c"net/tcp6")),
            Protocol::Udp => (c"net/udp", Some(c"net/udp6")),
            Protocol::Unix => (c"net/unix", None),
        };
        let mut name = ProcPath::new();
        let open = |name: &mut ProcPath, file| {
            rustix::fs::openat(&procfs.dir, name.of(process, file), READ, Mode::empty())
        };
        Outcome::from(open(&mut name, first))
            .and_then(|file| self.rows(&file, protocol, found))
            .and_then(|()| match second.map(|second| open(&mut name, second)) {
                None => Outcome::Value(()),
                // A kernel with IPv6 off has no such file; nor has a process
                // that has ended meanwhile.
                Some(Err(Errno::NOENT)) => {
                    Outcome::from(open(&mut name, first)).map(drop::<OwnedFd>)
                }
                Some(Err(errno)) => errno.into(),
                Some(Ok(file)) => self.rows(&file, protocol, found),
            })
    }

    /// Reads a table page by page. What is no row (the heading, a row of a form
    /// unknown) is passed over.
    fn rows(
        &mut self,
        file: &OwnedFd,
        protocol: Protocol,
        found: &mut dyn FnMut(u64),
    ) -> Outcome<()> {
        let mut held = 0;
        loop {
            if held == self.buffer.len() {
                // A line longer than the buffer is none of the kernel's.
                held = 0;
            }
            let read = match rustix::io::read(file, &mut self.buffer[held..]) {
                Ok(0) => return Outcome::Value(()),
                Ok(read) => read,
                Err(Errno::INTR) => continue,
                Err(errno) => return errno.into(),
            };
            let bytes = &self.buffer[..held + read];
            // 0 is a socket without an owner.
            let mut row = |inode: u64| {
                if inode != 0 {
                    found(inode);
                }
            };
            let rest = match protocol {
                Protocol::Tcp | Protocol::Udp => {
                    let mut rows = inet::Established::new(bytes);
                    rows.by_ref().flatten().for_each(&mut row);
                    rows.rest().len()
                }
                Protocol::Unix => {
                    let mut rows = unix::Established::new(bytes);
                    rows.by_ref().flatten().for_each(&mut row);
                    rows.rest().len()
                }
            };
            let end = bytes.len();
            self.buffer.copy_within(end - rest..end, 0);
            held = rest;
        }
    }
}

//! Reads the socket tables: the ESTABLISHED sockets of a network namespace.

use psstat_proc_parse::net::{inet, unix};
use rustix::fd::OwnedFd;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::procfs::{ProcDir, ProcPath, Procfs, READ};
#[cfg(feature = "netlink")]
use super::sock_diag::SockDiag;
use crate::ids::Protocol;
use crate::read::outcome::Outcome;

/// Without the feature `netlink`, no kernel has sock_diag.
#[cfg(not(feature = "netlink"))]
#[derive(Debug)]
enum SockDiag {}

#[cfg(not(feature = "netlink"))]
impl SockDiag {
    fn open() -> Result<SockDiag, Errno> {
        Err(Errno::NOSYS)
    }

    fn established(&mut self, _: Protocol, _: &mut dyn FnMut(u64)) -> Result<(), Errno> {
        match *self {}
    }
}

/// Reads the tables, by netlink if that is available.
#[derive(Debug)]
pub(crate) struct SocketTables {
    /// For the sockets of this process's network namespace.
    sock_diag: Option<SockDiag>,
    /// The protocols for which this kernel has no sock_diag (indexed as [`Protocol::ALL`]).
    unsupported: [bool; 3],
    buffer: Vec<u8>,
}

impl SocketTables {
    pub(crate) fn new(procfs: &Procfs) -> SocketTables {
        let sock_diag = if procfs.fast.sock_diag { SockDiag::open().ok() } else { None };
        SocketTables { sock_diag, unsupported: [false; 3], buffer: vec![0; 16 * 1024] }
    }

    /// Whether sock_diag is in use for every protocol.
    pub(crate) fn uses_sock_diag(&self) -> bool {
        Protocol::ALL.iter().all(|&protocol| self.supports(protocol))
    }

    fn supports(&self, protocol: Protocol) -> bool {
        self.sock_diag.is_some() && !self.unsupported[protocol as usize]
    }

    /// Whether [`established`](Self::established) reads a text table, which may omit rows while
    /// other rows are added and removed. `is_self`: of this process's network namespace.
    pub(crate) fn uses_text_table(&self, is_self: bool, protocol: Protocol) -> bool {
        !is_self || !self.supports(protocol)
    }

    /// Calls `each` with the inode of each ESTABLISHED socket of a protocol in a process's
    /// network namespace; possibly twice with the same one if the table changes meanwhile.
    /// `is_self`: it is the network namespace of this process.
    pub(crate) fn established(
        &mut self,
        procfs: &Procfs,
        process: ProcDir,
        is_self: bool,
        protocol: Protocol,
        each: &mut dyn FnMut(u64),
    ) -> Outcome<()> {
        // After an error the text table is read. It contains the sockets found so far again.
        if is_self && self.dump(protocol, each) {
            return Outcome::Value(());
        }
        self.read_text(procfs, process, protocol, each)
    }

    /// Finds the sockets by sock_diag; returns whether these are all.
    fn dump(&mut self, protocol: Protocol, each: &mut dyn FnMut(u64)) -> bool {
        let unsupported = &mut self.unsupported[protocol as usize];
        let Some(sock_diag) = self.sock_diag.as_mut().filter(|_| !*unsupported) else {
            return false;
        };
        let result = sock_diag.established(protocol, each);
        if let Err(errno) = result {
            *unsupported = matches!(
                errno,
                Errno::NOENT | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM | Errno::ACCESS
            );
        }
        result.is_ok()
    }

    fn read_text(
        &mut self,
        procfs: &Procfs,
        process: ProcDir,
        protocol: Protocol,
        each: &mut dyn FnMut(u64),
    ) -> Outcome<()> {
        let (first, second) = match protocol {
            Protocol::Tcp => (c"net/tcp", Some(c"net/tcp6")),
            Protocol::Udp => (c"net/udp", Some(c"net/udp6")),
            Protocol::Unix => (c"net/unix", None),
        };
        let mut name = ProcPath::new();
        let open = |name: &mut ProcPath, file| {
            rustix::fs::openat(&procfs.dir, name.build(process, file), READ, Mode::empty())
        };
        Outcome::from(open(&mut name, first))
            .and_then(|file| self.rows(&file, protocol, each))
            .and_then(|()| match second.map(|second| open(&mut name, second)) {
                None => Outcome::Value(()),
                // The file does not exist if IPv6 is disabled, and if the process has
                // exited meanwhile.
                Some(Err(Errno::NOENT)) => {
                    Outcome::from(open(&mut name, first)).map(drop::<OwnedFd>)
                }
                Some(Err(errno)) => errno.into(),
                Some(Ok(file)) => self.rows(&file, protocol, each),
            })
    }

    /// Reads the rows of a table, page by page. Skips the header and lines that are not valid rows.
    fn rows(
        &mut self,
        file: &OwnedFd,
        protocol: Protocol,
        each: &mut dyn FnMut(u64),
    ) -> Outcome<()> {
        let mut held = 0;
        loop {
            if held == self.buffer.len() {
                // The kernel writes no line longer than the buffer.
                held = 0;
            }
            let read = match rustix::io::read(file, &mut self.buffer[held..]) {
                Ok(0) => return Outcome::Value(()),
                Ok(read) => read,
                Err(Errno::INTR) => continue,
                Err(errno) => return errno.into(),
            };
            let bytes = &self.buffer[..held + read];
            // 0 is a socket without a descriptor.
            let mut row = |inode: u64| {
                if inode != 0 {
                    each(inode);
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

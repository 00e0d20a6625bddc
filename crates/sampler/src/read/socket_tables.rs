//! Reads the socket tables: the ESTABLISHED sockets of a network namespace.

use std::ffi::CStr;

use psstat_proc_parse::net::snmp::TcpCounters;
use psstat_proc_parse::net::sockstat::udp_in_use;
use psstat_proc_parse::net::unix::UnixState;
use psstat_proc_parse::net::{inet, unix};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::procfs::{ProcDir, ProcPath, Procfs, READ};
#[cfg(feature = "netlink")]
use super::sock_diag::SockDiag;
use crate::ids::{Protocol, SocketInode};
use crate::read::outcome::Outcome;
use crate::tcp_states::OtherTcpState;

/// The parts of the tables of a protocol that need not be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shortcuts {
    /// If the first one of tcp and tcp6 has as many rows as these counters, which were read
    /// before, and no connection was opened or closed meanwhile, the second one is not read.
    pub(crate) tcp: Option<TcpCounters>,
    /// The first one is tcp6.
    pub(crate) tcp6_first: bool,
    /// udp and udp6 are not read if the namespace has no such sockets.
    pub(crate) udp: bool,
}

impl Shortcuts {
    pub(crate) const NONE: Shortcuts = Shortcuts { tcp: None, tcp6_first: false, udp: false };
}

/// The numbers of rows in the tables of a protocol.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RowCounts {
    /// ESTABLISHED or, for TCP, CLOSE_WAIT, as the kernel counts them in `curr_estab`.
    pub(crate) open: u64,
    /// ESTABLISHED without an inode: they get one when they are accepted.
    pub(crate) unaccepted: u64,
    /// All of `open` are in tcp6, and there are some.
    pub(crate) tcp6_only: bool,
    /// A table was not read.
    pub(crate) is_partial: bool,
    /// Unix sockets with contradictory rows, which are not among those found.
    pub(crate) contradictory: u64,
}

impl RowCounts {
    /// Counts an ESTABLISHED row, and calls `found` if the socket has an inode.
    pub(crate) fn add_established(&mut self, inode: u64, found: &mut dyn FnMut(SocketInode)) {
        self.open += 1;
        match SocketInode::try_from(inode) {
            // A socket without a descriptor.
            Ok(0) => self.unaccepted += 1,
            Ok(inode) => found(inode),
            // The kernel assigns 32 bits.
            Err(_) => {}
        }
    }
}

/// Without the feature `netlink`, no kernel has sock_diag.
#[cfg(not(feature = "netlink"))]
#[derive(Debug)]
enum SockDiag {}

#[cfg(not(feature = "netlink"))]
impl SockDiag {
    fn open() -> Result<SockDiag, Errno> {
        Err(Errno::NOSYS)
    }

    fn established(
        &mut self,
        _: Protocol,
        _: &mut dyn FnMut(SocketInode),
    ) -> Result<RowCounts, Errno> {
        match *self {}
    }

    fn tcp_states(&mut self, _: &mut dyn FnMut(SocketInode, OtherTcpState)) -> Result<(), Errno> {
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
    unix: UnixRows,
}

/// The rows of a text table of unix sockets.
///
/// The name of a socket can contain line breaks and whole rows: any process can add rows
/// with any state and inode to the table of its network namespace. The kernel prints the true
/// row of each socket of the namespace too. So an inode with rows in different states has a
/// forged one, and its state is unknown.
#[derive(Debug, Default)]
struct UnixRows {
    connected: Vec<SocketInode>,
    /// Sockets in other states.
    others: Vec<SocketInode>,
}

impl UnixRows {
    fn clear(&mut self) {
        self.connected.clear();
        self.others.clear();
    }

    fn add(&mut self, state: UnixState, inode: u64, all: &mut RowCounts) {
        if state == UnixState::Connected {
            let connected = &mut self.connected;
            all.add_established(inode, &mut |inode| connected.push(inode));
        } else if let Ok(1..) = SocketInode::try_from(inode) {
            // The kernel assigns 32 bits, of which 0 is not an inode.
            self.others.push(inode as SocketInode);
        }
    }

    /// Calls `found` for the sockets that are connected by all their rows.
    fn finish(&mut self, all: &mut RowCounts, found: &mut dyn FnMut(SocketInode)) {
        self.others.sort_unstable();
        for &inode in &self.connected {
            if self.others.binary_search(&inode).is_ok() {
                all.contradictory += 1;
            } else {
                found(inode);
            }
        }
    }
}

impl SocketTables {
    pub(crate) fn new(procfs: &Procfs) -> SocketTables {
        let sock_diag = if procfs.fast.sock_diag { SockDiag::open().ok() } else { None };
        SocketTables {
            sock_diag,
            unsupported: [false; 3],
            buffer: vec![0; 16 * 1024],
            unix: UnixRows::default(),
        }
    }

    /// Whether sock_diag is in use for every protocol.
    pub(crate) fn uses_sock_diag(&self) -> bool {
        Protocol::ALL.iter().all(|&protocol| self.supports(protocol))
    }

    /// Tries sock_diag for each protocol (indexed as [`Protocol::ALL`]) and returns for which it
    /// works: whether a kernel has it shows only in use.
    pub(crate) fn probe_sock_diag(&mut self) -> [bool; 3] {
        Protocol::ALL.map(|protocol| {
            let _ = self.dump(protocol, &mut |_| {});
            self.supports(protocol)
        })
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
        (process, is_self): (ProcDir, bool),
        protocol: Protocol,
        shortcuts: Shortcuts,
        each: &mut dyn FnMut(SocketInode),
    ) -> Outcome<RowCounts> {
        // After an error the text table is read. It contains the sockets found so far again.
        match is_self.then(|| self.dump(protocol, each)).flatten() {
            Some(rows) => Outcome::Value(rows),
            None => self.read_text(procfs, process, protocol, shortcuts, each),
        }
    }

    /// Calls `each` with each TCP socket in another state than ESTABLISHED in a process's network
    /// namespace, possibly more than once. `is_self`: it is the network namespace of this process.
    pub(crate) fn tcp_states(
        &mut self,
        procfs: &Procfs,
        (process, is_self): (ProcDir, bool),
        each: &mut dyn FnMut(SocketInode, OtherTcpState),
    ) -> Outcome<()> {
        if is_self
            && self.supports(Protocol::Tcp)
            && let Some(sock_diag) = &mut self.sock_diag
            && sock_diag.tcp_states(each).is_ok()
        {
            return Outcome::Value(());
        }
        for table in [Table::TCP, Table::TCP6] {
            let outcome = self.read_rows(procfs, process, &table, &mut |bytes| {
                let mut rows = inet::InetRows::new(bytes);
                for row in rows.by_ref().flatten() {
                    let state = OtherTcpState::from_number(row.state.into());
                    let inode = SocketInode::try_from(row.inode).ok().filter(|&inode| inode != 0);
                    if let Some((state, inode)) = state.zip(inode) {
                        each(inode, state);
                    }
                }
                rows.rest().len()
            });
            if !matches!(outcome, Outcome::Value(())) {
                return outcome;
            }
        }
        Outcome::Value(())
    }

    /// Reads the TCP counters of a process's network namespace.
    pub(crate) fn tcp_counters(
        &mut self,
        procfs: &Procfs,
        process: ProcDir,
    ) -> Option<TcpCounters> {
        procfs.fast.socket_counters.then(|| procfs.read_tcp_counters(process, &mut self.buffer))?
    }

    /// Finds the sockets by sock_diag. `None` if these are not all.
    fn dump(&mut self, protocol: Protocol, each: &mut dyn FnMut(SocketInode)) -> Option<RowCounts> {
        let unsupported = &mut self.unsupported[protocol as usize];
        let sock_diag = self.sock_diag.as_mut().filter(|_| !*unsupported)?;
        let result = sock_diag.established(protocol, each);
        if let Err(errno) = result {
            *unsupported = matches!(
                errno,
                Errno::NOENT | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM | Errno::ACCESS
            );
        }
        result.ok()
    }

    fn read_text(
        &mut self,
        procfs: &Procfs,
        process: ProcDir,
        protocol: Protocol,
        shortcuts: Shortcuts,
        each: &mut dyn FnMut(SocketInode),
    ) -> Outcome<RowCounts> {
        let tables: &[Table] = match protocol {
            Protocol::Tcp if shortcuts.tcp6_first => &[Table::TCP6, Table::TCP],
            Protocol::Tcp => &[Table::TCP, Table::TCP6],
            Protocol::Udp => &[Table::UDP, Table::UDP6],
            Protocol::Unix => &[Table::UNIX],
        };
        let mut all = RowCounts::default();
        let mut in_tcp = 0;
        for (index, table) in tables.iter().enumerate() {
            let is_rest_empty = match protocol {
                Protocol::Tcp => {
                    index == 1 && self.are_all_open(procfs, process, shortcuts.tcp, all.open)
                }
                Protocol::Udp => shortcuts.udp && self.is_unused(procfs, process, table),
                Protocol::Unix => false,
            };
            if is_rest_empty {
                all.is_partial = true;
                continue;
            }
            let before = all.open;
            match self.read_table(procfs, process, table, &mut all, each) {
                Outcome::Value(()) => {}
                other => return other.map(|()| all),
            }
            if table.ipv4.is_none() {
                in_tcp += all.open - before;
            }
        }
        all.tcp6_only = in_tcp == 0 && all.open > 0;
        Outcome::Value(all)
    }

    /// Whether these are all open TCP sockets: as many as the counters showed before the
    /// read, and no connection was opened or closed since.
    fn are_all_open(
        &mut self,
        procfs: &Procfs,
        process: ProcDir,
        before: Option<TcpCounters>,
        open: u64,
    ) -> bool {
        let connections = |tcp: TcpCounters| {
            let opens = (tcp.active_opens, tcp.passive_opens, tcp.attempt_fails);
            (opens, tcp.estab_resets, tcp.curr_estab)
        };
        before.is_some_and(|before| {
            before.curr_estab == open
                && self
                    .tcp_counters(procfs, process)
                    .is_some_and(|now| connections(now) == connections(before))
        })
    }

    /// Whether a table of UDP sockets is empty.
    fn is_unused(&mut self, procfs: &Procfs, process: ProcDir, table: &Table) -> bool {
        procfs.fast.socket_counters
            && table.numbers.is_some_and(|file| {
                let text = procfs.read_net(process, file, &mut self.buffer);
                text.and_then(|text| udp_in_use(text).ok()) == Some(0)
            })
    }

    fn read_table(
        &mut self,
        procfs: &Procfs,
        process: ProcDir,
        table: &Table,
        all: &mut RowCounts,
        each: &mut dyn FnMut(SocketInode),
    ) -> Outcome<()> {
        let mut unix = std::mem::take(&mut self.unix);
        unix.clear();
        let outcome = self.read_rows(procfs, process, table, &mut |bytes| match table.protocol {
            Protocol::Tcp | Protocol::Udp => {
                let mut rows = inet::Established::new(bytes);
                rows.by_ref().flatten().for_each(|inode| all.add_established(inode, each));
                all.open += rows.close_wait() as u64;
                rows.rest().len()
            }
            Protocol::Unix => {
                let mut rows = unix::States::new(bytes);
                let sockets = rows.by_ref().flatten();
                sockets.for_each(|socket| unix.add(socket.state, socket.inode, all));
                rows.rest().len()
            }
        });
        if let Outcome::Value(()) = outcome {
            unix.finish(all, each);
        }
        self.unix = unix;
        outcome
    }

    /// Reads the rows of a table. `rows` gets them page by page, with the header, and gives the length of
    /// the incomplete row at the end.
    fn read_rows(
        &mut self,
        procfs: &Procfs,
        process: ProcDir,
        table: &Table,
        rows: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Outcome<()> {
        let open = |file| {
            let mut name = ProcPath::new();
            procfs.open_in(&procfs.dir, name.build(process, file), READ)
        };
        match (open(table.file), table.ipv4) {
            // The file does not exist if IPv6 is disabled, and if the process has exited.
            (Err(Errno::NOENT), Some(ipv4)) => {
                let exists = Outcome::from(open(ipv4)).map(drop::<OwnedFd>);
                if exists.is_exited() && !procfs.is_live { Outcome::Denied } else { exists }
            }
            // A capture without a copy of the table.
            (Err(Errno::NOENT), None) if !procfs.is_live => Outcome::Denied,
            (file, _) => Outcome::from(file).and_then(|file| self.rows(&file, rows)),
        }
    }

    fn rows(&mut self, file: &OwnedFd, rows: &mut dyn FnMut(&[u8]) -> usize) -> Outcome<()> {
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
            let rest = rows(bytes);
            let end = bytes.len();
            self.buffer.copy_within(end - rest..end, 0);
            held = rest;
        }
    }
}

/// A text table.
struct Table {
    file: &'static CStr,
    protocol: Protocol,
    /// The table of the same protocol over IPv4, which exists in any case.
    ipv4: Option<&'static CStr>,
    /// The file with the number of its sockets.
    numbers: Option<&'static CStr>,
}

impl Table {
    const TCP: Table =
        Table { file: c"net/tcp", protocol: Protocol::Tcp, ipv4: None, numbers: None };
    const TCP6: Table = Table { file: c"net/tcp6", ipv4: Some(c"net/tcp"), ..Table::TCP };
    const UDP: Table = Table {
        file: c"net/udp",
        protocol: Protocol::Udp,
        ipv4: None,
        numbers: Some(c"net/sockstat"),
    };
    const UDP6: Table = Table {
        file: c"net/udp6",
        ipv4: Some(c"net/udp"),
        numbers: Some(c"net/sockstat6"),
        ..Table::UDP
    };
    const UNIX: Table =
        Table { file: c"net/unix", protocol: Protocol::Unix, ipv4: None, numbers: None };
}

//! The sockets that the descriptors of processes refer to, with their states.

use std::ops::Range;
use std::sync::Arc;

use rustix::io::Errno;

use super::{BUFFER, MAX_TARGETS, Program};
use crate::ids::{NetnsId, Protocol, SocketInode};
use crate::read::fd_sockets::FdSockets;
use crate::shrink::shrink_vec;
use crate::tcp_states::OtherTcpState;

/// The size of a row of a socket, and half of that of a process.
const ROW: usize = 16;
/// The kinds of rows. Another one is that of a process, which follows its sockets.
const TCP: u16 = 1;
const UDP: u16 = 2;
const UNIX: u16 = 3;
/// `TCP_ESTABLISHED`, which the other protocols use as well.
const ESTABLISHED: u8 = 1;
/// At most this number of sockets of a process in one pass: they have to fit into the kernel's
/// buffer.
const MAX_SOCKETS: u64 = 1536;

/// A socket of a process.
#[derive(Clone, Copy, Debug)]
struct Socket {
    inode: SocketInode,
    netns: NetnsId,
    protocol: Protocol,
    state: u8,
}

/// A process of a pass.
#[derive(Clone, Debug)]
struct Process {
    pid: u32,
    netns: NetnsId,
    /// How many of its descriptors were visited.
    fds: u64,
    /// In nanoseconds by the boot-time clock.
    start: u64,
    /// The descriptor at which to continue, unless all were visited.
    next: Option<u64>,
    /// The place of its sockets in the list of all, without those of later passes.
    sockets: Range<usize>,
}

/// The sockets of the last pass.
#[derive(Debug)]
pub(super) struct SocketPass {
    program: Arc<Program>,
    buffer: Vec<u8>,
    /// The processes that were requested, sorted.
    requested: Vec<u32>,
    rows: Rows,
    /// Of a pass over one process.
    one: Rows,
}

/// The rows of a pass.
#[derive(Debug, Default)]
struct Rows {
    sockets: Vec<Socket>,
    /// By pid, as requested.
    processes: Vec<Process>,
}

impl SocketPass {
    pub(super) fn new(program: Arc<Program>) -> SocketPass {
        SocketPass {
            program,
            buffer: vec![0; BUFFER],
            requested: Vec::new(),
            rows: Rows::default(),
            one: Rows::default(),
        }
    }

    /// Reads the sockets of these processes. After an error there are none.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(super) fn take(&mut self, pids: &[u32]) -> Result<(), Errno> {
        self.rows.clear();
        self.requested.clear();
        self.requested.extend_from_slice(pids);
        self.requested.sort_unstable();
        self.requested.dedup();
        let requested = std::mem::take(&mut self.requested);
        let mut chunks = requested.chunks(MAX_TARGETS);
        let result = chunks.try_for_each(|pids| self.read(pids, 0));
        if result.is_ok() {
            self.requested = requested;
        } else {
            self.rows.clear();
        }
        self.rows.finish();
        result
    }

    /// Reads those of one process from a descriptor on. After an error there are none.
    fn take_one(&mut self, pid: u32, from: u64) -> Result<(), Errno> {
        self.rows.clear();
        let result = self.read(&[pid], u32::try_from(from).unwrap_or(u32::MAX));
        if result.is_err() {
            self.rows.clear();
        }
        result
    }

    fn read(&mut self, pids: &[u32], from: u32) -> Result<(), Errno> {
        let SocketPass { program, buffer, rows, .. } = self;
        // The order of the numbers in memory: the program is for little-endian machines alone.
        let targets = pids.iter().map(|&pid| [u64::from(from) << 32 | u64::from(pid), 0]);
        program.read(targets, MAX_SOCKETS, buffer, |bytes| {
            let (read, rest) = bytes.as_chunks::<ROW>();
            rest.is_empty() && rows.parse(read)
        })
    }

    /// Forgets the pass.
    pub(super) fn forget(&mut self) {
        self.requested.clear();
        self.rows.clear();
    }

    /// Whether the pass was to show this process.
    pub(super) fn is_requested(&self, pid: u32) -> bool {
        self.requested.binary_search(&pid).is_ok()
    }

    /// Whether the pass has all sockets of this process.
    pub(super) fn has_all(&self, pid: u32) -> bool {
        self.rows.process(pid).is_some_and(|process| process.next.is_none())
    }

    /// The network namespace of a process of the pass.
    pub(super) fn netns(&self, pid: u32) -> Option<NetnsId> {
        self.rows.process(pid).map(|process| process.netns).filter(|netns| netns.0 != 0)
    }

    /// The start of a process of the pass, in nanoseconds by the boot-time clock.
    pub(super) fn start(&self, pid: u32) -> Option<u64> {
        self.rows.process(pid).map(|process| process.start)
    }

    /// Adds the sockets of a process of the pass to `found`, and gives the descriptor at which to
    /// continue, if there are more. `None` if the pass does not have it.
    pub(super) fn scan(&self, pid: u32, found: &mut FdSockets) -> Option<Option<u64>> {
        self.rows.scan(pid, found)
    }

    /// The same from a descriptor on, in a pass of its own. `is_same` gets the start of the
    /// process. If the pass has what comes before, this becomes a part of it.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(super) fn scan_from(
        &mut self,
        (pid, from): (u32, u64),
        is_same: impl Fn(Option<u64>) -> bool,
        found: &mut FdSockets,
    ) -> Result<Option<Option<u64>>, Errno> {
        // The pass over many processes is still needed.
        std::mem::swap(&mut self.rows, &mut self.one);
        let result = self.take_one(pid, from);
        std::mem::swap(&mut self.rows, &mut self.one);
        result?;
        if !is_same(self.one.process(pid).map(|process| process.start)) {
            return Ok(None);
        }
        let next = self.one.scan(pid, found);
        if let Some(process) = self.rows.process_mut(pid)
            && process.next == Some(from)
        {
            process.next = next.flatten();
            self.rows.sockets.append(&mut self.one.sockets);
        }
        Ok(next)
    }

    /// The sockets of the pass in a network namespace that are ESTABLISHED.
    pub(super) fn established(
        &self,
        netns: NetnsId,
        protocol: Protocol,
    ) -> impl Iterator<Item = SocketInode> {
        let is_match = move |socket: &&Socket| {
            (socket.netns, socket.protocol) == (netns, protocol) && socket.state == ESTABLISHED
        };
        self.rows.sockets.iter().filter(is_match).map(|socket| socket.inode)
    }

    /// The TCP sockets of the pass in a network namespace that are in other states.
    pub(super) fn tcp_states(
        &self,
        netns: NetnsId,
    ) -> impl Iterator<Item = (SocketInode, OtherTcpState)> {
        let tcp = self
            .rows
            .sockets
            .iter()
            .filter(move |socket| (socket.netns, socket.protocol) == (netns, Protocol::Tcp));
        tcp.filter_map(|socket| Some((socket.inode, OtherTcpState::from_number(socket.state)?)))
    }
}

impl Rows {
    fn clear(&mut self) {
        self.sockets.clear();
        self.processes.clear();
    }

    /// After a pass.
    fn finish(&mut self) {
        shrink_vec(&mut self.sockets);
        shrink_vec(&mut self.processes);
    }

    fn process(&self, pid: u32) -> Option<&Process> {
        let at = self.processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        self.processes.get(at)
    }

    fn process_mut(&mut self, pid: u32) -> Option<&mut Process> {
        let at = self.processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        self.processes.get_mut(at)
    }

    fn scan(&self, pid: u32, found: &mut FdSockets) -> Option<Option<u64>> {
        let process = self.process(pid)?;
        let sockets = self.sockets.get(process.sockets.clone()).unwrap_or_default();
        found.sockets.extend(sockets.iter().map(|socket| socket.inode));
        found.fds += process.fds;
        Some(process.next)
    }

    /// Adds the rows of a read. False if they are incomplete.
    fn parse(&mut self, rows: &[[u8; ROW]]) -> bool {
        let mut rows = rows.iter();
        while let Some(row) = rows.next() {
            let (pid, netns) = (u32_at(row, 0), NetnsId(u32_at(row, 4)));
            let number = u32_at(row, 8);
            let protocol = match u16::from_ne_bytes([row[12], row[13]]) {
                TCP => Protocol::Tcp,
                UDP => Protocol::Udp,
                UNIX => Protocol::Unix,
                _ => {
                    let Some(rest) = rows.next() else { return false };
                    let next = u64_at(rest, 8);
                    let begin = self.processes.last().map_or(0, |last| last.sockets.end);
                    self.processes.push(Process {
                        pid,
                        netns,
                        fds: number.into(),
                        start: u64_at(rest, 0),
                        next: (next != 0).then_some(next),
                        sockets: begin..self.sockets.len(),
                    });
                    continue;
                }
            };
            self.sockets.push(Socket { inode: number, netns, protocol, state: row[14] });
        }
        true
    }
}

fn u32_at(row: &[u8; ROW], at: usize) -> u32 {
    u32::from_ne_bytes(std::array::from_fn(|index| row[at + index]))
}

fn u64_at(row: &[u8; ROW], at: usize) -> u64 {
    u64::from_ne_bytes(std::array::from_fn(|index| row[at + index]))
}

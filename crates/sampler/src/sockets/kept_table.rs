//! The udp and unix tables of a network namespace, which are read only if a member has run.
//!
//! Such a socket becomes ESTABLISHED, or ceases to be, by a call of a process that holds it:
//! connect(2), socketpair(2), accept(2), close(2). So if the CPU clocks of all members have not
//! moved, the rows of their sockets are those of the last read. Another process can hold the same
//! socket, or connect to a unix datagram socket, which is ESTABLISHED then too; and clocks are late
//! by up to a tick. So the tables are read in some cycles in any case.

use crate::ids::{NetnsId, SocketInode};
use crate::shrink::shrink_vec;
use crate::state::schedule::is_idle_table_due;

/// The rows of a table at its last read.
#[derive(Debug, Default)]
pub(super) struct KeptTable {
    /// Those that are ESTABLISHED.
    sockets: Vec<SocketInode>,
    contradictory: u64,
    is_valid: bool,
}

impl KeptTable {
    /// Whether these rows are those of now.
    pub(super) fn is_current(&self, netns: NetnsId, cycle: u32) -> bool {
        self.is_valid && !is_idle_table_due(netns.0, cycle)
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = SocketInode> {
        self.sockets.iter().copied()
    }

    /// How many rows contradicted others.
    pub(super) fn contradictory(&self) -> u64 {
        self.contradictory
    }

    /// Begins a read.
    pub(super) fn begin(&mut self) {
        self.is_valid = false;
        self.sockets.clear();
    }

    pub(super) fn push(&mut self, inode: SocketInode) {
        self.sockets.push(inode);
    }

    /// All rows were read.
    pub(super) fn finish(&mut self, contradictory: u64) {
        self.contradictory = contradictory;
        self.is_valid = true;
        shrink_vec(&mut self.sockets);
    }

    /// A member has run, so the table is read again.
    pub(super) fn invalidate(&mut self) {
        self.is_valid = false;
    }
}

//! The TCP tables of a network namespace, which are walked only if a socket can have changed
//! its state.
//!
//! The kernel has one hash of the TCP sockets of all namespaces, and every read of a table
//! walks all of it: milliseconds, however few sockets the namespace has. Its counters cost
//! microseconds ([`TcpCounters`]). They show whether a socket can have become, or ceased to
//! be, ESTABLISHED since the last walk:
//!
//! * A connection is made and closed by segments, which are counted. An exception is a socket
//!   that is closed while its last segment cannot be sent yet, or one that is made
//!   ESTABLISHED by `TCP_REPAIR`: `CurrEstab` changes. One that is aborted without a segment
//!   is in `EstabResets`.
//! * The last segment of a change is not always counted before it. An ACK follows each FIN,
//!   so the counters change after it too, and otherwise `CurrEstab` differs from the rows.
//! * accept(2) gives a socket its inode and changes no counter. So a result with a socket that
//!   waits for it does not stand.
//! * `CurrEstab` is the number of ESTABLISHED and CLOSE_WAIT sockets, and 0 means that there
//!   are none. Before Linux 6.10 it was too low by one for each socket that went from SYN_RECV
//!   to CLOSE_WAIT (`TCP_FASTOPEN` alone does that). So it is used only as long as it is the
//!   number of rows.
//!
//! Connections that a network card terminates are not counted, for example. So the tables are
//! walked once in [`TCP_WALK_INTERVAL`] cycles in any case.

use psstat_proc_parse::net::snmp::TcpCounters;

use crate::ids::{NetnsId, ProcessKey, Protocol, SocketInode};
use crate::read::outcome::Outcome;
use crate::read::procfs::ProcDir;
use crate::read::socket_tables::{RowCounts, Shortcuts};
use crate::shrink::shrink_vec;
use crate::source::SocketSource;
use crate::state::schedule::TCP_WALK_INTERVAL;

/// The ESTABLISHED TCP sockets of a namespace.
#[derive(Debug, Default)]
pub(super) struct TcpTable {
    pub(super) netns: NetnsId,
    /// The process through which the tables were read, by pid and inode. Another namespace
    /// can have the same inode, but not while this process is in this one.
    reader: Option<(u32, u64)>,
    /// The sockets of the last walk.
    sockets: Vec<SocketInode>,
    /// They are right as long as these are the counters.
    valid_for: Option<TcpCounters>,
    /// `curr_estab` was the number of rows when both tables were walked.
    is_curr_estab_right: bool,
    /// Only tcp6 had rows in the last walk.
    tcp6_only: bool,
    /// A table was not walked in this cycle.
    pub(super) used_shortcut: bool,
    /// The counters that were read last, the cycle, and the process through which they were read.
    counters: Option<(u32, (u32, u64), TcpCounters)>,
}

impl TcpTable {
    pub(super) fn new(netns: NetnsId) -> TcpTable {
        TcpTable { netns, ..TcpTable::default() }
    }

    /// Whether the sockets of the last walk are those of now. Their counters are kept for
    /// [`read`](Self::read).
    pub(super) fn is_current<S: SocketSource>(
        &mut self,
        source: &mut S,
        (key, process): (ProcessKey, ProcDir),
        cycle: u32,
    ) -> bool {
        let reader = (key.pid, key.inode);
        let Some(now) = source.tcp_counters(process) else { return false };
        self.counters = Some((cycle, reader, now));
        self.reader == Some(reader)
            && self.is_curr_estab_right
            && self.valid_for == Some(now)
            && !self.is_due(cycle)
    }

    /// Notes the counters before the sockets are read in another way; none without a reader.
    pub(super) fn note_counters<S: SocketSource>(
        &mut self,
        source: &mut S,
        reader: Option<(ProcessKey, ProcDir)>,
    ) {
        self.is_curr_estab_right = false;
        self.reader = reader.map(|(key, _)| (key.pid, key.inode));
        self.valid_for = reader.and_then(|(_, process)| source.tcp_counters(process));
    }

    /// Whether they are the same.
    pub(super) fn has_counters<S: SocketSource>(
        &self,
        source: &mut S,
        (key, process): (ProcessKey, ProcDir),
    ) -> bool {
        self.reader == Some((key.pid, key.inode))
            && self.valid_for.is_some()
            && source.tcp_counters(process) == self.valid_for
    }

    fn is_due(&self, cycle: u32) -> bool {
        cycle.wrapping_add(self.netns.0).is_multiple_of(TCP_WALK_INTERVAL)
    }

    /// Calls `found` for each ESTABLISHED socket.
    pub(super) fn read<S: SocketSource>(
        &mut self,
        source: &mut S,
        (key, process): (ProcessKey, ProcDir),
        cycle: u32,
        found: &mut dyn FnMut(SocketInode),
    ) -> Outcome<()> {
        self.used_shortcut = false;
        let reader = Some((key.pid, key.inode));
        let known =
            self.counters.take().filter(|known| (known.0, Some(known.1)) == (cycle, reader));
        let known = known.map(|(_, _, counters)| counters);
        let Some(now) = known.or_else(|| source.tcp_counters(process)) else {
            // Or the process has exited.
            return self.walk(source, process, Shortcuts::NONE, found).map(drop);
        };
        if std::mem::replace(&mut self.reader, reader) != reader {
            self.valid_for = None;
            self.is_curr_estab_right = false;
        }
        let is_trusted = self.is_curr_estab_right && !self.is_due(cycle);
        if is_trusted {
            if now.curr_estab == 0 {
                self.sockets.clear();
                self.valid_for = Some(now);
            }
            if self.valid_for == Some(now) {
                self.used_shortcut = true;
                self.sockets.iter().for_each(|&inode| found(inode));
                return Outcome::Value(());
            }
        }
        self.valid_for = None;
        let mut sockets = std::mem::take(&mut self.sockets);
        sockets.clear();
        let tcp = is_trusted.then_some(now);
        let shortcuts = Shortcuts { tcp, tcp6_first: self.tcp6_only, udp: false };
        let outcome = self.walk(source, process, shortcuts, &mut |inode| {
            sockets.push(inode);
            found(inode);
        });
        shrink_vec(&mut sockets);
        self.sockets = sockets;
        outcome.map(|rows| {
            self.tcp6_only = rows.tcp6_only;
            self.used_shortcut = rows.is_partial;
            if rows.open == now.curr_estab {
                self.is_curr_estab_right = true;
                self.valid_for = (rows.unaccepted == 0).then_some(now);
            } else if source.tcp_counters(process) == Some(now) {
                self.is_curr_estab_right = false;
            }
        })
    }

    /// Walks both tables again, because a socket is missing.
    pub(super) fn read_again<S: SocketSource>(
        &mut self,
        source: &mut S,
        process: ProcDir,
        found: &mut dyn FnMut(SocketInode),
    ) -> Outcome<()> {
        self.valid_for = None;
        self.used_shortcut = false;
        self.walk(source, process, Shortcuts::NONE, found).map(drop)
    }

    fn walk<S: SocketSource>(
        &self,
        source: &mut S,
        process: ProcDir,
        shortcuts: Shortcuts,
        found: &mut dyn FnMut(SocketInode),
    ) -> Outcome<RowCounts> {
        source.established(process, self.netns, Protocol::Tcp, shortcuts, found)
    }
}

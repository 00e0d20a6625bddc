//! `/proc/PID/net/snmp`: the counters of a network namespace, by the names of RFC 4022.
//! See proc_pid_net(5) and the kernel's `networking/snmp_counter.rst`.

use nom::branch::alt;
use nom::combinator::map;
use nom::sequence::{preceded, terminated};

use super::line_with;
use crate::error::{Error, ProcFile, parse};
use crate::leaf::{Grammar, after_space, inlined, line_end, skipped, space, unsigned, until, word};
use crate::record::record;

/// The names of the columns, in the line before the values. Later kernels add more.
const NAMES: &[u8; 141] = b"Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens \
    AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts";

record! {
    /// The counters of TCP over IPv4 and IPv6, since the start of the namespace.
    ///
    /// All exist since Linux 2.6. They have the width of a `long` and wrap around.
    ///
    /// ```
    /// use psstat_proc_parse::net::snmp::TcpCounters;
    ///
    /// let tcp = TcpCounters::parse(
    ///     b"Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails \
    ///       EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n\
    ///       Tcp: 1 200 120000 -1 9 4 0 1 2 5087 5069 2 0 60 0\n",
    /// )?;
    /// assert_eq!((tcp.active_opens, tcp.curr_estab, tcp.in_segs), (9, 2, 5087));
    /// # Ok::<(), psstat_proc_parse::Error>(())
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct TcpCounters, grammar tcp_counters of Snmp {
        /// connections that were begun by connect(2): SYN segments sent, without
        /// repetitions.
        1 active_opens: u64 = preceded((names(), constants()), number());
        /// sockets that were created for a connection from outside.
        2 passive_opens: u64 = number();
        /// attempts to connect, in either direction, that failed.
        3 attempt_fails: u64 = number();
        /// sockets that went from ESTABLISHED or CLOSE_WAIT directly to CLOSE: both ends of
        /// an aborted connection.
        4 estab_resets: u64 = number();
        /// sockets that are ESTABLISHED or CLOSE_WAIT now, including those that wait for
        /// accept(2).
        5 curr_estab: u64 = number();
        /// received segments, including invalid ones.
        6 in_segs: u64 = number();
        /// sent segments, without those that only repeat data.
        7 out_segs: u64 = number();
        /// segments that were sent again.
        8 retrans_segs: u64 = number();
        /// invalid received segments.
        9 in_errs: u64 = number();
        /// sent RST segments.
        10 out_rsts: u64 = terminated(number(), alt((space(), line_end())));
    }
}

impl TcpCounters {
    /// Parses the lines of TCP and ignores the other ones.
    ///
    /// # Errors
    /// If the lines are missing, if the names are others or in another order, if a value is
    /// malformed or larger than 64 bits, or if the text ends right after the last one.
    #[inline]
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        parse(ProcFile::Snmp, text, inlined(tcp_counters))
    }
}

/// The line of the names, after any number of other lines.
#[inline(always)]
fn names<'a>() -> impl Grammar<'a, ()> {
    map((line_with(word(NAMES)), until(b'\n'), line_end()), |_| ())
}

/// The values that depend on the kernel alone; `MaxConn` is -1.
#[inline(always)]
fn constants<'a>() -> impl Grammar<'a, ()> {
    let constant = || (space(), skipped());
    map((word(b"Tcp:"), constant(), constant(), constant(), constant()), |_| ())
}

/// ` %lu`
#[inline(always)]
fn number<'a>() -> impl Grammar<'a, u64> {
    after_space(unsigned())
}

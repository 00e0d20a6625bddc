//! `/proc/PID/net/sockstat` and `sockstat6`: the numbers of sockets of a network namespace.
//! See proc_pid_net(5).

use nom::Parser;
use nom::branch::alt;
use nom::sequence::terminated;

use super::line_with;
use crate::error::{Error, Field, ParseResult, ProcFile, field, parse};
use crate::leaf::{inlined, line_end, space, unsigned, word};

pub(crate) const FIELDS: [&str; 1] = ["UDP inuse"];
const UDP: Field = Field(ProcFile::SockStat, 1);

/// How many UDP sockets of the namespace have a port: those in `net/udp` (of `sockstat`) or
/// in `net/udp6` (of `sockstat6`).
///
/// ```
/// use psstat_proc_parse::net::sockstat::udp_in_use;
///
/// assert_eq!(udp_in_use(b"sockets: used 9\nTCP: inuse 1 orphan 0\nUDP: inuse 3 mem 0\n")?, 3);
/// assert_eq!(udp_in_use(b"TCP6: inuse 1\nUDP6: inuse 0\n")?, 0);
/// # Ok::<(), psstat_proc_parse::Error>(())
/// ```
///
/// # Errors
/// If the line of UDP is missing or malformed, or if it ends right after the number.
#[inline]
pub fn udp_in_use(text: &[u8]) -> Result<u64, Error> {
    parse(ProcFile::SockStat, text, inlined(in_use))
}

/// The grammar of [`udp_in_use`].
///
/// # Errors
/// As [`udp_in_use`].
pub fn in_use(input: &[u8]) -> ParseResult<'_, u64> {
    let key = line_with(alt((word(b"UDP: inuse "), word(b"UDP6: inuse "))));
    let number = terminated(unsigned(), alt((space(), line_end())));
    field(UDP, nom::sequence::preceded(key, number)).parse_complete(input)
}

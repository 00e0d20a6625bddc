//! `/proc/PID/statm`: memory in pages. See proc_pid_statm(5).

use nom::branch::alt;
use nom::combinator::{map, value};
use nom::sequence::terminated;

use crate::error::{Error, ProcFile, parse};
use crate::leaf::{after_space, inlined, line_end, unsigned, word, zero_or_unsigned};
use crate::record::record;
use crate::units::Pages;

record! {
    /// The memory of a process, in pages.
    ///
    /// All seven fields exist since Linux 2.6. For a kernel thread or a zombie
    /// all are zero. Before Linux 6.2, `resident` is kept per thread and may be
    /// off by dozens of pages per thread.
    ///
    /// ```
    /// use psstat_proc_parse::{Pages, Statm};
    ///
    /// let statm = Statm::parse(b"765 406 377 5 0 123 0\n")?;
    /// assert_eq!((statm.size, statm.resident), (Pages(765), Pages(406)));
    /// # Ok::<(), psstat_proc_parse::Error>(())
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Statm, grammar statm of Statm {
        /// total program size; `VmSize` of `status`.
        1 size: Pages = map(unsigned(), Pages);
        /// resident set size; `VmRSS` of `status`.
        2 resident: Pages = after_space(map(unsigned(), Pages));
        /// resident pages backed by a file or by shared memory; `RssFile` +
        /// `RssShmem` of `status`.
        3 shared: Pages = after_space(map(unsigned(), Pages));
        /// code.
        4 text: Pages = after_space(map(unsigned(), Pages));
        /// always 0 since Linux 2.6.
        5 lib: Pages = after_space(map(zero_or_unsigned(), Pages));
        /// data and stack.
        6 data: Pages = after_space(map(unsigned(), Pages));
        /// always 0 since Linux 2.6.
        7 dt: Pages = alt((
            value(Pages(0), word(b" 0\n")),
            terminated(after_space(map(unsigned(), Pages)), line_end()),
        ));
    }
}

impl Statm {
    /// Parses the line.
    ///
    /// # Errors
    /// If one of the seven numbers is missing, malformed or larger than 64 bits,
    /// or if the line does not end, as in truncated text.
    #[inline]
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        parse(ProcFile::Statm, text, inlined(statm))
    }
}

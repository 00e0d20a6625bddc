//! `/proc/PID/statm`: memory in pages. See proc_pid_statm(5).

use nom::branch::alt;
use nom::combinator::value;
use nom::sequence::terminated;

use crate::error::{Error, ProcFile, parse};
use crate::leaf::{after_space, inlined, line_end, unsigned, word, zero_or_unsigned};
use crate::record::record;

record! {
    /// The memory of a process, in pages of `sysconf(_SC_PAGESIZE)` bytes.
    ///
    /// All seven fields exist since Linux 2.6. For a kernel thread or a zombie
    /// all are zero. Before Linux 6.2, `resident` is kept per thread and may be
    /// off by dozens of pages per thread.
    ///
    /// ```
    /// let statm = psstat_proc_parse::Statm::parse(b"765 406 377 5 0 123 0\n")?;
    /// assert_eq!((statm.size, statm.resident), (765, 406));
    /// # Ok::<(), psstat_proc_parse::Error>(())
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Statm, grammar statm of Statm {
        /// total program size; `VmSize` of `status`.
        1 size: u64 = unsigned();
        /// resident set size; `VmRSS` of `status`.
        2 resident: u64 = after_space(unsigned());
        /// resident pages backed by a file or by shared memory; `RssFile` +
        /// `RssShmem` of `status`.
        3 shared: u64 = after_space(unsigned());
        /// code.
        4 text: u64 = after_space(unsigned());
        /// always 0 since Linux 2.6.
        5 lib: u64 = after_space(zero_or_unsigned());
        /// data and stack.
        6 data: u64 = after_space(unsigned());
        /// always 0 since Linux 2.6.
        7 dt: u64 = alt((
            value(0, word(b" 0\n")),
            terminated(after_space(unsigned()), line_end()),
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

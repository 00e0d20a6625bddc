//! `/proc/PID/statm`: memory in pages. See proc_pid_statm(5).

use crate::cursor::Cursor;
use crate::error::{Error, Expected, File};

pub(crate) const FIELDS: [&str; 7] = ["size", "resident", "shared", "text", "lib", "data", "dt"];

/// The memory of a process, in pages (`sysconf(_SC_PAGESIZE)` bytes each).
///
/// All seven fields are there since Linux 2.6. A kernel thread or a zombie has
/// seven zeros. Kernels before 6.2 keep `resident` per thread and may be off by
/// some dozens of pages a thread.
///
/// ```
/// let statm = psstat_proc_parse::Statm::parse(b"765 406 377 5 0 123 0\n")?;
/// assert_eq!((statm.size, statm.resident), (765, 406));
/// # Ok::<(), psstat_proc_parse::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Statm {
    /// Total program size; `VmSize` of `status`.
    pub size: u64,
    /// Resident set size; `VmRSS` of `status`.
    pub resident: u64,
    /// Resident pages backed by a file; `RssFile` + `RssShmem` of `status`.
    pub shared: u64,
    /// Code.
    pub text: u64,
    /// Always 0 since Linux 2.6.
    pub lib: u64,
    /// Data and stack.
    pub data: u64,
    /// Always 0 since Linux 2.6.
    pub dt: u64,
}

impl Statm {
    /// Reads the whole line, its line end included.
    ///
    /// # Errors
    /// If one of the seven numbers is missing, is no number or does not fit 64
    /// bits, or if the line has no end, as when it was cut off.
    #[inline]
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let mut at = Cursor::new(File::Statm, text);
        let size = at.u64(1)?;
        let mut values = [0; 6];
        let mut left = &mut values[..];
        loop {
            let read = at.common_fields(left);
            left = left.get_mut(read..).unwrap_or_default();
            let field = FIELDS.len() - left.len() + 1;
            let Some((value, more)) = left.split_first_mut() else { break };
            at.byte(field as u8, b' ', Expected::Separator)?;
            *value = at.u64(field as u8)?;
            left = more;
        }
        at.byte(7, b'\n', Expected::LineEnd)?;
        let [resident, shared, text, lib, data, dt] = values;
        Ok(Self { size, resident, shared, text, lib, data, dt })
    }
}

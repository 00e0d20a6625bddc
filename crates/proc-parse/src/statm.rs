//! `/proc/PID/statm`: memory in pages. See proc_pid_statm(5).

use crate::cursor::Cursor;
use crate::error::{Error, Expected, ProcFile};
use crate::number;

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
#[non_exhaustive]
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
        match Self::read_usual(text) {
            Some(read) => Ok(read),
            None => Self::read_any(text),
        }
    }

    /// `lib` and `dt` are 0, so the numbers before them end in a fixed way, and
    /// that of `data` can be read from its end. `None` says nothing:
    /// [`Statm::read_any`] says what it is.
    #[inline(always)]
    fn read_usual(text: &[u8]) -> Option<Self> {
        let before_dt = text.strip_suffix(b" 0\n")?;
        let (size, rest) = number::up_to_eight(text)?;
        let (resident, rest) = number::up_to_eight(rest.strip_prefix(b" ")?)?;
        let (shared, rest) = number::up_to_eight(rest.strip_prefix(b" ")?)?;
        let (text, rest) = number::up_to_eight(rest.strip_prefix(b" ")?)?;
        let data = rest.strip_prefix(b" 0 ")?.len().checked_sub(b" 0\n".len())?;
        let data = number::last_digits(before_dt, data)?;
        Some(Self { size, resident, shared, text, lib: 0, data, dt: 0 })
    }

    /// Whatever the line holds, and what is wrong with it.
    #[inline(never)]
    fn read_any(text: &[u8]) -> Result<Self, Error> {
        let mut at = Cursor::new(ProcFile::Statm, text);
        let mut values = [0; FIELDS.len()];
        for (field, value) in (1..).zip(&mut values) {
            if field > 1 {
                at.byte(field, b' ', Expected::Separator)?;
            }
            *value = at.u64(field)?;
        }
        at.byte(7, b'\n', Expected::LineEnd)?;
        let [size, resident, shared, text, lib, data, dt] = values;
        Ok(Self { size, resident, shared, text, lib, data, dt })
    }
}

//! The seven io counters as one value.

use psstat_proc_parse::Io;

/// The counters of `/proc/PID/io` (bytes; `syscr` and `syscw`: calls), or sums and
/// differences of such counters.
///
/// Signed, because differences are attributed and because old kernels can print a
/// negative `cancelled_write_bytes`; sums saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounters {
    /// Bytes passed to read(2) and similar calls.
    pub rchar: i64,
    /// Bytes passed to write(2) and similar calls.
    pub wchar: i64,
    /// Calls of read(2) and similar ones.
    pub syscr: i64,
    /// Calls of write(2) and similar ones.
    pub syscw: i64,
    /// Bytes fetched from the storage layer.
    pub read_bytes: i64,
    /// Bytes sent to the storage layer.
    pub write_bytes: i64,
    /// Bytes of dirty page cache that the process truncated before they were written, whichever
    /// process wrote them.
    pub cancelled_write_bytes: i64,
}

impl IoCounters {
    /// All zero.
    pub(crate) const ZERO: IoCounters = IoCounters {
        rchar: 0,
        wchar: 0,
        syscr: 0,
        syscw: 0,
        read_bytes: 0,
        write_bytes: 0,
        cancelled_write_bytes: 0,
    };

    fn zip(self, other: IoCounters, with: impl Fn(i64, i64) -> i64) -> IoCounters {
        IoCounters {
            rchar: with(self.rchar, other.rchar),
            wchar: with(self.wchar, other.wchar),
            syscr: with(self.syscr, other.syscr),
            syscw: with(self.syscw, other.syscw),
            read_bytes: with(self.read_bytes, other.read_bytes),
            write_bytes: with(self.write_bytes, other.write_bytes),
            cancelled_write_bytes: with(self.cancelled_write_bytes, other.cancelled_write_bytes),
        }
    }

    /// The sum, counter by counter.
    #[must_use]
    pub fn saturating_add(self, other: IoCounters) -> IoCounters {
        self.zip(other, i64::saturating_add)
    }

    /// The difference, counter by counter.
    #[must_use]
    pub fn saturating_sub(self, other: IoCounters) -> IoCounters {
        self.zip(other, i64::saturating_sub)
    }

    /// The larger of both, counter by counter.
    #[must_use]
    pub(crate) fn max(self, other: IoCounters) -> IoCounters {
        self.zip(other, i64::max)
    }

    /// The smaller of the value and a limit, counter by counter.
    #[must_use]
    pub(crate) fn clamp_to(self, limit: IoCounters) -> IoCounters {
        self.zip(limit, i64::min)
    }

    /// Whether every counter is at least the other's.
    pub(crate) fn all_ge(self, other: IoCounters) -> bool {
        self.max(other) == self
    }
}

impl From<Io> for IoCounters {
    fn from(io: Io) -> IoCounters {
        let signed = |counter| i64::try_from(counter).unwrap_or(i64::MAX);
        IoCounters {
            rchar: signed(io.rchar),
            wchar: signed(io.wchar),
            syscr: signed(io.syscr),
            syscw: signed(io.syscw),
            read_bytes: signed(io.read_bytes),
            write_bytes: signed(io.write_bytes),
            cancelled_write_bytes: io.cancelled_write_bytes,
        }
    }
}

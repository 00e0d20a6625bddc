//! Page faults of processes and of the children that they reaped.

/// Page faults of all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultCounts {
    /// Without a read from storage.
    pub minor: u64,
    /// With a read from storage.
    pub major: u64,
}

impl FaultCounts {
    pub(crate) const ZERO: FaultCounts = FaultCounts { minor: 0, major: 0 };

    pub(crate) fn plus(self, other: FaultCounts) -> FaultCounts {
        FaultCounts {
            minor: self.minor.saturating_add(other.minor),
            major: self.major.saturating_add(other.major),
        }
    }
}

/// The page faults of a process in the ledger: its own and those of the children that it reaped, or
/// sums and differences of such numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FaultCounters {
    minor: i64,
    major: i64,
    child_minor: i64,
    child_major: i64,
}

impl FaultCounters {
    pub(crate) fn new(own: FaultCounts, children: FaultCounts) -> FaultCounters {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        FaultCounters {
            minor: signed(own.minor),
            major: signed(own.major),
            child_minor: signed(children.minor),
            child_major: signed(children.major),
        }
    }

    pub(crate) fn zip(self, other: FaultCounters, with: impl Fn(i64, i64) -> i64) -> FaultCounters {
        FaultCounters {
            minor: with(self.minor, other.minor),
            major: with(self.major, other.major),
            child_minor: with(self.child_minor, other.child_minor),
            child_major: with(self.child_major, other.child_major),
        }
    }

    /// Only those of children.
    pub(crate) fn of_children(self) -> FaultCounters {
        FaultCounters { minor: 0, major: 0, ..self }
    }

    /// All of them as those of a child.
    pub(crate) fn as_inherited(self) -> FaultCounters {
        FaultCounters {
            minor: 0,
            major: 0,
            child_minor: self.minor.saturating_add(self.child_minor),
            child_major: self.major.saturating_add(self.child_major),
        }
    }

    /// Its own and those of children together.
    pub(crate) fn counts(self) -> FaultCounts {
        let unsigned = |count: i64| u64::try_from(count).unwrap_or(0);
        let FaultCounters { child_minor, child_major, .. } = self.as_inherited();
        FaultCounts { minor: unsigned(child_minor), major: unsigned(child_major) }
    }
}

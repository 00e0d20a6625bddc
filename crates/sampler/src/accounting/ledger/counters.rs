//! The counters that a ledger can keep.

use std::fmt::Debug;

use crate::cpu_time::CpuCounters;
use crate::fault_counts::FaultCounters;
use crate::io_counters::IoCounters;

/// The counters of a process, or sums and differences of such counters. A part of them, or all,
/// grows by those of a child when the process reaps it.
pub(crate) trait Counters: Copy + Debug + Default + PartialEq {
    #[must_use]
    fn saturating_add(self, other: Self) -> Self;

    #[must_use]
    fn saturating_sub(self, other: Self) -> Self;

    /// The smaller of the value and a limit.
    #[must_use]
    fn clamp_to(self, limit: Self) -> Self;

    /// Zero instead of what is less.
    #[must_use]
    fn or_zero(self) -> Self;

    /// Whether it is large enough to contain the other.
    fn all_ge(self, other: Self) -> bool;

    /// The part that children can have caused.
    #[must_use]
    fn of_children(self) -> Self;

    /// These of a child as the kernel adds them to those of the process that reaps it.
    #[must_use]
    fn as_inherited(self) -> Self;

    /// This with the part of `children` that children can have caused.
    #[must_use]
    fn with_children_of(self, children: Self) -> Self {
        self.saturating_sub(self.of_children()).saturating_add(children.of_children())
    }
}

/// Each counter is compared and limited on its own. The kernel does not distinguish what a process
/// did from what its children did.
impl Counters for IoCounters {
    fn saturating_add(self, other: Self) -> Self {
        self.saturating_add(other)
    }

    fn saturating_sub(self, other: Self) -> Self {
        self.saturating_sub(other)
    }

    fn clamp_to(self, limit: Self) -> Self {
        self.clamp_to(limit)
    }

    fn or_zero(self) -> Self {
        self.max(IoCounters::ZERO)
    }

    fn all_ge(self, other: Self) -> bool {
        self.all_ge(other)
    }

    fn of_children(self) -> Self {
        self
    }

    fn as_inherited(self) -> Self {
        self
    }
}

/// Each counter is compared and limited on its own: the kernel shows all of them exactly.
impl Counters for FaultCounters {
    fn saturating_add(self, other: Self) -> Self {
        self.zip(other, i64::saturating_add)
    }

    fn saturating_sub(self, other: Self) -> Self {
        self.zip(other, i64::saturating_sub)
    }

    fn clamp_to(self, limit: Self) -> Self {
        self.zip(limit, i64::min)
    }

    fn or_zero(self) -> Self {
        self.zip(FaultCounters::default(), i64::max)
    }

    fn all_ge(self, other: Self) -> bool {
        self.zip(other, i64::max) == self
    }

    fn of_children(self) -> Self {
        self.of_children()
    }

    fn as_inherited(self) -> Self {
        self.as_inherited()
    }
}

/// Only the sum of all times is compared and limited: how the kernel divides the time of a child
/// into user and system time is not known before its parent shows it.
impl Counters for CpuCounters {
    fn saturating_add(self, other: Self) -> Self {
        self.zip(other, i64::saturating_add)
    }

    fn saturating_sub(self, other: Self) -> Self {
        self.zip(other, i64::saturating_sub)
    }

    fn clamp_to(self, limit: Self) -> Self {
        if self.total() <= limit.total() { self } else { limit }
    }

    fn or_zero(self) -> Self {
        if self.total() < 0 { CpuCounters::default() } else { self }
    }

    fn all_ge(self, other: Self) -> bool {
        self.total() >= other.total()
    }

    fn of_children(self) -> Self {
        CpuCounters { user: 0, system: 0, ..self }
    }

    fn as_inherited(self) -> Self {
        CpuCounters {
            user: 0,
            system: 0,
            child_user: self.all_user(),
            child_system: self.system.saturating_add(self.child_system),
        }
    }
}

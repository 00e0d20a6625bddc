//! The numbers of processes by state.

use psstat_proc_parse::ProcessState;

/// Processes by the state of their main thread, or, if that has exited, of their first living one.
/// For a process, one of them is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateCounts {
    /// On a CPU or waiting for one (`R`).
    pub running: u64,
    /// Waiting for an event (`S`, and any state without a name here).
    pub sleeping: u64,
    /// Waiting without being interruptible, usually for storage (`D`).
    pub disk: u64,
    /// Stopped by a signal (`T`) or by a tracer (`t`).
    pub stopped: u64,
    /// For an image: processes that have exited and that a process of the image has not yet waited
    /// for, whether they belonged to an image or not. 0 for a process.
    pub zombie: u64,
}

impl StateCounts {
    pub(crate) const ZERO: StateCounts =
        StateCounts { running: 0, sleeping: 0, disk: 0, stopped: 0, zombie: 0 };

    /// A process in this state.
    pub(crate) fn one(state: ProcessState) -> StateCounts {
        let mut counts = StateCounts::default();
        *match state {
            ProcessState::Running => &mut counts.running,
            ProcessState::DiskSleep => &mut counts.disk,
            ProcessState::Stopped | ProcessState::TracingStop => &mut counts.stopped,
            _ => &mut counts.sleeping,
        } = 1;
        counts
    }

    pub(crate) fn plus(self, other: StateCounts) -> StateCounts {
        StateCounts {
            running: self.running + other.running,
            sleeping: self.sleeping + other.sleeping,
            disk: self.disk + other.disk,
            stopped: self.stopped + other.stopped,
            zombie: self.zombie + other.zombie,
        }
    }
}

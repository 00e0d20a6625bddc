//! Processes that exited.

use crate::table::row::ProcessId;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// With this status.
    Exited(u8),
    /// By this signal.
    Signaled {
        /// The signal.
        signal: u8,
        /// Whether it dumped its core.
        has_core: bool,
    },
    /// It still runs, but in no image of the recording.
    Left,
    /// The kernel did not report it to the recorder.
    Unknown,
}

impl ExitStatus {
    /// Whether it ended with status 0.
    pub fn is_success(self) -> bool {
        self == ExitStatus::Exited(0)
    }

    /// The status that `wait` returns.
    pub(super) fn of_wait(status: u32) -> ExitStatus {
        match status & 0x7f {
            0 => ExitStatus::Exited((status >> 8) as u8),
            signal => ExitStatus::Signaled { signal: signal as u8, has_core: status & 0x80 != 0 },
        }
    }

    pub(super) fn number(self) -> u128 {
        match self {
            ExitStatus::Unknown => 0,
            ExitStatus::Left => 1,
            ExitStatus::Exited(status) => 2 | u128::from(status) << 2,
            ExitStatus::Signaled { signal, has_core } => {
                3 | u128::from(has_core) << 2 | u128::from(signal) << 3
            }
        }
    }

    pub(super) fn of_number(number: u128) -> ExitStatus {
        match number & 3 {
            0 => ExitStatus::Unknown,
            1 => ExitStatus::Left,
            2 => ExitStatus::Exited((number >> 2) as u8),
            _ => ExitStatus::Signaled { signal: (number >> 3) as u8, has_core: number & 4 != 0 },
        }
    }
}

/// A process that is no longer in the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Exit {
    /// How it ended.
    pub status: ExitStatus,
    /// The process, without values that change.
    pub id: ProcessId,
    /// The images that it had.
    pub images: Vec<String>,
}

/// A process that started and exited between two frames, so that it has no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortLived {
    /// Its pid.
    pub pid: u32,
    /// The process that started it.
    pub parent: u32,
    /// How it ended.
    pub status: ExitStatus,
}

/// The processes that ended between two frames.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exits {
    /// Those of the previous frame.
    pub exits: Vec<Exit>,
    /// Those that were in no frame, at most [`MAX_SHORT_LIVED`].
    pub short_lived: Vec<ShortLived>,
    /// The number of those that were in no frame.
    pub short_lived_count: u64,
    /// Whether the kernel reports exits to the recorder.
    pub are_reported: bool,
}

/// Maximum of [`Exits::short_lived`].
pub const MAX_SHORT_LIVED: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        assert_eq!(ExitStatus::of_wait(0x700), ExitStatus::Exited(7));
        assert_eq!(ExitStatus::of_wait(9), ExitStatus::Signaled { signal: 9, has_core: false });
        assert_eq!(ExitStatus::of_wait(0x8b), ExitStatus::Signaled { signal: 11, has_core: true });
        for status in [0, 0x100, 0xff00, 9, 0x8b, 64] {
            let status = ExitStatus::of_wait(status);
            assert_eq!(ExitStatus::of_number(status.number()), status);
        }
        for status in [ExitStatus::Left, ExitStatus::Unknown] {
            assert_eq!(ExitStatus::of_number(status.number()), status);
        }
    }
}

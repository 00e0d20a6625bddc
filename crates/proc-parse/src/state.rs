//! The state of a process, one letter in `stat` and `status`.

use core::fmt;

/// The state of a process.
///
/// `Display` writes the word that `status` has after the letter: `sleeping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProcessState {
    /// `R`: running or runnable.
    Running,
    /// `S`: interruptible sleep.
    Sleeping,
    /// `D`: uninterruptible sleep, usually disk I/O.
    DiskSleep,
    /// `T`: stopped by a signal.
    Stopped,
    /// `t`: stopped by a tracer (Linux 2.6.33).
    TracingStop,
    /// `Z`: exited but not yet reaped.
    Zombie,
    /// `X`: being removed.
    Dead,
    /// `I`: idle kernel thread (Linux 4.14).
    Idle,
    /// `P`: parked kernel thread (Linux 3.9 to 3.13, and since 4.14).
    Parked,
    /// Any other letter. Older kernels had `W`, `K` and `x`.
    Other(u8),
}

impl ProcessState {
    /// The letter that the kernel prints.
    #[must_use]
    pub const fn as_byte(self) -> u8 {
        match self {
            Self::Running => b'R',
            Self::Sleeping => b'S',
            Self::DiskSleep => b'D',
            Self::Stopped => b'T',
            Self::TracingStop => b't',
            Self::Zombie => b'Z',
            Self::Dead => b'X',
            Self::Idle => b'I',
            Self::Parked => b'P',
            Self::Other(letter) => letter,
        }
    }
}

impl From<u8> for ProcessState {
    #[inline]
    fn from(letter: u8) -> Self {
        match letter {
            b'R' => Self::Running,
            b'S' => Self::Sleeping,
            b'D' => Self::DiskSleep,
            b'T' => Self::Stopped,
            b't' => Self::TracingStop,
            b'Z' => Self::Zombie,
            b'X' => Self::Dead,
            b'I' => Self::Idle,
            b'P' => Self::Parked,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for ProcessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::DiskSleep => "disk sleep",
            Self::Stopped => "stopped",
            Self::TracingStop => "tracing stop",
            Self::Zombie => "zombie",
            Self::Dead => "dead",
            Self::Idle => "idle",
            Self::Parked => "parked",
            Self::Other(_) => "unknown",
        })
    }
}

//! What a process does, as one letter of `stat` and `status`.

/// A process's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// `R`: running, or ready to.
    Running,
    /// `S`: sleeping; a signal wakes it.
    Sleeping,
    /// `D`: sleeping; no signal wakes it. Usually waiting for a disk.
    DiskSleep,
    /// `T`: stopped by a signal.
    Stopped,
    /// `t`: stopped by a tracer (Linux 2.6.33).
    TracingStop,
    /// `Z`: it has ended and nobody waited for it yet.
    Zombie,
    /// `X`: it is being removed.
    Dead,
    /// `I`: an idle kernel thread (Linux 4.14).
    Idle,
    /// `P`: a parked kernel thread (Linux 3.9 to 3.13, and since 4.14).
    Parked,
    /// A letter of another kernel: `W`, `K` and `x` were such.
    Other(u8),
}

impl State {
    /// The state that `letter` stands for.
    #[must_use]
    pub const fn from_byte(letter: u8) -> Self {
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

    /// The letter, as the kernel prints it.
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

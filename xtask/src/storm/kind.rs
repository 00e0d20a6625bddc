//! The ways in which processes of a storm begin and end, each in an image of
//! its own.

use std::time::Duration;

use crate::Result;

/// How long the lasting kinds live: over two cycles of a second.
pub(crate) const LASTING: Duration = Duration::from_millis(2500);

/// A way to live and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Forked and reaped by a parent of the image.
    Inside,
    /// Forked by a parent of the image that ignores SIGCHLD.
    Ignored,
    /// Started by a stranger, live for 20 ms, reaped at once.
    Brief,
    /// Started by a stranger, live for 2.5 s, reaped at once.
    Lasting,
    /// The same, but zombies for 2.5 s.
    Lingering,
    /// Forked by a parent of the image that ends first; live for 2.5 s.
    Orphan,
    /// Subshells of a shell, which also starts a program outside the image.
    Shell,
    /// Started by a stranger; become [`Kind::Arriving`] by exec after 2.5 s.
    Leaving,
    /// What they are then: they stand still until that must have been noticed,
    /// write as much again, and live for 2.5 s more.
    Arriving,
}

/// When a process writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// At once: who lives on for two cycles was read after it.
    Early,
    /// Half of it at once, and half at its end.
    Halves,
}

impl Kind {
    pub(crate) const ALL: [Kind; 9] = [
        Kind::Inside,
        Kind::Ignored,
        Kind::Brief,
        Kind::Lasting,
        Kind::Lingering,
        Kind::Orphan,
        Kind::Shell,
        Kind::Leaving,
        Kind::Arriving,
    ];

    /// Its place among all.
    pub(crate) fn number(self) -> u64 {
        Kind::ALL.iter().position(|&other| other == self).unwrap_or_default() as u64
    }

    /// The kind with this number.
    pub(crate) fn of(number: u64) -> Result<Kind> {
        let kind = Kind::ALL.get(usize::try_from(number)?);
        Ok(*kind.ok_or("no such kind")?)
    }

    /// The kind whose driver starts its processes.
    pub(crate) fn driven_by(self) -> Kind {
        if self == Kind::Arriving { Kind::Leaving } else { self }
    }

    /// The image's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Inside => "inside",
            Kind::Ignored => "ignored",
            Kind::Brief => "brief",
            Kind::Lasting => "lasting",
            Kind::Lingering => "lingering",
            Kind::Orphan => "orphan",
            Kind::Shell => "shell",
            Kind::Leaving => "leaving",
            Kind::Arriving => "arriving",
        }
    }

    /// Its share of the forks, in percent.
    pub(crate) fn share(self) -> u64 {
        match self {
            Kind::Inside => 23,
            Kind::Shell => 20,
            Kind::Ignored | Kind::Brief => 15,
            Kind::Orphan => 10,
            Kind::Lasting => 8,
            Kind::Lingering => 7,
            Kind::Leaving => 2,
            Kind::Arriving => 0,
        }
    }

    /// Forks for each process that writes: an orphan has a parent of its own,
    /// and the shell's loop starts `sleep` too.
    pub(crate) fn forks(self) -> u64 {
        if matches!(self, Kind::Orphan | Kind::Shell) { 2 } else { 1 }
    }

    /// How long its processes live, in turn.
    pub(crate) fn lives(self) -> &'static [Duration] {
        const MIXED: [Duration; 4] = [
            Duration::ZERO,
            Duration::from_millis(50),
            Duration::from_millis(400),
            Duration::from_millis(1500),
        ];
        match self {
            Kind::Inside | Kind::Ignored => &MIXED,
            Kind::Brief => const { &[Duration::from_millis(20)] },
            Kind::Lasting | Kind::Lingering | Kind::Orphan | Kind::Leaving | Kind::Arriving => {
                &[LASTING]
            }
            Kind::Shell => &[Duration::ZERO],
        }
    }

    /// When they write.
    pub(crate) fn when(self) -> When {
        match self {
            Kind::Lasting | Kind::Orphan | Kind::Leaving | Kind::Arriving => When::Early,
            Kind::Inside | Kind::Ignored | Kind::Brief | Kind::Lingering | Kind::Shell => {
                When::Halves
            }
        }
    }

    /// Whether the parent belongs to the image.
    pub(crate) fn has_parent_inside(self) -> bool {
        matches!(self, Kind::Inside | Kind::Ignored | Kind::Shell)
    }

    /// Whether anything of what was written may be lost.
    pub(crate) fn may_lose(self) -> bool {
        matches!(self, Kind::Ignored | Kind::Brief)
    }

    /// Why something is lost, or nothing.
    pub(crate) fn why(self) -> &'static str {
        match self {
            Kind::Inside => "the parent of the image has what its children did",
            Kind::Shell => "the shell has what its subshells did",
            Kind::Lingering => "a zombie still shows what it did",
            Kind::Ignored => "nobody reaps them: what followed the last look is gone",
            Kind::Brief => "lived for 20 ms between two looks, reaped by a stranger",
            Kind::Lasting => "was read after it wrote, reaped by a stranger",
            Kind::Orphan => "the same, and their parent had ended",
            Kind::Leaving => "what was done before the exec stays in the image",
            Kind::Arriving => "what was done after it, and before it if nobody looked",
        }
    }

    /// What its processes are called in a storm of this number.
    pub(crate) fn word(self, storm: u64) -> String {
        format!("storm{storm}-{}", self.name())
    }

    /// The rule of its image.
    pub(crate) fn rule(self, storm: u64) -> String {
        match self {
            Kind::Shell => format!("^sh -c .*{} ", self.word(storm)),
            _ => format!("^{} ", self.word(storm)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_all_of_it() {
        assert_eq!(Kind::ALL.map(Kind::share).iter().sum::<u64>(), 100);
    }
}

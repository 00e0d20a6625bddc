//! The ways in which processes of a storm begin and end, each in an image of
//! its own.

use std::time::Duration;

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
}

impl Kind {
    pub(crate) const ALL: [Kind; 7] = [
        Kind::Inside,
        Kind::Ignored,
        Kind::Brief,
        Kind::Lasting,
        Kind::Lingering,
        Kind::Orphan,
        Kind::Shell,
    ];

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
        }
    }

    /// Its share of the forks, in percent.
    pub(crate) fn share(self) -> u64 {
        match self {
            Kind::Inside => 25,
            Kind::Shell => 20,
            Kind::Ignored | Kind::Brief => 15,
            Kind::Orphan => 10,
            Kind::Lasting => 8,
            Kind::Lingering => 7,
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
            Kind::Lasting | Kind::Lingering | Kind::Orphan => &[LASTING],
            Kind::Shell => &[Duration::ZERO],
        }
    }

    /// Whether the parent belongs to the image.
    pub(crate) fn has_parent_inside(self) -> bool {
        matches!(self, Kind::Inside | Kind::Ignored | Kind::Shell)
    }

    /// How many hundredths of what was written may be lost. The lasting write
    /// half of it at their end, after the last look.
    pub(crate) fn may_lose(self) -> u64 {
        match self {
            Kind::Inside | Kind::Shell | Kind::Lingering => 0,
            Kind::Lasting | Kind::Orphan => 50,
            Kind::Ignored | Kind::Brief => 100,
        }
    }

    /// Why something is lost, or nothing.
    pub(crate) fn why(self) -> &'static str {
        match self {
            Kind::Inside => "the parent of the image has what its children did",
            Kind::Shell => "the shell has what its subshells did",
            Kind::Lingering => "a zombie still shows what it did",
            Kind::Ignored => "nobody reaps them: what followed the last look is gone",
            Kind::Brief => "lived for 20 ms between two looks, reaped by a stranger",
            Kind::Lasting => "wrote half of it after the last look, reaped by a stranger",
            Kind::Orphan => "the same, and their parent had ended",
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

//! The ways in which the processes of a fork storm start and exit, one image for each.

use std::time::Duration;

use crate::Result;

/// The lifetime of the long-lived kinds: more than two cycles of one second.
pub(crate) const LONG_LIVED: Duration = Duration::from_millis(2500);

/// A way to start and exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Forked and reaped by a parent in the image.
    Inside,
    /// Forked by a parent in the image that ignores SIGCHLD.
    Ignored,
    /// Started by a parent outside, live for 20 ms, reaped at once.
    Brief,
    /// Started by a parent outside, live for 2.5 s, reaped at once.
    LongLived,
    /// The same, but zombies for 2.5 s.
    Zombie,
    /// Forked by a parent in the image that exits first; live for 2.5 s.
    Orphan,
    /// Subshells of a shell that also starts a program outside the image.
    Shell,
    /// Started by a parent outside; exec into [`Kind::ExecAfter`] after 2.5 s.
    ExecBefore,
    /// Wait until the exec must have been detected, write the same amount again, and live for
    /// another 2.5 s.
    ExecAfter,
}

/// When a process writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// At the start: a process that lives for two more cycles was read after it.
    Start,
    /// One half at the start and one at the end.
    Halves,
}

impl Kind {
    pub(crate) const ALL: [Kind; 9] = [
        Kind::Inside,
        Kind::Ignored,
        Kind::Brief,
        Kind::LongLived,
        Kind::Zombie,
        Kind::Orphan,
        Kind::Shell,
        Kind::ExecBefore,
        Kind::ExecAfter,
    ];

    /// The index in [`Kind::ALL`].
    pub(crate) fn number(self) -> u64 {
        Kind::ALL.iter().position(|&other| other == self).unwrap_or_default() as u64
    }

    /// The kind with this index.
    pub(crate) fn from_number(number: u64) -> Result<Kind> {
        let kind = Kind::ALL.get(usize::try_from(number)?);
        Ok(*kind.ok_or("no such kind")?)
    }

    /// The kind whose driver starts the processes.
    pub(crate) fn driver(self) -> Kind {
        if self == Kind::ExecAfter { Kind::ExecBefore } else { self }
    }

    /// The name of the image.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Inside => "inside",
            Kind::Ignored => "ignored",
            Kind::Brief => "brief",
            Kind::LongLived => "long-lived",
            Kind::Zombie => "zombie",
            Kind::Orphan => "orphan",
            Kind::Shell => "shell",
            Kind::ExecBefore => "exec-before",
            Kind::ExecAfter => "exec-after",
        }
    }

    /// The share of all forks, in percent.
    pub(crate) fn share(self) -> u64 {
        match self {
            Kind::Inside => 23,
            Kind::Shell => 20,
            Kind::Ignored | Kind::Brief => 15,
            Kind::Orphan => 10,
            Kind::LongLived => 8,
            Kind::Zombie => 7,
            Kind::ExecBefore => 2,
            Kind::ExecAfter => 0,
        }
    }

    /// Forks per process that writes: an orphan has its own parent, and the loop of the shell also
    /// starts `sleep`.
    pub(crate) fn forks(self) -> u64 {
        if matches!(self, Kind::Orphan | Kind::Shell) { 2 } else { 1 }
    }

    /// The lifetimes of the processes, used in a cycle.
    pub(crate) fn lifetimes(self) -> &'static [Duration] {
        const MIXED: [Duration; 4] = [
            Duration::ZERO,
            Duration::from_millis(50),
            Duration::from_millis(400),
            Duration::from_millis(1500),
        ];
        match self {
            Kind::Inside | Kind::Ignored => &MIXED,
            Kind::Brief => const { &[Duration::from_millis(20)] },
            Kind::Shell => &[Duration::ZERO],
            _ => &[LONG_LIVED],
        }
    }

    /// When the processes write.
    pub(crate) fn when(self) -> When {
        match self {
            Kind::LongLived | Kind::Orphan | Kind::ExecBefore | Kind::ExecAfter => When::Start,
            _ => When::Halves,
        }
    }

    /// Whether the parent belongs to the image.
    pub(crate) fn parent_is_tracked(self) -> bool {
        matches!(self, Kind::Inside | Kind::Ignored | Kind::Shell)
    }

    /// Whether only the end of a process, which a ring reports, shows some of the io.
    pub(crate) fn needs_ring(self) -> bool {
        matches!(self, Kind::Ignored | Kind::Brief)
    }

    /// Why io is lost, or not. `has_ring`: the ends of processes are reported.
    pub(crate) fn explanation(self, has_ring: bool) -> &'static str {
        match self {
            Kind::Ignored if has_ring => "not reaped: the ring has the counters at the end",
            Kind::Brief if has_ring => {
                "20 ms between two reads: the ring has the counters at the end"
            }
            Kind::Inside => "the kernel adds the io of reaped children to their parent",
            Kind::Shell => "the shell inherits the io of its subshells",
            Kind::Zombie => "the io of a zombie is still readable",
            Kind::Ignored => "not reaped: io after the last read is lost",
            Kind::Brief => "20 ms between two reads, reaped outside the image",
            Kind::LongLived => "read after the last write, reaped outside the image",
            Kind::Orphan => "the same, and the parent has exited",
            Kind::ExecBefore => "io before the exec stays in the image",
            Kind::ExecAfter => "io after the exec, and before it if it was not read in between",
        }
    }

    /// The `argv[0]` of the processes in this storm.
    pub(crate) fn argv0(self, storm: u64) -> String {
        format!("storm{storm}-{}", self.name())
    }

    /// The regex of the image.
    pub(crate) fn regex(self, storm: u64) -> String {
        match self {
            Kind::Shell => format!("^sh -c .*{} ", self.argv0(storm)),
            _ => format!("^{} ", self.argv0(storm)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        assert_eq!(Kind::ALL.map(Kind::share).iter().sum::<u64>(), 100);
    }
}

//! CPU time of processes and of the children that they reaped.

/// CPU time in nanoseconds, of all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// In user mode.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
}

impl CpuTime {
    /// All zero.
    pub(crate) const ZERO: CpuTime = CpuTime { user: 0, system: 0 };

    /// User and system time together.
    #[must_use]
    pub fn total(self) -> u64 {
        self.user.saturating_add(self.system)
    }

    /// The sum, mode by mode.
    #[must_use]
    pub fn saturating_add(self, other: CpuTime) -> CpuTime {
        CpuTime {
            user: self.user.saturating_add(other.user),
            system: self.system.saturating_add(other.system),
        }
    }
}

/// One reading of the CPU clock of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuReading {
    /// User and system time in nanoseconds.
    pub(crate) total: u64,
    /// User time, where the same read gives it.
    pub(crate) user: Option<u64>,
}

/// CPU time by the kernel's samples: at each tick, the mode of the CPU. The sum is not exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuSamples {
    /// In user mode, in nanoseconds.
    pub(crate) user: u64,
    /// In both modes.
    pub(crate) total: u64,
}

/// After this much CPU time of a process, in nanoseconds, the proportion of its user time is read
/// again: a tick at 100 Hz. Within less, samples show nothing.
pub(crate) const SPLIT_INTERVAL: u64 = 10_000_000;

/// The CPU time of a process without its children, in both modes. The sum is that of the CPU
/// clock; neither of the two decreases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnCpu {
    total: u64,
    user: u64,
    /// Both when the samples were read last, as these showed them.
    split_total: u64,
    split_user: u64,
    /// The proportion of user time before that, which is assumed for the time since.
    proportion: Proportion,
}

/// The part of user time in parts of 2^16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Proportion(u32);

impl Proportion {
    const ONE: u64 = 1 << 16;

    fn new(part: u64, total: u64) -> Proportion {
        let part = u128::from(part.min(total)) * u128::from(Proportion::ONE);
        // At most 2^16.
        Proportion((part / u128::from(total.max(1))) as u32)
    }

    fn of(self, total: u64) -> u64 {
        // No more than `total`.
        ((u128::from(total) * u128::from(self.0)) / u128::from(Proportion::ONE)) as u64
    }
}

impl OwnCpu {
    /// User and system time together.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Whether samples are to be read with this reading.
    pub(crate) fn needs_samples(&self, reading: CpuReading) -> bool {
        let since = reading.total.saturating_sub(self.split_total);
        reading.user.is_none() && (since >= SPLIT_INTERVAL || (self.total == 0 && since > 0))
    }

    /// Takes a reading into account. `samples`: those read after it, if they were.
    pub(crate) fn update(&mut self, reading: CpuReading, samples: Option<CpuSamples>) {
        let Some(growth @ 1..) = reading.total.checked_sub(self.total) else { return };
        let shown = match (reading.user, samples) {
            (Some(user), _) => Some(user),
            // Without a sample the kernel takes all for user time.
            (None, Some(CpuSamples { total: 0, .. })) => Some(reading.total),
            (None, Some(CpuSamples { user, total })) => {
                Some(Proportion::new(user, total).of(reading.total))
            }
            (None, None) => None,
        };
        let user = match shown {
            Some(user) => {
                let since = reading.total.saturating_sub(self.split_total);
                if since > 0 {
                    let used = user.saturating_sub(self.split_user);
                    self.proportion = Proportion::new(used, since);
                }
                (self.split_total, self.split_user) = (reading.total, user);
                user.saturating_sub(self.user)
            }
            None => self.proportion.of(growth),
        };
        self.user += user.min(growth);
        self.total = reading.total;
    }

    /// User and system time.
    pub(crate) fn time(&self) -> CpuTime {
        CpuTime { user: self.user, system: self.total - self.user }
    }
}

/// The CPU time of a process in the ledger: its own and that of the children that it reaped,
/// or sums and differences of such times. In nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuCounters {
    pub(crate) user: i64,
    pub(crate) system: i64,
    pub(crate) child_user: i64,
    pub(crate) child_system: i64,
}

impl CpuCounters {
    /// CPU time of a process itself and of the children that it reaped.
    pub(crate) fn new(own: CpuTime, children: CpuTime) -> CpuCounters {
        // 2^63 ns are 292 years.
        let signed = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
        CpuCounters {
            user: signed(own.user),
            system: signed(own.system),
            child_user: signed(children.user),
            child_system: signed(children.system),
        }
    }

    /// Only times of reaped children.
    pub(crate) fn of_children(children: CpuTime) -> CpuCounters {
        CpuCounters::new(CpuTime::ZERO, children)
    }

    pub(crate) fn zip(self, other: CpuCounters, with: impl Fn(i64, i64) -> i64) -> CpuCounters {
        CpuCounters {
            user: with(self.user, other.user),
            system: with(self.system, other.system),
            child_user: with(self.child_user, other.child_user),
            child_system: with(self.child_system, other.child_system),
        }
    }

    /// User time, with that of children.
    pub(crate) fn all_user(self) -> i64 {
        self.user.saturating_add(self.child_user)
    }

    /// All four.
    pub(crate) fn total(self) -> i64 {
        self.all_user().saturating_add(self.system).saturating_add(self.child_system)
    }

    /// Both modes, with those of children.
    pub(crate) fn time(self) -> CpuTime {
        let unsigned = |time: i64| u64::try_from(time).unwrap_or(0);
        CpuTime {
            user: unsigned(self.all_user()),
            system: unsigned(self.system.saturating_add(self.child_system)),
        }
    }
}

/// The CPU time of an image. The parts that the ledger sums can decrease: the kernel shows times of
/// children in whole ticks, and the proportion of user time of a process is an estimate until the
/// kernel has determined it for the parent. These never decrease, and their sum is that of the
/// ledger as soon as that is above the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImageCpu {
    total: i64,
    user: i64,
}

impl ImageCpu {
    /// Follows the sums of the ledger as far as possible, and gives the time.
    pub(crate) fn update(&mut self, sums: CpuCounters) -> CpuTime {
        let growth = sums.total().saturating_sub(self.total).max(0);
        self.total += growth;
        self.user = sums.all_user().clamp(self.user, self.user + growth);
        let unsigned = |time: i64| u64::try_from(time).unwrap_or(0);
        CpuTime { user: unsigned(self.user), system: unsigned(self.total - self.user) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn reading(total: u64) -> CpuReading {
        CpuReading { total: total * MS, user: None }
    }

    fn samples(user: u64, total: u64) -> Option<CpuSamples> {
        Some(CpuSamples { user: user * MS, total: total * MS })
    }

    fn milliseconds(own: &OwnCpu) -> (u64, u64) {
        let CpuTime { user, system } = own.time();
        ((user + MS / 2) / MS, (system + MS / 2) / MS)
    }

    #[test]
    fn sum_is_split_in_proportion_of_samples() {
        let mut own = OwnCpu::default();
        // The samples of 383 ms of CPU time are 367.
        assert!(own.needs_samples(reading(383)));
        own.update(reading(383), samples(269, 367));
        assert_eq!(milliseconds(&own), (281, 102));
        assert!(!own.needs_samples(reading(392)));
        own.update(reading(392), None);
        assert_eq!(own.time().total(), 392 * MS);
        assert!(own.needs_samples(reading(393)));
        // All that came since is system time.
        own.update(reading(483), samples(269, 467));
        let (user, system) = milliseconds(&own);
        assert!((278..=288).contains(&user) && user + system == 483, "{user} {system}");
        own.update(reading(489), None);
        assert_eq!(milliseconds(&own), (user, system + 6));
    }

    #[test]
    fn neither_mode_decreases() {
        let mut own = OwnCpu::default();
        let mut before = own.time();
        for (total, user, sampled) in
            [(0, 0, 0), (1, 0, 0), (20, 20, 20), (40, 0, 40), (60, 0, 80), (80, 90, 90), (70, 1, 1)]
        {
            own.update(reading(total), samples(user, sampled));
            let now = own.time();
            assert!(now.user >= before.user && now.system >= before.system, "{before:?} {now:?}");
            before = now;
        }
        assert_eq!(before.total(), 80 * MS);
    }

    #[test]
    fn short_time_without_sample_is_user_time() {
        let mut own = OwnCpu::default();
        own.update(reading(2), samples(0, 0));
        assert_eq!(milliseconds(&own), (2, 0));
        let mut own = OwnCpu::default();
        own.update(CpuReading { total: 30 * MS, user: Some(10 * MS) }, None);
        assert_eq!(milliseconds(&own), (10, 20));
    }

    #[test]
    fn image_never_decreases() {
        let sums = |user, system| CpuCounters { user, system, ..CpuCounters::default() };
        let mut image = ImageCpu::default();
        assert_eq!(image.update(sums(10, 5)), CpuTime { user: 10, system: 5 });
        // A child of 8 and 1 is now a part of its parent, whose ticks show 5 and 2 of it.
        assert_eq!(image.update(sums(7, 6)), CpuTime { user: 10, system: 5 });
        assert_eq!(image.update(sums(9, 9)), CpuTime { user: 10, system: 8 });
        assert_eq!(image.update(sums(14, 10)), CpuTime { user: 14, system: 10 });
    }
}

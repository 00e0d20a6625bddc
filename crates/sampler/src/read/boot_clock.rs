//! The ages of processes.

use std::time::Duration;

/// The time since boot to which start times refer, and their unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BootClock {
    /// The time since boot, in the time namespace of the reader.
    pub(crate) now: Duration,
    pub(crate) tick_nanoseconds: u64,
}

impl BootClock {
    /// The time since a start time in ticks after boot, exact to a tick.
    ///
    /// In a time namespace a process can have started before the boot: then the kernel's
    /// nanoseconds, which have 64 bits and no sign, wrap.
    pub(crate) fn age(self, starttime: u64) -> Duration {
        let start = starttime.wrapping_mul(self.tick_nanoseconds).cast_signed();
        let age = i128::try_from(self.now.as_nanos()).unwrap_or(i128::MAX) - i128::from(start);
        // A process that has just started: the clock was read before.
        Duration::from_nanos(u64::try_from(age.max(0)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_is_the_time_since_the_start() {
        let clock = BootClock { now: Duration::from_secs(100), tick_nanoseconds: 10_000_000 };
        for (starttime, milliseconds) in [
            (0, 100_000),
            (9_990, 100),
            (10_000, 0),
            (10_001, 0),
            // 5 s before the boot, as the kernel prints it.
            ((u64::MAX - 5_000_000_000 + 1) / 10_000_000, 105_000),
        ] {
            let age = clock.age(starttime);
            assert!(
                age.abs_diff(Duration::from_millis(milliseconds)) <= Duration::from_millis(10),
                "{starttime}: {age:?}"
            );
        }
    }
}

//! Timestamps of points: strictly increasing, in seconds.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use psstat_emit::Timestamp;

/// Assigns a timestamp to each cycle.
#[derive(Debug, Default)]
pub(crate) struct TimestampSource {
    last: Option<Last>,
    /// While the clock is behind the timestamps: the reading from which they continue.
    anchor: Option<ClockReading>,
}

/// One reading of the clocks.
#[derive(Clone, Copy, Debug)]
struct ClockReading {
    /// Time since 1970.
    wall: Duration,
    /// Monotonic time.
    monotonic: Instant,
}

/// The previous cycle.
#[derive(Clone, Copy, Debug)]
struct Last {
    time: i64,
    second: Option<u64>,
    clock: ClockReading,
}

/// The timestamp of a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CycleTime {
    /// For its points.
    pub(crate) time: Timestamp,
    /// The number of seconds by which the clock was set back, in the first cycle after that.
    pub(crate) clock_set_back: Option<i64>,
}

impl TimestampSource {
    /// The timestamp of a cycle that ends now. `second`: with cycles of a second, the number of
    /// seconds from the start of the first cycle to that of this one.
    pub(crate) fn now(&mut self, second: Option<u64>) -> CycleTime {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.at(ClockReading { wall, monotonic: Instant::now() }, second)
    }

    /// The clock's time, unless it is not later than the previous timestamp. In that case the
    /// monotonic time since the clock was set back is added to the previous time, so that rates
    /// stay correct, until the clock has caught up.
    ///
    /// Cycles of a second do not end at the same fraction of a second. So that each second has a
    /// timestamp, one that ends slightly later than the last one did has that of the second before,
    /// and one that ends earlier, in the same second, that of the next.
    fn at(&mut self, clock: ClockReading, second: Option<u64>) -> CycleTime {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let wall = seconds(clock.wall);
        let mut time = wall;
        let mut clock_set_back = None;
        let passed = self.last.and_then(|last| second?.checked_sub(last.second?));
        let expected = self
            .last
            .zip(passed)
            .and_then(|(last, passed)| last.time.checked_add(i64::try_from(passed).ok()?));
        match self.last {
            Some(last) if wall <= last.time => {
                let first = self.anchor.is_none();
                // Relative to one reading: the rounding errors of single cycles would add up.
                let anchor = *self.anchor.get_or_insert(last.clock);
                let passed = clock.monotonic.saturating_duration_since(anchor.monotonic);
                time = seconds(anchor.wall.saturating_add(passed)).max(last.time.saturating_add(1));
                // Two cycles in one second are not a clock change.
                if first && time - wall > 1 {
                    clock_set_back = Some(time - wall);
                }
            }
            _ => {
                self.anchor = None;
                if let Some(expected) =
                    expected.filter(|expected| expected.checked_add(1) == Some(wall))
                {
                    time = expected;
                }
            }
        }
        // Clocks before 1970 and after 2106 are treated as stopped.
        let time = Timestamp::from_unix(time).unwrap_or(if time < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        });
        self.last = Some(Last { time: i64::from(time.as_unix()), clock, second });
        CycleTime { time, clock_set_back }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// The timestamps of cycles, each given by its monotonic and its clock time in milliseconds.
    fn run_milliseconds(clock: &[(u64, u64)]) -> Vec<(u32, Option<i64>)> {
        let (mut source, start) = (TimestampSource::default(), Instant::now());
        let cycles = clock.iter().map(|&(passed, wall)| {
            let monotonic = start + Duration::from_millis(passed);
            let clock = ClockReading { wall: Duration::from_millis(wall), monotonic };
            let cycle = source.at(clock, None);
            (cycle.time.as_unix(), cycle.clock_set_back)
        });
        cycles.collect()
    }

    fn run(clock: &[(u64, u64)]) -> Vec<(u32, Option<i64>)> {
        let clock: Vec<_> =
            clock.iter().map(|(passed, wall)| (passed * 1000, wall * 1000)).collect();
        run_milliseconds(&clock)
    }

    #[test]
    fn follows_clock() {
        assert_eq!(run(&[(0, 1000), (15, 1015), (31, 1031)]).last(), Some(&(1031, None)));
        // Forward by a day, then by slightly less than the monotonic time.
        assert_eq!(run(&[(0, 1000), (15, 87_415), (30, 87_429)]).last(), Some(&(87_429, None)));
    }

    #[test]
    fn clock_set_back_keeps_rates() {
        let times = run(&[(0, 5000), (15, 1415), (30, 1430), (45, 5046), (60, 5061)]);
        assert_eq!(
            times,
            [(5000, None), (5015, Some(3600)), (5030, None), (5046, None), (5061, None)]
        );
    }

    /// Each timestamp was the previous one plus whole seconds: cycles of 14.9 s were 14 s apart,
    /// rates were too high by a fifteenth, and the timestamps fell further and further behind.
    #[test]
    fn clock_set_back_keeps_fractions_of_seconds() {
        let cycles = (1..=100).map(|cycle| (cycle * 14_900, 1_000_000 + cycle * 14_900));
        let clock: Vec<(u64, u64)> = std::iter::once((0, 5_000_700)).chain(cycles).collect();
        let times = run_milliseconds(&clock);
        for (index, (time, set_back)) in times.iter().enumerate() {
            assert_eq!(u64::from(*time), (5_000_700 + clock[index].0) / 1000);
            assert_eq!(set_back.is_some(), index == 1);
        }
    }

    /// A clock that is slightly slow, or set back by less than a cycle.
    #[test]
    fn brief_clock_stall_is_not_logged() {
        let times = run_milliseconds(&[(0, 1_000_000), (990, 1_000_990), (2_000, 1_002_000)]);
        assert_eq!(times, [(1000, None), (1001, None), (1002, None)]);
    }

    /// A cycle ended at 999 ms of a second and the next at 1 ms of the second after the next.
    #[test]
    fn each_second_has_a_timestamp() {
        let (mut source, start) = (TimestampSource::default(), Instant::now());
        let mut time = |second: u64, wall: u64| {
            let monotonic = start + Duration::from_millis(wall);
            let clock = ClockReading { wall: Duration::from_millis(1_000_000 + wall), monotonic };
            source.at(clock, Some(second)).time.as_unix()
        };
        assert_eq!([time(0, 999), time(1, 2_001), time(2, 2_998)], [1000, 1001, 1002]);
        assert_eq!([time(3, 4_000), time(4, 5_900)], [1003, 1004]);
        // A cycle was skipped, and so is a second.
        assert_eq!([time(6, 7_001), time(7, 8_001)], [1006, 1007]);
        // The clock was set forward, or the machine slept.
        assert_eq!([time(8, 19_001), time(9, 20_001)], [1019, 1020]);
    }

    #[test]
    fn cycles_in_one_second_get_different_timestamps() {
        assert_eq!(run(&[(0, 1000), (0, 1000), (0, 1000)]).last(), Some(&(1002, None)));
    }
}

//! The time of the points: never the same second twice, never backwards.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use psstat_emit::Timestamp;

/// Gives each cycle its time.
#[derive(Debug, Default)]
pub struct TimestampSource {
    last: Option<Last>,
    /// While the machine's clock is behind the points: what they go on from.
    anchor: Option<ClockReading>,
}

/// The machine's clock at a moment.
#[derive(Clone, Copy, Debug)]
struct ClockReading {
    wall: Duration,
    at: Instant,
}

/// The last cycle.
#[derive(Clone, Copy, Debug)]
struct Last {
    time: i64,
    clock: ClockReading,
}

/// A time for a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CycleTime {
    /// For the points.
    pub time: Timestamp,
    /// The machine's clock has just been found to be behind the points by so
    /// many seconds. Told once.
    pub clock_set_back: Option<i64>,
}

impl TimestampSource {
    /// The time of a cycle that ends now.
    pub fn now(&mut self) -> CycleTime {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.at(ClockReading { wall, at: Instant::now() })
    }

    /// The machine's clock, unless that would go backwards: then the time that
    /// has truly passed since it was set back is added to the time before, so
    /// that rates stay right, until the clock has caught up.
    fn at(&mut self, clock: ClockReading) -> CycleTime {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let wall = seconds(clock.wall);
        let mut time = wall;
        let mut clock_set_back = None;
        match self.last {
            Some(last) if wall <= last.time => {
                let first = self.anchor.is_none();
                // From one moment on: what each cycle's whole seconds leave over
                // would add up.
                let anchor = *self.anchor.get_or_insert(last.clock);
                let passed = clock.at.saturating_duration_since(anchor.at);
                time = seconds(anchor.wall.saturating_add(passed)).max(last.time.saturating_add(1));
                // Two cycles in one second are not the clock's doing.
                if first && time - wall > 1 {
                    clock_set_back = Some(time - wall);
                }
            }
            _ => self.anchor = None,
        }
        // A clock before 1970 or after 2106 is as wrong as one that stands.
        let time = Timestamp::from_unix(time).unwrap_or(if time < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        });
        self.last = Some(Last { time: i64::from(time.as_unix()), clock });
        CycleTime { time, clock_set_back }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Milliseconds passed and those of the machine's clock.
    fn run_exactly(clock: &[(u64, u64)]) -> Vec<(u32, Option<i64>)> {
        let (mut timeline, start) = (TimestampSource::default(), Instant::now());
        let stamps = clock.iter().map(|&(passed, wall)| {
            let at = start + Duration::from_millis(passed);
            let stamp = timeline.at(ClockReading { wall: Duration::from_millis(wall), at });
            (stamp.time.as_unix(), stamp.clock_set_back)
        });
        stamps.collect()
    }

    fn run(clock: &[(u64, u64)]) -> Vec<(u32, Option<i64>)> {
        let clock: Vec<_> =
            clock.iter().map(|(passed, wall)| (passed * 1000, wall * 1000)).collect();
        run_exactly(&clock)
    }

    #[test]
    fn a_true_clock_is_followed() {
        assert_eq!(run(&[(0, 1000), (15, 1015), (31, 1031)]).last(), Some(&(1031, None)));
        // Forward by a day, and by a little less than passed.
        assert_eq!(run(&[(0, 1000), (15, 87_415), (30, 87_429)]).last(), Some(&(87_429, None)));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_rates_right() {
        let stamps = run(&[(0, 5000), (15, 1415), (30, 1430), (45, 5046), (60, 5061)]);
        assert_eq!(
            stamps,
            [(5000, None), (5015, Some(3600)), (5030, None), (5046, None), (5061, None)]
        );
    }

    /// Each cycle's time was made of the last one's and whole seconds: cycles of
    /// 14.9 s were 14 s apart, and rates a fifteenth too high, while the points fell
    /// ever further behind.
    #[test]
    fn a_clock_that_is_set_back_loses_no_part_of_a_second() {
        let cycles = (1..=100).map(|cycle| (cycle * 14_900, 1_000_000 + cycle * 14_900));
        let clock: Vec<(u64, u64)> = std::iter::once((0, 5_000_700)).chain(cycles).collect();
        let stamps = run_exactly(&clock);
        for (at, (stamp, told)) in stamps.iter().enumerate() {
            assert_eq!(u64::from(*stamp), (5_000_700 + clock[at].0) / 1000);
            assert_eq!(told.is_some(), at == 1);
        }
    }

    /// One that is a little too slow, or set back by less than a cycle, is no
    /// matter.
    #[test]
    fn brief_clock_stall_is_not_logged() {
        let stamps = run_exactly(&[(0, 1_000_000), (990, 1_000_990), (2_000, 1_002_000)]);
        assert_eq!(stamps, [(1000, None), (1001, None), (1002, None)]);
    }

    #[test]
    fn two_cycles_in_a_second_are_a_second_apart() {
        assert_eq!(run(&[(0, 1000), (0, 1000), (0, 1000)]).last(), Some(&(1002, None)));
    }
}

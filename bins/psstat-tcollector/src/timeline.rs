//! The time of the points: never the same second twice, never backwards.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use psstat_emit::Timestamp;

/// Gives each cycle its time.
#[derive(Debug, Default)]
pub struct Timeline {
    last: Option<(i64, Instant)>,
    behind: bool,
}

/// A time for a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// For the points.
    pub time: Timestamp,
    /// The machine's clock has just been found to be behind the points by so
    /// many seconds. Told once.
    pub clock_set_back: Option<i64>,
}

impl Timeline {
    /// The time of a cycle that ends now.
    pub fn now(&mut self) -> Stamp {
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(_) => 0,
        };
        self.at(wall, Instant::now())
    }

    /// The machine's clock, unless that would go backwards: then the seconds
    /// that have truly passed are added to the last time, so that rates stay
    /// right, until the clock has caught up.
    fn at(&mut self, wall: i64, now: Instant) -> Stamp {
        let mut time = wall;
        let mut clock_set_back = None;
        if let Some((last, since)) = self.last {
            let passed = i64::try_from(now.duration_since(since).as_secs()).unwrap_or(i64::MAX);
            let behind = wall <= last;
            if behind {
                time = last.saturating_add(passed.max(1));
                if !self.behind {
                    clock_set_back = Some(time - wall);
                }
            }
            self.behind = behind;
        }
        // A clock before 1970 or after 2106 is as wrong as one that stands.
        let time = Timestamp::from_unix(time).unwrap_or(if time < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        });
        self.last = Some((i64::from(time.as_unix()), now));
        Stamp { time, clock_set_back }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn run(clock: &[(u64, i64)]) -> Vec<(u32, Option<i64>)> {
        let (mut timeline, start) = (Timeline::default(), Instant::now());
        let stamps = clock.iter().map(|&(passed, wall)| {
            let stamp = timeline.at(wall, start + Duration::from_secs(passed));
            (stamp.time.as_unix(), stamp.clock_set_back)
        });
        stamps.collect()
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

    #[test]
    fn two_cycles_in_a_second_are_a_second_apart() {
        assert_eq!(run(&[(0, 1000), (0, 1000), (0, 1000)]).last(), Some(&(1002, None)));
    }
}

//! The instants of the readings of CPU time at the end of a window.
//!
//! The kernel adds the time of a running thread to the CPU clock of its process only at a tick of
//! that CPU, or when the thread is switched. So the clock of a thread that never sleeps is late by
//! up to a tick. The difference of two readings is nevertheless right if both have the same
//! distance from the tick before, that is, if they are a whole number of ticks apart, and not so
//! close to a tick that one of them is before it and the other after it.

use std::time::{Duration, Instant};

/// Shorter windows are closed as it happens: they have few ticks.
const MIN_WINDOW: Duration = Duration::from_millis(20);
/// How late a reading may be: 0.02 % of a window of 1 s.
const TOLERANCE: Duration = Duration::from_micros(200);
/// By how much the readings of a window are put off at most: 1 % of a window of 1 s.
const MAX_DELAY: Duration = Duration::from_millis(10);
/// How long before the end of a window it is to be closed.
const LEAD: Duration = Duration::from_millis(1);

/// Whether the readings at both ends of a window of this length are placed.
pub(super) fn is_paced(window: Duration) -> bool {
    window >= MIN_WINDOW
}

/// How long before the end of a window of this length the caller is to close it.
pub(super) fn lead(window: Duration) -> Duration {
    if is_paced(window) { LEAD } else { Duration::ZERO }
}

/// Places the readings of all processes at the end of a window.
#[derive(Debug)]
pub(super) struct Pace {
    /// The time from one tick to the next; `None` if the readings are not placed.
    tick: Option<Duration>,
    /// The time between the two readings of each process, and its maximum. `None` before the
    /// first process.
    length: Option<(Duration, Duration)>,
}

impl Pace {
    /// `tick`: the time from one tick of the kernel to the next; `None` if CPU time is counted in
    /// ticks anyway.
    pub(super) fn new(tick: Option<Duration>) -> Pace {
        Pace { tick: tick.filter(|tick| !tick.is_zero()), length: None }
    }

    /// The instant for the second reading of a process, after the first one at `opened`. `wait`
    /// waits until an instant, and gives the time.
    ///
    /// The first process determines the length: the whole number of ticks that has passed just
    /// now or will have next. It is increased if the reader is late, within a limit.
    pub(super) fn wait(
        &mut self,
        opened: Instant,
        mut wait: impl FnMut(Option<Instant>) -> Instant,
    ) -> Instant {
        let Some(tick) = self.tick else { return wait(None) };
        let (mut length, limit) = match self.length {
            Some(known) => known,
            None => {
                let elapsed = wait(None).duration_since(opened);
                if elapsed < MIN_WINDOW {
                    self.tick = None;
                    return wait(None);
                }
                (whole_ticks(elapsed, tick), elapsed + LEAD + MAX_DELAY)
            }
        };
        let now = loop {
            let due = opened + length;
            let now = wait(Some(due));
            if now <= due + TOLERANCE {
                break now;
            }
            let later = whole_ticks(now.duration_since(opened), tick);
            if later > limit {
                break now;
            }
            length = later;
        };
        self.length = Some((length, limit));
        now
    }
}

/// The whole number of ticks nearest to a time; below it only within the tolerance.
fn whole_ticks(elapsed: Duration, tick: Duration) -> Duration {
    let over = elapsed.as_nanos() % tick.as_nanos().max(1);
    // Less than a tick.
    let over = Duration::from_nanos(u64::try_from(over).unwrap_or_default());
    let whole = elapsed - over;
    if over <= TOLERANCE { whole } else { whole + tick }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(microseconds: u64) -> Duration {
        Duration::from_micros(microseconds)
    }

    /// Reads processes with these opening instants (in µs) from `start` on; the reader takes
    /// `each` per process, and oversleeps by the next value of `late` whenever it waits. Gives the
    /// time between both readings of each process in µs.
    fn lengths(pace: &mut Pace, opened: &[u64], start: u64, each: u64, late: &[u64]) -> Vec<u128> {
        let origin = Instant::now();
        let mut now = origin + us(start);
        let mut late = late.iter();
        let read = opened.iter().map(|&opened| {
            let opened = origin + us(opened);
            let at = pace.wait(opened, |due| {
                if let Some(due) = due.filter(|&due| due > now) {
                    now = due + late.next().map_or(Duration::ZERO, |&late| us(late));
                }
                now
            });
            now += us(each);
            at.duration_since(opened).as_micros()
        });
        read.collect()
    }

    fn paced(opened: &[u64], start: u64, each: u64, late: &[u64]) -> Vec<u128> {
        lengths(&mut Pace::new(Some(us(4_000))), opened, start, each, late)
    }

    #[test]
    fn readings_are_whole_ticks_apart() {
        // Woken 1 ms early; the opening had another rhythm than the end.
        assert_eq!(paced(&[0, 1, 900, 901], 999_000, 1, &[]), [1_000_000; 4]);
        // Called as the window ends, and a little later.
        assert_eq!(paced(&[0, 1], 1_000_000, 1, &[]), [1_000_000; 2]);
        assert_eq!(paced(&[0, 200], 1_000_150, 1, &[]), [1_000_150, 1_000_000]);
        // Much later: the next whole number of ticks.
        assert_eq!(paced(&[0, 1], 1_001_500, 1, &[]), [1_004_000; 2]);
        assert_eq!(paced(&[0, 1], 9_990_000, 1, &[]), [9_992_000; 2]);
        // A window that is not a whole number of ticks.
        assert_eq!(paced(&[0, 1], 250_000, 1, &[]), [252_000; 2]);
        // Other kernels.
        for (tick, length) in [(1_000, 1_002_000), (10_000, 1_010_000)] {
            let pace = &mut Pace::new(Some(us(tick)));
            assert_eq!(lengths(pace, &[0, 1], 1_001_500, 1, &[]), [length; 2]);
        }
    }

    #[test]
    fn late_reader_tries_again() {
        // It overslept by 3 ms.
        assert_eq!(paced(&[0, 1], 999_000, 1, &[3_000]), [1_004_000; 2]);
        // It had to wait for a CPU in the middle.
        assert_eq!(paced(&[0, 1, 2], 999_000, 500, &[]), [1_000_000, 1_004_000, 1_008_000]);
    }

    /// A busy machine delays the end of the window by 10 ms at most; then processes are read as
    /// it happens.
    #[test]
    fn delays_are_bounded() {
        let late = [400; 100];
        let lengths = paced(&[0; 50], 999_000, 400, &late);
        assert!(lengths[0] <= 1_008_400, "{lengths:?}");
        assert!(lengths[49] <= lengths[0] + 8_000 + 49 * 400, "{lengths:?}");
        // A reader that is even later is not kept waiting.
        assert_eq!(paced(&[0, 1], 999_000, 1, &[15_000]), [1_015_000; 2]);
    }

    /// A window shorter than a tick, and times in ticks, are not put off.
    #[test]
    fn short_windows_are_not_paced() {
        assert_eq!(paced(&[0, 1], 19_000, 1, &[]), [19_000; 2]);
        let mut pace = Pace::new(None);
        assert_eq!(lengths(&mut pace, &[0, 1], 1_003_000, 1, &[]), [1_003_000; 2]);
        assert_eq!((lead(us(2_000)), lead(us(1_000_000))), (Duration::ZERO, LEAD));
    }
}

//! The open window of a cycle.

use std::time::{Duration, Instant};

use crate::options::MAX_WINDOW;
use crate::registry::{ImageId, add};
use crate::sample::Sample;
use crate::sampler::Sampler;

/// An open window: between the two readings of a cycle.
///
/// Wait until its [deadline](Self::deadline), and [close](Self::close) it. It has the sampler for
/// itself meanwhile, so that no other window can be opened. If it is dropped, the cycle has no
/// sample, and the next one is complete again.
///
/// ```compile_fail
/// # let mut sampler = psstat_sampler::Sampler::builder().build().unwrap();
/// let window = sampler.open();
/// let another = sampler.open(); // `sampler` is in use
/// window.close();
/// ```
///
/// ```compile_fail
/// # let mut sampler = psstat_sampler::Sampler::builder().build().unwrap();
/// let window = sampler.open();
/// window.close();
/// window.close(); // `window` was used before
/// ```
#[derive(Debug)]
#[must_use = "a window that is not closed has no sample"]
pub struct Window<'a> {
    sampler: &'a mut Sampler,
    deadline: Instant,
}

impl<'a> Window<'a> {
    pub(crate) fn new(sampler: &'a mut Sampler, deadline: Instant) -> Window<'a> {
        Window { sampler, deadline }
    }

    /// When to close it: 1 ms before it ends, so that a late wake-up does no harm; for a window
    /// shorter than 20 ms, its end.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Ends the cycle: reads CPU time again and all that counts at one moment, and computes the
    /// sums.
    ///
    /// It waits so that the two readings of each process are a whole number of ticks apart (a
    /// multiple of 20 ms), as a CPU clock is late by up to a tick; if it is called after the
    /// deadline, CPU is averaged over a longer time. A window of less than 20 ms ends at once. It
    /// delays the end of a window by at most 100 ms.
    pub fn close(self) -> Sample<'a> {
        self.sampler.close()
    }

    /// The same as [`Sampler::add_image`].
    pub fn add_image(&mut self, name: &str) -> ImageId {
        add(self.sampler.registry_mut(), name)
    }

    /// Leaves the window open without borrowing the sampler, for a program that has the sampler in
    /// a struct and opens and closes windows in different functions. See [`Sampler::attach`].
    pub fn detach(self) -> DetachedWindow {
        DetachedWindow { serial: self.sampler.open_serial(), deadline: self.deadline }
    }
}

/// An open window that does not borrow its sampler; from [`Window::detach`].
#[derive(Debug)]
#[must_use = "a window that is not closed has no sample"]
pub struct DetachedWindow {
    pub(crate) serial: u64,
    pub(crate) deadline: Instant,
}

impl DetachedWindow {
    /// The same as [`Window::deadline`].
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// Takes a sample in each interval, endlessly; from [`Sampler::every`].
///
/// `next` waits in the thread of the caller. The windows follow each other without a gap: the
/// reading of CPU time at the end of one is that at the start of the next. The time that the caller
/// needs for a sample is a part of the next window. If that is longer than an interval, intervals are
/// left out, and the next window is longer by those.
#[derive(Debug)]
#[must_use = "it takes samples when `next` is called"]
pub struct Samples<'a> {
    sampler: &'a mut Sampler,
    interval: Duration,
    /// The end of the last window.
    last: Option<Instant>,
}

impl<'a> Samples<'a> {
    pub(crate) fn new(sampler: &'a mut Sampler, interval: Duration) -> Samples<'a> {
        Samples { sampler, interval: interval.min(MAX_WINDOW), last: None }
    }

    /// The sampler, for changes between two samples.
    pub fn sampler_mut(&mut self) -> &mut Sampler {
        self.sampler
    }
}

impl Iterator for Samples<'_> {
    type Item = Sample<'static>;

    fn next(&mut self) -> Option<Sample<'static>> {
        let now = Instant::now();
        let window = self.sampler.open_following(self.interval, self.last.is_some());
        let deadline = self.last.map(|last| next_end(last, self.interval, now));
        let deadline = deadline.unwrap_or(window.deadline());
        self.last = Some(deadline);
        sleep_until(deadline);
        Some(window.close().into_owned())
    }
}

/// The next multiple of an interval after an instant, but not before the present one.
fn next_end(last: Instant, interval: Duration, now: Instant) -> Instant {
    let next = last + interval;
    let Some(late) = now.checked_duration_since(next).filter(|_| !interval.is_zero()) else {
        return next;
    };
    // Less than the time since the last one, and so within the range of `Instant`.
    let rest = late.as_nanos() % interval.as_nanos();
    let rest = Duration::from_nanos(u64::try_from(rest).unwrap_or(0));
    if rest.is_zero() { now } else { now - rest + interval }
}

pub(crate) fn sleep_until(deadline: Instant) {
    std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_multiples_of_the_interval() {
        let last = Instant::now();
        let ms = Duration::from_millis;
        let next = |interval, now| next_end(last, ms(interval), last + ms(now)) - last;
        assert_eq!([0, 1, 999].map(|now| next(1000, now)), [ms(1000); 3]);
        assert_eq!([1000, 1001, 2000, 2001, 4500].map(|now| next(1000, now)), {
            [1000, 2000, 2000, 3000, 5000].map(ms)
        });
        assert_eq!(next(0, 5), ms(0));
    }
}

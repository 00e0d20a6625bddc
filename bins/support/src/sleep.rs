//! Sleeping that works where `nanosleep` is refused.

use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{NanosleepRelativeResult, nanosleep};
use rustix::time::Timespec;

/// Sleeps for this time. [`std::thread::sleep`] panics if `nanosleep` is refused, as a filter of
/// system calls (seccomp) can do.
pub fn sleep(time: Duration) {
    sleep_until(Instant::now() + time);
}

/// Sleeps until this time.
pub fn sleep_until(due: Instant) {
    loop {
        let rest = due.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return;
        }
        let request = Timespec::try_from(rest).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        if let NanosleepRelativeResult::Err(_) = nanosleep(&request) {
            // A wait for a futex, which is as exact.
            thread::park_timeout(rest);
        }
    }
}

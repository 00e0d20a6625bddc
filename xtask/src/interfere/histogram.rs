//! How long operations took, of millions, in a few kilobytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Result;

/// Buckets for each power of two: a time is known to 3 %.
const PARTS: usize = 32;
const BUCKETS: usize = PARTS * 60;

/// Counts of times, which any number of threads add to.
#[derive(Debug)]
pub(crate) struct Histogram(Vec<AtomicU64>);

/// Counts that were taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times(Vec<u64>);

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }

    pub(crate) fn add(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.0.get(bucket_of(nanoseconds)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Begins anew.
    pub(crate) fn take(&self) -> Times {
        Times(self.0.iter().map(|bucket| bucket.swap(0, Ordering::Relaxed)).collect())
    }
}

/// The first buckets are one nanosecond wide, the others a 32nd of their power
/// of two.
fn bucket_of(nanoseconds: u64) -> usize {
    let power = nanoseconds.max(1).ilog2().saturating_sub(PARTS.ilog2());
    power as usize * PARTS + (nanoseconds >> power) as usize
}

/// The least time of a bucket.
fn least(bucket: usize) -> u64 {
    let power = (bucket / PARTS).saturating_sub(1);
    ((bucket - power * PARTS) as u64) << power
}

impl Times {
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time that this share of the operations did not pass, by the middle
    /// of its bucket; 1.0 is the longest. Zero if there were none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.count() as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        for (bucket, count) in self.0.iter().enumerate() {
            below += count;
            if below >= rank {
                return Duration::from_nanos(u64::midpoint(least(bucket), least(bucket + 1)));
            }
        }
        Duration::ZERO
    }

    /// As a line of text: `bucket:count` for each that is not empty.
    pub(crate) fn line(&self) -> String {
        let filled = self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(bucket, count)| format!("{bucket}:{count} ")).collect()
    }

    /// From that line.
    pub(crate) fn read(line: &str) -> Result<Times> {
        let mut counts = vec![0; BUCKETS];
        for pair in line.split_whitespace() {
            let (bucket, count) = pair.split_once(':').ok_or("no pair")?;
            *counts.get_mut(bucket.parse::<usize>()?).ok_or("no such bucket")? = count.parse()?;
        }
        Ok(Times(counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_times() {
        for nanoseconds in (0..5000).chain([1 << 20, (1 << 20) + 1, 3_000_000_007, 1 << 40]) {
            let bucket = bucket_of(nanoseconds);
            assert!(
                least(bucket) <= nanoseconds && nanoseconds < least(bucket + 1),
                "{nanoseconds}"
            );
            assert!(bucket < BUCKETS);
        }
    }

    #[test]
    fn quantiles_are_within_a_bucket() {
        let histogram = Histogram::new();
        for micros in 1..=1000 {
            histogram.add(Duration::from_micros(micros));
        }
        let times = histogram.take();
        assert_eq!((times.count(), histogram.take().count()), (1000, 0));
        assert_eq!(Times::read(&times.line()).unwrap(), times);
        for (share, micros) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            let found = times.quantile(share).as_secs_f64() * 1e6;
            assert!((found / micros - 1.0f64).abs() < 0.04, "{share}: {found}");
        }
        assert_eq!(Times::default().quantile(0.5), Duration::ZERO);
        assert!(Times::read("5").is_err() && Times::read("99999:1").is_err());
    }
}

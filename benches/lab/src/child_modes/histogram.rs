//! A histogram of the durations of millions of operations in a few kilobytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Result;

/// Buckets per power of two: a duration is known to 3 %.
const PARTS: usize = 32;
const BUCKETS: usize = PARTS * 60;

/// Counts by duration; any number of threads may add to it.
#[derive(Debug)]
pub(crate) struct Histogram(Vec<AtomicU64>);

/// The counts of a histogram at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Durations(Vec<u64>);

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }

    pub(crate) fn add(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.0.get(bucket_of(nanoseconds)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the counts and resets them.
    pub(crate) fn take(&self) -> Durations {
        Durations(self.0.iter().map(|bucket| bucket.swap(0, Ordering::Relaxed)).collect())
    }
}

/// The first buckets are one nanosecond wide, the others 1/32 of their power of two.
fn bucket_of(nanoseconds: u64) -> usize {
    let power = nanoseconds.max(1).ilog2().saturating_sub(PARTS.ilog2());
    power as usize * PARTS + (nanoseconds >> power) as usize
}

/// The lower bound of a bucket.
fn lower_bound(bucket: usize) -> u64 {
    let power = (bucket / PARTS).saturating_sub(1);
    ((bucket - power * PARTS) as u64) << power
}

impl Durations {
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The quantile, as the middle of its bucket; 1.0 is the maximum. Zero if there are none.
    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        let rank = ((self.count() as f64 * quantile).ceil() as u64).max(1);
        let mut below = 0;
        for (bucket, count) in self.0.iter().enumerate() {
            below += count;
            if below >= rank {
                let (low, high) = (lower_bound(bucket), lower_bound(bucket + 1));
                return Duration::from_nanos(u64::midpoint(low, high));
            }
        }
        Duration::ZERO
    }

    /// As a line of text: `bucket:count` for each bucket that is not empty.
    pub(crate) fn line(&self) -> String {
        let filled = self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(bucket, count)| format!("{bucket}:{count} ")).collect()
    }

    /// Parses that line.
    pub(crate) fn parse(line: &str) -> Result<Durations> {
        let mut counts = vec![0; BUCKETS];
        for pair in line.split_whitespace() {
            let (bucket, count) = pair.split_once(':').ok_or("not a pair")?;
            *counts.get_mut(bucket.parse::<usize>()?).ok_or("no such bucket")? = count.parse()?;
        }
        Ok(Durations(counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_contain_their_durations() {
        for nanoseconds in (0..5000).chain([1 << 20, (1 << 20) + 1, 3_000_000_007, 1 << 40]) {
            let bucket = bucket_of(nanoseconds);
            let range = lower_bound(bucket)..lower_bound(bucket + 1);
            assert!(range.contains(&nanoseconds) && bucket < BUCKETS, "{nanoseconds}");
        }
    }

    #[test]
    fn quantiles_are_within_a_bucket() {
        let histogram = Histogram::new();
        for micros in 1..=1000 {
            histogram.add(Duration::from_micros(micros));
        }
        let durations = histogram.take();
        assert_eq!((durations.count(), histogram.take().count()), (1000, 0));
        assert_eq!(Durations::parse(&durations.line()).unwrap(), durations);
        for (quantile, micros) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            let found = durations.quantile(quantile).as_secs_f64() * 1e6;
            assert!((found / micros - 1.0f64).abs() < 0.04, "{quantile}: {found}");
        }
        assert_eq!(Durations::default().quantile(0.5), Duration::ZERO);
        assert!(Durations::parse("5").is_err() && Durations::parse("99999:1").is_err());
    }
}

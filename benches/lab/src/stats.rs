//! The cost of a cycle over many measured cycles.

use std::time::Duration;

/// Median and mean. On a shared machine other load moves the mean; an expensive cycle now and then
/// does not show in the median.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stats {
    pub(crate) median: Duration,
    pub(crate) mean: Duration,
}

impl Stats {
    /// Of the costs of single cycles; zero if there are none.
    pub(crate) fn of(mut costs: Vec<Duration>) -> Stats {
        costs.sort_unstable();
        let count = u32::try_from(costs.len()).unwrap_or(u32::MAX).max(1);
        let mean = costs.iter().sum::<Duration>() / count;
        Stats { median: costs.get(costs.len() / 2).copied().unwrap_or_default(), mean }
    }

    /// Of the readings of a CPU clock before the first cycle and after each one.
    pub(crate) fn between(readings: &[Duration]) -> Stats {
        let costs = readings.windows(2).filter_map(|pair| pair[1].checked_sub(pair[0]));
        Stats::of(costs.collect())
    }
}

/// The ratio of two costs, by median and by mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) mean: f64,
}

impl Ratio {
    pub(crate) fn of(cost: Stats, base: Stats) -> Ratio {
        let ratio = |cost: Duration, base: Duration| cost.as_secs_f64() / base.as_secs_f64();
        Ratio { median: ratio(cost.median, base.median), mean: ratio(cost.mean, base.mean) }
    }

    /// This ratio divided by another one.
    pub(crate) fn to(self, base: Ratio) -> Ratio {
        Ratio { median: self.median / base.median, mean: self.mean / base.mean }
    }

    pub(crate) fn max(self) -> f64 {
        self.median.max(self.mean)
    }

    pub(crate) fn min(self) -> f64 {
        self.median.min(self.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlier_moves_only_the_mean() {
        let ms = Duration::from_millis;
        let readings = [ms(10), ms(12), ms(14), ms(26)];
        let stats = Stats::between(&readings);
        assert_eq!((stats.median, stats.mean), (ms(2), ms(16) / 3));
        assert_eq!(Stats::between(&[ms(10)]).mean, ms(0));
    }

    #[test]
    fn max_of_two() {
        let ms = Duration::from_millis;
        let (cost, base) =
            (Stats { median: ms(3), mean: ms(8) }, Stats { median: ms(2), mean: ms(4) });
        let ratio = Ratio::of(cost, base);
        assert_eq!((ratio.min(), ratio.max()), (1.5, 2.0));
        assert_eq!(ratio.to(ratio).max(), 1.0);
    }
}

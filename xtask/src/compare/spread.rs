//! What a cycle costs, of many that were measured.

use std::time::Duration;

/// The middle of some cycles, and their mean: on a shared machine a few cycles
/// meet what else it does, which moves the mean; a dear cycle now and then is
/// hidden from the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) median: Duration,
    pub(crate) mean: Duration,
}

impl Spread {
    /// Of the single cycles' costs; zero if there is none.
    pub(crate) fn of(mut costs: Vec<Duration>) -> Spread {
        costs.sort_unstable();
        let count = u32::try_from(costs.len()).unwrap_or(u32::MAX).max(1);
        let mean = costs.iter().sum::<Duration>() / count;
        Spread { median: costs.get(costs.len() / 2).copied().unwrap_or_default(), mean }
    }

    /// Of the readings of a clock of CPU time before the first and after each
    /// cycle.
    pub(crate) fn between(readings: &[Duration]) -> Spread {
        let costs = readings.windows(2).filter_map(|pair| pair[1].checked_sub(pair[0]));
        Spread::of(costs.collect())
    }
}

/// How many times another a cost is, by both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Times {
    median: f64,
    mean: f64,
}

impl Times {
    pub(crate) fn of(cost: Spread, base: Spread) -> Times {
        let ratio = |cost: Duration, base: Duration| cost.as_secs_f64() / base.as_secs_f64();
        Times { median: ratio(cost.median, base.median), mean: ratio(cost.mean, base.mean) }
    }

    /// How many times another one this is.
    pub(crate) fn to(self, base: Times) -> Times {
        Times { median: self.median / base.median, mean: self.mean / base.mean }
    }

    pub(crate) fn most(self) -> f64 {
        self.median.max(self.mean)
    }

    pub(crate) fn least(self) -> f64 {
        self.median.min(self.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dear_cycle_moves_the_mean_alone() {
        let ms = Duration::from_millis;
        let readings = [ms(10), ms(12), ms(14), ms(26)];
        let spread = Spread::between(&readings);
        assert_eq!((spread.median, spread.mean), (ms(2), ms(16) / 3));
        assert_eq!(Spread::between(&[ms(10)]).mean, ms(0));
    }

    #[test]
    fn the_worse_of_both_can_be_had() {
        let ms = Duration::from_millis;
        let (cost, base) =
            (Spread { median: ms(3), mean: ms(8) }, Spread { median: ms(2), mean: ms(4) });
        let times = Times::of(cost, base);
        assert_eq!((times.least(), times.most()), (1.5, 2.0));
        assert_eq!(times.to(times).most(), 1.0);
    }
}

//! What a cycle costs, of many that were measured.

use std::time::Duration;

/// The middle of some cycles, and their mean. Ratios are of middles: on a
/// shared machine a few cycles meet what else it does. The mean beside it
/// shows what a dear cycle now and then would hide from the middle.
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
}

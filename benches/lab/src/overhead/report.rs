//! The latencies of the observed process by observer.

use std::time::Duration;

use super::MEMORY;
use super::observer::Observer;
use crate::Result;
use crate::child_modes::histogram::Durations;
use crate::child_modes::latency_target::Operation;
use crate::host_info;
use crate::table::Table;

/// The reported quantiles.
const QUANTILES: [(&str, f64); 4] =
    [("median, µs", 0.5), ("99 %", 0.99), ("99.9 %", 0.999), ("maximum", 1.0)];

/// The latencies of one operation with one observer: for each quantile those of the rounds, sorted.
#[derive(Debug)]
struct Latencies([Vec<Duration>; QUANTILES.len()]);

impl Latencies {
    fn of(rounds: &[Vec<Durations>], operation: usize) -> Latencies {
        Latencies(QUANTILES.map(|(_, quantile)| {
            let rounds = rounds.iter().filter_map(|round| round.get(operation));
            let mut values: Vec<Duration> = rounds.map(|round| round.quantile(quantile)).collect();
            values.sort_unstable();
            values
        }))
    }

    /// The median of the rounds.
    fn median(&self, quantile: usize) -> Duration {
        let values = &self.0[quantile];
        values.get(values.len() / 2).copied().unwrap_or_default()
    }

    /// The best and the worst round.
    fn range(&self, quantile: usize) -> (Duration, Duration) {
        let values = &self.0[quantile];
        (values.first().copied().unwrap_or_default(), values.last().copied().unwrap_or_default())
    }
}

/// The rounds of an observer, each with the durations by operation.
pub(crate) type Rounds = (Observer, Vec<Vec<Durations>>);

/// Rounds needed for a verdict. By chance alone the best of 4 rounds is above the worst of 8
/// unobserved ones once in 495 times, of 2 and 4 once in 15; and there are 32 comparisons.
const MIN_ROUNDS: usize = 4;

/// Prints a table per operation, and whether psstat is within the noise: its best round is not
/// above the worst unobserved one.
///
/// # Errors
/// If it is not.
pub(crate) fn print(found: &[Rounds], time: Duration) -> Result<()> {
    println!("{}; load {}", host_info::line(), host_info::load());
    println!(
        "A process of {MEMORY} MiB; {} s per observer and round; medians of the rounds, in µs",
        time.as_secs()
    );
    for (at, operation) in Operation::ALL.into_iter().enumerate() {
        println!("\n{}\n", operation.name());
        let mut heading = vec!["observer", "rounds", "per second"];
        heading.extend(QUANTILES.map(|(name, _)| name));
        let mut table = Table::new(&heading);
        for (observer, rounds) in found {
            let latencies = Latencies::of(rounds, at);
            let counts = rounds.iter().filter_map(|round| Some(round.get(at)?.count()));
            let rate = counts.sum::<u64>() as f64 / (time.as_secs_f64() * rounds.len() as f64);
            let [a, b, c, d] = [0, 1, 2, 3].map(|quantile| micros(latencies.median(quantile)));
            let (count, rate) = (rounds.len().to_string(), format!("{rate:.0}"));
            table.row([observer.name(), count, rate, a, b, c, d]);
            if *observer == Observer::None {
                let [a, b, c, d] = [0, 1, 2, 3].map(|quantile| {
                    let (best, worst) = latencies.range(quantile);
                    format!("{}-{}", micros(best), micros(worst))
                });
                let name = "- range of the rounds".to_owned();
                table.row([name, String::new(), String::new(), a, b, c, d]);
            }
        }
        println!("{}", table.text());
    }
    let rounds = found.iter().map(|(_, rounds)| rounds.len()).min().unwrap_or(0);
    if rounds < MIN_ROUNDS {
        println!("{rounds} rounds are too few for a verdict; it needs {MIN_ROUNDS}.");
        return Ok(());
    }
    let outside = outside_noise(found);
    for line in &outside {
        println!("outside the noise: {line}");
    }
    if outside.is_empty() {
        println!("psstat is within the noise everywhere.");
        return Ok(());
    }
    Err("psstat is outside the noise".into())
}

/// Where psstat is outside the noise.
fn outside_noise(found: &[Rounds]) -> Vec<String> {
    let unobserved = found.iter().find(|(observer, _)| *observer == Observer::None);
    let Some((_, unobserved)) = unobserved else {
        return vec!["there is no unobserved round".to_owned()];
    };
    let mut outside = Vec::new();
    for (at, operation) in Operation::ALL.into_iter().enumerate() {
        let noise = Latencies::of(unobserved, at);
        for (observer, rounds) in found {
            if matches!(observer, Observer::Psstat(_)) {
                let latencies = Latencies::of(rounds, at);
                for (quantile, (name, _)) in QUANTILES.into_iter().enumerate() {
                    let (best, worst) = (latencies.range(quantile).0, noise.range(quantile).1);
                    if best > worst {
                        outside.push(format!(
                            "{}, {}: {name} {} at best, {} unobserved at worst",
                            operation.name(),
                            observer.name(),
                            micros(best),
                            micros(worst)
                        ));
                    }
                }
            }
        }
    }
    outside
}

fn micros(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 100.0 { format!("{micros:.1}") } else { format!("{micros:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child_modes::histogram::Histogram;
    use crate::peers::Peer;

    /// Rounds with one duration per operation.
    fn rounds(micros: &[u64]) -> Vec<Vec<Durations>> {
        let round = |&micros| {
            let histogram = Histogram::new();
            histogram.add(Duration::from_micros(micros));
            let durations = histogram.take();
            Operation::ALL.map(|_| durations.clone()).to_vec()
        };
        micros.iter().map(round).collect()
    }

    fn outside(observer: Observer, micros: &[u64]) -> usize {
        let unobserved = (Observer::None, rounds(&[10, 20, 12]));
        outside_noise(&[unobserved, (observer, rounds(micros))]).len()
    }

    #[test]
    fn noise_is_worst_unobserved_round() {
        let all = Operation::ALL.len() * QUANTILES.len();
        assert_eq!(outside(Observer::Psstat(15), &[19, 40, 40]), 0, "the best round counts");
        assert_eq!(outside(Observer::Psstat(1), &[40, 22, 40]), all);
    }

    #[test]
    fn only_psstat_is_checked() {
        assert_eq!(outside(Observer::Psstat(15), &[20]), 0);
        assert_eq!(outside(Observer::Peer(Peer::Netdata), &[21]), 0);
        assert_eq!(outside_noise(&[]).len(), 1);
    }
}

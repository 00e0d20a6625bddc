//! What the observed process noticed, beside the noise.

use std::time::Duration;

use super::histogram::Times;
use super::observer::Observer;
use super::target::Work;
use crate::compare::table::Table;
use crate::machine;

/// The shares of operations that are told; the last is the longest of all.
const SHARES: [(&str, f64); 4] =
    [("median, µs", 0.5), ("99 %", 0.99), ("99.9 %", 0.999), ("longest", 1.0)];

/// What was found of one kind of work with one observer: for each of
/// [`SHARES`], the rounds' values by size.
#[derive(Debug)]
struct Found(Vec<Vec<Duration>>);

impl Found {
    fn of(rounds: &[Vec<Times>], work: usize) -> Found {
        let of = |share| {
            let times = rounds.iter().filter_map(|round| round.get(work));
            let mut values: Vec<Duration> = times.map(|times| times.quantile(share)).collect();
            values.sort_unstable();
            values
        };
        Found(SHARES.iter().map(|&(_, share)| of(share)).collect())
    }

    /// The middle round, by share.
    fn middle(&self, share: usize) -> Duration {
        let values = &self.0[share];
        values.get(values.len() / 2).copied().unwrap_or_default()
    }

    /// The least and the most of all rounds.
    fn ends(&self, share: usize) -> (Duration, Duration) {
        let values = &self.0[share];
        (values.first().copied().unwrap_or_default(), values.last().copied().unwrap_or_default())
    }
}

/// Prints a table for each kind of work, and whether psstat is within the
/// noise: its middle round is not above the worst of nobody's.
pub(crate) fn print(found: &[(Observer, Vec<Vec<Times>>)], time: Duration, memory: u64) {
    println!("{}; load {}", machine::line(), machine::load());
    println!(
        "A process of {memory} MiB; {} s an observer and round; middle of the rounds, in µs",
        time.as_secs()
    );
    let mut outside = Vec::new();
    for (at, work) in Work::ALL.into_iter().enumerate() {
        println!("\n{}\n", work.name());
        let noise = found.iter().find(|(observer, _)| *observer == Observer::Nobody);
        let noise = noise.map(|(_, rounds)| Found::of(rounds, at));
        let mut heading = vec!["observer", "rounds", "a second"];
        heading.extend(SHARES.map(|(name, _)| name));
        let mut table = Table::new(&heading);
        for (observer, rounds) in found {
            let shares = Found::of(rounds, at);
            let counts = rounds.iter().filter_map(|round| Some(round.get(at)?.count()));
            let rate = counts.sum::<u64>() as f64 / (time.as_secs_f64() * rounds.len() as f64);
            let [median, most, rare, longest] =
                [0, 1, 2, 3].map(|share| micros(shares.middle(share)));
            let count = rounds.len().to_string();
            table.row([
                observer.name().into(),
                count,
                format!("{rate:.0}"),
                median,
                most,
                rare,
                longest,
            ]);
            let Some(noise) = &noise else { continue };
            if *observer == Observer::Nobody {
                let spread = |share| {
                    let (least, most) = noise.ends(share);
                    format!("{}-{}", micros(least), micros(most))
                };
                let [median, most, rare, longest] = [0, 1, 2, 3].map(spread);
                let name = "- its rounds are between".to_owned();
                table.row([name, String::new(), String::new(), median, most, rare, longest]);
            }
            if observer.is_psstat() {
                outside.extend(
                    outside_of(noise, &shares)
                        .map(|share| format!("{}, {}: {share}", work.name(), observer.name())),
                );
            }
        }
        println!("{}", table.text());
    }
    if outside.is_empty() {
        println!("psstat is within the noise in all of it.");
    }
    for line in outside {
        println!("beyond the noise: {line}");
    }
}

/// The shares by which an observer is beyond the noise.
fn outside_of(noise: &Found, found: &Found) -> impl Iterator<Item = String> {
    let beyond = |share: &usize| found.middle(*share) > noise.ends(*share).1;
    let say = |share| {
        let (now, worst) = (micros(found.middle(share)), micros(noise.ends(share).1));
        format!("{} {now}, nobody's worst {worst}", SHARES[share].0)
    };
    (0..SHARES.len()).filter(beyond).map(say).collect::<Vec<_>>().into_iter()
}

fn micros(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 100.0 { format!("{micros:.1}") } else { format!("{micros:.0}") }
}

#[cfg(test)]
mod tests {
    use super::super::histogram::Histogram;
    use super::*;

    /// Rounds of one kind of work, each of one operation.
    fn rounds(micros: &[u64]) -> Vec<Vec<Times>> {
        let times = |&micros| {
            let histogram = Histogram::new();
            histogram.add(Duration::from_micros(micros));
            vec![histogram.take()]
        };
        micros.iter().map(times).collect()
    }

    #[test]
    fn the_worst_of_nobodys_rounds_is_the_noise() {
        let noise = Found::of(&rounds(&[10, 20, 12]), 0);
        let beyond = |micros: &[u64]| outside_of(&noise, &Found::of(&rounds(micros), 0)).count();
        assert_eq!(beyond(&[19, 19, 40]), 0, "the middle counts");
        assert_eq!(beyond(&[19, 40, 40]), SHARES.len());
    }
}

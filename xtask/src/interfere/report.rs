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

/// Rounds from which on psstat is judged. By chance alone the best of 4 is
/// above the worst of nobody's 8 once in 495 times, of 2 and 4 once in 15; and
/// there are 32 comparisons.
pub(crate) const TO_JUDGE: usize = 4;

/// Prints a table for each kind of work, and whether psstat is within the
/// noise: its best round is not above the worst of nobody's. Gives where it is
/// not.
pub(crate) fn print(
    found: &[(Observer, Vec<Vec<Times>>)],
    time: Duration,
    memory: u64,
) -> Vec<String> {
    println!("{}; load {}", machine::line(), machine::load());
    println!(
        "A process of {memory} MiB; {} s an observer and round; middle of the rounds, in µs",
        time.as_secs()
    );
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
        }
        println!("{}", table.text());
    }
    let rounds = found.iter().map(|(_, rounds)| rounds.len()).min().unwrap_or(0);
    if rounds < TO_JUDGE {
        println!("{rounds} rounds are too few to judge by; {TO_JUDGE} would do.");
        return Vec::new();
    }
    let outside = beyond(found);
    if outside.is_empty() {
        println!("psstat is within the noise in all of it.");
    }
    for line in &outside {
        println!("beyond the noise: {line}");
    }
    outside
}

/// In what psstat is beyond the noise.
fn beyond(found: &[(Observer, Vec<Vec<Times>>)]) -> Vec<String> {
    let Some((_, nobody)) = found.iter().find(|(observer, _)| *observer == Observer::Nobody) else {
        return vec!["nobody's rounds are missing".to_owned()];
    };
    let mut outside = Vec::new();
    for (at, work) in Work::ALL.into_iter().enumerate() {
        let noise = Found::of(nobody, at);
        for (observer, rounds) in found.iter().filter(|(observer, _)| observer.is_psstat()) {
            let found = Found::of(rounds, at);
            let shares = outside_of(&noise, &found);
            outside.extend(
                shares.map(|share| format!("{}, {}: {share}", work.name(), observer.name())),
            );
        }
    }
    outside
}

/// The shares by which an observer is beyond the noise.
fn outside_of(noise: &Found, found: &Found) -> impl Iterator<Item = String> {
    let beyond = |share: &usize| found.ends(*share).0 > noise.ends(*share).1;
    let say = |share| {
        let (best, worst) = (micros(found.ends(share).0), micros(noise.ends(share).1));
        format!("{} {best} at best, nobody's worst {worst}", SHARES[share].0)
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
        assert_eq!(beyond(&[19, 40, 40]), 0, "its best round counts");
        assert_eq!(beyond(&[40, 22, 40]), SHARES.len());
    }

    /// It was printed once, and the verb ended with 0.
    #[test]
    fn only_psstat_is_judged() {
        let of = |micros: &[u64]| {
            let rounds = rounds(micros).into_iter();
            let all_works = |round: Vec<Times>| Work::ALL.map(|_| round[0].clone()).to_vec();
            rounds.map(all_works).collect::<Vec<_>>()
        };
        let nobody = (Observer::Nobody, of(&[10, 20, 12]));
        let found = |observer, micros| vec![nobody.clone(), (observer, of(micros))];
        assert_eq!(beyond(&found(Observer::Psstat, &[20])), [""; 0]);
        assert_eq!(beyond(&found(Observer::Netdata, &[21])), [""; 0]);
        let all = Work::ALL.len() * SHARES.len();
        assert_eq!(beyond(&found(Observer::PsstatEachSecond, &[21])).len(), all);
        assert_eq!(beyond(&[]).len(), 1);
    }
}

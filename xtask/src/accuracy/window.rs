//! How long the window is that all processes share.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use psstat_sampler::FastPaths;

use super::crowd::Crowd;
use super::{open, sampler};
use crate::compare::population::raise_descriptor_limit;
use crate::stop::Stop;
use crate::{Result, machine, sys};

/// Windows that are measured.
const WINDOWS: usize = 5;
/// How long one is to be, and how far off it may be, in ms.
const LENGTH: f64 = 1000.0;
const BOUND: f64 = 10.0;

/// Measures the window of each of a crowd; gives what is beyond the bound.
pub(crate) fn run(size: usize, stop: &Stop) -> Result<Vec<String>> {
    // The sampler keeps four open of each.
    raise_descriptor_limit(4 * size as u64 + 200)?;
    let words = [format!("crowd{}", std::process::id())];
    let mut crowd = Crowd::start(&words[0], size)?;
    let mut sampler = sampler(FastPaths::ALL)?;
    println!("\nthe window of each of {size} processes, in ms; load {}\n", machine::load());
    println!("processes  shortest      mean   longest  late by      open     close");
    let mut missed = Vec::new();
    for number in 0..=WINDOWS {
        let before = clocks(sampler.processes().map(|process| process.pid));
        let begin = Instant::now();
        let due = open(&mut sampler, &words);
        let opened = begin.elapsed();
        let at_start = clocks(before.keys().copied());
        stop.sleep(Duration::from_millis(100))?;
        crowd.poke()?;
        stop.sleep(due.saturating_duration_since(Instant::now()))?;
        let at_end = clocks(before.keys().copied());
        let begin = Instant::now();
        let late = begin - due;
        sampler.close();
        let closed = begin.elapsed();
        // The first one finds the crowd.
        if number == 0 {
            continue;
        }
        let after = clocks(before.keys().copied());
        let mut windows = Vec::new();
        for process in sampler.processes() {
            let clock = |clocks: &HashMap<u32, u64>| clocks.get(&process.pid).copied();
            let (start, end) = (clock(&before), clock(&after));
            // It slept while both of us read it.
            let slept = start == clock(&at_start) && end == clock(&at_end);
            if let (Some(start), Some(end), Some(pcpu), true) =
                (start, end, process.numbers.pcpu, slept)
                && end > start
            {
                windows.push((end - start) as f64 / pcpu * 100.0 / 1e6);
            }
        }
        let sum: f64 = windows.iter().sum();
        println!(
            "{:>9} {:>9.3} {:>9.3} {:>9.3} {:>8.3} {:>9.2} {:>9.2}",
            windows.len(),
            windows.iter().copied().fold(f64::INFINITY, f64::min),
            sum / windows.len() as f64,
            windows.iter().copied().fold(0.0, f64::max),
            late.as_secs_f64() * 1e3,
            opened.as_secs_f64() * 1e3,
            closed.as_secs_f64() * 1e3,
        );
        missed.extend(judge(&windows));
    }
    Ok(missed)
}

/// What is wrong with the lengths of a window, in ms.
fn judge(windows: &[f64]) -> Option<String> {
    if windows.is_empty() {
        return Some("no process told how long its window was".to_owned());
    }
    let off = windows.iter().map(|window| (window - LENGTH).abs()).fold(0.0, f64::max);
    let by = off - BOUND;
    (by > 0.0).then(|| format!("a window is {off:.3} ms off, {by:.3} too much"))
}

/// CPU time of each process that is there.
fn clocks(pids: impl Iterator<Item = u32>) -> HashMap<u32, u64> {
    pids.filter_map(|pid| Some((pid, sys::cpu_nanoseconds(pid).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_has_its_window() {
        assert_eq!(judge(&[1000.1, 1009.9, 990.1]), None);
        assert!(judge(&[1000.1, 1010.1, 1000.0]).is_some());
        assert!(judge(&[989.9]).is_some());
        assert!(judge(&[]).is_some());
    }
}

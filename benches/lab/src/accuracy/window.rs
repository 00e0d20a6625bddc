//! The length of the window that all processes share.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use psstat_sampler::FastPaths;

use super::{open, sampler};
use crate::child_modes::sleepers::Sleepers;
use crate::population::raise_fd_limit;
use crate::stop::Stop;
use crate::{Result, host_info, sys};

/// Measured windows.
const WINDOWS: usize = 5;
/// The expected length and the maximum deviation, in ms.
const LENGTH: f64 = 1000.0;
const BOUND: f64 = 10.0;

/// Measures the window of each process; returns what is out of bounds.
pub(crate) fn run(size: usize, stop: &Stop) -> Result<Vec<String>> {
    // The sampler keeps four files of each process open.
    raise_fd_limit(4 * size as u64 + 200)?;
    let names = [format!("sleepers{}", std::process::id())];
    let mut sleepers = Sleepers::start(&names[0], size)?;
    let mut sampler = sampler(FastPaths::ALL)?;
    println!("\nthe window of each of {size} processes, in ms; load {}\n", host_info::load());
    println!("processes  shortest      mean   longest  late by      open     close");
    let mut missed = Vec::new();
    for number in 0..=WINDOWS {
        let last = sampler.last_sample();
        let pids = last.iter().flat_map(psstat_sampler::Sample::processes);
        let before = clocks(pids.map(|process| process.pid));
        drop(last);
        let start = Instant::now();
        let window = open(&mut sampler, &names);
        let due = window.deadline();
        let opened = start.elapsed();
        let at_start = clocks(before.keys().copied());
        stop.sleep(Duration::from_millis(100))?;
        sleepers.wake()?;
        stop.sleep(due.saturating_duration_since(Instant::now()))?;
        let at_end = clocks(before.keys().copied());
        let start = Instant::now();
        let late = start - due;
        let sample = window.close();
        let closed = start.elapsed();
        // The first window classifies the processes.
        if number == 0 {
            continue;
        }
        let after = clocks(before.keys().copied());
        let mut windows = Vec::new();
        for process in sample.processes() {
            let clock = |clocks: &HashMap<u32, u64>| clocks.get(&process.pid).copied();
            let (first, last) = (clock(&before), clock(&after));
            // It slept while both readers read it.
            let slept = first == clock(&at_start) && last == clock(&at_end);
            if let (Some(first), Some(last), Some(share), true) =
                (first, last, process.usage.cpu_percent, slept)
                && last > first
            {
                windows.push((last - first) as f64 / share * 100.0 / 1e6);
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
        missed.extend(check(&windows));
    }
    Ok(missed)
}

/// Checks the lengths of a window, in ms.
fn check(windows: &[f64]) -> Option<String> {
    if windows.is_empty() {
        return Some("the window of no process is known".to_owned());
    }
    let off = windows.iter().map(|window| (window - LENGTH).abs()).fold(0.0, f64::max);
    let by = off - BOUND;
    (by > 0.0).then(|| format!("a window is off by {off:.3} ms, {by:.3} too much"))
}

/// The CPU time of each process that exists.
fn clocks(pids: impl Iterator<Item = u32>) -> HashMap<u32, u64> {
    pids.filter_map(|pid| Some((pid, sys::cpu_nanoseconds(pid).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_length_is_bounded() {
        assert_eq!(check(&[1000.1, 1009.9, 990.1]), None);
        assert!(check(&[1000.1, 1010.1, 1000.0]).is_some());
        assert!(check(&[989.9]).is_some());
        assert!(check(&[]).is_some());
    }
}

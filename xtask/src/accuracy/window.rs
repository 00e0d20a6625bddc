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

/// Measures the window of each of a crowd.
pub(crate) fn run(size: usize, stop: &Stop) -> Result<()> {
    // The sampler keeps four open of each.
    raise_descriptor_limit(4 * size as u64 + 200)?;
    let words = [format!("crowd{}", std::process::id())];
    let mut crowd = Crowd::start(&words[0], size)?;
    let mut sampler = sampler(FastPaths::ALL)?;
    println!("\nthe window of each of {size} processes, in ms; load {}\n", machine::load());
    println!("processes  shortest      mean   longest  late by      open     close");
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
            if let (Some(start), Some(end), Some(pcpu), true) = (start, end, process.pcpu, slept)
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
    }
    Ok(())
}

/// CPU time of each process that is there.
fn clocks(pids: impl Iterator<Item = u32>) -> HashMap<u32, u64> {
    pids.filter_map(|pid| Some((pid, sys::cpu_nanoseconds(pid).ok()?))).collect()
}

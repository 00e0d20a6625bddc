//! CPU of live processes by the clock and by ticks.

mod common;

use std::time::{Duration, Instant};

use common::{A, Watch, options, testproc, word};
use psstat_sampler::{FastPaths, Options};
use psstat_testproc::oracle;

/// By a clock tick, 10 ms, `stat` counts user time, and system time as well.
const TICKS: f64 = 0.02;

/// Both in the same windows, and both within what was used in and around them.
#[test]
fn the_clock_and_the_ticks_agree() {
    let word = word("both");
    let mut one = testproc(&word);
    one.burn_until_stopped(40.0, 2).unwrap();
    let window = Duration::from_millis(300);
    let mut watches = [FastPaths::ALL, FastPaths::NONE]
        .map(|fast| Watch::with(Options { fast_paths: fast, window, ..options() }, &[&word]));
    assert!(watches[0].sampler.fast_paths().cpu_clock, "here the clock can be read");
    assert!(!watches[1].sampler.fast_paths().cpu_clock);
    for watch in &mut watches {
        watch.cycle();
    }
    let used = || oracle::cpu_time(one.pid()).unwrap().as_secs_f64();
    let mut sums = [0.0; 2];
    for _ in 0..6 {
        let (begun, before) = (Instant::now(), used());
        let dues = watches.each_mut().map(Watch::open);
        let opened = used();
        std::thread::sleep(dues[1].saturating_duration_since(Instant::now()));
        let closing = used();
        let mut measured = [0.0; 2];
        for (watch, (due, measured)) in watches.iter_mut().zip(dues.into_iter().zip(&mut measured))
        {
            *measured = watch.close(due).image(A).pcpu.unwrap() / 100.0;
        }
        let (after, outer) = (used(), begun.elapsed().as_secs_f64());
        for (measured, sum) in measured.iter().zip(&mut sums) {
            // A window is no shorter than asked for, and within the whole.
            let most = after - before + TICKS;
            assert!(measured * window.as_secs_f64() <= most, "{measured} of {most} s");
            let least = closing - opened - TICKS;
            assert!(measured * outer >= least, "{measured} of {least} s");
            *sum += measured;
        }
    }
    assert!(sums.iter().all(|&sum| sum > 0.0), "{sums:?}");
}

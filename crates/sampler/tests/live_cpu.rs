//! CPU time of live processes: by the CPU clock and by ticks.

mod common;

use std::time::{Duration, Instant};

use common::{A, Watch, options, quiesce, testproc, word};
use psstat_sampler::{FastPaths, Options};
use psstat_testproc::oracle;

/// `stat` counts user time in ticks of 10 ms, and system time too.
const TICKS: f64 = 0.02;

/// Both measure the same windows, and both results are within the time used in and around them.
#[test]
fn cpu_clock_and_ticks_agree() {
    let word = word("both");
    let mut one = testproc(&word);
    one.burn_until_stopped(40.0, 2).unwrap();
    let window = Duration::from_millis(300);
    let mut watches = [FastPaths::ALL, FastPaths::NONE]
        .map(|fast_paths| Watch::with(Options { fast_paths, window, ..options() }, &[&word]));
    assert!(watches[0].sampler.fast_paths().cpu_clock, "the CPU clock can be read here");
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
            // A window is at least as long as requested, and shorter than the whole.
            let most = after - before + TICKS;
            assert!(measured * window.as_secs_f64() <= most, "{measured} of {most} s");
            let least = closing - opened - TICKS;
            assert!(measured * outer >= least, "{measured} of {least} s");
            *sum += measured;
        }
    }
    assert!(sums.iter().all(|&sum| sum > 0.0), "{sums:?}");
}

#[test]
fn cpu_percent_matches_cpu_time() {
    let word = word("burn");
    let mut one = testproc(&word);
    one.burn_until_stopped(30.0, 1).unwrap();
    let options = Options { window: Duration::from_millis(200), ..options() };
    let mut watch = Watch::with(options, &[&word]);
    watch.cycle();
    let used = || oracle::cpu_time(one.pid()).unwrap().as_secs_f64();
    for _ in 0..6 {
        let before = used();
        let due = watch.open();
        let opened = used();
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let closing = used();
        let pcpu = watch.close(due).image(A).pcpu.unwrap();
        let after = used();
        let window = watch.sampler.processes().next().unwrap().window.unwrap();
        let measured = pcpu / 100.0 * window.as_secs_f64();
        // At most the time used around the window, at least the time used in it, on a busy
        // machine too. The kernel updates a running thread's time up to a tick late.
        let (most, least) = (after - before + 0.01, closing - opened - 0.01);
        assert!((least..=most).contains(&measured), "{measured} s, not {least} to {most}");
    }
    assert!(one.stop_burning().unwrap().cpu > Duration::ZERO);
}

#[test]
fn start_and_exit_in_window() {
    let word = word("exits");
    let (steady, mut busy) = (testproc(&word), testproc(&word));
    busy.burn(100.0, Duration::from_millis(100)).unwrap();
    quiesce(&[&steady]);
    let mut watch = Watch::new(&[&word]);
    watch.cycle();
    let due = watch.open();
    busy.kill().unwrap();
    drop(busy);
    let mut new = testproc(&word);
    new.burn(100.0, Duration::from_millis(50)).unwrap();
    let image = watch.close(due).image(A);
    assert_eq!((image.procs, image.pcpu), (1, Some(0.0)));
    let image = watch.cycle().image(A);
    assert_eq!(image.procs, 2);
    assert!(image.pcpu.unwrap() < 50.0, "{:?}", image.pcpu);
}

//! CPU time of live processes: by the CPU clock and by ticks.

mod common;

use std::time::{Duration, Instant};

use common::{A, Watch, options, quiesce, testproc, word};
use psstat_sampler::{FastPaths, Options};
use psstat_testproc::oracle;

/// The CPU clock and the ticks of `stat` measure the same windows. Both results are at most the
/// time used around the windows and at least the time used in them, on a busy machine too.
#[test]
fn cpu_percent_matches_cpu_time() {
    // The kernel updates the time of a running thread up to a tick late; `stat` counts user time
    // in ticks of 10 ms, and system time too.
    const MODES: [(FastPaths, f64); 2] = [(FastPaths::ALL, 0.01), (FastPaths::NONE, 0.02)];
    let word = word("burn");
    let mut one = testproc(&word);
    one.burn_until_stopped(40.0, 2).unwrap();
    let window = Duration::from_millis(300);
    let mut watches = MODES
        .map(|(fast_paths, _)| Watch::with(Options { fast_paths, window, ..options() }, &[&word]));
    assert!(watches[0].sampler.fast_paths().cpu_clock, "the CPU clock can be read here");
    assert!(!watches[1].sampler.fast_paths().cpu_clock);
    for watch in &mut watches {
        watch.cycle();
    }
    let used = || oracle::cpu_time(one.pid()).unwrap().as_secs_f64();
    let mut sums = [0.0; 2];
    for _ in 0..6 {
        let before = used();
        let dues = watches.each_mut().map(Watch::open);
        let opened = used();
        std::thread::sleep(dues[1].saturating_duration_since(Instant::now()));
        let closing = used();
        let mut measured = [0.0; 2];
        for n in [0, 1] {
            let percent = watches[n].close(dues[n]).image(A).cpu_percent.unwrap();
            let process = watches[n].sampler.processes().next().unwrap();
            assert!(process.window.unwrap() >= window);
            measured[n] = percent / 100.0 * process.window.unwrap().as_secs_f64();
        }
        let after = used();
        for n in [0, 1] {
            let error = MODES[n].1;
            let (least, most) = (closing - opened - error, after - before + error);
            assert!((least..=most).contains(&measured[n]), "{measured:?} s, {least} to {most}");
            sums[n] += measured[n];
        }
    }
    assert!(sums.iter().all(|&sum| sum > 0.0), "{sums:?}");
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
    assert_eq!((image.processes, image.cpu_percent), (1, Some(0.0)));
    let image = watch.cycle().image(A);
    assert_eq!(image.processes, 2);
    assert!(image.cpu_percent.unwrap() < 50.0, "{:?}", image.cpu_percent);
}

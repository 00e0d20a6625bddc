//! CPU time of live processes: by the CPU clock and by ticks.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{A, Options, Watch, options, quiesce, testproc, word};
use psstat_sampler::FastPaths;
use psstat_testproc::{oracle, wait_until};

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
            // `open` gives an instant a millisecond before the end of the window, and the
            // readings are exact to some tenths of one.
            assert!(process.window.unwrap() >= window - Duration::from_millis(2));
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

/// A process with one thread that never sleeps and makes no system call, which would bring its CPU
/// clock up to date. With the right to a real-time priority, other processes hardly ever take its
/// CPU.
struct Busy(Child);

impl Busy {
    fn spawn(word: &str) -> Busy {
        let mut command = Command::new("sh");
        let script = "chrt -f -p 1 $$ >&2; while :; do :; done";
        command.args(["-c", script, word]);
        Busy(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// How long it has run, and how long it has waited for a CPU, since its start.
    fn schedule(&self) -> Option<[Duration; 2]> {
        let text = std::fs::read_to_string(format!("/proc/{}/schedstat", self.0.id())).ok()?;
        let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().ok());
        Some(
            [(); 2].map(|()| numbers.next().flatten().map_or(Duration::ZERO, Duration::from_nanos)),
        )
    }

    /// How long it has waited. A wait is counted when it ends, so this returns while the thread
    /// runs.
    fn waited(&self) -> Duration {
        let [before, _] = self.schedule().unwrap();
        loop {
            let [run, waited] = self.schedule().unwrap();
            if run != before {
                return waited;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The clock of a running thread moves in ticks: a window of 1.0013 s over a busy thread was off by
/// up to 0.4 points, and a single thread had 100.27 %. A thread that has not waited for a CPU has
/// used exactly the elapsed time.
#[test]
fn busy_thread_has_all_of_its_time() {
    let word = word("busy");
    let busy = Busy::spawn(&word);
    let window = Duration::from_millis(300);
    let mut watch = Watch::with(Options { window, ..options() }, &[&word]);
    if !watch.sampler.fast_paths().cpu_clock {
        return println!("skipped: CPU clocks are not available");
    }
    if std::thread::available_parallelism().unwrap().get() == 1 {
        return println!("skipped: the sampler needs a CPU for itself");
    }
    if busy.schedule().is_none() {
        return println!("skipped: no /proc/PID/schedstat");
    }
    // Until then it may sleep while it starts another program.
    wait_until("the loop", || busy.schedule().unwrap()[0] > Duration::from_millis(100));
    watch.cycle();
    let tick = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse);
    let tick = tick.tv_nsec as f64 / 1e6;
    let mut windows = 0;
    let (mut paced, mut undisturbed, mut exact) = (0, 0, 0);
    while windows < 30 && undisturbed < 8 {
        let (before, stolen) = (busy.waited(), stolen_ticks());
        let due = watch.open();
        // A wake-up that is late, by another fraction of a tick each time.
        std::thread::sleep(Duration::from_micros(1_300 * windows));
        let percent = watch.close(due).image(A).cpu_percent.unwrap();
        let waited = busy.waited() - before;
        assert!(percent <= 100.0, "{percent}");
        let process = watch.sampler.processes().next().unwrap();
        let length = process.window.unwrap().as_secs_f64() * 1e3;
        println!("{percent:.4} % in {length:.3} ms, waited {waited:?}");
        windows += 1;
        // Not if the machine delays the reader again and again.
        let is_paced = !(0.25..tick - 0.25).contains(&(length % tick));
        paced += u64::from(is_paced);
        if is_paced && waited < Duration::from_micros(100) && stolen == stolen_ticks() {
            undisturbed += 1;
            // 0.05 points of a second.
            exact += u64::from((100.0 - percent) / 100.0 * length < 0.5);
        }
    }
    // A busy machine delays readers; without pacing it would be one window in eight.
    assert!(4 * paced > windows, "{paced} of {windows} windows are a whole number of ticks");
    if undisturbed < 8 {
        return println!("skipped: other processes used the CPU in all but {undisturbed} windows");
    }
    // A host can delay the ticks of a virtual machine without saying so.
    assert!(exact >= 5, "{exact} of {undisturbed} windows are exact");
}

/// The time that the host has taken from this machine, in ticks.
fn stolen_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    stat.lines().next().unwrap().split_ascii_whitespace().nth(8).unwrap().parse().unwrap()
}

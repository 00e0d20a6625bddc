//! Clock changes: of the time of day, which a preloaded library replaces, and of the other clocks
//! in a time namespace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use psstat_testproc::TempDir;
use rustix::process::Signal;

use super::common::{Collector, Cycle, PROGRAM, Setup, conf, expected_values, testproc, word};

/// Replaces the C library's clock: the time of day is off by the number of seconds in a file. All
/// other clocks are unchanged.
const FALSE_TIME: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int (*real)(clockid_t, struct timespec *) =
        (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    long offset = 0;
    FILE *file = clock == CLOCK_REALTIME ? fopen(getenv("FALSE_TIME"), "r") : NULL;
    if (file) {
        if (fscanf(file, "%ld", &offset) == 1) time->tv_sec += offset;
        fclose(file);
    }
    return result;
}
"#;

/// A collector with a wrong time of day. The monotonic clock is correct.
struct FalseClock {
    collector: Collector,
    offset: PathBuf,
}

impl FalseClock {
    fn start(temp: &TempDir, conf: &Path) -> Option<FalseClock> {
        let (source, library) = (temp.join("false.c"), temp.join("false.so"));
        std::fs::write(&source, FALSE_TIME).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl");
        let compiled = compiler.output();
        if !compiled.as_ref().is_ok_and(|output| output.status.success()) {
            println!("skipped: no C compiler: {compiled:?}");
            return None;
        }
        let offset = temp.join("offset");
        std::fs::write(&offset, "0").unwrap();
        let setup = Setup::with(conf).env("LD_PRELOAD", library).env("FALSE_TIME", &offset);
        Some(FalseClock { collector: setup.spawn(), offset })
    }

    /// Sets its clock off by this number of seconds, atomically.
    fn set(&self, seconds: i64) {
        let new = self.offset.with_extension("new");
        std::fs::write(&new, seconds.to_string()).unwrap();
        std::fs::rename(&new, &self.offset).unwrap();
    }

    /// The first cycle after the change, and the next one.
    fn two(&self) -> (Cycle, Cycle) {
        let count = self.collector.count();
        let mut cycles = self.collector.cycles(count + 3);
        let second = cycles.remove(count + 2);
        (cycles.remove(count + 1), second)
    }
}

fn seconds_of_day() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

/// The difference of the time of a cycle that has just been read from the real time: up to a second
/// later, if two cycles end in the same second.
fn off(cycle: &Cycle) -> i64 {
    cycle.time.cast_signed() - seconds_of_day()
}

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
/// The maximum delay of a cycle on a busy machine, in seconds.
const LATE: i64 = 30;

#[test]
fn clock_set_back_an_hour_and_forward_a_day() {
    let word = word("timed");
    let mut timed = testproc(&word);
    timed.burn_until_stopped(20.0, 1).unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("timed {word}\n"));
    let Some(clock) = FalseClock::start(&temp, &path) else { return };
    let collector = &clock.collector;
    let first = collector.cycles(2).remove(1);
    assert!((-LATE..=1).contains(&off(&first)), "{}", off(&first));

    // Back: timestamps continue from the previous value at the correct rate.
    clock.set(-HOUR);
    let begin = Instant::now();
    collector.wait_for_log(1, "clock set back by");
    let (one, two) = clock.two();
    assert!((-LATE..=2).contains(&off(&two)), "{}", off(&two));
    assert!(two.time > one.time && one.time > first.time);
    let passed = begin.elapsed().as_secs() + 3;
    assert!(two.time - first.time <= passed + LATE.unsigned_abs());

    // Forward: timestamps follow the clock.
    clock.set(DAY);
    let (one, two) = clock.two();
    assert!((DAY - LATE..=DAY + 1).contains(&off(&one)), "{}", off(&one));
    assert!((DAY - LATE..=DAY + 1).contains(&off(&two)), "{}", off(&two));

    // Correct again: timestamps never go back, and the change is logged a second time.
    clock.set(0);
    let line = collector.wait_for_log(2, "clock set back by").text;
    let seconds: i64 = line.split(' ').find_map(|word| word.parse().ok()).unwrap();
    assert!((DAY - LATE..=DAY + 2).contains(&seconds), "{line}");
    let (one, two) = clock.two();
    assert!(one.time < two.time && off(&two) >= DAY - LATE);

    // No other value depends on the time of day.
    for cycle in collector.cycles(collector.count()).iter().skip(1) {
        let pcpu = cycle.number("pcpu image=timed");
        assert!((0.5..150.0).contains(&pcpu), "{pcpu} %");
        assert_eq!(cycle.get("procs image=timed"), 1);
        assert_eq!(cycle.get("collector.conf_loaded"), 1);
        let wall = cycle.number("collector.wall");
        assert!((500.0..30_000.0).contains(&wall), "{wall} ms");
    }
    assert_eq!(collector.log().len(), 3, "{:#?}", collector.log());
}

/// A suspended machine: nothing runs, the monotonic clock stops, and the time of day continues.
#[test]
fn window_is_correct_after_suspend() {
    let word = word("asleep");
    let mut asleep = testproc(&word);
    asleep.burn_until_stopped(20.0, 1).unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("asleep {word}\n"));
    let Some(clock) = FalseClock::start(&temp, &path) else { return };
    let collector = &clock.collector;
    let before = collector.cycles(2).remove(1);
    let count = collector.stop_in_window();
    clock.set(60);
    collector.signal(Signal::CONT);
    let cycles = collector.cycles(count + 3);
    for cycle in &cycles[count..] {
        assert!(cycle.time >= before.time + 60);
        let pcpu = cycle.number("pcpu image=asleep");
        assert!((0.5..150.0).contains(&pcpu), "{pcpu} %");
    }
    assert!((60 - LATE..=60).contains(&off(cycles.last().unwrap())));
    assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
}

/// In a time namespace, such as that of a restored container, the clocks since boot differ, and so
/// do the start times in `stat`.
#[test]
fn time_namespace_does_not_change_values() {
    let word = word("elsewhen");
    let before = Instant::now();
    let mut testproc = testproc(&word);
    let started = Instant::now();
    testproc.tcp_pairs(1).unwrap();
    testproc.burn_until_stopped(20.0, 1).unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("elsewhen {word}\n"));
    // The namespace has booted after the start of the test process.
    std::thread::sleep(Duration::from_millis(1500));
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec;
    let boottime = format!("-{uptime}");
    let namespace = ["--time", "--monotonic", "86400", "--boottime", &boottime];
    let trial = Command::new("unshare").args(namespace).arg("true").output();
    if !trial.as_ref().is_ok_and(|output| output.status.success()) {
        println!("skipped: no right to make a time namespace: {trial:?}");
        return;
    }
    // unshare starts a child, because it does not enter the namespace itself.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--kill-child", "--fork"]).args(namespace);
    command.arg(PROGRAM);
    let setup = Setup::of(command).env("PSSTAT_INTERVAL", "1");
    let earliest = started.elapsed().as_secs_f64();
    let collector = setup.args(&["--cycles", "4", "--conf"]).arg(&path).spawn();
    let cycles = collector.cycles(4);
    let latest = before.elapsed().as_secs_f64() + 0.01;
    let expected = expected_values("elsewhen", &[testproc.pid()]);
    for cycle in &cycles {
        for series in
            ["procs image=elsewhen", "net image=elsewhen type=tcp", "threads image=elsewhen"]
        {
            assert_eq!(cycle.get(series), expected[series], "{series}");
        }
        for of in ["oldest", "youngest"] {
            let age = cycle.number(&format!("age image=elsewhen type={of}"));
            assert!((earliest..=latest).contains(&age), "{of}: {age} s");
        }
        let pcpu = cycle.number("pcpu image=elsewhen");
        assert!((0.5..150.0).contains(&pcpu), "{pcpu} %");
    }
}

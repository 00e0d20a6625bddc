//! The contract between tcollector and a collector.

use std::fs::File;
use std::io::Read as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use psstat_testproc::{TempDir, oracle};
use rustix::process::Signal;

use super::common::{
    Collector, MAX_DELAY, Setup, assert_skips_needed, conf, expected_values, testproc, until,
    waiting, word,
};

fn empty_image() -> (TempDir, std::path::PathBuf) {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("none {}\n", word("unused")));
    (temp, path)
}

#[test]
fn cycles_option_limits_cycles() {
    let (_temp, path) = empty_image();
    let mut collectors = [
        (1, Setup::with(&path).arg("--once").spawn()),
        (1, Setup::with(&path).args(&["--cycles", "1"]).spawn()),
        (3, Setup::with(&path).args(&["--cycles", "3"]).spawn()),
        // The interval is between cycles, not before the first or after the last.
        (1, Setup::bare().arg("--once").arg("--conf").arg(&path).spawn()),
        (2, Setup::with(&path).args(&["--interval", "3", "--cycles", "2"]).spawn()),
    ];
    for (count, collector) in &mut collectors {
        let cycles = collector.finish();
        assert_eq!(cycles.len(), *count);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for cycle in &cycles {
            // A cycle that ended early has the next second.
            assert!((now - 60..=now + 1).contains(&cycle.time), "{} is not {now}", cycle.time);
        }
        assert_eq!(cycles[0].get("collector.skipped_cycles"), 0);
        assert_skips_needed(&cycles, 1);
    }
    let two = collectors[4].1.cycles(2);
    assert_skips_needed(&two, 3);
    // Later if the machine stalled, but before the default of 15 s.
    assert!((2..15).contains(&(two[1].time - two[0].time)), "{two:#?}");
}

/// Four of 400 seconds had no point, and no cycle was counted as skipped.
#[test]
fn each_second_has_a_point_or_is_counted() {
    let (_temp, path) = empty_image();
    let cycles = Setup::with(&path).args(&["--cycles", "12"]).spawn().finish();
    for pair in cycles.windows(2) {
        let [before, after] = pair else { continue };
        let skipped =
            after.get("collector.skipped_cycles") - before.get("collector.skipped_cycles");
        assert_eq!(after.time - before.time, 1 + skipped.cast_unsigned(), "{after:#?}");
        let wall = after.number("collector.wall");
        println!("{} s, {skipped} skipped, {wall} ms", after.time - before.time);
    }
    let passed = cycles[11].time - cycles[0].time;
    assert_eq!(passed, 11 + cycles[11].get("collector.skipped_cycles").cast_unsigned());
}

/// The exit is immediate, regardless of the remaining time of a wait.
fn assert_exits_soon(collector: &mut Collector, signal: Signal) {
    let begin = Instant::now();
    collector.signal(signal);
    assert_eq!(collector.end(), Some(0), "{signal:?}: {:#?}", collector.log());
    assert!(begin.elapsed() < MAX_DELAY, "{signal:?}: {:?}", begin.elapsed());
}

#[test]
fn sigterm_exits_0() {
    let (_temp, path) = empty_image();
    // In the long wait between cycles, and in a window.
    let mut collectors = [
        (Setup::with(&path).args(&["--interval", "300"]).spawn(), Signal::TERM),
        (Setup::with(&path).args(&["--interval", "300"]).spawn(), Signal::INT),
        (Setup::with(&path).spawn(), Signal::TERM),
        (Setup::with(&path).spawn(), Signal::INT),
    ];
    for (collector, _) in &collectors {
        collector.cycles(1);
    }
    std::thread::sleep(Duration::from_millis(300));
    for (collector, signal) in &mut collectors {
        assert_exits_soon(collector, *signal);
    }
}

/// A config file whose cycle is larger than a pipe's buffer.
fn large() -> (TempDir, std::path::PathBuf) {
    let temp = TempDir::new().unwrap();
    let rules = (0..150).map(|number| format!("none/{number} {}\n", word("unused")));
    let path = conf(&temp, &rules.collect::<String>());
    (temp, path)
}

#[test]
fn sigterm_with_blocked_stdout_exits_0() {
    let (_temp, path) = large();
    for signal in [Signal::TERM, Signal::INT] {
        let (reader, writer) = std::io::pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&reader, 4096).unwrap();
        let mut collector = Setup::with(&path).stdout(writer).spawn();
        until("a blocked write", || waiting(&reader) == 4096);
        assert_exits_soon(&mut collector, signal);
    }
}

#[test]
fn closed_stdout_exits_0() {
    let (_temp, path) = large();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut collector = Setup::with(&path).stdout(writer).spawn();
    // Blocked in the middle of a cycle when the reader closes the pipe.
    reader.read_exact(&mut [0; 100]).unwrap();
    drop(reader);
    assert_eq!(collector.end(), Some(0));
    let log = collector.log();
    assert!(log.iter().all(|line| line.contains(": loaded ")), "{log:#?}");

    // Closed from the start.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut collector = Setup::with(&path).stdout(writer).spawn();
    assert_eq!(collector.end(), Some(0));
    assert_eq!(collector.log().len(), 1);
}

/// Neither memory nor a backlog grows while the output is not read.
#[test]
fn stopped_reader_gets_a_new_cycle_when_it_continues() {
    let word = word("slow");
    let mut slow = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("slow {word}\n"));
    let (mut reader, writer) = std::io::pipe().unwrap();
    // Less than two cycles.
    rustix::pipe::fcntl_setpipe_size(&reader, 4096).unwrap();
    let collector = Setup::with(&path).stdout(writer).spawn();
    until("a blocked write", || {
        let wait_channel = std::fs::read_to_string(format!("/proc/{}/wchan", collector.pid()));
        wait_channel.unwrap().contains("pipe_w")
    });
    let filled = waiting(&reader);
    let before = oracle::memory(collector.pid()).unwrap().resident;
    // For so long that cycles are skipped.
    std::thread::sleep(Duration::from_millis(4_000));
    assert_eq!(waiting(&reader), filled, "it continues without a reader");
    let after = oracle::memory(collector.pid()).unwrap().resident;
    assert!(after < before + (256 << 10), "grown from {before} to {after} bytes");
    slow.write_bytes(123_456, 1).unwrap();
    slow.quiesce().unwrap();

    let resumed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut text = Vec::new();
    let whole =
        |text: &[u8]| String::from_utf8_lossy(text).matches("collector.skipped_cycles").count();
    while whole(&text) < 5 {
        let mut piece = [0; 4096];
        let read = reader.read(&mut piece).unwrap();
        assert!(read > 0);
        text.extend_from_slice(&piece[..read]);
    }
    let text = String::from_utf8(text).unwrap();
    let whole_lines = text.rsplit_once('\n').unwrap().0.lines();
    let cycles = super::common::parse_cycles(whole_lines);
    // Those in the pipe, and the one whose write was blocked; the next one is new.
    let old = cycles.iter().take_while(|cycle| cycle.time < resumed).count();
    assert!((1..=2).contains(&old), "{old} cycles of before");
    let fresh = &cycles[old];
    assert!(fresh.get("collector.skipped_cycles") >= 2, "{fresh:#?}");
    assert_eq!(fresh.image("slow"), expected_values("slow", &[slow.pid()]));
    assert_eq!(cycles[0].get("collector.skipped_cycles"), 0);
    assert_skips_needed(&cycles[..old], 1);
    // Skipped cycles are not made up for.
    assert_skips_needed(&cycles[old..], 1);
}

/// tcollector reads the log with a delay, and stderr may be a pipe without a reader. The write of a
/// log line blocked in that case, and delayed the points.
#[test]
fn blocked_stderr_does_not_delay_cycles() {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("none {}\n{}", word("unused"), "bad! x\n".repeat(500)));
    let (mut reader, writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&reader, 4096).unwrap();
    let collector = Setup::with(&path).stderr(writer).spawn();
    let cycle = collector.cycles(3).remove(2);
    assert_eq!((cycle.get("collector.rules"), cycle.get("collector.bad_lines")), (1, 500));
    // The reader gets whole lines at last, and the number of dropped ones.
    let mut text = String::new();
    while !text.contains(" log lines dropped: stderr was not being read\n") {
        let mut piece = [0; 4096];
        let read = reader.read(&mut piece).unwrap();
        assert!(read > 0, "{text}");
        text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
    assert!(
        text.ends_with('\n') && text.lines().all(|line| line.starts_with("psstat: ")),
        "{text}"
    );
    let lost = text
        .lines()
        .find_map(|line| line.strip_suffix(" log lines dropped: stderr was not being read"));
    let lost: usize = lost.unwrap().trim_start_matches("psstat: ").parse().unwrap();
    assert!(lost > 1, "{text}");
    collector.signal(Signal::HUP);
    collector.next_cycle();
}

/// Only in builds with debug assertions, which have failpoints.
#[cfg(debug_assertions)]
#[test]
fn panic_costs_one_cycle() {
    let word = word("lives");
    let mut lives = testproc(&word);
    let mut exited = testproc(&word);
    exited.write_bytes(1_000_000, 4).unwrap();
    lives.tcp_pairs(2).unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("lives {word}\n"));
    let setup = Setup::with(&path).args(&["--cycles", "5"]).env("PSSTAT_FAULT", "panic:4");
    let mut collector = setup.spawn();
    collector.cycles(1);
    exited.exit(0).unwrap();
    exited.reap().unwrap();
    let cycles = collector.finish();
    assert_eq!(cycles.len(), 5);
    let (before, lost, after) = (&cycles[2], &cycles[3], &cycles[4]);
    assert_eq!(before.get("collector.panics"), 0);
    // No values of images, but the number of panics.
    assert_eq!((lost.images(), lost.get("collector.panics")), (vec![], 1));
    assert_eq!(after.get("collector.panics"), 1);
    // The I/O of the exited process, and the values of the other one, are kept.
    assert_eq!(after.get("procs image=lives"), 1);
    assert_eq!(before.image("lives"), after.image("lives"));
    assert_eq!(after.get("net image=lives type=tcp"), 4);
    assert!(after.get("io image=lives type=wchar") > 1_000_000);
    let logged = collector.logged("panic at");
    assert_eq!(logged.len(), 1, "{:#?}", collector.log());
    assert!(logged[0].contains("injected fault: panic:4"), "{logged:?}");
}

/// A panic in every cycle is logged once, and the collector does not exit. It was silent before:
/// the points that count panics were lost with the cycle, and tcollector kills a collector that
/// prints nothing for 600 s.
#[cfg(debug_assertions)]
#[test]
fn repeated_panic_is_logged_once() {
    let (_temp, path) = empty_image();
    // In the cycle, in the recovery after it, and where new rules are applied.
    for fault in ["panic", "panic,panic:recover", "panic:rules"] {
        let setup = Setup::with(&path).args(&["--cycles", "4"]).env("PSSTAT_FAULT", fault);
        let mut collector = setup.spawn();
        let cycles = collector.finish();
        let panics: Vec<i64> = cycles.iter().map(|cycle| cycle.get("collector.panics")).collect();
        assert_eq!(panics, [1, 2, 3, 4], "{fault}");
        for cycle in &cycles {
            assert_eq!((cycle.images(), cycle.get("collector.rules")), (vec![], 1));
            // It would be of the last good cycle, of which there was none.
            assert_eq!(cycle.printed("collector.processes"), None);
        }
        assert_eq!(cycles[0].get("collector.skipped_cycles"), 0);
        assert_skips_needed(&cycles, 1);
        let logged = collector.logged("injected fault: panic");
        let each = 1 + usize::from(fault.contains("recover"));
        assert!((1..=2 * each).contains(&logged.len()), "{:#?}", collector.log());
        assert_eq!(collector.log().len(), 1 + logged.len(), "{:#?}", collector.log());
    }
}

/// The recovery after a lost cycle may panic too. A new sampler is created then, and the collector
/// does not exit, which would cost an hour of data.
#[cfg(debug_assertions)]
#[test]
fn panic_in_recovery_costs_no_further_cycle() {
    let word = word("recovers");
    let recovers = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("recovers {word}\n"));
    let setup = Setup::with(&path).args(&["--cycles", "4"]);
    let mut collector = setup.env("PSSTAT_FAULT", "panic:2,panic:recover").spawn();
    let cycles = collector.finish();
    let panics: Vec<i64> = cycles.iter().map(|cycle| cycle.get("collector.panics")).collect();
    assert_eq!(panics, [0, 1, 1, 1]);
    for cycle in &cycles[2..] {
        assert_eq!(cycle.image("recovers"), expected_values("recovers", &[recovers.pid()]));
    }
    assert_eq!(collector.log().len(), 3, "{:#?}", collector.log());
}

/// At the start, there is no state to continue with: it exits with the status after which
/// tcollector restarts it soon.
#[cfg(debug_assertions)]
#[test]
fn panic_at_start_exits_0() {
    let (_temp, path) = empty_image();
    let mut collector = Setup::with(&path).env("PSSTAT_FAULT", "panic:start").spawn();
    assert_eq!(collector.end(), Some(0));
    assert_eq!(collector.logged("injected fault: panic:start").len(), 1);
    assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
}

/// Loading the config file may panic as well, between cycles.
#[cfg(debug_assertions)]
#[test]
fn panic_in_reload_is_survived() {
    let (_temp, path) = empty_image();
    let setup = Setup::with(&path).args(&["--interval", "2"]).env("PSSTAT_FAULT", "conf");
    let mut collector = setup.spawn();
    let cycle = collector.cycles(2).remove(1);
    assert_eq!(cycle.get("collector.conf_loaded"), 0);
    assert_eq!(cycle.get("collector.panics"), 1);
    // Most likely between two cycles.
    collector.signal(Signal::HUP);
    collector.wait_for_log(2, "injected fault");
    let cycle = collector.next_cycle();
    assert_eq!(cycle.get("collector.panics"), 2);
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
    assert_exits_soon(&mut collector, Signal::TERM);
}

#[test]
fn enospc_is_logged_once() {
    let (_temp, path) = empty_image();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut collector = Setup::with(&path).args(&["--cycles", "3"]).stdout(full).spawn();
    collector.finish_on_time(3);
    let logged = collector.logged("cannot write to stdout: No space left");
    assert_eq!(logged.len(), 1, "{:#?}", collector.log());
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
}

/// With such a limit no descriptors are kept open, and all values are correct.
#[test]
fn works_with_64_descriptors() {
    let word = word("many");
    let mut testprocs: Vec<_> = (0..30).map(|_| testproc(&word)).collect();
    for testproc in &mut testprocs {
        testproc.tcp_pairs(1).unwrap();
        testproc.open_files(10).unwrap();
    }
    for testproc in &testprocs {
        testproc.quiesce().unwrap();
    }
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("many {word}\n"));
    let pids: Vec<u32> = testprocs.iter().map(psstat_testproc::TestProcess::pid).collect();
    let expected = expected_values("many", &pids);
    // With this option, more descriptors were kept open than the limit allows, and all further
    // reads failed.
    for options in [&[][..], &["--descriptors", "1000"]] {
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", "ulimit -n 64; exec \"$@\"", "sh", super::common::PROGRAM]);
        let setup = Setup::of(shell).args(&["--interval", "1", "--cycles", "3"]).args(options);
        let mut collector = setup.args(&["--conf"]).arg(&path).spawn();
        let cycles = collector.finish();
        collector.assert_on_time();
        for cycle in &cycles {
            assert_eq!(cycle.image("many"), expected);
            let failed = ["io", "fd", "cmdline", "ns", "statm", "stat", "net"];
            for file in failed {
                assert_eq!(cycle.get(&format!("collector.failed type={file}")), 0, "{file}");
            }
        }
        assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
    }
}

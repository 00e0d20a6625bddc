//! What tcollector demands of a collector, and what it does to one.

use std::fs::File;
use std::io::Read as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use psstat_testproc::{TempDir, oracle};
use rustix::process::Signal;

use super::common::{
    Collector, Setup, TARDY, conf, left_out_by_need, testproc, truth_of, until, waiting, word,
};

fn nobody() -> (TempDir, std::path::PathBuf) {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("none {}\n", word("nobody")));
    (temp, path)
}

#[test]
fn so_many_cycles_and_no_more() {
    let (_temp, path) = nobody();
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
            assert!((now - 60..=now).contains(&cycle.time), "{} is not {now}", cycle.time);
        }
        assert_eq!(cycles[0].get("collector.skipped_cycles"), 0);
        left_out_by_need(&cycles, 1);
    }
    let two = collectors[4].1.cycles(2);
    left_out_by_need(&two, 3);
    // Later where the machine stood still, and before the 15 s of no option.
    assert!((2..15).contains(&(two[1].time - two[0].time)), "{two:#?}");
}

/// Whoever is told to end does so at once, however long it has still to wait.
fn ends_soon(collector: &mut Collector, signal: Signal) {
    let begin = Instant::now();
    collector.signal(signal);
    assert_eq!(collector.end(), Some(0), "{signal:?}: {:#?}", collector.log());
    assert!(begin.elapsed() < TARDY, "{signal:?}: {:?}", begin.elapsed());
}

#[test]
fn sigterm_exits_0() {
    let (_temp, path) = nobody();
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
        ends_soon(collector, *signal);
    }
}

/// A conf of so many images that a cycle is more than a pipe takes.
fn large() -> (TempDir, std::path::PathBuf) {
    let temp = TempDir::new().unwrap();
    let rules = (0..150).map(|number| format!("none/{number} {}\n", word("nobody")));
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
        ends_soon(&mut collector, signal);
    }
}

#[test]
fn a_closed_stdout_ends_it_quietly() {
    let (_temp, path) = large();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut collector = Setup::with(&path).stdout(writer).spawn();
    // Blocked in the middle of a cycle when the reader goes.
    reader.read_exact(&mut [0; 100]).unwrap();
    drop(reader);
    assert_eq!(collector.end(), Some(0));
    let log = collector.log();
    assert!(log.iter().all(|line| line.contains(": loaded ")), "{log:#?}");

    // Nobody there from the start.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut collector = Setup::with(&path).stdout(writer).spawn();
    assert_eq!(collector.end(), Some(0));
    assert_eq!(collector.log().len(), 1);
}

/// Neither memory nor a backlog grows while nobody reads.
#[test]
fn a_reader_that_stops_gets_a_fresh_cycle_when_it_goes_on() {
    let word = word("slow");
    let mut slow = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("slow {word}\n"));
    let (mut reader, writer) = std::io::pipe().unwrap();
    // Less than two cycles.
    rustix::pipe::fcntl_setpipe_size(&reader, 4096).unwrap();
    let collector = Setup::with(&path).stdout(writer).spawn();
    until("the first cycle", || waiting(&reader) > 0);
    std::thread::sleep(Duration::from_millis(2_000));
    let filled = waiting(&reader);
    let before = oracle::memory(collector.pid()).unwrap().resident;
    std::thread::sleep(Duration::from_millis(4_000));
    assert_eq!(waiting(&reader), filled, "it goes on without a reader");
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
    let cycles = super::common::judge(whole_lines);
    // The pipe's, and the one whose write was blocked; the next is a new one.
    let old = cycles.iter().take_while(|cycle| cycle.time < resumed).count();
    assert!((1..=2).contains(&old), "{old} cycles of before");
    let fresh = &cycles[old];
    assert!(fresh.get("collector.skipped_cycles") >= 2, "{fresh:#?}");
    assert_eq!(fresh.image("slow"), truth_of("slow", &[slow.pid()]));
    assert_eq!(cycles[0].get("collector.skipped_cycles"), 0);
    left_out_by_need(&cycles[..old], 1);
    // Not made up for afterwards.
    left_out_by_need(&cycles[old..], 1);
}

/// tcollector reads the log when it gets to it, and a stderr may be a pipe that
/// nobody reads. The write of a line blocked then, and with it the points.
#[test]
fn blocked_stderr_does_not_delay_cycles() {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("none {}\n{}", word("nobody"), "bad! x\n".repeat(500)));
    let (mut reader, writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&reader, 4096).unwrap();
    let collector = Setup::with(&path).stderr(writer).spawn();
    let cycle = collector.cycles(3).remove(2);
    assert_eq!((cycle.get("collector.rules"), cycle.get("collector.bad_lines")), (1, 500));
    // Whoever reads at last gets whole lines, and how many are missing.
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
    collector.fresh();
}

/// In builds with debug assertions, in which the fault is there.
#[cfg(debug_assertions)]
#[test]
fn a_defect_costs_one_cycle() {
    let word = word("lives");
    let mut lives = testproc(&word);
    let mut gone = testproc(&word);
    gone.write_bytes(1_000_000, 4).unwrap();
    lives.tcp_pairs(2).unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("lives {word}\n"));
    let setup = Setup::with(&path).args(&["--cycles", "5"]).env("PSSTAT_FAULT", "panic:4");
    let mut collector = setup.spawn();
    collector.cycles(1);
    gone.exit(0).unwrap();
    gone.reap().unwrap();
    let cycles = collector.finish();
    assert_eq!(cycles.len(), 5);
    let (before, lost, after) = (&cycles[2], &cycles[3], &cycles[4]);
    assert_eq!(before.get("collector.panics"), 0);
    // Nothing is known of the images; that a cycle was lost is.
    assert_eq!((lost.images(), lost.get("collector.panics")), (vec![], 1));
    assert_eq!(after.get("collector.panics"), 1);
    // What the one that ended did, and what the other has, is still known.
    assert_eq!(after.get("procs image=lives"), 1);
    assert_eq!(before.image("lives"), after.image("lives"));
    assert_eq!(after.get("net image=lives type=tcp"), 4);
    assert!(after.get("io image=lives type=wchar") > 1_000_000);
    let told = collector.logged("panic at");
    assert_eq!(told.len(), 1, "{:#?}", collector.log());
    assert!(told[0].contains("injected fault: panic:4"), "{told:?}");
}

/// A defect that shows in every cycle is told once, and the collector does not
/// end. It was silent then: the points that count defects were lost with the
/// cycle, and tcollector kills a collector that prints nothing for 600 s.
#[cfg(debug_assertions)]
#[test]
fn repeated_panic_is_logged_once() {
    let (_temp, path) = nobody();
    // In the cycle, in what follows a lost one, and where other rules are taken.
    for fault in ["panic", "panic,panic:recover", "panic:rules"] {
        let setup = Setup::with(&path).args(&["--cycles", "4"]).env("PSSTAT_FAULT", fault);
        let mut collector = setup.spawn();
        let cycles = collector.finish();
        let panics: Vec<i64> = cycles.iter().map(|cycle| cycle.get("collector.panics")).collect();
        assert_eq!(panics, [1, 2, 3, 4], "{fault}");
        for cycle in &cycles {
            assert_eq!((cycle.images(), cycle.get("collector.rules")), (vec![], 1));
            // Of the last good cycle, or made up: there was none.
            assert_eq!(cycle.printed("collector.processes"), None);
        }
        assert_eq!(cycles[0].get("collector.skipped_cycles"), 0);
        left_out_by_need(&cycles, 1);
        let told = collector.logged("injected fault: panic");
        let each = 1 + usize::from(fault.contains("recover"));
        assert!((1..=2 * each).contains(&told.len()), "{:#?}", collector.log());
        assert_eq!(collector.log().len(), 1 + told.len(), "{:#?}", collector.log());
    }
}

/// What follows a lost cycle may have a defect too; then all begins anew, and the
/// collector does not end, which would cost an hour of data.
#[cfg(debug_assertions)]
#[test]
fn a_defect_in_the_recovery_from_one_costs_no_other_cycle() {
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
        assert_eq!(cycle.image("recovers"), truth_of("recovers", &[recovers.pid()]));
    }
    assert_eq!(collector.log().len(), 3, "{:#?}", collector.log());
}

/// Where nothing is there yet to go on with, it ends as whoever is to be started
/// again soon.
#[cfg(debug_assertions)]
#[test]
fn panic_at_start_exits_0() {
    let (_temp, path) = nobody();
    let mut collector = Setup::with(&path).env("PSSTAT_FAULT", "panic:start").spawn();
    assert_eq!(collector.end(), Some(0));
    assert_eq!(collector.logged("injected fault: panic:start").len(), 1);
    assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
}

/// Reading the conf may have a defect as well, between cycles.
#[cfg(debug_assertions)]
#[test]
fn panic_in_reload_is_survived() {
    let (_temp, path) = nobody();
    let setup = Setup::with(&path).args(&["--interval", "2"]).env("PSSTAT_FAULT", "conf");
    let mut collector = setup.spawn();
    let cycle = collector.cycles(2).remove(1);
    assert_eq!(cycle.get("collector.conf_loaded"), 0);
    assert_eq!(cycle.get("collector.panics"), 1);
    // Between two cycles, most likely.
    collector.signal(Signal::HUP);
    collector.hear(2, "injected fault");
    let cycle = collector.fresh();
    assert_eq!(cycle.get("collector.panics"), 2);
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
    ends_soon(&mut collector, Signal::TERM);
}

#[test]
fn enospc_is_logged_once() {
    let (_temp, path) = nobody();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut collector = Setup::with(&path).args(&["--cycles", "3"]).stdout(full).spawn();
    collector.finish_on_time(3);
    let told = collector.logged("cannot write to stdout: No space left");
    assert_eq!(told.len(), 1, "{:#?}", collector.log());
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
}

/// With so few descriptors nothing is kept open, and every number is right.
#[test]
fn a_limit_of_64_descriptors_is_enough() {
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
    let truth = truth_of("many", &pids);
    // More than the limit allows were kept open when they were asked for, and all
    // further readings failed.
    for asked_for in [&[][..], &["--descriptors", "1000"]] {
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", "ulimit -n 64; exec \"$@\"", "sh", super::common::PROGRAM]);
        let setup = Setup::of(shell).args(&["--interval", "1", "--cycles", "3"]).args(asked_for);
        let mut collector = setup.args(&["--conf"]).arg(&path).spawn();
        let cycles = collector.finish();
        collector.on_time();
        for cycle in &cycles {
            assert_eq!(cycle.image("many"), truth);
            let failed = ["io", "fd", "cmdline", "ns", "statm", "stat", "net"];
            for file in failed {
                assert_eq!(cycle.get(&format!("collector.failed type={file}")), 0, "{file}");
            }
        }
        assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
    }
}

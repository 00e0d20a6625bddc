//! Limits of memory and inotify watches.

use std::process::Command;

use psstat_testproc::{TempDir, oracle};
use rustix::process::{Pid, Resource, Rlimit};

use super::common::{Collector, PROGRAM, Setup, conf, expected_values, testproc, word, write_conf};

/// Limits the collector's memory to this amount more than it has.
fn allow(collector: &Collector, more: u64) {
    let has = oracle::memory(collector.pid()).unwrap().total;
    let limit = Rlimit { current: Some(has + more), maximum: Some(has + more) };
    let pid = i32::try_from(collector.pid()).ok().and_then(Pid::from_raw);
    rustix::process::prlimit(pid, Resource::As, limit).unwrap();
}

/// When an allocation fails, the program can only log it and exit; with 0, so that tcollector
/// restarts it at once.
#[test]
fn out_of_memory_exits_0() {
    let word = word("greedy");
    let mut greedy = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("greedy {word}\n"));
    let mut enough = Setup::with(&path).spawn();
    // With one arena: glibc reserves 64 MiB of address space for each further one, in which its
    // thread could allocate more than the limit.
    let mut short = Setup::with(&path).env("MALLOC_ARENA_MAX", "1").spawn();
    for collector in [&enough, &short] {
        assert_eq!(collector.cycles(2)[1].get("procs image=greedy"), 1);
    }
    allow(&enough, 128 << 20);
    allow(&short, 0);
    greedy.stretch_title(&word, 7 << 20).unwrap();
    greedy.quiesce().unwrap();
    assert_eq!(short.end(), Some(0), "{:#?}", short.log());
    // The message is from Rust's runtime, which may add a note.
    let mut log = short.log();
    log.retain(|line| !line.starts_with("note: "));
    assert_eq!(log.len(), 2, "{log:#?}");
    assert!(log[1].starts_with("memory allocation of"), "{log:#?}");
    // All output until then was correct; with enough memory it continues.
    for cycle in short.finished() {
        assert_eq!(cycle.get("procs image=greedy"), 1);
    }
    let expected = expected_values("greedy", &[greedy.pid()]);
    for _ in 0..3 {
        assert_eq!(enough.next_cycle().image("greedy"), expected);
    }
    assert_eq!(enough.log().len(), 1, "{:#?}", enough.log());
    enough.signal(rustix::process::Signal::TERM);
    assert_eq!(enough.end(), Some(0));
}

/// From the start: it works, or it logs the reason and prints nothing that is wrong.
#[test]
fn memory_limits_never_cause_wrong_values() {
    let word = word("small");
    let mut small = testproc(&word);
    small.tcp_pairs(3).unwrap();
    small.quiesce().unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("small {word}\n"));
    let expected = expected_values("small", &[small.pid()]);
    let mut worked = Vec::new();
    // KiB of address space.
    for limit in [4_000, 8_000, 10_000, 12_000, 14_000, 16_000, 20_000, 40_000, 400_000] {
        let mut shell = Command::new("/bin/sh");
        let script = format!("ulimit -v {limit} && exec \"$@\"");
        shell.args(["-c", &script, "sh", PROGRAM]);
        let mut collector = Setup::of(shell).arg("--once").arg("--conf").arg(&path).spawn();
        let status = collector.end();
        let cycles = collector.finished();
        for cycle in &cycles {
            assert_eq!(cycle.image("small"), expected, "{limit} KiB");
        }
        let log = collector.log();
        assert!(log.len() <= 3, "{limit} KiB: {status:?} {log:#?}");
        worked.push((limit, status, cycles.len()));
    }
    // Below some size not even the C library's loader or Rust's runtime get to the point where the
    // program could exit with 0.
    assert_eq!(worked.last(), Some(&(400_000, Some(0), 1)), "{worked:?}");
    assert_eq!(worked[0].2, 0, "{worked:?}");
    for (limit, status, cycles) in worked {
        assert!(cycles == 0 || (status, cycles) == (Some(0), 1), "{limit} KiB: {status:?}");
    }
}

/// Without a watch the config file is polled.
#[test]
fn reload_works_without_inotify_watches() {
    let word = word("unwatched");
    let mut other = testproc(&word);
    other.open_files(3).unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("unwatched {word}\n"));
    for limit in ["max_inotify_watches", "max_inotify_instances"] {
        let mut shell = Command::new("unshare");
        let script = format!("echo 0 >/proc/sys/user/{limit} && exec \"$@\"");
        shell.args(["--user", "--map-root-user", "sh", "-c", &script, "sh"]);
        let trial = Command::new("unshare")
            .args(["--user", "--map-root-user", "sh", "-c", &script, "sh", "true"])
            .output();
        if !trial.as_ref().is_ok_and(|output| output.status.success()) {
            println!("skipped: no right to make a user namespace: {trial:?}");
            return;
        }
        shell.arg(PROGRAM);
        write_conf(&path, &format!("unwatched {word}\n"));
        let setup = Setup::of(shell).env("PSSTAT_INTERVAL", "1");
        let collector = setup.arg("--conf").arg(&path).spawn();
        collector.wait_loaded(1);
        assert_eq!(collector.next_cycle().images(), ["unwatched"]);
        write_conf(&path, &format!("unwatched {word}\nsecond {word}\n"));
        collector.wait_loaded(2);
        let cycle = collector.cycle("both", |cycle| cycle.images() == ["second", "unwatched"]);
        assert_eq!(cycle.get("procs image=second"), 1);
        assert_eq!(cycle.get("collector.conf_loaded"), 1);
        // In a user namespace its capabilities do not apply to processes outside.
        let others = [": loaded ", "permission denied for /proc"];
        let log = collector.log();
        let rest = log.iter().filter(|line| !others.iter().any(|other| line.contains(other)));
        assert!(rest.count() <= 1, "{log:#?}");
        collector.assert_on_time();
    }
}

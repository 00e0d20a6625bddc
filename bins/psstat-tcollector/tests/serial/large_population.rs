//! A large number of processes, and a process with a very long command line.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use psstat_testproc::{Config, TempDir, oracle};

use super::common::{PROGRAM, Setup, conf, expected_values, testproc, until, word};

/// The number of processes; `cargo lab scale` uses 32,000.
const MANY: usize = 2_000;

/// A pid namespace of sleeping processes; dropping it kills them.
struct Population(Child);

impl Population {
    /// `None` if the namespace is not permitted.
    fn start(size: usize, word: &str) -> Option<Population> {
        let script =
            format!("i=0; while [ $i -lt {size} ]; do (read x) & i=$((i+1)); done; read x");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child"]);
        let trial = Command::new("unshare").args(["--pid", "--fork", "true"]).output();
        if !trial.as_ref().is_ok_and(|output| output.status.success()) {
            println!("skipped: no right to make a pid namespace: {trial:?}");
            return None;
        }
        // Each reads a pipe that stays open and empty.
        command.args([
            "sh",
            "-c",
            &format!("exec 3<&0; {}", script.replace("read x", "read x <&3")),
            word,
        ]);
        Some(Population(command.stdin(Stdio::piped()).spawn().unwrap()))
    }

    /// The pids of the processes and of the shell that started them.
    fn pids(word: &str) -> Vec<u32> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let ends = format!("\0{word}\0");
        pids.filter(|&pid| {
            oracle::cmdline(pid)
                .is_ok_and(|line| line.starts_with(b"sh\0") && line.ends_with(ends.as_bytes()))
        })
        .collect()
    }
}

/// The expected values of an image of these processes, except sockets: the reference reader of the
/// tables would be too slow.
fn sums(image: &str, pids: &[u32]) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    let mut add = |series: String, value: i64| *sums.entry(series).or_insert(0) += value;
    for &pid in pids {
        let io = oracle::io(pid).unwrap();
        for kind in ["rchar", "wchar", "syscr", "syscw"] {
            add(format!("io image={image} type={kind}"), io[kind]);
        }
        add(format!("fd image={image} type=open"), oracle::fds(pid).unwrap().cast_signed());
        add(format!("threads image={image}"), oracle::threads(pid).unwrap().cast_signed());
        let total = oracle::memory(pid).unwrap().total.cast_signed();
        add(format!("mem image={image} type=total"), total);
        add(format!("procs image={image}"), 1);
    }
    sums
}

impl Drop for Population {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn works_with_low_fd_limit() {
    let _alone = super::alone();
    let word = word("sleepers");
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("sleepers ^sh .* {word}$\n"));
    let Some(population) = Population::start(MANY, &word) else { return };
    let mut pids = Vec::new();
    until("all have started", || {
        pids = Population::pids(&word);
        pids.len() == MANY + 1
    });
    until("it is quiet", || pids.iter().all(|&pid| oracle::state(pid).is_ok_and(|s| s == 'S')));
    let expected = sums("sleepers", &pids);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "ulimit -n 256; exec \"$@\"", "sh", PROGRAM]);
    let few = Setup::of(shell).args(&["--interval", "1", "--conf"]).arg(&path).spawn();
    let many = Setup::with(&path).spawn();
    for collector in [&few, &many] {
        // On a busy machine, command lines may be deferred to the next cycle.
        let first = collector.cycle("all are known", |cycle| {
            cycle.get("procs image=sleepers") == MANY as i64 + 1
                && cycle.get("collector.failed type=cmdline") == 0
        });
        collector.next_cycle();
        let cycles = collector.cycles(collector.count());
        for cycle in cycles.iter().filter(|cycle| cycle.time >= first.time) {
            for (series, value) in &expected {
                assert_eq!(cycle.get(series), *value, "{series}");
            }
            assert!(cycle.get("collector.processes") > MANY as i64);
            for file in ["io", "fd", "statm", "stat"] {
                assert_eq!(cycle.get(&format!("collector.failed type={file}")), 0, "{file}");
            }
            let rss = cycle.get("collector.rss");
            assert!(rss < (16 << 20) + 4096 * MANY as i64, "{rss} bytes");
        }
    }
    drop(population);
    for collector in [&few, &many] {
        let end =
            collector.cycle("all have exited", |cycle| cycle.get("procs image=sleepers") == 0);
        for kind in ["rchar", "wchar", "syscr", "syscw"] {
            let series = format!("io image=sleepers type={kind}");
            assert!(end.get(&series) >= expected[&series], "{series}");
        }
        assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
    }
}

/// A process can set any part of its memory as its command line: hundreds of megabytes here, and up
/// to its whole address space.
#[test]
fn huge_command_line_is_truncated() {
    let _alone = super::alone();
    let (endless_word, quiet_word) = (word("endless"), word("quiet"));
    let mut endless = testproc("an honest start");
    let quiet = testproc(&quiet_word);
    let long = psstat_testproc::TestProcess::spawn(&Config::new(&quiet_word).args(vec![
        "x".repeat(
            100_000
        );
        15
    ]))
    .unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(
        &temp,
        &format!("endless {endless_word}\nquiet {quiet_word}\nlong ^{quiet_word} x{{9}}\n"),
    );
    let collector = Setup::with(&path).spawn();
    collector.cycles(2);
    endless.stretch_title(&endless_word, 256 << 20).unwrap();
    collector.cycle("its new title", |cycle| cycle.get("procs image=endless") == 1);
    // A new collector reads it in its first cycle.
    let late = Setup::with(&path).spawn();
    late.cycle("the title", |cycle| cycle.get("procs image=endless") == 1);
    let expected = expected_values("quiet", &[quiet.pid(), long.pid()]);
    for collector in [&collector, &late] {
        let cycles = collector.cycles(collector.count().max(1) + 2);
        for cycle in &cycles[cycles.len() - 2..] {
            assert_eq!(cycle.image("quiet"), expected);
            assert_eq!(cycle.get("procs image=long"), 1);
        }
        let peak = oracle::status_field(collector.pid(), "VmHWM").unwrap();
        let kib: u64 = peak.trim_end_matches(" kB").parse().unwrap();
        assert!(kib < 96 << 10, "{kib} KiB at most");
        // On a busy machine such a long read may count as blocked.
        let blocks = collector.logged("reading cmdline of process").len();
        assert!(blocks <= 1 && collector.log().len() == 1, "{:#?}", collector.log());
    }
}

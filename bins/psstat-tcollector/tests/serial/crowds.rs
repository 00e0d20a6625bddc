//! Very many processes, and one with a very long command line.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use psstat_testproc::{Config, TempDir, oracle};

use super::common::{PROGRAM, Setup, conf, testproc, truth_of, until, word};

/// How many processes; `cargo lab scale` does this with 32,000.
const MANY: usize = 2_000;

/// A pid namespace of sleeping processes; they end with the value.
struct Crowd(Child);

impl Crowd {
    /// `None` where no such namespace may be made.
    fn start(size: usize, word: &str) -> Option<Crowd> {
        let script =
            format!("i=0; while [ $i -lt {size} ]; do (read x) & i=$((i+1)); done; read x");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child"]);
        let trial = Command::new("unshare").args(["--pid", "--fork", "true"]).output();
        if !trial.as_ref().is_ok_and(|output| output.status.success()) {
            println!("skipped: no right to make a pid namespace: {trial:?}");
            return None;
        }
        // Each waits for a pipe that stays open and empty.
        command.args([
            "sh",
            "-c",
            &format!("exec 3<&0; {}", script.replace("read x", "read x <&3")),
            word,
        ]);
        Some(Crowd(command.stdin(Stdio::piped()).spawn().unwrap()))
    }

    /// The processes, the shell that started them included.
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

/// What an image of these processes must have, but for sockets: for so many the
/// slow reader of the tables would be too slow.
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

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn works_with_low_fd_limit() {
    let _alone = super::alone();
    let word = word("crowd");
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("crowd ^sh .* {word}$\n"));
    let Some(crowd) = Crowd::start(MANY, &word) else { return };
    let mut pids = Vec::new();
    until("the crowd is there", || {
        pids = Crowd::pids(&word);
        pids.len() == MANY + 1
    });
    until("it is quiet", || pids.iter().all(|&pid| oracle::state(pid).is_ok_and(|s| s == 'S')));
    let truth = sums("crowd", &pids);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "ulimit -n 256; exec \"$@\"", "sh", PROGRAM]);
    let few = Setup::of(shell).args(&["--interval", "1", "--conf"]).arg(&path).spawn();
    let many = Setup::with(&path).spawn();
    for collector in [&few, &many] {
        // A busy machine may leave command lines for the next cycle.
        let first = collector.cycle("all are known", |cycle| {
            cycle.get("procs image=crowd") == MANY as i64 + 1
                && cycle.get("collector.failed type=cmdline") == 0
        });
        collector.fresh();
        let cycles = collector.cycles(collector.count());
        for cycle in cycles.iter().filter(|cycle| cycle.time >= first.time) {
            for (series, value) in &truth {
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
    drop(crowd);
    for collector in [&few, &many] {
        let end = collector.cycle("all are gone", |cycle| cycle.get("procs image=crowd") == 0);
        for kind in ["rchar", "wchar", "syscr", "syscw"] {
            let series = format!("io image=crowd type={kind}");
            assert!(end.get(&series) >= truth[&series], "{series}");
        }
        assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
    }
}

/// A process may point the kernel to any part of its memory as its command
/// line: hundreds of megabytes here, and it could be all the address space.
#[test]
fn a_command_line_as_large_as_memory_is_cut() {
    let _alone = super::alone();
    let (endless_word, calm_word) = (word("endless"), word("calm"));
    let mut endless = testproc("an honest start");
    let calm = testproc(&calm_word);
    let long =
        psstat_testproc::TestProcess::spawn(
            &Config::new(&calm_word).args(vec!["x".repeat(100_000); 15]),
        )
        .unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(
        &temp,
        &format!("endless {endless_word}\ncalm {calm_word}\nlong ^{calm_word} x{{9}}\n"),
    );
    let collector = Setup::with(&path).spawn();
    collector.cycles(2);
    endless.stretch_title(&endless_word, 256 << 20).unwrap();
    collector.cycle("its new title", |cycle| cycle.get("procs image=endless") == 1);
    // Whoever starts now reads it at once.
    let late = Setup::with(&path).spawn();
    late.cycle("the title", |cycle| cycle.get("procs image=endless") == 1);
    let truth = truth_of("calm", &[calm.pid(), long.pid()]);
    for collector in [&collector, &late] {
        let cycles = collector.cycles(collector.count().max(1) + 2);
        for cycle in &cycles[cycles.len() - 2..] {
            assert_eq!(cycle.image("calm"), truth);
            assert_eq!(cycle.get("procs image=long"), 1);
        }
        let peak = oracle::status_field(collector.pid(), "VmHWM").unwrap();
        let kib: u64 = peak.trim_end_matches(" kB").parse().unwrap();
        assert!(kib < 96 << 10, "{kib} KiB at most");
        // On a busy machine so long a reading may count as one that blocks.
        let blocks = collector.logged("reading the command line of process").len();
        assert!(blocks <= 1 && collector.log().len() == 1, "{:#?}", collector.log());
    }
}

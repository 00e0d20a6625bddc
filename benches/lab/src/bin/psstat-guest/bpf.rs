//! The collector's numbers by BPF, a process between two of its cycles, and the sampler's tests.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use psstat_testproc::{Config, TestProcess};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::population::{self, PREFIX, Role, Values};
use crate::report::{Expected, Report};
use crate::{Result, check_collector, program, series};

const BY_BPF: &str = "processes are read by BPF";
/// The processes between two cycles.
const SHORT: &str = "short";
const WRITTEN: u64 = 5_000_003;
const PROCESSES: u64 = 3;
/// An emulated processor is slow.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The program with the tests, in the directory of the others.
const TESTS: &str = "sampler-tests";
/// The limit of descriptors for the tests.
const MAX_FDS: u64 = 16_384;
/// One has bounds for a CPU share that clocks of an emulated processor exceed; the others need a shell.
const SKIPPED: [&str; 3] = [
    "busy_threads_are_measured",
    "lifetimes::full_ring_loses_records_but_no_counts",
    "lifetimes::half_full_ring_is_read_between_cycles",
];

/// Compares the values of the collector by BPF, if the kernel loads the program, and prints which it is.
///
/// Returns whether it does.
pub(crate) fn check(roles: &[Role], conf: &str, report: &mut Report) -> Result<bool> {
    let before = report.made();
    let messages = check_collector("collector by BPF", roles, conf, "bpf", report)?;
    let line = messages.lines().find(|line| line.contains("processes are read"));
    println!("LOG {}", line.unwrap_or("psstat: nothing is logged on BPF"));
    if !messages.contains(BY_BPF) {
        // So they are those of the files, once more.
        println!("BY-BPF no");
        println!("TESTS -");
        return Ok(false);
    }
    println!("BY-BPF {}", report.made() - before);
    check_ring(report)?;
    Ok(true)
}

/// The values of an image. By BPF the resident memory is exact, which it is in `statm` up to Linux 6.1
/// and from 6.16 on.
pub(crate) fn sums(role: &Role) -> Result<Values> {
    let mut sums = role.sums()?;
    let exact = role.processes.iter().map(|one| population::resident_by_page_tables(one.pid()));
    if let (Some(Expected::Exactly(statm)), Some(exact)) = (sums.get("rss"), exact.sum()) {
        sums.insert("rss", Expected::Either(*statm, exact));
    }
    Ok(sums)
}

/// Killed and waited for when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts processes between two cycles of a collector with a ring, which end before the next one, and
/// compares what it counts.
fn check_ring(report: &mut Report) -> Result<()> {
    let conf = std::env::temp_dir().join("psstat-guest-ring.conf");
    std::fs::write(&conf, format!("{SHORT} ^{PREFIX}{SHORT}$\n"))?;
    let mut collector = program("psstat-tcollector");
    collector.arg("--conf").arg(&conf).args(["--interval", "2", "--source", "bpf"]);
    collector.args(["--bpf-ring", "1024"]).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut collector = Running(collector.spawn()?);
    let output = collector.0.stdout.take().ok_or("no output of the collector")?;
    let mut lines = BufReader::new(output).lines();
    let deadline = Instant::now() + TIMEOUT;
    let mut cycle = || -> Result<String> {
        let mut cycle = String::new();
        // The last line of a cycle.
        while !cycle.contains("proc.stat.ps.collector.skipped_cycles ") {
            cycle.push_str(&lines.next().ok_or("the collector ended")??);
            cycle.push('\n');
        }
        Ok(cycle)
    };
    let number = |cycle: &str, name: &str| -> Option<f64> {
        series(cycle).get(name).and_then(|value| value.parse().ok())
    };
    cycle()?;
    let mut done = 0;
    for _ in 0..PROCESSES {
        let mut short = TestProcess::spawn(&Config::new(format!("{PREFIX}{SHORT}")))?;
        short.write_bytes(WRITTEN, 7)?;
        short.exit(0)?;
        done += short.expected_io()?.wchar;
        short.reap()?;
    }
    let expected = [
        ("io image=short type=wchar", done),
        ("starts image=short", PROCESSES),
        ("exits image=short", PROCESSES),
    ];
    let is_there = |cycle: &str| {
        expected.iter().all(|&(name, value)| number(cycle, name) == Some(value as f64))
    };
    let mut last = cycle()?;
    while !is_there(&last) && Instant::now() < deadline {
        last = cycle()?;
    }
    // They do not count again.
    for _ in 0..2 {
        last = cycle()?;
    }
    for (name, value) in expected {
        report.compare("ring", SHORT, name, &Expected::Exactly(value), number(&last, name));
    }
    std::fs::remove_file(conf)?;
    Ok(())
}

/// Runs the sampler's tests of BPF.
pub(crate) fn run_tests(report: &mut Report) -> Result<()> {
    // The kernel gives the first process 4,096. One test has more sockets.
    let limit = Rlimit { current: Some(MAX_FDS), maximum: Some(MAX_FDS) };
    setrlimit(Resource::Nofile, limit)?;
    let mut tests: Command = program(TESTS);
    tests.args(["--test-threads", "1", "--show-output"]);
    for test in SKIPPED {
        tests.args(["--skip", test]);
    }
    let output = tests.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines() {
        println!("MESSAGE {line}");
    }
    let ends = |with: &str| {
        let tests = text.lines().filter(|line| line.starts_with("test ") && line.ends_with(with));
        tests.map(str::to_owned).collect::<Vec<String>>()
    };
    let (passed, failed) = (ends("... ok"), ends("... FAILED"));
    println!("TESTS {}", passed.len());
    for test in failed {
        report.wrong(test);
    }
    if !output.status.success() {
        report.wrong(format!("tests: {}", output.status));
    }
    Ok(())
}

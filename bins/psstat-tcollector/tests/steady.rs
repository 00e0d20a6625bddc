//! A steady cycle of the whole collector does not allocate and is one write, its CPU time is
//! reported completely, and both of its threads are nice: the main loop, including the watch of the
//! config file and the output, runs in this process over processes made for it. Other processes of
//! the machine and their sockets start and end, and new ones need memory, so the test runs in new
//! namespaces.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Parser as _;
use psstat_tcollector::options::Options;
use psstat_tcollector::run::run;
use psstat_testproc::alloc::{self, CountingAllocator};
use psstat_testproc::{Config, TempDir, TestProcess, isolated, test_name, wait_until};
use rustix::pipe::PipeFlags;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Cycles of one second; in the first ones, new processes are read more often.
const CYCLES: usize = 14;
const STEADY: usize = 5;

#[test]
fn steady_cycle_does_not_allocate() {
    let unshare = ["unshare", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"];
    if isolated(test_name!(), &unshare) {
        inside();
    }
}

fn sleepers(n: usize) -> Vec<Child> {
    let sleeper = || Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    (0..n).map(|_| sleeper()).collect()
}

/// The reads from the pipe: for each write its end in the text, and the number of allocations until
/// then.
#[derive(Default)]
struct Writes {
    text: Vec<u8>,
    each: Vec<(usize, u64)>,
    /// The nice value of the thread that reads.
    niceness: i64,
}

impl Writes {
    fn add(&mut self, bytes: &[u8]) {
        assert!(bytes.ends_with(b"\n"));
        self.text.extend_from_slice(bytes);
        self.each.push((self.text.len(), alloc::allocations()));
        if self.each.len() == 1 {
            self.niceness = niceness_of_second_thread();
        }
    }
}

fn niceness_of_second_thread() -> i64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let mut stats =
        tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).ok());
    let stat = stats.find(|stat| stat.contains("(reader)")).unwrap();
    niceness(&stat)
}

/// The nice value of the calling thread.
fn self_niceness() -> i64 {
    niceness(&std::fs::read_to_string("/proc/thread-self/stat").unwrap())
}

fn niceness(stat: &str) -> i64 {
    // Field 19.
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(19 - 3).unwrap().parse().unwrap()
}

fn self_cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap().as_secs_f64() * 1e3
}

/// Processes with sockets and children, which sleep too: in this network namespace and in a new
/// one.
fn testprocs() -> [TestProcess; 3] {
    let [mut here, mut there] = ["sleep here", "sleep there"].map(|title| {
        let testproc = TestProcess::spawn(&Config::new("sleep").arg(title)).unwrap();
        testproc.quiesce().unwrap();
        testproc
    });
    here.unix_pairs(3).unwrap();
    there.unshare_net().unwrap();
    there.tcp_pairs(3).unwrap();
    there.udp_connected(2).unwrap();
    let child = there.fork_copy().unwrap();
    [here, there, child]
}

fn inside() {
    let mut children = sleepers(30);
    let mut testprocs = testprocs();
    // It is classified again in turn, also in the steady cycles.
    testprocs[0].burn_until_stopped(1.0, 1).unwrap();
    let directory = TempDir::new().unwrap();
    let conf = directory.join("psstat.conf");
    // A rule that makes the name, and rules of other fields for the same image, so that the output
    // of a cycle is one read.
    let rules = "{s}ers ^(?P<s>sleep)\\s\n@comm sleepers ^sleep$\n@user sleepers ^no one$\n\
        @cgroup sleepers ^/no/group$\n@unit sleepers ^no$\n@container sleepers ^no$\n";
    std::fs::write(&conf, rules).unwrap();
    // A packet-mode pipe: each write of up to 4,096 bytes is one read.
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::DIRECT).unwrap();
    let stdout = rustix::io::dup(rustix::stdio::stdout()).unwrap();
    rustix::stdio::dup2_stdout(&theirs).unwrap();
    drop(theirs);
    let reader = std::thread::spawn(move || {
        let mut writes = Writes {
            text: Vec::with_capacity(CYCLES << 12),
            each: Vec::with_capacity(4 * CYCLES),
            niceness: 0,
        };
        let mut buffer = vec![0; 1 << 16];
        loop {
            match rustix::io::read(&ours, &mut buffer) {
                Ok(0) | Err(_) => return writes,
                Ok(read) => writes.add(&buffer[..read]),
            }
        }
    });
    // Until their exec, their command line is that of the test.
    wait_until("all have called exec", || {
        children.iter().all(|child| {
            let cmdline = std::fs::read(format!("/proc/{}/cmdline", child.id()));
            cmdline.is_ok_and(|cmdline| cmdline.starts_with(b"sleep\0"))
        })
    });
    let cycles = CYCLES.to_string();
    let arguments = ["psstat-tcollector", "--interval", "1", "--cycles", &cycles, "--conf"];
    let arguments = arguments.map(Into::into).into_iter().chain([conf.into_os_string()]);
    let settings = Options::try_parse_from(arguments).unwrap().resolve().unwrap();
    assert_eq!(run(settings), 0);
    let used = self_cpu();
    let niceness = self_niceness();
    rustix::stdio::dup2_stdout(&stdout).unwrap();
    let writes = reader.join().unwrap();
    drop(testprocs);
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(writes.each.len(), CYCLES, "a write a cycle");
    assert!(writes.text.len() < CYCLES * 4096);
    assert!(niceness >= 5 && writes.niceness >= 5, "{niceness}, {}", writes.niceness);
    // All CPU time of the process from its start to the last points, including that of the test.
    // The time for encoding and writing a cycle and for reading the config file was in no point.
    let text = String::from_utf8(writes.text).unwrap();
    let cpu = text.lines().filter_map(|line| {
        let point = line.strip_prefix("proc.stat.ps.collector.cpu ")?;
        point.split(' ').nth(1)?.parse::<f64>().ok()
    });
    let said: f64 = cpu.sum();
    assert!(said <= used && said >= used * 0.8, "{said} ms said, {used} ms used");
    // They were in the image.
    for (metric, number) in [
        ("procs", "33 image"),
        ("net", "6 image=sleepers type=tcp"),
        ("net", "2 image=sleepers type=udp"),
    ] {
        let is_it = |line: &str| {
            let point = line.strip_prefix(&format!("proc.stat.ps.{metric} "));
            point.is_some_and(|point| {
                point.split_once(' ').is_some_and(|(_, rest)| rest.starts_with(number))
            })
        };
        assert!(text.lines().any(is_it), "{metric} {number}: {text}");
    }
    assert!(writes.each[0].1 > 0, "the counter counts");
    let steady = &writes.each[CYCLES - STEADY - 1..];
    let each: Vec<u64> = steady.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    // Including the reads of the config file every 2 s.
    assert!(each.iter().all(|&count| count == 0), "allocations a cycle: {each:?}");
}

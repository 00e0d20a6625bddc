//! The memory of the sampler: a limit per process, and the same as before after many processes
//! have exited.

mod common;

use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{A, B, Watch, procs, short_window, word};
use psstat_testproc::alloc::{CountingAllocator, live_bytes};
use psstat_testproc::{Config, TestProcess, wait_until};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Serializes the tests, which share the allocator. Its process has a very long command line:
/// the buffers reach their maximum size, and do not grow when another long one appears.
fn serialize() -> (TestProcess, MutexGuard<'static, ()>) {
    static LOCK: Mutex<()> = Mutex::new(());
    let guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    (TestProcess::spawn(&Config::new("long").arg("x".repeat(100_000))).unwrap(), guard)
}

/// The bytes of a sampler with a word, and the number of processes that have the word.
fn measure(word: &String) -> (usize, usize) {
    let before = live_bytes();
    let mut watch = Watch::with(short_window(), &[word]);
    let image = watch.cycles(12).image(A);
    let sockets = image.tcp.unwrap() + image.udp.unwrap() + image.unix.unwrap();
    assert_eq!(sockets, 9 * image.processes);
    (live_bytes() - before, usize::try_from(image.processes).unwrap())
}

#[test]
fn memory_per_process_is_bounded() {
    // The socket table is as full as with 2,000, 4,000 or 8,000.
    const PROCESSES: usize = 125;
    /// For each process of the machine, matched or not.
    const BYTES_PER_UNMATCHED: usize = 96;
    let _serialized = serialize();
    let word = word("measured");
    let start = |word: &String| {
        let mut testproc = TestProcess::spawn(&Config::new(word)).unwrap();
        testproc.tcp_pairs(2).unwrap();
        testproc.udp_connected(1).unwrap();
        testproc.unix_pairs(2).unwrap();
        testproc.open_files(22).unwrap();
        testproc
    };
    let testprocs: Vec<TestProcess> = (0..PROCESSES).map(|_| start(&word)).collect();
    let single = common::word("single");
    let other = start(&single);
    // Both contain the machine's processes, some of which start and exit meanwhile, and the few
    // ancestors of the matched processes.
    let mut bytes: Vec<usize> = (0..4)
        .map(|_| {
            let (with_one, one) = measure(&single);
            let (with_all, all) = measure(&word);
            assert_eq!((one, all), (1, PROCESSES));
            with_all.saturating_sub(with_one) / (PROCESSES - 1)
        })
        .collect();
    bytes.sort_unstable();
    println!("{bytes:?} bytes per process with 34 descriptors and 9 sockets");
    assert!(bytes[1] + BYTES_PER_UNMATCHED <= 1600, "{bytes:?} bytes per process");
    drop((testprocs, other));
}

/// Starts a shell that runs a script with a parameter, and has a word in its command line.
fn shell(script: &str, word: &str, parameter: u64) -> Child {
    Command::new("/bin/sh")
        .args(["-c", script, word, &parameter.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Processes of the machine start and exit meanwhile, and some pages of each list stay; a leak of
/// 13 bytes per fork is detected.
fn assert_memory_returned(before: usize) {
    let after = live_bytes();
    println!("{before} bytes before, {after} after");
    assert!(after <= before + (128 << 10), "{before} bytes before, {after} after");
}

#[test]
fn memory_returns_after_fork_storm() {
    const FORKS: u64 = 5000;
    let _serialized = serialize();
    let words = [word("storm-a"), word("storm-b")];
    let mut watch = Watch::with(short_window(), &[&words[0], &words[1]]);
    watch.cycles(20);
    let before = live_bytes();
    let script = "i=0; while [ $i -lt $1 ]; do (:); (:) & i=$((i+2)); done; wait";
    let mut shells = words.each_ref().map(|word| shell(script, word, FORKS));
    let mut most = 0;
    wait_until("end of the fork storm", || {
        most = most.max(procs(&watch.cycle(), [A, B]).iter().sum());
        shells.iter_mut().all(|shell| shell.try_wait().unwrap().is_some())
    });
    assert!(most >= 2);
    assert_eq!(procs(&watch.cycles(20), [A, B]), [0, 0]);
    assert_memory_returned(before);
}

#[test]
fn memory_returns_after_large_population() {
    let _serialized = serialize();
    let word = word("population");
    for population in [900, 3000] {
        let mut watch = Watch::with(short_window(), &[&word]);
        watch.cycles(20);
        let before = live_bytes();
        // All read from the pipe until it is closed.
        let script =
            "exec 3<&0; i=0; while [ $i -lt $1 ]; do (read x <&3) & i=$((i+1)); done; wait";
        let mut shell = shell(script, &word, population);
        wait_until("population", || watch.cycle().image(A).processes > population);
        println!("{} bytes with {population}", live_bytes());
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(watch.cycles(20).image(A).processes, 0);
        assert_memory_returned(before);
    }
}

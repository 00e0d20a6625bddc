//! What the sampler keeps in memory: so many bytes a process, and after a storm
//! of short ones what it was before.

mod common;

use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{A, B, Watch, options, word};
use psstat_sampler::Options;
use psstat_testproc::alloc::{CountingAllocator, live_bytes};
use psstat_testproc::{Config, TestProcess};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// One test at a time: the allocator is the process's.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn short() -> Options {
    let window = Duration::from_millis(2);
    Options { window, cmdline_timeout: Duration::from_secs(60), ..options() }
}

/// A process whose command line makes the buffers as large as they get, so that
/// they do not grow when another long one comes meanwhile.
fn long() -> TestProcess {
    TestProcess::spawn(&Config::new("long").arg("x".repeat(100_000))).unwrap()
}

/// What a sampler weighs that looks for a word, and how many it found.
fn weigh(word: &String) -> (usize, usize) {
    let before = live_bytes();
    let mut watch = Watch::with(short(), &[word]);
    let image = watch.cycles(12).image(A);
    let sockets = image.tcp.unwrap() + image.udp.unwrap() + image.unix.unwrap();
    assert_eq!(sockets, 9 * image.procs);
    (live_bytes() - before, usize::try_from(image.procs).unwrap())
}

#[test]
fn a_process_takes_little_more_than_a_kibibyte() {
    // As full as the table of sockets is with 2,000, 4,000 or 8,000.
    const PROCESSES: usize = 125;
    let (_alone, _long) = (alone(), long());
    let word = word("weighed");
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
    // The machine's processes weigh in both, and some come and go meanwhile; so
    // do the ancestors of those that match, which are few on any machine.
    let weighings = (0..4).map(|_| {
        let (with_one, one) = weigh(&single);
        let (with_all, all) = weigh(&word);
        assert_eq!((one, all), (1, PROCESSES));
        with_all.saturating_sub(with_one) / (PROCESSES - 1)
    });
    let mut each: Vec<usize> = weighings.collect();
    each.sort_unstable();
    println!("{each:?} bytes a process of 34 descriptors and 9 sockets");
    // With what is kept of any process: five quarters of a kibibyte.
    assert!(each[1] + 88 <= 1280, "{each:?} bytes a process");
    drop((testprocs, other));
}

/// A shell that matches and forks until it has done so often enough.
fn storm(word: &str, forks: usize) -> Child {
    let script = "i=0; while [ $i -lt $1 ]; do (:); (:) & i=$((i+2)); done; wait";
    Command::new("/bin/sh")
        .args(["-c", script, word, &forks.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn after_a_storm_it_is_what_it_was_before() {
    const FORKS: usize = 5000;
    let (_alone, _long) = (alone(), long());
    let words = [word("storm-a"), word("storm-b")];
    let mut watch = Watch::with(short(), &[&words[0], &words[1]]);
    watch.cycles(20);
    let before = live_bytes();
    let mut most = 0;
    let mut shells = [storm(&words[0], FORKS), storm(&words[1], FORKS)];
    let deadline = Instant::now() + Duration::from_secs(120);
    while shells.iter_mut().any(|shell| shell.try_wait().unwrap().is_none()) {
        assert!(Instant::now() < deadline, "the storm does not end");
        let sample = watch.cycle();
        most = most.max(sample.image(A).procs + sample.image(B).procs);
    }
    assert!(most >= 2);
    let sample = watch.cycles(20);
    assert_eq!((sample.image(A).procs, sample.image(B).procs), (0, 0));
    same(before, live_bytes());
}

/// The machine's own processes come and go meanwhile, and of each list some
/// pages stay; a leak of 13 bytes a fork shows.
fn same(before: usize, after: usize) {
    println!("{before} bytes before, {after} after");
    assert!(after <= before + (128 << 10), "{before} bytes before, {after} after");
}

#[test]
fn after_a_crowd_it_is_what_it_was_before() {
    let (_alone, _long) = (alone(), long());
    let word = word("crowd");
    for crowd in [900, 3000] {
        let mut watch = Watch::with(short(), &[&word]);
        watch.cycles(20);
        let before = live_bytes();
        // All read what nobody writes, until there is no writer.
        let script =
            "exec 3<&0; i=0; while [ $i -lt $1 ]; do (read x <&3) & i=$((i+1)); done; wait";
        let mut shell = Command::new("/bin/sh")
            .args(["-c", script, &word, &crowd.to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        while watch.cycle().image(A).procs <= crowd {
            assert!(Instant::now() < deadline, "the crowd does not come together");
        }
        println!("{} bytes with {crowd}", live_bytes());
        drop(shell.stdin.take());
        shell.wait().unwrap();
        let sample = watch.cycles(20);
        assert_eq!(sample.image(A).procs, 0);
        same(before, live_bytes());
    }
}

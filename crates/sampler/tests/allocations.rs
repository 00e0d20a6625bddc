//! A steady cycle allocates nothing, in any thread.
//!
//! Other processes of the machine come and go, and so do their sockets, and new
//! ones need memory; so this runs in namespaces of its own, or counts the cycles
//! in which nobody came.
// The permission for tests does not reach the functions beside them.
#![allow(unsafe_code, clippy::unwrap_used)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{A, every_way, testproc};
use psstat_sampler::{Options, Sampler};
use psstat_testproc::{TestProcess, oracle};

struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Of all threads but the first: that is the test harness's, which after a
/// minute says that this takes long.
fn count() {
    let first = || rustix::thread::gettid() == rustix::process::getpid();
    if COUNTS.load(Ordering::Relaxed) && !first() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const INSIDE: &str = "PSSTAT_TEST_INSIDE";

/// Runs a test of this binary again by itself, with a command before it: every
/// thread's allocations are counted.
fn by_itself(test: &str, prefix: &[&str]) {
    let program = std::env::current_exe().unwrap();
    let words = prefix.iter().map(Into::into).chain([program.into_os_string()]);
    let words: Vec<std::ffi::OsString> = words.collect();
    let inside = Command::new(&words[0])
        .args(&words[1..])
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        // With one, the test would run in the harness's own.
        .env("RUST_TEST_THREADS", "2")
        .output();
    match inside {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            let complained = String::from_utf8_lossy(&output.stderr);
            if complained.contains("unshare: ") {
                return println!("skipped: no namespaces: {complained}");
            }
            println!("{said}");
            assert!(output.status.success(), "{said}\n{complained}");
        }
        Err(error) => println!("skipped: no unshare: {error}"),
    }
}

#[test]
fn a_steady_cycle_allocates_nothing() {
    if std::env::var_os(INSIDE).is_some() {
        return steady_cycles();
    }
    let unshare = ["unshare", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"];
    by_itself("a_steady_cycle_allocates_nothing", &unshare);
}

/// Where not all of `/proc` is listed, which is only so in the first pid
/// namespace. There others come and go, but not in every cycle.
#[test]
fn a_quiet_cycle_allocates_nothing_where_the_listing_is_partial() {
    if std::env::var_os(INSIDE).is_some() {
        return quiet_cycles();
    }
    by_itself("a_quiet_cycle_allocates_nothing_where_the_listing_is_partial", &[]);
}

/// What the image consists of.
struct Image {
    word: String,
    sleepers: Vec<Child>,
    /// They have sockets, in this network namespace and in one of their own,
    /// and two are a family.
    testprocs: [TestProcess; 3],
}

impl Image {
    const SLEEPERS: usize = 50;

    fn new() -> Image {
        // A word that sleep takes for a duration.
        let word = format!("1000.{:09}", std::process::id());
        let sleeper = || Command::new("sleep").arg(&word).stdin(Stdio::null()).spawn().unwrap();
        let sleepers: Vec<Child> = (0..Image::SLEEPERS).map(|_| sleeper()).collect();
        let [mut here, mut there] = [testproc(&word), testproc(&word)];
        here.unix_pairs(3).unwrap();
        there.unshare_net().unwrap();
        there.tcp_pairs(3).unwrap();
        there.udp_connected(2).unwrap();
        let child = there.fork_copy().unwrap();
        for testproc in [&here, &there, &child] {
            testproc.quiesce().unwrap();
        }
        // They have their command line before they have loaded their libraries.
        let begun = Instant::now();
        while sleepers.iter().any(|sleeper| oracle::state(sleeper.id()).unwrap() != 'S') {
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(5));
        }
        Image { word, sleepers, testprocs: [here, there, child] }
    }

    fn end(mut self) {
        for child in &mut self.sleepers {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        drop(self.testprocs);
    }
}

/// A cycle over the image; gives the allocations in it.
fn cycle(sampler: &mut Sampler, image: &Image) -> u64 {
    ALLOCATIONS.store(0, Ordering::Relaxed);
    COUNTS.store(true, Ordering::Relaxed);
    let word = image.word.as_bytes();
    let due = sampler.open(&mut |process, images| {
        if process.text.windows(word.len()).any(|part| part == word) {
            images.push(A);
        }
    });
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
    let now = sampler.close().image(A);
    COUNTS.store(false, Ordering::Relaxed);
    assert_eq!(now.procs, (Image::SLEEPERS + image.testprocs.len()) as u64);
    assert_eq!((now.tcp, now.udp), (Some(6), Some(2)));
    assert!(now.unix >= Some(6));
    ALLOCATIONS.load(Ordering::Relaxed)
}

fn options_of(options: Options) -> Options {
    // With less patience, a busy machine makes a command line look as if it
    // blocked, and another thread is started.
    let command_line_patience = Duration::from_secs(60);
    Options { window: Duration::from_millis(2), command_line_patience, ..options }
}

fn steady_cycles() {
    let image = Image::new();
    for options in every_way().into_iter().map(options_of) {
        let mut sampler = Sampler::new(options.clone()).unwrap();
        // Past the first looks, which come ever more rarely.
        for _ in 0..20 {
            cycle(&mut sampler, &image);
        }
        // More than a turn of command lines (8), of whole listings (8), and of
        // descriptors (40).
        let allocations: Vec<u64> = (0..48).map(|_| cycle(&mut sampler, &image)).collect();
        assert!(allocations.iter().all(|&number| number == 0), "{allocations:?} {options:?}");
    }
    image.end();
}

fn quiet_cycles() {
    const ENOUGH: usize = 8;
    let image = Image::new();
    let mut sampler = Sampler::new(options_of(Options::default())).unwrap();
    if sampler.fast_paths().partial_listing {
        let allocations: Vec<u64> = (0..200).map(|_| cycle(&mut sampler, &image)).collect();
        let quiet = allocations.iter().filter(|&&number| number == 0).count();
        assert!(quiet >= ENOUGH, "{allocations:?}");
    } else {
        println!("skipped: not the first pid namespace");
    }
    image.end();
}

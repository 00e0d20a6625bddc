//! A steady cycle allocates nothing, in any thread.
//!
//! Other processes of the machine come and go, and so do their sockets, and new
//! ones need memory; so this runs in namespaces of its own, or counts the cycles
//! in which nobody came.

mod common;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{A, every_way, testproc};
use psstat_sampler::{Options, Sampler};
use psstat_testproc::alloc::{CountingAllocator, allocations_of_other_threads};
use psstat_testproc::{TestProcess, isolated, oracle, test_name, wait_until};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn a_steady_cycle_allocates_nothing() {
    let unshare = ["unshare", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"];
    if isolated(test_name!(), &unshare) {
        steady_cycles();
    }
}

/// Where not all of `/proc` is listed, which is only so in the first pid
/// namespace. There others come and go, but not in every cycle.
#[test]
fn a_quiet_cycle_allocates_nothing_where_the_listing_is_partial() {
    if isolated(test_name!(), &[]) {
        quiet_cycles();
    }
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
        let is_asleep = |sleeper: &Child| oracle::state(sleeper.id()).unwrap() == 'S';
        wait_until("they sleep", || sleepers.iter().all(is_asleep));
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
    let before = allocations_of_other_threads();
    let word = image.word.as_bytes();
    let due = sampler.open(&mut |process, images| {
        if process.args_joined.windows(word.len()).any(|part| part == word) {
            images.push(A);
        }
    });
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
    let now = sampler.close().image(A);
    let allocations = allocations_of_other_threads() - before;
    assert_eq!(now.procs, (Image::SLEEPERS + image.testprocs.len()) as u64);
    assert_eq!((now.tcp, now.udp), (Some(6), Some(2)));
    assert!(now.unix >= Some(6));
    allocations
}

fn options_of(options: Options) -> Options {
    // With less patience, a busy machine makes a command line look as if it
    // blocked, and another thread is started.
    let command_line_patience = Duration::from_secs(60);
    Options { window: Duration::from_millis(2), cmdline_timeout: command_line_patience, ..options }
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

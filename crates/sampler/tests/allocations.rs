//! A steady cycle does not allocate, in any thread.
//!
//! New processes and sockets of the machine need memory. So one test runs in its own namespaces,
//! and the other one counts the cycles without new processes.

mod common;

use std::process::{Child, Command, Stdio};

use common::{A, Options, Sampler, every_mode, has_word, quiesce, short_window, testproc};
use psstat_sampler::MetricGroups;
use psstat_testproc::alloc::{CountingAllocator, allocations_of_other_threads};
use psstat_testproc::{TestProcess, isolated, oracle, test_name, wait_until};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// The processes of the image.
struct Image {
    word: String,
    sleepers: Vec<Child>,
    /// One in this network namespace, and two in another: a parent and its child. All have
    /// sockets.
    testprocs: [TestProcess; 3],
}

impl Image {
    const SLEEPERS: usize = 50;

    fn new() -> Image {
        // A word that sleep accepts as a duration.
        let word = format!("1000.{:09}", std::process::id());
        let sleeper = || Command::new("sleep").arg(&word).stdin(Stdio::null()).spawn().unwrap();
        let sleepers: Vec<Child> = (0..Image::SLEEPERS).map(|_| sleeper()).collect();
        let [mut here, mut parent] = [testproc(&word), testproc(&word)];
        here.unix_pairs(3).unwrap();
        parent.unshare_net().unwrap();
        parent.tcp_pairs(3).unwrap();
        parent.udp_connected(2).unwrap();
        let child = parent.fork_copy().unwrap();
        quiesce(&[&here, &parent, &child]);
        // A process has its command line before it has loaded its libraries.
        let is_asleep = |sleeper: &Child| oracle::state(sleeper.id()).unwrap() == 'S';
        wait_until("sleepers are asleep", || sleepers.iter().all(is_asleep));
        Image { word, sleepers, testprocs: [here, parent, child] }
    }

    /// Runs one cycle; gives the number of allocations in it.
    fn cycle(&self, sampler: &mut Sampler) -> u64 {
        let before = allocations_of_other_threads();
        let sample = common::cycle(sampler, &mut |process, images| {
            images.extend(has_word(process, &self.word).then_some(A));
        });
        let image = sample.image(A);
        let allocations = allocations_of_other_threads() - before;
        assert_eq!(image.processes, (Image::SLEEPERS + self.testprocs.len()) as u64);
        assert_eq!((image.tcp, image.udp), (Some(6), Some(2)));
        assert!(image.unix >= Some(6));
        allocations
    }

    fn cycles(&self, sampler: &mut Sampler, number: usize) -> Vec<u64> {
        (0..number).map(|_| self.cycle(sampler)).collect()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        for sleeper in &mut self.sleepers {
            let _ = sleeper.kill();
            let _ = sleeper.wait();
        }
    }
}

#[test]
fn steady_cycle_does_not_allocate() {
    let unshare = ["unshare", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"];
    if !isolated(test_name!(), &unshare) {
        return;
    }
    let image = Image::new();
    let metrics =
        MetricGroups { states: true, faults: true, swap: true, switches: true, tcp: true };
    let with_groups = Options { metrics, ..short_window() };
    for options in every_mode().into_iter().chain([with_groups]) {
        let options = Options { window: short_window().window, ..options };
        let mut sampler = Sampler::new(options.clone()).unwrap();
        // In the first cycles of a process it is read more often.
        image.cycles(&mut sampler, 20);
        // More than the intervals of command lines (8), full listings (8) and fd scans (40).
        let allocations = image.cycles(&mut sampler, 48);
        assert!(allocations.iter().all(|&number| number == 0), "{allocations:?} {options:?}");
    }
}

/// Partial listings exist only in the initial pid namespace. Other processes start and exit
/// there, but not in every cycle.
#[test]
fn quiescent_cycle_with_partial_listing_does_not_allocate() {
    const MIN_QUIESCENT: usize = 8;
    if !isolated(test_name!(), &[]) {
        return;
    }
    let image = Image::new();
    let by_bpf = common::bpf().map(|bpf| Options { bpf: Some(bpf), ..short_window() });
    let by_ring = common::bpf().map(|bpf| {
        let bpf = Some(bpf.with_ring(1 << 20).unwrap());
        Options { bpf, ..short_window() }
    });
    for options in [Some(short_window()), by_bpf, by_ring].into_iter().flatten() {
        let mut sampler = Sampler::new(options.clone()).unwrap();
        if !sampler.fast_paths().partial_listing {
            return println!("skipped: not the initial pid namespace");
        }
        let allocations = image.cycles(&mut sampler, 150);
        let quiescent = allocations.iter().filter(|&&number| number == 0).count();
        assert!(quiescent >= MIN_QUIESCENT, "{allocations:?} {options:?}");
    }
}

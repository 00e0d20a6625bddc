//! What the live tests share: a sampler over test processes that are told by a word in
//! their command line.
// Each test binary uses a part of it.
#![allow(dead_code, unused_imports)]

pub(crate) mod captured_proc;

use std::path::Path;
use std::time::{Duration, Instant};

use psstat_sampler::{FastPaths, ImageId, IoCounters, Numbers, Options, Sample, Sampler};
pub(crate) use psstat_testproc::unique_word as word;
use psstat_testproc::{Config, Io, TestProcess, oracle, wait_until};

pub(crate) const A: ImageId = ImageId(0);
pub(crate) const B: ImageId = ImageId(1);

pub(crate) fn testproc(word: &str) -> TestProcess {
    TestProcess::spawn(&Config::new(word)).unwrap()
}

pub(crate) fn options() -> Options {
    // On a busy machine the thread that reads command lines may have to wait.
    let command_line_patience = Duration::from_secs(10);
    Options {
        window: Duration::from_millis(60),
        cmdline_timeout: command_line_patience,
        ..Options::default()
    }
}

/// A sampler whose images are the processes with a word each.
pub(crate) struct Watch {
    pub(crate) sampler: Sampler,
    words: Vec<String>,
}

impl Watch {
    pub(crate) fn new(words: &[&String]) -> Watch {
        Watch::with(options(), words)
    }

    pub(crate) fn with(options: Options, words: &[&String]) -> Watch {
        let words = words.iter().map(|&word| word.clone()).collect();
        Watch { sampler: Sampler::new(options).unwrap(), words }
    }

    pub(crate) fn open(&mut self) -> Instant {
        let words = &self.words;
        self.sampler.open(&mut |process, images| {
            for (number, word) in (0..).zip(words) {
                if process.args_joined.windows(word.len()).any(|part| part == word.as_bytes()) {
                    images.push(ImageId(number));
                }
            }
        })
    }

    pub(crate) fn close(&mut self, due: Instant) -> Sample {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        self.sampler.close().clone()
    }

    pub(crate) fn cycle(&mut self) -> Sample {
        let due = self.open();
        self.close(due)
    }

    pub(crate) fn cycles(&mut self, n: usize) -> Sample {
        (1..n).for_each(|_| drop(self.cycle()));
        self.cycle()
    }
}

/// The four counters that do not depend on storage.
pub(crate) fn four(io: Option<IoCounters>) -> Io {
    let io = io.unwrap();
    let unsigned = |counter: i64| u64::try_from(counter).unwrap();
    Io {
        rchar: unsigned(io.rchar),
        wchar: unsigned(io.wchar),
        syscr: unsigned(io.syscr),
        syscw: unsigned(io.syscw),
    }
}

pub(crate) fn io_of(image: Numbers) -> Io {
    four(image.io)
}

/// Every number of an image, against slow readings of its processes.
pub(crate) fn assert_true(image: Numbers, testprocs: &[&TestProcess]) {
    let pids = || testprocs.iter().map(|testproc| testproc.pid());
    let io = pids().map(|pid| Io::read(pid).unwrap());
    assert_eq!(io_of(image), io.fold(Io::default(), |sum, io| sum + io));
    assert_eq!(image.procs, testprocs.len() as u64);
    assert_eq!(image.descriptors, Some(pids().map(|pid| oracle::fds(pid).unwrap()).sum()));
    assert_eq!(image.threads, Some(pids().map(|pid| oracle::threads(pid).unwrap()).sum()));
    let vsize = pids().map(|pid| oracle::memory(pid).unwrap().total).sum();
    assert_eq!(image.vsize, Some(vsize));
    let rss: u64 = pids().map(|pid| oracle::memory(pid).unwrap().resident).sum();
    // The kernel's own count wavers by some pages a CPU.
    assert!(image.rss.unwrap().abs_diff(rss) <= 512 << 10, "{:?} against {rss}", image.rss);
    let sockets = pids().map(|pid| oracle::established(pid).unwrap());
    let sockets = sockets.reduce(|all, more| all.union(&more)).unwrap();
    assert_eq!(image.tcp, Some(sockets.all_tcp()));
    assert_eq!(image.udp, Some(sockets.all_udp()));
    assert_eq!(image.unix, Some(sockets.unix.len() as u64));
}

/// Waits for the other half of a test to make a file.
pub(crate) fn wait_for(file: &Path) {
    wait_until(&file.display().to_string(), || file.exists());
}

/// The fast ways and the plain ones, with descriptors kept and without.
pub(crate) fn every_way() -> Vec<Options> {
    let mut ways = Vec::new();
    for fast in [FastPaths::ALL, FastPaths::NONE] {
        for descriptors in [None, Some(0)] {
            ways.push(Options { fast_paths: fast, max_open_fds: descriptors, ..options() });
        }
    }
    ways
}

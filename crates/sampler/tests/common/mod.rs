//! Shared by the live tests: a sampler whose images are the test processes with a word in their
//! command line.
// Each test binary uses a part of it.
#![allow(dead_code, unused_imports)]

pub(crate) mod captured_proc;
pub(crate) mod sampler;
pub(crate) mod second_process;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use psstat_sampler::{Bpf, Candidate, FastPaths, IoStart, Usage};
pub(crate) use psstat_testproc::unique_word as word;
use psstat_testproc::{Config, Io, TestProcess, oracle};
pub(crate) use sampler::{Classify, ImageId, Images, Options, Sample, Sampler};

pub(crate) const A: ImageId = ImageId(0);
pub(crate) const B: ImageId = ImageId(1);
pub(crate) const C: ImageId = ImageId(2);

pub(crate) fn testproc(word: &str) -> TestProcess {
    TestProcess::spawn(&Config::new(word)).unwrap()
}

/// A test process in a new network namespace; `None` without the privilege to create one.
pub(crate) fn testproc_in_netns(word: &str) -> Option<TestProcess> {
    let mut testproc = testproc(word);
    match testproc.unshare_net() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            println!("skipped: no privilege to create a network namespace");
            return None;
        }
        result => result.unwrap(),
    }
    Some(testproc)
}

pub(crate) fn quiesce(testprocs: &[&TestProcess]) {
    testprocs.iter().for_each(|testproc| testproc.quiesce().unwrap());
}

pub(crate) fn has_ipv6() -> bool {
    let has_ipv6 = std::net::UdpSocket::bind("[::1]:0").is_ok();
    if !has_ipv6 {
        println!("skipped: IPv6, which is disabled here");
    }
    has_ipv6
}

pub(crate) fn is_root() -> bool {
    let is_root = rustix::process::getuid().is_root();
    if !is_root {
        println!("skipped: not root");
    }
    is_root
}

pub(crate) fn options() -> Options {
    Options {
        window: Duration::from_millis(60),
        // On a busy machine a shorter timeout makes a command line look as if it blocked, and
        // the sampler starts another reader thread.
        read_timeout: Duration::from_secs(60),
        // The counters of a process are then those of its image.
        io_start: IoStart::ProcessStart,
        ..Options::default()
    }
}

/// For tests with many cycles.
pub(crate) fn short_window() -> Options {
    Options { window: Duration::from_millis(2), ..options() }
}

/// The BPF program, if it can be used here: not in a pid namespace.
pub(crate) fn bpf() -> Option<Bpf> {
    static BPF: OnceLock<Option<Bpf>> = OnceLock::new();
    BPF.get_or_init(|| Bpf::load(Path::new("/proc")).ok()).clone()
}

/// Fast paths enabled and disabled, each with descriptors held open and not; and by BPF.
pub(crate) fn every_mode() -> Vec<Options> {
    let mut modes = Vec::new();
    for fast_paths in [FastPaths::ALL, FastPaths::NONE] {
        for max_open_fds in [None, Some(0)] {
            modes.push(Options { fast_paths, max_open_fds, ..options() });
        }
    }
    modes.extend(bpf().map(|bpf| Options { bpf: Some(bpf), ..options() }));
    modes
}

/// Runs a case in [every mode](every_mode), with a word of its own and a sampler for it.
pub(crate) fn in_every_mode(name: &str, case: impl Fn(&mut Watch, &str)) {
    for options in every_mode() {
        let word = word(name);
        case(&mut Watch::with(options, &[&word]), &word);
    }
}

pub(crate) fn has_word(process: &Candidate<'_>, word: &str) -> bool {
    process.args_joined.windows(word.len()).any(|part| part == word.as_bytes())
}

/// Waits for the end of a window, and closes it.
pub(crate) fn close(sampler: &mut Sampler, due: Instant) -> &Sample {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
    sampler.close()
}

pub(crate) fn cycle<'a>(sampler: &'a mut Sampler, classify: &mut Classify<'_>) -> &'a Sample {
    let due = sampler.open(classify);
    close(sampler, due)
}

/// A sampler with one image per word.
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

    pub(crate) fn in_every_mode(word: &String) -> Vec<Watch> {
        every_mode().into_iter().map(|options| Watch::with(options, &[word])).collect()
    }

    pub(crate) fn open(&mut self) -> Instant {
        let words = &self.words;
        self.sampler.open(&mut |process, images| {
            let matching = (0..).zip(words).filter(|(_, word)| has_word(process, word));
            images.extend(matching.map(|(number, _)| ImageId(number)));
        })
    }

    /// Reads the events if the ring is half full.
    pub(crate) fn read_events(&mut self) {
        let words = &self.words;
        self.sampler.read_events(&mut |process, images| {
            let matching = (0..).zip(words).filter(|(_, word)| has_word(process, word));
            images.extend(matching.map(|(number, _)| ImageId(number)));
        });
    }

    pub(crate) fn close(&mut self, due: Instant) -> Sample {
        close(&mut self.sampler, due).clone()
    }

    pub(crate) fn cycle(&mut self) -> Sample {
        let due = self.open();
        self.close(due)
    }

    /// Runs several cycles; gives the last sample.
    pub(crate) fn cycles(&mut self, number: usize) -> Sample {
        (1..number).for_each(|_| drop(self.cycle()));
        self.cycle()
    }
}

/// The four counters that do not depend on storage.
pub(crate) fn io_of(image: Usage) -> Io {
    let io = image.io.unwrap();
    let [rchar, wchar, syscr, syscw] =
        [io.rchar, io.wchar, io.syscr, io.syscw].map(|counter| u64::try_from(counter).unwrap());
    Io { rchar, wchar, syscr, syscw }
}

/// The number of processes of each image.
pub(crate) fn procs<const N: usize>(sample: &Sample, images: [ImageId; N]) -> [u64; N] {
    images.map(|image| sample.image(image).processes)
}

/// The established tcp sockets of each image.
pub(crate) fn tcp<const N: usize>(sample: &Sample, images: [ImageId; N]) -> [Option<u64>; N] {
    images.map(|image| sample.image(image).tcp)
}

/// Compares every value of an image with the oracle's for its processes.
#[track_caller]
pub(crate) fn assert_matches_oracle(image: Usage, testprocs: &[&TestProcess]) {
    let pids = || testprocs.iter().map(|testproc| testproc.pid());
    let io = pids().map(|pid| Io::read(pid).unwrap());
    assert_eq!(io_of(image), io.fold(Io::default(), |sum, io| sum + io));
    assert_eq!(image.processes, testprocs.len() as u64);
    assert_eq!(image.fds, Some(pids().map(|pid| oracle::fds(pid).unwrap()).sum()));
    assert_eq!(image.threads, Some(pids().map(|pid| oracle::threads(pid).unwrap()).sum()));
    let vsize = pids().map(|pid| oracle::memory(pid).unwrap().total).sum();
    assert_eq!(image.vsize, Some(vsize));
    let rss: u64 = pids().map(|pid| oracle::memory(pid).unwrap().resident).sum();
    // The kernel's counters deviate by some pages per CPU.
    assert!(image.rss.unwrap().abs_diff(rss) <= 512 << 10, "{:?} against {rss}", image.rss);
    let sockets = pids().map(|pid| oracle::established(pid).unwrap());
    let sockets = sockets.reduce(|all, more| all.union(&more)).unwrap();
    assert_eq!(image.tcp, Some(sockets.all_tcp()));
    assert_eq!(image.udp, Some(sockets.all_udp()));
    assert_eq!(image.unix, Some(sockets.unix.len() as u64));
}

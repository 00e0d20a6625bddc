//! Processes read by BPF: the same numbers as from the procfs, and where these are inexact, the
//! right ones. The tests that run in every mode compare both with what the test processes did.

#[path = "../common/mod.rs"]
mod common;

mod lifetimes;
mod sockets;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use common::{
    A, B, Options, Sampler, Watch, assert_matches_oracle, close, io_of, options, procs, quiesce,
    short_window, testproc, word,
};
use psstat_sampler::{Bpf, BpfError, CpuTime, MetricGroups, Usage};
use psstat_testproc::{Config, Io, Kind, TestProcess, oracle};

const ALL: MetricGroups = all_groups();

const fn all_groups() -> MetricGroups {
    MetricGroups { faults: true, states: true, swap: true, switches: true, tcp: true }
}

/// The program. `None` if this build has none, or if the test is skipped.
fn load() -> Option<Bpf> {
    // Other tests change the numbers of this process while they are compared.
    let load = || Bpf::load(Path::new("/proc"));
    let is_certain = |loaded: &Result<Bpf, BpfError>| !matches!(loaded, Err(BpfError::Differs(_)));
    match (0..10).map(|_| load()).find(is_certain).unwrap_or_else(load) {
        Ok(bpf) => Some(bpf),
        Err(BpfError::NotBuilt) => None,
        Err(error @ (BpfError::Differs(_) | BpfError::Refused(_))) => panic!("{error}"),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

/// Two samplers whose windows are the same.
struct Both {
    proc: Watch,
    bpf: Watch,
}

impl Both {
    fn new(options: &Options, words: &[&String]) -> Option<Both> {
        let bpf = Some(load()?);
        let proc = Watch::with(Options { bpf: None, ..options.clone() }, words);
        Some(Both { proc, bpf: Watch::with(Options { bpf, ..options.clone() }, words) })
    }

    /// Runs a cycle of both.
    fn cycle(&mut self) {
        let (proc, bpf) = (self.proc.open(), self.bpf.open());
        close(&mut self.proc.sampler, proc);
        close(&mut self.bpf.sampler, bpf);
    }

    /// Runs a cycle, and gives the numbers of a process from both.
    fn read(&mut self, process: &TestProcess) -> (Usage, Usage) {
        self.cycle();
        (usage(&self.proc, process), usage(&self.bpf, process))
    }
}

fn usage(watch: &Watch, process: &TestProcess) -> Usage {
    let mut processes = watch.sampler.processes();
    processes.find(|sample| sample.pid == process.pid()).expect("it is a member").usage
}

/// Compares all numbers of a process that does nothing.
#[track_caller]
fn assert_same(case: &str, (proc, mut bpf): (Usage, Usage)) {
    // Those of another moment.
    for (age, proc, bpf) in
        [("oldest", proc.oldest, &mut bpf.oldest), ("youngest", proc.youngest, &mut bpf.youngest)]
    {
        let (proc, age_by_bpf) = (proc.unwrap(), bpf.unwrap());
        assert!(proc.abs_diff(age_by_bpf) < Duration::from_secs(10), "{case}: {age}");
        *bpf = Some(proc);
    }
    // The sum is exact, and the parts follow from samples of both.
    let (one, other) = (proc.cpu.unwrap(), bpf.cpu.unwrap());
    assert_eq!(one.total(), other.total(), "{case}");
    assert!(one.user.abs_diff(other.user) < 20_000_000, "{case}: {one:?} {other:?}");
    bpf.cpu = proc.cpu;
    assert_eq!(bpf, proc, "{case}");
}

#[test]
fn both_sources_agree() {
    let word = word("agree");
    let options = Options { metrics: ALL, ..options() };
    let Some(mut both) = Both::new(&options, &[&word]) else { return };
    let [mut busy, mut many, mut threads, mut ended, mut other] =
        std::array::from_fn(|_| testproc(&word));
    busy.burn(100.0, Duration::from_millis(200)).unwrap();
    busy.mmap_touch(20 << 20).unwrap();
    busy.share_touch(5 << 20).unwrap();
    busy.write_bytes(3_000_000, 11).unwrap();
    // More than one table of descriptors, and a gap.
    many.open_files(3000).unwrap();
    many.close_files(1234).unwrap();
    many.open_sockets(Kind::Tcp, 3).unwrap();
    many.open_sockets(Kind::UnixStream, 2).unwrap();
    threads.threads(300).unwrap();
    threads.switch(100, 3).unwrap();
    ended.threads(5).unwrap();
    ended.read_bytes(1_000_000, 9).unwrap();
    ended.leader_exit().unwrap();
    other.setuid(65534).unwrap();
    other.read_bytes(500, 3).unwrap();
    let mut zombie = other.fork_child(&Config::new(&word)).unwrap();
    let all = [&busy, &many, &threads, &ended, &other];
    quiesce(&all);
    both.cycle();
    zombie.exit(0).unwrap();
    quiesce(&all);
    for cycle in 0..3 {
        for (name, process) in ["busy", "many", "threads", "ended", "other"].into_iter().zip(all) {
            let read = both.read(process);
            if cycle > 0 {
                assert_same(name, read);
            }
        }
    }
    // And with what they did.
    let bpf = |process| usage(&both.bpf, process);
    for process in all {
        assert_eq!(io_of(bpf(process)), Io::read(process.pid()).unwrap());
        assert_eq!(bpf(process).threads, Some(oracle::threads(process.pid()).unwrap()));
    }
    assert_matches_oracle(bpf(&busy), &[&busy]);
    assert_matches_oracle(bpf(&many), &[&many]);
    assert!(bpf(&threads).threads >= Some(301));
    let states = both.bpf.sampler.sample().image(A).states.unwrap();
    assert_eq!((states.sleeping, states.zombie), (5, 1), "{states:?}");
    assert_eq!(both.proc.sampler.sample().image(A).states, Some(states));
}

/// A process that the kernel does not visit (some kernels leave out pid 1) is read from the procfs.
#[test]
fn no_value_of_any_process_is_missing() {
    let Some(bpf) = load() else { return };
    let options = Options { metrics: ALL, ..short_window() };
    let mut samplers =
        [None, Some(bpf)].map(|bpf| Sampler::new(Options { bpf, ..options.clone() }).unwrap());
    let known: Vec<HashMap<u32, [bool; 9]>> = samplers
        .iter_mut()
        .map(|sampler| {
            for _ in 0..2 {
                common::cycle(sampler, &mut |_, images| images.push(A));
            }
            let known = |usage: Usage| {
                [
                    usage.io.is_some(),
                    usage.cpu.is_some(),
                    usage.rss.is_some(),
                    usage.fds.is_some(),
                    usage.threads.is_some(),
                    usage.states.is_some(),
                    usage.swap.is_some(),
                    usage.faults.is_some(),
                    usage.switches.is_some(),
                ]
            };
            sampler.processes().map(|process| (process.pid, known(process.usage))).collect()
        })
        .collect();
    let mut compared = 0;
    for (pid, by_proc) in &known[0] {
        // Others have exited in between.
        if let Some(by_bpf) = known[1].get(pid) {
            let is_missing = by_proc.iter().zip(by_bpf).any(|(proc, bpf)| *proc && !bpf);
            // Or it exits just now.
            let exits = || !oracle::state(*pid).is_ok_and(|state| state != 'Z');
            assert!(!is_missing || exits(), "{pid}: {by_proc:?} {by_bpf:?}");
            compared += 1;
        }
    }
    assert!(compared >= 1 && known[1].contains_key(&1));
}

/// The numbers of a process include those of its threads that have ended.
#[test]
fn ended_threads_count() {
    let word = word("ended");
    let options = Options { metrics: ALL, ..options() };
    let Some(mut both) = Both::new(&options, &[&word]) else { return };
    let mut one = testproc(&word);
    one.threads(20).unwrap();
    one.switch(200, 4).unwrap();
    one.burn(100.0, Duration::from_millis(50)).unwrap();
    both.read(&one);
    one.end_threads(15).unwrap();
    one.quiesce().unwrap();
    let (before, _) = both.read(&one);
    let (proc, bpf) = both.read(&one);
    assert_eq!(bpf.threads, proc.threads);
    assert_eq!(bpf.cpu.map(CpuTime::total), before.cpu.map(CpuTime::total));
    assert_eq!(io_of(bpf), Io::read(one.pid()).unwrap());
    assert_eq!(bpf.faults, proc.faults);
    // The procfs shows the switches of living threads. Those of others are known up to their last
    // reading, so what they did at their end can be missing.
    let (proc, bpf) = (proc.switches.unwrap(), bpf.switches.unwrap());
    assert!(bpf.voluntary >= proc.voluntary && bpf.voluntary < proc.voluntary + 400);
    assert!(bpf.voluntary >= 20 * 4, "{bpf:?}");
}

/// Families in which children exit and are reaped at any time: the io of the image is what they
/// did, by both sources.
#[test]
fn families_count_once() {
    let word = word("family");
    let Some(mut both) = Both::new(&short_window(), &[&word]) else { return };
    let mut parent = testproc(&word);
    both.cycle();
    let mut done = Io::default();
    for round in 0..12 {
        let mut child = parent.fork_child(&Config::new(&word)).unwrap();
        child.write_bytes(100_000 * (round + 1), round + 1).unwrap();
        child.quiesce().unwrap();
        if round % 3 != 0 {
            both.cycle();
        }
        if round % 4 == 3 {
            // Not reaped in this cycle.
            child.exit(0).unwrap();
            both.cycle();
            parent.wait(child).unwrap();
        } else {
            child.exit(0).unwrap();
            parent.wait(child).unwrap();
        }
        parent.quiesce().unwrap();
        both.cycle();
        let now = parent.expected_io().unwrap();
        for watch in [&both.proc, &both.bpf] {
            assert_eq!(io_of(watch.sampler.sample().image(A)), now, "round {round}");
        }
        assert!(now.wchar > done.wchar);
        done = now;
    }
}

/// The rows are in the order of pids. A child with a lower pid than its parent is read before it,
/// and can be reaped in between.
#[test]
fn child_with_a_lower_pid_counts_once() {
    let word = word("lower");
    let Some(mut both) = Both::new(&short_window(), &[&word]) else { return };
    let first = testproc("lower-pid");
    let mut parent = testproc(&word);
    let pid = first.pid();
    drop(first);
    for round in 0..20 {
        let mut child = match parent.fork_child_as(pid, &Config::new(&word)) {
            Err(error) if round == 0 && error.kind() == std::io::ErrorKind::PermissionDenied => {
                return println!("skipped: no privilege to choose a pid");
            }
            // Another process has it now.
            Err(_) => break,
            Ok(child) => child,
        };
        assert!(child.pid() < parent.pid());
        child.write_bytes(100_000, 3).unwrap();
        child.quiesce().unwrap();
        both.cycle();
        child.exit(0).unwrap();
        parent.wait(child).unwrap();
        parent.quiesce().unwrap();
        both.cycle();
        let expected = parent.expected_io().unwrap();
        assert_eq!(io_of(both.bpf.sampler.sample().image(A)), expected, "round {round}");
    }
}

/// An exec of the same program does not change any number of the procfs.
#[test]
fn exec_is_noticed_at_once() {
    let (a, b) = (word("before-exec"), word("after-exec"));
    let Some(bpf) = load() else { return };
    let mut one = testproc(&a);
    let mut watch = Watch::with(Options { bpf: Some(bpf), ..short_window() }, &[&a, &b]);
    // No longer a recent process, whose command line is read more often.
    let sample = watch.cycles(20);
    assert_eq!(procs(&sample, [A, B]), [1, 0]);
    one.exec(&Config::new(&b)).unwrap();
    one.quiesce().unwrap();
    // One cycle finds the exec, and the next one reads the command line.
    assert_eq!(procs(&watch.cycles(2), [A, B]), [0, 1]);
}

/// The window of a thread that never sleeps has its CPU time.
#[test]
fn busy_threads_are_measured() {
    const WINDOW: Duration = Duration::from_millis(400);
    let word = word("burns");
    let Some(bpf) = load() else { return };
    let mut one = testproc(&word);
    let options = Options { window: WINDOW, bpf: Some(bpf), ..options() };
    let mut watch = Watch::with(options, &[&word]);
    watch.cycle();
    one.burn_until_stopped(100.0, 1).unwrap();
    let samples: Vec<f64> = (0..3).map(|_| watch.cycle().image(A).cpu_percent.unwrap()).collect();
    let burned = one.stop_burning().unwrap().cpu;
    // On a busy machine it does not get a whole CPU.
    assert!(samples.iter().all(|&percent| percent > 5.0 && percent <= 101.0), "{samples:?}");
    one.quiesce().unwrap();
    let cpu = Duration::from_nanos(watch.cycle().image(A).cpu.unwrap().total());
    // And what it did before.
    assert!(cpu >= burned && cpu < burned + Duration::from_millis(100), "{cpu:?} {burned:?}");
}

/// A directory of files is not a procfs.
#[test]
fn program_is_refused_for_another_procfs() {
    let dir = psstat_testproc::TempDir::new().unwrap();
    let error = Bpf::load(dir.path()).map(drop).unwrap_err();
    assert!(matches!(error, BpfError::Namespace), "{error}");
}

//! The same question to three crates: what do these 200 processes use now?
//! (CPU, memory, io, threads and, but for sysinfo, open descriptors and
//! established tcp sockets.) Each answer has to be right before it is timed.

use std::collections::{HashMap, HashSet};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use procfs::process::{FDTarget, Process};
use psstat_sampler::{ImageId, Options, Sampler};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

const PROCESSES: u64 = 200;
/// Descriptors that each process inherits, besides its first three.
const DESCRIPTORS: usize = 31;

/// Processes that sleep; ended when dropped, and by themselves.
struct Sleepers {
    children: Vec<Child>,
    argument: String,
}

impl Sleepers {
    fn start() -> Sleepers {
        // Ten minutes, with a fraction that no other bench has.
        let argument = format!("600.9{}", std::process::id());
        // A shell opens what the sleeper then inherits.
        let opened: Vec<_> = (3..3 + DESCRIPTORS).map(|fd| format!("{fd}</dev/null")).collect();
        let script = format!("exec {} sleep {argument}", opened.join(" "));
        let sleeper = |_| {
            let mut command = Command::new("bash");
            command.args(["-c", &script]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        };
        let sleepers = Sleepers { children: (0..PROCESSES).map(sleeper).collect(), argument };
        // Each is ready when the shell has become the sleeper.
        while sleepers.pids().any(|pid| {
            !std::fs::read(format!("/proc/{pid}/cmdline")).unwrap().starts_with(b"sleep\0")
        }) {
            std::thread::sleep(Duration::from_millis(10));
        }
        sleepers
    }

    fn pids(&self) -> impl Iterator<Item = i32> {
        self.children.iter().map(|child| child.id().try_into().unwrap())
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What all of them have: processes, threads, resident bytes, descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    processes: u64,
    threads: u64,
    resident: u64,
    descriptors: u64,
}

fn with_sampler(sampler: &mut Sampler, argument: &[u8]) -> Answer {
    sampler.open(&mut |process, images| {
        if process.args_joined.strip_prefix(b"sleep ") == Some(argument) {
            images.push(ImageId(0));
        }
    });
    let image = sampler.close().image(ImageId(0));
    assert!(image.io.is_some() && image.pcpu.is_some() && image.tcp == Some(0));
    Answer {
        processes: image.procs,
        threads: image.threads.unwrap(),
        resident: image.rss.unwrap(),
        descriptors: image.descriptors.unwrap(),
    }
}

/// `sockets` also asks whose each established tcp socket is.
fn with_procfs(pids: &[i32], before: &mut HashMap<i32, u64>, sockets: bool) -> Answer {
    let mut answer = Answer { processes: 0, threads: 0, resident: 0, descriptors: 0 };
    let mut inodes = HashSet::new();
    for &pid in pids {
        let process = Process::new(pid).unwrap();
        let stat = process.stat().unwrap();
        let used = stat.utime + stat.stime;
        assert!(used >= before.insert(pid, used).unwrap_or(0));
        process.io().unwrap();
        answer.processes += 1;
        answer.threads += u64::try_from(stat.num_threads).unwrap();
        answer.resident += process.statm().unwrap().resident * procfs::page_size();
        if !sockets {
            answer.descriptors += process.fd_count().unwrap() as u64;
            continue;
        }
        for fd in process.fd().unwrap() {
            answer.descriptors += 1;
            if let FDTarget::Socket(inode) = fd.unwrap().target {
                inodes.insert(inode);
            }
        }
    }
    if sockets {
        let tcp = procfs::net::tcp().unwrap().into_iter().chain(procfs::net::tcp6().unwrap());
        assert_eq!(tcp.filter(|row| inodes.contains(&row.inode)).count(), 0);
    }
    answer
}

fn with_sysinfo(system: &mut System, pids: &[Pid]) -> (u64, u64) {
    let kind = ProcessRefreshKind::nothing().with_cpu().with_memory().with_disk_usage();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(pids), true, kind);
    let processes = pids.iter().filter_map(|&pid| system.process(pid));
    processes.fold((0, 0), |(count, resident), process| (count + 1, resident + process.memory()))
}

fn peers(criterion: &mut Criterion) {
    let sleepers = Sleepers::start();
    let pids: Vec<i32> = sleepers.pids().collect();
    let mut group = criterion.benchmark_group("what 200 processes use");
    group.throughput(Throughput::Elements(PROCESSES));
    group.sample_size(30);

    let argument = sleepers.argument.as_bytes();
    let mut sampler =
        Sampler::new(Options { window: Duration::ZERO, ..Options::default() }).unwrap();
    // Until all are old acquaintances.
    let answer = (0..20).map(|_| with_sampler(&mut sampler, argument)).last().unwrap();
    assert_eq!(answer.processes, PROCESSES);
    group.bench_function("psstat-sampler, sockets too", |bencher| {
        bencher.iter(|| with_sampler(&mut sampler, argument));
    });

    let mut before = HashMap::new();
    assert_eq!(with_procfs(&pids, &mut before, false), answer);
    group.bench_function("procfs", |bencher| {
        bencher.iter(|| with_procfs(&pids, &mut before, false));
    });
    assert_eq!(with_procfs(&pids, &mut before, true), answer);
    group.bench_function("procfs, sockets too", |bencher| {
        bencher.iter(|| with_procfs(&pids, &mut before, true));
    });

    let mut system = System::new();
    let pids: Vec<Pid> = pids.iter().map(|&pid| Pid::from_u32(pid.cast_unsigned())).collect();
    assert_eq!(with_sysinfo(&mut system, &pids), (answer.processes, answer.resident));
    group.bench_function("sysinfo, no descriptors", |bencher| {
        bencher.iter(|| with_sysinfo(&mut system, &pids));
    });
    group.finish();
}

criterion_group!(benches, peers);
criterion_main!(benches);

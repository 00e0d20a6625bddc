//! The resources of 200 processes, measured by three crates: CPU, memory, io, threads and, except
//! by sysinfo, file descriptors and established tcp sockets. The results are compared before
//! anything is measured.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use procfs::process::{FDTarget, Process};
use psstat_benches::Sleepers;
use psstat_sampler::{ProcessFields, Sampler};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

const PROCESSES: u64 = 200;
/// File descriptors that each process inherits besides its first three.
const DESCRIPTORS: usize = 31;

/// The sums over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    processes: u64,
    threads: u64,
    resident: u64,
    descriptors: u64,
}

fn with_sampler(sampler: &mut Sampler, argument: &[u8]) -> Answer {
    let window = sampler.open_with(|process, images| {
        if process.args_joined.strip_prefix(b"sleep ") == Some(argument) {
            images.add("sleepers");
        }
    });
    let image = *window.close().image("sleepers").unwrap();
    assert!(image.io.is_some() && image.cpu_percent.is_some() && image.tcp == Some(0));
    Answer {
        processes: image.processes,
        threads: image.threads.unwrap(),
        resident: image.rss.unwrap(),
        descriptors: image.fds.unwrap(),
    }
}

/// With `sockets`, the owners of established tcp sockets too.
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
    let sleepers = Sleepers::start(PROCESSES, DESCRIPTORS);
    let pids: Vec<i32> = sleepers.pids().collect();
    let mut group = criterion.benchmark_group("resources of 200 processes");
    group.throughput(Throughput::Elements(PROCESSES));
    group.sample_size(30);

    let argument = sleepers.argument.as_bytes();
    let mut sampler =
        Sampler::builder()
            .window(Duration::ZERO)
            .fields(ProcessFields::NONE)
            .keep_texts(false)
            .build()
            .unwrap();
    // Until no process is new.
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

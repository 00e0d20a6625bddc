//! The number of descriptors that are scanned per cycle, over a procfs of plain files.

mod common;

use common::{ImageId, Sampler};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::captured_proc::{add_sockets, sampler, set_netns, write_process, write_tables};
use psstat_sampler::intervals::{FD_SCAN_INTERVAL, MAX_FDS_PER_CYCLE};
use psstat_testproc::TempDir;

/// Runs a cycle with one image per process; gives the tcp sockets of each.
fn cycle(sampler: &mut Sampler, processes: u32) -> Vec<Option<u64>> {
    let sample = common::cycle(sampler, &mut |process, images| {
        images.push(ImageId(process.pid - 100));
    });
    (0..processes).map(|image| sample.image(ImageId(image)).tcp).collect()
}

/// Gives a process this number of descriptors that are not sockets.
fn open_files(dir: &Path, number: u64) {
    for fd in 0..number {
        symlink("/dev/null", dir.join(format!("fd/{fd}"))).unwrap();
    }
}

/// A scan of all descriptors of a server in each cycle took as long as connections opened and
/// closed, in addition to the window.
#[test]
fn changed_processes_scan_limit() {
    const FDS: u64 = 3000;
    const PROCESSES: u32 = 13;
    let inode = |process: u32, n: u32| 1_000_000 + 100 * process + n;
    let proc = TempDir::in_memory().unwrap();
    let dirs: Vec<PathBuf> = (0..PROCESSES)
        .map(|process| {
            let dir = write_process(proc.path(), 100 + process, 5000, 1);
            open_files(&dir, FDS);
            add_sockets(&dir, inode(process, 0)..inode(process, 1));
            set_netns(&dir, "net:[1]");
            write_tables(&dir, inode(0, 0)..inode(PROCESSES, 0));
            dir
        })
        .collect();
    let mut sampler = sampler(proc.path());
    let all = |tcp| vec![Some(tcp); PROCESSES as usize];
    for _ in 0..2 {
        cycle(&mut sampler, PROCESSES);
    }
    assert_eq!(cycle(&mut sampler, PROCESSES), all(1));
    // One more connection per process in each cycle.
    for n in 1..5 {
        for (dir, process) in dirs.iter().zip(0..) {
            add_sockets(dir, inode(process, n)..inode(process, n + 1));
        }
        let sockets = cycle(&mut sampler, PROCESSES);
        let current = Some(u64::from(n) + 1);
        let scanned = FDS * sockets.iter().filter(|&&tcp| tcp == current).count() as u64;
        assert!(scanned >= MAX_FDS_PER_CYCLE, "{sockets:?} in cycle {n}");
        // The last process may exceed the limit, and one more is scanned round-robin.
        assert!(scanned <= MAX_FDS_PER_CYCLE + 2 * FDS, "{sockets:?} in cycle {n}");
        // The others are the first in the next cycle.
        let oldest = sockets.iter().map(|tcp| tcp.unwrap()).min();
        assert!(oldest >= Some(u64::from(n)), "{sockets:?} in cycle {n}");
    }
    cycle(&mut sampler, PROCESSES);
    assert_eq!(cycle(&mut sampler, PROCESSES), all(5));
}

/// The descriptors do not fit one cycle. Until all are scanned, the previous result counts.
#[test]
fn large_fd_table_is_scanned_in_parts() {
    let interval = u32::try_from(FD_SCAN_INTERVAL).unwrap();
    let proc = TempDir::in_memory().unwrap();
    let large = write_process(proc.path(), 100, 5000, 1);
    open_files(&large, MAX_FDS_PER_CYCLE + 3000);
    add_sockets(&large, 1_000_000..1_000_010);
    set_netns(&large, "net:[1]");
    write_tables(&large, 1_000_000..1_000_020);
    let mut sampler = sampler(proc.path());
    let mut cycles_until = |expected: u64| {
        let mut before = None;
        for cycles in 1..2 * interval {
            let tcp = cycle(&mut sampler, 1)[0];
            if tcp == Some(expected) {
                return cycles;
            }
            assert!(cycles == 1 || before == tcp, "{before:?}, then {tcp:?}");
            before = tcp;
        }
        panic!("still {before:?}");
    };
    // A window of a millisecond is too short for all.
    assert!(cycles_until(10) > 1, "all in one cycle");
    add_sockets(&large, 1_000_010..1_000_015);
    assert!(cycles_until(15) > 1, "all in one cycle");
}

//! How many descriptors are looked at in a cycle, over a procfs of plain files.

mod common;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::captured_proc::{hold, live_in, sampler, write_process, write_tables};
use psstat_sampler::intervals::{FD_SCAN_INTERVAL, MAX_FDS_PER_CYCLE};
use psstat_sampler::{ImageId, Sampler};
use psstat_testproc::TempDir;

/// A cycle with an image a process; gives everyone's tcp sockets.
fn cycle(sampler: &mut Sampler, processes: u32) -> Vec<Option<u64>> {
    sampler.open(&mut |process, images| images.push(ImageId(process.pid - 100)));
    let sample = sampler.close();
    (0..processes).map(|image| sample.image(ImageId(image)).tcp).collect()
}

/// Gives it so many descriptors that are no sockets.
fn open_files(folder: &Path, number: u64) {
    for fd in 0..number {
        symlink("/dev/null", folder.join(format!("fd/{fd}"))).unwrap();
    }
}

/// A look at all of a server's descriptors in each cycle took as long as there
/// were connections that came and went, on top of the window.
#[test]
fn changed_processes_scan_limit() {
    const EACH: u64 = 3000;
    const PROCESSES: u32 = 13;
    let inode = |number: u32, place: u32| 1_000_000 + 100 * number + place;
    let proc = TempDir::in_memory().unwrap();
    let folders: Vec<PathBuf> = (0..PROCESSES)
        .map(|number| {
            let folder = write_process(proc.path(), 100 + number, 5000, 1);
            open_files(&folder, EACH);
            hold(&folder, inode(number, 0)..inode(number, 1));
            live_in(&folder, "net:[1]");
            write_tables(&folder, inode(0, 0)..inode(PROCESSES, 0));
            folder
        })
        .collect();
    let mut sampler = sampler(proc.path());
    let all = |tcp| vec![Some(tcp); PROCESSES as usize];
    for _ in 0..2 {
        cycle(&mut sampler, PROCESSES);
    }
    assert_eq!(cycle(&mut sampler, PROCESSES), all(1));
    // One more connection for each in every cycle.
    for now in 1..5 {
        for (folder, number) in folders.iter().zip(0..) {
            hold(folder, inode(number, now)..inode(number, now + 1));
        }
        let sockets = cycle(&mut sampler, PROCESSES);
        let right = Some(u64::from(now) + 1);
        let looked_at = EACH * sockets.iter().filter(|&&tcp| tcp == right).count() as u64;
        assert!(looked_at >= MAX_FDS_PER_CYCLE, "{sockets:?} in cycle {now}");
        // The last of them, and whose turn it is.
        assert!(looked_at <= MAX_FDS_PER_CYCLE + 2 * EACH, "{sockets:?} in cycle {now}");
        // The others are the first in the next cycle.
        let oldest = sockets.iter().map(|tcp| tcp.unwrap()).min();
        assert!(oldest >= Some(u64::from(now)), "{sockets:?} in cycle {now}");
    }
    cycle(&mut sampler, PROCESSES);
    assert_eq!(cycle(&mut sampler, PROCESSES), all(5));
}

/// More descriptors than fit a cycle are looked at in parts, and until that is
/// done what was known before counts.
#[test]
fn large_fd_table_is_scanned_in_parts() {
    let turn = u32::try_from(FD_SCAN_INTERVAL).unwrap();
    let proc = TempDir::in_memory().unwrap();
    let large = write_process(proc.path(), 100, 5000, 1);
    open_files(&large, MAX_FDS_PER_CYCLE + 3000);
    hold(&large, 1_000_000..1_000_010);
    live_in(&large, "net:[1]");
    write_tables(&large, 1_000_000..1_000_020);
    let mut sampler = sampler(proc.path());
    let mut cycles_until = |expected: u64| {
        let mut before = None;
        for cycles in 1..2 * turn {
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
    assert!(cycles_until(10) > 1, "all at once");
    hold(&large, 1_000_010..1_000_015);
    assert!(cycles_until(15) > 1, "all at once");
}

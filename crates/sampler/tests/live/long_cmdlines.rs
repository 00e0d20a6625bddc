//! The bytes of command lines that are read per cycle, and the time for classifying them, over a
//! procfs of plain files.

use crate::common::{ImageId, Sampler};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::common::captured_proc::{sampler, write_process};
use psstat_sampler::Health;
use psstat_sampler::intervals::{CMDLINE_BYTES_COMMON, CMDLINE_BYTES_PER_USER};
use psstat_testproc::TempDir;
use rustix::time::{ClockId, clock_gettime};

const LONG: usize = 2 << 20;
/// The pids of the forks, and of an ordinary process with a higher one.
const FORKS: std::ops::Range<u32> = 100..120;
const ORDINARY: u32 = 900;

fn add_process(proc: &Path, pid: u32, user: u32) -> std::path::PathBuf {
    let dir = write_process(proc, pid, 5000, 1);
    fs::write(dir.join("status"), format!("Name:\tx\nUid:\t{user}\t{user}\t{user}\t{user}\n"))
        .unwrap();
    dir.join("cmdline")
}

#[derive(Debug)]
struct Cycle {
    /// The bytes of the command lines that were classified, and their processes.
    bytes: u64,
    pids: BTreeSet<u32>,
    health: Health,
    first_put_off: Option<u32>,
}

fn cycle(sampler: &mut Sampler) -> Cycle {
    let (mut bytes, mut pids) = (0, BTreeSet::new());
    let sample = crate::common::cycle(sampler, &mut |process, images| {
        bytes += process.command_line.len() as u64;
        pids.insert(process.pid);
        images.push(ImageId(u32::from(process.pid >= FORKS.end)));
    });
    let health = sample.health;
    Cycle { bytes, pids, health, first_put_off: sampler.first_long_cmdline() }
}

/// A loop of forks with 2 MB of arguments made a cycle take 23 s.
#[test]
fn long_command_lines_of_a_user_wait_for_their_turn() {
    let proc = TempDir::in_memory().unwrap();
    let file = proc.join("arguments");
    fs::write(&file, [vec![b'x'; LONG - 1], vec![0]].concat()).unwrap();
    for pid in FORKS {
        let cmdline = add_process(proc.path(), pid, 1000);
        fs::remove_file(&cmdline).unwrap();
        fs::hard_link(&file, &cmdline).unwrap();
    }
    // A long command line of another user, and a short one of the same.
    fs::write(add_process(proc.path(), ORDINARY, 1001), [&[b'y'; 9_000][..], b"\0"].concat())
        .unwrap();
    add_process(proc.path(), ORDINARY + 1, 1000);
    let mut sampler = sampler(proc.path());
    let mut classified = BTreeSet::new();
    let first = cycle(&mut sampler);
    assert!(first.pids.contains(&ORDINARY) && first.pids.contains(&(ORDINARY + 1)), "{first:?}");
    let limit = CMDLINE_BYTES_COMMON + CMDLINE_BYTES_PER_USER;
    let overshoot = 2 * LONG as u64;
    assert!(first.bytes > limit && first.bytes <= limit + overshoot, "{first:?}");
    let forks = |cycle: &Cycle| cycle.pids.iter().filter(|pid| FORKS.contains(pid)).count() as u64;
    // The counts, and the first of those that wait.
    let put_off = u64::from(FORKS.end - FORKS.start) - forks(&first);
    assert_eq!((first.health.long_cmdlines, first.health.failed.command_line), (put_off, put_off));
    assert_eq!(first.first_put_off, Some(FORKS.start + forks(&first) as u32));
    // Each is classified in its turn, and none costs more than the budget of a cycle.
    let mut now = first;
    for _ in 0..6 {
        assert!(now.bytes <= limit + overshoot, "{now:?}");
        classified.extend(std::mem::take(&mut now.pids));
        now = cycle(&mut sampler);
    }
    assert!(FORKS.into_iter().all(|pid| classified.contains(&pid)), "{classified:?}");
}

fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// 160 command lines of 100 KB, for which eight rules took 60 ms each, made two cycles take 9.8 s
/// of CPU time each: only the bytes were limited.
#[test]
fn expensive_command_lines_of_a_user_wait_for_their_turn() {
    // Short ones are not counted in bytes at all.
    for (bytes, others) in [(100_000, 4_000), (4_000, 100_000)] {
        let proc = TempDir::in_memory().unwrap();
        let add = |pid, user, byte: u8, bytes| {
            let cmdline = [&vec![byte; bytes][..], b"\0"].concat();
            fs::write(add_process(proc.path(), pid, user), cmdline).unwrap();
        };
        FORKS.for_each(|pid| add(pid, 1000, b'x', bytes));
        // Of another user, and of the other kind of the same one.
        add(ORDINARY, 1001, b'y', bytes);
        add(ORDINARY + 1, 1000, b'y', others);
        let mut sampler = sampler(proc.path());
        let (mut all, mut cycles) = (BTreeSet::new(), 0);
        while !FORKS.into_iter().all(|pid| all.contains(&pid)) {
            let (mut forks, mut time, mut ordinary) = (0, Duration::ZERO, 0);
            let sample = crate::common::cycle(&mut sampler, &mut |process, _| {
                if !FORKS.contains(&process.pid) {
                    ordinary += u64::from(process.pid >= ORDINARY);
                    return;
                }
                let before = thread_cpu_time();
                while thread_cpu_time() - before < Duration::from_millis(30) {}
                time += thread_cpu_time() - before;
                forks += 1;
                all.insert(process.pid);
            });
            let (health, put_off) = (sample.health, sampler.first_long_cmdline());
            assert_eq!(health.failed.command_line, health.long_cmdlines);
            // The first 0.1 s are for all. Short ones are classified five at a time at first.
            let most = 5;
            assert!(forks <= most, "{bytes}: {forks} in {time:?}");
            if cycles == 0 {
                assert_eq!(ordinary, 2, "{bytes}: {health:?}");
                assert!(health.long_cmdlines > 0, "{health:?}");
                let pid = put_off.unwrap();
                assert!(FORKS.contains(&pid) && !all.contains(&pid), "{pid} {all:?}");
            }
            cycles += 1;
            assert!(cycles < 60, "{bytes}: {all:?}");
        }
    }
}

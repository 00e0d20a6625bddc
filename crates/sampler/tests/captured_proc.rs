//! A procfs made of plain files, for what a live one does not do when asked.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::captured_proc::{hold, live_in, sampler, write_process, write_tables};
use common::{A, B};
use psstat_sampler::{ImageId, Options, Sampler};
use psstat_testproc::TempDir;

fn rchar(sampler: &mut Sampler) -> i64 {
    sampler.open(&mut |_, images| images.push(A));
    let image = sampler.close().image(A);
    assert_eq!(image.procs, 1);
    image.io.unwrap_or_default().rchar
}

/// Under memory pressure the kernel drops entries of `/proc` from its cache;
/// they come back with another inode. All that the process had ever done was
/// counted a second time.
#[test]
fn another_inode_alone_is_no_other_process() {
    for between in ["cycles", "open and close"] {
        let proc = TempDir::new().unwrap();
        let folder = write_process(proc.path(), 100, 50, 1000);
        let mut sampler = sampler(proc.path());
        for _ in 0..3 {
            assert_eq!(rchar(&mut sampler), 1000);
        }
        let again = || {
            fs::rename(&folder, proc.join("old")).unwrap();
            write_process(proc.path(), 100, 50, 1001);
        };
        if between == "cycles" {
            again();
        } else {
            sampler.open(&mut |_, images| images.push(A));
            again();
            assert_eq!(sampler.close().image(A).io.unwrap().rchar, 1001);
        }
        for _ in 0..3 {
            assert_eq!(rchar(&mut sampler), 1001, "{between}");
        }
    }
}

/// Its sockets are known, but not in whose table they would be: none of them
/// was counted, and that was said to be their number.
#[test]
fn sockets_of_an_unknown_namespace_are_absent() {
    let proc = TempDir::new().unwrap();
    let [unknown, other] = [100, 101].map(|pid| write_process(proc.path(), pid, 5000, 1));
    hold(&unknown, 10..13);
    live_in(&unknown, "nonsense");
    write_tables(&unknown, 10..13);
    // One without any has none, wherever it lives.
    live_in(&other, "nonsense");
    let mut sampler = sampler(proc.path());
    for _ in 0..2 {
        sampler.open(&mut |process, images| images.push(ImageId(process.pid - 100)));
        let sample = sampler.close();
        let unknown = sample.image(A);
        assert_eq!((unknown.tcp, unknown.udp, unknown.unix), (None, None, None));
        assert_eq!(unknown.descriptors, Some(3));
        assert_eq!((sample.image(B).tcp, sample.health.denied.netns), (Some(0), 2));
        let known = sampler.processes().filter(|process| process.numbers.tcp.is_some());
        assert_eq!(known.map(|process| process.pid).collect::<Vec<_>>(), [101]);
    }
}

/// One table that could not be read made the metric absent for every image of
/// the machine, wherever its processes lived.
#[test]
fn a_table_that_cannot_be_read_is_missing_where_it_counts() {
    let proc = TempDir::new().unwrap();
    let processes = [100, 101, 102].map(|pid| write_process(proc.path(), pid, 5000, 1));
    let [broken, whole, both] = &processes;
    for (folder, inodes, netns) in
        [(broken, 10..13, "net:[1]"), (whole, 20..24, "net:[2]"), (both, 30..35, "net:[2]")]
    {
        hold(folder, inodes);
        live_in(folder, netns);
    }
    write_tables(broken, 10..13);
    write_tables(whole, 20..40);
    write_tables(both, 20..40);
    // Read in part before it fails.
    fs::create_dir(broken.join("net/tcp6")).unwrap();
    let mut sampler = sampler(proc.path());
    let mut cycle = || {
        sampler.open(&mut |process, images| {
            images.push(ImageId(process.pid - 100));
            images.extend((process.pid != 101).then_some(ImageId(3)));
        });
        let sample = sampler.close().clone();
        let mut known: Vec<u32> = sampler
            .processes()
            .filter(|one| one.numbers.tcp.is_some())
            .map(|one| one.pid)
            .collect();
        known.sort_unstable();
        (sample, known)
    };
    for _ in 0..3 {
        let (sample, known) = cycle();
        let tcp = [0, 1, 2, 3].map(|image| sample.image(ImageId(image)).tcp);
        assert_eq!(tcp, [None, Some(4), Some(5), Some(5)]);
        assert_eq!(sample.image(A).udp, Some(0));
        assert_eq!((sample.health.failed.net, known), (1, vec![101, 102]));
    }
    fs::remove_dir(broken.join("net/tcp6")).unwrap();
    let (sample, known) = cycle();
    let tcp = [0, 1, 2, 3].map(|image| sample.image(ImageId(image)).tcp);
    assert_eq!((tcp, known.len()), ([Some(3), Some(4), Some(5), Some(8)], 3));
}

#[test]
fn another_start_time_is() {
    let proc = TempDir::new().unwrap();
    let folder = write_process(proc.path(), 100, 50, 1000);
    let mut sampler = sampler(proc.path());
    for _ in 0..3 {
        assert_eq!(rchar(&mut sampler), 1000);
    }
    fs::rename(&folder, proc.join("old")).unwrap();
    write_process(proc.path(), 100, 51, 7);
    for _ in 0..3 {
        assert_eq!(rchar(&mut sampler), 1007);
    }
}

/// Who takes a pid within the tick in which the one before it began has the same
/// start time: what it had done was taken for the other's, and the sum fell.
#[test]
fn another_inode_is_another_process_within_its_first_tick() {
    let proc = TempDir::new().unwrap();
    // A tick that is still to come, as good as one that has not passed.
    let folder = write_process(proc.path(), 100, u64::MAX, 1000);
    let mut sampler = sampler(proc.path());
    sampler.open(&mut |_, images| images.push(A));
    fs::rename(&folder, proc.join("old")).unwrap();
    write_process(proc.path(), 100, u64::MAX, 7);
    let image = sampler.close().image(A);
    assert_eq!((image.procs, image.io.unwrap_or_default().rchar), (0, 1000));
    for _ in 0..3 {
        assert_eq!(rchar(&mut sampler), 1007);
    }
}

/// A rule came while the command line could not be read: when it could, the
/// process was taken for one that had become another program, and what it had
/// done before was lost.
#[test]
fn late_classification_after_reload() {
    let proc = TempDir::new().unwrap();
    let folder = write_process(proc.path(), 100, 50, 1000);
    let options = Options {
        proc_root: proc.path().to_owned(),
        window: Duration::from_millis(1),
        cmdline_timeout: Duration::from_millis(50),
        ..Options::default()
    };
    let mut sampler = Sampler::new(options).unwrap();
    for _ in 0..4 {
        sampler.open(&mut |_, _| ());
        sampler.close();
    }
    let pipe = folder.join("cmdline");
    fs::remove_file(&pipe).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    sampler.reclassify_all(1);
    for _ in 0..2 {
        sampler.open(&mut |_, images| images.push(A));
        assert_eq!(sampler.close().health.blocked, 1);
    }
    // Opening the other end lets the reader go; for both ways, for on a busy machine
    // there may be none yet.
    let other_end = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    fs::write(folder.join("line"), "worker\0").unwrap();
    fs::rename(folder.join("line"), &pipe).unwrap();
    drop(other_end);
    let begun = Instant::now();
    loop {
        sampler.open(&mut |_, images| images.push(A));
        let image = sampler.close().image(A);
        if image.procs == 1 {
            assert_eq!(image.io.unwrap().rchar, 1000);
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}

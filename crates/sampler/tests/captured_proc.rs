//! A procfs of plain files, for events that a live procfs does not produce on request.

mod common;

use std::fs;
use std::time::Duration;

use common::captured_proc::{add_sockets, sampler, set_netns, write_process, write_tables};
use common::{A, B, ImageId, Options, Sample, Sampler, cycle, tcp};
use psstat_sampler::IoStart;
use psstat_testproc::{TempDir, wait_until};

/// The pids of the processes whose tcp sockets are known.
fn pids_with_tcp(sampler: &Sampler) -> Vec<u32> {
    let known = sampler.processes().filter(|process| process.usage.tcp.is_some());
    let mut pids: Vec<u32> = known.map(|process| process.pid).collect();
    pids.sort_unstable();
    pids
}

/// The directory of a process is replaced by one with another inode.
struct Replacement {
    name: &'static str,
    cycles_before: usize,
    /// Within a window, else between two cycles.
    in_window: bool,
    starttimes: [u64; 2],
    rchar: [u64; 2],
    /// Processes and `rchar` of the image in the cycle of the replacement.
    first: (u64, i64),
    /// `rchar` in the cycles after it.
    then: i64,
}

/// Under memory pressure the kernel drops entries of `/proc` from its cache; they come back with
/// another inode. The sampler took such a process for a new one, and counted everything that it
/// had done a second time.
///
/// A process that reuses a pid within the tick in which the previous one started has the same
/// start time. Its counters were taken for those of the previous one, and the sum decreased.
#[test]
fn inode_and_starttime_identify_a_process() {
    const NEXT_TICK: u64 = u64::MAX;
    let same = Replacement {
        name: "same process",
        cycles_before: 3,
        in_window: false,
        starttimes: [50, 50],
        rchar: [1000, 1001],
        first: (1, 1001),
        then: 1001,
    };
    let cases = [
        Replacement { name: "same process, in a window", in_window: true, ..same },
        Replacement {
            name: "another start time",
            starttimes: [50, 51],
            rchar: [1000, 7],
            first: (1, 1007),
            then: 1007,
            ..same
        },
        Replacement {
            name: "another process within one tick",
            cycles_before: 0,
            in_window: true,
            // A tick in the future is equivalent to one that has not passed.
            starttimes: [NEXT_TICK, NEXT_TICK],
            rchar: [1000, 7],
            first: (0, 1000),
            then: 1007,
        },
        same,
    ];
    for Replacement { name, cycles_before, in_window, starttimes, rchar, first, then } in cases {
        let proc = TempDir::new().unwrap();
        let write = |n: usize| write_process(proc.path(), 100, starttimes[n], rchar[n]);
        let dir = write(0);
        let replace = || {
            fs::rename(&dir, proc.join("old")).unwrap();
            write(1);
        };
        let mut sampler = sampler(proc.path());
        let values = |sample: &Sample| {
            let image = sample.image(A);
            (image.processes, image.io.unwrap_or_default().rchar)
        };
        for _ in 0..cycles_before {
            let sample = cycle(&mut sampler, &mut |_, images| images.push(A));
            assert_eq!(values(sample), (1, 1000), "{name}");
        }
        if !in_window {
            replace();
        }
        sampler.open(&mut |_, images| images.push(A));
        if in_window {
            replace();
        }
        assert_eq!(values(sampler.close()), first, "{name}");
        for _ in 0..3 {
            let sample = cycle(&mut sampler, &mut |_, images| images.push(A));
            assert_eq!(values(sample), (1, then), "{name}");
        }
    }
}

/// The sockets of the process are known, but not the table that contains them: none of them was
/// counted, and the result was reported as their number.
#[test]
fn sockets_of_unknown_namespace_are_absent() {
    let proc = TempDir::new().unwrap();
    let [unknown, other] = [100, 101].map(|pid| write_process(proc.path(), pid, 5000, 1));
    add_sockets(&unknown, 10..13);
    set_netns(&unknown, "nonsense");
    write_tables(&unknown, 10..13);
    // A process without sockets has none in any namespace.
    set_netns(&other, "nonsense");
    let mut sampler = sampler(proc.path());
    for _ in 0..2 {
        let sample = cycle(&mut sampler, &mut |process, images| {
            images.push(ImageId(process.pid - 100));
        });
        let unknown = sample.image(A);
        assert_eq!((unknown.tcp, unknown.udp, unknown.unix), (None, None, None));
        assert_eq!(unknown.fds, Some(3));
        assert_eq!((sample.image(B).tcp, sample.health.denied.netns), (Some(0), 2));
        assert_eq!(pids_with_tcp(&sampler), [101]);
    }
}

/// One table that could not be read made the metric absent for every image of the machine.
#[test]
fn unreadable_table_affects_only_its_namespace() {
    const IMAGES: [ImageId; 4] = [ImageId(0), ImageId(1), ImageId(2), ImageId(3)];
    let proc = TempDir::new().unwrap();
    let dirs = [100, 101, 102].map(|pid| write_process(proc.path(), pid, 5000, 1));
    let tables = [10..13, 20..40, 20..40];
    let sockets = [10..13, 20..24, 30..35];
    for (n, netns) in ["net:[1]", "net:[2]", "net:[2]"].into_iter().enumerate() {
        add_sockets(&dirs[n], sockets[n].clone());
        set_netns(&dirs[n], netns);
        write_tables(&dirs[n], tables[n].clone());
    }
    // A read of it fails after the open.
    let tcp6 = dirs[0].join("net/tcp6");
    fs::create_dir(&tcp6).unwrap();
    let mut sampler = sampler(proc.path());
    let mut cycle = || {
        let sample = cycle(&mut sampler, &mut |process, images| {
            images.push(ImageId(process.pid - 100));
            images.extend((process.pid != 101).then_some(ImageId(3)));
        });
        (sample.clone(), pids_with_tcp(&sampler))
    };
    for _ in 0..3 {
        let (sample, pids) = cycle();
        assert_eq!(tcp(&sample, IMAGES), [None, Some(4), Some(5), Some(5)]);
        assert_eq!(sample.image(A).udp, Some(0));
        assert_eq!((sample.health.failed.net, pids), (1, vec![101, 102]));
    }
    fs::remove_dir(&tcp6).unwrap();
    let (sample, pids) = cycle();
    assert_eq!(tcp(&sample, IMAGES), [Some(3), Some(4), Some(5), Some(8)]);
    assert_eq!(pids, [100, 101, 102]);
}

/// The name of a socket can contain a line break and a whole row. Such a row made a socket of
/// another process count as connected.
#[test]
fn forged_rows_of_unix_sockets_do_not_count() {
    let row = |state: u8, inode: u32, name: &str| {
        format!("0000000000000000: 00000002 00000000 00010000 0001 {state:02} {inode:5}{name}\n")
    };
    let header = "Num       RefCount Protocol Flags    Type St Inode Path\n";
    let forging = |rows: &str| row(1, 99, &format!(" @z\n{}", rows.trim_end()));
    let unconnected = row(1, 11, "");
    let (connected, forged) = (row(3, 12, ""), row(3, 11, " /x"));
    for table in [
        [&*unconnected, &connected, &forging(&forged)],
        [&forging(&forged), &unconnected, &connected],
        // The inode of a tcp socket.
        [&unconnected, &connected, &forging(&row(3, 10, " /x"))],
    ] {
        let proc = TempDir::new().unwrap();
        let dir = write_process(proc.path(), 100, 5000, 1);
        add_sockets(&dir, 10..13);
        set_netns(&dir, "net:[1]");
        write_tables(&dir, 10..11);
        let table = format!("{header}{}", table.concat());
        fs::write(dir.join("net/unix"), &table).unwrap();
        let mut sampler = sampler(proc.path());
        for _ in 0..3 {
            let sample = cycle(&mut sampler, &mut |_, images| images.push(A));
            let image = sample.image(A);
            assert_eq!((image.tcp, image.unix), (Some(1), Some(1)), "{table}");
            let contradictory = u64::from(table.contains(" 11 /x"));
            assert_eq!(sample.health.contradictory_sockets, contradictory, "{table}");
        }
    }
}

/// A capture without a table used to show 0 sockets. Each process has a copy, or none.
#[test]
fn capture_without_a_table_has_no_counts() {
    for absent in ["tcp", "udp", "unix", ""] {
        let proc = TempDir::new().unwrap();
        let dirs = [100, 101].map(|pid| {
            let dir = write_process(proc.path(), pid, 5000, 1000);
            add_sockets(&dir, 10..13);
            set_netns(&dir, "net:[1]");
            write_tables(&dir, 10..13);
            dir
        });
        let counts = |sample: &Sample| {
            let image = sample.image(A);
            let is_known = [image.tcp, image.udp, image.unix].map(|count| count.is_some());
            (is_known, image.unread.net, sample.health.failed.net)
        };
        let remove = |dir: &std::path::Path| match absent {
            "" => fs::remove_dir_all(dir.join("net")).unwrap(),
            name => fs::remove_file(dir.join("net").join(name)).unwrap(),
        };
        let mut sampler = sampler(proc.path());
        let is_known = ["tcp", "udp", "unix"].map(|name| absent != name && !absent.is_empty());
        for (dir, want) in [
            // The other process has a copy.
            (&dirs[0], ([true; 3], 0, 0)),
            (&dirs[1], (is_known, 2, is_known.iter().filter(|known| !**known).count() as u64)),
        ] {
            remove(dir);
            for _ in 0..3 {
                let sample = cycle(&mut sampler, &mut |_, images| images.push(A));
                assert_eq!(counts(sample), want, "{absent}");
            }
        }
    }
}

/// A kernel can lack a file, and a copy lacks those that its user could not read. Such a process
/// was taken for one that has exited.
#[test]
fn process_without_a_file_counts() {
    // `cat` without permission leaves an empty file.
    for (name, is_empty) in
        [("io", false), ("statm", false), ("io", true), ("statm", true), ("fd", false)]
            .into_iter()
            .chain([("ns", false), ("task", false), ("cmdline", false)])
    {
        let proc = TempDir::new().unwrap();
        let [lacks, complete] = [100, 101].map(|pid| {
            let dir = write_process(proc.path(), pid, 5000, 1000);
            add_sockets(&dir, 10..13);
            set_netns(&dir, "net:[1]");
            write_tables(&dir, 10..13);
            dir
        });
        let lacking = lacks.join(name);
        if is_empty {
            fs::write(lacking, "").unwrap();
        } else if lacking.is_dir() {
            fs::remove_dir_all(lacking).unwrap();
        } else {
            fs::remove_file(lacking).unwrap();
        }
        let mut sampler = sampler(proc.path());
        let mut cycle = || {
            cycle(&mut sampler, &mut |process, images| images.push(ImageId(process.pid - 100)))
                .clone()
        };
        for _ in 0..3 {
            let sample = cycle();
            let all = sample.image(B);
            assert_eq!((all.processes, all.tcp), (1, Some(3)), "{name}");
            let denied = sample.health.denied;
            if name == "cmdline" {
                assert_eq!((sample.image(A).processes, denied.command_line), (0, 1));
                continue;
            }
            let mut expected = all;
            let counted = match name {
                "io" => {
                    (expected.io, expected.unread.io) = (None, 1);
                    denied.io
                }
                "statm" => {
                    (expected.vsize, expected.rss, expected.shared) = (None, None, None);
                    expected.unread.mem = 1;
                    denied.statm
                }
                "fd" => {
                    expected.fds = None;
                    (expected.unread.fd, expected.unread.net) = (1, 1);
                    (expected.tcp, expected.udp, expected.unix) = (None, None, None);
                    denied.fd
                }
                "ns" => {
                    expected.unread.net = 1;
                    (expected.tcp, expected.udp, expected.unix) = (None, None, None);
                    denied.netns
                }
                _ => 1,
            };
            // Of an image, none of its processes used CPU time in files that do not change.
            assert_eq!((sample.image(A), counted), (expected, 1), "{name}");
        }
        fs::remove_dir_all(&lacks).unwrap();
        let sample = cycle();
        let procs = [A, B].map(|image| sample.image(image).processes);
        assert_eq!(procs, [0, 1], "{name}: {}", complete.display());
    }
}

/// Without `statm`, a process without memory cannot be recognized; a zombie was counted.
#[test]
fn zombie_without_statm_does_not_count() {
    let proc = TempDir::new().unwrap();
    let dir = write_process(proc.path(), 100, 5000, 1000);
    fs::remove_file(dir.join("statm")).unwrap();
    let mut sampler = sampler(proc.path());
    let mut procs = || cycle(&mut sampler, &mut |_, images| images.push(A)).image(A).processes;
    assert_eq!(procs(), 1);
    let stat = fs::read_to_string(dir.join("stat")).unwrap();
    fs::write(dir.join("stat"), stat.replace(") S ", ") Z ")).unwrap();
    assert_eq!(procs(), 0);
}

/// A rule was added while the command line could not be read. When it could be read again, the
/// process was taken for one after an exec, and its previous I/O was not counted.
#[test]
fn late_classification_after_reload() {
    let proc = TempDir::new().unwrap();
    let dir = write_process(proc.path(), 100, 50, 1000);
    let options = Options {
        proc_root: proc.path().to_owned(),
        window: Duration::from_millis(1),
        read_timeout: Duration::from_millis(50),
        io_start: IoStart::ProcessStart,
        ..Options::default()
    };
    let mut sampler = Sampler::new(options).unwrap();
    for _ in 0..4 {
        cycle(&mut sampler, &mut |_, _| ());
    }
    let pipe = dir.join("cmdline");
    fs::remove_file(&pipe).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    sampler.reclassify_all(1);
    let mut cycle = || cycle(&mut sampler, &mut |_, images| images.push(A)).clone();
    for _ in 0..2 {
        assert_eq!(cycle().health.blocked, 1);
    }
    // Opening the other end releases the reader. Opened for writing alone it would block until
    // there is a reader.
    let other_end = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    fs::write(dir.join("line"), "worker\0").unwrap();
    fs::rename(dir.join("line"), &pipe).unwrap();
    drop(other_end);
    let mut image = cycle().image(A);
    wait_until("process is matched", || {
        image = cycle().image(A);
        image.processes == 1
    });
    assert_eq!(image.io.unwrap().rchar, 1000);
}

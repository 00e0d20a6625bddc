//! Values of processes that an ordinary user may not read.

use std::process::Command;

use crate::common::second_process::{AS_OTHER_USER, OTHER_UID, SharedDir};
use crate::common::{
    A, Options, Watch, io_of, is_root, options, quiesce, short_window, testproc, word,
};
use psstat_sampler::intervals::DENIED_RETRY_INTERVAL;
use psstat_sampler::{FastPaths, Usage};
use psstat_testproc::{Io, TestProcess, oracle, test_name};

/// A test process of the other user, which that user may read.
fn readable_testproc(word: &str) -> TestProcess {
    let mut readable = testproc(word);
    readable.setuid(OTHER_UID).unwrap();
    readable.set_dumpable(true).unwrap();
    readable
}

#[test]
fn denied_values_are_absent() {
    let Some((dir, words)) = SharedDir::inherited() else {
        if !is_root() {
            return;
        }
        let (word, dir) = (word("denied"), SharedDir::new());
        let (mut denied, mut readable) = (testproc(&word), readable_testproc(&word));
        denied.open_files(20).unwrap();
        readable.open_files(10).unwrap();
        readable.write_bytes(1_000_000, 3).unwrap();
        readable.tcp_pairs(2).unwrap();
        denied.tcp_pairs(2).unwrap();
        quiesce(&[&denied, &readable]);
        dir.send("pids", &format!("{} {}", denied.pid(), readable.pid()));
        if let Some(mut second) = dir.spawn(test_name!(), &AS_OTHER_USER, &[&word]) {
            assert!(second.wait().unwrap().success());
        }
        return;
    };
    let pids = dir.receive("pids");
    let pids: Vec<u32> = pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
    let [denied, readable] = pids[..] else { panic!("{pids:?}") };
    for fast_paths in [FastPaths::ALL, FastPaths::NONE] {
        let mut watch = Watch::with(Options { fast_paths, ..options() }, &[&words[0]]);
        for _ in 0..3 {
            let sample = watch.cycle();
            let Usage { processes, fds, threads, tcp, cpu_percent, vsize, .. } = sample.image(A);
            assert_eq!((processes, threads, cpu_percent), (2, Some(2), Some(0.0)));
            assert_eq!(io_of(sample.image(A)), Io::read(readable).unwrap());
            let total = |pid| oracle::memory(pid).unwrap().total;
            assert_eq!(vsize, Some(total(denied) + total(readable)));
            assert_eq!(tcp, Some(oracle::established(readable).unwrap().all_tcp()));
            // Every user may read the size of the directory, if the kernel supports it.
            let hidden = if watch.sampler.fast_paths().fd_count_from_size { 23 + 4 } else { 0 };
            assert_eq!(fds, Some(oracle::fds(readable).unwrap() + hidden));
            let unread = sample.image(A).unread;
            let fd = u64::from(!watch.sampler.fast_paths().fd_count_from_size);
            assert_eq!((unread.io, unread.net, unread.fd), (1, 1, fd));
            assert_eq!((unread.mem, unread.cpu), (0, 0));
            let denied = sample.health.denied;
            assert_eq!((denied.io, denied.fd, denied.statm, denied.stat), (1, 1, 0, 0));
        }
    }
}

#[test]
fn denied_file_is_not_retried_in_each_cycle() {
    let Some((dir, words)) = SharedDir::inherited() else {
        if !is_root() {
            return;
        }
        let (word, dir) = (word("retry"), SharedDir::new());
        let mut one = readable_testproc(&word);
        one.set_dumpable(false).unwrap();
        if let Some(mut second) = dir.spawn(test_name!(), &AS_OTHER_USER, &[&word]) {
            dir.receive("denied");
            one.set_dumpable(true).unwrap();
            dir.send("allowed", "");
            assert!(second.wait().unwrap().success());
        }
        return;
    };
    let mut watches = [FastPaths::ALL, FastPaths::NONE].map(|fast_paths| {
        let mut watch = Watch::with(Options { fast_paths, ..short_window() }, &[&words[0]]);
        let sample = watch.cycle();
        assert_eq!((sample.image(A).processes, sample.image(A).io), (1, None));
        watch
    });
    dir.send("denied", "");
    dir.receive("allowed");
    for watch in &mut watches {
        // The files are readable now; absent values show that they are not opened.
        for _ in 0..10 {
            let sample = watch.cycle();
            let denied = sample.health.denied;
            assert_eq!((sample.image(A).io, denied.io, denied.fd), (None, 1, 1));
            if !watch.sampler.fast_paths().fd_count_from_size {
                assert_eq!(sample.image(A).fds, None);
            }
        }
        let sample = watch.cycles(DENIED_RETRY_INTERVAL as usize);
        assert_eq!((sample.health.denied.io, sample.health.denied.fd), (0, 0));
        assert!(sample.image(A).io.is_some() && sample.image(A).fds.is_some());
    }
}

/// Remounts the procfs in the mount namespace of a process.
fn remount(options: &str, dir: &SharedDir, namespace_of: u32) -> bool {
    let output = Command::new("nsenter")
        .args(["-t", &namespace_of.to_string(), "-m", "mount", "-o", options])
        .arg(dir.join("proc"))
        .output();
    let done = output.as_ref().is_ok_and(|output| output.status.success());
    if !done {
        println!("skipped: cannot mount with {options}: {output:?}");
    }
    done
}

/// A process made itself unreadable, and a procfs that hides such processes no longer listed it:
/// it was taken for exited, and counted twice when it was listed again.
#[test]
fn hidden_process_counts_once() {
    let Some((dir, words)) = SharedDir::inherited() else {
        if !is_root() {
            return;
        }
        let (word, dir) = (word("hidden"), SharedDir::new());
        let mut one = readable_testproc(&word);
        one.write_bytes(1_000_000, 3).unwrap();
        one.quiesce().unwrap();
        std::fs::create_dir(dir.join("proc")).unwrap();
        let script = "mount -t proc proc proc && exec \"$@\"";
        let mut prefix = vec!["unshare", "-m", "sh", "-c", script, "sh"];
        prefix.extend(AS_OTHER_USER);
        let Some(mut second) = dir.spawn(test_name!(), &prefix, &[&word]) else { return };
        dir.receive("read");
        one.set_dumpable(false).unwrap();
        if remount("remount,hidepid=2", &dir, second.id()) {
            dir.send("hidden", "");
            dir.receive("read again");
            assert!(remount("remount,hidepid=0", &dir, second.id()));
            one.set_dumpable(true).unwrap();
        } else {
            dir.send("hidden", "");
        }
        dir.send("shown", "");
        assert!(second.wait().unwrap().success());
        return;
    };
    let options = Options { proc_root: dir.join("proc"), ..short_window() };
    let mut watch = Watch::with(options, &[&words[0]]);
    let done = io_of(watch.cycles(3).image(A));
    assert!(done.wchar > 1_000_000);
    for (reply, event) in [("read", "hidden"), ("read again", "shown")] {
        dir.send(reply, "");
        dir.receive(event);
        for _ in 0..12 {
            let image = watch.cycle().image(A);
            assert_eq!((image.processes, io_of(image)), (1, done), "{event}");
        }
    }
}

/// After the permission for a process was revoked, its image continued to count its sockets, and
/// reported them as missing too.
#[test]
fn revoked_access_becomes_none() {
    let Some((dir, words)) = SharedDir::inherited() else {
        if !is_root() {
            return;
        }
        let (word, dir) = (word("revoked"), SharedDir::new());
        let (mut one, mut other) = (readable_testproc(&word), readable_testproc(&word));
        one.tcp_pairs(1).unwrap();
        other.tcp_pairs(2).unwrap();
        one.set_dumpable(false).unwrap();
        if let Some(mut second) = dir.spawn(test_name!(), &AS_OTHER_USER, &[&word]) {
            dir.receive("denied");
            one.set_dumpable(true).unwrap();
            dir.send("allow", "");
            dir.receive("allowed");
            // Another connection, so that its descriptors are scanned again.
            one.tcp_pairs(1).unwrap();
            one.set_dumpable(false).unwrap();
            dir.send("deny", "");
            assert!(second.wait().unwrap().success());
        }
        return;
    };
    let mut watch = Watch::with(short_window(), &[&words[0]]);
    let mut expect = |tcp, denied| {
        let sample = watch.cycles(2 * DENIED_RETRY_INTERVAL as usize);
        assert_eq!((sample.image(A).tcp, sample.health.denied.fd), (tcp, denied));
        let known = watch.sampler.processes().filter(|process| process.usage.tcp.is_some());
        assert_eq!(known.count() as u64, 2 - denied);
    };
    expect(Some(4), 1);
    dir.send("denied", "");
    dir.receive("allow");
    expect(Some(6), 0);
    dir.send("allowed", "");
    dir.receive("deny");
    expect(Some(4), 1);
}

//! What an ordinary user gets of processes that it may not look into.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{A, Watch, io_of, options, testproc, wait_for, word};
use psstat_sampler::{FastPaths, Numbers, Options};
use psstat_testproc::{Io, TempDir, TestProcess, oracle, test_name};

const NOBODY: u32 = 65534;
/// For the test's other half: the word of the processes, and a folder to meet in.
const WORD: &str = "PSSTAT_TEST_WORD";
const PLACE: &str = "PSSTAT_TEST_PLACE";

/// Runs one test of this binary again as nobody; not for lack of rights.
fn as_nobody(test: &str, word: &str, place: &Path) -> Option<std::process::Child> {
    // The target folder may be out of nobody's reach.
    let program = place.join("test");
    psstat_testproc::copy_program(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(place, PermissionsExt::from_mode(0o777)).unwrap();
    Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env(WORD, word)
        .env(PLACE, place)
        .current_dir(place)
        .uid(NOBODY)
        .gid(NOBODY)
        .spawn()
        .inspect_err(|error| println!("skipped: cannot become another user: {error}"))
        .ok()
}

/// In the half that runs as nobody: what the other one told it.
fn told() -> Option<(String, std::path::PathBuf)> {
    Some((std::env::var(WORD).ok()?, std::env::var_os(PLACE)?.into()))
}

/// A test process of the user nobody, who may look into it.
fn open_testproc(word: &str) -> TestProcess {
    let mut open = testproc(word);
    open.setuid(NOBODY).unwrap();
    open.set_dumpable(true).unwrap();
    open
}

#[test]
fn what_can_be_read_is_right_and_the_rest_is_absent() {
    let Some((word, place)) = told() else {
        if rustix::process::getuid().as_raw() != 0 {
            return println!("skipped: not root");
        }
        let (word, place) = (word("denied"), TempDir::new().unwrap());
        let (mut closed, mut open) = (testproc(&word), open_testproc(&word));
        closed.open_files(20).unwrap();
        open.open_files(10).unwrap();
        open.write_bytes(1_000_000, 3).unwrap();
        open.tcp_pairs(2).unwrap();
        closed.tcp_pairs(2).unwrap();
        closed.quiesce().unwrap();
        open.quiesce().unwrap();
        let pids = format!("{} {}", closed.pid(), open.pid());
        std::fs::write(place.join("pids"), pids).unwrap();
        if let Some(mut half) = as_nobody(test_name!(), &word, place.path()) {
            assert!(half.wait().unwrap().success());
        }
        return;
    };
    let pids = std::fs::read_to_string(place.join("pids")).unwrap();
    let pids: Vec<u32> = pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
    let [closed, open] = pids[..] else { panic!("{pids:?}") };
    for fast in [FastPaths::ALL, FastPaths::NONE] {
        let mut watch = Watch::with(Options { fast_paths: fast, ..options() }, &[&word]);
        for _ in 0..3 {
            let sample = watch.cycle();
            let Numbers { procs, descriptors, threads, tcp, pcpu, vsize, .. } = sample.image(A);
            assert_eq!((procs, threads, pcpu), (2, Some(2), Some(0.0)));
            assert_eq!(io_of(sample.image(A)), Io::read(open).unwrap());
            let total = |pid| oracle::memory(pid).unwrap().total;
            assert_eq!(vsize, Some(total(closed) + total(open)));
            assert_eq!(tcp, Some(oracle::established(open).unwrap().all_tcp()));
            // The size of the folder tells anyone, if the kernel tells it at all.
            let hidden = if watch.sampler.fast_paths().fd_count_from_size { 23 + 4 } else { 0 };
            assert_eq!(descriptors, Some(oracle::fds(open).unwrap() + hidden));
            let denied = sample.health.denied;
            assert_eq!((denied.io, denied.fd, denied.statm, denied.stat), (1, 1, 0, 0));
        }
    }
}

#[test]
fn a_denied_file_is_not_tried_each_cycle() {
    let Some((word, place)) = told() else {
        if rustix::process::getuid().as_raw() != 0 {
            return println!("skipped: not root");
        }
        let (word, place) = (word("retry"), TempDir::new().unwrap());
        let mut one = open_testproc(&word);
        one.set_dumpable(false).unwrap();
        if let Some(mut half) = as_nobody(test_name!(), &word, place.path()) {
            wait_for(&place.join("denied"));
            one.set_dumpable(true).unwrap();
            std::fs::write(place.join("allowed"), "").unwrap();
            assert!(half.wait().unwrap().success());
        }
        return;
    };
    let mut watches = [FastPaths::ALL, FastPaths::NONE].map(|fast| {
        let window = Duration::from_millis(2);
        let mut watch = Watch::with(Options { fast_paths: fast, window, ..options() }, &[&word]);
        let sample = watch.cycle();
        assert_eq!((sample.image(A).procs, sample.image(A).io), (1, None));
        watch
    });
    std::fs::write(place.join("denied"), "").unwrap();
    wait_for(&place.join("allowed"));
    for watch in &mut watches {
        // It could be read now; that it is not shows that nobody tries.
        for _ in 0..10 {
            let sample = watch.cycle();
            let denied = sample.health.denied;
            assert_eq!((sample.image(A).io, denied.io, denied.fd), (None, 1, 1));
            if !watch.sampler.fast_paths().fd_count_from_size {
                assert_eq!(sample.image(A).descriptors, None);
            }
        }
        let sample = watch.cycles(psstat_sampler::intervals::DENIED_RETRY_INTERVAL as usize);
        assert_eq!((sample.health.denied.io, sample.health.denied.fd), (0, 0));
        assert!(sample.image(A).io.is_some() && sample.image(A).descriptors.is_some());
    }
}

/// Mounts a procfs, and again with other options; not for lack of rights.
fn mount(options: &str, proc: &Path, namespace_of: u32) -> bool {
    let output = Command::new("nsenter")
        .args(["-t", &namespace_of.to_string(), "-m", "mount", "-o", options])
        .arg(proc)
        .output();
    let done = output.as_ref().is_ok_and(|output| output.status.success());
    if !done {
        println!("skipped: cannot mount with {options}: {output:?}");
    }
    done
}

/// It made itself unreadable, and a procfs that hides such ones did not list it
/// any more: it was taken for gone, and counted twice when it was listed again.
#[test]
fn who_is_hidden_while_it_lives_counts_once() {
    let Some((word, place)) = told() else {
        if rustix::process::getuid().as_raw() != 0 {
            return println!("skipped: not root");
        }
        let (word, place) = (word("hidden"), TempDir::new().unwrap());
        let mut one = open_testproc(&word);
        one.write_bytes(1_000_000, 3).unwrap();
        one.quiesce().unwrap();
        let proc = place.join("proc");
        std::fs::create_dir(&proc).unwrap();
        let program = place.join("test");
        psstat_testproc::copy_program(std::env::current_exe().unwrap(), &program).unwrap();
        std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let script = "mount -t proc proc proc && exec setpriv --reuid 65534 --regid 65534 \
                      --clear-groups ./test --exact $0 --nocapture";
        let mut half = Command::new("unshare")
            .args(["-m", "sh", "-c", script, test_name!()])
            .env(WORD, &word)
            .env(PLACE, place.path())
            .current_dir(place.path())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while !place.join("seen").exists() {
            assert!(begun.elapsed() < Duration::from_secs(60));
            if half.try_wait().unwrap().is_some() {
                return println!("skipped: cannot mount a procfs");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        one.set_dumpable(false).unwrap();
        if mount("remount,hidepid=2", &proc, half.id()) {
            std::fs::write(place.join("hidden"), "").unwrap();
            wait_for(&place.join("counted"));
            assert!(mount("remount,hidepid=0", &proc, half.id()));
            one.set_dumpable(true).unwrap();
            std::fs::write(place.join("shown"), "").unwrap();
            assert!(half.wait().unwrap().success());
        } else {
            half.kill().unwrap();
            half.wait().unwrap();
        }
        return;
    };
    let proc = place.join("proc");
    let window = Duration::from_millis(2);
    let mut watch = Watch::with(Options { proc_root: proc, window, ..options() }, &[&word]);
    let done = io_of(watch.cycles(3).image(A));
    assert!(done.wchar > 1_000_000);
    std::fs::write(place.join("seen"), "").unwrap();
    for (told, tell) in [("hidden", "counted"), ("shown", "")] {
        wait_for(&place.join(told));
        for _ in 0..12 {
            let image = watch.cycle().image(A);
            assert_eq!((image.procs, io_of(image)), (1, done), "{told}");
        }
        if !tell.is_empty() {
            std::fs::write(place.join(tell), "").unwrap();
        }
    }
}

/// When it might not be looked into any more, what it had held went on counting
/// as its image's, though it was said to be missing there.
#[test]
fn revoked_access_becomes_none() {
    let Some((word, place)) = told() else {
        if rustix::process::getuid().as_raw() != 0 {
            return println!("skipped: not root");
        }
        let (word, place) = (word("again"), TempDir::new().unwrap());
        let (mut one, mut other) = (open_testproc(&word), open_testproc(&word));
        one.tcp_pairs(1).unwrap();
        other.tcp_pairs(2).unwrap();
        one.set_dumpable(false).unwrap();
        if let Some(mut half) = as_nobody(test_name!(), &word, place.path()) {
            wait_for(&place.join("denied"));
            one.set_dumpable(true).unwrap();
            std::fs::write(place.join("allow"), "").unwrap();
            wait_for(&place.join("allowed"));
            // One more, so that it is looked at again.
            one.tcp_pairs(1).unwrap();
            one.set_dumpable(false).unwrap();
            std::fs::write(place.join("deny"), "").unwrap();
            assert!(half.wait().unwrap().success());
        }
        return;
    };
    let window = Duration::from_millis(2);
    let mut watch = Watch::with(Options { window, ..options() }, &[&word]);
    let expect = |watch: &mut Watch, tcp, denied| {
        let sample = watch.cycles(2 * psstat_sampler::intervals::DENIED_RETRY_INTERVAL as usize);
        assert_eq!((sample.image(A).tcp, sample.health.denied.fd), (tcp, denied));
        let known = watch.sampler.processes().filter(|process| process.numbers.tcp.is_some());
        assert_eq!(known.count() as u64, 2 - denied);
    };
    expect(&mut watch, Some(4), 1);
    std::fs::write(place.join("denied"), "").unwrap();
    wait_for(&place.join("allow"));
    expect(&mut watch, Some(6), 0);
    std::fs::write(place.join("allowed"), "").unwrap();
    wait_for(&place.join("deny"));
    expect(&mut watch, Some(4), 1);
}

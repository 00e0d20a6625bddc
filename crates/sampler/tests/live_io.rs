//! io of live processes that fork, end, are reaped or not, and become others.

mod common;

use std::io::ErrorKind;

use common::{A, B, Watch, every_way, io_of, testproc, word};
use psstat_sampler::Options;
use psstat_testproc::{Config, Io, TestProcess};

fn expected(testprocs: &[&TestProcess]) -> Io {
    testprocs.iter().fold(Io::default(), |sum, testproc| sum + testproc.expected_io().unwrap())
}

#[test]
fn a_reaped_child_counts_once() {
    for options in every_way() {
        let word = word("reaped");
        let mut parent = testproc(&word);
        let mut child = parent.fork_child(&Config::new(&word)).unwrap();
        child.write_bytes(1_000_000, 7).unwrap();
        let mut watch = Watch::with(options, &[&word]);
        parent.quiesce().unwrap();
        child.quiesce().unwrap();
        assert_eq!(io_of(watch.cycle().image(A)), expected(&[&parent, &child]));
        child.write_bytes(500, 1).unwrap();
        child.exit(0).unwrap();
        assert_eq!(io_of(watch.cycle().image(A)), expected(&[&parent, &child]));
        parent.wait(child).unwrap();
        parent.quiesce().unwrap();
        for _ in 0..2 {
            assert_eq!(io_of(watch.cycle().image(A)), expected(&[&parent]));
        }
    }
}

#[test]
fn a_child_that_nobody_reaps_stays_in_the_sum() {
    for options in every_way() {
        let word = word("ignored");
        let mut parent = testproc(&word);
        parent.ignore_sigchld().unwrap();
        let mut child = parent.fork_child(&Config::new(&word)).unwrap();
        child.write_bytes(1_000_000, 7).unwrap();
        child.quiesce().unwrap();
        let mut watch = Watch::with(options, &[&word]);
        let before = io_of(watch.cycle().image(A));
        child.exit(0).unwrap();
        // More than the child's: only the ignored signal tells.
        parent.write_bytes(2_000_000, 20).unwrap();
        parent.read_bytes(2_000_000, 20).unwrap();
        parent.quiesce().unwrap();
        let now = io_of(watch.cycle().image(A));
        assert!(now.wchar >= before.wchar + 2_000_000, "{before:?} {now:?}");
        assert_eq!(now, io_of(watch.cycle().image(A)));
    }
}

#[test]
fn a_child_by_way_of_a_stranger_counts_once() {
    let word = word("between");
    let mut server = testproc(&word);
    let mut shell = server.fork_child(&Config::new("a-stranger-between")).unwrap();
    let mut worker = shell.fork_child(&Config::new(&word)).unwrap();
    worker.write_bytes(1_000_000, 7).unwrap();
    worker.quiesce().unwrap();
    server.quiesce().unwrap();
    let mut watch = Watch::new(&[&word]);
    let both = expected(&[&server, &worker]);
    assert_eq!(io_of(watch.cycle().image(A)), both);
    worker.exit(0).unwrap();
    shell.wait(worker).unwrap();
    assert_eq!(io_of(watch.cycle().image(A)).wchar, both.wchar);
    shell.exit(0).unwrap();
    server.wait(shell).unwrap();
    server.quiesce().unwrap();
    for _ in 0..2 {
        assert_eq!(io_of(watch.cycle().image(A)), expected(&[&server]));
    }
}

#[test]
fn exec_keeps_prior_io_in_old_image() {
    let (a, b) = (word("exec-a"), word("exec-b"));
    let mut one = testproc(&a);
    one.write_bytes(1_000_000, 1).unwrap();
    one.quiesce().unwrap();
    let mut watch = Watch::new(&[&a, &b]);
    let before = io_of(watch.cycle().image(A));
    assert_eq!(before, one.expected_io().unwrap());
    one.exec(&Config::new(&b)).unwrap();
    one.write_bytes(500, 1).unwrap();
    one.quiesce().unwrap();
    let sample = watch.cycles(10);
    assert_eq!((sample.image(A).procs, sample.image(B).procs), (0, 1));
    let (old, new) = (io_of(sample.image(A)), io_of(sample.image(B)));
    assert!(old.wchar >= 1_000_000 && new.wchar >= 500 && new.wchar < 900_000, "{old:?} {new:?}");
    let both = Io::read(one.pid()).unwrap();
    assert_eq!(old.wchar + new.wchar, both.wchar);
    // And back: what it did in between is not the first one's.
    one.write_bytes(300_000, 1).unwrap();
    watch.cycle();
    one.exec(&Config::new(&a)).unwrap();
    one.quiesce().unwrap();
    let sample = watch.cycles(10);
    assert_eq!((sample.image(A).procs, sample.image(B).procs), (1, 0));
    assert!(io_of(sample.image(A)).wchar < 1_200_000);
}

/// An image that is first heard of when a process becomes one of it.
#[test]
fn new_image_starts_at_zero() {
    let (a, b, late) = (word("late-a"), word("late-b"), word("late-c"));
    let mut one = testproc("late-stranger");
    let _other = testproc(&a);
    one.write_bytes(1_000_000, 1).unwrap();
    one.quiesce().unwrap();
    let mut watch = Watch::new(&[&a, &b, &late]);
    watch.cycles(3);
    one.exec(&Config::new(&late)).unwrap();
    one.quiesce().unwrap();
    let image = watch.cycles(10).image(psstat_sampler::ImageId(2));
    assert_eq!(image.procs, 1);
    assert!(io_of(image).wchar < 900_000, "{:?}", image.io);
}

#[test]
fn a_changed_title_is_matched_anew() {
    let (a, b) = (word("title-a"), word("title-b"));
    let long = Config::new(&a).arg("x".repeat(200));
    let mut one = TestProcess::spawn(&long).unwrap();
    let mut watch = Watch::new(&[&a, &b]);
    assert_eq!(watch.cycles(3).image(A).procs, 1);
    one.overwrite_title(&b).unwrap();
    let sample = watch.cycles(9);
    assert_eq!((sample.image(A).procs, sample.image(B).procs), (0, 1));
}

#[test]
fn a_reused_pid_is_another_process() {
    for descriptors in [None, Some(0)] {
        let (a, b) = (word("reuse-a"), word("reuse-b"));
        let mut parent = testproc("reuse-parent");
        let mut first = parent.fork_child(&Config::new(&a)).unwrap();
        let pid = first.pid();
        first.write_bytes(1_000_000, 1).unwrap();
        first.quiesce().unwrap();
        let mut watch =
            Watch::with(Options { max_open_fds: descriptors, ..common::options() }, &[&a, &b]);
        let before = io_of(watch.cycle().image(A));
        // Within the window, so that both ends are there.
        let due = watch.open();
        first.exit(0).unwrap();
        parent.wait(first).unwrap();
        let second = match parent.fork_child_as(pid, &Config::new(&b)) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return println!("skipped: no right to choose a pid");
            }
            result => result.unwrap(),
        };
        second.quiesce().unwrap();
        let sample = watch.close(due);
        assert_eq!((sample.image(A).procs, sample.image(A).pcpu), (0, Some(0.0)));
        assert_eq!(io_of(sample.image(A)), before);
        let sample = watch.cycle();
        assert_eq!((sample.image(A).procs, sample.image(B).procs), (0, 1));
        assert_eq!(io_of(sample.image(A)), before);
        assert_eq!(io_of(sample.image(B)), second.expected_io().unwrap());
    }
}

#[test]
fn rules_that_change_leave_counters_alone() {
    let (a, b) = (word("rules-a"), word("rules-b"));
    let mut one = testproc(&format!("{a} {b}"));
    one.write_bytes(1_000_000, 1).unwrap();
    one.quiesce().unwrap();
    let mut watch = Watch::new(&[&a, &b]);
    let first = io_of(watch.cycle().image(A));
    assert_eq!(first, one.expected_io().unwrap());
    for _ in 0..3 {
        watch.sampler.reclassify_all(3);
        let sample = watch.cycle();
        assert_eq!(io_of(sample.image(A)), first);
        assert_eq!(io_of(sample.image(B)), first);
    }
}

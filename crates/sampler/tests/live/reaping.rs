//! I/O of live processes, by the process that reaps them and the time at which it does.

use crate::common::{A, Watch, in_every_mode, io_of, quiesce, testproc};
use psstat_testproc::{Config, Io, TestProcess};

fn expected(testprocs: &[&TestProcess]) -> Io {
    testprocs.iter().fold(Io::default(), |sum, testproc| sum + testproc.expected_io().unwrap())
}

/// Runs cycles in which the I/O of the image must have a value.
#[track_caller]
fn assert_io(watch: &mut Watch, cycles: usize, expected: Io) {
    for _ in 0..cycles {
        assert_eq!(io_of(watch.cycle().image(A)), expected);
    }
}

/// Forks a child that does I/O, more than its parent has done, and is read before this returns.
fn fork_child(parent: &mut TestProcess, word: &str, watch: &mut Watch) -> TestProcess {
    let mut child = parent.fork_child(&Config::new(word)).unwrap();
    child.write_bytes(1_000_000, 7).unwrap();
    child.read_bytes(1_000_000, 7).unwrap();
    child.quiesce().unwrap();
    watch.cycle();
    child
}

/// Does more I/O than the child, by every counter, so that the growth alone does not show whether
/// the child's counters are in it.
fn exceed_child(parent: &mut TestProcess) {
    parent.write_bytes(2_000_000, 20).unwrap();
    parent.read_bytes(2_000_000, 20).unwrap();
    parent.quiesce().unwrap();
}

#[test]
fn reaped_child_counts_once() {
    in_every_mode("reaped", |watch, word| {
        let mut parent = testproc(word);
        let mut child = fork_child(&mut parent, word, watch);
        parent.quiesce().unwrap();
        assert_io(watch, 1, expected(&[&parent, &child]));
        child.write_bytes(500, 1).unwrap();
        child.exit(0).unwrap();
        assert_io(watch, 1, expected(&[&parent, &child]));
        parent.wait(child).unwrap();
        parent.quiesce().unwrap();
        assert_io(watch, 2, expected(&[&parent]));
    });
}

#[test]
fn auto_reaped_child_is_kept() {
    in_every_mode("ignored", |watch, word| {
        let mut parent = testproc(word);
        parent.ignore_sigchld().unwrap();
        let mut child = fork_child(&mut parent, word, watch);
        let before = io_of(watch.cycle().image(A));
        child.exit(0).unwrap();
        // Only the ignored signal shows that the child's counters are not in the growth.
        exceed_child(&mut parent);
        let now = io_of(watch.cycle().image(A));
        assert!(now.wchar >= before.wchar + 2_000_000, "{before:?} {now:?}");
        assert_io(watch, 1, now);
    });
}

/// The parent ignored its children when it was read, and the child that it had reaped before
/// counted twice.
#[test]
fn child_reaped_before_sigchld_is_ignored_counts_once() {
    in_every_mode("begins", |watch, word| {
        let mut parent = testproc(word);
        let mut child = fork_child(&mut parent, word, watch);
        child.exit(0).unwrap();
        parent.wait(child).unwrap();
        parent.ignore_sigchld().unwrap();
        parent.quiesce().unwrap();
        assert_io(watch, 2, expected(&[&parent]));
    });
}

/// As a process that ignores its children does in `system(3)`. A child that it ignores later is
/// kept.
#[test]
fn parent_reaps_one_child_and_ignores_others() {
    in_every_mode("system", |watch, word| {
        let mut parent = testproc(word);
        parent.ignore_sigchld().unwrap();
        let mut child = fork_child(&mut parent, word, watch);
        parent.reset_sigchld().unwrap();
        child.exit(0).unwrap();
        parent.wait(child).unwrap();
        parent.ignore_sigchld().unwrap();
        parent.quiesce().unwrap();
        assert_io(watch, 2, expected(&[&parent]));
        // It has reaped a child, but none since.
        let mut child = fork_child(&mut parent, word, watch);
        let done = expected(&[&child]);
        child.exit(0).unwrap();
        exceed_child(&mut parent);
        assert_io(watch, 2, done + expected(&[&parent]));
    });
}

#[test]
fn untracked_intermediate_parent() {
    in_every_mode("intermediate", |watch, word| {
        let mut server = testproc(word);
        let mut shell = server.fork_child(&Config::new("untracked-shell")).unwrap();
        let mut worker = fork_child(&mut shell, word, watch);
        server.quiesce().unwrap();
        let both = expected(&[&server, &worker]);
        assert_io(watch, 1, both);
        worker.exit(0).unwrap();
        shell.wait(worker).unwrap();
        assert_eq!(io_of(watch.cycle().image(A)).wchar, both.wchar);
        shell.exit(0).unwrap();
        server.wait(shell).unwrap();
        server.quiesce().unwrap();
        assert_io(watch, 2, expected(&[&server]));
    });
}

/// Zombies of a parent inside the image and of one outside.
#[test]
fn zombie_keeps_its_io_before_and_after_it_is_reaped() {
    in_every_mode("zombie", |watch, word| {
        let mut parent = testproc(word);
        let mut inside = parent.fork_child(&Config::new(word)).unwrap();
        let mut outside = testproc(word);
        watch.cycle();
        for child in [&mut inside, &mut outside] {
            child.write_bytes(1_000_000, 7).unwrap();
            child.exit(0).unwrap();
        }
        parent.quiesce().unwrap();
        let outside_io = expected(&[&outside]);
        let all = expected(&[&parent, &inside]) + outside_io;
        for _ in 0..4 {
            let image = watch.cycle().image(A);
            assert_eq!((io_of(image), image.processes), (all, 1));
        }
        parent.wait(inside).unwrap();
        outside.reap().unwrap();
        parent.quiesce().unwrap();
        assert_io(watch, 3, expected(&[&parent]) + outside_io);
    });
}

/// A process that started and exited between two cycles' readings was not counted: its I/O was
/// read only at the end of the window. With a parent in the image it must not count twice.
#[test]
fn exit_in_first_window_counts_once() {
    for has_parent_in_image in [false, true] {
        in_every_mode("window", |watch, word| {
            let mut parent = testproc(if has_parent_in_image { word } else { "outside" });
            watch.cycle();
            let mut brief = parent.fork_child(&Config::new(word)).unwrap();
            brief.write_bytes(1_000_000, 7).unwrap();
            brief.quiesce().unwrap();
            let done = expected(&[&brief]);
            let due = watch.open();
            brief.exit(0).unwrap();
            parent.wait(brief).unwrap();
            parent.quiesce().unwrap();
            let image = watch.close(due).image(A);
            let expected = if has_parent_in_image { expected(&[&parent]) } else { done };
            assert_eq!((image.processes, io_of(image)), (u64::from(has_parent_in_image), expected));
            assert_io(watch, 1, expected);
        });
    }
}

/// The parent of the orphan has exited, and is a zombie of an untracked process; a subreaper of
/// the image then adopts the orphan.
#[test]
fn orphan_of_zombie_counts_once() {
    in_every_mode("orphan", |watch, word| {
        let mut manager = testproc(word);
        manager.become_subreaper().unwrap();
        let mut sleeper = manager.fork_child(&Config::new("sleeper")).unwrap();
        let mut zombie = sleeper.fork_child(&Config::new(word)).unwrap();
        let mut worker = fork_child(&mut zombie, word, watch);
        zombie.exit(0).unwrap();
        worker.exit(0).unwrap();
        manager.wait(worker).unwrap();
        manager.quiesce().unwrap();
        assert_io(watch, 3, expected(&[&manager, &zombie]));
    });
}

/// An untracked process reaps the child. Then an ancestor of the untracked process joins the
/// image, and reaps the untracked process.
#[test]
fn joining_ancestor_excludes_untracked_inheritance() {
    in_every_mode("joins", |watch, word| {
        let mut manager = testproc("manager");
        let mut untracked = manager.fork_child(&Config::new("untracked")).unwrap();
        let mut child = fork_child(&mut untracked, word, watch);
        let done = expected(&[&child]);
        child.exit(0).unwrap();
        untracked.wait(child).unwrap();
        assert_io(watch, 1, done);
        manager.exec(&Config::new(word)).unwrap();
        manager.quiesce().unwrap();
        let joined = expected(&[&manager]);
        // Command lines are read again in every 8th cycle.
        assert!((0..20).any(|_| watch.cycle().image(A).processes == 1));
        assert_io(watch, 1, done);
        untracked.exit(0).unwrap();
        manager.wait(untracked).unwrap();
        quiesce(&[&manager]);
        for _ in 0..2 {
            let now = io_of(watch.cycle().image(A)) + joined;
            assert_eq!(now, expected(&[&manager]));
        }
    });
}

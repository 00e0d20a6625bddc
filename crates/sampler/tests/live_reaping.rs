//! io of live processes by who waits for them, and when.

mod common;

use common::{A, Watch, every_way, io_of, testproc, word};
use psstat_testproc::{Config, TestProcess};

/// A parent that has written, and a child that has written less, both of an
/// image that was looked at.
fn family(parent: &mut TestProcess, word: &str, watch: &mut Watch) -> (TestProcess, u64) {
    let mut child = parent.fork_child(&Config::new(word)).unwrap();
    child.write_bytes(1_000_000, 7).unwrap();
    child.read_bytes(1_000_000, 7).unwrap();
    child.quiesce().unwrap();
    let before = io_of(watch.cycle().image(A)).wchar;
    (child, before)
}

/// More than the child did, in every way, so that this alone explains growth.
fn work(parent: &mut TestProcess) {
    parent.write_bytes(2_000_000, 20).unwrap();
    parent.read_bytes(2_000_000, 20).unwrap();
}

/// It ignored its children when it was asked, and the one that it had waited
/// for before counted twice.
#[test]
fn a_child_counts_once_whose_parent_then_begins_to_ignore_children() {
    for options in every_way() {
        let word = word("begins");
        let mut parent = testproc(&word);
        let mut watch = Watch::with(options, &[&word]);
        let (mut child, before) = family(&mut parent, &word, &mut watch);
        child.exit(0).unwrap();
        parent.wait(child).unwrap();
        parent.ignore_sigchld().unwrap();
        parent.quiesce().unwrap();
        for _ in 0..2 {
            let now = io_of(watch.cycle().image(A));
            assert_eq!(now, parent.expected_io().unwrap());
            assert!(now.wchar < before + 1000);
        }
    }
}

/// As `system(3)` is used by one that ignores its children; and one that it
/// ignores is not lost in the other's place.
#[test]
fn a_parent_waits_for_one_child_and_ignores_others() {
    let word = word("system");
    let mut parent = testproc(&word);
    parent.ignore_sigchld().unwrap();
    let mut watch = Watch::new(&[&word]);
    let (mut child, _) = family(&mut parent, &word, &mut watch);
    parent.reset_sigchld().unwrap();
    child.exit(0).unwrap();
    parent.wait(child).unwrap();
    parent.ignore_sigchld().unwrap();
    parent.quiesce().unwrap();
    for _ in 0..2 {
        assert_eq!(io_of(watch.cycle().image(A)), parent.expected_io().unwrap());
    }
    // It has waited for one: that it waited for no other since is what tells.
    let (mut child, _) = family(&mut parent, &word, &mut watch);
    let childs = child.expected_io().unwrap();
    child.exit(0).unwrap();
    work(&mut parent);
    parent.quiesce().unwrap();
    let own = parent.expected_io().unwrap();
    for _ in 0..2 {
        assert_eq!(io_of(watch.cycle().image(A)), own + childs);
    }
}

/// Zombies of a parent inside the image and of one outside.
#[test]
fn zombies_keep_what_they_did_for_as_long_as_they_linger_and_after() {
    for options in every_way() {
        let word = word("linger");
        let mut parent = testproc(&word);
        let mut inside = parent.fork_child(&Config::new(&word)).unwrap();
        let mut outside = testproc(&word);
        let mut watch = Watch::with(options, &[&word]);
        watch.cycle();
        for child in [&mut inside, &mut outside] {
            child.write_bytes(1_000_000, 7).unwrap();
            child.exit(0).unwrap();
        }
        parent.quiesce().unwrap();
        let (own, left) = (parent.expected_io().unwrap(), outside.expected_io().unwrap());
        let all = own + inside.expected_io().unwrap() + left;
        for _ in 0..4 {
            let image = watch.cycle().image(A);
            assert_eq!((io_of(image), image.procs), (all, 1));
        }
        parent.wait(inside).unwrap();
        outside.reap().unwrap();
        parent.quiesce().unwrap();
        for _ in 0..3 {
            assert_eq!(io_of(watch.cycle().image(A)), parent.expected_io().unwrap() + left);
        }
    }
}

/// A life within one window left nothing: io was read at its end alone.
#[test]
fn who_ends_in_its_first_window_leaves_what_it_had_done() {
    for options in every_way() {
        let word = word("window");
        let mut watch = Watch::with(options, &[&word]);
        watch.cycle();
        let mut brief = testproc(&word);
        brief.write_bytes(1_000_000, 7).unwrap();
        brief.quiesce().unwrap();
        let done = brief.expected_io().unwrap();
        let due = watch.open();
        brief.exit(0).unwrap();
        brief.reap().unwrap();
        let image = watch.close(due).image(A);
        assert_eq!((image.procs, io_of(image)), (0, done));
        assert_eq!(io_of(watch.cycle().image(A)), done);
    }
}

/// The same where a parent of the image has it: once.
#[test]
fn who_ends_in_its_first_window_counts_once() {
    for options in every_way() {
        let word = word("first");
        let mut parent = testproc(&word);
        let mut watch = Watch::with(options, &[&word]);
        watch.cycle();
        let mut brief = parent.fork_child(&Config::new(&word)).unwrap();
        brief.write_bytes(1_000_000, 7).unwrap();
        brief.quiesce().unwrap();
        let due = watch.open();
        brief.exit(0).unwrap();
        parent.wait(brief).unwrap();
        parent.quiesce().unwrap();
        assert_eq!(io_of(watch.close(due).image(A)), parent.expected_io().unwrap());
        assert_eq!(io_of(watch.cycle().image(A)), parent.expected_io().unwrap());
    }
}

/// A parent of a stranger, a child of that which has ended and is a zombie of the
/// stranger's, and its child, which a subreaper of the image has then.
#[test]
fn an_orphan_of_a_zombie_counts_once() {
    for options in every_way() {
        let word = word("orphan");
        let mut manager = testproc(&word);
        manager.become_subreaper().unwrap();
        let mut sleeper = manager.fork_child(&Config::new("sleeper")).unwrap();
        let mut between = sleeper.fork_child(&Config::new(&word)).unwrap();
        let mut watch = Watch::with(options, &[&word]);
        let (mut worker, before) = family(&mut between, &word, &mut watch);
        // Nobody waits for it, so it stays listed.
        between.exit(0).unwrap();
        worker.exit(0).unwrap();
        manager.wait(worker).unwrap();
        manager.quiesce().unwrap();
        let left = between.expected_io().unwrap();
        for _ in 0..3 {
            let now = io_of(watch.cycle().image(A));
            assert_eq!(now, manager.expected_io().unwrap() + left);
            assert!(now.wchar < before + 1000);
        }
    }
}

/// A stranger waited for it, and an ancestor of the stranger is of the image only
/// then, and waits for the stranger.
#[test]
fn what_a_stranger_has_taken_over_counts_once_when_an_ancestor_joins() {
    for options in every_way() {
        let word = word("joins");
        let mut manager = testproc("manager");
        let mut stranger = manager.fork_child(&Config::new("stranger")).unwrap();
        let mut watch = Watch::with(options, &[&word]);
        let (mut child, _) = family(&mut stranger, &word, &mut watch);
        let childs = child.expected_io().unwrap();
        child.exit(0).unwrap();
        stranger.wait(child).unwrap();
        assert_eq!(io_of(watch.cycle().image(A)), childs);
        manager.exec(&Config::new(&word)).unwrap();
        manager.quiesce().unwrap();
        let joined = manager.expected_io().unwrap();
        // Command lines are read again in every 8th cycle.
        assert!((0..20).any(|_| watch.cycle().image(A).procs == 1));
        assert_eq!(io_of(watch.cycle().image(A)), childs);
        stranger.exit(0).unwrap();
        manager.wait(stranger).unwrap();
        manager.quiesce().unwrap();
        for _ in 0..2 {
            let now = io_of(watch.cycle().image(A)) + joined;
            assert_eq!(now, manager.expected_io().unwrap());
        }
    }
}

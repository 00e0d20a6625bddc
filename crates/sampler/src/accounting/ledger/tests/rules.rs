//! One small history for each rule of the ledger.

use super::kernel::{Event, INIT, Id, Images, Limits};
use super::observer::Observer;

pub(super) const A: Images = 1;
pub(super) const NONE: Images = 0;

pub(super) fn observer() -> Observer {
    Observer::new(Limits { orphans: true, subreapers: true, ..Limits::default() }, Vec::new())
}

impl Observer {
    pub(super) fn fork(&mut self, parent: Id, images: Images) -> Id {
        self.world.kernel.fork(parent, images, false, false)
    }

    pub(super) fn write(&mut self, who: Id, bytes: i16) {
        self.world.kernel.write(who, [bytes; 7]);
    }

    pub(super) fn exit_and_wait(&mut self, child: Id, parent: Id) {
        self.world.kernel.exit(child);
        self.world.kernel.wait(parent);
    }

    /// The bytes read by image A, after one more cycle.
    pub(super) fn bytes(&mut self) -> i64 {
        self.cycle()[0].rchar
    }
}

#[test]
fn a_reaped_child_counts_once() {
    let mut o = observer();
    let parent = o.fork(INIT, A);
    let child = o.fork(parent, A);
    o.write(parent, 10);
    o.write(child, 100);
    assert_eq!(o.bytes(), 110);
    o.write(child, 1);
    o.exit_and_wait(child, parent);
    assert_eq!(o.bytes(), 111, "with what the child did after the last look");
    assert_eq!(o.bytes(), 111);
}

#[test]
fn a_zombie_counts_until_it_is_reaped_and_after() {
    let mut o = observer();
    let parent = o.fork(INIT, A);
    let child = o.fork(parent, A);
    o.bytes();
    o.write(child, 100);
    o.world.kernel.exit(child);
    assert_eq!([o.bytes(), o.bytes(), o.bytes()], [100; 3]);
    o.world.kernel.wait(parent);
    assert_eq!([o.bytes(), o.bytes()], [100; 2]);
}

#[test]
fn auto_reaped_child_is_kept() {
    let mut o = observer();
    let parent = o.world.kernel.fork(INIT, A, true, false);
    let child = o.fork(parent, A);
    o.write(child, 100);
    // As much as the child's: only the ignored signal tells.
    o.bytes();
    o.write(parent, 100);
    o.world.kernel.exit(child);
    assert_eq!([o.bytes(), o.bytes()], [200; 2]);
}

/// The parent was asked whether it ignores children after it had begun to, and
/// the one that it had waited for before was taken for lost: counted twice.
#[test]
fn a_child_counts_once_whose_parent_then_began_to_ignore_children() {
    let mut o = observer();
    let parent = o.fork(INIT, A);
    let child = o.fork(parent, A);
    o.write(child, 100);
    assert_eq!(o.bytes(), 100);
    o.exit_and_wait(child, parent);
    o.world.kernel.ignore(parent, true);
    assert_eq!([o.bytes(), o.bytes()], [100; 2]);
}

/// As `system(3)` is used by one that ignores its children: both times that it
/// was looked at it did.
#[test]
fn parent_waits_for_one_child() {
    let mut o = observer();
    let parent = o.world.kernel.fork(INIT, A, true, false);
    let child = o.fork(parent, A);
    o.write(child, 100);
    assert_eq!(o.bytes(), 100);
    o.world.kernel.ignore(parent, false);
    o.exit_and_wait(child, parent);
    o.world.kernel.ignore(parent, true);
    assert_eq!([o.bytes(), o.bytes()], [100; 2]);
}

/// It has waited for others before, and has grown by more than its child did:
/// only that it has waited for nobody since tells.
#[test]
fn a_child_stays_in_the_sum_whose_parent_waits_for_nobody_any_more() {
    let mut o = observer();
    let parent = o.fork(INIT, A);
    let first = o.fork(parent, A);
    let second = o.fork(parent, A);
    o.write(first, 10);
    o.write(second, 100);
    o.bytes();
    o.exit_and_wait(first, parent);
    assert_eq!(o.bytes(), 110);
    o.world.kernel.ignore(parent, true);
    // The second is seen once more after the first was waited for.
    assert_eq!(o.bytes(), 110);
    o.write(parent, 1000);
    o.world.kernel.exit(second);
    assert_eq!([o.bytes(), o.bytes()], [1110; 2]);
}

/// Of two that went at once one is in the parent's growth, which allows either:
/// the first was taken out of it, and the second counted twice.
#[test]
fn two_candidates_for_one_growth() {
    for (lost, absorbed) in [(30, 50), (50, 30)] {
        let mut o = observer();
        let parent = o.world.kernel.fork(INIT, A, true, false);
        let (one, other) = (o.fork(parent, A), o.fork(parent, A));
        o.write(one, lost);
        o.write(other, absorbed);
        assert_eq!(o.bytes(), 80);
        o.world.kernel.exit(one);
        o.world.kernel.ignore(parent, false);
        o.exit_and_wait(other, parent);
        assert_eq!([o.bytes(), o.bytes()], [80; 2]);
    }
}

/// Its command line blocked when it came, and it was taken for one that came by
/// exec: all that it had done was lost.
#[test]
fn late_match_counts_history() {
    let mut o = observer();
    let process = o.fork(INIT, A);
    o.world.kernel.block(process, true);
    o.write(process, 1000);
    assert_eq!([o.bytes(), o.bytes()], [0; 2]);
    o.world.kernel.block(process, false);
    assert_eq!(o.bytes(), 1000);
}

/// It stood between others meanwhile, and what came to it by way of the one
/// below it is counted already.
#[test]
fn late_match_excludes_counted_children() {
    let mut o = observer();
    let server = o.fork(INIT, A);
    let between = o.fork(server, A);
    let worker = o.fork(between, A);
    o.world.kernel.block(between, true);
    o.write(between, 5);
    o.write(worker, 100);
    assert_eq!(o.bytes(), 100);
    o.exit_and_wait(worker, between);
    assert_eq!([o.bytes(), o.bytes()], [100; 2]);
    o.world.kernel.block(between, false);
    assert_eq!([o.bytes(), o.bytes()], [105; 2]);
}

#[test]
fn unreadable_join_starts_at_first_read() {
    let mut o = observer();
    let process = o.fork(INIT, NONE);
    o.write(process, 1000);
    assert_eq!(o.bytes(), 0);
    o.world.kernel.hide(process, true);
    o.world.kernel.change_image(process, A);
    o.write(process, 100);
    assert_eq!([o.bytes(), o.bytes()], [0; 2]);
    o.world.kernel.hide(process, false);
    assert_eq!(o.bytes(), 0);
    o.write(process, 7);
    assert_eq!(o.bytes(), 7);
    // The same for one that comes back, of which there is an old reading.
    o.world.kernel.change_image(process, NONE);
    o.bytes();
    o.write(process, 2000);
    o.world.kernel.hide(process, true);
    o.world.kernel.change_image(process, A);
    assert_eq!(o.bytes(), 7);
    o.world.kernel.hide(process, false);
    o.bytes();
    o.write(process, 1);
    assert_eq!(o.bytes(), 8);
}

/// One that was there from its birth counts in full, whenever it can be read.
#[test]
fn unread_since_birth_counts_history() {
    let mut o = observer();
    let process = o.fork(INIT, A);
    o.write(process, 1000);
    o.world.kernel.hide(process, true);
    assert_eq!(o.bytes(), 0);
    o.world.kernel.hide(process, false);
    assert_eq!(o.bytes(), 1000);
}

/// After some cycles without a reading the child was taken for lost, and
/// counted again when its parent could be read.
#[test]
fn a_child_counts_once_whose_parent_cannot_be_read_for_long() {
    for (absorbed, hidden) in [(true, 20), (true, 3), (false, 20), (false, 3)] {
        let mut o = observer();
        let parent = o.world.kernel.fork(INIT, A, !absorbed, false);
        let child = o.fork(parent, A);
        o.write(parent, 10);
        o.write(child, 100);
        assert_eq!(o.bytes(), 110);
        o.world.kernel.hide(parent, true);
        o.write(child, 5);
        o.exit_and_wait(child, parent);
        o.write(parent, 500);
        for _ in 0..hidden {
            assert_eq!(o.bytes(), 110);
        }
        o.world.kernel.hide(parent, false);
        // What the child did after the last look at it is in its parent, if
        // that has it.
        let in_the_end = 110 + 500 + if absorbed { 5 } else { 0 };
        assert_eq!([o.bytes(), o.bytes()], [in_the_end; 2], "{absorbed} {hidden}");
    }
}

/// The unreadable parent ends too, and its own parent has both.
#[test]
fn deferred_charge_follows_the_account() {
    let mut o = observer();
    let server = o.fork(INIT, A);
    let parent = o.fork(server, A);
    let child = o.fork(parent, A);
    o.write(parent, 10);
    o.write(child, 100);
    assert_eq!(o.bytes(), 110);
    o.world.kernel.hide(parent, true);
    o.exit_and_wait(child, parent);
    for _ in 0..12 {
        assert_eq!(o.bytes(), 110);
    }
    o.exit_and_wait(parent, server);
    assert_eq!([o.bytes(), o.bytes()], [110; 2]);
}

/// It ends within the window, and a stranger waits for it: it left nothing.
#[test]
fn who_ends_in_its_first_window_leaves_what_it_had_done_when_it_was_found() {
    let mut o = observer();
    let shell = o.fork(INIT, NONE);
    o.bytes();
    let child = o.fork(shell, A);
    o.write(child, 100);
    o.open();
    o.write(child, 1);
    o.exit_and_wait(child, shell);
    o.close();
    assert_eq!(o.totals()[0].rchar, 100);
    assert_eq!(o.bytes(), 100);
}

/// The same with parents of the image, old or as new as the child.
#[test]
fn who_ends_in_its_first_window_counts_once() {
    for is_new in [false, true] {
        let mut o = observer();
        let parent = o.fork(INIT, A);
        if !is_new {
            o.bytes();
        }
        let child = o.fork(parent, A);
        o.write(parent, 10);
        o.write(child, 100);
        o.open();
        o.write(child, 1);
        o.exit_and_wait(child, parent);
        o.close();
        assert_eq!(o.totals()[0].rchar, 111);
        assert_eq!(o.bytes(), 111);
    }
}

#[test]
fn a_child_of_a_stranger_stays_in_the_sum() {
    let mut o = observer();
    let shell = o.fork(INIT, NONE);
    let child = o.fork(shell, A);
    o.write(child, 100);
    assert_eq!(o.bytes(), 100);
    o.exit_and_wait(child, shell);
    assert_eq!([o.bytes(), o.bytes()], [100; 2]);
}

#[test]
fn untracked_intermediate_parent() {
    let mut o = observer();
    let server = o.fork(INIT, A);
    let shell = o.fork(server, NONE);
    let worker = o.fork(shell, A);
    o.write(worker, 100);
    assert_eq!(o.bytes(), 100);
    o.exit_and_wait(worker, shell);
    assert_eq!(o.bytes(), 100);
    o.write(shell, 7);
    o.exit_and_wait(shell, server);
    assert_eq!(o.bytes(), 107, "the stranger's own is the server's now");
}

/// The one in between was a member once, so it has a reading, but an old one:
/// the worker was taken for lost after a while and counted again in the server.
#[test]
fn former_member_as_intermediate_parent() {
    let mut o = observer();
    let server = o.fork(INIT, A);
    let between = o.fork(server, A);
    let worker = o.fork(between, A);
    o.write(between, 5);
    o.write(worker, 100);
    o.bytes();
    o.world.kernel.change_image(between, NONE);
    o.bytes();
    o.exit_and_wait(worker, between);
    for _ in 0..12 {
        assert_eq!(o.bytes(), 105);
    }
    o.exit_and_wait(between, server);
    assert_eq!([o.bytes(), o.bytes()], [105; 2]);
}

/// What was done outside was counted as the image's on the way back.
#[test]
fn rejoin_excludes_io_done_outside() {
    let mut o = observer();
    let process = o.fork(INIT, A);
    o.write(process, 10);
    assert_eq!(o.bytes(), 10);
    o.world.kernel.change_image(process, NONE);
    assert_eq!(o.bytes(), 10);
    o.write(process, 1000);
    assert_eq!(o.bytes(), 10);
    o.world.kernel.change_image(process, A);
    assert_eq!(o.bytes(), 10);
    o.write(process, 3);
    assert_eq!(o.bytes(), 13);
}

#[test]
fn a_reused_pid_is_another_process() {
    let mut o = observer();
    let first = o.fork(INIT, A);
    o.write(first, 100);
    o.bytes();
    o.world.kernel.exit(first);
    let second = o.fork(INIT, A);
    let pid = |id: Id| o.world.kernel.processes[id].pid;
    assert_eq!(pid(first), pid(second));
    o.write(second, 5);
    assert_eq!(o.bytes(), 105);
}

/// Its parent's reading at the opening was taken for one of the close, when it
/// could not be read.
#[test]
fn a_child_counts_once_whose_parent_was_read_at_the_opening_only() {
    let mut o = observer();
    let parent = o.fork(INIT, A);
    let child = o.fork(parent, A);
    o.write(child, 100);
    o.open();
    o.exit_and_wait(child, parent);
    o.world.kernel.hide(parent, true);
    o.close();
    o.world.kernel.hide(parent, false);
    assert_eq!([o.bytes(), o.bytes()], [100; 2]);
}

/// What it had done before it left is known as counted until it is read again,
/// even if it never is.
#[test]
fn unread_rejoin_then_exit() {
    let mut o = observer();
    let parent = o.fork(INIT, A);
    let child = o.fork(parent, A);
    o.write(child, 100);
    assert_eq!(o.bytes(), 100);
    o.world.kernel.change_image(child, NONE);
    assert_eq!(o.bytes(), 100);
    o.world.kernel.hide(child, true);
    o.world.kernel.change_image(child, A);
    assert_eq!(o.bytes(), 100);
    o.exit_and_wait(child, parent);
    assert_eq!([o.bytes(), o.bytes()], [100; 2]);
}

/// A stranger waited for it, and joined nothing; an ancestor of the stranger
/// joined later, and then had it by way of the stranger.
#[test]
fn joining_ancestor_excludes_untracked_absorption() {
    let mut o = observer();
    let manager = o.fork(INIT, NONE);
    let stranger = o.fork(manager, NONE);
    let child = o.fork(stranger, A);
    o.write(child, 100);
    assert_eq!(o.bytes(), 100);
    o.exit_and_wait(child, stranger);
    assert_eq!(o.bytes(), 100);
    o.world.kernel.change_image(manager, A);
    assert_eq!(o.bytes(), 100);
    o.write(stranger, 7);
    o.exit_and_wait(stranger, manager);
    assert_eq!([o.bytes(), o.bytes()], [107; 2]);
}

/// Its parent, which could not be read, was waited for between the grandparent's
/// reading and the end of the cycle: that reading was taken to hold both or none.
#[test]
fn a_grandchild_counts_once_that_came_with_a_late_parent() {
    for looks in 0..12 {
        let mut o = observer();
        let grandparent = o.fork(INIT, A);
        let parent = o.fork(grandparent, A);
        let child = o.fork(parent, A);
        o.write(child, 100);
        assert_eq!(o.bytes(), 100);
        o.world.kernel.hide(parent, true);
        o.exit_and_wait(child, parent);
        assert_eq!(o.bytes(), 100);
        o.world.kernel.exit(parent);
        // The grandparent, among those that run then.
        o.world.later(looks, Event::Wait { parent: 1, child: None });
        for _ in 0..4 {
            assert_eq!(o.bytes(), 100, "after {looks} looks");
        }
    }
}

//! The ledger itself, without a kernel: what happens between two reads of a cycle.

use crate::accounting::ledger::Ledger;
use crate::image::ImageId;
use crate::io_counters::IoCounters;
use crate::source::ParentStat;

fn bytes(n: i64) -> IoCounters {
    IoCounters { rchar: n, wchar: n, ..IoCounters::ZERO }
}

fn total(ledger: &Ledger) -> i64 {
    let mut totals = [None];
    ledger.totals(&mut totals);
    totals[0].unwrap_or_default().rchar
}

/// Accounts 0, 1, 2: grandparent, parent, child, all of one image, read once.
fn family() -> Ledger {
    let mut ledger = Ledger::default();
    for (slot, n) in [(2, 100), (1, 10), (0, 1)] {
        ledger.open(slot);
        ledger.join_with_history(slot, ImageId(0));
        ledger.accept(slot, bytes(n));
    }
    settle(&mut ledger);
    ledger
}

fn waited_for(cminflt: u64) -> ParentStat {
    ParentStat { cminflt, is_zombie: false }
}

fn settle(ledger: &mut Ledger) {
    ledger.resolve_exits(|_| None, |slot| slot.checked_sub(1), |_| ());
}

/// It went between its parent's reading and the end of the cycle: it was attributed
/// for lost, and counted again when its parent was read the next time.
#[test]
fn who_goes_after_its_parents_reading_is_judged_by_the_next() {
    let mut ledger = family();
    for (slot, n) in [(2, 100), (1, 11), (0, 1)] {
        ledger.accept(slot, bytes(n));
    }
    ledger.mark_exited_after_parent_read(2, Some(1));
    settle(&mut ledger);
    assert_eq!(total(&ledger), 112);
    ledger.accept(1, bytes(113));
    ledger.accept(0, bytes(1));
    settle(&mut ledger);
    assert_eq!(total(&ledger), 114);
}

/// The child was in its parent's last reading already, and then both were in
/// the grandparent's, or in nobody's.
#[test]
fn a_parent_that_goes_too_had_the_child_before() {
    for absorbed in [true, false] {
        let mut ledger = family();
        ledger.accept(1, bytes(110));
        ledger.accept(0, bytes(if absorbed { 111 } else { 1 }));
        ledger.mark_exited(2, Some(1));
        ledger.mark_exited(1, Some(0));
        settle(&mut ledger);
        assert_eq!(total(&ledger), 111);
    }
}

#[test]
fn a_child_and_its_parent_go_unread() {
    let mut ledger = family();
    ledger.mark_exited(2, Some(1));
    ledger.mark_exited(1, Some(0));
    ledger.accept(0, bytes(111));
    settle(&mut ledger);
    assert_eq!(total(&ledger), 111);
}

#[test]
fn a_reading_that_was_taken_back_decides_nothing() {
    let mut ledger = family();
    ledger.accept(1, bytes(500));
    ledger.discard_read(1);
    ledger.mark_exited(2, Some(1));
    ledger.accept(0, bytes(1));
    settle(&mut ledger);
    assert_eq!(total(&ledger), 111);
    ledger.accept(1, bytes(110));
    settle(&mut ledger);
    assert_eq!(total(&ledger), 111);
}

/// Both new: the first reading of the parent held the child's already.
#[test]
fn a_child_can_be_in_a_first_reading() {
    let mut ledger = Ledger::default();
    for slot in [0, 1] {
        ledger.open(slot);
        ledger.join_with_history(slot, ImageId(0));
    }
    ledger.accept(1, bytes(100));
    ledger.mark_exited(1, Some(0));
    ledger.accept(0, bytes(110));
    settle(&mut ledger);
    assert_eq!(total(&ledger), 110);
}

#[test]
fn one_counter_that_grew_by_less_disproves_it() {
    let mut ledger = family();
    ledger.mark_exited(2, Some(1));
    ledger.accept(1, IoCounters { rchar: 1000, wchar: 109, ..IoCounters::ZERO });
    ledger.accept(0, bytes(1));
    settle(&mut ledger);
    assert_eq!(total(&ledger), 1000 + 100 + 1);
}

/// One that is not read any more carries more than its last reading says: the
/// grandparent that ignored it was charged with all of that, and fell.
#[test]
fn nobody_is_charged_with_more_than_it_grew_by() {
    for (waited, in_the_end) in [(Some(7), 141), (None, 111)] {
        let mut ledger = family();
        ledger.note_cminflt(0, 7);
        ledger.leave(1, ImageId(0));
        ledger.mark_exited(2, Some(1));
        ledger.accept(0, bytes(1));
        settle(&mut ledger);
        assert_eq!(total(&ledger), 111);
        ledger.mark_exited(1, Some(0));
        ledger.accept(0, bytes(31));
        let parent = |slot| waited.filter(|_| slot == 0).map(waited_for);
        ledger.resolve_exits(parent, |slot| slot.checked_sub(1), |_| ());
        assert_eq!(total(&ledger), in_the_end, "{waited:?}");
    }
}

/// One of another image has the child, and one further up that could not be read
/// might have: until it could, the growth of the first was forgotten, and the
/// child counted twice when it came up from there.
#[test]
fn a_nearer_one_is_remembered_while_one_further_up_is_waited_for() {
    let mut ledger = Ledger::default();
    // Accounts 0 to 3, each the parent of the next.
    for (slot, image, n) in [(3, 0, 100), (2, 0, 0), (1, 1, 10), (0, 0, 1)] {
        ledger.open(slot);
        ledger.join_with_history(slot, ImageId(image));
        ledger.accept(slot, bytes(n));
    }
    settle(&mut ledger);
    assert_eq!(total(&ledger), 101);
    ledger.mark_exited(3, Some(2));
    ledger.mark_exited(2, Some(1));
    ledger.accept(1, bytes(110));
    settle(&mut ledger);
    assert_eq!(total(&ledger), 101);
    ledger.accept(1, bytes(110));
    ledger.accept(0, bytes(1));
    settle(&mut ledger);
    assert_eq!(total(&ledger), 101);
    ledger.mark_exited(1, Some(0));
    ledger.accept(0, bytes(111));
    settle(&mut ledger);
    assert_eq!(total(&ledger), 111);
}

/// A count that was read after the child was there says nothing of it.
#[test]
fn only_what_stood_while_the_child_lived_proves_that_nobody_was_absorbed() {
    for (noted_late, in_the_end) in [(false, 211), (true, 111)] {
        let mut ledger = family();
        ledger.begin_pass();
        if !noted_late {
            ledger.note_cminflt(1, 7);
        }
        for (slot, n) in [(2, 100), (1, 10), (0, 1)] {
            ledger.accept(slot, bytes(n));
        }
        settle(&mut ledger);
        ledger.begin_pass();
        if noted_late {
            ledger.note_cminflt(1, 7);
        }
        ledger.mark_exited(2, Some(1));
        ledger.accept(1, bytes(110));
        ledger.accept(0, bytes(1));
        ledger.resolve_exits(|_| Some(waited_for(7)), |slot| slot.checked_sub(1), |_| ());
        assert_eq!(total(&ledger), in_the_end, "{noted_late}");
    }
}

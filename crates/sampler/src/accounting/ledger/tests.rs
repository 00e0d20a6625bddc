//! The ledger itself, without a kernel: events between two reads of a cycle.

use crate::accounting::ledger::{Ledger, ReadParent};
use crate::cpu_time::CpuTime;
use crate::fault_counts::FaultCounts;
use crate::ids::Slot;
use crate::image::ImageIndex;
use crate::io_counters::IoCounters;
use crate::source::{ParentStat, ready};

/// Parents by slot.
struct Parents<F>(F);

impl<F: Fn(Slot) -> Option<ParentStat>> ReadParent for Parents<F> {
    async fn read_parent(&mut self, slot: Slot) -> Option<ParentStat> {
        self.0(slot)
    }
}

fn bytes(n: i64) -> IoCounters {
    IoCounters { rchar: n, wchar: n, ..IoCounters::ZERO }
}

fn total(ledger: &Ledger<IoCounters>) -> i64 {
    let mut totals = [None];
    ledger.totals(&mut totals);
    totals[0].unwrap_or_default().rchar
}

/// Accounts 0, 1, 2: grandparent, parent, child, all of one image, read once.
fn three_generations() -> Ledger<IoCounters> {
    let mut ledger = Ledger::default();
    for (slot, n) in [(2, 100), (1, 10), (0, 1)] {
        ledger.open(slot);
        ledger.join_with_history(slot, ImageIndex(0));
        ledger.accept(slot, bytes(n));
    }
    settle(&mut ledger);
    ledger
}

fn waited_for(cminflt: u64) -> ParentStat {
    let (faults, children) = (FaultCounts::ZERO, CpuTime::ZERO);
    ParentStat { cminflt, faults, child_faults: faults, children, is_zombie: false }
}

fn settle(ledger: &mut Ledger<IoCounters>) {
    ready(ledger.resolve_exits(Parents(|_| None), |slot| slot.checked_sub(1), |_| ()));
}

/// The process exited between the reading of its parent and the end of the cycle: it was taken
/// for lost, and counted again with the next reading of its parent.
#[test]
fn exit_after_parent_read_is_resolved_next_pass() {
    let mut ledger = three_generations();
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

/// The last reading of the parent contained the child already, and then the grandparent
/// inherited both, or no process did.
#[test]
fn exited_parent_had_inherited_the_child() {
    for absorbed in [true, false] {
        let mut ledger = three_generations();
        ledger.accept(1, bytes(110));
        ledger.accept(0, bytes(if absorbed { 111 } else { 1 }));
        ledger.mark_exited(2, Some(1));
        ledger.mark_exited(1, Some(0));
        settle(&mut ledger);
        assert_eq!(total(&ledger), 111);
    }
}

#[test]
fn child_and_parent_exit_unread() {
    let mut ledger = three_generations();
    ledger.mark_exited(2, Some(1));
    ledger.mark_exited(1, Some(0));
    ledger.accept(0, bytes(111));
    settle(&mut ledger);
    assert_eq!(total(&ledger), 111);
}

#[test]
fn discarded_reading_decides_nothing() {
    let mut ledger = three_generations();
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

/// Both are new: the first reading of the parent contains the child already.
#[test]
fn first_reading_may_contain_a_child() {
    let mut ledger = Ledger::default();
    for slot in [0, 1] {
        ledger.open(slot);
        ledger.join_with_history(slot, ImageIndex(0));
    }
    ledger.accept(1, bytes(100));
    ledger.mark_exited(1, Some(0));
    ledger.accept(0, bytes(110));
    settle(&mut ledger);
    assert_eq!(total(&ledger), 110);
}

/// One that is the seventh of the child's counters too: the bytes that it truncated were taken
/// for a number that may fall, and so for no evidence.
#[test]
fn any_smaller_counter_rules_out_absorption() {
    let all = |n| IoCounters {
        rchar: n,
        wchar: n,
        syscr: n,
        syscw: n,
        read_bytes: n,
        write_bytes: n,
        cancelled_write_bytes: n,
    };
    let smaller: [fn(&mut IoCounters) -> &mut i64; 7] = [
        |io| &mut io.rchar,
        |io| &mut io.wchar,
        |io| &mut io.syscr,
        |io| &mut io.syscw,
        |io| &mut io.read_bytes,
        |io| &mut io.write_bytes,
        |io| &mut io.cancelled_write_bytes,
    ];
    for counter in smaller {
        let mut ledger = Ledger::default();
        for (slot, n) in [(1, 100), (0, 10)] {
            ledger.open(slot);
            ledger.join_with_history(slot, ImageIndex(0));
            ledger.accept(slot, all(n));
        }
        settle(&mut ledger);
        ledger.mark_exited(1, Some(0));
        let mut grown = all(1000);
        *counter(&mut grown) = 109;
        ledger.accept(0, grown);
        settle(&mut ledger);
        let mut totals = [None];
        ledger.totals(&mut totals);
        let mut expected = all(1100);
        *counter(&mut expected) = 209;
        assert_eq!(totals[0], Some(expected));
    }
}

/// A process that is no longer read carries more than its last reading shows. The grandparent
/// that ignored it was charged with all of that, and its image fell.
#[test]
fn charge_never_exceeds_growth() {
    for (waited, in_the_end) in [(Some(7), 141), (None, 111)] {
        let mut ledger = three_generations();
        ledger.note_cminflt(0, 7);
        ledger.leave(1, ImageIndex(0));
        ledger.mark_exited(2, Some(1));
        ledger.accept(0, bytes(1));
        settle(&mut ledger);
        assert_eq!(total(&ledger), 111);
        ledger.mark_exited(1, Some(0));
        ledger.accept(0, bytes(31));
        let parent = |slot| waited.filter(|_| slot == 0).map(waited_for);
        ready(ledger.resolve_exits(Parents(parent), |slot| slot.checked_sub(1), |_| ()));
        assert_eq!(total(&ledger), in_the_end, "{waited:?}");
    }
}

/// A process of another image has the child, and an ancestor further up that could not be read
/// might have it. Until that could be read, the growth of the first was forgotten, and the
/// child counted twice when the ancestor inherited it from there.
#[test]
fn nearer_inheritor_is_kept_while_pending() {
    let mut ledger = Ledger::default();
    // Accounts 0 to 3, each the parent of the next.
    for (slot, image, n) in [(3, 0, 100), (2, 0, 0), (1, 1, 10), (0, 0, 1)] {
        ledger.open(slot);
        ledger.join_with_history(slot, ImageIndex(image));
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

/// A `cminflt` that was read after the child was last seen shows nothing about it.
#[test]
fn cminflt_must_predate_the_exit() {
    for (noted_late, in_the_end) in [(false, 211), (true, 111)] {
        let mut ledger = three_generations();
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
        ready(ledger.resolve_exits(
            Parents(|_| Some(waited_for(7))),
            |slot| slot.checked_sub(1),
            |_| (),
        ));
        assert_eq!(total(&ledger), in_the_end, "{noted_late}");
    }
}

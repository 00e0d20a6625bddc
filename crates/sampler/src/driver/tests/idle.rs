//! Processes whose CPU clock does not move, over the model kernel.

use super::kernel::{Action, INIT, Id, Limits};
use super::model::Model;
use super::table::{check, check_all};
use super::world::Abilities;
use crate::state::schedule::IDLE_READ_INTERVAL;

/// More cycles than a process is recent.
const FIRST_CYCLES: usize = 20;

fn model(cpu_clock: bool) -> Model {
    let (handles, partial_listing, late_clock) = (true, true, false);
    let abilities = Abilities { handles, cpu_clock, partial_listing, tick: 0, late_clock };
    Model::new(Limits::default(), abilities, false, Vec::new())
}

fn fork(model: &mut Model, parent: Id) -> Id {
    let (images, ignores, subreaper, reuses_pid) = (1, false, false, false);
    model.world.kernel.perform(&Action::Fork { parent, images, ignores, subreaper, reuses_pid });
    model.world.kernel.processes.len() - 1
}

fn cycles(model: &mut Model, count: usize) {
    (0..count).for_each(|_| model.cycle().unwrap());
}

/// How often `io`, and the memory, of each of these processes was read in a number of cycles.
fn reads(model: &mut Model, ids: &[Id], count: usize) -> Vec<(u32, u32)> {
    model.world.reads_of.clear();
    cycles(model, count);
    let reads = ids.iter().map(|id| model.world.reads_of.get(id).copied().unwrap_or_default());
    reads.collect()
}

#[test]
fn idle_process_is_read_in_turn() {
    let interval = IDLE_READ_INTERVAL as usize;
    let mut model = model(true);
    let ids: Vec<Id> = (0..2 * interval).map(|_| fork(&mut model, INIT)).collect();
    cycles(&mut model, FIRST_CYCLES);
    assert_eq!(reads(&mut model, &ids, 3 * interval), vec![(3, 3); ids.len()]);
    // The same number in each cycle.
    for _ in 0..interval {
        let read = reads(&mut model, &ids, 1).iter().filter(|reads| **reads == (1, 1)).count();
        assert_eq!(read, ids.len() / interval);
    }
    // One that runs is read in each cycle.
    for _ in 0..interval {
        model.world.kernel.perform(&Action::Write { id: ids[3], amounts: [1; 7] });
        assert_eq!(reads(&mut model, &ids[3..4], 1), [(1, 1)]);
    }
}

#[test]
fn every_process_is_read_without_clock() {
    let mut model = model(false);
    let ids = [fork(&mut model, INIT), fork(&mut model, INIT)];
    cycles(&mut model, FIRST_CYCLES);
    assert_eq!(reads(&mut model, &ids, 10), [(10, 10); 2]);
}

/// It may have reaped the child since the last tick, or the child was not its own.
#[test]
fn idle_parent_of_exited_process_is_read() {
    let mut model = model(true);
    let parent = fork(&mut model, INIT);
    let child = fork(&mut model, parent);
    let other = fork(&mut model, INIT);
    cycles(&mut model, FIRST_CYCLES);
    for _ in 0..IDLE_READ_INTERVAL {
        if reads(&mut model, &[parent, other], 1) == [(0, 0); 2] {
            break;
        }
    }
    // It ignores SIGCHLD, so it does not run, and its counters stay the same.
    model.world.kernel.perform(&Action::Ignore { id: parent, ignores: true });
    model.world.kernel.perform(&Action::Exit { id: child });
    let [(of_parent, _), (of_other, _)] = reads(&mut model, &[parent, other], 1)[..] else {
        panic!("two processes");
    };
    assert!(of_parent >= 1 && of_other <= 1, "{of_parent} {of_other}");
}

#[test]
fn idle_process_counts_what_it_does_next() {
    check_all(
        (10, 0),
        "fork(1,2) fork(2,3) write(2,10) write(3,100) cycle*1$i => 110
         write(2,1) cycle => 111
         write(3,1) cycle => 112",
    );
    check_all(
        (10, 0),
        "fork(1,2) fork(2,3) write(2,10) write(3,100) cycle*1$i => 110
         write(3,5) exit(3) cycle*2 => 115
         wait(2) cycle*10 => 115",
    );
}

/// Whatever it did before belongs to its old image, though it was not read since.
#[test]
fn idle_process_moves_to_another_image() {
    check(
        "fork(1,2) fork(2,3) write(3,100) cycle*12 => 100
         exec(3,b) cycle => a:100,b:0
         write(3,7) cycle*12 => a:100,b:7
         exec(3,ab) cycle*12 => a:100,b:7
         write(3,1) cycle => a:101,b:8",
    );
}

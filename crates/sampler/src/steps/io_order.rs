//! The order in which the io of related processes is read, which keeps the
//! ledger's invariant: a reading that is accepted holds nothing of a process
//! that is not known to be gone.

use crate::accounting::ledger::Slot;
use crate::state::process_tree::{ProcessTree, TreeNode};

/// What is done with one process while the families are gone through.
pub(crate) trait IoVisitor {
    /// Reads its io into the ledger, or notes that it has gone. Tells whether it
    /// is another than the last one: only then can it hold somebody's who was
    /// not in that.
    fn read(&mut self, slot: Slot) -> bool;
    /// Looks whether it is still there, and notes it if it has gone.
    fn check_alive(&mut self, slot: Slot);
    /// Whether it was noted that it has gone.
    fn has_exited(&self, slot: Slot) -> bool;
    /// Takes its reading back.
    fn discard_read(&mut self, slot: Slot);
}

/// So often is a process read at most: a second reading, when a child went
/// meanwhile, is after that one's end; a third when another did.
const MAX_READS: usize = 3;

/// Reads everyone who is wanted, children before parents, and checks after each
/// that its children are still there; if it has grown, all its descendants: one
/// whose parent has ended may have been adopted by any ancestor. If one of those
/// has gone, its parent and all above it are read again, so that each reading is
/// from after its end.
pub(crate) fn read<H: IoVisitor>(
    forest: &ProcessTree,
    house: &mut H,
    is_wanted: impl Fn(&H, Slot) -> bool,
) {
    let mut place = 0;
    // Each way back is for another process that has gone, so they come to an end.
    while let Some(family) = forest.io_order.get(place) {
        let back = match is_wanted(house, family.slot) {
            true => read_one(forest, house, place, family),
            false => None,
        };
        place = back.unwrap_or(place + 1);
    }
}

/// Reads one, and gives the place of the first below it that is to be read again.
fn read_one(
    forest: &ProcessTree,
    house: &mut impl IoVisitor,
    place: usize,
    family: &TreeNode,
) -> Option<usize> {
    let head = family.slot;
    let mut has_grown = house.read(head);
    let mut is_settled = false;
    for _ in 0..MAX_READS {
        let mut lost = false;
        if has_grown {
            let mut back = None;
            for below in family.first..place {
                let slot = forest.io_order.get(below).map_or(head, |below| below.slot);
                if descendant_exited(house, slot) {
                    let parent = forest.parent_index(below).filter(|&parent| parent < place);
                    back = back.into_iter().chain(parent).min();
                    lost = true;
                }
            }
            if back.is_some() {
                return back;
            }
        } else {
            for child in forest.children(family) {
                lost |= descendant_exited(house, child);
            }
        }
        if !lost {
            is_settled = true;
            break;
        }
        has_grown |= house.read(head);
    }
    if !is_settled && !house.has_exited(head) {
        house.discard_read(head);
    }
    None
}

/// Whether one that was there has gone.
fn descendant_exited(house: &mut impl IoVisitor, slot: Slot) -> bool {
    if house.has_exited(slot) {
        return false;
    }
    house.check_alive(slot);
    house.has_exited(slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::process_table::{ProcessEntry, ProcessTable};
    use crate::state::tracked::TrackedProcesses;

    /// By slot: who is whose child. Processes can vanish at any moment.
    const PARENTS: [Option<usize>; 5] = [None, Some(0), Some(1), Some(2), Some(1)];

    #[derive(Default)]
    struct Scene {
        now: u32,
        /// When each vanishes.
        ends: [Option<u32>; 5],
        noted: [bool; 5],
        /// When the reading that stands was made.
        read: [Option<u32>; 5],
    }

    impl Scene {
        fn is_there(&mut self, slot: Slot) -> bool {
            self.now += 1;
            let there = self.ends[slot as usize].is_none_or(|end| end > self.now);
            self.noted[slot as usize] |= !there;
            there
        }
    }

    impl IoVisitor for Scene {
        fn read(&mut self, slot: Slot) -> bool {
            let is_read = !self.has_exited(slot) && self.is_there(slot);
            if is_read {
                self.read[slot as usize] = Some(self.now);
            }
            is_read
        }

        fn check_alive(&mut self, slot: Slot) {
            self.is_there(slot);
        }

        fn has_exited(&self, slot: Slot) -> bool {
            self.noted[slot as usize]
        }

        fn discard_read(&mut self, slot: Slot) {
            self.read[slot as usize] = None;
        }
    }

    fn forest() -> ProcessTree {
        let (mut census, mut roll, mut forest) =
            (ProcessTable::default(), TrackedProcesses::default(), ProcessTree::default());
        for (pid, parent) in (1..).zip(PARENTS) {
            let mut seen = ProcessEntry::new(pid, u64::from(pid), 1);
            seen.ppid = parent.map_or(0, |parent| parent as u32 + 1);
            seen.slot = Some(roll.add(seen.listed(), 0));
            census.all.push(seen);
        }
        forest.rebuild(&mut census, &mut roll, |_, _| unreachable!("all are tracked"));
        forest
    }

    /// Whoever vanished before a reading that stands, and could be in it
    /// because all between had vanished too, is known to be gone.
    fn check(forest: &ProcessTree, ends: [Option<u32>; 5]) {
        let mut scene = Scene { ends, ..Scene::default() };
        read(forest, &mut scene, |_, _| true);
        for slot in 0..PARENTS.len() {
            // The last end on the way up: from then on it can be in who is next.
            let mut passed_on = Some(0);
            let mut at = slot;
            while let Some(above) = PARENTS[at] {
                passed_on = passed_on.zip(ends[at]).map(|(earlier, end)| end.max(earlier));
                let in_it = passed_on.zip(scene.read[above]).is_some_and(|(on, read)| on <= read);
                assert!(!in_it || scene.noted[slot], "{slot} is in {above}: {ends:?}");
                at = above;
            }
        }
    }

    #[test]
    fn io_never_includes_an_undetected_exit() {
        let forest = forest();
        for one in 0..28 {
            for two in 0..28 {
                for three in 0..28 {
                    let ends = [Some(one), Some(two), Some(three)];
                    check(&forest, [None, ends[0], ends[1], ends[2], None]);
                    check(&forest, [None, None, ends[0], ends[1], ends[2]]);
                }
            }
        }
    }

    #[test]
    fn a_reading_is_taken_back_when_children_go_on_vanishing() {
        let (mut census, mut roll, mut forest) =
            (ProcessTable::default(), TrackedProcesses::default(), ProcessTree::default());
        for pid in 1..=5 {
            let mut seen = ProcessEntry::new(pid, u64::from(pid), 1);
            seen.ppid = u32::from(pid > 1);
            seen.slot = Some(roll.add(seen.listed(), 0));
            census.all.push(seen);
        }
        forest.rebuild(&mut census, &mut roll, |_, _| unreachable!("all are tracked"));
        // Read: 1 to 4, parent 5; looks: 6 to 9, again 10, 11 to 13, 14, 15, 16.
        let mut scene =
            Scene { ends: [None, Some(6), Some(11), Some(15), None], ..Scene::default() };
        read(&forest, &mut scene, |_, _| true);
        assert_eq!(scene.noted, [false, true, true, true, false]);
        assert_eq!(scene.read[0], None);
        let mut scene = Scene { ends: [None, Some(6), None, None, None], ..Scene::default() };
        read(&forest, &mut scene, |_, _| true);
        assert_eq!(scene.read[0], Some(10));
    }
}

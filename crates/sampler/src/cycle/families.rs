//! The order in which the io of related processes is read, which keeps the
//! ledger's invariant: a reading that is accepted holds nothing of a process
//! that is not known to be gone.

use crate::keep::forest::Forest;
use crate::reckon::ledger::Slot;

/// What is done with one process while the families are gone through.
pub(crate) trait Household {
    /// Reads its io into the ledger, or notes that it has gone.
    fn read(&mut self, slot: Slot);
    /// Looks whether it is still there, and notes it if it has gone.
    fn look(&mut self, slot: Slot);
    /// Whether it was noted that it has gone.
    fn is_gone(&self, slot: Slot) -> bool;
    /// Takes its reading back.
    fn withdraw(&mut self, slot: Slot);
}

/// So often is a process read at most: a second reading, when a child went
/// meanwhile, is after that one's end; a third when another did.
const READINGS: usize = 3;

/// Reads everyone who is wanted, children before parents, and checks after each
/// that its children are still there.
///
/// The children of one that has gone may have gone through it into an ancestor,
/// or have been adopted by one: those are checked with each ancestor.
pub(crate) fn read<H: Household>(
    forest: &Forest,
    house: &mut H,
    is_wanted: impl Fn(&H, Slot) -> bool,
) {
    // With the place of the family in which their parent's end was noted.
    let mut orphans: Vec<(usize, Slot)> = Vec::new();
    for (place, family) in forest.families.iter().enumerate() {
        let head = family.slot;
        if !is_wanted(house, head) {
            continue;
        }
        house.read(head);
        let mut settled = false;
        for _ in 0..READINGS {
            let mut lost = false;
            for child in forest.children(family) {
                if is_lost(house, child) {
                    lost = true;
                    orphans.extend(forest.children_of(child).map(|orphan| (place, orphan)));
                }
            }
            let mut next = 0;
            while let Some(&(noted, orphan)) = orphans.get(next) {
                if noted >= family.first && is_lost(house, orphan) {
                    lost = true;
                    orphans.extend(forest.children_of(orphan).map(|orphan| (place, orphan)));
                }
                next += 1;
            }
            if !lost {
                settled = true;
                break;
            }
            house.read(head);
        }
        if house.is_gone(head) {
            orphans.extend(forest.children(family).map(|orphan| (place, orphan)));
        } else if !settled {
            house.withdraw(head);
        }
    }
}

/// Whether one that was there has gone.
fn is_lost(house: &mut impl Household, slot: Slot) -> bool {
    if house.is_gone(slot) {
        return false;
    }
    house.look(slot);
    house.is_gone(slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keep::seen::{Census, Seen};
    use crate::keep::tracked::Roll;

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

    impl Household for Scene {
        fn read(&mut self, slot: Slot) {
            if !self.is_gone(slot) && self.is_there(slot) {
                self.read[slot as usize] = Some(self.now);
            }
        }

        fn look(&mut self, slot: Slot) {
            self.is_there(slot);
        }

        fn is_gone(&self, slot: Slot) -> bool {
            self.noted[slot as usize]
        }

        fn withdraw(&mut self, slot: Slot) {
            self.read[slot as usize] = None;
        }
    }

    fn forest() -> Forest {
        let (mut census, mut roll, mut forest) =
            (Census::default(), Roll::default(), Forest::default());
        for (pid, parent) in (1..).zip(PARENTS) {
            let mut seen = Seen::new(pid, u64::from(pid), 1);
            seen.ppid = parent.map_or(0, |parent| parent as u32 + 1);
            seen.slot = Some(roll.add(seen.listed(), 0));
            census.all.push(seen);
        }
        forest.grow(&mut census, &mut roll, |_, _| unreachable!("all are tracked"));
        forest
    }

    /// Whoever vanished before a reading that stands, and could be in it
    /// because all between had vanished too, is known to be gone.
    fn check(forest: &Forest, ends: [Option<u32>; 5]) {
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
    fn no_reading_holds_one_that_is_not_known_to_be_gone() {
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
            (Census::default(), Roll::default(), Forest::default());
        for pid in 1..=5 {
            let mut seen = Seen::new(pid, u64::from(pid), 1);
            seen.ppid = u32::from(pid > 1);
            seen.slot = Some(roll.add(seen.listed(), 0));
            census.all.push(seen);
        }
        forest.grow(&mut census, &mut roll, |_, _| unreachable!("all are tracked"));
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

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

/// Reads everyone, children before parents, and checks after each parent that
/// its children are still there.
///
/// The children of one that has gone may have gone through it into an ancestor,
/// or have been adopted by one: those are checked with each ancestor.
pub(crate) fn read(forest: &Forest, house: &mut impl Household) {
    // With the place of the family in which their parent's end was noted.
    let mut orphans: Vec<(usize, Slot)> = Vec::new();
    for (place, family) in forest.families.iter().enumerate() {
        let head = family.slot;
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

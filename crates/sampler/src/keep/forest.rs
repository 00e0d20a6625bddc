//! The family trees of the tracked processes, and the order in which their io
//! is read.
//!
//! A child's counters land in its parent's when it is waited for, so children
//! are read before parents, and after each parent it is checked that the
//! children are still there; the nearer together, the rarer a child ends in
//! between.

use std::ops::Range;

use super::seen::{Census, Seen};
use super::tracked::Roll;
use crate::memory::give_back;
use crate::reckon::ledger::Slot;

/// A process, to be read after all its descendants, and its children.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) slot: Slot,
    children: Range<usize>,
    /// Where its descendants begin among the families; they end before itself.
    pub(crate) first: usize,
}

impl Family {
    pub(crate) fn has_children(&self) -> bool {
        !self.children.is_empty()
    }
}

/// All tracked processes in the order of reading.
#[derive(Debug, Default)]
pub(crate) struct Forest {
    pub(crate) families: Vec<Family>,
    /// (parent, child), sorted.
    links: Vec<(Slot, Slot)>,
    /// For walking without recursion: a chain of parents can be long.
    walk: Vec<(Slot, Range<usize>, usize)>,
}

/// More generations than that between two tracked processes are not followed.
const GENERATIONS: usize = 64;

impl Forest {
    /// The children of a family's head.
    pub(crate) fn children(&self, family: &Family) -> impl Iterator<Item = Slot> {
        self.linked(family.children.clone())
    }

    /// The children of any tracked process.
    pub(crate) fn children_of(&self, parent: Slot) -> impl Iterator<Item = Slot> {
        self.linked(self.links_of(parent))
    }

    fn linked(&self, range: Range<usize>) -> impl Iterator<Item = Slot> {
        let links = self.links.get(range).unwrap_or_default();
        links.iter().map(|&(_, child)| child)
    }

    /// Links the tracked processes to their parents and sets the order anew.
    ///
    /// `track` is called for each untracked process that stands between a
    /// tracked one and a tracked ancestor, and gives its slot: the child's
    /// counters can pass through it.
    pub(crate) fn grow(
        &mut self,
        census: &mut Census,
        roll: &mut Roll,
        mut track: impl FnMut(&Seen, &mut Roll) -> Slot,
    ) {
        let mut between = Vec::new();
        for slot in 0..roll.end() {
            let Some(pid) = roll.get(slot).map(|tracked| tracked.who.pid) else { continue };
            between.clear();
            if is_below_another(census, pid, &mut between) {
                for &pid in &between {
                    if let Some(seen) = census.find_mut(pid) {
                        seen.slot = Some(track(seen, roll));
                    }
                }
            }
        }
        self.links.clear();
        for slot in 0..roll.end() {
            let Some(tracked) = roll.get_mut(slot) else { continue };
            let seen = census.find(tracked.who.pid).filter(|seen| seen.slot == Some(slot));
            tracked.parent = seen.and_then(|seen| census.find(seen.ppid)?.slot);
            if let Some(parent) = tracked.parent {
                self.links.push((parent, slot));
            }
        }
        self.links.sort_unstable();
        self.families.clear();
        for (slot, _) in roll.iter().filter(|(_, tracked)| tracked.parent.is_none()) {
            self.walk.push((slot, self.links_of(slot), self.families.len()));
            while let Some((slot, unwalked, first)) = self.walk.last_mut() {
                if let Some(link) = unwalked.next() {
                    let child = self.links[link].1;
                    let links = self.links_of(child);
                    self.walk.push((child, links, self.families.len()));
                } else {
                    let (slot, first) = (*slot, *first);
                    let children = self.links_of(slot);
                    self.families.push(Family { slot, children, first });
                    self.walk.pop();
                }
            }
        }
        give_back(&mut self.families);
        give_back(&mut self.links);
        give_back(&mut self.walk);
    }

    fn links_of(&self, parent: Slot) -> Range<usize> {
        let start = self.links.partition_point(|link| link.0 < parent);
        let end = self.links.partition_point(|link| link.0 <= parent);
        start..end
    }
}

/// Whether an ancestor is tracked; `between` gets the untracked ones on the way.
fn is_below_another(census: &Census, pid: u32, between: &mut Vec<u32>) -> bool {
    let mut at = census.find(pid);
    for _ in 0..GENERATIONS {
        let Some(parent) = at.and_then(|seen| census.find(seen.ppid)) else { return false };
        if parent.slot.is_some() {
            return true;
        }
        between.push(parent.pid);
        at = Some(parent);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (pid, ppid, tracked)
    fn forest(processes: &[(u32, u32, bool)]) -> (Census, Roll, Forest) {
        let (mut census, mut roll) = (Census::default(), Roll::default());
        for &(pid, ppid, tracked) in processes {
            let mut seen = Seen::new(pid, u64::from(pid), 1);
            seen.ppid = ppid;
            seen.slot = tracked.then(|| roll.add(seen.listed(), 0));
            census.all.push(seen);
        }
        let mut forest = Forest::default();
        forest.grow(&mut census, &mut roll, |seen, roll| roll.add(seen.listed(), 0));
        (census, roll, forest)
    }

    fn order(roll: &Roll, forest: &Forest) -> Vec<(u32, Vec<u32>)> {
        let pid = |slot| roll.get(slot).unwrap().who.pid;
        let families = forest.families.iter();
        families.map(|f| (pid(f.slot), forest.children(f).map(pid).collect())).collect()
    }

    #[test]
    fn children_come_before_parents_and_next_to_them() {
        let (_, roll, forest) = forest(&[
            (1, 0, false),
            (10, 1, true),
            (11, 10, true),
            (12, 10, true),
            (13, 12, true),
            (20, 1, true),
        ]);
        assert_eq!(
            order(&roll, &forest),
            [(11, vec![]), (13, vec![]), (12, vec![13]), (10, vec![11, 12]), (20, vec![])]
        );
    }

    #[test]
    fn who_stands_between_is_tracked_too() {
        let (census, roll, forest) =
            forest(&[(1, 0, false), (5, 1, true), (6, 5, false), (7, 6, false), (8, 7, true)]);
        assert_eq!(order(&roll, &forest), [(8, vec![]), (7, vec![8]), (6, vec![7]), (5, vec![6])]);
        assert!(census.find(1).unwrap().slot.is_none());
    }
}

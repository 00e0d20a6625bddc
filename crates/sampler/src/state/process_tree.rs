//! The family trees of the tracked processes, and the order in which their io
//! is read.
//!
//! A child's counters land in its parent's when it is waited for, so children
//! are read before parents, and after each parent it is checked that the
//! children are still there; the nearer together, the rarer a child ends in
//! between.

use std::ops::Range;

use super::process_table::{ProcessEntry, ProcessTable};
use super::tracked::{Tracked, TrackedProcesses};
use crate::accounting::ledger::Slot;
use crate::shrink::shrink_vec;

/// A process, to be read after all its descendants, and its children.
#[derive(Clone, Debug)]
pub(crate) struct TreeNode {
    pub(crate) slot: Slot,
    children: Range<usize>,
    /// Where its descendants begin among the families; they end before itself.
    pub(crate) first: usize,
    /// It or an ancestor of it is a member of an image: what comes to it from its
    /// children can come to that.
    pub(crate) has_member_ancestor: bool,
}

impl TreeNode {
    pub(crate) fn has_children(&self) -> bool {
        !self.children.is_empty()
    }
}

/// All tracked processes in the order of reading.
#[derive(Debug, Default)]
pub(crate) struct ProcessTree {
    pub(crate) io_order: Vec<TreeNode>,
    /// (parent, child), sorted.
    links: Vec<(Slot, Slot)>,
    /// For walking without recursion: a chain of parents can be long.
    dfs_stack: Vec<(TreeNode, Range<usize>)>,
}

impl ProcessTree {
    /// The children of a family's head.
    pub(crate) fn children(&self, family: &TreeNode) -> impl Iterator<Item = Slot> {
        let links = self.links.get(family.children.clone()).unwrap_or_default();
        links.iter().map(|&(_, child)| child)
    }

    /// The place of the parent of the process in this place.
    pub(crate) fn parent_index(&self, place: usize) -> Option<usize> {
        (place + 1..self.io_order.len())
            .find(|&above| self.io_order.get(above).is_some_and(|above| above.first <= place))
    }

    /// Links the tracked processes to their parents and sets the order anew.
    ///
    /// `track` is called for each untracked ancestor of a tracked process, and
    /// gives its slot: the child's counters can pass through it, into an ancestor
    /// that is tracked or will be.
    pub(crate) fn rebuild(
        &mut self,
        census: &mut ProcessTable,
        roll: &mut TrackedProcesses,
        mut track: impl FnMut(&ProcessEntry, &mut TrackedProcesses) -> Slot,
    ) {
        for slot in 0..roll.end() {
            let who = roll.get(slot).and_then(|tracked| census.find(tracked.key.pid));
            let who = who.filter(|seen| seen.slot == Some(slot));
            let mut ppid = who.map_or(0, |seen| seen.ppid);
            while let Some(above) = census.find_mut(ppid).filter(|seen| seen.slot.is_none()) {
                above.slot = Some(track(above, roll));
                ppid = above.ppid;
            }
        }
        self.links.clear();
        for slot in 0..roll.end() {
            let Some(tracked) = roll.get_mut(slot) else { continue };
            let seen = census.find(tracked.key.pid).filter(|seen| seen.slot == Some(slot));
            tracked.parent = seen.and_then(|seen| census.find(seen.ppid)?.slot);
            if let Some(parent) = tracked.parent {
                self.links.push((parent, slot));
            }
        }
        self.links.sort_unstable();
        self.io_order.clear();
        for (slot, _) in roll.iter().filter(|(_, tracked)| tracked.parent.is_none()) {
            self.push_node(slot, false, roll);
            while let Some((family, unwalked)) = self.dfs_stack.last_mut() {
                if let Some(link) = unwalked.next() {
                    let matters = family.has_member_ancestor;
                    self.push_node(self.links[link].1, matters, roll);
                } else if let Some((family, _)) = self.dfs_stack.pop() {
                    self.io_order.push(family);
                }
            }
        }
        shrink_vec(&mut self.io_order);
        shrink_vec(&mut self.links);
        shrink_vec(&mut self.dfs_stack);
    }

    /// Begins to walk through a process's descendants.
    fn push_node(&mut self, slot: Slot, parent_matters: bool, roll: &TrackedProcesses) {
        let children = self.links_of(slot);
        let matters = parent_matters || roll.get(slot).is_some_and(Tracked::is_member);
        let first = self.io_order.len();
        self.dfs_stack.push((
            TreeNode { slot, children: children.clone(), first, has_member_ancestor: matters },
            children,
        ));
    }

    fn links_of(&self, parent: Slot) -> Range<usize> {
        let start = self.links.partition_point(|link| link.0 < parent);
        let end = self.links.partition_point(|link| link.0 <= parent);
        start..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (pid, ppid, tracked)
    fn process_tree(
        processes: &[(u32, u32, bool)],
    ) -> (ProcessTable, TrackedProcesses, ProcessTree) {
        let (mut census, mut roll) = (ProcessTable::default(), TrackedProcesses::default());
        for &(pid, ppid, tracked) in processes {
            let mut seen = ProcessEntry::new(pid, u64::from(pid), 1);
            seen.ppid = ppid;
            seen.slot = tracked.then(|| roll.add(seen.listed(), 0));
            census.all.push(seen);
        }
        let mut forest = ProcessTree::default();
        forest.rebuild(&mut census, &mut roll, |seen, roll| roll.add(seen.listed(), 0));
        (census, roll, forest)
    }

    fn order(roll: &TrackedProcesses, forest: &ProcessTree) -> Vec<(u32, Vec<u32>)> {
        let pid = |slot| roll.get(slot).unwrap().key.pid;
        let families = forest.io_order.iter();
        families.map(|f| (pid(f.slot), forest.children(f).map(pid).collect())).collect()
    }

    #[test]
    fn children_come_before_parents_and_next_to_them() {
        let (_, roll, forest) = process_tree(&[
            (1, 0, false),
            (10, 1, true),
            (11, 10, true),
            (12, 10, true),
            (13, 12, true),
            (20, 1, true),
        ]);
        assert_eq!(
            order(&roll, &forest),
            [
                (11, vec![]),
                (13, vec![]),
                (12, vec![13]),
                (10, vec![11, 12]),
                (20, vec![]),
                (1, vec![10, 20]),
            ]
        );
    }

    #[test]
    fn untracked_ancestors_are_tracked() {
        let (census, roll, forest) = process_tree(&[
            (1, 0, false),
            (5, 1, true),
            (6, 5, false),
            (7, 6, false),
            (8, 7, true),
            (9, 1, false),
        ]);
        assert_eq!(
            order(&roll, &forest),
            [(8, vec![]), (7, vec![8]), (6, vec![7]), (5, vec![6]), (1, vec![5])]
        );
        assert!(census.find(9).unwrap().slot.is_none());
    }
}

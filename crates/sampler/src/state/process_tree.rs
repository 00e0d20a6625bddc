//! The tree of the tracked processes, and the order in which their io is read.
//!
//! The counters of a child are added to its parent's when the parent waits for it. So
//! children are read before parents, and after each parent it is checked that the children
//! still exist; the closer these reads are, the less often a child exits in between.

use std::ops::Range;

use super::process_table::{ProcessEntry, ProcessTable};
use super::tracked::{Tracked, TrackedProcesses};
use crate::ids::Slot;
use crate::shrink::shrink_vec;
use crate::source::Handles;

/// A process, which is read after all its descendants, and its children.
#[derive(Clone, Debug)]
pub(crate) struct TreeNode {
    pub(crate) slot: Slot,
    children: Range<usize>,
    /// Where its descendants begin among the nodes; they end before itself.
    pub(crate) first: usize,
    /// The process or an ancestor of it belongs to an image, which can inherit from its
    /// children.
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
    pub(crate) nodes: Vec<TreeNode>,
    /// (parent, child), sorted.
    links: Vec<(Slot, Slot)>,
    /// For a traversal without recursion: a chain of parents can be long.
    dfs_stack: Vec<(TreeNode, Range<usize>)>,
}

impl ProcessTree {
    /// The children of a process.
    pub(crate) fn children(&self, node: &TreeNode) -> impl Iterator<Item = Slot> {
        let links = self.links.get(node.children.clone()).unwrap_or_default();
        links.iter().map(|&(_, child)| child)
    }

    /// The index of the parent of the node with this index.
    pub(crate) fn parent_index(&self, index: usize) -> Option<usize> {
        (index + 1..self.nodes.len())
            .find(|&above| self.nodes.get(above).is_some_and(|above| above.first <= index))
    }

    /// Links the tracked processes to their parents and sorts them.
    ///
    /// `track` is called for each untracked ancestor of a tracked process, and gives its
    /// slot: the counters of the child can pass through it into an ancestor that is tracked
    /// or will be.
    pub(crate) fn rebuild<H: Handles>(
        &mut self,
        processes: &mut ProcessTable,
        tracked: &mut TrackedProcesses<H>,
        mut track: impl FnMut(&ProcessEntry, &mut TrackedProcesses<H>) -> Slot,
    ) {
        // Those with a past below a member, which may inherit it.
        for at in 0..processes.entries.len() {
            let entry = processes.entries[at];
            if entry.has_past && entry.slot.is_none() && is_below_member(&entry, processes, tracked)
            {
                processes.entries[at].slot = Some(track(&entry, tracked));
            }
        }
        for slot in 0..tracked.end() {
            let entry = tracked.get(slot).and_then(|process| processes.find(process.key.pid));
            let entry = entry.filter(|entry| entry.slot == Some(slot));
            let mut ppid = entry.map_or(0, |entry| entry.ppid);
            while let Some(above) = processes.find_mut(ppid).filter(|entry| entry.slot.is_none()) {
                above.slot = Some(track(above, tracked));
                ppid = above.ppid;
            }
        }
        self.links.clear();
        for slot in 0..tracked.end() {
            let Some(process) = tracked.get_mut(slot) else { continue };
            let entry = processes.find(process.key.pid).filter(|entry| entry.slot == Some(slot));
            process.parent = entry.and_then(|entry| processes.find(entry.ppid)?.slot);
            if let Some(parent) = process.parent {
                self.links.push((parent, slot));
            }
        }
        self.links.sort_unstable();
        self.nodes.clear();
        for (slot, _) in tracked.iter().filter(|(_, process)| process.parent.is_none()) {
            self.push_node(slot, false, tracked);
            while let Some((node, unvisited)) = self.dfs_stack.last_mut() {
                if let Some(link) = unvisited.next() {
                    let has_member_ancestor = node.has_member_ancestor;
                    self.push_node(self.links[link].1, has_member_ancestor, tracked);
                } else if let Some((node, _)) = self.dfs_stack.pop() {
                    self.nodes.push(node);
                }
            }
        }
        shrink_vec(&mut self.nodes);
        shrink_vec(&mut self.links);
        shrink_vec(&mut self.dfs_stack);
    }

    /// Begins the traversal of the descendants of a process.
    fn push_node<H>(
        &mut self,
        slot: Slot,
        has_member_ancestor: bool,
        tracked: &TrackedProcesses<H>,
    ) {
        let children = self.links_of(slot);
        let is_member = tracked.get(slot).is_some_and(Tracked::is_member);
        let node = TreeNode {
            slot,
            children: children.clone(),
            first: self.nodes.len(),
            has_member_ancestor: has_member_ancestor || is_member,
        };
        self.dfs_stack.push((node, children));
    }

    fn links_of(&self, parent: Slot) -> Range<usize> {
        let start = self.links.partition_point(|link| link.0 < parent);
        let end = self.links.partition_point(|link| link.0 <= parent);
        start..end
    }
}

/// Whether an ancestor of a process belongs to an image.
fn is_below_member<H>(
    entry: &ProcessEntry,
    processes: &ProcessTable,
    tracked: &TrackedProcesses<H>,
) -> bool {
    let mut ppid = entry.ppid;
    // A cycle of parents is impossible; a stale one would end here.
    for _ in 0..processes.entries.len() {
        let Some(above) = processes.find(ppid) else { break };
        if above.slot.and_then(|slot| tracked.get(slot)).is_some_and(Tracked::is_member) {
            return true;
        }
        ppid = above.ppid;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    type Processes = TrackedProcesses<()>;

    /// (pid, ppid, tracked)
    fn tree(entries: &[(u32, u32, bool)]) -> (ProcessTable, Processes, ProcessTree) {
        let (mut processes, mut tracked) = (ProcessTable::default(), Processes::default());
        for &(pid, ppid, is_tracked) in entries {
            let mut entry = ProcessEntry::new(pid, u64::from(pid), 1);
            entry.ppid = ppid;
            entry.slot = is_tracked.then(|| tracked.add(entry.key(), 0));
            processes.entries.push(entry);
        }
        let mut tree = ProcessTree::default();
        tree.rebuild(&mut processes, &mut tracked, |entry, tracked| tracked.add(entry.key(), 0));
        (processes, tracked, tree)
    }

    fn order(tracked: &Processes, tree: &ProcessTree) -> Vec<(u32, Vec<u32>)> {
        let pid = |slot| tracked.get(slot).unwrap().key.pid;
        let nodes = tree.nodes.iter();
        nodes.map(|node| (pid(node.slot), tree.children(node).map(pid).collect())).collect()
    }

    #[test]
    fn children_precede_their_parent() {
        let (_, tracked, tree) = tree(&[
            (1, 0, false),
            (10, 1, true),
            (11, 10, true),
            (12, 10, true),
            (13, 12, true),
            (20, 1, true),
        ]);
        assert_eq!(
            order(&tracked, &tree),
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
        let (processes, tracked, tree) = tree(&[
            (1, 0, false),
            (5, 1, true),
            (6, 5, false),
            (7, 6, false),
            (8, 7, true),
            (9, 1, false),
        ]);
        assert_eq!(
            order(&tracked, &tree),
            [(8, vec![]), (7, vec![8]), (6, vec![7]), (5, vec![6]), (1, vec![5])]
        );
        assert!(processes.find(9).unwrap().slot.is_none());
    }
}

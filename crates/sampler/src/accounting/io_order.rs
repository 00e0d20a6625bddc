//! The order in which the io of related processes is read. It keeps the invariant of the
//! ledger: an accepted reading contains nothing of a process that is not known to have
//! exited.

use crate::ids::Slot;
use crate::state::process_tree::{ProcessTree, TreeNode};

/// The result of a read of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// It was not read, since it has not run: its last reading stands.
    Idle,
    /// The same as the last reading, or nothing.
    Same,
    /// Another reading than the last one: only this can contain a process that was not in that.
    Growth,
}

/// The steps of a pass over the tree for one process.
pub(super) trait IoVisitor {
    /// Whether this pass reads the process.
    fn is_selected(&self, slot: Slot) -> bool;
    /// Reads its io into the ledger, or notes that it has exited.
    async fn read(&mut self, slot: Slot) -> Shown;
    /// Checks whether it still exists, and notes it if it has exited.
    async fn check_alive(&mut self, slot: Slot);
    /// Whether its exit was noted.
    fn has_exited(&self, slot: Slot) -> bool;
    /// Discards its reading.
    fn discard_read(&mut self, slot: Slot);
}

/// A process is read at most this number of times: a second time if a child exited
/// meanwhile, so that the reading is from after that exit; a third time if another did.
const MAX_READS: usize = 3;

/// Reads all selected processes, children before parents, and checks after each that its
/// children still exist; if its counters have grown, all its descendants, since a process
/// whose parent has exited may have been adopted by any ancestor. If one of those has
/// exited, its parent and all above it are read again, so that each reading is from after
/// the exit.
pub(super) async fn read(tree: &ProcessTree, mut visitor: impl IoVisitor) {
    let mut index = 0;
    // Each step back is for another process that has exited, so they come to an end.
    while let Some(node) = tree.nodes.get(index) {
        let back = if visitor.is_selected(node.slot) {
            read_one(tree, &mut visitor, index, node).await
        } else {
            None
        };
        index = back.unwrap_or(index + 1);
    }
}

/// Reads one process, and gives the index of the first below it that has to be read again.
async fn read_one(
    tree: &ProcessTree,
    visitor: &mut impl IoVisitor,
    index: usize,
    node: &TreeNode,
) -> Option<usize> {
    let slot = node.slot;
    let shown = visitor.read(slot).await;
    if shown == Shown::Idle {
        return None;
    }
    let mut has_grown = shown == Shown::Growth;
    let mut is_final = false;
    for _ in 0..MAX_READS {
        let mut any_exited = false;
        if has_grown {
            let mut back = None;
            for below in node.first..index {
                let descendant = tree.nodes.get(below).map_or(slot, |below| below.slot);
                if descendant_exited(visitor, descendant).await {
                    let parent = tree.parent_index(below).filter(|&parent| parent < index);
                    back = back.into_iter().chain(parent).min();
                    any_exited = true;
                }
            }
            if back.is_some() {
                return back;
            }
        } else {
            for child in tree.children(node) {
                any_exited |= descendant_exited(visitor, child).await;
            }
        }
        if !any_exited {
            is_final = true;
            break;
        }
        has_grown |= visitor.read(slot).await == Shown::Growth;
    }
    if !is_final && !visitor.has_exited(slot) {
        visitor.discard_read(slot);
    }
    None
}

/// Whether a process that existed until now has exited.
async fn descendant_exited(visitor: &mut impl IoVisitor, slot: Slot) -> bool {
    if visitor.has_exited(slot) {
        return false;
    }
    visitor.check_alive(slot).await;
    visitor.has_exited(slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ready;
    use crate::state::process_table::{ProcessEntry, ProcessTable};
    use crate::state::tracked::TrackedProcesses;

    /// By slot: the parent of each process. Processes can exit at any moment.
    const PARENTS: [Option<usize>; 5] = [None, Some(0), Some(1), Some(2), Some(1)];

    #[derive(Default)]
    struct Scene {
        now: u32,
        /// When each exits.
        exits: [Option<u32>; 5],
        noted: [bool; 5],
        /// The time of the reading that was not discarded.
        read: [Option<u32>; 5],
    }

    impl Scene {
        fn exists(&mut self, slot: Slot) -> bool {
            self.now += 1;
            let exists = self.exits[slot as usize].is_none_or(|exit| exit > self.now);
            self.noted[slot as usize] |= !exists;
            exists
        }
    }

    impl IoVisitor for &mut Scene {
        fn is_selected(&self, _slot: Slot) -> bool {
            true
        }

        async fn read(&mut self, slot: Slot) -> Shown {
            if self.has_exited(slot) || !self.exists(slot) {
                return Shown::Same;
            }
            self.read[slot as usize] = Some(self.now);
            Shown::Growth
        }

        async fn check_alive(&mut self, slot: Slot) {
            self.exists(slot);
        }

        fn has_exited(&self, slot: Slot) -> bool {
            self.noted[slot as usize]
        }

        fn discard_read(&mut self, slot: Slot) {
            self.read[slot as usize] = None;
        }
    }

    /// A tree of processes that are all tracked, with pids from 1.
    fn tree(ppids: impl IntoIterator<Item = u32>) -> ProcessTree {
        let mut processes = ProcessTable::default();
        let mut tracked = TrackedProcesses::<()>::default();
        let mut tree = ProcessTree::default();
        for (pid, ppid) in (1..).zip(ppids) {
            let mut entry = ProcessEntry::new(pid, u64::from(pid), 1);
            entry.ppid = ppid;
            entry.slot = Some(tracked.add(entry.key(), 0));
            processes.entries.push(entry);
        }
        tree.rebuild(&mut processes, &mut tracked, |_, _| unreachable!("all are tracked"));
        tree
    }

    /// A process that exited before an accepted reading, and could be in it because all
    /// processes in between had exited too, is known to have exited.
    fn check(tree: &ProcessTree, exits: [Option<u32>; 5]) {
        let mut scene = Scene { exits, ..Scene::default() };
        ready(read(tree, &mut scene));
        for slot in 0..PARENTS.len() {
            // The last exit on the way up: from then on it can be in the next ancestor.
            let mut passed_on = Some(0);
            let mut at = slot;
            while let Some(above) = PARENTS[at] {
                passed_on = passed_on.zip(exits[at]).map(|(earlier, exit)| exit.max(earlier));
                let in_it = passed_on.zip(scene.read[above]).is_some_and(|(on, read)| on <= read);
                assert!(!in_it || scene.noted[slot], "{slot} is in {above}: {exits:?}");
                at = above;
            }
        }
    }

    #[test]
    fn io_never_includes_an_undetected_exit() {
        let tree = tree(PARENTS.map(|parent| parent.map_or(0, |parent| parent as u32 + 1)));
        for one in 0..28 {
            for two in 0..28 {
                for three in 0..28 {
                    let exits = [Some(one), Some(two), Some(three)];
                    check(&tree, [None, exits[0], exits[1], exits[2], None]);
                    check(&tree, [None, None, exits[0], exits[1], exits[2]]);
                }
            }
        }
    }

    #[test]
    fn reading_is_discarded_when_children_keep_exiting() {
        let tree = tree([0, 1, 1, 1, 1]);
        // Reads: 1 to 4, parent 5; checks: 6 to 9, parent again 10, 11 to 13, 14, 15, 16.
        let exits = [None, Some(6), Some(11), Some(15), None];
        let mut scene = Scene { exits, ..Scene::default() };
        ready(read(&tree, &mut scene));
        assert_eq!(scene.noted, [false, true, true, true, false]);
        assert_eq!(scene.read[0], None);
        let exits = [None, Some(6), None, None, None];
        let mut scene = Scene { exits, ..Scene::default() };
        ready(read(&tree, &mut scene));
        assert_eq!(scene.read[0], Some(10));
    }
}

//! Finding the processes: which ones are new, which have exited, and which have
//! another parent.

use super::Driver;
use crate::ids::Slot;
use crate::read::outcome::Outcome;
use crate::source::{ProcessSource, SocketSource};
use crate::state::process_table::{Listed, ProcessEntry};

impl<S: ProcessSource + SocketSource> Driver<S> {
    /// Brings the process table up to date.
    pub(super) async fn refresh_processes(&mut self, source: &mut S) {
        self.processes.confirm_starttimes(source, self.cycle).await;
        self.update_keys();
        let listed = self.list_processes(source).await;
        if listed == Some(Listed::NewPids) && self.processes.lacks_parent(source, self.cycle) {
            // Before the child counts: if its parent were found after it had reaped the child, that
            // would count twice.
            self.processes.exit_noticed = true;
            self.list_processes(source).await;
        }
    }

    /// Lists the processes, and applies the changes since the last listing.
    async fn list_processes(&mut self, source: &mut S) -> Option<Listed> {
        let Some(listed) = self.processes.list(source, self.cycle) else {
            self.health.listing_failed = true;
            return None;
        };
        if self.first_cycle == 0 {
            self.first_cycle = self.cycle;
        }
        self.restore_hidden(source).await;
        self.processes.read_new(source, self.cycle).await;
        // Memory pressure makes the kernel drop entries of `/proc` from its cache, which then
        // come back with another inode.
        self.processes.rematch_inodes();
        self.update_keys();
        self.note_parents();
        self.retire_exited();
        self.update_reparented(source).await;
        self.release_exited();
        self.classifier.drop_old(&self.processes, self.cycle);
        Some(listed)
    }

    /// Notes which processes have new children.
    fn note_parents(&mut self) {
        let cycle = self.cycle;
        for entry in self.processes.entries.iter().filter(|new| new.first_seen_cycle == cycle) {
            if let Some(slot) = self.processes.find(entry.ppid).and_then(|parent| parent.slot) {
                self.io.note_parent(slot);
            }
        }
    }

    /// Processes that are missing in the listing but exist, by their handles, stay.
    async fn restore_hidden(&mut self, source: &mut S) {
        let mut hidden = Vec::new();
        for at in 0..self.processes.exited.len() {
            let Some(entry) = self.processes.exited.get(at) else { break };
            if self.processes.find(entry.pid).is_none()
                && let Some(slot) = entry.slot
                && let Some(process) = self.tracked.get_mut(slot)
                && source.is_alive_by_handles(process.target(slot)).await
            {
                hidden.push(entry.pid);
            }
        }
        if !hidden.is_empty() {
            self.processes.restore_hidden(|entry| hidden.contains(&entry.pid));
        }
    }

    /// Applies the keys that have changed to the tracked processes.
    fn update_keys(&mut self) {
        for (slot, key) in self.processes.take_changed_keys() {
            if let Some(process) = self.tracked.get_mut(slot) {
                process.key = key;
                // It may have been unknown until now.
                process.starttime = process.starttime.max(key.starttime);
            }
        }
    }

    /// Passes the accounts of the exited processes to the ledger.
    fn retire_exited(&mut self) {
        for at in 0..self.processes.exited.len() {
            let Some(&entry) = self.processes.exited.get(at) else { break };
            if let Some(slot) = entry.slot {
                self.io.invalidate_tree();
                self.mark_exited_via_parent(slot, &entry);
            }
        }
    }

    /// Reads the parents of the processes whose parent has exited: they have another
    /// one, even before the exited one is waited for.
    async fn update_reparented(&mut self, source: &mut S) {
        if !self.processes.any_lost_parent() {
            return;
        }
        for at in 0..self.processes.entries.len() {
            let entry = self.processes.entries[at];
            if !self.processes.has_lost_parent(&entry) {
                continue;
            }
            let stat = source.stat(entry.pid).await;
            let is_same = stat.value().is_some_and(|stat| {
                (entry.starttime_is_unique && stat.starttime == Some(entry.starttime))
                    || source.inode_matches(entry.key())
            });
            match stat {
                Outcome::Value(stat) if is_same => {
                    self.processes.entries[at].ppid = stat.ppid;
                    self.processes.note_adoption(at);
                    self.io.invalidate_tree();
                    continue;
                }
                // It is marked now, because after the next rebuild of the tree it has no
                // parent. A process that is hidden from this user still exists.
                Outcome::Exited | Outcome::Value(_) => {
                    // The next listing shows which process has the pid.
                    self.processes.exit_noticed |= matches!(stat, Outcome::Value(_));
                    if let Some(slot) = entry.slot
                        && let Some(process) = self.tracked.get_mut(slot)
                        && !source.is_alive_by_handles(process.target(slot)).await
                    {
                        self.mark_exited_via_parent(slot, &entry);
                    }
                }
                Outcome::Denied | Outcome::Failed(_) | Outcome::Unread(_) => {}
            }
            if self.processes.is_reused(entry.ppid) {
                // Its new owner can be a descendant: parents in a circle would not be read.
                self.processes.entries[at].ppid = 0;
                self.io.invalidate_tree();
            }
        }
    }

    /// A process has exited, perhaps together with its parent.
    fn mark_exited_via_parent(&mut self, slot: Slot, entry: &ProcessEntry) {
        // A process whose exit was noticed in the last cycle is marked already.
        if self.tracked.live(slot).is_some() {
            let parent = self.processes.parent_of_exited(entry).and_then(|parent| parent.slot);
            self.io.mark_exited(slot, parent);
            self.tracked.mark_exited(slot);
        }
    }
}

//! The states of processes, and their swapped-out memory: values that are requested.

use std::num::NonZeroU64;

use super::Driver;
use crate::read::procfs::ProcDir;
use crate::source::{ProcessSource, SocketSource};
use crate::state::process_table::ProcessEntry;
use crate::state::tracked::{Lifecycle, Tracked};
use crate::state_counts::StateCounts;
use crate::usage::Usage;

impl<S: ProcessSource + SocketSource> Driver<S> {
    /// The state of a member.
    pub(super) fn state(&self, process: &Tracked<S::Handles>) -> Option<StateCounts> {
        let status = process.status.value().filter(|_| self.metrics.states);
        status.map(|status| StateCounts::one(status.state))
    }

    /// The swapped-out memory of a member.
    pub(super) fn swap(&self, process: &Tracked<S::Handles>) -> Option<u64> {
        match (self.metrics.swap, self.has_swap) {
            (false, _) => None,
            // There is nothing to read.
            (true, false) => Some(0),
            (true, true) => process.status.value()?.swap,
        }
    }

    /// Adds the zombies to the images of their parents, and removes the values that are not asked
    /// for from images without processes.
    pub(super) fn count_states(&mut self, source: &mut S, images: &mut [Usage]) {
        if !self.metrics.swap {
            images.iter_mut().for_each(|image| image.swap = None);
        }
        if !self.metrics.states {
            images.iter_mut().for_each(|image| image.states = None);
            return;
        }
        for at in 0..self.processes.entries.len() {
            let entry = self.processes.entries[at];
            let parent = self.processes.find(entry.ppid).and_then(|parent| parent.slot);
            let parent = parent.and_then(|slot| self.tracked.get(slot));
            let Some(parent) = parent.filter(|parent| parent.is_live_member()) else { continue };
            let member = entry.slot.and_then(|slot| self.tracked.get(slot));
            let is_zombie = match member.filter(|member| member.is_member()) {
                Some(member) => member.lifecycle == Lifecycle::Zombie,
                None => is_zombie(source, &mut self.processes.entries[at]),
            };
            for image in parent.images.iter().filter(|_| is_zombie) {
                if let Some(image) = images.get_mut(image.index()) {
                    image.states.get_or_insert_default().zombie += 1;
                }
            }
        }
    }
}

/// Whether a process that belongs to no image has exited. Its state is read only if it has used CPU
/// time since it was last read: without that it cannot exit.
fn is_zombie(source: &mut impl ProcessSource, entry: &mut ProcessEntry) -> bool {
    let cpu = match source.has_cpu_clock() {
        true => source.cpu_clock(entry.pid).and_then(NonZeroU64::new),
        false => None,
    };
    if cpu.is_none() || cpu != entry.state_cpu {
        let status = source.status(ProcDir::Pid(entry.pid)).value();
        entry.is_zombie = status.is_some_and(|status| status.is_zombie())
            // Or the pid is that of another process.
            && source.inode_matches(entry.key());
        entry.state_cpu = cpu;
    }
    entry.is_zombie
}

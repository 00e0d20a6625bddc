//! What is read of those that were not read before.

use super::io_order;
use crate::read::process;
use crate::sampler::Sampler;
use crate::state::tracked::{FileState, TrackedState};

impl Sampler {
    /// Reads the io of those that were never read, at the start of the window:
    /// if they end within it and nobody of their image waits for them, this is
    /// all that will ever be known of them.
    pub(crate) fn read_first_io(&mut self) {
        self.note_parent_faults();
        let forest = std::mem::take(&mut self.forest);
        io_order::read(&forest, self, |sampler, slot| {
            let tracked = sampler.roll.get(slot);
            tracked.is_some_and(|who| who.is_member() && who.io == FileState::Unread)
        });
        self.forest = forest;
    }

    /// Notes of every parent, before its children are read, whom it has waited
    /// for until now; once a parent.
    pub(crate) fn note_parent_faults(&mut self) {
        self.ledger.begin_pass();
        for family in self
            .forest
            .io_order
            .iter()
            .filter(|family| family.has_member_ancestor && family.has_children())
        {
            if self.ledger.knows_cminflt(family.slot) {
                continue;
            }
            let living =
                self.roll.get(family.slot).filter(|tracked| tracked.life != TrackedState::Exited);
            let cminflt = living.and_then(|tracked| {
                process::full_stat(&self.procfs, tracked.key, |stat| stat.cminflt).value()
            });
            if let Some(cminflt) = cminflt {
                self.ledger.note_cminflt(family.slot, cminflt);
            }
        }
    }
}

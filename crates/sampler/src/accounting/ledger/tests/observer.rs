//! Drives the ledger as the sampler's cycle does, over the model of the kernel,
//! which goes on at any moment between two of the observer's looks.

use std::collections::{BTreeMap, VecDeque};

use super::kernel::{Event, IMAGES, INIT, Id, Images, Kernel, Limits, Process, State};
use crate::accounting::counters::IoCounters;
use crate::accounting::ledger::{Ledger, Parent, Slot};
use crate::image::ImageId;
use crate::read::proc_dir::ProcessKey;
use crate::state::process_table::{ProcessEntry, ProcessTable};
use crate::state::process_tree::ProcessTree;
use crate::state::tracked::{FileState, Tracked, TrackedProcesses, TrackedState};
use crate::steps::io_order::{self, IoVisitor};

/// The kernel with what is still to happen: each event after so many looks.
#[derive(Debug)]
pub(super) struct World {
    pub(super) kernel: Kernel,
    to_come: VecDeque<(u8, Event)>,
}

impl World {
    /// Has something happen after so many looks more, once the last one has.
    pub(super) fn later(&mut self, looks: u8, event: Event) {
        self.to_come.push_back((looks, event));
    }

    /// The observer looks: what was to happen before has happened.
    fn look(&mut self) -> &Kernel {
        while let Some((looks, event)) = self.to_come.front_mut() {
            if *looks > 0 {
                *looks -= 1;
                break;
            }
            let event = event.clone();
            self.to_come.pop_front();
            self.kernel.happen(&event);
        }
        &self.kernel
    }

    fn stat(&mut self, who: ProcessKey) -> Option<Process> {
        self.look().get(who.inode as Id).cloned()
    }
}

pub(super) struct Observer {
    pub(super) world: World,
    census: ProcessTable,
    roll: TrackedProcesses,
    forest: ProcessTree,
    pub(super) ledger: Ledger,
    cycle: u32,
    kin_changed: bool,
    /// The last accepted reading of everyone ever tracked.
    pub(super) read: BTreeMap<Id, IoCounters>,
}

impl Observer {
    pub(super) fn new(limits: Limits, history: Vec<(u8, Event)>) -> Observer {
        Observer {
            world: World { kernel: Kernel::new(limits), to_come: history.into() },
            census: ProcessTable::default(),
            roll: TrackedProcesses::default(),
            forest: ProcessTree::default(),
            ledger: Ledger::default(),
            cycle: 0,
            kin_changed: true,
            read: BTreeMap::new(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.world.to_come.is_empty()
    }

    /// One cycle; gives each image's counters.
    pub(super) fn cycle(&mut self) -> Vec<IoCounters> {
        self.open();
        self.close();
        self.totals()
    }

    pub(super) fn open(&mut self) {
        self.cycle += 1;
        self.take_census();
        for at in 0..self.census.all.len() {
            self.classify(at);
        }
        self.renew_kinship();
        self.pass(|observer, slot| {
            let tracked = observer.roll.get(slot);
            tracked.is_some_and(|who| who.is_member() && who.io == FileState::Unread)
        });
    }

    /// Reads some, or everyone.
    fn pass(&mut self, is_wanted: impl Fn(&Observer, Slot) -> bool) {
        let forest = std::mem::take(&mut self.forest);
        self.ledger.begin_pass();
        for family in forest
            .io_order
            .iter()
            .filter(|family| family.has_member_ancestor && family.has_children())
        {
            let slot = family.slot;
            if let Some(tracked) = self.roll.get(slot)
                && !self.ledger.knows_cminflt(slot)
                && let Some(process) = self.world.stat(tracked.key)
            {
                self.ledger.note_cminflt(slot, process.cminflt);
            }
        }
        io_order::read(&forest, self, is_wanted);
        self.forest = forest;
    }

    pub(super) fn close(&mut self) {
        self.pass(|observer, slot| observer.roll.get(slot).is_some_and(Tracked::is_member));
        self.read_gauges();
        for (slot, tracked) in self.roll.iter() {
            if let Some(last) = self.ledger.last(slot) {
                self.read.insert(tracked.key.inode as Id, last);
            }
        }
        self.settle();
        self.renew_kinship();
    }

    pub(super) fn totals(&self) -> Vec<IoCounters> {
        let mut totals = vec![None; IMAGES];
        self.ledger.totals(&mut totals);
        totals.into_iter().map(Option::unwrap_or_default).collect()
    }

    fn take_census(&mut self) {
        let listing = self.world.look().listing();
        let listed: Vec<ProcessKey> = listing
            .into_iter()
            .map(|(pid, id)| ProcessKey { pid, inode: id as u64, starttime: 0 })
            .collect();
        self.census.update(&listed, self.cycle);
        for seen in self.census.exited.clone() {
            let Some(slot) = seen.slot else { continue };
            self.kin_changed = true;
            if self.roll.get(slot).is_some_and(|tracked| tracked.life != TrackedState::Exited) {
                let parent = self.census.parent_of_exited(&seen).and_then(|parent| parent.slot);
                self.bury(slot, parent, false);
            }
        }
        for at in 0..self.census.all.len() {
            let seen = self.census.all[at];
            let is_new = seen.first_seen_cycle == self.cycle;
            if !is_new && !self.has_lost_its_parent(&seen) {
                continue;
            }
            if let Some(process) = self.world.stat(seen.listed()) {
                self.census.all[at].ppid = match seen.inode as Id {
                    INIT => 0,
                    _ => self.world.kernel.processes[process.parent].pid,
                };
                self.kin_changed = true;
            } else if let Some(slot) = seen.slot {
                let parent = self.census.parent_of_exited(&seen).and_then(|parent| parent.slot);
                self.bury(slot, parent, false);
            }
        }
    }

    fn has_lost_its_parent(&self, seen: &ProcessEntry) -> bool {
        self.census.has_exited(seen.ppid)
    }

    fn bury(&mut self, slot: Slot, parent: Option<Slot>, late: bool) {
        self.kin_changed = true;
        match late {
            true => self.ledger.mark_exited_after_parent_read(slot, parent),
            false => self.ledger.mark_exited(slot, parent),
        }
        self.roll.get_mut(slot).unwrap().life = TrackedState::Exited;
    }

    /// Looks at a command line and takes the process into its images.
    fn classify(&mut self, at: usize) {
        let seen = self.census.all[at];
        let Some(process) = self.world.stat(seen.listed()) else { return };
        if process.state == State::Zombie || process.blocks {
            return;
        }
        self.census.all[at].last_classified = self.cycle;
        let who = seen.inode as Id;
        self.world.kernel.see(who, process.images);
        let images = image_list(process.images);
        let slot = match seen.slot {
            Some(slot) => slot,
            None if images.is_empty() => return,
            None => {
                let slot = self.roll.add(seen.listed(), 0);
                self.ledger.open(slot);
                self.census.all[at].slot = Some(slot);
                self.kin_changed = true;
                slot
            }
        };
        let tracked = self.roll.get_mut(slot).unwrap();
        let before = std::mem::replace(&mut tracked.images, images.as_slice().into());
        self.kin_changed |= before.is_empty() != images.is_empty();
        for &image in before.iter().filter(|image| !images.contains(image)) {
            self.ledger.leave(slot, image);
        }
        let joined: Vec<ImageId> =
            images.into_iter().filter(|image| !before.contains(image)).collect();
        if before.is_empty() && !joined.is_empty() && seen.last_classified != 0 {
            let now = self.world.stat(seen.listed()).filter(|now| !now.hidden);
            self.ledger.set_baseline(slot, now.map(|now| now.counters));
        }
        for image in joined {
            match seen.last_classified {
                0 => self.ledger.join_with_history(slot, image),
                _ => self.ledger.join(slot, image),
            }
        }
    }

    fn renew_kinship(&mut self) {
        if std::mem::take(&mut self.kin_changed) {
            let ledger = &mut self.ledger;
            self.forest.rebuild(&mut self.census, &mut self.roll, |seen, roll| {
                let slot = roll.add(seen.listed(), 0);
                ledger.open(slot);
                slot
            });
        }
    }

    fn read_gauges(&mut self) {
        for slot in 0..self.roll.end() {
            let Some(tracked) = self.roll.get(slot) else { continue };
            if tracked.life == TrackedState::Exited || !tracked.is_member() {
                continue;
            }
            let (who, parent) = (tracked.key, tracked.parent);
            if self.world.stat(who).is_none() {
                self.bury(slot, parent, true);
            }
        }
    }

    fn settle(&mut self) {
        let (roll, world) = (&self.roll, &mut self.world);
        let living =
            |slot: Slot| roll.get(slot).filter(|tracked| tracked.life != TrackedState::Exited);
        let mut closed = Vec::new();
        self.ledger.resolve_exits(
            |slot| {
                let Process { cminflt, state, .. } = world.stat(living(slot)?.key)?;
                Some(Parent { cminflt, is_zombie: state == State::Zombie })
            },
            |slot| roll.get(slot)?.parent,
            |slot| closed.push(slot),
        );
        self.world.kernel.settle();
        for slot in closed {
            let pid = self.roll.get(slot).unwrap().key.pid;
            if let Some(seen) = self.census.find_mut(pid).filter(|seen| seen.slot == Some(slot)) {
                seen.slot = None;
            }
            self.roll.remove(slot);
            self.kin_changed = true;
        }
    }
}

impl IoVisitor for Observer {
    fn read(&mut self, slot: Slot) -> bool {
        let Some(tracked) = self.roll.get_mut(slot) else { return false };
        if tracked.life == TrackedState::Exited || !tracked.is_member() {
            return false;
        }
        let (who, parent) = (tracked.key, tracked.parent);
        match self.world.stat(who) {
            Some(process) if process.hidden => {
                tracked.io = FileState::Failed;
                self.discard_read(slot);
            }
            Some(process) => {
                tracked.io = FileState::Read;
                self.world.kernel.read(who.inode as Id);
                return self.ledger.accept(slot, process.counters);
            }
            None => self.bury(slot, parent, false),
        }
        false
    }

    fn check_alive(&mut self, slot: Slot) {
        let Some(tracked) = self.roll.get(slot) else { return };
        let (who, parent) = (tracked.key, tracked.parent);
        if self.world.stat(who).is_none() {
            self.bury(slot, parent, false);
        }
    }

    fn has_exited(&self, slot: Slot) -> bool {
        self.roll.get(slot).is_none_or(|tracked| tracked.life == TrackedState::Exited)
    }

    fn discard_read(&mut self, slot: Slot) {
        self.ledger.withdraw(slot);
        if let Some(tracked) = self.roll.get(slot) {
            self.world.kernel.withdraw(tracked.key.inode as Id);
        }
    }
}

fn image_list(images: Images) -> Vec<ImageId> {
    (0..IMAGES as u32).filter(|image| images & (1 << image) != 0).map(ImageId).collect()
}

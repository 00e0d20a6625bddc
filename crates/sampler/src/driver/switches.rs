//! Context switches by image, if they are requested.

use std::num::NonZeroU64;

use super::Driver;
use crate::accounting::History;
use crate::ids::Slot;
use crate::image::ImageIndex;
use crate::read::outcome::Outcome;
use crate::read::status::ThreadSwitches;
use crate::source::{ProcessSource, SocketSource};
use crate::state::schedule::DENIED_RETRY_INTERVAL;
use crate::state::tracked::{FileState, Tracked};
use crate::switches::SwitchCounts;
use crate::usage::Usage;

/// The switches of all images.
#[derive(Debug, Default)]
pub(super) struct ImageSwitches {
    totals: Vec<SwitchCounts>,
    /// Processes whose next reading does not count in an image.
    skipped: Vec<(Slot, ImageIndex)>,
    /// The threads of the process that is read.
    threads: Vec<ThreadSwitches>,
}

impl ImageSwitches {
    pub(super) fn ensure_images(&mut self, count: usize) {
        if self.totals.len() < count {
            self.totals.resize(count, SwitchCounts::ZERO);
        }
    }

    /// Forgets images, given in ascending order.
    pub(super) fn release_images(&mut self, images: &[ImageIndex]) {
        for image in images {
            if let Some(total) = self.totals.get_mut(image.index()) {
                *total = SwitchCounts::ZERO;
            }
        }
        self.skipped.retain(|(_, image)| images.binary_search(image).is_err());
    }

    /// The switches of a process until its next reading count where they are to.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.skipped.retain(|(skipped, _)| *skipped != slot);
    }

    fn add(&mut self, image: ImageIndex, counts: SwitchCounts) {
        if let Some(total) = self.totals.get_mut(image.index()) {
            *total = total.plus(counts);
        }
    }

    /// A process joins an image.
    pub(super) fn join<H>(
        &mut self,
        slot: Slot,
        process: &Tracked<H>,
        image: ImageIndex,
        history: History,
        has_past: bool,
    ) {
        match (&process.switches, history) {
            (Some(switches), History::All) => self.add(image, switches.total),
            // Its first reading is all that it did.
            (None, History::All) if !has_past => {}
            (Some(_), History::SinceLastReading) => {}
            _ => self.skipped.push((slot, image)),
        }
    }
}

impl<S: ProcessSource + SocketSource> Driver<S> {
    /// Reads the switches of the members that have used CPU time since they were last read.
    pub(super) async fn read_switches(&mut self, source: &mut S) {
        if !self.metrics.switches {
            return;
        }
        for slot in 0..self.tracked.end() {
            let Some(process) = self.tracked.get_mut(slot) else { continue };
            if !process.is_live_member() {
                continue;
            }
            // Read before the switches, so that what the process does meanwhile shows.
            let has_cpu = source.has_cpu_clock() && process.cpu.used.is_some();
            let cpu = NonZeroU64::new(process.cpu.last.total).filter(|_| has_cpu);
            let is_known = process.switches.as_ref().is_some_and(|switches| {
                let is_current = switches.state == FileState::Read && switches.cpu == cpu;
                !switches.state.is_due(self.cycle) || (cpu.is_some() && is_current)
            });
            if is_known {
                continue;
            }
            let is_single = process.live_thread.is_none()
                && matches!(process.readings.threads, Outcome::Value(1));
            let threads = &mut self.switches.threads;
            threads.clear();
            let outcome = source.thread_switches(process.key, is_single, threads).await;
            if outcome.is_exited() {
                // The next listing shows it.
                continue;
            }
            let switches = process.switches.get_or_insert_default();
            switches.state = match outcome {
                Outcome::Value(()) => FileState::Read,
                Outcome::Denied => FileState::Denied { until: self.cycle + DENIED_RETRY_INTERVAL },
                Outcome::Unread(unread) => FileState::Unread(unread),
                Outcome::Failed(_) | Outcome::Exited => FileState::Failed,
            };
            if switches.state != FileState::Read {
                continue;
            }
            switches.cpu = cpu;
            let growth = switches.update(process.key.pid, threads);
            for &image in process.images.iter() {
                if !self.switches.skipped.contains(&(slot, image)) {
                    self.switches.add(image, growth);
                }
            }
            self.switches.forget(slot);
        }
    }

    /// The switches of a process, if they are known.
    pub(super) fn process_switches(&self, process: &Tracked<S::Handles>) -> Option<SwitchCounts> {
        let switches = process.switches.as_ref().filter(|_| self.metrics.switches)?;
        (switches.state == FileState::Read).then_some(switches.total)
    }

    /// Sets the switches of the images, which keep those of processes that have exited.
    pub(super) fn sum_switches(&self, images: &mut [Usage]) {
        for (image, &total) in images.iter_mut().zip(&self.switches.totals) {
            let is_known = image.switches.is_some() || total != SwitchCounts::ZERO;
            image.switches = (self.metrics.switches && is_known).then_some(total);
        }
    }
}

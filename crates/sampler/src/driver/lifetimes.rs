//! Processes that begin and end between two listings, by the events of the source.
//!
//! The counters of such a process count in its images when it has ended, in one step, and only if no
//! reading of another process has them: a parent that waited for it and belongs to the image has
//! them among its own, and shows them with its next reading. So nothing depends on the order of
//! events and readings, and no sum ever decreases. If the parent does not belong to the image but
//! one of its ancestors does, it carries the counters: they count when its own do not get to that
//! ancestor.
//!
//! A process that has executed no program belongs to the images of the one it is a copy of. The
//! images of the last program have all counters, as those of a process that a listing shows for the
//! first time do.
//!
//! A process that listings have shown counts by its readings, and what it did after the last one
//! counts in the same way.
//!
//! If events are lost, processes count as far as listings show them.

use std::ops::Range;
use std::time::Instant;

use super::Driver;
use crate::classifier::CmdlineBatch;
use crate::ids::Slot;
use crate::image::ImageIndex;
use crate::lifetimes::{ExecTexts, FinalCounters, LifeEvent, LifeEventKind, LifeEvents};
use crate::source::{ProcessSource, SocketSource};
use crate::state::process_table::ProcessEntry;
use crate::state::tracked::Images;
use crate::state::unlisted::{Destination, Moment, has_program, is_same};

/// The number of ancestors that are considered.
const MAX_DEPTH: usize = 64;
/// The number of batches of events that are processed in one cycle. More come only if processes begin faster
/// than their events are read.
const MAX_BATCHES: usize = 1024;

impl<S: ProcessSource + SocketSource> Driver<S> {
    /// Processes the events since the last call. The process table is that of the last listing.
    pub(super) async fn process_life_events(&mut self, source: &mut S) {
        self.life_events_at = Some(Instant::now());
        let mut events = std::mem::take(&mut self.life_events);
        for _ in 0..MAX_BATCHES {
            events.clear();
            source.take_life_events(&mut events);
            if events.events.is_empty() {
                break;
            }
            // Events from before the first listing do not count.
            if self.first_cycle == 0 {
                self.count_lost(&events);
                continue;
            }
            self.process_batch(source, &events).await;
        }
        events.clear();
        self.life_events = events;
    }

    /// Processes the events so far between two cycles, as those of the next one.
    pub(crate) async fn read_life_events(&mut self, source: &mut S) {
        self.cycle = self.cycle.saturating_add(1);
        self.process_life_events(source).await;
        let now = self.now();
        self.unlisted.forget_ended(now);
        self.cycle = self.cycle.saturating_sub(1);
    }

    fn count_lost(&mut self, events: &LifeEvents) {
        for event in &events.events {
            if let LifeEventKind::Lost(number) = event.kind {
                self.lost_events = self.lost_events.saturating_add(number);
            }
        }
    }

    /// Finds the images of the programs, a batch of them at a time, and processes the events up to
    /// the last one of these.
    async fn process_batch(&mut self, source: &mut S, events: &LifeEvents) {
        let mut batch = std::mem::take(&mut self.classifier.batch);
        let mut fields = std::mem::take(&mut self.classifier.fields);
        let mut done = 0;
        for (at, event) in events.events.iter().enumerate() {
            let LifeEventKind::Exec(ExecTexts { command_line: Some(line), comm, uid }) =
                &event.kind
            else {
                continue;
            };
            let line = events.text(line);
            if !self.event_budget.has_common_for(line.len()) {
                continue;
            }
            self.event_budget.charge(None, line.len());
            fields.clear();
            if self.fields.comm {
                fields.comm_buffer().extend_from_slice(events.text(comm));
            }
            fields.set_read(self.fields.comm, false);
            fields.uid = self.fields.user.then_some(*uid);
            let mut entry = ProcessEntry::new(event.pid, 0, self.cycle);
            entry.ppid = self.parent_of(event.pid);
            batch.push(at, &entry, line, &fields);
            if batch.is_full(self.event_budget.batch(source.cmdlines_per_batch())) {
                batch = source.classify(batch).await;
                self.process_classified(source, events, done..at + 1, &batch);
                done = at + 1;
                batch.clear();
            }
        }
        if !batch.is_empty() {
            batch = source.classify(batch).await;
        }
        self.process_classified(source, events, done..events.events.len(), &batch);
        batch.clear();
        (self.classifier.batch, self.classifier.fields) = (batch, fields);
    }

    /// Processes events; `batch` has the images of their programs.
    fn process_classified(
        &mut self,
        source: &mut S,
        events: &LifeEvents,
        range: Range<usize>,
        batch: &CmdlineBatch,
    ) {
        let mut classified = 0;
        for at in range {
            let Some(event) = events.events.get(at) else { break };
            if let LifeEventKind::Exec(_) = event.kind {
                let images = match batch.get(classified) {
                    Some((of, images)) if of == at => {
                        if let Some((_, bytes, time)) = batch.cost(classified) {
                            self.event_budget.charge_time(bytes, time, || None);
                        }
                        classified += 1;
                        images
                    }
                    _ => None,
                };
                self.note_exec(event, images);
            } else {
                self.note_event(source, event);
            }
        }
    }

    /// A process executed a program of these images; `None` if they are not known.
    fn note_exec(&mut self, event: &LifeEvent, images: Option<&[ImageIndex]>) {
        if let Some(images) = images {
            let first = if self.reload_cycle == self.cycle { self.cycle } else { 0 };
            self.classifier.note_images(images, first);
            self.ensure_images(self.classifier.images(), 0);
        }
        let now = self.now();
        let life = self.unlisted.entry(event.pid, event.start, now);
        if life.is_listed && self.fields.cgroup {
            // Its control group, which determined its images, is that of before.
            return;
        }
        life.images = images.map(Images::from);
        // Then it does not count.
        life.is_listed |= images.is_none();
    }

    fn note_event(&mut self, source: &S, event: &LifeEvent) {
        let &LifeEvent { pid, start, .. } = event;
        let now = self.now();
        match event.kind {
            LifeEventKind::Lost(number) => {
                self.lost_events = self.lost_events.saturating_add(number);
                self.unlisted.forget_living();
            }
            LifeEventKind::Fork { parent } => {
                let tick = source.tick_nanoseconds();
                let entry = self.processes.find(pid);
                let is_listed =
                    entry.is_some_and(|entry| is_same(entry, start, tick) && has_program(entry));
                if !is_listed {
                    let images = self.images_of(parent);
                    self.unlisted.begin(pid, start, parent, images, now);
                }
            }
            LifeEventKind::Unwaited => {
                self.unlisted.entry(pid, start, now).is_unwaited = true;
            }
            LifeEventKind::End { parent, counters } => {
                self.end_life(event, parent, counters, source.tick_nanoseconds());
            }
            LifeEventKind::Exec(_) => {}
        }
    }

    /// A process has ended.
    fn end_life(&mut self, event: &LifeEvent, parent: u32, counters: FinalCounters, tick: u64) {
        let life = self.unlisted.entry(event.pid, event.start, self.now());
        let reaper = (!life.is_unwaited && parent != 0).then_some(parent);
        life.ended = Some(reaper);
        let carried = std::mem::take(&mut life.carried);
        let (is_listed, images) = (life.is_listed, life.images.clone());
        if is_listed {
            let starttime = event.start / tick.max(1);
            if let Some(exited) = self.unlisted.complete(event.pid, starttime) {
                let rest = counters.growth_since(exited.counted);
                self.count_rest(&exited.images, images.as_ref(), rest, reaper);
            } else if self.is_tracked(event.pid) {
                // Its exit will be noticed in this cycle.
                self.unlisted.entry(event.pid, event.start, self.now()).last = Some(counters);
            }
        }
        let images = images.filter(|_| !is_listed).unwrap_or_default();
        for &image in &*images {
            // It begins in this cycle.
            if self.classifier.is_later(image, self.cycle.saturating_sub(1)) {
                continue;
            }
            self.membership.add_start(image);
            self.membership.add_exit(image);
            self.count_ended(image, counters, reaper);
        }
        for (image, counters) in carried {
            if images.binary_search(&image).is_err() {
                self.count_ended(image, counters, reaper);
            }
        }
    }

    /// Counts what a listed process did after its last reading: in the images of the program that it
    /// has executed since, if any.
    fn count_rest(
        &mut self,
        listed: &Images,
        executed: Option<&Images>,
        rest: FinalCounters,
        reaper: Option<u32>,
    ) {
        let images = executed.unwrap_or(listed);
        for &image in &**images {
            // It begins in this cycle.
            if self.classifier.is_later(image, self.cycle.saturating_sub(1)) {
                continue;
            }
            if listed.binary_search(&image).is_err() {
                self.membership.add_start(image);
                self.membership.add_exit(image);
            }
            if rest != FinalCounters::default() {
                self.count_ended(image, rest, reaper);
            }
        }
    }

    /// Members of images have exited: what is known of their ends counts.
    pub(super) fn complete_exits(&mut self, tick: u64) {
        let now = self.now();
        let mut noted = std::mem::take(&mut self.noted_exits);
        for (slot, pid, starttime, images) in noted.drain(..) {
            let counted = self.io.last_readings(slot);
            let ended = self.unlisted.note_exit(pid, (starttime, tick), &images, counted, now);
            if let Some((reaper, rest)) = ended {
                let executed = self.unlisted.get(pid).and_then(|life| life.images.clone());
                self.count_rest(&images, executed.as_ref(), rest, reaper);
            }
        }
        self.noted_exits = noted;
    }

    /// The time at which the events of this cycle were read.
    pub(super) fn now(&self) -> Moment {
        let time = self.life_events_at.unwrap_or_else(Instant::now);
        Moment { time, cycle: self.cycle }
    }

    fn is_tracked(&self, pid: u32) -> bool {
        self.processes.find(pid).is_some_and(|entry| entry.slot.is_some())
    }

    /// Counts the counters of an ended process in an image, if those of no other process have them.
    fn count_ended(&mut self, image: ImageIndex, counters: FinalCounters, reaper: Option<u32>) {
        match self.destination(image, reaper) {
            Destination::Member(pid) => {
                if let Some(slot) = self.slot_of(pid) {
                    self.io.note_reaped(slot);
                }
            }
            Destination::CarriedBy(pid) => {
                self.unlisted.carry(pid, image, counters, self.now());
            }
            Destination::Nowhere => self.io.count_ended(image, counters),
        }
    }

    /// Where counters of an image are that this process has got.
    fn destination(&self, image: ImageIndex, mut reaper: Option<u32>) -> Destination {
        for _ in 0..MAX_DEPTH {
            let Some(pid) = reaper else { return Destination::Nowhere };
            if self.belongs(pid, image) {
                return Destination::Member(pid);
            }
            // The kernel can report the end of a process after that of its parent.
            if let Some(ended) = self.unlisted.get(pid).and_then(|life| life.ended) {
                reaper = ended;
                continue;
            }
            let above = std::iter::successors(Some(pid), |&pid| {
                Some(self.parent_of(pid)).filter(|&parent| parent != 0)
            });
            let has_member =
                above.skip(1).take(MAX_DEPTH).any(|ancestor| self.belongs(ancestor, image));
            return if has_member { Destination::CarriedBy(pid) } else { Destination::Nowhere };
        }
        Destination::Nowhere
    }

    /// The images of a process, if they are known.
    fn images_of(&self, pid: u32) -> Option<Images> {
        if let Some(images) = self.unlisted.get(pid).and_then(|life| life.images.as_ref()) {
            return Some(images.clone());
        }
        let entry = self.processes.find(pid)?;
        let tracked = entry.slot.and_then(|slot| self.tracked.get(slot));
        Some(tracked.map(|process| process.images.clone()).unwrap_or_default())
    }

    fn belongs(&self, pid: u32, image: ImageIndex) -> bool {
        if let Some(images) = self.unlisted.get(pid).and_then(|life| life.images.as_ref()) {
            return images.binary_search(&image).is_ok();
        }
        let slot = self.processes.find(pid).and_then(|entry| entry.slot);
        let process = slot.and_then(|slot| self.tracked.get(slot));
        let images = process.map(|process| &process.images);
        let images = images.or_else(|| self.unlisted.images_of_exited(pid));
        images.is_some_and(|images| images.binary_search(&image).is_ok())
    }

    /// The parent of a process; 0 if it is not known.
    fn parent_of(&self, pid: u32) -> u32 {
        let life = self.unlisted.get(pid).map(|life| life.parent).filter(|&parent| parent != 0);
        life.or_else(|| self.processes.find(pid).map(|entry| entry.ppid)).unwrap_or(0)
    }

    fn slot_of(&self, pid: u32) -> Option<Slot> {
        let slot = self.processes.find(pid)?.slot?;
        self.tracked.live(slot).map(|_| slot)
    }
}

//! Processes that no listing has shown with a program: what is known of them by the events of a
//! source.
//!
//! A listing shows a process only if it lives at that moment. If a process was listed, only its
//! growth after the last reading counts here: the readings count already.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::image::ImageIndex;
use crate::lifetimes::FinalCounters;
use crate::shrink::shrink_map;
use crate::state::process_table::{ProcessEntry, ProcessTable};
use crate::state::tracked::Images;

/// The kernel reports the end of a process later than it happens, usually by milliseconds. The end is
/// waited for as long as either of these has not passed.
const MAX_DELAY: Duration = Duration::from_secs(30);
const MAX_CYCLES: u32 = 3;
/// For this time after its end was read an ended process is known, whose children may be reported
/// after it.
const ENDED_KEPT: Duration = Duration::from_secs(5);

/// A time, and the cycle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) time: Instant,
    pub(crate) cycle: u32,
}

impl Moment {
    /// Whether an end of then is still to come.
    fn is_recent(self, now: Moment) -> bool {
        now.cycle.saturating_sub(self.cycle) < MAX_CYCLES
            || now.time.saturating_duration_since(self.time) < MAX_DELAY
    }

    /// Whether an end of then may precede the report of the end of a child.
    fn is_current(self, now: Moment) -> bool {
        now.time.saturating_duration_since(self.time) < ENDED_KEPT
    }
}

/// The facts that are known of a process.
#[derive(Debug)]
pub(crate) struct Life {
    /// Its start, in nanoseconds since boot.
    pub(crate) start: u64,
    /// The process that it began as a copy of.
    pub(crate) parent: u32,
    /// Its images. `None`: those that the process table knows, if it is there.
    pub(crate) images: Option<Images>,
    /// Its readings count, so it does not count by its end.
    pub(crate) is_listed: bool,
    /// Its parent does not wait for it.
    pub(crate) is_unwaited: bool,
    /// Counters of images that it does not belong to. They are parts of its own, and are not counted
    /// yet: those of processes that it waited for.
    pub(crate) carried: Vec<(ImageIndex, FinalCounters)>,
    /// All counters at its end, if its last reading is not known yet.
    pub(crate) last: Option<FinalCounters>,
    /// It has ended; the process that has its counters now, if any.
    pub(crate) ended: Option<Option<u32>>,
    /// The time of the last event.
    at: Moment,
}

impl Life {
    fn carry(&mut self, image: ImageIndex, counters: FinalCounters) {
        match self.carried.iter_mut().find(|(carried, _)| *carried == image) {
            Some((_, sum)) => *sum = sum.plus(counters),
            None => self.carried.push((image, counters)),
        }
    }
}

/// A listed process that has exited.
#[derive(Clone, Debug)]
pub(crate) struct Exited {
    /// Its start in ticks.
    starttime: u64,
    pub(crate) images: Images,
    /// Its last reading, which counts.
    pub(crate) counted: FinalCounters,
    /// Its growth after that is counted, or is not to be.
    is_complete: bool,
    at: Moment,
}

/// Where the counters of an ended process are now, those of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Among those of a process of this image, which counts them.
    Member(u32),
    /// Among those of this process, of which an ancestor belongs to the image.
    CarriedBy(u32),
    /// Nowhere, or among those of a process that does not concern the image.
    Nowhere,
}

/// The processes, by pid.
#[derive(Debug, Default)]
pub(crate) struct UnlistedProcesses {
    lives: HashMap<u32, Life>,
    /// Members of images that have exited.
    exited: HashMap<u32, Exited>,
}

impl UnlistedProcesses {
    pub(crate) fn clear(&mut self) {
        self.lives.clear();
        self.exited.clear();
        shrink_map(&mut self.lives);
        shrink_map(&mut self.exited);
    }

    pub(crate) fn get(&self, pid: u32) -> Option<&Life> {
        self.lives.get(&pid)
    }

    /// Notes a process that has begun.
    pub(crate) fn begin(
        &mut self,
        pid: u32,
        start: u64,
        parent: u32,
        images: Option<Images>,
        now: Moment,
    ) {
        let life = Life { parent, images, is_listed: false, ..Life::listed(start, now) };
        self.lives.insert(pid, life);
    }

    /// The process, which is one that a listing has shown if nothing is known of it.
    pub(crate) fn entry(&mut self, pid: u32, start: u64, now: Moment) -> &mut Life {
        let life = self.lives.entry(pid).or_insert_with(|| Life::listed(start, now));
        if life.start != start {
            *life = Life::listed(start, now);
        }
        life.at = now;
        life
    }

    /// Adds counters to those that a living process carries.
    pub(crate) fn carry(
        &mut self,
        pid: u32,
        image: ImageIndex,
        counters: FinalCounters,
        now: Moment,
    ) {
        self.lives.entry(pid).or_insert_with(|| Life::listed(0, now)).carry(image, counters);
    }

    /// Notes that a member of images has exited. Gives the process that has its counters, and what it
    /// did after its last reading, if its end is known.
    pub(crate) fn note_exit(
        &mut self,
        pid: u32,
        (starttime, tick_nanoseconds): (u64, u64),
        images: &Images,
        counted: FinalCounters,
        now: Moment,
    ) -> Option<(Option<u32>, FinalCounters)> {
        let life = self
            .lives
            .get_mut(&pid)
            .filter(|life| life.is_listed && life.start / tick_nanoseconds.max(1) == starttime);
        let ended = life.and_then(|life| life.ended.zip(life.last.take()));
        let is_complete = ended.is_some();
        let images = images.clone();
        self.exited.insert(pid, Exited { starttime, images, counted, is_complete, at: now });
        ended.map(|(reaper, last)| (reaper, last.growth_since(counted)))
    }

    /// The exit of a listed process, of which the end is known now. Once.
    pub(crate) fn complete(&mut self, pid: u32, starttime: u64) -> Option<Exited> {
        let exited = self.exited.get_mut(&pid).filter(|exited| exited.starttime == starttime)?;
        (!std::mem::replace(&mut exited.is_complete, true)).then(|| exited.clone())
    }

    /// The images of a listed process that has exited.
    pub(crate) fn images_of_exited(&self, pid: u32) -> Option<&Images> {
        self.exited.get(&pid).map(|exited| &exited.images)
    }

    /// Events were lost: nothing is certain of the processes that live.
    pub(crate) fn forget_living(&mut self) {
        self.lives.retain(|_, life| life.ended.is_some());
    }

    /// Forgets the processes that ended some time ago.
    pub(crate) fn forget_ended(&mut self, now: Moment) {
        self.lives.retain(|_, life| life.ended.is_none() || life.is_needed(now));
        shrink_map(&mut self.lives);
    }

    /// Forgets the processes that the table has with a program, since their readings count, and
    /// those that ended some time ago.
    pub(crate) fn forget_listed(
        &mut self,
        processes: &ProcessTable,
        tick_nanoseconds: u64,
        now: Moment,
    ) {
        if self.lives.is_empty() && self.exited.is_empty() {
            return;
        }
        self.exited.retain(|_, exited| exited.at.is_recent(now));
        shrink_map(&mut self.exited);
        self.lives.retain(|&pid, life| {
            if life.ended.is_some() {
                return life.is_needed(now);
            }
            let Some(entry) = processes.find(pid) else { return life.at.is_recent(now) };
            if is_same(entry, life.start, tick_nanoseconds) {
                if has_program(entry) {
                    life.is_listed = true;
                    life.images = None;
                    return !life.carried.is_empty();
                }
                return true;
            }
            life.at.is_recent(now)
        });
        shrink_map(&mut self.lives);
    }
}

impl Life {
    /// Whether the facts of an ended process can still matter.
    fn is_needed(&self, now: Moment) -> bool {
        let is_due = self.last.is_some() && self.at.is_recent(now);
        is_due || self.at.is_current(now)
    }

    /// A process of which nothing is known but that its readings count.
    fn listed(start: u64, now: Moment) -> Life {
        Life {
            start,
            parent: 0,
            images: None,
            is_listed: true,
            is_unwaited: false,
            carried: Vec::new(),
            last: None,
            ended: None,
            at: now,
        }
    }
}

/// Whether an entry is that of the process with this start.
pub(crate) fn is_same(entry: &ProcessEntry, start: u64, tick_nanoseconds: u64) -> bool {
    start == 0 || entry.starttime == 0 || entry.starttime == start / tick_nanoseconds.max(1)
}

/// Whether its program was read, so that its readings count in the images of that.
pub(crate) fn has_program(entry: &ProcessEntry) -> bool {
    entry.last_classified != 0
}

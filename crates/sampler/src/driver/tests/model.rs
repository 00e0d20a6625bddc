//! The driver and the world that it reads, with the checks that hold after every cycle.

use std::collections::BTreeMap;
use std::time::Duration;

use super::kernel::{Event, IMAGES, Id, Images, Limits};
use super::world::{Abilities, World, command_line};
use crate::classifier::Candidate;
use crate::cpu_time::CpuTime;
use crate::driver::Driver;
use crate::fault_counts::FaultCounts;
use crate::image::ImageIndex;
use crate::io_counters::IoCounters;
use crate::options::{IoStart, MetricGroups};
use crate::source::ready;
use crate::usage::Usage;

/// The driver and its world.
pub(super) struct Model {
    pub(super) world: World,
    driver: Driver<World>,
    /// All processes are classified in every cycle, as after a change of the rules.
    reclassify: bool,
    /// The last accepted reading of every process that was ever tracked.
    pub(super) read: BTreeMap<Id, IoCounters>,
    totals: Vec<IoCounters>,
    /// The images of the last cycle.
    images: Vec<Usage>,
    /// The same of CPU time.
    pub(super) read_cpu: BTreeMap<Id, i64>,
    cpu: Vec<CpuTime>,
    metrics: MetricGroups,
    faults: Vec<FaultCounts>,
    /// Two ticks: the kernel shows the CPU time of children in ticks, by mode.
    cpu_tolerance: i64,
}

impl Model {
    pub(super) fn new(
        limits: Limits,
        abilities: Abilities,
        reclassify: bool,
        history: Vec<(u8, Event)>,
    ) -> Model {
        let world = World::new(limits, abilities, history);
        // With and without page faults, whatever ability that depends on.
        let faults = abilities.partial_listing;
        let metrics = MetricGroups { faults, ..MetricGroups::default() };
        let mut driver = Driver::new(&world, IoStart::ProcessStart);
        driver.set_metrics(metrics);
        driver.reclassify_all(IMAGES);
        let cpu_tolerance = 2 * i64::try_from(abilities.tick).unwrap();
        Model {
            world,
            driver,
            reclassify,
            read: BTreeMap::new(),
            totals: vec![IoCounters::ZERO; IMAGES],
            read_cpu: BTreeMap::new(),
            metrics,
            cpu: vec![CpuTime::ZERO; IMAGES],
            faults: vec![FaultCounts::ZERO; IMAGES],
            cpu_tolerance,
            images: Vec::new(),
        }
    }

    /// Its counters begin with the first cycle.
    pub(super) fn since_first_cycle(mut self) -> Model {
        self.driver = Driver::new(&self.world, IoStart::FirstCycle);
        self.driver.set_metrics(self.metrics);
        self.driver.reclassify_all(IMAGES);
        self.world.kernel.excludes_past = true;
        self
    }

    /// The counters of the images after the last cycle.
    pub(super) fn totals(&self) -> &[IoCounters] {
        &self.totals
    }

    /// The CPU time of the images after the last cycle.
    pub(super) fn cpu(&self, image: usize) -> i64 {
        self.cpu[image].total().cast_signed()
    }

    /// The page faults of the images after the last cycle, if they are counted.
    pub(super) fn faults(&self, image: usize) -> Option<i64> {
        let FaultCounts { minor, major } = self.faults[image];
        self.metrics.faults.then_some((minor + major).cast_signed())
    }

    /// How much of the CPU time of an image may be missing or too much, because the kernel shows
    /// that of children in ticks.
    pub(super) fn cpu_slack(&self) -> i64 {
        self.world.kernel.processes.len() as i64 * self.cpu_tolerance
    }

    /// The number of ESTABLISHED tcp sockets of an image after the last cycle.
    pub(super) fn tcp(&self, image: u32) -> Option<u64> {
        self.driver.sample().image(ImageIndex(image)).tcp
    }

    /// The parent of a process as the driver knows it.
    pub(super) fn ppid(&self, pid: u32) -> Option<u32> {
        self.driver.processes.find(pid).map(|entry| entry.ppid)
    }

    /// One cycle.
    pub(super) fn cycle(&mut self) -> Result<(), String> {
        self.open();
        self.close()
    }

    pub(super) fn open(&mut self) {
        if self.reclassify {
            self.driver.reclassify_all(IMAGES);
        }
        ready(self.driver.open(&mut self.world, Duration::ZERO));
    }

    /// # Errors
    /// When the counters of an image have fallen, or are more than its processes did, or a process
    /// was not read that had run.
    pub(super) fn close(&mut self) -> Result<(), String> {
        let shown = self.world.shown_io();
        ready(self.driver.read_window_end(&mut self.world));
        for (slot, process) in self.driver.tracked.iter() {
            let id = self.world.id(process.key);
            let last = self.driver.io.last(slot);
            // All that a process did before, by its clock, is in its reading.
            if process.is_live_member()
                && self.driver.io.is_current(slot)
                && !last.is_some_and(|last| last.all_ge(shown[id]))
            {
                return Err(format!("process {id} had {:?} before {last:?}", shown[id]));
            }
            if let Some(last) = self.driver.io.last(slot) {
                self.read.insert(id, last);
                self.world.kernel.note_last(id, last);
            }
            if let Some(last) = self.driver.io.last_cpu(slot) {
                self.read_cpu.insert(id, last.total());
                self.world.kernel.note_last_cpu(id, last);
            }
        }
        ready(self.driver.finish(&mut self.world));
        self.world.kernel.end_cycle();
        for image in 0..IMAGES {
            let now = self.driver.sample().images.get(image).and_then(|usage| usage.io);
            let now = now.unwrap_or_default();
            let before = std::mem::replace(&mut self.totals[image], now);
            if !now.all_ge(before) {
                return Err(format!("image {image} fell from {before:?} to {now:?}"));
            }
            let expected = self.world.kernel.expected(image);
            if !expected.all_ge(now) {
                return Err(format!("image {image} has {now:?}, at most {expected:?}"));
            }
            let now = self.driver.sample().images.get(image).and_then(|usage| usage.cpu);
            let now = now.unwrap_or_default();
            let before = std::mem::replace(&mut self.cpu[image], now);
            if now.user < before.user || now.system < before.system {
                return Err(format!("image {image} fell from {before:?} to {now:?}"));
            }
            let expected = self.world.kernel.expected_cpu(image);
            if now.total().cast_signed() > expected + self.cpu_slack() {
                return Err(format!("image {image} has {now:?}, at most {expected}"));
            }
            // In this kernel a unit of CPU time is a page fault.
            let now = self.driver.sample().images.get(image).and_then(|usage| usage.faults);
            let now = now.unwrap_or_default();
            let before = std::mem::replace(&mut self.faults[image], now);
            if now.minor < before.minor || now.major < before.major {
                return Err(format!("image {image} fell from {before:?} to {now:?}"));
            }
            if (now.minor + now.major).cast_signed() > expected {
                return Err(format!("image {image} has {now:?}, at most {expected}"));
            }
        }
        let images = self.driver.sample().images.clone();
        for (before, now) in self.images.iter().zip(&images) {
            let [before, now] = [before, now].map(|image| {
                (
                    image.processes.cast_signed(),
                    image.starts.cast_signed(),
                    image.exits.cast_signed(),
                )
            });
            let (starts, exits) = (now.1 - before.1, now.2 - before.2);
            // A change of the rules changes only the number of processes.
            let is_exact = self.reclassify || now.0 - before.0 == starts - exits;
            if starts < 0 || exits < 0 || !is_exact {
                return Err(format!("processes, starts and exits: {before:?}, then {now:?}"));
            }
        }
        self.images = images;
        Ok(())
    }
}

/// The images that the command line states.
pub(super) fn classify(candidate: &Candidate<'_>, found: &mut Vec<ImageIndex>) {
    let images = (0..1 << IMAGES).find(|&images| command_line(images) == candidate.command_line);
    let images: Images = images.unwrap();
    found.extend((0..IMAGES as u32).filter(|image| images & (1 << image) != 0).map(ImageIndex));
}

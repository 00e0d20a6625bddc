//! The driver: one cycle after the other, over any source of readings.
//!
//! Four parts have one job each: [`ProcessTable`] knows the processes that exist,
//! [`Classifier`] their images, [`IoAccounting`] their io, and [`SocketTracker`] their
//! sockets. The driver calls them in the order that the cycle needs, and passes each
//! process that comes, moves or exits from one to the others.

mod classify;
mod fields;
mod gauges;
mod lifetimes;
mod pace;
mod refresh;
mod states;
mod switches;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use self::switches::ImageSwitches;
use crate::accounting::IoAccounting;
use crate::accounting::aggregate;
use crate::accounting::membership::Membership;
use crate::classifier::{Classifier, Urgency};
use crate::cpu_time::CpuTime;
use crate::fields::ProcessFields;
use crate::health::{Health, PerFile};
use crate::ids::{Protocol, Slot};
use crate::image::ImageIndex;
use crate::io_counters::IoCounters;
use crate::lifetimes::LifeEvents;
use crate::options::{IoStart, MetricGroups};
use crate::read::boot_clock::BootClock;
use crate::read::outcome::{Outcome, Unread};
use crate::sample::{ImageSums, ProcessNumbers};
use crate::sockets::SocketTracker;
use crate::source::{Handles as _, ProcessSource, ReadRequest, SocketSource};
use crate::state::cmdline_budget::CmdlineBudget;
use crate::state::process_table::ProcessTable;
use crate::state::tracked::{FileState, Images, Tracked, TrackedProcesses};
use crate::state::unlisted::UnlistedProcesses;
use crate::tcp_states::TcpStateCounts;
use crate::usage::Usage;

/// Turns the readings of a source into samples.
#[derive(Debug)]
pub(crate) struct Driver<S: ProcessSource> {
    /// Counts from 1.
    cycle: u32,
    /// The first cycle that listed the processes; 0 before it.
    first_cycle: u32,
    /// The first cycle with the current rules.
    rules_cycle: u32,
    /// The same, not set after a panic.
    reload_cycle: u32,
    io_start: IoStart,
    /// The readings at the end of the last window are those at the start of the next one.
    follows_last_window: bool,
    /// When the processes were read at once at the end of the last window, if the source can.
    last_window_end: Option<Instant>,
    /// The processes to read at once. Empty between the steps.
    requests: Vec<ReadRequest>,
    /// The values to read in addition.
    pub(crate) metrics: MetricGroups,
    /// They include swap, and there is some.
    has_swap: bool,
    /// The fields of processes that the rules need.
    fields: ProcessFields,
    processes: ProcessTable,
    tracked: TrackedProcesses<S::Handles>,
    unlisted: UnlistedProcesses,
    /// A buffer, empty between the cycles.
    life_events: LifeEvents,
    life_events_at: Option<Instant>,
    /// The source reports events.
    has_life_events: bool,
    /// Members that were found to have exited in this cycle, with their start and images.
    noted_exits: Vec<(Slot, u32, u64, Images)>,
    /// Events that were lost, since the first cycle.
    lost_events: u64,
    classifier: Classifier,
    cmdline_budget: CmdlineBudget,
    /// That of the programs that events report.
    event_budget: CmdlineBudget,
    io: IoAccounting,
    sockets: SocketTracker,
    membership: Membership,
    switches: ImageSwitches,
    sample: ImageSums,
    health: Health,
    /// The time at which the sample was computed.
    clock: Option<BootClock>,
    page_size: u64,
}

impl<S: ProcessSource + SocketSource> Driver<S> {
    pub(crate) fn new(source: &S, io_start: IoStart) -> Driver<S> {
        let processes = match io_start {
            IoStart::FirstCycle => ProcessTable::with_start(),
            IoStart::ProcessStart => ProcessTable::default(),
        };
        Driver {
            cycle: 0,
            first_cycle: 0,
            rules_cycle: 0,
            reload_cycle: 0,
            io_start,
            follows_last_window: false,
            last_window_end: None,
            requests: Vec::new(),
            metrics: MetricGroups::default(),
            has_swap: false,
            fields: ProcessFields::NONE,
            processes,
            tracked: TrackedProcesses::default(),
            unlisted: UnlistedProcesses::default(),
            life_events: LifeEvents::default(),
            life_events_at: None,
            has_life_events: source.has_life_events(),
            noted_exits: Vec::new(),
            lost_events: 0,
            classifier: Classifier::default(),
            cmdline_budget: CmdlineBudget::default(),
            event_budget: CmdlineBudget::default(),
            io: IoAccounting::new(source.tick_nanoseconds()),
            sockets: SocketTracker::default(),
            membership: Membership::default(),
            switches: ImageSwitches::default(),
            sample: ImageSums::default(),
            health: Health::default(),
            clock: None,
            page_size: source.page_size(),
        }
    }

    /// Sets the values to read in addition, before the first cycle.
    pub(crate) fn set_metrics(&mut self, metrics: MetricGroups) {
        self.metrics = metrics;
        if metrics.faults {
            self.io.count_faults();
        }
    }

    /// Whether the next window begins where the last one ended, for the processes that were in it.
    pub(crate) fn follow_last_window(&mut self, follows: bool) {
        self.follows_last_window = follows;
    }

    /// Begins a cycle: finds the processes, classifies those that are due, and reads the
    /// CPU time of all members. Gives the instant at which to close the window, slightly before
    /// it ends.
    pub(crate) async fn open(&mut self, source: &mut S, window: Duration) -> Instant {
        // 15 s cycles reach the end of u32 after 2,000 years.
        self.cycle = self.cycle.saturating_add(1);
        self.health = Health::default();
        self.cmdline_budget.begin();
        source.review_blocked();
        self.process_life_events(source).await;
        self.event_budget.begin();
        self.refresh_processes(source).await;
        self.read_due_cmdlines(source, Urgency::Urgent).await;
        let tick = source.tick_nanoseconds();
        let now = self.now();
        self.unlisted.forget_listed(&self.processes, tick, now);
        self.rebuild_tree(source);
        self.io.begin_pass(source, &self.tracked).await;
        if pace::is_paced(window) {
            source.leave_tick();
        }
        let due = Instant::now() + window;
        self.open_cpu_window(source).await;
        self.io.read_first(source, &mut self.tracked, self.cycle).await;
        source.end_read_at_once();
        self.release_exited();
        // Work that fits into the second that has to pass anyway.
        self.read_due_cmdlines(source, Urgency::Scheduled).await;
        self.rebuild_tree(source);
        let deadline = due - window / 10;
        self.sockets.scan_scheduled(source, &mut self.tracked, self.cycle, deadline).await;
        due - pace::lead(window)
    }

    /// Ends a cycle: reads CPU time again and all that counts at one moment, and computes the sample.
    pub(crate) async fn close(&mut self, source: &mut S) {
        source.review_blocked();
        self.read_window_end(source).await;
        self.finish(source).await;
    }

    /// Reads all that counts at the end of the window.
    async fn read_window_end(&mut self, source: &mut S) {
        self.io.begin_pass(source, &self.tracked).await;
        self.close_cpu_window(source).await;
        self.io.read_all(source, &mut self.tracked, self.cycle).await;
        self.release_exited();
        self.read_gauges(source).await;
        self.release_exited();
        self.read_switches(source).await;
        let states = self.metrics.tcp;
        self.sockets.scan_changed(source, &mut self.tracked, self.cycle, states).await;
        let (sockets, tracked) = (&mut self.sockets, &mut self.tracked);
        sockets.read_tables(source, tracked, self.cycle, &mut self.health).await;
        if self.metrics.tcp {
            sockets.read_tcp_states(source, tracked, &mut self.health);
        }
    }

    /// Resolves the exits and computes the sample.
    async fn finish(&mut self, source: &mut S) {
        self.complete_exits(source.tick_nanoseconds());
        let Driver { processes, sockets, switches, .. } = self;
        let freed = |slot, pid| {
            processes.free(slot, pid);
            switches.forget(slot);
            sockets.remove(slot);
        };
        self.io.resolve_exits(source, &mut self.tracked, freed).await;
        self.rebuild_tree(source);
        self.health.failed_bpf_passes = source.take_failed_passes();
        self.sum_up(source);
        source.end_read_at_once();
    }

    /// Classifies all processes again in the next cycle, because the rules have changed.
    /// `images` is their number now; earlier images keep their numbers and counters.
    pub(crate) fn reclassify_all(&mut self, images: usize) {
        self.reload_cycle = self.cycle.saturating_add(1);
        self.make_all_due(images);
    }

    fn make_all_due(&mut self, images: usize) {
        self.processes.make_all_urgent(self.cycle);
        self.rules_cycle = self.cycle.saturating_add(1);
        self.ensure_images(images, self.rules_cycle);
    }

    /// Forgets images, given in ascending order. Their numbers can be those of other images from
    /// then on.
    pub(crate) fn release_images(&mut self, images: &[ImageIndex]) {
        let is_released = |image: &ImageIndex| images.binary_search(image).is_ok();
        for (slot, process) in self.tracked.iter_mut() {
            // Such as a zombie, which keeps the images that it had.
            if !process.images.iter().any(is_released) {
                continue;
            }
            let kept: Vec<ImageIndex> =
                process.images.iter().copied().filter(|image| !is_released(image)).collect();
            self.sockets.set_images(slot, &process.images, &kept);
            process.images = kept[..].into();
            self.io.invalidate_tree();
        }
        self.unlisted.clear();
        self.classifier.release(images);
        self.io.release_images(images);
        self.membership.release_images(images);
        self.switches.release_images(images);
    }

    /// Restores order after a panic in the middle of a cycle. Counters are kept; the
    /// next cycle repeats the steps that the interrupted one had begun.
    pub(crate) fn recover(&mut self) {
        self.unlisted.clear();
        self.io.invalidate_tree();
        self.tracked.iter_mut().for_each(|(_, process)| process.cpu.at_read = 0);
        self.sockets.mark_all_stale();
        self.make_all_due(self.classifier.images());
    }

    pub(crate) fn sample(&self) -> &ImageSums {
        &self.sample
    }

    /// The first process of this cycle whose command line was put off.
    pub(crate) fn first_long_cmdline(&self) -> Option<u32> {
        self.cmdline_budget.first_put_off
    }

    /// The processes of the last sample.
    pub(crate) fn processes(&self) -> impl Iterator<Item = ProcessNumbers<'_>> {
        let live = self.tracked.iter().filter(|(_, process)| process.is_live_member());
        live.map(|(slot, process)| ProcessNumbers {
            pid: process.key.pid,
            ppid: self.processes.find(process.key.pid).map_or(0, |entry| entry.ppid),
            starttime: process.starttime,
            images: &process.images,
            window: process.cpu.length(),
            usage: self.process_usage(slot, process),
        })
    }

    /// Whether a process belongs to an image.
    pub(crate) fn is_member(&self, pid: u32) -> bool {
        let slot = self.processes.find(pid).and_then(|entry| entry.slot);
        slot.and_then(|slot| self.tracked.get(slot)).is_some_and(Tracked::is_live_member)
    }

    fn ensure_images(&mut self, count: usize, first: u32) {
        self.classifier.ensure_images(count, first);
        self.io.ensure_images(count);
        self.membership.ensure_images(count);
        self.switches.ensure_images(count);
    }

    /// Tracks a process, without images yet.
    fn track(&mut self, at: usize) -> Option<Slot> {
        let entry = self.processes.entries.get_mut(at)?;
        let slot = self.tracked.add(entry.key(), entry.starttime);
        entry.slot = Some(slot);
        self.io.track(slot, entry.has_past, self.cycle);
        self.sockets.track(slot);
        Some(slot)
    }

    /// Rebuilds the tree of the tracked processes if one came, exited, or got another
    /// parent; then the descriptors are divided again.
    fn rebuild_tree(&mut self, source: &mut S) {
        let (sockets, cycle) = (&mut self.sockets, self.cycle);
        let (processes, tracked) = (&mut self.processes, &mut self.tracked);
        let is_rebuilt =
            self.io.rebuild_tree(processes, tracked, cycle, |slot| sockets.track(slot));
        if is_rebuilt {
            source.split_fd_budget(self.tracked.count());
            for (slot, process) in self.tracked.iter_mut() {
                source.limit_handles(slot, &mut process.handles);
            }
        }
    }

    /// Tells the other parts of the processes that were found to have exited.
    fn release_exited(&mut self) {
        let Driver { sockets, tracked, membership, noted_exits, .. } = self;
        let has_events = self.has_life_events;
        let any = tracked.drain_exited(|slot, process| {
            sockets.forget(slot, &process.images);
            count_member(process, membership);
            if has_events && process.is_member() {
                let images = process.images.clone();
                noted_exits.push((slot, process.key.pid, process.starttime, images));
            }
        });
        self.processes.exit_noticed |= any;
    }

    /// Sums the readings of this cycle by image.
    fn sum_up(&mut self, source: &mut S) {
        let clock = source.boot_clock();
        let mut health = self.health;
        health.processes = self.processes.entries.len() as u64;
        health.lost_events = self.lost_events;
        for entry in &self.processes.entries {
            health.denied.command_line += u64::from(entry.denied);
            health.denied.comm += u64::from(entry.denied_fields.comm);
            health.denied.status += u64::from(entry.denied_fields.user);
            health.denied.cgroup += u64::from(entry.denied_fields.cgroup);
            health.blocked += u64::from(source.is_blocked(entry.pid));
        }
        for (_, process) in self.tracked.iter_mut() {
            count_member(process, &mut self.membership);
        }
        for (slot, process) in self.tracked.iter() {
            health.fds_held += process.handles.open_fds() as u64;
            if process.is_live_member() {
                health.matched += 1;
                self.count_errors(slot, process, &mut health);
            }
        }
        let images = self.classifier.images();
        self.io.sum(images);
        self.sockets.sum(images);
        let mut sample = std::mem::take(&mut self.sample);
        sample.health = health;
        let live = self.tracked.iter().filter(|(_, process)| process.is_live_member());
        let processes = live.map(|(slot, process)| (&process.images[..], (slot, process)));
        let contribute = |(slot, process): (Slot, &Tracked<S::Handles>), usage: &mut Usage| {
            self.contribute(slot, process, clock, usage);
        };
        let (totals, sockets) = (self.io.totals(), self.sockets.totals());
        aggregate::sum(&mut sample.images, processes, contribute, totals, sockets);
        if self.cycle == self.first_cycle {
            self.membership.reset();
        }
        for (image, changes) in sample.images.iter_mut().zip(self.membership.changes()) {
            (image.starts, image.exits) = (changes.starts, changes.exits);
        }
        self.count_states(source, &mut sample.images);
        self.sum_switches(&mut sample.images);
        let is_requested = self.metrics.tcp;
        let totals = self.sockets.sum_tcp_states(if is_requested { images } else { 0 });
        for (at, image) in sample.images.iter_mut().enumerate() {
            let total = totals.get(at).copied();
            image.tcp_states = image.tcp_states.and(total);
        }
        for image in &mut sample.images {
            image.faults = image.faults.filter(|_| self.metrics.faults);
        }
        for (image, faults) in sample.images.iter_mut().zip(self.io.fault_totals()) {
            image.faults = faults.or(image.faults);
        }
        self.clock = clock;
        self.sample = sample;
    }

    /// Writes the contribution of a process to its images. Its io, its CPU time and its sockets are
    /// summed by image elsewhere: 0 marks those that could be read.
    fn contribute(
        &self,
        slot: Slot,
        process: &Tracked<S::Handles>,
        clock: Option<BootClock>,
        usage: &mut Usage,
    ) {
        let sockets = |protocol| self.sockets.is_current(slot, protocol).then_some(0);
        let age = self.age(process, clock);
        process.readings.write(self.page_size, usage);
        usage.oldest = age;
        usage.youngest = age;
        usage.fd_percent = fd_percent(process);
        usage.io = (self.io.file(slot) == FileState::Read).then_some(IoCounters::ZERO);
        usage.cpu = self.io.has_cpu(slot).then_some(CpuTime::ZERO);
        usage.tcp = sockets(Protocol::Tcp);
        usage.udp = sockets(Protocol::Udp);
        usage.unix = sockets(Protocol::Unix);
        // A process that did not exist at both ends adds nothing.
        usage.cpu_percent = (!process.cpu.denied && !process.cpu.blocked)
            .then(|| process.cpu.percent().unwrap_or(0.0));
        let metrics = self.metrics;
        if metrics.states {
            usage.states = self.state(process);
        }
        if metrics.swap {
            usage.swap = self.swap(process);
        }
        if metrics.faults {
            usage.faults = self.io.faults(slot);
        }
        if metrics.switches {
            usage.switches = self.process_switches(process);
        }
        if metrics.tcp {
            let is_current = self.sockets.are_tcp_states_current(slot);
            usage.tcp_states = is_current.then_some(TcpStateCounts::ZERO);
        }
    }

    /// The numbers of one process.
    fn process_usage(&self, slot: Slot, process: &Tracked<S::Handles>) -> Usage {
        let counts = self.sockets.count(slot);
        let sockets = |protocol: Protocol| {
            self.sockets.is_current(slot, protocol).then_some(counts[protocol as usize])
        };
        let age = self.age(process, self.clock);
        Usage {
            oldest: age,
            youngest: age,
            fd_percent: fd_percent(process),
            states: self.state(process),
            swap: self.swap(process),
            faults: self.io.faults(slot),
            switches: self.process_switches(process),
            tcp_states: (self.metrics.tcp && self.sockets.are_tcp_states_current(slot))
                .then(|| self.sockets.count_tcp_states(slot)),
            io: self.io.last(slot).filter(|_| self.io.file(slot) == FileState::Read),
            cpu: self.io.cpu(slot),
            tcp: sockets(Protocol::Tcp),
            udp: sockets(Protocol::Udp),
            unix: sockets(Protocol::Unix),
            cpu_percent: process.cpu.percent(),
            ..process.readings.usage(self.page_size)
        }
    }

    /// The time since the start of a process, if that is known.
    fn age(&self, process: &Tracked<S::Handles>, clock: Option<BootClock>) -> Option<Duration> {
        // Only the first process of the machine starts in the first tick.
        let is_known = process.starttime != 0
            || self
                .processes
                .find(process.key.pid)
                .is_some_and(|entry| entry.pid == 1 && !entry.lacks_starttime);
        clock.filter(|_| is_known).map(|clock| clock.age(process.starttime))
    }

    /// Counts a process once under each of its files that is denied, and its reads that
    /// failed.
    fn count_errors(&self, slot: Slot, process: &Tracked<S::Handles>, health: &mut Health) {
        let mut denied = PerFile::default();
        let failed = &mut health.failed;
        let deferred = &mut health.deferred;
        let count = |state: FileState, denied: &mut u64, failed: &mut u64, deferred: &mut u64| {
            match state {
                FileState::Never | FileState::Read => {}
                FileState::Denied { .. } => *denied = 1,
                FileState::Failed => *failed += 1,
                // Counted as a process.
                FileState::Unread(Unread::Blocked) => {}
                FileState::Unread(Unread::Deferred) => {
                    *failed += 1;
                    *deferred += 1;
                }
            }
        };
        count(self.io.file(slot), &mut denied.io, &mut failed.io, &mut deferred.io);
        if let Some(sockets) = self.sockets.process(slot) {
            count(sockets.state, &mut denied.fd, &mut failed.fd, &mut deferred.fd);
            if sockets.state == FileState::Read && sockets.netns.is_none() {
                denied.netns = 1;
            }
        }
        if process.cpu.denied {
            failed.stat += 1;
        }
        let limits = process.fd_limit.state;
        count(limits, &mut denied.limits, &mut failed.limits, &mut deferred.limits);
        if self.metrics.states || self.has_swap {
            match process.status {
                Outcome::Denied => denied.status = 1,
                Outcome::Failed(_) => failed.status += 1,
                _ => {}
            }
        }
        if let Some(switches) = &process.switches {
            count(switches.state, &mut denied.status, &mut failed.status, &mut deferred.status);
        }
        process.readings.count_errors(&mut denied, failed);
        health.denied.add(denied);
    }
}

/// Counts a process in its images, or out of them, if it has exited since it was counted, or was
/// taken for a zombie.
fn count_member<H>(process: &mut Tracked<H>, membership: &mut Membership) {
    let is_member = process.is_live_member();
    if std::mem::replace(&mut process.is_counted, is_member) != is_member {
        for &image in process.images.iter() {
            if is_member {
                membership.add_start(image);
            } else {
                membership.add_exit(image);
            }
        }
    }
}

/// The descriptors of a process in percent of their soft limit.
fn fd_percent<H>(process: &Tracked<H>) -> Option<f64> {
    process.fd_limit.percent(process.readings.fds.value()?)
}

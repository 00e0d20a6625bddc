//! The model kernel as a source of readings. Between any two reads of the driver
//! something may happen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use psstat_proc_parse::net::snmp::TcpCounters;
use psstat_proc_parse::{Pages, Statm};

use super::kernel::{Access, Action, Event, Id, Images, Kernel, Limits, Process, State};
use crate::classifier::CmdlineBatch;
use crate::cpu_time::{CpuReading, CpuSamples};
use crate::fault_counts::FaultCounts;
use crate::ids::{NetnsId, ProcessKey, Protocol, Slot, SocketInode};
use crate::io_counters::IoCounters;
use crate::read::fd_sockets::FdSockets;
use crate::read::outcome::{Failure, Outcome, Unread};
use crate::read::process_list::{PartialListing, PidRange};
use crate::read::procfs::ProcDir;
use crate::read::socket_tables::{RowCounts, Shortcuts};
use crate::source::{
    Existence, Handles, ParentStat, ProcessSource, SocketSource, StatSummary, Target,
};
use crate::usage::ProcessReadings;

/// The events after a number of reads.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Event(Event),
    Action(Action),
}

/// How the driver may read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abilities {
    /// Descriptors are kept open.
    pub(super) handles: bool,
    pub(super) cpu_clock: bool,
    /// Only new pids can be listed.
    pub(super) partial_listing: bool,
    /// The kernel shows the CPU time of children in ticks of this length; 0: exactly.
    pub(super) tick: u64,
    /// A CPU clock shows what a process has run at the next tick, some reads later.
    pub(super) late_clock: bool,
}

/// The reads from one tick to the next.
const READS_PER_TICK: u64 = 6;

/// The kernel, and what is still to happen.
#[derive(Debug)]
pub(super) struct World {
    pub(super) kernel: Kernel,
    abilities: Abilities,
    /// Each step happens after a number of reads more, once the last one has.
    pending: VecDeque<(u8, Step)>,
    reads: u64,
    /// How often `io`, and the memory, of each process was read.
    pub(super) reads_of: BTreeMap<Id, (u32, u32)>,
    /// A key was not that of its process any more, so the driver discards the command line.
    inode_differed: bool,
    /// The process whose command line is being classified, and its images.
    classified: Option<(Id, Images)>,
    /// The processes whose command line blocked.
    blocked: BTreeSet<Id>,
    /// The last result of `boot_ticks`, until an inode is read.
    ticks_read: u64,
    listed: Vec<ProcessKey>,
    /// The pid that had been assigned last at the last listing.
    listed_up_to: Option<u32>,
    /// The process that the driver knows by each pid.
    known: BTreeMap<u32, Id>,
    /// Which process had each inode.
    inodes: BTreeMap<u64, Id>,
}

/// The open `io` of a process.
#[derive(Debug, Default)]
pub(super) struct ModelHandles(Option<(Id, Rc<()>)>);

impl Handles for ModelHandles {
    fn open_fds(&self) -> usize {
        usize::from(self.0.is_some())
    }
}

/// The ids of threads other than leaders.
const FIRST_TID: u32 = 1 << 20;

fn tid(id: Id) -> u32 {
    FIRST_TID + id as u32
}

impl World {
    pub(super) fn new(limits: Limits, abilities: Abilities, history: Vec<(u8, Event)>) -> World {
        let pending = history.into_iter().map(|(reads, event)| (reads, Step::Event(event)));
        World {
            kernel: Kernel::new(limits),
            abilities,
            pending: pending.collect(),
            reads: 0,
            reads_of: BTreeMap::new(),
            inode_differed: false,
            classified: None,
            blocked: BTreeSet::new(),
            ticks_read: 0,
            listed: Vec::new(),
            listed_up_to: None,
            known: BTreeMap::new(),
            inodes: BTreeMap::new(),
        }
    }

    /// A part of the history happens before the first cycle.
    pub(super) fn advance(&mut self) {
        for _ in 0..self.pending.len() / 2 {
            self.tick();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.pending.is_empty()
    }

    /// Performs an action after a number of reads more, once the last one is done.
    pub(super) fn later(&mut self, reads: u8, action: Action) {
        self.pending.push_back((reads, Step::Action(action)));
    }

    /// The process with this key, as the driver knows it.
    pub(super) fn id(&self, key: ProcessKey) -> Id {
        self.inodes[&key.inode]
    }

    /// The driver reads: what was to happen before happens now.
    fn tick(&mut self) {
        self.reads += 1;
        self.kernel.ticks += u64::from(self.reads.is_multiple_of(16));
        if self.reads.is_multiple_of(READS_PER_TICK) {
            self.kernel.update_clocks();
        }
        while let Some((reads, step)) = self.pending.front_mut() {
            if *reads > 0 {
                *reads -= 1;
                break;
            }
            let step = step.clone();
            self.pending.pop_front();
            let action = match step {
                Step::Event(event) => self.kernel.choose(&event),
                Step::Action(action) => Some(action),
            };
            if let Some(action) = action {
                self.kernel.perform(&action);
            }
        }
        if !self.abilities.late_clock {
            self.kernel.update_clocks();
        }
    }

    /// The counters of all processes that their CPU clocks show.
    pub(super) fn shown_io(&mut self) -> Vec<IoCounters> {
        if !self.abilities.late_clock {
            self.kernel.update_clocks();
        }
        self.kernel.processes.iter().map(|process| process.shown).collect()
    }

    fn is_visible(process: &Process) -> bool {
        process.state != State::Reaped && !process.unlisted
    }

    /// The process that has this pid now.
    fn by_pid(&self, pid: u32) -> Option<Id> {
        let found = |process: &Process| process.pid == pid && World::is_visible(process);
        self.kernel.processes.iter().position(found)
    }

    /// The process that was listed, if it exists, as a path and the check of the
    /// directory's inode find it.
    fn by_key(&self, key: ProcessKey) -> Option<Id> {
        self.by_pid(key.pid).filter(|&id| {
            let process = &self.kernel.processes[id];
            process.inode == key.inode || (key.starttime != 0 && process.starttime == key.starttime)
        })
    }

    /// The same through the open descriptor, if there is one.
    fn by_target(&self, process: &Target<'_, ModelHandles>) -> Option<Id> {
        match &process.handles.0 {
            Some((id, _)) => {
                Some(*id).filter(|&id| self.kernel.processes[id].state != State::Reaped)
            }
            None => self.by_key(process.key),
        }
    }

    fn process(&self, id: Id) -> &Process {
        &self.kernel.processes[id]
    }

    /// The entries with these pids.
    fn entries(&mut self, pids: PidRange) -> Vec<ProcessKey> {
        let mut keys = Vec::new();
        for (id, process) in self.kernel.processes.iter().enumerate() {
            if World::is_visible(process) && pids.contains(process.pid) {
                keys.push(ProcessKey { pid: process.pid, inode: process.inode, starttime: 0 });
                self.inodes.insert(process.inode, id);
                self.known.insert(process.pid, id);
            }
        }
        keys.sort_by_key(|key| key.pid);
        keys
    }

    fn io_of(&self, id: Id) -> Outcome<IoCounters> {
        match self.process(id).io_access {
            Access::Allowed => Outcome::Value(self.process(id).counters),
            Access::Failing => Outcome::Failed(Failure::Errno(5)),
            Access::Denied => Outcome::Denied,
        }
    }
}

/// The command line of a process of these images.
pub(super) fn command_line(images: Images) -> Vec<u8> {
    format!("images={images}\0").into_bytes()
}

impl ProcessSource for World {
    type Handles = ModelHandles;

    fn list(&mut self) -> Result<&[ProcessKey], Failure> {
        self.tick();
        self.listed_up_to = self.abilities.partial_listing.then_some(self.kernel.last_pid);
        self.tick();
        self.listed = self.entries(PidRange::ALL);
        self.kernel.begin();
        Ok(&self.listed)
    }

    fn list_new(&mut self) -> Option<PartialListing<'_>> {
        let after = self.listed_up_to?;
        self.tick();
        let last = self.kernel.last_pid;
        self.listed_up_to = Some(last);
        let pids = PidRange::between(after, last);
        self.tick();
        self.listed = self.entries(pids);
        self.tick();
        let visible = self.kernel.processes.iter().filter(|process| World::is_visible(process));
        let processes = visible.count() as u64;
        Some(PartialListing { listed: &self.listed, pids, processes })
    }

    fn boot_ticks(&mut self) -> u64 {
        self.ticks_read = self.kernel.ticks;
        self.ticks_read
    }

    async fn stat(&mut self, pid: u32) -> Outcome<StatSummary> {
        self.tick();
        let Some(id) = self.by_pid(pid) else { return Outcome::Exited };
        let process = self.process(id);
        let parent = self.process(process.parent);
        Outcome::Value(StatSummary {
            ppid: if process.pid == 1 { 0 } else { parent.pid },
            starttime: Some(process.starttime),
            is_zombie: !process.has_memory(),
            num_threads: if process.leader_exited && process.state == State::Running {
                2
            } else {
                1
            },
        })
    }

    fn inode_matches(&mut self, key: ProcessKey) -> bool {
        self.tick();
        let Some(id) = self.by_pid(key.pid) else {
            self.inode_differed = true;
            return false;
        };
        // The driver takes it as identified only if it has read the time before.
        let ticks = std::mem::take(&mut self.ticks_read);
        let process = &mut self.kernel.processes[id];
        let matches = process.inode == key.inode;
        process.identified |= matches && process.starttime < ticks;
        self.inode_differed |= !matches;
        matches
    }

    async fn live_thread(&mut self, key: ProcessKey) -> Option<u32> {
        self.tick();
        let id = self.by_key(key)?;
        let process = self.process(id);
        (process.leader_exited && process.state == State::Running).then(|| tid(id))
    }

    fn has_thread(&mut self, pid: u32, thread: u32) -> bool {
        self.tick();
        self.by_pid(pid)
            .is_some_and(|id| thread == tid(id) && self.process(id).state == State::Running)
    }

    fn has_cpu_clock(&self) -> bool {
        self.abilities.cpu_clock
    }

    fn skips_idle(&self) -> bool {
        self.abilities.cpu_clock
    }

    fn cpu_clock(&mut self, pid: u32) -> Option<u64> {
        self.tick();
        let id = self.by_pid(pid)?;
        self.kernel.note_clock(id);
        Some(self.process(id).cpu.shown.total())
    }

    async fn cpu_time(&mut self, pid: u32) -> Outcome<CpuReading> {
        self.tick();
        let Some(id) = self.by_pid(pid) else { return Outcome::Exited };
        self.kernel.note_cpu_time(id);
        let shown = self.process(id).cpu.shown;
        let user = (!self.abilities.cpu_clock).then_some(shown.user);
        Outcome::Value(CpuReading { total: shown.total(), user })
    }

    fn cpu_samples(&mut self, pid: u32) -> Option<CpuSamples> {
        self.tick();
        let id = self.by_pid(pid).filter(|_| self.abilities.cpu_clock)?;
        let shown = self.process(id).cpu.shown;
        Some(CpuSamples { user: shown.user, total: shown.total() })
    }

    fn tick_nanoseconds(&self) -> u64 {
        self.abilities.tick
    }

    fn is_blocked(&self, pid: u32) -> bool {
        let id = self.by_pid(pid);
        id.is_some_and(|id| self.process(id).blocks && self.blocked.contains(&id))
    }

    async fn cmdline(
        &mut self,
        _pid: u32,
        tid: u32,
        _limit: usize,
        line: &mut Vec<u8>,
    ) -> Outcome<()> {
        self.tick();
        let thread = tid.checked_sub(FIRST_TID).map(|id| id as Id);
        let id = thread.or_else(|| self.by_pid(tid));
        let Some(id) = id.filter(|&id| World::is_visible(self.process(id))) else {
            return Outcome::Exited;
        };
        let process = self.process(id);
        let images = process.images;
        if thread.is_some() && process.state != State::Running {
            return Outcome::Exited;
        }
        if thread.is_none() && !process.has_memory() {
            return Outcome::Value(());
        }
        if process.blocks {
            self.blocked.insert(id);
            return Outcome::Unread(Unread::Blocked);
        }
        // The pid may be that of a process which the driver does not know yet.
        if self.known.get(&process.pid) == Some(&id) {
            if self.kernel.is_unseen(id) {
                self.kernel.see(id, images);
            } else {
                self.kernel.note_command_line(id, Some(images));
                self.classified = Some((id, images));
            }
        }
        line.extend(command_line(images));
        self.inode_differed = false;
        Outcome::Value(())
    }

    fn real_uid(&self, _pid: u32) -> Option<u32> {
        None
    }

    fn end_cmdline(&mut self) {
        let Some((id, images)) = self.classified.take() else { return };
        if self.inode_differed {
            self.kernel.note_command_line(id, None);
        } else {
            self.kernel.see(id, images);
        }
    }

    fn cmdlines_per_batch(&self) -> usize {
        1
    }

    async fn classify(&mut self, mut batch: CmdlineBatch) -> CmdlineBatch {
        batch.classify(&mut super::model::classify);
        batch
    }

    async fn io(&mut self, process: Target<'_, ModelHandles>) -> Outcome<IoCounters> {
        self.tick();
        let Some(id) = self.by_target(&process) else { return Outcome::Exited };
        self.reads_of.entry(id).or_default().0 += 1;
        let outcome = self.io_of(id);
        if matches!(outcome, Outcome::Value(_)) {
            self.kernel.note_read(id);
            if self.abilities.handles && process.handles.0.is_none() {
                process.handles.0 = Some((id, Rc::clone(&self.process(id).open)));
            }
        }
        outcome
    }

    async fn io_once(&mut self, key: ProcessKey) -> Outcome<IoCounters> {
        self.tick();
        let Some(id) = self.by_key(key) else { return Outcome::Exited };
        let outcome = self.io_of(id);
        if matches!(outcome, Outcome::Value(_)) {
            self.kernel.note_baseline(id);
        }
        outcome
    }

    async fn parent_stat(&mut self, key: ProcessKey) -> Outcome<ParentStat> {
        self.tick();
        let Some(id) = self.by_key(key) else { return Outcome::Exited };
        let process = self.process(id);
        let is_zombie = process.state == State::Zombie;
        let cpu = &process.cpu;
        // A page fault per unit of CPU time: minor ones in user mode.
        let (minor, major) = (cpu.counters.user, cpu.counters.system);
        let faults = [(minor, major), (cpu.counters.child_user, cpu.counters.child_system)];
        let [faults, child_faults] = faults.map(|(minor, major)| {
            let (minor, major) = (minor.cast_unsigned(), major.cast_unsigned());
            FaultCounts { minor, major }
        });
        let children = self.kernel.children_cpu(id, self.abilities.tick);
        let cminflt = child_faults.minor;
        Outcome::Value(ParentStat { cminflt, faults, child_faults, children, is_zombie })
    }

    async fn check_exists(&mut self, process: Target<'_, ModelHandles>) -> Existence {
        self.tick();
        let id = self.by_target(&process);
        let fds = id.filter(|_| process.handles.0.is_some());
        let fds = fds.map(|id| Outcome::Value(self.process(id).fds()));
        Existence { exited: id.is_none(), fds }
    }

    async fn is_alive_by_handles(&mut self, process: Target<'_, ModelHandles>) -> bool {
        self.tick();
        process.handles.0.as_ref().is_some_and(|&(id, _)| self.process(id).state != State::Reaped)
    }

    async fn read_gauges(
        &mut self,
        process: Target<'_, ModelHandles>,
        fds: Option<Outcome<u64>>,
        readings: &mut ProcessReadings,
    ) {
        readings.fds = fds.unwrap_or_else(|| {
            self.tick();
            match self.by_target(&process) {
                Some(id) => Outcome::Value(self.process(id).fds()),
                None => Outcome::Exited,
            }
        });
        self.tick();
        readings.threads = match self.by_target(&process) {
            Some(_) => Outcome::Value(1),
            None => Outcome::Exited,
        };
        self.tick();
        readings.statm = match self.by_target(&process) {
            Some(id) => {
                self.reads_of.entry(id).or_default().1 += 1;
                Outcome::Value(statm(self.process(id), false))
            }
            None => Outcome::Exited,
        };
    }

    async fn read_thread_gauges(&mut self, pid: u32, _tid: u32, readings: &mut ProcessReadings) {
        self.tick();
        readings.statm = match self.by_pid(pid) {
            Some(id) => Outcome::Value(statm(self.process(id), true)),
            None => Outcome::Exited,
        };
    }

    fn limit_handles(&mut self, _slot: Slot, _handles: &mut ModelHandles) {}

    fn page_size(&self) -> u64 {
        4096
    }
}

fn statm(process: &Process, thread: bool) -> Statm {
    let has_memory = process.has_memory() || (thread && process.state == State::Running);
    let size = u64::from(has_memory);
    let mut statm = Statm::default();
    (statm.size, statm.text) = (Pages(size), Pages(size * process.text));
    statm
}

impl SocketSource for World {
    async fn scan_fds(
        &mut self,
        process: Target<'_, ModelHandles>,
        _from: u64,
        _limit: u64,
        found: &mut FdSockets,
    ) -> Outcome<Option<u64>> {
        self.tick();
        let Some(id) = self.by_key(process.key) else { return Outcome::Exited };
        found.sockets.extend(&self.process(id).sockets);
        found.fds += self.process(id).fds();
        Outcome::Value(None)
    }

    async fn netns(&mut self, process: ProcDir) -> Outcome<NetnsId> {
        self.tick();
        let (ProcDir::Pid(pid) | ProcDir::Thread(pid, _)) = process else {
            return Outcome::Denied;
        };
        self.by_pid(pid).map_or(Outcome::Exited, |_| Outcome::Value(NetnsId(1)))
    }

    fn tcp_counters(&mut self, _process: ProcDir) -> Option<TcpCounters> {
        self.tick();
        self.kernel.tcp
    }

    fn established(
        &mut self,
        _process: ProcDir,
        _netns: NetnsId,
        protocol: Protocol,
        _shortcuts: Shortcuts,
        found: &mut dyn FnMut(SocketInode),
    ) -> Outcome<RowCounts> {
        self.tick();
        let mut rows = RowCounts::default();
        if protocol == Protocol::Tcp {
            let Some(table) = &self.kernel.established else { return Outcome::Denied };
            let unaccepted = std::iter::repeat_n(&0, self.kernel.unaccepted as usize);
            let inodes = table.iter().chain(unaccepted);
            inodes.for_each(|&inode| rows.add_established(inode.into(), found));
            rows.open += self.kernel.close_wait;
            self.kernel.tcp_walks += 1;
        }
        Outcome::Value(rows)
    }
}

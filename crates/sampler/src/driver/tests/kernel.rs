//! A model of the kernel: what it does with processes, their io counters and their
//! entries in `/proc`; and a record of what every process really did.

use std::collections::BTreeSet;
use std::rc::Rc;

use psstat_proc_parse::net::snmp::TcpCounters;

use crate::cpu_time::{CpuCounters, CpuTime};
use crate::io_counters::IoCounters;

/// The number of images.
pub(super) const IMAGES: usize = 3;

/// A process by the order of forks; pids are reused, these are not.
pub(super) type Id = usize;

/// It adopts orphans unless a nearer subreaper does, and waits for them at once.
pub(super) const INIT: Id = 0;

/// Images as bits.
pub(super) type Images = u8;

/// Pids are assigned in turn up to this one, then from the lowest free one.
const LAST_PID: u32 = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Zombie,
    Reaped,
}

/// The result of a read of `io`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Access {
    #[default]
    Allowed,
    /// An error other than a denial; it is tried again in the next cycle.
    Failing,
    Denied,
}

#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// Of its entry in `/proc`.
    pub(super) inode: u64,
    /// The clock tick in which it started.
    pub(super) starttime: u64,
    pub(super) parent: Id,
    pub(super) state: State,
    /// Its leader has exited; another thread runs.
    pub(super) leader_exited: bool,
    pub(super) images: Images,
    /// Every image that it ever belonged to.
    pub(super) ever: Images,
    /// Changes with each exec, as the size of the program's code does.
    pub(super) text: u64,
    pub(super) cpu: Cpu,
    /// Ignores SIGCHLD.
    ignores: bool,
    subreaper: bool,
    pub(super) io_access: Access,
    /// A read of its command line blocks.
    pub(super) blocks: bool,
    /// Not listed, as with `hidepid`; open descriptors still work.
    pub(super) unlisted: bool,
    /// The driver has seen it after the clock tick in which it started, so its start time
    /// identifies it.
    pub(super) identified: bool,
    /// Cloned by every open descriptor of the driver.
    pub(super) open: Rc<()>,
    /// The inodes of the sockets that it holds; it has three other descriptors.
    pub(super) sockets: Vec<u32>,
    /// The images that the driver found it in last.
    seen_in: Option<Images>,
    /// Those of a command line that was read and is being classified.
    read_in: Images,
    /// The driver has read its io while it belonged to no image.
    has_baseline: bool,
    /// The io that it did itself.
    own: IoCounters,
    /// At most that much of it counts in an image: what it did while it belonged to the
    /// image or the driver counted it as a member.
    own_in: [IoCounters; IMAGES],
    /// The rest of what it did since it was last read; it counts in the image that it is
    /// found in next.
    own_since: [IoCounters; IMAGES],
    /// That much of the rest is in a reading which may still be discarded.
    own_read: [IoCounters; IMAGES],
    /// It ran before the first cycle of a driver whose counters begin with that.
    pub(super) has_past: bool,
    /// Its `io` was read.
    was_read: bool,
    /// The cycle in which its past ended: up to its last reading in it, nothing counts.
    past_end: Option<usize>,
    /// The io that it did itself until then; as a whole, and of `own_in`.
    past: IoCounters,
    past_in: [IoCounters; IMAGES],
    /// The same at its last reading, and the processes whose counters that contains.
    past_read: Option<(IoCounters, [IoCounters; IMAGES], Vec<Id>)>,
    /// The last reading of the current cycle.
    last_read: Option<IoCounters>,
    /// `/proc/PID/io`: with the counters of the children that it has waited for.
    pub(super) counters: IoCounters,
    /// The same when its CPU clock was brought up to date.
    pub(super) shown: IoCounters,
    absorbed: Option<Absorbed>,
    /// It had another parent once, or its parent did not always or never ignore SIGCHLD.
    reparented: bool,
    /// It has changed whether it ignores SIGCHLD.
    switched: bool,
    /// The cycles in which it exited, and was waited for.
    exited: Option<usize>,
    reaped: Option<usize>,
}

/// The CPU time of a process. It grows with everything that a process does, so each value stands
/// for one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Cpu {
    /// The kernel's counters, with the children that it has waited for.
    pub(super) counters: CpuCounters,
    /// Of its own, at most that much counts in an image, as `own_in` of its io.
    own_in: [i64; IMAGES],
    /// The rest counts in the image that it is found in next, as far as it exceeds `read_since`.
    since: [i64; IMAGES],
    read_since: [i64; IMAGES],
    /// Its own CPU time as its CPU clock shows it, in both modes.
    pub(super) shown: CpuTime,
    /// That when its CPU clock was read last, alone.
    clock: i64,
    /// The same, alone or not.
    last_clock: i64,
    has_baseline: bool,
    was_read: bool,
    past_end: Option<usize>,
    /// Its own CPU time until then; as a whole, and of `own_in`.
    past: i64,
    past_in: [i64; IMAGES],
    /// Its own CPU time, `own_in` and `since` after each change.
    history: Vec<(i64, [i64; IMAGES], [i64; IMAGES])>,
}

impl Cpu {
    /// Its own, in both modes.
    pub(super) fn own(&self) -> i64 {
        self.counters.user + self.counters.system
    }

    /// That of the children that it has waited for.
    fn children(&self) -> i64 {
        self.counters.total() - self.own()
    }

    fn use_time(&mut self, user: i64, system: i64, may_count_in: Images) {
        self.counters.user += user;
        self.counters.system += system;
        for image in 0..IMAGES {
            let is_in = may_count_in & (1 << image) != 0;
            let part = if is_in { &mut self.own_in[image] } else { &mut self.since[image] };
            *part += user + system;
        }
        self.note_change();
    }

    fn note_change(&mut self) {
        self.history.push((self.own(), self.own_in, self.since));
    }

    /// `own_in` and `since` when its own CPU time was that.
    fn at(&self, own: i64) -> ([i64; IMAGES], [i64; IMAGES]) {
        let at = self.history.iter().rev().find(|&&(at, ..)| at <= own);
        at.map_or_else(Default::default, |&(_, own_in, since)| (own_in, since))
    }

    /// Its own CPU time until this reading counts in no image that it is found in later.
    fn read_until(&mut self, own: i64) {
        let (_, since) = self.at(own);
        for (read, since) in self.read_since.iter_mut().zip(since) {
            *read = since.max(*read);
        }
    }

    /// As [`Kernel::end_past`].
    fn end_past(&mut self, own: i64, cycle: usize) {
        match self.past_end {
            Some(end) if end < cycle => {}
            Some(_) if self.past >= own => {}
            _ => {
                self.past_end = Some(cycle);
                (self.past, self.past_in) = (own, self.at(own).0);
            }
        }
    }
}

/// Where the counters of a process that was waited for went.
#[derive(Clone, Copy, Debug)]
struct Absorbed {
    /// The process whose counters they were added to.
    inheritor: Id,
    /// The images that it belonged to.
    images: Images,
    /// The inheritor was not read since.
    is_recent: bool,
    /// It was, by a reading which may still be discarded.
    is_read: bool,
    /// The same of its CPU time. A reading of the children of the inheritor has it if it shows at
    /// least this much.
    cpu_images: Images,
    is_cpu_recent: bool,
    cpu_at: i64,
}

impl Process {
    /// The images in whose sums its counters may be.
    fn may_count_in(&self) -> Images {
        self.images | self.seen_in.unwrap_or_default() | self.read_in
    }

    /// `io` of the leader's directory: no memory, descriptors or command line there.
    pub(super) fn has_memory(&self) -> bool {
        self.state == State::Running && !self.leader_exited
    }

    pub(super) fn fds(&self) -> u64 {
        3 + self.sockets.len() as u64
    }
}

/// An event of a random history. A process is named by a number that is taken modulo
/// the number of processes to choose from.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Fork {
        parent: usize,
        images: Images,
        ignores: bool,
        subreaper: bool,
        /// With the lowest free pid, as by clone3 with `set_tid`.
        reuses_pid: bool,
    },
    Write {
        id: usize,
        amounts: [i16; 7],
    },
    /// By exec, or by a new title.
    Move {
        id: usize,
        images: Images,
        exec: bool,
    },
    Exit {
        id: usize,
    },
    /// A parent waits for all its zombies, or for one of them.
    Wait {
        parent: usize,
        child: Option<usize>,
    },
    /// Begins to ignore SIGCHLD, or stops.
    Ignore {
        id: usize,
        ignores: bool,
    },
    SetAccess {
        id: usize,
        access: Access,
    },
    /// The command line cannot be read, or can again.
    Block {
        id: usize,
        blocks: bool,
    },
    ExitLeader {
        id: usize,
    },
    /// The entries of `/proc` without an open descriptor get other inodes; only those of
    /// processes that their start time identifies: others count as new ones.
    DropCaches,
}

/// The actions of one process, for the rules, which name it exactly.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Fork { parent: Id, images: Images, ignores: bool, subreaper: bool, reuses_pid: bool },
    Write { id: Id, amounts: [i16; 7] },
    Move { id: Id, images: Images, exec: bool },
    Exit { id: Id },
    Wait { parent: Id, child: Option<Id> },
    Ignore { id: Id, ignores: bool },
    SetAccess { id: Id, access: Access },
    Block { id: Id, blocks: bool },
    Unlist { id: Id, unlisted: bool },
    ExitLeader { id: Id },
    DropCaches { all: bool },
    Tick,
}

/// The kinds of events that a history may contain.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// A process may exit before its children.
    pub(super) orphans: bool,
    /// Other processes than init may adopt.
    pub(super) subreapers: bool,
    /// A process may change whether it ignores SIGCHLD.
    pub(super) switches: bool,
    /// A process may become unreadable, and readable again.
    pub(super) hides: bool,
    /// The leader of a process may exit before its other threads.
    pub(super) leaders: bool,
    /// The kernel may drop entries of `/proc` from its cache.
    pub(super) caches: bool,
}

#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) processes: Vec<Process>,
    limits: Limits,
    /// Counts the cycles.
    cycle: usize,
    /// Clock ticks since boot.
    pub(super) ticks: u64,
    /// The pid that was assigned last.
    pub(super) last_pid: u32,
    next_inode: u64,
    /// I/O of processes before the first listing counts in no image.
    pub(super) excludes_past: bool,
    /// The ESTABLISHED tcp sockets; `None` if the table cannot be read.
    pub(super) established: Option<BTreeSet<u32>>,
    /// Further rows of that table, which are in CLOSE_WAIT, or wait to be accepted.
    pub(super) close_wait: u64,
    pub(super) unaccepted: u64,
    /// The counters of TCP, where they can be read.
    pub(super) tcp: Option<TcpCounters>,
    /// How often the table was read.
    pub(super) tcp_walks: u32,
    /// The CPU time that processes have used only because their pid is that of an earlier one.
    pub(super) further_cpu: i64,
}

impl Kernel {
    pub(super) fn new(limits: Limits) -> Kernel {
        let mut kernel = Kernel {
            processes: Vec::new(),
            limits,
            cycle: 0,
            ticks: 1,
            last_pid: 1,
            next_inode: 1000,
            excludes_past: false,
            established: Some(BTreeSet::new()),
            close_wait: 0,
            unaccepted: 0,
            tcp: None,
            tcp_walks: 0,
            further_cpu: 0,
        };
        kernel.add(1, INIT, 0, false, true);
        kernel
    }

    fn add(&mut self, pid: u32, parent: Id, images: Images, ignores: bool, subreaper: bool) {
        let zero = [IoCounters::ZERO; IMAGES];
        self.processes.push(Process {
            pid,
            inode: self.next_inode,
            starttime: self.ticks,
            parent,
            state: State::Running,
            leader_exited: false,
            images,
            ever: images,
            text: 1,
            cpu: Cpu::default(),
            ignores,
            subreaper,
            io_access: Access::Allowed,
            blocks: false,
            unlisted: false,
            identified: false,
            open: Rc::new(()),
            sockets: Vec::new(),
            seen_in: None,
            read_in: 0,
            has_baseline: false,
            own: IoCounters::ZERO,
            own_in: zero,
            own_since: zero,
            own_read: zero,
            has_past: false,
            was_read: false,
            past_end: None,
            past: IoCounters::ZERO,
            past_in: zero,
            past_read: None,
            last_read: None,
            counters: IoCounters::ZERO,
            shown: IoCounters::ZERO,
            absorbed: None,
            reparented: false,
            switched: false,
            exited: None,
            reaped: None,
        });
        self.next_inode += 1;
        self.run(self.processes.len() - 1);
    }

    /// The action of an event, if the limits allow one.
    pub(super) fn choose(&self, event: &Event) -> Option<Action> {
        Some(match *event {
            Event::Fork { parent, images, ignores, subreaper, reuses_pid } => {
                let subreaper = subreaper && self.limits.subreapers;
                let parent = self.running(parent);
                Action::Fork { parent, images, ignores, subreaper, reuses_pid }
            }
            Event::Write { id, amounts } => Action::Write { id: self.running(id), amounts },
            Event::Move { id, images, exec } => {
                Action::Move { id: self.running_but_init(id)?, images, exec }
            }
            Event::Exit { id } => {
                let id = self.running_but_init(id)?;
                let childless = self.children(id).is_empty();
                let allowed = self.limits.orphans || (childless && !self.processes[id].ignores);
                Action::Exit { id: Some(id).filter(|_| allowed)? }
            }
            Event::Wait { parent, child } => {
                let parent = self.running(parent);
                let zombies = self.zombies(parent);
                let child = match child {
                    Some(_) if zombies.is_empty() => return None,
                    Some(child) => Some(zombies[child % zombies.len()]),
                    None => None,
                };
                Action::Wait { parent, child }
            }
            Event::Ignore { id, ignores } if self.limits.switches => {
                Action::Ignore { id: self.running_but_init(id)?, ignores }
            }
            Event::SetAccess { id, access } if self.limits.hides => {
                Action::SetAccess { id: self.running_but_init(id)?, access }
            }
            Event::Block { id, blocks } if self.limits.hides => {
                Action::Block { id: self.running_but_init(id)?, blocks }
            }
            Event::ExitLeader { id } if self.limits.leaders => {
                Action::ExitLeader { id: self.running_but_init(id)? }
            }
            Event::DropCaches if self.limits.caches => Action::DropCaches { all: false },
            _ => return None,
        })
    }

    pub(super) fn perform(&mut self, action: &Action) {
        match *action {
            Action::Fork { parent, images, ignores, subreaper, reuses_pid } => {
                self.fork(parent, images, ignores, subreaper, reuses_pid);
            }
            Action::Write { id, amounts } => self.write(id, amounts),
            Action::Move { id, images, exec } => {
                let process = &mut self.processes[id];
                process.images = images;
                process.ever |= images;
                process.text += u64::from(exec);
                self.run(id);
            }
            Action::Exit { id } => self.exit(id),
            Action::Wait { parent, child } => {
                let mut zombies = self.zombies(parent);
                zombies.retain(|&zombie| child.is_none_or(|child| child == zombie));
                zombies.into_iter().for_each(|child| self.absorb(child));
            }
            Action::Ignore { id, ignores } => self.ignore(id, ignores),
            Action::SetAccess { id, access } => self.processes[id].io_access = access,
            Action::Block { id, blocks } => self.processes[id].blocks = blocks,
            Action::Unlist { id, unlisted } => self.processes[id].unlisted = unlisted,
            Action::ExitLeader { id } => self.processes[id].leader_exited = true,
            Action::DropCaches { all } => self.drop_caches(all),
            Action::Tick => self.ticks += 1,
        }
    }

    fn drop_caches(&mut self, all: bool) {
        for process in &mut self.processes {
            if Rc::strong_count(&process.open) == 1 && (all || process.identified) {
                process.inode = self.next_inode;
                self.next_inode += 1;
            }
        }
    }

    fn fork(
        &mut self,
        parent: Id,
        images: Images,
        ignores: bool,
        subreaper: bool,
        reuses_pid: bool,
    ) {
        let used = |process: &&Process| process.state != State::Reaped;
        let taken: BTreeSet<u32> = self.processes.iter().filter(used).map(|p| p.pid).collect();
        let mut in_turn = (self.last_pid + 1..=LAST_PID).chain(2..=self.last_pid);
        let next = in_turn.find(|pid| !taken.contains(pid)).filter(|_| !reuses_pid);
        let pid = match next {
            Some(pid) => {
                self.last_pid = pid;
                pid
            }
            None => (2..).find(|pid| !taken.contains(pid)).unwrap(),
        };
        let switched = self.processes[parent].switched;
        self.run(parent);
        // No two processes with the same pid ever show the same CPU time, as in nanoseconds.
        let earlier = self.processes.iter().filter(|process| process.pid == pid);
        let most = earlier.map(|process| process.cpu.own()).max().unwrap_or(0);
        self.add(pid, parent, images, ignores, subreaper);
        let process = self.processes.last_mut().unwrap();
        process.cpu.use_time(most, 0, process.may_count_in());
        self.further_cpu += most;
        self.processes.last_mut().unwrap().reparented = switched;
    }

    fn write(&mut self, id: Id, amounts: [i16; 7]) {
        let [rchar, wchar, syscr, syscw, read_bytes, write_bytes, cancelled_write_bytes] =
            amounts.map(i64::from);
        let done = IoCounters {
            rchar,
            wchar,
            syscr,
            syscw,
            read_bytes,
            write_bytes,
            cancelled_write_bytes,
        };
        let process = &mut self.processes[id];
        let used = [wchar, syscw];
        process.own = process.own.saturating_add(done);
        process.counters = process.counters.saturating_add(done);
        let may_count_in = process.may_count_in();
        for image in 0..IMAGES {
            let part = if may_count_in & (1 << image) != 0 {
                &mut process.own_in[image]
            } else {
                &mut process.own_since[image]
            };
            *part = part.saturating_add(done);
        }
        process.cpu.use_time(1 + used[0], used[1], may_count_in);
    }

    /// A process uses the least CPU time.
    fn run(&mut self, id: Id) {
        let process = &mut self.processes[id];
        process.cpu.use_time(1, 0, process.may_count_in());
    }

    /// A process opens and closes sockets.
    pub(super) fn set_sockets(&mut self, id: Id, sockets: &[u32]) {
        self.processes[id].sockets = sockets.to_vec();
        self.run(id);
    }

    /// A tick: the CPU clocks show all that processes have run.
    pub(super) fn update_clocks(&mut self) {
        for process in &mut self.processes {
            let CpuCounters { user, system, .. } = process.cpu.counters;
            process.cpu.shown =
                CpuTime { user: user.cast_unsigned(), system: system.cast_unsigned() };
            process.shown = process.counters;
        }
    }

    /// Whether the driver has not classified a process yet.
    pub(super) fn is_unseen(&self, id: Id) -> bool {
        self.processes[id].seen_in.is_none()
    }

    /// From now on the driver counts the process as a member of these images.
    pub(super) fn see(&mut self, id: Id, images: Images) {
        let process = &mut self.processes[id];
        process.read_in = 0;
        let before = process.seen_in.replace(images);
        // Io of a process from a time when it was known to belong to no image counts in none,
        // unless its io then was read: what it did since then counts.
        if before != Some(0) || std::mem::take(&mut process.has_baseline) {
            let joined = images & !before.unwrap_or_default();
            for image in (0..IMAGES).filter(|image| joined & (1 << image) != 0) {
                let since = std::mem::take(&mut process.own_since[image]);
                process.own_in[image] = process.own_in[image].saturating_add(since);
                process.own_read[image] = IoCounters::ZERO;
            }
            for absorbed in self.absorbed(id).filter(|absorbed| absorbed.is_recent) {
                absorbed.images |= joined;
            }
        }
        let process = &mut self.processes[id];
        let has_baseline = std::mem::take(&mut process.cpu.has_baseline);
        let joined = images & !before.unwrap_or_default();
        if before == Some(0) && !has_baseline && joined != 0 {
            // Its CPU clock was read when it was found in the image, and does not show what it has
            // used since the last tick, so that counts.
            process.cpu.read_until(process.cpu.last_clock);
        }
        if joined != 0 {
            for image in (0..IMAGES).filter(|image| joined & (1 << image) != 0) {
                let cpu = &mut process.cpu;
                cpu.own_in[image] += cpu.since[image] - cpu.read_since[image];
                cpu.read_since[image] = cpu.since[image];
            }
            process.cpu.note_change();
            // A baseline has the children until it is found in the image.
            for absorbed in self.absorbed(id).filter(|absorbed| absorbed.is_cpu_recent) {
                if before != Some(0) {
                    absorbed.cpu_images |= joined;
                }
            }
        }
    }

    /// The driver has read the command line of a process, which has these images; or does not use
    /// it after all.
    pub(super) fn note_command_line(&mut self, id: Id, images: Option<Images>) {
        self.processes[id].read_in = images.unwrap_or_default();
    }

    /// The driver has read only the CPU clock of a process.
    pub(super) fn note_clock(&mut self, id: Id) {
        let cpu = &mut self.processes[id].cpu;
        cpu.clock = cpu.shown.total().cast_signed();
        cpu.last_clock = cpu.clock;
    }

    /// The driver has read the CPU time of a process.
    pub(super) fn note_cpu_time(&mut self, id: Id) {
        let cpu = &mut self.processes[id].cpu;
        cpu.last_clock = cpu.shown.total().cast_signed();
    }

    /// At the end of a cycle the driver has this as its last reading of the CPU time of a process.
    pub(super) fn note_last_cpu(&mut self, id: Id, last: CpuCounters) {
        let own = last.user + last.system;
        let children = last.total() - own;
        let process = &mut self.processes[id];
        process.cpu.read_until(own);
        process.cpu.was_read = true;
        let ends_past = process.has_past && process.cpu.past_end.is_none();
        let is_in_it =
            |absorbed: &Absorbed| absorbed.inheritor == id && absorbed.cpu_at <= children;
        if ends_past {
            let cycle = self.cycle;
            self.processes[id].cpu.end_past(own, cycle);
            for at in 0..self.processes.len() {
                if self.inheritance(at).any(|absorbed| is_in_it(&absorbed)) {
                    let Process { has_past, cpu, .. } = &mut self.processes[at];
                    if *has_past || !cpu.was_read {
                        cpu.end_past(cpu.own(), cycle);
                    }
                }
            }
        }
        for absorbed in self.processes.iter_mut().filter_map(|process| process.absorbed.as_mut()) {
            absorbed.is_cpu_recent &= !is_in_it(absorbed);
        }
    }

    /// What `stat` shows of the CPU time of the children of a process, if the kernel counts in
    /// ticks of this length.
    pub(super) fn children_cpu(&self, id: Id, tick: u64) -> CpuTime {
        let CpuCounters { child_user, child_system, .. } = self.processes[id].cpu.counters;
        let shown = |time: i64| time.cast_unsigned() / tick.max(1) * tick.max(1);
        CpuTime { user: shown(child_user), system: shown(child_system) }
    }

    /// The CPU time of an image, as [`expected`](Self::expected).
    pub(super) fn expected_cpu(&self, image: usize) -> i64 {
        let own = |(id, process): (Id, &Process)| {
            let cpu = &process.cpu;
            let is_inherited =
                self.inheritance(id).any(|absorbed| absorbed.cpu_images & (1 << image) != 0);
            if is_inherited { cpu.own() - cpu.past } else { cpu.own_in[image] - cpu.past_in[image] }
        };
        self.processes.iter().enumerate().map(own).sum()
    }

    /// The driver lists the processes for the first time.
    pub(super) fn begin(&mut self) {
        if std::mem::take(&mut self.excludes_past) {
            self.processes.iter_mut().for_each(|process| process.has_past = true);
        }
    }

    /// The driver has read `io` of a tracked process.
    pub(super) fn note_read(&mut self, id: Id) {
        if self.processes[id].has_past && self.processes[id].past_end.is_none() {
            let inherited =
                (0..self.processes.len()).filter(|&at| self.inheritors(at).contains(&id));
            let inherited = inherited.collect();
            let process = &mut self.processes[id];
            process.past_read = Some((process.own, process.own_in, inherited));
        }
        let process = &mut self.processes[id];
        process.was_read = true;
        process.own_read = process.own_since;
        process.last_read = Some(process.counters);
        self.absorbed(id).for_each(|absorbed| absorbed.is_read = true);
    }

    /// The driver has read `io` of a process that belongs to no image.
    pub(super) fn note_baseline(&mut self, id: Id) {
        let process = &mut self.processes[id];
        if process.seen_in.is_none() {
            // Not classified yet: all its io will count.
            return;
        }
        if process.cpu.clock > 0 {
            process.cpu.has_baseline = true;
            process.cpu.read_until(process.cpu.clock);
        }
        process.has_baseline = true;
        process.own_since = [IoCounters::ZERO; IMAGES];
        self.absorbed(id).for_each(|absorbed| absorbed.is_recent = false);
    }

    /// At the end of a cycle the driver has this as its last reading of a process. If it
    /// is not the one that it read last, it has discarded that one.
    pub(super) fn note_last(&mut self, id: Id, last: IoCounters) {
        let past = self.processes[id].past_read.take();
        if self.processes[id].last_read.take() != Some(last) {
            self.processes[id].own_read = [IoCounters::ZERO; IMAGES];
            self.absorbed(id).for_each(|absorbed| absorbed.is_read = false);
        } else if let Some((own, own_in, inherited)) = past {
            self.end_past(id, own, own_in);
            for id in inherited {
                let Process { own, own_in, has_past, was_read, .. } = self.processes[id];
                // Its counted io stays counted.
                if has_past || !was_read {
                    self.end_past(id, own, own_in);
                }
            }
        }
    }

    /// Nothing that a process did until then counts, unless its past had ended in an earlier
    /// cycle.
    fn end_past(&mut self, id: Id, own: IoCounters, own_in: [IoCounters; IMAGES]) {
        let cycle = self.cycle;
        let process = &mut self.processes[id];
        match process.past_end {
            Some(end) if end < cycle => {}
            // That of its inheritor includes all of it.
            Some(_) if process.past.all_ge(own) => {}
            _ => {
                process.past_end = Some(cycle);
                (process.past, process.past_in) = (own, own_in);
            }
        }
    }

    fn absorbed(&mut self, inheritor: Id) -> impl Iterator<Item = &mut Absorbed> {
        let absorbed = self.processes.iter_mut().filter_map(|process| process.absorbed.as_mut());
        absorbed.filter(move |absorbed| absorbed.inheritor == inheritor)
    }

    /// The end of a cycle: readings that were not discarded until now never are.
    pub(super) fn end_cycle(&mut self) {
        self.cycle += 1;
        for process in &mut self.processes {
            process.last_read = None;
            for (since, read) in process.own_since.iter_mut().zip(&mut process.own_read) {
                *since = since.saturating_sub(std::mem::take(read));
            }
            if let Some(absorbed) = &mut process.absorbed {
                absorbed.is_recent &= !absorbed.is_read;
            }
        }
    }

    fn ignore(&mut self, id: Id, ignores: bool) {
        // Children that are zombies already stay.
        self.processes[id].ignores = ignores;
        self.processes[id].switched = true;
        for child in self.children(id) {
            self.processes[child].reparented = true;
        }
    }

    fn exit(&mut self, id: Id) {
        self.processes[id].state = State::Zombie;
        self.processes[id].exited = Some(self.cycle);
        let mut adopter = self.processes[id].parent;
        while self.processes[adopter].state != State::Running || !self.processes[adopter].subreaper
        {
            adopter = self.processes[adopter].parent;
        }
        for child in self.children(id) {
            self.processes[child].parent = adopter;
            self.processes[child].reparented = true;
            self.notify(child);
        }
        self.notify(id);
    }

    fn zombies(&self, parent: Id) -> Vec<Id> {
        let mut children = self.children(parent);
        children.retain(|&child| self.processes[child].state == State::Zombie);
        children
    }

    /// SIGCHLD to the parent of a zombie; init waits at once, and a parent that ignores
    /// it leaves no zombie.
    fn notify(&mut self, child: Id) {
        let parent = self.processes[child].parent;
        if self.processes[child].state == State::Zombie {
            if parent == INIT {
                self.absorb(child);
            } else if self.processes[parent].ignores {
                self.processes[child].state = State::Reaped;
                self.processes[child].reaped = Some(self.cycle);
            }
        }
    }

    fn absorb(&mut self, child: Id) {
        let parent = self.processes[child].parent;
        let inherited = self.processes[child].counters;
        self.processes[child].state = State::Reaped;
        self.processes[child].reaped = Some(self.cycle);
        self.run(parent);
        let images = self.processes[parent].may_count_in();
        let CpuCounters { user, system, child_user, child_system } =
            self.processes[child].cpu.counters;
        let cpu = &mut self.processes[parent].cpu;
        cpu.counters.child_user += user + child_user;
        cpu.counters.child_system += system + child_system;
        let cpu_at = cpu.children();
        self.processes[child].absorbed = Some(Absorbed {
            inheritor: parent,
            images,
            is_recent: true,
            is_read: false,
            cpu_images: images,
            is_cpu_recent: true,
            cpu_at,
        });
        let parent = &mut self.processes[parent];
        parent.counters = parent.counters.saturating_add(inherited);
    }

    fn running(&self, number: usize) -> Id {
        let running = self.ids(|process| process.state == State::Running);
        running[number % running.len()]
    }

    fn running_but_init(&self, number: usize) -> Option<Id> {
        Some(self.running(number)).filter(|&id| id != INIT)
    }

    fn children(&self, parent: Id) -> Vec<Id> {
        let mut children =
            self.ids(|process| process.parent == parent && process.state != State::Reaped);
        children.retain(|&id| id != INIT);
        children
    }

    fn ids(&self, selected: impl Fn(&Process) -> bool) -> Vec<Id> {
        (0..self.processes.len()).filter(|&id| selected(&self.processes[id])).collect()
    }

    /// The processes that inherited the counters of a process, nearest first.
    pub(super) fn inheritors(&self, id: Id) -> Vec<Id> {
        self.inheritance(id).map(|absorbed| absorbed.inheritor).collect()
    }

    fn inheritance(&self, id: Id) -> impl Iterator<Item = Absorbed> {
        std::iter::successors(self.processes[id].absorbed, |absorbed| {
            self.processes[absorbed.inheritor].absorbed
        })
    }

    /// How many other processes may be taken for the inheritor of a process, and be
    /// charged with its counters: none while its parent lives and waits for all its
    /// children or for none, else each of its ancestors.
    pub(super) fn mistakable(&self, id: Id) -> usize {
        let process = &self.processes[id];
        // An exit after the last reading of the parent is resolved in the next cycle.
        let with_its_parent = process.reaped.is_some_and(|reaped| {
            self.processes[process.parent].exited.is_some_and(|exited| exited <= reaped + 2)
        });
        let ancestors = std::iter::successors(Some(id), |&at| {
            Some(self.processes[at].parent).filter(|&parent| parent != at)
        });
        if process.reparented || with_its_parent { ancestors.count() } else { 0 }
    }

    /// The io that the processes of an image did at most, with what they inherited: all
    /// of a process's own, once, if a process of the image inherited it; else what it did
    /// while it belonged to the image.
    pub(super) fn expected(&self, image: usize) -> IoCounters {
        let own = |(id, process): (Id, &Process)| {
            let inherited =
                self.inheritance(id).any(|absorbed| absorbed.images & (1 << image) != 0);
            if inherited {
                process.own.saturating_sub(process.past)
            } else {
                process.own_in[image].saturating_sub(process.past_in[image])
            }
        };
        self.processes
            .iter()
            .enumerate()
            .map(own)
            .fold(IoCounters::ZERO, IoCounters::saturating_add)
    }
}

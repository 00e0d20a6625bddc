//! A model of what the kernel does with processes and their io counters.

use std::collections::{BTreeMap, BTreeSet};

use crate::accounting::counters::IoCounters;

/// How many images there are.
pub(super) const IMAGES: usize = 3;

/// A process by the order of births; pids are reused, these are not.
pub(super) type Id = usize;

/// Who adopts orphans if nobody nearer does, and reaps them at once.
pub(super) const INIT: Id = 0;

/// Images as bits.
pub(super) type Images = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Zombie,
    Reaped,
}

#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) parent: Id,
    pub(super) state: State,
    pub(super) images: Images,
    /// Every image that it ever belonged to.
    pub(super) ever: Images,
    ignores: bool,
    subreaper: bool,
    /// Its io cannot be read.
    pub(super) hidden: bool,
    /// Its command line cannot be read.
    pub(super) blocks: bool,
    /// The observer has seen it, and takes it for a member of these images.
    seen_in: Option<Images>,
    /// What it did itself.
    own: IoCounters,
    /// What of that is an image's at most: what it did while the image was its
    /// own or the observer took it for one of it.
    own_in: [IoCounters; IMAGES],
    /// The rest of what it did since it was last read; the image that it is
    /// next found in gets it.
    own_since: [IoCounters; IMAGES],
    /// That much of the rest is in a reading which may yet be taken back.
    own_read: [IoCounters; IMAGES],
    /// What `/proc/PID/io` says: with what it inherited.
    pub(super) counters: IoCounters,
    /// Its `cancelled_write_bytes` had each of their changes been upwards.
    pub(super) cancelled: i64,
    /// Page faults of those that it waited for.
    pub(super) cminflt: u64,
    absorbed: Option<Absorbed>,
    /// It had another parent once, or its parent did not ignore children always or
    /// never.
    passed_on: bool,
    /// It has begun to ignore children, or ceased to.
    switched: bool,
    /// In which cycles it ended, and was reaped.
    ended: Option<usize>,
    reaped: Option<usize>,
}

/// What became of a process that was waited for.
#[derive(Clone, Copy, Debug)]
struct Absorbed {
    /// Whose counters its own were added to.
    heir: Id,
    /// In which images that one was.
    images: Images,
    /// That one was not read since.
    is_recent: bool,
    /// It was, by a reading which may yet be taken back.
    is_read: bool,
}

impl Process {
    fn new(pid: u32, parent: Id, images: Images, ignores: bool, subreaper: bool) -> Process {
        Process {
            pid,
            parent,
            state: State::Running,
            images,
            ever: images,
            ignores,
            subreaper,
            hidden: false,
            blocks: false,
            seen_in: None,
            own: IoCounters::ZERO,
            own_in: [IoCounters::ZERO; IMAGES],
            own_since: [IoCounters::ZERO; IMAGES],
            own_read: [IoCounters::ZERO; IMAGES],
            counters: IoCounters::ZERO,
            cancelled: 0,
            cminflt: 0,
            absorbed: None,
            passed_on: false,
            switched: false,
            ended: None,
            reaped: None,
        }
    }

    /// The images in whose sums its counters may be.
    fn may_count_in(&self) -> Images {
        self.images | self.seen_in.unwrap_or_default()
    }
}

/// What can happen. A process is named by a number that is taken modulo how
/// many there are to choose from.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Fork {
        parent: usize,
        images: Images,
        ignores: bool,
        subreaper: bool,
    },
    Write {
        who: usize,
        amounts: [i16; 7],
    },
    /// By exec or by a new title.
    Move {
        who: usize,
        images: Images,
    },
    Exit {
        who: usize,
    },
    /// A parent waits for all its children that are zombies, or for one of them.
    Wait {
        parent: usize,
        child: Option<usize>,
    },
    /// Begins to ignore SIGCHLD, or ends it.
    Ignore {
        who: usize,
        ignores: bool,
    },
    /// Its io cannot be read, or can again.
    Hide {
        who: usize,
        hidden: bool,
    },
    /// Its command line cannot be read, or can again.
    Block {
        who: usize,
        blocks: bool,
    },
}

/// How much a history may contain.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// A process may end before its children.
    pub(super) orphans: bool,
    /// Other processes than init may adopt.
    pub(super) subreapers: bool,
    /// A process may begin or cease to ignore SIGCHLD.
    pub(super) switches: bool,
    /// A process may become unreadable, and readable.
    pub(super) hides: bool,
}

#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) processes: Vec<Process>,
    limits: Limits,
    /// Counts the settlements.
    cycle: usize,
}

impl Kernel {
    pub(super) fn new(limits: Limits) -> Kernel {
        Kernel { processes: vec![Process::new(1, INIT, 0, false, true)], limits, cycle: 0 }
    }

    pub(super) fn happen(&mut self, event: &Event) {
        match *event {
            Event::Fork { parent, images, ignores, subreaper } => {
                let parent = self.running(parent);
                self.fork(parent, images, ignores, subreaper && self.limits.subreapers);
            }
            Event::Write { who, amounts } => {
                let who = self.running(who);
                self.write(who, amounts);
            }
            Event::Move { who, images } => {
                if let Some(who) = self.running_but_init(who) {
                    self.change_image(who, images);
                }
            }
            Event::Exit { who } => {
                if let Some(who) = self.running_but_init(who) {
                    let childless = self.children(who).is_empty();
                    if self.limits.orphans || (childless && !self.processes[who].ignores) {
                        self.exit(who);
                    }
                }
            }
            Event::Wait { parent, child } => {
                let zombies = self.zombies(self.running(parent));
                match child {
                    None => zombies.into_iter().for_each(|child| self.absorb(child)),
                    Some(_) if zombies.is_empty() => {}
                    Some(child) => self.absorb(zombies[child % zombies.len()]),
                }
            }
            Event::Ignore { who, ignores } => {
                if let Some(who) = self.running_but_init(who).filter(|_| self.limits.switches) {
                    self.ignore(who, ignores);
                }
            }
            Event::Hide { who, hidden } => {
                if let Some(who) = self.running_but_init(who).filter(|_| self.limits.hides) {
                    self.hide(who, hidden);
                }
            }
            Event::Block { who, blocks } => {
                if let Some(who) = self.running_but_init(who).filter(|_| self.limits.hides) {
                    self.block(who, blocks);
                }
            }
        }
    }

    pub(super) fn fork(&mut self, parent: Id, images: Images, ignores: bool, reaper: bool) -> Id {
        let taken: BTreeSet<u32> = self.listing().keys().copied().collect();
        let pid = (2..).find(|pid| !taken.contains(pid)).unwrap();
        let passed_on = self.processes[parent].switched;
        let child = Process::new(pid, parent, images, ignores, reaper);
        self.processes.push(Process { passed_on, ..child });
        self.processes.len() - 1
    }

    pub(super) fn write(&mut self, who: Id, amounts: [i16; 7]) {
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
        let process = &mut self.processes[who];
        process.own = process.own.saturating_add(done);
        process.counters = process.counters.saturating_add(done);
        process.cancelled += cancelled_write_bytes.abs();
        let may_count_in = process.may_count_in();
        for image in 0..IMAGES {
            let part = match may_count_in & (1 << image) != 0 {
                true => &mut process.own_in[image],
                false => &mut process.own_since[image],
            };
            *part = part.saturating_add(done);
        }
    }

    /// The observer takes it for a member of these images from now on.
    pub(super) fn see(&mut self, who: Id, images: Images) {
        let process = &mut self.processes[who];
        let before = process.seen_in.replace(images);
        // Of a stranger that was known what it did until now is nobody's.
        if before != Some(0) {
            let joined = images & !before.unwrap_or_default();
            for image in (0..IMAGES).filter(|image| joined & (1 << image) != 0) {
                let since = std::mem::take(&mut process.own_since[image]);
                process.own_in[image] = process.own_in[image].saturating_add(since);
            }
            for absorbed in self.absorbed(who).filter(|absorbed| absorbed.is_recent) {
                absorbed.images |= joined;
            }
        }
    }

    /// The observer has read it.
    pub(super) fn read(&mut self, who: Id) {
        self.processes[who].own_read = self.processes[who].own_since;
        self.absorbed(who).for_each(|absorbed| absorbed.is_read = true);
    }

    /// It has taken that back.
    pub(super) fn withdraw(&mut self, who: Id) {
        self.processes[who].own_read = [IoCounters::ZERO; IMAGES];
        self.absorbed(who).for_each(|absorbed| absorbed.is_read = false);
    }

    fn absorbed(&mut self, heir: Id) -> impl Iterator<Item = &mut Absorbed> {
        let absorbed = self.processes.iter_mut().filter_map(|process| process.absorbed.as_mut());
        absorbed.filter(move |absorbed| absorbed.heir == heir)
    }

    /// It has not, and will not.
    pub(super) fn settle(&mut self) {
        self.cycle += 1;
        for process in &mut self.processes {
            for (since, read) in process.own_since.iter_mut().zip(&mut process.own_read) {
                *since = since.saturating_sub(std::mem::take(read));
            }
            if let Some(absorbed) = &mut process.absorbed {
                absorbed.is_recent &= !absorbed.is_read;
            }
        }
    }

    pub(super) fn ignore(&mut self, who: Id, ignores: bool) {
        // Those that are zombies already wait on.
        self.processes[who].ignores = ignores;
        self.processes[who].switched = true;
        for child in self.children(who) {
            self.processes[child].passed_on = true;
        }
    }

    pub(super) fn hide(&mut self, who: Id, hidden: bool) {
        self.processes[who].hidden = hidden;
    }

    pub(super) fn block(&mut self, who: Id, blocks: bool) {
        self.processes[who].blocks = blocks;
    }

    pub(super) fn change_image(&mut self, who: Id, images: Images) {
        self.processes[who].images = images;
        self.processes[who].ever |= images;
    }

    pub(super) fn exit(&mut self, who: Id) {
        self.processes[who].state = State::Zombie;
        self.processes[who].ended = Some(self.cycle);
        let mut adopter = self.processes[who].parent;
        while self.processes[adopter].state != State::Running || !self.processes[adopter].subreaper
        {
            adopter = self.processes[adopter].parent;
        }
        for child in self.children(who) {
            self.processes[child].parent = adopter;
            self.processes[child].passed_on = true;
            self.notify(child);
        }
        self.notify(who);
    }

    pub(super) fn wait(&mut self, parent: Id) {
        self.zombies(parent).into_iter().for_each(|child| self.absorb(child));
    }

    fn zombies(&self, parent: Id) -> Vec<Id> {
        let mut children = self.children(parent);
        children.retain(|&child| self.processes[child].state == State::Zombie);
        children
    }

    /// A zombie's parent is told, and may take it at once.
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
        let Process { counters: inherited, cancelled, cminflt: faults, .. } = self.processes[child];
        self.processes[child].state = State::Reaped;
        self.processes[child].reaped = Some(self.cycle);
        let images = self.processes[parent].may_count_in();
        self.processes[child].absorbed =
            Some(Absorbed { heir: parent, images, is_recent: true, is_read: false });
        let parent = &mut self.processes[parent];
        parent.counters = parent.counters.saturating_add(inherited);
        parent.cancelled += cancelled;
        parent.cminflt += 1 + faults;
    }

    fn running(&self, number: usize) -> Id {
        let running: Vec<Id> = self.ids(|process| process.state == State::Running);
        running[number % running.len()]
    }

    fn running_but_init(&self, number: usize) -> Option<Id> {
        Some(self.running(number)).filter(|&id| id != INIT)
    }

    fn children(&self, parent: Id) -> Vec<Id> {
        self.ids(|process| process.parent == parent && process.state != State::Reaped)
            .into_iter()
            .filter(|&id| id != INIT)
            .collect()
    }

    fn ids(&self, wanted: impl Fn(&Process) -> bool) -> Vec<Id> {
        (0..self.processes.len()).filter(|&id| wanted(&self.processes[id])).collect()
    }

    /// What `/proc` lists: by pid, zombies included. The number serves as the
    /// entry's inode.
    pub(super) fn listing(&self) -> BTreeMap<u32, Id> {
        let there = self.ids(|process| process.state != State::Reaped);
        there.into_iter().map(|id| (self.processes[id].pid, id)).collect()
    }

    pub(super) fn get(&self, id: Id) -> Option<&Process> {
        self.processes.get(id).filter(|process| process.state != State::Reaped)
    }

    /// Those into whose counters a process's own went, nearest first.
    pub(super) fn heirs(&self, id: Id) -> Vec<Id> {
        self.inheritance(id).map(|absorbed| absorbed.heir).collect()
    }

    fn inheritance(&self, id: Id) -> impl Iterator<Item = Absorbed> {
        std::iter::successors(self.processes[id].absorbed, |absorbed| {
            self.processes[absorbed.heir].absorbed
        })
    }

    /// How many others may be taken for who has a process's counters, and be
    /// charged with them: none while its parent lives and waits for all its
    /// children or for none, else each of its ancestors.
    pub(super) fn mistakable(&self, id: Id) -> usize {
        let process = &self.processes[id];
        // One that went after its parent was read is judged by the next cycle.
        let with_its_parent = process.reaped.is_some_and(|reaped| {
            self.processes[process.parent].ended.is_some_and(|ended| ended <= reaped + 2)
        });
        let ancestors = std::iter::successors(Some(id), |&at| {
            Some(self.processes[at].parent).filter(|&parent| parent != at)
        });
        if process.passed_on || with_its_parent { ancestors.count() } else { 0 }
    }

    /// What an image's processes truly did at most, and what they inherited:
    /// each process's own once, if one of the image inherited it; else what it
    /// did while it was of the image.
    pub(super) fn truth(&self, image: usize) -> IoCounters {
        let own = |(id, process): (Id, &Process)| match self
            .inheritance(id)
            .any(|absorbed| absorbed.images & (1 << image) != 0)
        {
            true => process.own,
            false => process.own_in[image],
        };
        self.processes
            .iter()
            .enumerate()
            .map(own)
            .fold(IoCounters::ZERO, IoCounters::saturating_add)
    }
}

//! A model of what the kernel does with processes and their io counters.

use std::collections::{BTreeMap, BTreeSet};

use crate::reckon::counters::Counters;

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
    /// What it did itself.
    own: Counters,
    /// What `/proc/PID/io` says: with what it inherited.
    pub(super) counters: Counters,
    /// Whose counters its own were added to.
    absorbed_by: Option<Id>,
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
        amounts: [u16; 7],
    },
    /// By exec or by a new title.
    Move {
        who: usize,
        images: Images,
    },
    Exit {
        who: usize,
    },
    /// A parent waits for all its children that are zombies.
    Wait {
        parent: usize,
    },
}

/// How much a history may contain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A process may end before its children.
    pub(super) orphans: bool,
    /// Other processes than init may adopt.
    pub(super) subreapers: bool,
}

#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) processes: Vec<Process>,
    limits: Limits,
}

impl Kernel {
    pub(super) fn new(limits: Limits) -> Kernel {
        let init = Process {
            pid: 1,
            parent: INIT,
            state: State::Running,
            images: 0,
            ever: 0,
            ignores: false,
            subreaper: true,
            own: Counters::ZERO,
            counters: Counters::ZERO,
            absorbed_by: None,
        };
        Kernel { processes: vec![init], limits }
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
            Event::Wait { parent } => {
                let parent = self.running(parent);
                self.wait(parent);
            }
        }
    }

    pub(super) fn fork(&mut self, parent: Id, images: Images, ignores: bool, reaper: bool) -> Id {
        let taken: BTreeSet<u32> = self.listing().keys().copied().collect();
        let pid = (2..).find(|pid| !taken.contains(pid)).unwrap();
        self.processes.push(Process {
            pid,
            parent,
            state: State::Running,
            images,
            ever: images,
            ignores,
            subreaper: reaper,
            own: Counters::ZERO,
            counters: Counters::ZERO,
            absorbed_by: None,
        });
        self.processes.len() - 1
    }

    pub(super) fn write(&mut self, who: Id, amounts: [u16; 7]) {
        let [rchar, wchar, syscr, syscw, read_bytes, write_bytes, cancelled_write_bytes] =
            amounts.map(i64::from);
        let done =
            Counters { rchar, wchar, syscr, syscw, read_bytes, write_bytes, cancelled_write_bytes };
        let process = &mut self.processes[who];
        process.own = process.own.plus(done);
        process.counters = process.counters.plus(done);
    }

    pub(super) fn change_image(&mut self, who: Id, images: Images) {
        self.processes[who].images = images;
        self.processes[who].ever |= images;
    }

    pub(super) fn exit(&mut self, who: Id) {
        self.processes[who].state = State::Zombie;
        let mut adopter = self.processes[who].parent;
        while self.processes[adopter].state != State::Running || !self.processes[adopter].subreaper
        {
            adopter = self.processes[adopter].parent;
        }
        for child in self.children(who) {
            self.processes[child].parent = adopter;
            self.notify(child);
        }
        self.notify(who);
    }

    pub(super) fn wait(&mut self, parent: Id) {
        for child in self.children(parent) {
            if self.processes[child].state == State::Zombie {
                self.absorb(child);
            }
        }
    }

    /// A zombie's parent is told, and may take it at once.
    fn notify(&mut self, child: Id) {
        let parent = self.processes[child].parent;
        if self.processes[child].state == State::Zombie {
            if parent == INIT {
                self.absorb(child);
            } else if self.processes[parent].ignores {
                self.processes[child].state = State::Reaped;
            }
        }
    }

    fn absorb(&mut self, child: Id) {
        let parent = self.processes[child].parent;
        let inherited = self.processes[child].counters;
        self.processes[child].state = State::Reaped;
        self.processes[child].absorbed_by = Some(parent);
        let parent = &mut self.processes[parent];
        parent.counters = parent.counters.plus(inherited);
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

    pub(super) fn ignores(&self, id: Id) -> bool {
        self.processes[id].ignores
    }

    /// Those into whose counters a process's own went, nearest first.
    pub(super) fn heirs(&self, id: Id) -> Vec<Id> {
        std::iter::successors(self.processes[id].absorbed_by, |&heir| {
            self.processes[heir].absorbed_by
        })
        .collect()
    }

    /// What an image's processes truly did, and what they inherited: each
    /// process's own once, if it ever belonged to the image or if one that did
    /// inherited it.
    pub(super) fn truth(&self, image: usize) -> Counters {
        let belongs = |id: Id| self.processes[id].ever & (1 << image) != 0;
        let counted = (0..self.processes.len())
            .filter(|&id| belongs(id) || self.heirs(id).into_iter().any(belongs));
        counted.fold(Counters::ZERO, |sum, id| sum.plus(self.processes[id].own))
    }
}

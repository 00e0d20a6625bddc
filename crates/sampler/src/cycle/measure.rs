//! Reading the tracked processes: CPU at both ends of the window, the rest at
//! its end.

use std::num::NonZeroU64;
use std::time::Instant;

use psstat_proc_parse::{ProcessState, Statm};

use crate::cycle::families::{self, Household};
use crate::keep::schedule::DENIED_TURN;
use crate::keep::tracked::{Cpu, FileState, Life, Tracked};
use crate::memory::give_back;
use crate::read::listing::Lister;
use crate::read::outcome::Outcome;
use crate::read::procfs::{Procfs, Where};
use crate::read::reader::Reader;
use crate::read::{process, sys};
use crate::reckon::counters::Counters;
use crate::reckon::ledger::Slot;
use crate::sampler::Sampler;

impl Sampler {
    /// Reads every member's CPU time at the start of the window.
    pub(crate) fn open_cpu_window(&mut self) {
        for (_, tracked) in self.roll.iter_mut() {
            tracked.cpu = Cpu { last: tracked.cpu.last, ..Cpu::default() };
            if tracked.is_running_member() {
                let reading = cpu_time(&self.procfs, tracked.who.pid);
                tracked.cpu.denied = matches!(reading, Outcome::Denied | Outcome::Failed(_));
                if let Outcome::There((cpu, at)) = reading {
                    tracked.cpu.last = cpu;
                    tracked.cpu.opened = Some(at);
                }
            }
        }
    }

    /// Reads them at its end.
    pub(crate) fn close_cpu_window(&mut self) {
        for (_, tracked) in self.roll.iter_mut() {
            let Some(since) = tracked.cpu.opened.take() else { continue };
            if let Outcome::There((now, at)) = cpu_time(&self.procfs, tracked.who.pid) {
                // Whether it was the same process at both ends is told by what
                // is read of it after this.
                let elapsed = at.duration_since(since).as_nanos();
                let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
                let used = now.saturating_sub(tracked.cpu.last);
                tracked.cpu.used = NonZeroU64::new(elapsed).map(|elapsed| (used, elapsed));
                tracked.cpu.last = now;
            }
        }
    }

    /// Reads everyone's io, families together.
    pub(crate) fn read_io(&mut self) {
        self.begin_pass();
        let forest = std::mem::take(&mut self.forest);
        families::read(&forest, self, |sampler, slot| {
            sampler.roll.get(slot).is_some_and(Tracked::is_member)
        });
        self.forest = forest;
    }

    /// Reads what a member has now: what the table of numbers lists.
    pub(crate) fn read_gauges(&mut self) {
        self.zombies.clear();
        for slot in 0..self.roll.end() {
            let is_checked_on = self.has_member_as_parent(slot);
            let Some(tracked) = self.roll.get_mut(slot) else { continue };
            if tracked.life == Life::Gone || !tracked.is_member() {
                continue;
            }
            let (procfs, who) = (&self.procfs, tracked.who);
            let descriptors = if !procfs.fast.fd_size && !tracked.sockets.state.is_due(self.cycle) {
                // Listing them takes the right that reading their links does.
                Some(Outcome::Denied)
            } else {
                // A member's child's were read when it was checked on.
                let read = is_checked_on && procfs.fast.fd_size && tracked.handles.keeps_fd();
                read.then_some(tracked.readings.descriptors)
            };
            let before = tracked.readings.statm;
            tracked.readings.read(&mut Reader {
                procfs,
                who,
                handles: &mut tracked.handles,
                keep: self.keep.at(slot),
                lister: &mut self.lister,
                descriptors,
            });
            if tracked.readings.tell_it_is_gone() {
                let parent = tracked.parent;
                self.bury_late(slot, parent);
                continue;
            }
            let was_zombie = tracked.life == Life::Zombie;
            tracked.life = Life::Running;
            tracked.living_thread = None;
            if let Outcome::There(Statm { size: 0, .. }) = tracked.readings.statm {
                look_closer(tracked, procfs, &mut self.lister);
                if tracked.life == Life::Zombie {
                    self.zombies.push(who.pid);
                    if !was_zombie {
                        self.forget_sockets(slot);
                    }
                }
            } else if has_exec_trace(before, tracked.readings.statm) {
                // Another program, or the young one's first.
                if let Some(seen) = self.census.find_mut(who.pid) {
                    seen.look = self.cycle;
                }
                tracked.sockets.suspect = true;
                if tracked.io.is_denied() {
                    tracked.io = FileState::Unread;
                }
            }
        }
        self.zombies.sort_unstable();
        give_back(&mut self.zombies);
    }

    fn has_member_as_parent(&self, slot: Slot) -> bool {
        let parent = self.roll.get(slot).and_then(|tracked| tracked.parent);
        parent.and_then(|parent| self.roll.get(parent)).is_some_and(Tracked::is_member)
    }
}

impl Household for Sampler {
    fn read(&mut self, slot: Slot) -> bool {
        let Some(tracked) = self.roll.get_mut(slot) else { return false };
        let wanted = tracked.is_member() && tracked.io.is_due(self.cycle);
        if tracked.life == Life::Gone || !wanted {
            return false;
        }
        tracked.io = match tracked.handles.io(&self.procfs, tracked.who, self.keep.at(slot)) {
            Outcome::There(io) => {
                tracked.io = FileState::Read;
                return self.ledger.accept(slot, Counters::of(io));
            }
            Outcome::Gone => {
                let parent = tracked.parent;
                self.bury(slot, parent);
                return false;
            }
            Outcome::Denied => FileState::Denied { until: self.cycle + DENIED_TURN },
            Outcome::Failed(_) => FileState::Failed,
        };
        // An earlier reading of this cycle may be from before a child's end.
        self.withdraw(slot);
        false
    }

    fn look(&mut self, slot: Slot) {
        let Some(tracked) = self.roll.get_mut(slot) else { return };
        let gone = if self.procfs.fast.fd_size && tracked.handles.keeps_fd() {
            let keep = self.keep.at(slot);
            let count =
                tracked.handles.descriptors(&self.procfs, tracked.who, keep, &mut self.lister);
            tracked.readings.descriptors = count;
            count.is_gone()
        } else {
            !process::is_there(&self.procfs, tracked.who)
        };
        if gone {
            let parent = tracked.parent;
            self.bury(slot, parent);
        }
    }

    fn is_gone(&self, slot: Slot) -> bool {
        self.roll.get(slot).is_none_or(|tracked| tracked.life == Life::Gone)
    }

    fn withdraw(&mut self, slot: Slot) {
        self.ledger.withdraw(slot);
    }
}

/// Another size of the program's code means another program.
fn has_exec_trace(before: Outcome<Statm>, now: Outcome<Statm>) -> bool {
    match (before, now) {
        (Outcome::There(before), Outcome::There(now)) => before.text != now.text,
        _ => false,
    }
}

/// A process without memory: a zombie, or one whose leader has ended while
/// other threads live; these have its memory and descriptors.
fn look_closer(tracked: &mut Tracked, procfs: &Procfs, lister: &mut Lister) {
    let mut buffer = [0; 1024];
    let who = tracked.who;
    let Outcome::There(stat) = process::stat(procfs, who.pid, &mut buffer) else { return };
    if !matches!(stat.state, ProcessState::Zombie | ProcessState::Dead) {
        return;
    }
    tracked.living_thread = process::living_thread(procfs, who, lister);
    let Some(tid) = tracked.living_thread else {
        tracked.life = Life::Zombie;
        return;
    };
    let thread = Where::Thread(who.pid, tid);
    tracked.readings.statm = process::statm_at(procfs, thread);
    tracked.readings.descriptors = process::descriptors_at(procfs, thread, lister);
}

/// CPU time in nanoseconds, and when it was read.
fn cpu_time(procfs: &Procfs, pid: u32) -> Outcome<(u64, Instant)> {
    if procfs.fast.cpu_clock {
        let at = Instant::now();
        return match sys::process_cpu_nanoseconds(pid) {
            Ok(nanoseconds) => Outcome::There((nanoseconds, at)),
            Err(_) => Outcome::Gone,
        };
    }
    let mut buffer = [0; 1024];
    let at = Instant::now();
    process::stat(procfs, pid, &mut buffer)
        .map(|stat| ((stat.utime + stat.stime).saturating_mul(procfs.tick_nanoseconds), at))
}

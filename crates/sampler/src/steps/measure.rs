//! Reading the tracked processes: CPU at both ends of the window, the rest at
//! its end.

use std::num::NonZeroU64;
use std::time::Instant;

use psstat_proc_parse::{ProcessState, Statm};

use crate::accounting::counters::IoCounters;
use crate::accounting::ledger::Slot;
use crate::read::outcome::Outcome;
use crate::read::proc_dir::ProcDirReader;
use crate::read::procfs::{ProcDir, Procfs};
use crate::read::reader::ProcessReader;
use crate::read::{process, sys};
use crate::sampler::Sampler;
use crate::shrink::shrink_vec;
use crate::state::schedule::DENIED_RETRY_INTERVAL;
use crate::state::tracked::{Cpu, FileState, Tracked, TrackedState};
use crate::steps::io_order::{self, IoVisitor};

impl Sampler {
    /// Reads every member's CPU time at the start of the window.
    pub(crate) fn open_cpu_window(&mut self) {
        for (_, tracked) in self.roll.iter_mut() {
            tracked.cpu = Cpu { last: tracked.cpu.last, ..Cpu::default() };
            if tracked.is_live_member() {
                let reading = cpu_time(&self.procfs, tracked.key.pid);
                tracked.cpu.denied = matches!(reading, Outcome::Denied | Outcome::Failed(_));
                if let Outcome::Value((cpu, at)) = reading {
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
            if let Outcome::Value((now, at)) = cpu_time(&self.procfs, tracked.key.pid) {
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
        self.note_parent_faults();
        let forest = std::mem::take(&mut self.forest);
        io_order::read(&forest, self, |sampler, slot| {
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
            if tracked.life == TrackedState::Exited || !tracked.is_member() {
                continue;
            }
            let (procfs, who) = (&self.procfs, tracked.key);
            let descriptors = if !procfs.fast.fd_count_from_size
                && !tracked.sockets.state.is_due(self.cycle)
            {
                // Listing them takes the right that reading their links does.
                Some(Outcome::Denied)
            } else {
                // A member's child's were read when it was checked on.
                let read =
                    is_checked_on && procfs.fast.fd_count_from_size && tracked.handles.keeps_fd();
                read.then_some(tracked.readings.descriptors)
            };
            let before = tracked.readings.statm;
            tracked.readings.read(&mut ProcessReader {
                procfs,
                who,
                handles: &mut tracked.handles,
                keep: self.keep.at(slot),
                lister: &mut self.lister,
                descriptors,
            });
            if tracked.readings.tell_it_is_gone() {
                let parent = tracked.parent;
                self.mark_exited_after_read(slot, parent);
                continue;
            }
            let was_zombie = tracked.life == TrackedState::Zombie;
            tracked.life = TrackedState::Running;
            tracked.living_thread = None;
            if let Outcome::Value(Statm { size: 0, .. }) = tracked.readings.statm {
                inspect_without_memory(tracked, procfs, &mut self.lister);
                if tracked.life == TrackedState::Zombie {
                    self.zombies.push(who.pid);
                    if !was_zombie {
                        self.forget_sockets(slot);
                    }
                }
            } else if text_size_changed(before, tracked.readings.statm) {
                // Another program, or the young one's first.
                if let Some(seen) = self.census.find_mut(who.pid) {
                    seen.next_read = self.cycle;
                }
                tracked.sockets.stale = true;
                if tracked.io.is_denied() {
                    tracked.io = FileState::Unread;
                }
            }
        }
        self.zombies.sort_unstable();
        shrink_vec(&mut self.zombies);
    }

    fn has_member_as_parent(&self, slot: Slot) -> bool {
        let parent = self.roll.get(slot).and_then(|tracked| tracked.parent);
        parent.and_then(|parent| self.roll.get(parent)).is_some_and(Tracked::is_member)
    }
}

impl IoVisitor for Sampler {
    fn read(&mut self, slot: Slot) -> bool {
        let Some(tracked) = self.roll.get_mut(slot) else { return false };
        let wanted = tracked.is_member() && tracked.io.is_due(self.cycle);
        if tracked.life == TrackedState::Exited || !wanted {
            return false;
        }
        tracked.io = match tracked.handles.io(&self.procfs, tracked.key, self.keep.at(slot)) {
            Outcome::Value(io) => {
                tracked.io = FileState::Read;
                return self.ledger.accept(slot, IoCounters::of(io));
            }
            Outcome::Exited => {
                let parent = tracked.parent;
                self.mark_exited(slot, parent);
                return false;
            }
            Outcome::Denied => FileState::Denied { until: self.cycle + DENIED_RETRY_INTERVAL },
            Outcome::Failed(_) => FileState::Failed,
        };
        // An earlier reading of this cycle may be from before a child's end.
        self.discard_read(slot);
        false
    }

    fn check_alive(&mut self, slot: Slot) {
        let Some(tracked) = self.roll.get_mut(slot) else { return };
        let gone = if self.procfs.fast.fd_count_from_size && tracked.handles.keeps_fd() {
            let keep = self.keep.at(slot);
            let count =
                tracked.handles.descriptors(&self.procfs, tracked.key, keep, &mut self.lister);
            tracked.readings.descriptors = count;
            count.is_gone()
        } else {
            !process::is_alive(&self.procfs, tracked.key)
        };
        if gone {
            let parent = tracked.parent;
            self.mark_exited(slot, parent);
        }
    }

    fn has_exited(&self, slot: Slot) -> bool {
        self.roll.get(slot).is_none_or(|tracked| tracked.life == TrackedState::Exited)
    }

    fn discard_read(&mut self, slot: Slot) {
        self.ledger.withdraw(slot);
    }
}

/// Another size of the program's code means another program.
fn text_size_changed(before: Outcome<Statm>, now: Outcome<Statm>) -> bool {
    match (before, now) {
        (Outcome::Value(before), Outcome::Value(now)) => before.text != now.text,
        _ => false,
    }
}

/// A process without memory: a zombie, or one whose leader has ended while
/// other threads live; these have its memory and descriptors.
fn inspect_without_memory(tracked: &mut Tracked, procfs: &Procfs, lister: &mut ProcDirReader) {
    let mut buffer = [0; 1024];
    let who = tracked.key;
    let Outcome::Value(stat) = process::stat(procfs, who.pid, &mut buffer) else { return };
    if !matches!(stat.state, ProcessState::Zombie | ProcessState::Dead) {
        return;
    }
    tracked.living_thread = process::live_thread(procfs, who, lister);
    let Some(tid) = tracked.living_thread else {
        tracked.life = TrackedState::Zombie;
        return;
    };
    let thread = ProcDir::Thread(who.pid, tid);
    tracked.readings.statm = process::statm_at(procfs, thread);
    tracked.readings.descriptors = process::descriptors_at(procfs, thread, lister);
}

/// CPU time in nanoseconds, and when it was read.
fn cpu_time(procfs: &Procfs, pid: u32) -> Outcome<(u64, Instant)> {
    if procfs.fast.cpu_clock {
        let at = Instant::now();
        return match sys::process_cpu_time_ns(pid) {
            Ok(nanoseconds) => Outcome::Value((nanoseconds, at)),
            Err(_) => Outcome::Exited,
        };
    }
    let mut buffer = [0; 1024];
    let at = Instant::now();
    process::stat(procfs, pid, &mut buffer)
        .map(|stat| ((stat.utime + stat.stime).saturating_mul(procfs.tick_nanoseconds), at))
}

//! Reading CPU time at both ends of the window, and the gauges at its end.

use std::num::NonZeroU64;

use psstat_proc_parse::{Pages, Statm};

use super::Driver;
use super::pace::Pace;
use crate::ids::Slot;
use crate::read::outcome::Outcome;
use crate::read::procfs::ProcDir;
use crate::source::{ProcessSource, ReadRequest, SocketSource, Values};
use crate::state::schedule::LIMITS_SETTLED;
use crate::state::tracked::{CpuWindow, Lifecycle, Tracked};

impl<S: ProcessSource + SocketSource> Driver<S> {
    /// Reads the CPU time of every member at the start of the window, one after the other without
    /// other work between them: the readings at the end have the same rhythm.
    pub(super) async fn open_cpu_window(&mut self, source: &mut S) {
        self.read_at_once(source, |driver, slot, process| {
            // Those that are new are read completely.
            if driver.io.is_read_first(slot, process) {
                return Some(Values::All);
            }
            let is_open = driver.follows_last_window && process.cpu.closed.is_some();
            (process.is_live_member() && !is_open).then_some(Values::Cpu)
        });
        for (_, process) in self.tracked.iter_mut() {
            let closed = process.cpu.closed.take().filter(|_| self.follows_last_window);
            let CpuWindow { last, at_read, .. } = process.cpu;
            process.cpu = CpuWindow { last, at_read, ..CpuWindow::default() };
            if closed.is_some() && process.is_live_member() {
                process.cpu.opened = closed;
                continue;
            }
            if process.is_live_member() {
                let at = source.cpu_time_instant(process.key.pid);
                let at = at.unwrap_or_else(|| source.wait_until(None));
                let reading = source.cpu_time(process.key.pid).await;
                process.cpu.blocked = matches!(reading, Outcome::Unread(_));
                process.cpu.denied = matches!(reading, Outcome::Denied | Outcome::Failed(_));
                if let Outcome::Value(cpu) = reading {
                    process.cpu.last = cpu;
                    process.cpu.opened = Some(at);
                }
            }
        }
    }

    /// Reads it again at the end, a whole number of ticks after the first reading of the process.
    pub(super) async fn close_cpu_window(&mut self, source: &mut S) {
        let skips_idle = source.skips_idle();
        let mut pace = Pace::new(source.has_cpu_clock().then(|| source.tick()));
        if let Some(opened) = source.read_at_once_began() {
            let last = self.last_window_end.filter(|_| self.follows_last_window);
            let opened = last.unwrap_or(opened);
            pace.wait(opened, |due| source.wait_until(due));
            self.read_at_once(source, |driver, slot, process| {
                if !process.is_live_member() {
                    return driver.io.is_read_first(slot, process).then_some(Values::All);
                }
                // Its state and limit are to be known even if it is idle.
                let is_due = driver.metrics.states || process.fd_limit.is_due(driver.cycle);
                let may_be_idle = skips_idle
                    && !is_due
                    && process.cpu.may_be_idle(process.key.pid, driver.cycle)
                    && driver.io.is_current_if_idle(slot);
                let cpu = NonZeroU64::new(process.cpu.at_read).filter(|_| may_be_idle);
                Some(cpu.map_or(Values::All, Values::AllUnless))
            });
            self.last_window_end = source.read_at_once_began();
        }
        for (_, process) in self.tracked.iter_mut() {
            let Some(opened) = process.cpu.opened.take() else { continue };
            let at = source.cpu_time_instant(process.key.pid);
            let at = at.unwrap_or_else(|| pace.wait(opened, |due| source.wait_until(due)));
            // Whether it was the same process at both ends is shown by later reads.
            if let Outcome::Value(now) = source.cpu_time(process.key.pid).await {
                let elapsed = at.duration_since(opened).as_nanos();
                let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
                let used = now.total.saturating_sub(process.cpu.last.total);
                process.cpu.used = NonZeroU64::new(elapsed).map(|elapsed| (used, elapsed));
                process.cpu.last = now;
                process.cpu.closed = Some(at);
                process.cpu.is_idle = skips_idle
                    && now.total == process.cpu.at_read
                    && process.cpu.may_be_idle(process.key.pid, self.cycle);
            }
        }
    }

    /// Reads the tracked processes for which `values` gives some, if the source can read them at
    /// once.
    fn read_at_once(
        &mut self,
        source: &mut S,
        values: impl Fn(&Self, Slot, &Tracked<S::Handles>) -> Option<Values>,
    ) {
        if !source.reads_at_once() {
            return;
        }
        let mut requests = std::mem::take(&mut self.requests);
        requests.clear();
        let tracked =
            self.tracked.iter().filter(|(_, process)| process.lifecycle != Lifecycle::Exited);
        requests.extend(tracked.filter_map(|(slot, process)| {
            Some(ReadRequest { pid: process.key.pid, values: values(self, slot, process)? })
        }));
        source.read_at_once(&mut requests);
        self.requests = requests;
    }

    /// Reads the gauges of every member that is not idle: those in the table of numbers.
    pub(super) async fn read_gauges(&mut self, source: &mut S) {
        self.processes.zombies.clear();
        self.has_swap = self.metrics.swap && source.has_swap();
        let clock = source.boot_clock();
        let reads_status = self.metrics.states || self.has_swap;
        for slot in 0..self.tracked.end() {
            let Some(process) = self.tracked.get_mut(slot) else { continue };
            if process.lifecycle == Lifecycle::Exited || !process.is_member() {
                continue;
            }
            let mut is_idle = process.cpu.is_idle && !process.fd_limit.is_due(self.cycle);
            // A process becomes runnable without running.
            let keeps_status = is_idle && !self.metrics.states && process.status.value().is_some();
            if reads_status && !keeps_status {
                process.status = source.status(ProcDir::Pid(process.key.pid));
                is_idle &= process.status.value().is_some_and(|status| !status.is_zombie());
            }
            if is_idle {
                continue;
            }
            process.cpu.at_read = 0;
            let fds = if source.counts_fds_by_listing() {
                self.sockets.are_fds_denied(slot, self.cycle).then_some(Outcome::Denied)
            } else {
                // Read when its existence was checked.
                self.io.has_read_fds(process).then_some(process.readings.fds)
            };
            if process.fd_limit.is_due(self.cycle) {
                // By path: that it belongs to this process is shown by the gauges.
                let limit = source.fd_limit(process.key.pid);
                let is_old = process.starttime != 0
                    && clock.is_some_and(|clock| clock.age(process.starttime) >= LIMITS_SETTLED);
                process.fd_limit.update(process.key.pid, limit, self.cycle, is_old);
            }
            let (before, threads) = (process.readings.statm, process.readings.threads);
            let exec_id = source.exec_id(process.key);
            let exec_id_before = std::mem::replace(&mut process.exec_id, exec_id);
            let mut readings = process.readings;
            source.read_gauges(process.target(slot), fds, &mut readings).await;
            process.readings = readings;
            if readings.saw_exit() {
                self.io.mark_exited_after_read(slot, process.parent);
                self.tracked.mark_exited(slot);
                continue;
            }
            self.io.update_cpu(source, slot, process);
            let was_zombie = process.lifecycle == Lifecycle::Zombie;
            process.lifecycle = Lifecycle::Running;
            process.live_thread = None;
            if let Outcome::Value(now) = readings.threads {
                process.cpu.limit(now.max(threads.value().unwrap_or(0)));
            }
            if matches!(
                readings.statm,
                Outcome::Value(Statm { size: Pages(0), .. }) | Outcome::Denied
            ) {
                inspect_without_memory(source, process, reads_status).await;
                if process.lifecycle == Lifecycle::Zombie {
                    self.processes.zombies.push(process.key.pid);
                    if !was_zombie {
                        self.sockets.forget(slot, &process.images);
                    }
                }
            } else if match (exec_id_before, exec_id) {
                (Some(before), Some(now)) => before != now,
                _ => text_size_changed(before, readings.statm),
            } {
                // Another program, or the first one of a recent process.
                if let Some(entry) = self.processes.find_mut(process.key.pid) {
                    entry.next_read = self.cycle;
                }
                self.sockets.mark_stale(slot);
                process.fd_limit.mark_stale();
                self.io.retry_denied(slot);
            }
            let is_known = process.lifecycle == Lifecycle::Running
                && process.live_thread.is_none()
                && process.readings.are_known()
                && process.cpu.used.is_some();
            if is_known {
                process.cpu.at_read = process.cpu.last.total;
            }
        }
        self.processes.sort_zombies();
    }
}

/// Another size of the program's code means another program.
fn text_size_changed(before: Outcome<Statm>, now: Outcome<Statm>) -> bool {
    match (before, now) {
        (Outcome::Value(before), Outcome::Value(now)) => before.text != now.text,
        _ => false,
    }
}

/// A process without memory is a zombie, or its leader has exited while other threads
/// live; these have its memory and descriptors. Where the memory is denied, `stat` shows
/// whether there is any.
async fn inspect_without_memory<S: ProcessSource>(
    source: &mut S,
    process: &mut Tracked<S::Handles>,
    reads_status: bool,
) {
    let Outcome::Value(stat) = source.stat(process.key.pid).await else { return };
    if !stat.is_zombie {
        return;
    }
    process.live_thread = source.live_thread(process.key).await;
    match process.live_thread {
        Some(tid) => {
            source.read_thread_gauges(process.key.pid, tid, &mut process.readings).await;
            if reads_status {
                process.status = source.status(ProcDir::Thread(process.key.pid, tid));
            }
        }
        None => process.lifecycle = Lifecycle::Zombie,
    }
}

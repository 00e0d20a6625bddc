//! One cycle: a sample, and its points in the buffer.

use std::collections::VecDeque;
use std::time::Instant;

use psstat_sampler::{Health, Sampler};
use psstat_support::failpoint;

use crate::conf::{ActiveRules, Conf};
use crate::log::{self, OnceLog};
use crate::signals::Signals;

/// The sampler with the rules it asks.
#[derive(Debug)]
pub struct SampleLoop {
    /// Reads the processes.
    pub sampler: Sampler,
    reported: OnceLog,
    /// The processes whose command line blocked in the cycle before.
    blocked: Vec<u32>,
    /// Those of which it was told, the last one first.
    reported_blocked: VecDeque<u32>,
}

/// Of so many processes it is remembered that they were told to block. They come
/// and go, and some come back: beside the other matters, they would fill up what
/// is remembered of those.
const MAX_REPORTED_BLOCKED: usize = 1_000;

impl SampleLoop {
    /// Around a new sampler.
    pub fn new(sampler: Sampler) -> SampleLoop {
        SampleLoop {
            sampler,
            reported: OnceLog::default(),
            blocked: Vec::new(),
            reported_blocked: VecDeque::new(),
        }
    }

    /// Other rules are in force: every process is asked about anew.
    pub fn rules_changed(&mut self, rules: &ActiveRules) {
        failpoint::hit("panic:rules");
        self.sampler.reclassify_all(rules.known());
    }

    /// Takes a sample: opens the window, waits, closes it. Rules that change
    /// meanwhile count from the next cycle on; tells whether they did.
    pub fn sample(&mut self, conf: &mut Conf, signals: &Signals, cycle: u64) -> bool {
        let rules = &mut conf.rules;
        let due = self.sampler.open(&mut |candidate, images| rules.classify(candidate, images));
        failpoint::hit(format_args!("panic:{cycle}"));
        failpoint::hit("panic");
        let changed = signals.wait(due, conf);
        conf.rules.take_newly_limited(|rule| {
            log::line(&format!(
                "{rule} gave up on a command line after its step limit, and counts as not matching \
                 there; make it simpler: nested repeats and back-references cost most"
            ));
        });
        let health = self.sampler.close().health;
        self.report_missing(&health);
        changed
    }

    /// Names what is missing, and its remedy, once.
    fn report_missing(&mut self, health: &Health) {
        missing(health, |matter, message| self.reported.log_once(matter, message));
        if health.listing_failed {
            self.reported.log_once("listing", || {
                "the procfs cannot be listed; the processes known before are still read".into()
            });
        } else {
            self.reported.reset("listing");
        }
        // For one cycle, a busy machine is reason enough; the points count it.
        for pid in self.sampler.blocked_pids().filter(|pid| self.blocked.contains(pid)) {
            if is_unreported(&mut self.reported_blocked, pid) {
                log::line(&format!(
                    "the command line of process {pid} blocks its reader; it is set aside until it does not"
                ));
            }
        }
        if health.cmdlines_deferred > 0 && !self.blocked.is_empty() {
            self.reported.log_once("unread", || {
                format!("{} command lines are not read, because those of other processes block their readers", health.cmdlines_deferred)
            });
        } else {
            self.reported.reset("unread");
        }
        self.blocked.clear();
        self.blocked.extend(self.sampler.blocked_pids());
    }
}

/// Each kind of value that is missing in this cycle, and its remedy.
fn missing(health: &Health, mut tell: impl FnMut(&str, &dyn Fn() -> String)) {
    let (denied, failed) = (&health.denied, &health.failed);
    // Why the others were not read is told apart from these.
    let command_lines = failed.command_line.saturating_sub(health.cmdlines_deferred);
    for (file, denied, failed, failure) in [
        ("io", denied.io, failed.io, "failed io"),
        ("fd", denied.fd, failed.fd, "failed fd"),
        ("ns/net", denied.netns, failed.netns, "failed ns/net"),
        ("cmdline", denied.command_line, command_lines, "failed cmdline"),
        ("statm", denied.statm, failed.statm, "failed statm"),
        ("stat", denied.stat, failed.stat, "failed stat"),
        ("net/*", denied.net, failed.net, "failed net/*"),
    ] {
        if denied > 0 {
            tell(file, &|| {
                format!(
                    "/proc/PID/{file} of {denied} processes may not be read, and their values are missing: \
                     run as root, or `setcap cap_sys_ptrace,cap_dac_read_search=ep` on the program"
                )
            });
        }
        if failed > 0 {
            tell(failure, &|| {
                format!(
                    "{failed} readings of /proc/PID/{file} failed, not for a lack of rights, and their \
                     values are missing: collector.failed counts them; if it goes on, there may be too \
                     few descriptors or too little memory, which `psstat-dump doctor` shows"
                )
            });
        }
    }
}

/// Whether it was not told of this process yet; now it is.
fn is_unreported(told: &mut VecDeque<u32>, pid: u32) -> bool {
    if told.contains(&pid) {
        return false;
    }
    told.truncate(MAX_REPORTED_BLOCKED - 1);
    told.push_front(pid);
    true
}

/// The moments at which cycles begin.
#[derive(Debug)]
pub struct Schedule {
    interval: std::time::Duration,
    next: Instant,
}

impl Schedule {
    /// The first cycle begins now.
    pub fn new(interval: std::time::Duration) -> Schedule {
        Schedule { interval, next: Instant::now() }
    }

    /// When the next cycle begins, and how many were missed because this one
    /// came to its end so late. They are not made up for.
    pub fn next(&mut self, now: Instant) -> (Instant, u64) {
        self.next += self.interval;
        let mut missed = 0;
        if self.next + self.interval <= now {
            let late = now.duration_since(self.next).as_nanos() / self.interval.as_nanos().max(1);
            missed = u64::try_from(late).unwrap_or(u64::MAX);
        }
        // A cycle that only takes a little longer than the interval is
        // followed by the next one at once.
        if self.next < now {
            self.next = now;
        }
        (self.next, missed)
    }
}

/// Logs how the numbers are read.
pub fn log_fast_paths(sampler: &Sampler) {
    let fast = sampler.fast_paths();
    let way = |fast: bool, yes: &'static str, no: &'static str| if fast { yes } else { no };
    log::line(&format!(
        "debug: CPU from {}, descriptor counts from {}, thread counts from {}, sockets from {}, processes from {}; up to {} descriptors are kept open",
        way(fast.cpu_clock, "the CPU clock (nanoseconds)", "stat (ticks)"),
        way(fast.fd_count_from_size, "the size of fd", "listings of fd"),
        way(fast.thread_count_from_links, "the links of task", "stat"),
        way(fast.sock_diag, "sock_diag", "the text tables"),
        way(fast.partial_listing, "the part of /proc that can have changed", "listings of /proc"),
        sampler.descriptor_budget(),
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use psstat_sampler::PerFile;
    use std::time::Duration;

    #[test]
    fn missed_cycles_are_counted_and_not_made_up_for() {
        let second = Duration::from_secs(1);
        let mut schedule = Schedule::new(15 * second);
        let start = schedule.next;
        assert_eq!(schedule.next(start + second), (start + 15 * second, 0));
        // A little late: at once.
        assert_eq!(schedule.next(start + 31 * second), (start + 31 * second, 0));
        // A stopped reader: one now, and then by the new beat.
        let (next, missed) = schedule.next(start + 600 * second);
        assert_eq!((next, missed), (start + 600 * second, 36));
        assert_eq!(schedule.next(next + second), (next + 15 * second, 0));
    }

    /// Each was one of the matters that are told once, of which there is a limit:
    /// after a thousand such processes, nothing new was told of anything.
    #[test]
    fn every_blocked_process_is_logged() {
        let mut told = VecDeque::new();
        let pids = 1..3 * MAX_REPORTED_BLOCKED as u32;
        assert!(
            pids.clone().all(|pid| is_unreported(&mut told, pid) && !is_unreported(&mut told, pid))
        );
        assert_eq!(told.len(), MAX_REPORTED_BLOCKED);
        // The last ones are not told again, should they block again.
        assert!(pids.rev().take(MAX_REPORTED_BLOCKED).all(|pid| !is_unreported(&mut told, pid)));
    }

    /// Socket tables that may not be read, and whatever failed, were counted in
    /// the points and told nowhere.
    #[test]
    fn missing_values_are_logged_with_help() {
        let all = |count: u64| PerFile {
            command_line: count,
            io: count,
            fd: count,
            netns: count,
            statm: count,
            stat: count,
            net: count,
        };
        let told = |denied: u64, failed: u64| {
            let (denied, failed) = (all(denied), all(failed));
            let mut told = Vec::new();
            let health = Health { denied, failed, ..Health::default() };
            missing(&health, |matter, message| told.push((matter.to_owned(), message())));
            told
        };
        assert_eq!(told(0, 0), []);
        for (messages, says, remedy) in [
            (told(7, 0), "of 7 processes may not be read", "setcap"),
            (told(0, 7), "7 readings of", "`psstat-dump doctor`"),
        ] {
            for file in ["io", "fd", "ns/net", "cmdline", "statm", "stat", "net/*"] {
                let one = messages.iter().filter(|(_, message)| {
                    message.contains(&format!("/proc/PID/{file} "))
                        && message.contains(says)
                        && message.contains(remedy)
                });
                assert_eq!(one.count(), 1, "{file}: {messages:#?}");
            }
        }
        // Denied and failed are two matters.
        let mut matters: Vec<String> = told(1, 1).into_iter().map(|(matter, _)| matter).collect();
        matters.sort_unstable();
        matters.dedup();
        assert_eq!(matters.len(), 14);
    }
}

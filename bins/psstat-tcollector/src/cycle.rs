//! The sampling part of a cycle, its log messages, and the schedule of cycles.

use std::collections::VecDeque;
use std::time::Instant;

use psstat_sampler::{BlockedRead, Health, PerFile, Sampler};
use psstat_support::failpoint;

use crate::conf::{ActiveRules, Conf};
use crate::log::{self, OnceLog};
use crate::privileges::Capabilities;
use crate::signals::Signals;

/// The sampler, and what has been logged about its samples.
#[derive(Debug)]
pub(crate) struct SampleLoop {
    /// Reads the processes.
    pub(crate) sampler: Sampler,
    reported: OnceLog,
    /// The processes of which a read blocked in the previous cycle.
    blocked: Vec<u32>,
    /// The processes that have been logged as blocked, the last one first.
    reported_blocked: VecDeque<u32>,
}

/// Maximum number of blocked processes remembered as already logged. They are not in the
/// [`OnceLog`], whose limit they would exhaust.
const MAX_REPORTED_BLOCKED: usize = 1_000;

impl SampleLoop {
    /// Starts with a new sampler.
    pub(crate) fn new(sampler: Sampler) -> SampleLoop {
        SampleLoop {
            sampler,
            reported: OnceLog::default(),
            blocked: Vec::new(),
            reported_blocked: VecDeque::new(),
        }
    }

    /// Classifies all processes again, because the active rules have changed.
    pub(crate) fn rules_changed(&mut self, rules: &ActiveRules) {
        failpoint::hit("panic:rules");
        self.sampler.reclassify_all(rules.id_count());
    }

    /// Takes a sample: opens the window, waits, closes it. Returns whether the rules changed
    /// meanwhile; new rules apply from the next cycle.
    pub(crate) fn sample(&mut self, conf: &mut Conf, signals: &Signals, cycle: u64) -> bool {
        let rules = &mut conf.rules;
        let due = self.sampler.open(&mut |candidate, images| rules.classify(candidate, images));
        failpoint::hit(format_args!("panic:{cycle}"));
        failpoint::hit("panic");
        let changed = signals.wait(due, conf);
        conf.rules.take_newly_limited(|rule| {
            log::line(&format!(
                "{rule} exceeded its step limit on a command line and was treated as not matching; \
                 simplify it: nested repeats and back-references cost most"
            ));
        });
        let health = self.sampler.close().health;
        self.report_missing(&health);
        changed
    }

    /// Logs the kinds of values that are missing, with help, once each.
    fn report_missing(&mut self, health: &Health) {
        let help =
            denied_help(Capabilities::now().sys_ptrace, rustix::process::geteuid().is_root());
        missing_values(health, help, |key, message| self.reported.log_once(key, message));
        if health.listing_failed {
            self.reported
                .log_once("listing", || "cannot list /proc; still reading known processes".into());
        } else {
            self.reported.reset("listing");
        }
        // On a busy host a read may take a whole cycle; only the points count that.
        for read in self.sampler.blocked_reads() {
            let BlockedRead { pid, file } = read;
            if self.blocked.contains(&pid) && is_unreported(&mut self.reported_blocked, pid) {
                log::line(&format!(
                    "reading {file} of process {pid} blocks; skipping its files that can block until \
                     the read returns"
                ));
            }
        }
        let deferred = total(&health.deferred);
        if deferred > 0 && !self.blocked.is_empty() {
            self.reported.log_once("skipped", || {
                format!("skipped {deferred} reads: too many reads are already blocked")
            });
        } else {
            self.reported.reset("skipped");
        }
        match self.sampler.first_long_cmdline() {
            Some(pid) => self.reported.log_once("long cmdlines", || {
                format!(
                    "{} command lines of more than 4 KiB, the first that of process {pid}, exceed \
                     the budget of a cycle; reading them in later cycles",
                    health.long_cmdlines
                )
            }),
            None => self.reported.reset("long cmdlines"),
        }
        self.blocked.clear();
        self.blocked.extend(self.sampler.blocked_reads().map(|read| read.pid));
    }
}

/// The help for files that may not be read.
fn denied_help(may_trace: bool, is_root: bool) -> &'static str {
    match (may_trace, is_root) {
        (true, _) => {
            "CAP_SYS_PTRACE is held, but a security module or the processes' user namespace denies \
             access; `psstat-dump doctor` shows which files"
        }
        (false, true) => {
            "give the container or service CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH (`docker run \
             --cap-add SYS_PTRACE --cap-add DAC_READ_SEARCH`)"
        }
        (false, false) => {
            "run as root, or `setcap cap_sys_ptrace,cap_dac_read_search=ep` on the program"
        }
    }
}

/// Calls `report` with a key and a message for each kind of value that is missing in this cycle.
/// `help` is that for denied files.
fn missing_values(health: &Health, help: &str, mut report: impl FnMut(&str, &dyn Fn() -> String)) {
    let (denied, failed, deferred) = (&health.denied, &health.failed, &health.deferred);
    for (file, denied, failed, deferred, failed_key) in [
        ("io", denied.io, failed.io, deferred.io, "failed io"),
        ("fd", denied.fd, failed.fd, deferred.fd, "failed fd"),
        ("ns/net", denied.netns, failed.netns, deferred.netns, "failed ns/net"),
        (
            "cmdline",
            denied.command_line,
            failed.command_line,
            deferred.command_line + health.long_cmdlines,
            "failed cmdline",
        ),
        ("statm", denied.statm, failed.statm, deferred.statm, "failed statm"),
        ("stat", denied.stat, failed.stat, deferred.stat, "failed stat"),
        ("net/*", denied.net, failed.net, deferred.net, "failed net/*"),
    ] {
        // Deferred reads have their own message.
        let failed = failed.saturating_sub(deferred);
        if denied > 0 {
            report(file, &|| {
                format!(
                    "permission denied for /proc/PID/{file} of {denied} processes; their values are \
                     missing: {help}"
                )
            });
        }
        if failed > 0 {
            report(failed_key, &|| {
                format!(
                    "{failed} reads of /proc/PID/{file} failed (not permissions); their values are \
                     missing, see collector.failed. If this persists, file descriptors or memory \
                     may be exhausted, which `psstat-dump doctor` shows"
                )
            });
        }
    }
}

/// The sum over all files.
fn total(files: &PerFile) -> u64 {
    let PerFile { command_line, io, fd, netns, statm, stat, net } = *files;
    [command_line, io, fd, netns, statm, stat, net].into_iter().sum()
}

/// Whether a process is not in the list of reported ones; adds it.
fn is_unreported(reported: &mut VecDeque<u32>, pid: u32) -> bool {
    if reported.contains(&pid) {
        return false;
    }
    reported.truncate(MAX_REPORTED_BLOCKED - 1);
    reported.push_front(pid);
    true
}

/// The start times of cycles.
#[derive(Debug)]
pub(crate) struct Schedule {
    interval: std::time::Duration,
    next: Instant,
}

impl Schedule {
    /// The first cycle starts now.
    pub(crate) fn new(interval: std::time::Duration) -> Schedule {
        Schedule { interval, next: Instant::now() }
    }

    /// The start of the next cycle, and the number of cycles that are skipped because this one
    /// ended too late.
    pub(crate) fn next(&mut self, now: Instant) -> (Instant, u64) {
        self.next += self.interval;
        let mut skipped = 0;
        if self.next + self.interval <= now {
            let late = now.duration_since(self.next).as_nanos() / self.interval.as_nanos().max(1);
            skipped = u64::try_from(late).unwrap_or(u64::MAX);
        }
        // If a cycle takes only slightly longer than the interval, the next one starts at once.
        if self.next < now {
            self.next = now;
        }
        (self.next, skipped)
    }
}

/// Logs the fast paths in use.
pub(crate) fn log_fast_paths(sampler: &mut Sampler) {
    let sockets = sockets_from(sampler.probe_sock_diag());
    let fast = sampler.fast_paths();
    let source = |fast: bool, yes: &'static str, no: &'static str| if fast { yes } else { no };
    log::line(&format!(
        "debug: CPU from {}, fd counts from {}, thread counts from {}, sockets from {sockets}, processes from {}, socket tables {}; up to {} fds are kept open",
        source(fast.cpu_clock, "the CPU clock (nanoseconds)", "stat (ticks)"),
        source(fast.fd_count_from_size, "the size of fd", "listings of fd"),
        source(fast.thread_count_from_links, "the links of task", "stat"),
        source(fast.partial_listing, "partial listings of /proc", "full listings of /proc"),
        source(fast.socket_counters, "where counters changed", "in every cycle"),
        sampler.descriptor_budget(),
    ));
}

/// How the tables of sockets are read. `works`: by sock_diag, per protocol.
fn sockets_from(works: [(&str, bool); 3]) -> String {
    let of = |netlink: bool| -> Vec<&str> {
        works.iter().filter(|(_, works)| *works == netlink).map(|(name, _)| *name).collect()
    };
    match (of(true), of(false)) {
        (_, text) if text.is_empty() => "sock_diag".to_owned(),
        (netlink, _) if netlink.is_empty() => "the text tables".to_owned(),
        (netlink, text) => {
            format!("sock_diag ({}) and the text tables ({})", netlink.join(" "), text.join(" "))
        }
    }
}

/// Logs that values are absent because the kernel lacks the files that contain them.
pub(crate) fn log_missing_files(sampler: &Sampler) {
    if let Some(message) = missing_files_message(sampler.missing_files()) {
        log::line(&message);
    }
}

fn missing_files_message(files: &[&str]) -> Option<String> {
    // Without the other files, no value is absent.
    let files = files.iter().filter(|file| ["io", "statm", "fd"].contains(file));
    let files: Vec<String> = files.map(|file| format!("/proc/PID/{file}")).collect();
    (!files.is_empty()).then(|| {
        format!("this kernel does not have {}; the values from there are absent", files.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_tables_in_use() {
        let from = |tcp, udp, unix| sockets_from([("tcp", tcp), ("udp", udp), ("unix", unix)]);
        assert_eq!(from(true, true, true), "sock_diag");
        assert_eq!(from(false, false, false), "the text tables");
        assert_eq!(from(false, true, false), "sock_diag (udp) and the text tables (tcp unix)");
    }

    use std::collections::HashSet;
    use std::time::Duration;

    #[test]
    fn absent_values_are_explained() {
        assert_eq!(missing_files_message(&[]), None);
        assert_eq!(missing_files_message(&["ns/net"]), None);
        assert_eq!(
            missing_files_message(&["io", "statm", "ns/net"]).unwrap(),
            "this kernel does not have /proc/PID/io, /proc/PID/statm; the values from there are \
             absent"
        );
    }

    #[test]
    fn skipped_cycles_are_counted() {
        let second = Duration::from_secs(1);
        let mut schedule = Schedule::new(15 * second);
        let start = schedule.next;
        assert_eq!(schedule.next(start + second), (start + 15 * second, 0));
        // Slightly late: at once.
        assert_eq!(schedule.next(start + 31 * second), (start + 31 * second, 0));
        // After a stopped reader: one now, then the others relative to it.
        let (next, skipped) = schedule.next(start + 600 * second);
        assert_eq!((next, skipped), (start + 600 * second, 36));
        assert_eq!(schedule.next(next + second), (next + 15 * second, 0));
    }

    /// Blocked processes were keys of the [`OnceLog`]: after a thousand of them, no new issue of
    /// any kind was logged.
    #[test]
    fn every_blocked_process_is_logged() {
        let mut reported = VecDeque::new();
        let pids = 1..3 * MAX_REPORTED_BLOCKED as u32;
        assert!(
            pids.clone()
                .all(|pid| is_unreported(&mut reported, pid) && !is_unreported(&mut reported, pid))
        );
        assert_eq!(reported.len(), MAX_REPORTED_BLOCKED);
        // The last ones are not logged again if they block again.
        assert!(
            pids.rev().take(MAX_REPORTED_BLOCKED).all(|pid| !is_unreported(&mut reported, pid))
        );
    }

    /// Root without the capability, as in a container, was advised to run as root.
    #[test]
    fn help_for_denied_files_depends_on_the_user() {
        assert!(denied_help(false, false).starts_with("run as root"));
        for may_trace in [false, true] {
            assert!(!denied_help(may_trace, true).contains("as root"));
        }
        assert!(denied_help(false, true).contains("--cap-add SYS_PTRACE"));
    }

    /// Denied socket tables and failed reads were counted in the points and not logged.
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
        let logged = |denied: u64, failed: u64| {
            let (denied, failed) = (all(denied), all(failed));
            let mut logged = Vec::new();
            let health = Health { denied, failed, ..Health::default() };
            missing_values(&health, denied_help(false, false), |key, message| {
                logged.push((key.to_owned(), message()));
            });
            logged
        };
        assert_eq!(logged(0, 0), []);
        for (messages, count, help) in
            [(logged(7, 0), "of 7 processes", "setcap"), (logged(0, 7), "7 reads of", "doctor")]
        {
            for file in ["io", "fd", "ns/net", "cmdline", "statm", "stat", "net/*"] {
                let one = messages.iter().filter(|(_, message)| {
                    message.contains(&format!("/proc/PID/{file} "))
                        && message.contains(count)
                        && message.contains(help)
                });
                assert_eq!(one.count(), 1, "{file}: {messages:#?}");
            }
        }
        // Denied and failed reads have different keys.
        let keys: HashSet<String> = logged(1, 1).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), 14);
    }
}

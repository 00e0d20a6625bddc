//! The sampling part of a cycle, its log messages, and the schedule of cycles.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use psstat_emit::TagValue;
use psstat_matcher::MAX_MADE_IMAGES;
use psstat_sampler::{BlockedRead, Health, ImageId, PerFile, Sampler};
use psstat_support::{count, failpoint};

use crate::conf::{ActiveRules, Conf};
use crate::log::{self, OnceLog};
use crate::privileges::Capabilities;
use crate::signals::Signals;

/// The sampler, and what has been logged about its samples.
#[derive(Debug)]
pub(crate) struct SampleLoop {
    /// Reads the processes.
    pub(crate) sampler: Sampler,
    /// Those that apply to the processes.
    capabilities: Capabilities,
    reported: OnceLog,
    /// The processes of which a read blocked in the previous cycle.
    blocked: Vec<u32>,
    /// The BPF program failed in the previous cycle.
    bpf_fails: bool,
    /// The processes that have been logged as blocked, the last one first.
    reported_blocked: VecDeque<u32>,
}

/// Maximum number of blocked processes remembered as already logged. They are not in the
/// [`OnceLog`], whose limit they would exhaust.
const MAX_REPORTED_BLOCKED: usize = 1_000;

impl SampleLoop {
    /// Starts with a new sampler.
    pub(crate) fn new(sampler: Sampler, capabilities: Capabilities) -> SampleLoop {
        SampleLoop {
            sampler,
            capabilities,
            reported: OnceLog::default(),
            blocked: Vec::new(),
            bpf_fails: false,
            reported_blocked: VecDeque::new(),
        }
    }

    /// Classifies all processes again, because the active rules have changed.
    pub(crate) fn rules_changed(&mut self, rules: &mut ActiveRules) {
        failpoint::hit("panic:rules");
        rules.reclassify_all(&mut self.sampler);
    }

    /// Reads the starts and ends of processes so far.
    pub(crate) fn read_events(&mut self, conf: &mut Conf) {
        let rules = &mut conf.rules;
        self.sampler.read_events_with(|candidate, found| rules.classify(candidate, found));
    }

    /// Takes a sample: opens the window, waits, closes it. Sets `images` to its images by name.
    /// Returns whether the rules changed meanwhile; new rules apply from the next cycle.
    pub(crate) fn sample(
        &mut self,
        conf: &mut Conf,
        images: &mut Vec<(TagValue, ImageId)>,
        signals: &Signals,
        cycle: u64,
        window: Duration,
    ) -> bool {
        if let Err(error) = self.sampler.set_window(window) {
            self.reported.log_once("window", || error.to_string());
        }
        let rules = &mut conf.rules;
        rules.begin_cycle(&mut self.sampler);
        let mut open = self.sampler.open_with(|candidate, found| rules.classify(candidate, found));
        // Of the present rules: others may replace them before the end of the window.
        rules.update_images(images, &mut open);
        rules.take_newly_full(|image, other, max| {
            log::line(&format!(
                "{image}: {max} images, the maximum per rule (--max-images-per-rule); counting all \
                 further ones as {other}"
            ));
        });
        if rules.take_newly_full_in_total() {
            log::line(&format!(
                "{MAX_MADE_IMAGES} images made by rules, the maximum of all rules; counting all \
                 further ones as `other` of their rule"
            ));
        }
        failpoint::hit(format_args!("panic:{cycle}"));
        failpoint::hit("panic");
        let changed = signals.wait(open.deadline(), conf, None);
        conf.rules.take_newly_limited(|rule| {
            log::line(&format!(
                "{rule} exceeded its step limit on a command line and was treated as not matching; \
                 simplify it: nested repeats and back-references cost most"
            ));
        });
        let health = *open.close().health();
        self.report_missing(&health);
        changed
    }

    /// Logs the kinds of values that are missing, with help, once each.
    fn report_missing(&mut self, health: &Health) {
        let help = denied_help(self.capabilities, rustix::process::geteuid().is_root());
        missing_values(health, help, |key, message| self.reported.log_once(key, message));
        if health.listing_failed {
            self.reported
                .log_once("listing", || "cannot list /proc; still reading known processes".into());
        } else {
            self.reported.reset("listing");
        }
        self.report_failed_bpf(health);
        // On a busy host a read may take a whole cycle; only the points count that.
        for read in self.sampler.blocked_reads() {
            let BlockedRead { pid, file, .. } = read;
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
        if health.contradictory_sockets > 0 {
            self.reported.log_once("contradictory sockets", || {
                let sockets = health.contradictory_sockets;
                format!(
                    "{sockets} unix sockets have rows in different states in /proc/PID/net/unix: \
                     the name of another socket contains such a row; they do not count"
                )
            });
        } else {
            self.reported.reset("contradictory sockets");
        }
        match self.sampler.first_long_cmdline() {
            Some(pid) => self.reported.log_once("long cmdlines", || {
                format!(
                    "{} command lines that are long, or expensive for these rules, the first that \
                     of process {pid}, exceed the budget of a cycle; matching them in later cycles",
                    health.long_cmdlines
                )
            }),
            None => self.reported.reset("long cmdlines"),
        }
        self.blocked.clear();
        self.blocked.extend(self.sampler.blocked_reads().map(|read| read.pid));
    }

    /// Logs that processes are read from /proc since the BPF program fails, and when it works again.
    fn report_failed_bpf(&mut self, health: &Health) {
        let fails = health.failed_bpf_passes > 0;
        if fails == std::mem::replace(&mut self.bpf_fails, fails) {
            return;
        }
        if fails {
            let reason =
                self.sampler.bpf_error().map_or_else(String::new, |error| format!(": {error}"));
            log::line(&format!(
                "warning: processes are read from /proc: the BPF program cannot be run{reason}; trying \
                 again in each cycle{}",
                if self.capabilities.sys_ptrace {
                    ""
                } else {
                    "; without CAP_SYS_PTRACE values of other users' processes are missing until then"
                }
            ));
        } else {
            log::line("processes are read by BPF again");
        }
    }
}

/// The help for files that may not be read.
fn denied_help(capabilities: Capabilities, is_root: bool) -> &'static str {
    if capabilities.is_other_namespace {
        return "run it in the user namespace of the processes: the capabilities of this user \
                namespace give no access to them";
    }
    match (capabilities.sys_ptrace, is_root) {
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
        ("limits", denied.limits, failed.limits, deferred.limits, "failed limits"),
        ("status", denied.status, failed.status, deferred.status, "failed status"),
        ("comm", denied.comm, failed.comm, deferred.comm, "failed comm"),
        ("cgroup", denied.cgroup, failed.cgroup, deferred.cgroup, "failed cgroup"),
        ("net/*", denied.net, failed.net, deferred.net, "failed net/*"),
    ] {
        // Deferred reads have their own message.
        let failed = failed.saturating_sub(deferred);
        if denied > 0 {
            report(file, &|| {
                format!(
                    "permission denied for /proc/PID/{file} of {}; their values are \
                     missing: {help}",
                    count::of(
                        usize::try_from(denied).unwrap_or(usize::MAX),
                        "process",
                        "processes"
                    )
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
    let PerFile { command_line, io, fd, netns, statm, stat, limits, status, comm, cgroup, net } =
        *files;
    [command_line, io, fd, netns, statm, stat, limits, status, comm, cgroup, net].into_iter().sum()
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

/// The time between the two readings of CPU time, unless the interval is too short for it.
const WINDOW: Duration = Duration::from_secs(1);
/// With an interval of one second, the window has at least this length,
const SHORTEST_WINDOW: Duration = Duration::from_millis(500);
/// and is a multiple of this, as the sampler makes all windows.
const WINDOW_STEP: Duration = Duration::from_millis(20);

/// The start times of cycles: one per interval, at the same fraction of it.
#[derive(Debug)]
pub(crate) struct Schedule {
    interval: Duration,
    /// When the current cycle was due.
    due: Instant,
    /// How many intervals have passed since the first cycle.
    number: u64,
    /// When the current cycle began.
    begun: Instant,
    /// Its window.
    window: Duration,
    /// How long a cycle takes in addition to its window: the last one, or most of a longer one
    /// before it.
    work: Duration,
}

/// The start of a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) at: Instant,
    /// The number of cycles that are skipped because the one before ended too late.
    pub(crate) skipped: u64,
}

impl Schedule {
    /// The first cycle starts now.
    pub(crate) fn new(interval: Duration, now: Instant) -> Schedule {
        // The first cycle reads all command lines.
        let work = Duration::from_millis(100);
        Schedule { interval, due: now, number: 0, begun: now, window: WINDOW, work }
    }

    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// A cycle begins. Gives its window, which is shorter than a second if the interval is, less
    /// the other work of a cycle.
    pub(crate) fn begin(&mut self, now: Instant) -> Duration {
        self.begun = now;
        self.window = WINDOW;
        if self.interval <= WINDOW {
            let end = self.due + self.interval;
            let rest = end.saturating_duration_since(now).saturating_sub(self.work);
            let steps = rest.as_nanos() / WINDOW_STEP.as_nanos();
            let steps = u32::try_from(steps).unwrap_or(u32::MAX);
            self.window = WINDOW_STEP.saturating_mul(steps).clamp(SHORTEST_WINDOW, WINDOW);
        }
        self.window
    }

    /// With an interval of a second, the number of seconds since the first cycle: each has a
    /// timestamp.
    pub(crate) fn second(&self) -> Option<u64> {
        (self.interval <= WINDOW).then_some(self.number)
    }

    /// The current cycle has its values. Gives the number of cycles that it replaces because it
    /// took too long.
    pub(crate) fn skip(&mut self, now: Instant) -> u64 {
        let late = now.saturating_duration_since(self.due + self.interval);
        let skipped = late.as_nanos() / self.interval.as_nanos().max(1);
        let skipped = u32::try_from(skipped).unwrap_or(u32::MAX);
        self.due += self.interval.saturating_mul(skipped);
        self.number += u64::from(skipped);
        skipped.into()
    }

    /// The current cycle has ended. Gives the start of the next one.
    pub(crate) fn next(&mut self, now: Instant) -> Start {
        let work = now.saturating_duration_since(self.begun).saturating_sub(self.window);
        self.work = work.max(self.work * 7 / 8);
        let skipped = self.skip(now);
        self.due += self.interval;
        self.number += 1;
        // If a cycle takes only slightly longer than the interval, the next one starts at once.
        Start { at: self.due.max(now), skipped }
    }
}

/// Logs the fast paths in use.
pub(crate) fn log_fast_paths(sampler: &mut Sampler) {
    let sockets = sockets_from(sampler.probe_sock_diag());
    let fast = sampler.fast_paths();
    let source = |fast: bool, yes: &'static str, no: &'static str| if fast { yes } else { no };
    log::line(&format!(
        "debug: CPU from {}, fd counts from {}, thread counts from {}, sockets from {sockets}, processes from {}, socket tables {}, idle processes {}; up to {} fds are kept open",
        source(fast.cpu_clock, "the CPU clock (nanoseconds)", "stat (ticks)"),
        source(fast.fd_count_from_size, "the size of fd", "listings of fd"),
        source(fast.thread_count_from_links, "the links of task", "stat"),
        source(fast.partial_listing, "partial listings of /proc", "full listings of /proc"),
        source(fast.socket_counters, "where counters changed", "in every cycle"),
        source(fast.idle_processes, "in turn", "in every cycle"),
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

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn skipped_cycles_are_counted() {
        let (second, start) = (Duration::from_secs(1), Instant::now());
        let mut schedule = Schedule::new(15 * second, start);
        let mut next = |seconds: u32| {
            let Start { at, skipped } = schedule.next(start + second * seconds);
            ((at - start).as_secs(), skipped)
        };
        assert_eq!(next(1), (15, 0));
        // Slightly late: at once.
        assert_eq!(next(31), (31, 0));
        // A whole interval late: that of 45 s, and all until 600 s.
        assert_eq!(next(605), (605, 37));
        assert_eq!(next(606), (615, 0));
    }

    /// With an interval of a second, the window of a second and the work of a cycle took slightly
    /// longer, so that in 400 s four seconds had no point, and none was skipped.
    #[test]
    fn one_cycle_per_second() {
        let start = Instant::now();
        let mut schedule = Schedule::new(1000 * MS, start);
        let mut now = start;
        let (mut cycles, mut skipped) = (0_u64, 0);
        for work in (0..400).map(|cycle| MS * (5 + cycle * 7 % 30)) {
            let window = schedule.begin(now);
            assert!(
                window >= SHORTEST_WINDOW && window.as_millis().is_multiple_of(20),
                "{window:?}"
            );
            let next = schedule.next(now + window + work);
            cycles += 1;
            skipped += next.skipped;
            assert_eq!(schedule.second(), Some(cycles));
            now = next.at;
            // On time, or later by what the work has grown.
            let due = start + 1000 * MS * u32::try_from(cycles).unwrap();
            assert!((due..due + 30 * MS).contains(&now), "{cycles} {:?}", now - due);
        }
        assert_eq!(skipped, 0);
    }

    /// The timestamp of a cycle that took too long is that of the last second which it replaces.
    #[test]
    fn skipped_seconds_have_no_timestamp() {
        let start = Instant::now();
        let mut schedule = Schedule::new(1000 * MS, start);
        schedule.begin(start);
        assert_eq!((schedule.skip(start + 3700 * MS), schedule.second()), (2, Some(2)));
        // Its output blocked.
        let next = schedule.next(start + 5200 * MS);
        assert_eq!(next, Start { at: start + 5200 * MS, skipped: 2 });
        assert_eq!(schedule.second(), Some(5));
    }

    /// Each interval has a cycle, or is skipped.
    #[test]
    fn slow_cycles_are_counted_as_skipped() {
        for (interval, work) in [(1, 300), (1, 620), (1, 5_200), (2, 1_700), (15, 20_000)] {
            let (start, length) = (Instant::now(), 1000 * MS * interval);
            let mut schedule = Schedule::new(length, start);
            let (mut now, mut skipped) = (start, 0);
            let mut windows = Vec::new();
            for _ in 0..100 {
                windows.push(schedule.begin(now));
                let next = schedule.next(now + windows[windows.len() - 1] + MS * work);
                skipped += next.skipped;
                now = next.at;
            }
            let passed = (now - start).as_millis() / length.as_millis();
            assert_eq!(u128::from(100 + skipped), passed, "{interval} {work}");
            let expected = match (interval, work) {
                (1, 300) => 700 * MS,
                (1, _) => SHORTEST_WINDOW,
                _ => WINDOW,
            };
            assert_eq!(windows[50], expected);
        }
    }

    /// A cycle that began late has a shorter window, and ends on time.
    #[test]
    fn late_cycle_catches_up() {
        let start = Instant::now();
        let mut schedule = Schedule::new(1000 * MS, start);
        assert_eq!(schedule.begin(start), 900 * MS);
        assert_eq!(schedule.next(start + 905 * MS).at, start + 1000 * MS);
        assert_eq!(schedule.begin(start + 1250 * MS), 660 * MS);
        assert_eq!(schedule.next(start + 1920 * MS), Start { at: start + 2000 * MS, skipped: 0 });
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
        let none = Capabilities::default();
        let held = Capabilities { sys_ptrace: true, ..none };
        // The capability of another user namespace was said to be held.
        let other = Capabilities { is_other_namespace: true, ..none };
        assert!(denied_help(none, false).starts_with("run as root"));
        for capabilities in [none, held, other] {
            assert!(!denied_help(capabilities, true).contains("as root"));
        }
        assert!(denied_help(none, true).contains("--cap-add SYS_PTRACE"));
        assert!(denied_help(held, true).contains("is held"));
        assert!(denied_help(other, true).starts_with("run it in the user namespace"));
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
            limits: count,
            status: count,
            comm: count,
            cgroup: count,
            net: count,
        };
        let logged = |denied: u64, failed: u64| {
            let (denied, failed) = (all(denied), all(failed));
            let mut logged = Vec::new();
            let mut health = Health::default();
            (health.denied, health.failed) = (denied, failed);
            missing_values(&health, denied_help(Capabilities::default(), false), |key, message| {
                logged.push((key.to_owned(), message()));
            });
            logged
        };
        assert_eq!(logged(0, 0), []);
        for (messages, count, help) in
            [(logged(7, 0), "of 7 processes", "setcap"), (logged(0, 7), "7 reads of", "doctor")]
        {
            for file in [
                "io", "fd", "ns/net", "cmdline", "statm", "stat", "limits", "status", "comm",
                "cgroup", "net/*",
            ] {
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
        assert_eq!(keys.len(), 22);
    }
}

//! CPU usage of a process.

use std::path::Path;

use psstat_proc_parse::{SignedTicks, Stat, Status};

use super::{BootInfo, Files, ReadError, Section, Value, read_host_file};

/// Sums over the current threads of a process, of values that the kernel counts
/// per thread. The files of the process itself contain those of the main thread.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ThreadSums {
    voluntary_switches: Option<u64>,
    nonvoluntary_switches: Option<u64>,
    /// Clock ticks; `None` also if the kernel does not account for delays.
    blkio_delay: Option<u64>,
}

impl ThreadSums {
    /// Reads the files of all threads. In a capture, which has at most one of them, the sums
    /// are known if there is only the main thread.
    pub(super) fn read(
        proc: &Path,
        files: &Files,
        stat: Option<&Stat<'_>>,
        status: Option<&Status<'_>>,
    ) -> ThreadSums {
        let mut sums = ThreadSums::default();
        let mut is_blocked = false;
        match files.numbered("task") {
            Ok(threads) if files.is_procfs() => {
                for thread in threads {
                    // The thread can exit at any time.
                    let read = |name| files.read(&format!("task/{thread}/{name}"));
                    let (stat, status) = (read("stat"), read("status"));
                    is_blocked |= stat == Err(ReadError::Blocked);
                    let stat = stat.as_deref().ok().and_then(|bytes| Stat::parse(bytes).ok());
                    let status = status.as_deref().ok().and_then(|bytes| Status::parse(bytes).ok());
                    if stat.is_some() || is_blocked {
                        sums.add(stat.as_ref(), status.as_ref());
                    }
                }
            }
            _ if stat.is_some_and(|stat| stat.num_threads == 1) => sums.add(stat, status),
            _ => {}
        }
        sums.blkio_delay = sums.blkio_delay.filter(|_| !is_blocked);
        sums.blkio_delay = sums.blkio_delay.filter(|ticks| accounts_for_delays(proc, *ticks));
        sums
    }

    fn add(&mut self, stat: Option<&Stat<'_>>, status: Option<&Status<'_>>) {
        let add = |sum: &mut Option<u64>, value: Option<u64>| {
            if let Some(value) = value {
                *sum = Some(sum.unwrap_or(0).saturating_add(value));
            }
        };
        let switches = status.map(|of| (of.voluntary_ctxt_switches, of.nonvoluntary_ctxt_switches));
        let (voluntary, nonvoluntary) = switches.unwrap_or_default();
        add(&mut self.voluntary_switches, voluntary);
        add(&mut self.nonvoluntary_switches, nonvoluntary);
        add(&mut self.blkio_delay, stat.and_then(|stat| stat.delayacct_blkio_ticks).map(u64::from));
    }
}

/// Whether the kernel accounts for delays; otherwise it prints 0. Kernels before
/// 5.14 have no sysctl and do so by default. In a capture 0 is unknown.
fn accounts_for_delays(proc: &Path, ticks: u64) -> bool {
    match read_host_file(proc, "sys/kernel/task_delayacct") {
        Ok(setting) => !setting.starts_with(b"0"),
        Err(_) => ticks > 0 || !crate::measure::is_capture(proc),
    }
}

pub(super) fn section(stat: Option<&Stat<'_>>, threads: ThreadSums, boot: &BootInfo) -> Section {
    let mut section = Section::new("cpu");
    let ticks = |ticks: Option<u64>| {
        ticks.map_or(Value::Absent, |ticks| Value::Seconds(boot.seconds(ticks)))
    };
    let of_children = |ticks: SignedTicks| u64::try_from(ticks.0).unwrap_or(0);
    section.field("utime_seconds", ticks(stat.map(|stat| stat.utime.0)));
    section.field("stime_seconds", ticks(stat.map(|stat| stat.stime.0)));
    let (utime, stime) = (stat.map(|stat| stat.cutime), stat.map(|stat| stat.cstime));
    section.field("children_utime_seconds", ticks(utime.map(of_children)));
    section.field("children_stime_seconds", ticks(stime.map(of_children)));
    section.field("guest_seconds", ticks(stat.and_then(|stat| stat.guest_time).map(u64::from)));
    let guest = stat.and_then(|stat| stat.cguest_time);
    section.field("children_guest_seconds", ticks(guest.map(of_children)));
    let share = stat.zip(boot.uptime).and_then(|(stat, uptime)| {
        let age = uptime - boot.start_seconds(stat.starttime.0);
        let used = boot.seconds(stat.utime.0.saturating_add(stat.stime.0));
        (age > 0.0).then(|| used / age * 100.0)
    });
    section.field("cpu_since_start_percent", share.map_or(Value::Absent, Value::Percent));
    section.field("blkio_delay_seconds", ticks(threads.blkio_delay));
    section.field("voluntary_ctxt_switches", Value::number(threads.voluntary_switches));
    section.field("nonvoluntary_ctxt_switches", Value::number(threads.nonvoluntary_switches));
    section
}

//! CPU usage of a process.

use std::path::Path;

use psstat_proc_parse::{Stat, Status};

use super::{BootInfo, Files, Section, Value};

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
    /// Reads the files of all threads. In a capture, which has none, the sums are
    /// known if there is only the main thread.
    pub(super) fn read(
        proc: &Path,
        files: &Files,
        stat: &Stat<'_>,
        status: Option<&Status<'_>>,
    ) -> ThreadSums {
        let mut sums = ThreadSums::default();
        match files.numbered("task") {
            Ok(threads) => {
                for thread in threads {
                    // The thread can exit at any time.
                    let read = |name| files.read(&format!("task/{thread}/{name}"));
                    let (Ok(stat), Ok(status)) = (read("stat"), read("status")) else { continue };
                    if let (Ok(stat), Ok(status)) = (Stat::parse(&stat), Status::parse(&status)) {
                        sums.add(&stat, Some(&status));
                    }
                }
            }
            Err(_) if stat.num_threads == 1 => sums.add(stat, status),
            Err(_) => {}
        }
        sums.blkio_delay = sums.blkio_delay.filter(|ticks| accounts_for_delays(proc, *ticks));
        sums
    }

    fn add(&mut self, stat: &Stat<'_>, status: Option<&Status<'_>>) {
        let add = |sum: &mut Option<u64>, value: Option<u64>| {
            if let Some(value) = value {
                *sum = Some(sum.unwrap_or(0).saturating_add(value));
            }
        };
        let switches = status.map(|of| (of.voluntary_ctxt_switches, of.nonvoluntary_ctxt_switches));
        let (voluntary, nonvoluntary) = switches.unwrap_or_default();
        add(&mut self.voluntary_switches, voluntary);
        add(&mut self.nonvoluntary_switches, nonvoluntary);
        add(&mut self.blkio_delay, stat.delayacct_blkio_ticks);
    }
}

/// Whether the kernel accounts for delays; otherwise it prints 0. Kernels before
/// 5.14 have no sysctl and do so by default. In a capture 0 is unknown.
fn accounts_for_delays(proc: &Path, ticks: u64) -> bool {
    match std::fs::read(proc.join("sys/kernel/task_delayacct")) {
        Ok(setting) => !setting.starts_with(b"0"),
        Err(_) => ticks > 0 || !crate::measure::is_capture(proc),
    }
}

pub(super) fn section(stat: &Stat<'_>, threads: ThreadSums, boot: &BootInfo) -> Section {
    let mut section = Section::new("cpu");
    let of_children = |ticks: i64| boot.seconds(u64::try_from(ticks).unwrap_or(0));
    section.field("utime_seconds", Value::Seconds(boot.seconds(stat.utime)));
    section.field("stime_seconds", Value::Seconds(boot.seconds(stat.stime)));
    section.field("children_utime_seconds", Value::Seconds(of_children(stat.cutime)));
    section.field("children_stime_seconds", Value::Seconds(of_children(stat.cstime)));
    let ticks = |ticks: Option<u64>| {
        ticks.map_or(Value::Absent, |ticks| Value::Seconds(boot.seconds(ticks)))
    };
    section.field("guest_seconds", ticks(stat.guest_time));
    let of_children = stat.cguest_time.map(|ticks| u64::try_from(ticks).unwrap_or(0));
    section.field("children_guest_seconds", ticks(of_children));
    let used = boot.seconds(stat.utime.saturating_add(stat.stime));
    let age = boot.uptime.map(|uptime| uptime - boot.seconds(stat.starttime));
    let share = age.filter(|age| *age > 0.0).map(|age| used / age * 100.0);
    section.field("cpu_since_start_percent", share.map_or(Value::Absent, Value::Percent));
    section.field("blkio_delay_seconds", ticks(threads.blkio_delay));
    section.field("voluntary_ctxt_switches", Value::number(threads.voluntary_switches));
    section.field("nonvoluntary_ctxt_switches", Value::number(threads.nonvoluntary_switches));
    section
}

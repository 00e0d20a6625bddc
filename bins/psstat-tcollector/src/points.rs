//! The mapping from a sample's fields to metrics. A series without an entry here does not
//! compile.

use std::time::Duration;

use psstat_emit::metrics::{CollectorSeries, Group, Series};
use psstat_emit::{CycleEncoder, TagValue, Value};
use psstat_sampler::{
    Health, ImageId, IoCounters, MetricGroups, Sample, StateCounts, TcpStateCounts, Usage,
};

use crate::health::SelfMetrics;
use crate::options::MemUnit;

/// Writes all points of a cycle. Values that could not be read have no point.
pub(crate) fn write(
    cycle: &mut CycleEncoder<'_>,
    sample: &Sample<'_>,
    images: &[(TagValue, ImageId)],
    collector: &SelfMetrics,
    shown: Shown<'_>,
) {
    let Shown { memory, groups } = shown;
    let is_shown =
        |series: &Series| series.entry().group.is_none_or(|group| groups.contains(&group));
    for &series in Series::ALL.iter().filter(|series| is_shown(series)) {
        for (image, id) in images {
            let usage = sample.image_by_id(*id);
            if let Some(value) = usage.and_then(|usage| image_value(series, usage, memory)) {
                // The metric is in the table, and no counter is negative, so this cannot fail.
                let _ = cycle.point(series.metric(), &[image], value);
            }
        }
    }
    write_collector(cycle, Some(sample.health()), collector);
}

/// Writes only the points of the collector, for a cycle without a sample.
pub(crate) fn write_self(cycle: &mut CycleEncoder<'_>, collector: &SelfMetrics) {
    write_collector(cycle, None, collector);
}

fn write_collector(cycle: &mut CycleEncoder<'_>, health: Option<&Health>, collector: &SelfMetrics) {
    for &series in CollectorSeries::ALL {
        if let Some(value) = collector_value(series, health, collector) {
            let _ = cycle.point(series.metric(), &[], value);
        }
    }
}

/// The options of the output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) memory: Memory,
    /// The groups of metrics that are requested.
    pub(crate) groups: &'a [Group],
}

/// The values that the sampler reads for these groups.
pub(crate) fn metric_groups(groups: &[Group]) -> MetricGroups {
    let mut metrics = MetricGroups::default();
    for group in groups {
        match group {
            Group::States => metrics.states = true,
            Group::Faults => metrics.faults = true,
            Group::Switches => metrics.switches = true,
            Group::Swap => metrics.swap = true,
            Group::Tcp => metrics.tcp = true,
            // The enum may get further groups; a test finds those without a line here.
            _ => {}
        }
    }
    metrics
}

/// The unit of memory values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Bytes or pages.
    pub(crate) unit: MemUnit,
    /// Bytes per page.
    pub(crate) page_size: u64,
}

impl Memory {
    fn value(self, bytes: u64) -> Value {
        match self.unit {
            MemUnit::Bytes => Value::from(bytes),
            MemUnit::Pages => Value::from(bytes / self.page_size.max(1)),
        }
    }
}

fn image_value(series: Series, image: &Usage, memory: Memory) -> Option<Value> {
    let io = |get: fn(&IoCounters) -> i64| image.io.as_ref().map(|io| Value::from(get(io)));
    let count = |count: Option<u64>| count.map(Value::from);
    let tcp = |get: fn(&TcpStateCounts) -> u64| count(image.tcp_states.as_ref().map(get));
    let state = |get: fn(&StateCounts) -> u64| count(image.states.as_ref().map(get));
    match series {
        Series::IoRchar => io(|io| io.rchar),
        Series::IoWchar => io(|io| io.wchar),
        Series::IoSyscr => io(|io| io.syscr),
        Series::IoSyscw => io(|io| io.syscw),
        Series::IoReadBytes => io(|io| io.read_bytes),
        Series::IoWriteBytes => io(|io| io.write_bytes),
        Series::IoCancelledWriteBytes => io(|io| io.cancelled_write_bytes),
        Series::FdOpen => count(image.fds),
        Series::FdRatio => image.fd_percent.map(thousandths),
        Series::Threads => count(image.threads),
        Series::NetTcp => count(image.tcp),
        Series::NetUdp => count(image.udp),
        Series::NetUnix => count(image.unix),
        Series::Pcpu => image.cpu_percent.map(thousandths),
        Series::CpuUser => image.cpu.map(|cpu| nanoseconds(cpu.user)),
        Series::CpuSystem => image.cpu.map(|cpu| nanoseconds(cpu.system)),
        Series::MemTotal => image.vsize.map(|bytes| memory.value(bytes)),
        Series::MemResident => image.rss.map(|bytes| memory.value(bytes)),
        Series::MemShared => image.shared.map(|bytes| memory.value(bytes)),
        Series::Procs => Some(Value::from(image.processes)),
        Series::Starts => count(Some(image.starts)),
        Series::Exits => count(Some(image.exits)),
        Series::AgeOldest => image.oldest.map(seconds),
        Series::AgeYoungest => image.youngest.map(seconds),
        Series::StateRunning => state(|states| states.running),
        Series::StateSleeping => state(|states| states.sleeping),
        Series::StateDisk => state(|states| states.disk),
        Series::StateStopped => state(|states| states.stopped),
        Series::StateZombie => state(|states| states.zombie),
        Series::FaultsMinor => count(image.faults.map(|faults| faults.minor)),
        Series::FaultsMajor => count(image.faults.map(|faults| faults.major)),
        Series::SwitchesVoluntary => count(image.switches.map(|switches| switches.voluntary)),
        Series::SwitchesInvoluntary => count(image.switches.map(|switches| switches.involuntary)),
        Series::Swap => count(image.swap),
        Series::TcpListen => tcp(|tcp| tcp.listen),
        Series::TcpSynSent => tcp(|tcp| tcp.syn_sent),
        Series::TcpSynRecv => tcp(|tcp| tcp.syn_recv),
        Series::TcpFinWait1 => tcp(|tcp| tcp.fin_wait1),
        Series::TcpFinWait2 => tcp(|tcp| tcp.fin_wait2),
        Series::TcpCloseWait => tcp(|tcp| tcp.close_wait),
        Series::TcpLastAck => tcp(|tcp| tcp.last_ack),
        Series::TcpClosing => tcp(|tcp| tcp.closing),
        Series::UnreadIo => count(Some(image.unread.io)),
        Series::UnreadNet => count(Some(image.unread.net)),
        Series::UnreadFd => count(Some(image.unread.fd)),
        Series::UnreadMem => count(Some(image.unread.mem)),
        Series::UnreadCpu => count(Some(image.unread.cpu)),
    }
}

/// Without a sample, only the metrics of the collector itself have a value.
fn collector_value(
    series: CollectorSeries,
    health: Option<&Health>,
    collector: &SelfMetrics,
) -> Option<Value> {
    let sampler = |get: fn(&Health) -> u64| health.map(|health| Value::from(get(health)));
    let count = |number: u64| Some(Value::from(number));
    match series {
        CollectorSeries::Cpu => Some(thousandths(collector.cpu_milliseconds)),
        CollectorSeries::Wall => Some(thousandths(collector.wall_milliseconds)),
        CollectorSeries::Processes => sampler(|health| health.processes),
        CollectorSeries::Matched => sampler(|health| health.matched),
        CollectorSeries::DeniedIo => sampler(|health| health.denied.io),
        CollectorSeries::DeniedFd => sampler(|health| health.denied.fd),
        CollectorSeries::DeniedCmdline => sampler(|health| health.denied.command_line),
        CollectorSeries::DeniedNs => sampler(|health| health.denied.netns),
        CollectorSeries::DeniedStatm => sampler(|health| health.denied.statm),
        CollectorSeries::DeniedStat => sampler(|health| health.denied.stat),
        CollectorSeries::DeniedLimits => sampler(|health| health.denied.limits),
        CollectorSeries::DeniedStatus => sampler(|health| health.denied.status),
        CollectorSeries::DeniedComm => sampler(|health| health.denied.comm),
        CollectorSeries::DeniedCgroup => sampler(|health| health.denied.cgroup),
        CollectorSeries::DeniedNet => sampler(|health| health.denied.net),
        CollectorSeries::FailedIo => sampler(|health| health.failed.io),
        CollectorSeries::FailedFd => sampler(|health| health.failed.fd),
        CollectorSeries::FailedCmdline => sampler(|health| health.failed.command_line),
        CollectorSeries::FailedNs => sampler(|health| health.failed.netns),
        CollectorSeries::FailedStatm => sampler(|health| health.failed.statm),
        CollectorSeries::FailedStat => sampler(|health| health.failed.stat),
        CollectorSeries::FailedLimits => sampler(|health| health.failed.limits),
        CollectorSeries::FailedStatus => sampler(|health| health.failed.status),
        CollectorSeries::FailedComm => sampler(|health| health.failed.comm),
        CollectorSeries::FailedCgroup => sampler(|health| health.failed.cgroup),
        CollectorSeries::FailedNet => sampler(|health| health.failed.net),
        CollectorSeries::Blocked => sampler(|health| health.blocked),
        CollectorSeries::ConfBadLines => count(collector.bad_lines),
        CollectorSeries::ConfLoaded => count(u64::from(collector.conf_loaded)),
        CollectorSeries::Rules => count(collector.rules),
        CollectorSeries::StepLimitedRules => count(collector.step_limited_rules),
        CollectorSeries::Panics => count(collector.panics),
        CollectorSeries::SysPtrace => count(u64::from(collector.capabilities.sys_ptrace)),
        CollectorSeries::DacReadSearch => count(u64::from(collector.capabilities.dac_read_search)),
        CollectorSeries::Rss => collector.rss.map(Value::from),
        CollectorSeries::Fds => sampler(|health| health.fds_held),
        CollectorSeries::LostEvents => sampler(|health| health.lost_events),
        CollectorSeries::SkippedCycles => count(collector.skipped_cycles),
    }
}

/// Seconds with up to three decimals, cut off.
fn seconds(time: Duration) -> Value {
    Value::from_thousandths(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

/// Nanoseconds as seconds.
fn nanoseconds(time: u64) -> Value {
    seconds(Duration::from_nanos(time))
}

/// A number with up to three decimals.
fn thousandths(number: f64) -> Value {
    // `as` saturates, and NaN becomes 0.
    Value::from_thousandths((number * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampler_reads_every_group() {
        let one_by_one = Group::ALL.iter().map(|group| metric_groups(&[*group]));
        assert!(one_by_one.into_iter().all(|metrics| metrics != MetricGroups::default()));
        assert_eq!(metric_groups(&[]), MetricGroups::default());
    }

    #[test]
    fn seconds_have_three_decimals() {
        assert_eq!(nanoseconds(12_345_999_999), Value::from_thousandths(12_345));
    }

    #[test]
    fn floats_are_rounded_to_thousandths() {
        for (number, value) in
            [(0.0, 0), (12.3456, 12_346), (0.0004, 0), (f64::NAN, 0), (f64::INFINITY, i64::MAX)]
        {
            assert_eq!(thousandths(number), Value::from_thousandths(value));
        }
    }
}

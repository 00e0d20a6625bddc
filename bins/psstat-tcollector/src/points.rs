//! The table from a sample's fields to the catalogue: which number goes out
//! under which name. A series without a line here does not compile.

use psstat_emit::{CollectorSeries, CycleEncoder, ImageName, Series, Value};
use psstat_sampler::{ImageId, IoCounters, Numbers, Sample};

use crate::health::SelfMetrics;
use crate::options::MemUnit;

/// Writes all points of a cycle. A value that could not be read has none.
pub fn write<'a>(
    cycle: &mut CycleEncoder<'a>,
    sample: &Sample,
    images: &'a [(ImageName, ImageId)],
    own: &SelfMetrics,
    memory: Memory,
) {
    for &series in Series::ALL {
        for (image, number) in images {
            if let Some(value) = value_of(series, &sample.image(*number), memory) {
                // The order is that of the catalogue and of the names, and no
                // counter is negative: there is nothing to refuse.
                let _ = cycle.point(series, image, value);
            }
        }
    }
    write_health(cycle, Some(&sample.health), own);
}

/// Writes the collector's health alone: of a cycle that came to no sample.
pub fn write_self(cycle: &mut CycleEncoder<'_>, own: &SelfMetrics) {
    write_health(cycle, None, own);
}

fn write_health(
    cycle: &mut CycleEncoder<'_>,
    sampler: Option<&psstat_sampler::Health>,
    own: &SelfMetrics,
) {
    for &health in CollectorSeries::ALL {
        if let Some(value) = health_of(health, sampler, own) {
            let _ = cycle.collector_point(health, value);
        }
    }
}

/// In what unit memory goes out.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Bytes or pages.
    pub unit: MemUnit,
    /// Bytes a page.
    pub page_size: u64,
}

impl Memory {
    fn value(self, bytes: u64) -> Value {
        match self.unit {
            MemUnit::Bytes => Value::from_u64(bytes),
            MemUnit::Pages => Value::from_u64(bytes / self.page_size.max(1)),
        }
    }
}

fn value_of(series: Series, image: &Numbers, memory: Memory) -> Option<Value> {
    let io = |of: fn(&IoCounters) -> i64| image.io.as_ref().map(|io| Value::from_i64(of(io)));
    let count = |count: Option<u64>| count.map(Value::from_u64);
    match series {
        Series::IoRchar => io(|io| io.rchar),
        Series::IoWchar => io(|io| io.wchar),
        Series::IoSyscr => io(|io| io.syscr),
        Series::IoSyscw => io(|io| io.syscw),
        Series::IoReadBytes => io(|io| io.read_bytes),
        Series::IoWriteBytes => io(|io| io.write_bytes),
        Series::IoCancelledWriteBytes => io(|io| io.cancelled_write_bytes),
        Series::FdOpen => count(image.descriptors),
        Series::Threads => count(image.threads),
        Series::NetTcp => count(image.tcp),
        Series::NetUdp => count(image.udp),
        Series::NetUnix => count(image.unix),
        Series::Pcpu => image.pcpu.map(thousandths),
        Series::MemTotal => image.vsize.map(|bytes| memory.value(bytes)),
        Series::MemResident => image.rss.map(|bytes| memory.value(bytes)),
        Series::Procs => Some(Value::from_u64(image.procs)),
    }
}

/// Without a sample, only what the collector knows of itself has a value.
fn health_of(
    health: CollectorSeries,
    sampler: Option<&psstat_sampler::Health>,
    own: &SelfMetrics,
) -> Option<Value> {
    let seen = |of: fn(&psstat_sampler::Health) -> u64| sampler.map(|it| Value::from_u64(of(it)));
    let count = |number: u64| Some(Value::from_u64(number));
    match health {
        CollectorSeries::Cpu => Some(thousandths(own.cpu_milliseconds)),
        CollectorSeries::Wall => Some(thousandths(own.wall_milliseconds)),
        CollectorSeries::Seen => seen(|sampler| sampler.processes),
        CollectorSeries::Matched => seen(|sampler| sampler.matched),
        CollectorSeries::DeniedIo => seen(|sampler| sampler.denied.io),
        CollectorSeries::DeniedFd => seen(|sampler| sampler.denied.fd),
        CollectorSeries::DeniedCmdline => seen(|sampler| sampler.denied.command_line),
        CollectorSeries::DeniedNs => seen(|sampler| sampler.denied.netns),
        CollectorSeries::DeniedStatm => seen(|sampler| sampler.denied.statm),
        CollectorSeries::DeniedStat => seen(|sampler| sampler.denied.stat),
        CollectorSeries::DeniedNet => seen(|sampler| sampler.denied.net),
        CollectorSeries::FailedIo => seen(|sampler| sampler.failed.io),
        CollectorSeries::FailedFd => seen(|sampler| sampler.failed.fd),
        CollectorSeries::FailedCmdline => seen(|sampler| sampler.failed.command_line),
        CollectorSeries::FailedNs => seen(|sampler| sampler.failed.netns),
        CollectorSeries::FailedStatm => seen(|sampler| sampler.failed.statm),
        CollectorSeries::FailedStat => seen(|sampler| sampler.failed.stat),
        CollectorSeries::FailedNet => seen(|sampler| sampler.failed.net),
        CollectorSeries::Blocked => seen(|sampler| sampler.blocked),
        CollectorSeries::ConfBadLines => count(own.bad_lines),
        CollectorSeries::ConfLoaded => count(u64::from(own.conf_loaded)),
        CollectorSeries::Rules => count(own.rules),
        CollectorSeries::LimitedRules => count(own.limited_rules),
        CollectorSeries::Panics => count(own.panics),
        CollectorSeries::SysPtrace => count(u64::from(own.fds_held.sys_ptrace)),
        CollectorSeries::DacReadSearch => count(u64::from(own.fds_held.dac_read_search)),
        CollectorSeries::Rss => own.rss.map(Value::from_u64),
        CollectorSeries::Fds => seen(|sampler| sampler.fds_held),
        CollectorSeries::Late => count(own.late),
    }
}

/// A number with up to three decimals.
fn thousandths(number: f64) -> Value {
    // A float is cut to the integer's range, and NaN is 0.
    Value::from_thousandths((number * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_rounded_to_thousandths() {
        for (number, value) in
            [(0.0, 0), (12.3456, 12_346), (0.0004, 0), (f64::NAN, 0), (f64::INFINITY, i64::MAX)]
        {
            assert_eq!(thousandths(number), Value::from_thousandths(value));
        }
    }
}

//! The table from a sample's fields to the catalogue: which number goes out
//! under which name. A series without a line here does not compile.

use psstat_emit::{Cycle, HealthSeries, Image, Series, Value};
use psstat_sampler::{Counters, ImageId, Numbers, Sample};

use crate::health::OwnHealth;
use crate::options::MemUnit;

/// Writes all points of a cycle. A value that could not be read has none.
pub fn write<'a>(
    cycle: &mut Cycle<'a>,
    sample: &Sample,
    images: &'a [(Image, ImageId)],
    own: &OwnHealth,
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
pub fn write_own(cycle: &mut Cycle<'_>, own: &OwnHealth) {
    write_health(cycle, None, own);
}

fn write_health(cycle: &mut Cycle<'_>, sampler: Option<&psstat_sampler::Health>, own: &OwnHealth) {
    for &health in HealthSeries::ALL {
        if let Some(value) = health_of(health, sampler, own) {
            let _ = cycle.health(health, value);
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
    let io = |of: fn(&Counters) -> i64| image.io.as_ref().map(|io| Value::from_i64(of(io)));
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
    health: HealthSeries,
    sampler: Option<&psstat_sampler::Health>,
    own: &OwnHealth,
) -> Option<Value> {
    let seen = |of: fn(&psstat_sampler::Health) -> u64| sampler.map(|it| Value::from_u64(of(it)));
    let count = |number: u64| Some(Value::from_u64(number));
    match health {
        HealthSeries::Cpu => Some(thousandths(own.cpu_milliseconds)),
        HealthSeries::Wall => Some(thousandths(own.wall_milliseconds)),
        HealthSeries::Seen => seen(|sampler| sampler.seen),
        HealthSeries::Matched => seen(|sampler| sampler.matched),
        HealthSeries::DeniedIo => seen(|sampler| sampler.denied.io),
        HealthSeries::DeniedFd => seen(|sampler| sampler.denied.fd),
        HealthSeries::DeniedCmdline => seen(|sampler| sampler.denied.command_line),
        HealthSeries::DeniedNs => seen(|sampler| sampler.denied.netns),
        HealthSeries::DeniedStatm => seen(|sampler| sampler.denied.statm),
        HealthSeries::DeniedStat => seen(|sampler| sampler.denied.stat),
        HealthSeries::DeniedNet => seen(|sampler| sampler.denied.net),
        HealthSeries::FailedIo => seen(|sampler| sampler.failed.io),
        HealthSeries::FailedFd => seen(|sampler| sampler.failed.fd),
        HealthSeries::FailedCmdline => seen(|sampler| sampler.failed.command_line),
        HealthSeries::FailedNs => seen(|sampler| sampler.failed.netns),
        HealthSeries::FailedStatm => seen(|sampler| sampler.failed.statm),
        HealthSeries::FailedStat => seen(|sampler| sampler.failed.stat),
        HealthSeries::FailedNet => seen(|sampler| sampler.failed.net),
        HealthSeries::Blocked => seen(|sampler| sampler.blocked),
        HealthSeries::ConfBadLines => count(own.bad_lines),
        HealthSeries::ConfLoaded => count(u64::from(own.conf_loaded)),
        HealthSeries::Rules => count(own.rules),
        HealthSeries::LimitedRules => count(own.limited_rules),
        HealthSeries::Panics => count(own.panics),
        HealthSeries::SysPtrace => count(u64::from(own.held.sys_ptrace)),
        HealthSeries::DacReadSearch => count(u64::from(own.held.dac_read_search)),
        HealthSeries::Rss => own.rss.map(Value::from_u64),
        HealthSeries::Fds => seen(|sampler| sampler.kept),
        HealthSeries::Late => count(own.late),
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

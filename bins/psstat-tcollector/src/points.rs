//! The table from a sample's fields to the catalogue: which number goes out
//! under which name. A series without a line here does not compile.

use psstat_emit::{Cycle, Health, Image, Series, Value};
use psstat_sampler::{ByFile, Counters, ImageId, ImageSample, Sample};

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
    for &health in Health::ALL {
        let _ = cycle.health(health, health_of(health, &sample.health, own));
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
            MemUnit::Bytes => Value::integer(bytes),
            MemUnit::Pages => Value::integer(bytes / self.page_size.max(1)),
        }
    }
}

fn value_of(series: Series, sample: &ImageSample, memory: Memory) -> Option<Value> {
    let io = |of: fn(&Counters) -> i64| sample.io.as_ref().map(|io| Value::Integer(of(io)));
    let count = |count: Option<u64>| count.map(Value::integer);
    match series {
        Series::IoRchar => io(|io| io.rchar),
        Series::IoWchar => io(|io| io.wchar),
        Series::IoSyscr => io(|io| io.syscr),
        Series::IoSyscw => io(|io| io.syscw),
        Series::IoReadBytes => io(|io| io.read_bytes),
        Series::IoWriteBytes => io(|io| io.write_bytes),
        Series::IoCancelledWriteBytes => io(|io| io.cancelled_write_bytes),
        Series::FdOpen => count(sample.descriptors),
        Series::Threads => count(sample.threads),
        Series::NetTcp => count(sample.tcp),
        Series::NetUdp => count(sample.udp),
        Series::NetUnix => count(sample.unix),
        Series::Pcpu => sample.pcpu.map(thousandths),
        Series::MemTotal => sample.vsize.map(|bytes| memory.value(bytes)),
        Series::MemResident => sample.rss.map(|bytes| memory.value(bytes)),
        Series::Procs => Some(Value::integer(sample.procs)),
    }
}

fn health_of(health: Health, sampler: &psstat_sampler::Health, own: &OwnHealth) -> Value {
    let ByFile { command_line, io, fd, netns, statm, stat, net } = sampler.denied;
    let failed = &sampler.failed;
    Value::integer(match health {
        Health::Cpu => return thousandths(own.cpu_milliseconds),
        Health::Wall => return thousandths(own.wall_milliseconds),
        Health::Seen => sampler.seen,
        Health::Matched => sampler.matched,
        Health::DeniedIo => io,
        Health::DeniedFd => fd,
        Health::DeniedCmdline => command_line,
        Health::DeniedNs => netns,
        Health::DeniedStatm => statm,
        Health::DeniedStat => stat,
        Health::DeniedNet => net,
        Health::FailedIo => failed.io,
        Health::FailedFd => failed.fd,
        Health::FailedCmdline => failed.command_line,
        Health::FailedNs => failed.netns,
        Health::FailedStatm => failed.statm,
        Health::FailedStat => failed.stat,
        Health::FailedNet => failed.net,
        Health::Blocked => sampler.blocked,
        Health::ConfBadLines => own.bad_lines,
        Health::ConfLoaded => u64::from(own.conf_loaded),
        Health::Rules => own.rules,
        Health::LimitedRules => own.limited_rules,
        Health::Panics => own.panics,
        Health::SysPtrace => u64::from(own.held.sys_ptrace),
        Health::DacReadSearch => u64::from(own.held.dac_read_search),
        Health::Rss => own.rss,
        Health::Fds => sampler.kept,
        Health::Late => own.late,
    })
}

/// A number with up to three decimals.
fn thousandths(number: f64) -> Value {
    // A float is cut to the integer's range, and NaN is 0.
    Value::Milli((number * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_rounded_to_thousandths() {
        for (number, value) in
            [(0.0, 0), (12.3456, 12_346), (0.0004, 0), (f64::NAN, 0), (f64::INFINITY, i64::MAX)]
        {
            assert_eq!(thousandths(number), Value::Milli(value));
        }
    }
}

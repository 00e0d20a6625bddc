//! Resource limits and their usage.

use psstat_proc_parse::{Kilobytes, LimitValue, Limits, Stat, Status};

use super::{BootInfo, ReadError, Section, Value};

pub(super) fn section(
    limits: Result<Vec<u8>, ReadError>,
    stat: Option<&Stat<'_>>,
    status: Option<&Status<'_>>,
    descriptors: Option<u64>,
    boot: &BootInfo,
) -> Section {
    let mut section = Section::new("limits");
    let bytes = match limits {
        Ok(bytes) => bytes,
        Err(error) => {
            section.unread = Some(error);
            return section;
        }
    };
    let limits = match Limits::parse(&bytes) {
        Ok(limits) => limits,
        Err(error) => {
            section.unread = Some(error.into());
            return section;
        }
    };
    let rows = limits.iter().map(|row| {
        let used = used(row.name, stat, status, descriptors, boot);
        let percent = match (used, row.soft) {
            (Some(used), LimitValue::Value(limit @ 1..)) => {
                Value::Percent(used as f64 / limit as f64 * 100.0)
            }
            _ => Value::Absent,
        };
        let in_bytes = row.units == Some(b"bytes");
        let number =
            |number| if in_bytes { Value::bytes(Some(number)) } else { Value::Number(number) };
        let limit = |limit| {
            let max = match limit {
                LimitValue::Unlimited => None,
                LimitValue::Value(max) => Some(max),
            };
            Value::Limit { max, in_bytes }
        };
        vec![
            Value::Text(row.name.to_vec()),
            limit(row.soft),
            limit(row.hard),
            row.units.map_or(Value::Absent, |units| Value::Text(units.to_vec())),
            used.map_or(Value::Absent, number),
            percent,
        ]
    });
    let fields = &["name", "soft", "hard", "units", "used", "used_percent"];
    section.list("list", fields, rows.collect());
    section
}

/// The current usage in the unit of the limit, if the process's files contain
/// it. They do not contain what the kernel counts per user, such as threads
/// (`Max processes`) and message queues: counting them would require all
/// processes of all pid namespaces.
fn used(
    name: &[u8],
    stat: Option<&Stat<'_>>,
    status: Option<&Status<'_>>,
    descriptors: Option<u64>,
    boot: &BootInfo,
) -> Option<u64> {
    let bytes = |value: Option<Kilobytes>| value.map(Kilobytes::to_bytes);
    match name {
        b"Max cpu time" => {
            // The limit is in whole seconds.
            stat.map(|stat| boot.seconds(stat.utime.0.saturating_add(stat.stime.0)) as u64)
        }
        b"Max open files" => descriptors,
        b"Max address space" => stat.map(|stat| stat.vsize),
        b"Max data size" => bytes(status?.vm_data),
        b"Max stack size" => bytes(status?.vm_stk),
        b"Max resident set" => bytes(status?.vm_rss),
        b"Max locked memory" => bytes(status?.vm_lck),
        b"Max pending signals" => status?.sig_queue.map(|queue| queue.queued),
        // The limit counts down from 20.
        b"Max nice priority" => u64::try_from(20_i64.checked_sub(stat?.nice)?).ok(),
        b"Max realtime priority" => stat.map(|stat| stat.rt_priority.into()),
        _ => None,
    }
}

//! What a process may use, and how much of it is used.

use psstat_proc_parse::{LimitValue, Limits, Stat, Status};

use super::{BootInfo, ReadError, Section, Value};

pub(super) fn section(
    limits: Result<Vec<u8>, ReadError>,
    stat: &Stat<'_>,
    status: Option<&Status<'_>>,
    descriptors: Option<usize>,
    machine: &BootInfo,
) -> Section {
    let mut section = Section::new("limits");
    let bytes = match limits {
        Ok(bytes) => bytes,
        Err(unread) => {
            section.unread = Some(unread);
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
    let rows = limits.rows().map(|row| {
        let used = used(row.name, stat, status, descriptors, machine);
        let percent = match (used, row.soft) {
            (Some(used), LimitValue::Value(limit @ 1..)) => {
                Value::Percent(used as f64 / limit as f64 * 100.0)
            }
            _ => Value::Absent,
        };
        // Bytes are shown as such.
        let in_bytes = row.units == Some(b"bytes");
        let number = |number| match in_bytes {
            true => Value::bytes(Some(number)),
            false => Value::Number(number),
        };
        let side = |limit| {
            let most = match limit {
                LimitValue::Unlimited => None,
                LimitValue::Value(most) => Some(most),
            };
            Value::Limit { max: most, in_bytes }
        };
        vec![
            Value::Text(row.name.to_vec()),
            side(row.soft),
            side(row.hard),
            row.units.map_or(Value::Absent, |units| Value::Text(units.to_vec())),
            used.map_or(Value::Absent, number),
            percent,
        ]
    });
    let fields = &["name", "soft", "hard", "units", "used", "used_percent"];
    section.list("list", fields, rows.collect());
    section
}

/// How much is used, in the unit of the limit, where the process's files say
/// so. Of what is counted a user and not a process, threads (`Max processes`),
/// message queues and the like, they say nothing: it would take all processes of
/// all pid namespaces to count it.
fn used(
    name: &[u8],
    stat: &Stat<'_>,
    status: Option<&Status<'_>>,
    descriptors: Option<usize>,
    machine: &BootInfo,
) -> Option<u64> {
    let kilobytes = |value: Option<u64>| Some(value?.saturating_mul(1024));
    match name {
        b"Max cpu time" => {
            // Whole seconds, as the limit counts.
            Some(machine.seconds(stat.utime.saturating_add(stat.stime)) as u64)
        }
        b"Max open files" => descriptors.map(|count| count as u64),
        b"Max address space" => Some(stat.vsize),
        b"Max data size" => kilobytes(status?.vm_data),
        b"Max stack size" => kilobytes(status?.vm_stk),
        b"Max resident set" => kilobytes(status?.vm_rss),
        b"Max locked memory" => kilobytes(status?.vm_lck),
        b"Max pending signals" => status?.sig_queue.map(|queue| queue.queued),
        // The limit is how far below 20 the nice value may get.
        b"Max nice priority" => u64::try_from(20_i64.checked_sub(stat.nice)?).ok(),
        b"Max realtime priority" => Some(stat.rt_priority.into()),
        _ => None,
    }
}

//! CPU usage and scheduling of a process.

use psstat_proc_parse::{Stat, Status};

use super::{BootInfo, Section, Value};

pub(super) fn section(stat: &Stat<'_>, status: Option<&Status<'_>>, boot: &BootInfo) -> Section {
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
    section.field("priority", Value::Signed(stat.priority));
    section.field("nice", Value::Signed(stat.nice));
    section.field("rt_priority", Value::Number(stat.rt_priority.into()));
    section.field("policy", Value::text(policy(stat.policy)));
    section.field("processor", Value::Signed(stat.processor.into()));
    section.field("blkio_delay_seconds", ticks(stat.delayacct_blkio_ticks));
    section.field("wchan", Value::Number(stat.wchan));
    let Some(status) = status else { return section };
    section.field("voluntary_ctxt_switches", Value::number(status.voluntary_ctxt_switches));
    section.field("nonvoluntary_ctxt_switches", Value::number(status.nonvoluntary_ctxt_switches));
    let list = |list: Option<&[u8]>| list.map_or(Value::Absent, |list| Value::Text(list.to_vec()));
    section.field("cpus_allowed", list(status.cpus_allowed_list));
    section.field("mems_allowed", list(status.mems_allowed_list));
    section
}

fn policy(policy: u32) -> String {
    match policy {
        0 => "SCHED_OTHER".to_owned(),
        1 => "SCHED_FIFO".to_owned(),
        2 => "SCHED_RR".to_owned(),
        3 => "SCHED_BATCH".to_owned(),
        5 => "SCHED_IDLE".to_owned(),
        6 => "SCHED_DEADLINE".to_owned(),
        7 => "SCHED_EXT".to_owned(),
        other => other.to_string(),
    }
}

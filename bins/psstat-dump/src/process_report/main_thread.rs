//! Scheduling of the main thread. Other threads can have other values.

use psstat_proc_parse::{Stat, Status};

use super::{Section, Value};

pub(super) fn section(stat: Option<&Stat<'_>>, status: Option<&Status<'_>>) -> Section {
    let mut section = Section::new("main_thread");
    let of_stat = |value: fn(&Stat<'_>) -> Value| stat.map_or(Value::Absent, value);
    section.field("priority", of_stat(|stat| Value::Signed(stat.priority)));
    section.field("nice", of_stat(|stat| Value::Signed(stat.nice)));
    section.field("rt_priority", of_stat(|stat| Value::Number(stat.rt_priority.into())));
    section.field("policy", of_stat(|stat| Value::text(policy(stat.policy))));
    section.field("processor", of_stat(|stat| Value::Signed(stat.processor.into())));
    section.field("wchan", of_stat(|stat| Value::Number(stat.wchan)));
    let Some(status) = status else { return section };
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

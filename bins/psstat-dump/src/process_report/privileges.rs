//! Capabilities and seccomp mode of a process.

use psstat_proc_parse::Status;

use super::{Section, Value};

/// Capabilities by number, without `CAP_`; see capabilities(7).
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

pub(super) fn section(status: Option<&Status<'_>>) -> Section {
    let mut section = Section::new("privileges");
    let Some(status) = status else { return section };
    section.field("cap_eff", mask(status.cap_eff));
    section.field("cap_eff_names", status.cap_eff.map_or(Value::Absent, |set| names(set).into()));
    section.field("cap_prm", mask(status.cap_prm));
    section.field("cap_inh", mask(status.cap_inh));
    section.field("cap_bnd", mask(status.cap_bnd));
    section.field("cap_amb", mask(status.cap_amb));
    section.field("no_new_privs", Value::number(status.no_new_privs));
    let seccomp = status.seccomp.map(|mode| match mode {
        0 => Value::text("off"),
        1 => Value::text("strict"),
        2 => Value::text("filter"),
        other => Value::text(other.to_string()),
    });
    section.field("seccomp", seccomp.unwrap_or(Value::Absent));
    section
}

fn mask(mask: Option<u64>) -> Value {
    mask.map_or(Value::Absent, |mask| Value::text(format!("{mask:016x}")))
}

/// The capabilities of a set: `none`, `all`, `all but` a few, or their names.
pub(crate) fn names(set: u64) -> String {
    let all = (1 << NAMES.len()) - 1;
    let name = |bit: u32| NAMES.get(bit as usize).map_or(bit.to_string(), ToString::to_string);
    let list = |set: u64| {
        let names: Vec<_> = (0..u64::BITS).filter(|bit| set >> bit & 1 == 1).map(name).collect();
        names.join(" ")
    };
    let missing = all & !set;
    match (set.count_ones(), missing.count_ones()) {
        (0, _) => "none".to_owned(),
        (_, 0) => "all".to_owned(),
        (_, 1..FEW) => format!("all but {}", list(missing)),
        _ => list(set),
    }
}

/// Sets with fewer missing capabilities are listed by these.
const FEW: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_names() {
        assert_eq!(names(0), "none");
        assert_eq!(names(0x0000_01ff_ffff_ffff), "all");
        assert_eq!(names(0x0000_01ff_feff_ffff), "all but sys_resource");
        assert_eq!(names(1 << 19 | 1 << 2), "dac_read_search sys_ptrace");
        assert_eq!(names(1 << 63 | 1 << 40), "checkpoint_restore 63");
    }
}

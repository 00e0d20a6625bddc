//! The identity of a process.

use std::path::Path;

use psstat_proc_parse::{Cmdline, Ids, ProcessState, Stat, Status};

use super::{BootInfo, Files, ReadError, Section, Value};

/// The flag of a kernel thread in `stat`.
const PF_KTHREAD: u32 = 0x0020_0000;

/// Whether a process is a kernel thread.
pub(crate) fn is_kernel_thread(stat: &Stat<'_>) -> bool {
    stat.flags & PF_KTHREAD != 0
}

/// Maximum number of ancestors; a capture can contain a cycle.
const MAX_ANCESTORS: usize = 64;

pub(super) fn section(
    proc: &Path,
    stat: Option<&Stat<'_>>,
    status: Option<&Status<'_>>,
    command_line: &Result<Vec<u8>, ReadError>,
    boot: &BootInfo,
) -> Section {
    let mut section = Section::new("identity");
    let of_stat = |value: fn(&Stat<'_>) -> Value| stat.map_or(Value::Absent, value);
    // Reading `stat` can block; `status` contains these as well.
    let name = stat.map(|stat| stat.comm.to_vec());
    let name = name.or_else(|| Some(status?.name?.unescaped().collect()));
    section.field("name", name.map_or(Value::Absent, Value::Text));
    let state = stat.map(|stat| stat.state).or_else(|| status?.state);
    section.field("state", state.map_or(Value::Absent, |state| Value::text(state_text(state))));
    let (text, error) = match command_line {
        Ok(bytes) => (Value::Text(Cmdline::new(bytes).joined().collect()), Value::Absent),
        Err(error) => (Value::Absent, Value::text(error.to_string())),
    };
    section.field("command_line", text);
    section.field("command_line_error", error);
    let start = stat.map(|stat| boot.start_seconds(stat.starttime.0));
    let started = start.and_then(|start| boot.time_at(start));
    section.field("started_unix_seconds", started.map_or(Value::Absent, Value::Time));
    let age = boot.uptime.zip(start).map(|(uptime, start)| (uptime - start).max(0.0));
    section.field("age_seconds", age.map_or(Value::Absent, Value::Seconds));
    section.field("starttime_ticks", of_stat(|stat| Value::Number(stat.starttime.0)));
    let ppid = stat.map(|stat| stat.ppid).or_else(|| status?.ppid);
    section.field("ppid", Value::signed(ppid));
    section.field("pgrp", of_stat(|stat| Value::Signed(stat.pgrp.into())));
    section.field("session", of_stat(|stat| Value::Signed(stat.session.into())));
    section.field("tty_nr", of_stat(|stat| Value::Signed(stat.tty_nr.into())));
    let tty = stat.and_then(|stat| terminal(stat.tty_nr));
    section.field("tty", tty.map_or(Value::Absent, Value::text));
    section.field("tpgid", of_stat(|stat| Value::Signed(stat.tpgid.into())));
    let threads = stat.map(|stat| stat.num_threads).or_else(|| status?.threads);
    section.field("threads", Value::number(threads));
    if let Some(status) = status {
        add_status_fields(&mut section, status);
    }
    section.field("exit_signal", of_stat(|stat| Value::Signed(stat.exit_signal.into())));
    let exit_code = stat.filter(|stat| stat.state == ProcessState::Zombie);
    section.field("exit_code", Value::signed(exit_code.and_then(|stat| stat.exit_code)));
    section.field("flags", of_stat(|stat| Value::text(format!("0x{:08x}", stat.flags))));
    section.field("kernel_thread", of_stat(|stat| Value::Bool(is_kernel_thread(stat))));
    section.list("parents", &["pid", "name"], parents(proc, ppid.unwrap_or(0)));
    section
}

fn add_status_fields(section: &mut Section, status: &Status<'_>) {
    let mut ids = |names: [&'static str; 4], ids: Option<Ids>| {
        for (at, name) in names.into_iter().enumerate() {
            section.field(name, Value::number(ids.and_then(|ids| ids.to_array().get(at).copied())));
        }
    };
    ids(["uid", "euid", "suid", "fsuid"], status.uid);
    ids(["gid", "egid", "sgid", "fsgid"], status.gid);
    let umask = status.umask.map(|umask| Value::text(format!("{umask:04o}")));
    section.field("umask", umask.unwrap_or(Value::Absent));
    let pids = status.ns_pid.map(|pids| pids.iter().map(|pid| pid.to_string()).collect::<Vec<_>>());
    section.field("ns_pids", pids.map_or(Value::Absent, |pids| Value::text(pids.join(" "))));
    section.field("tgid", Value::signed(status.tgid));
    section.field("ngid", Value::signed(status.ngid));
    section.field("tracer_pid", Value::signed(status.tracer_pid));
}

/// The controlling terminal's name below `/dev`, from its device number; see
/// the kernel's `Documentation/admin-guide/devices.txt`.
fn terminal(tty_nr: i32) -> Option<String> {
    let number = u32::try_from(tty_nr).ok().filter(|number| *number != 0)?;
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xfff00);
    match major {
        4 if minor < 64 => Some(format!("tty{minor}")),
        4 => Some(format!("ttyS{}", minor - 64)),
        136..=143 => Some(format!("pts/{}", (major - 136) * 256 + minor)),
        _ => Some(format!("device {major}:{minor}")),
    }
}

fn state_text(state: ProcessState) -> String {
    format!("{} ({state})", char::from(state.as_byte()))
}

/// The parents from the nearest on, each with its pid and name.
fn parents(proc: &Path, mut ppid: i32) -> Vec<Vec<Value>> {
    let mut parents = Vec::new();
    while parents.len() < MAX_ANCESTORS {
        let Ok(pid @ 1..) = u32::try_from(ppid) else { break };
        let Some((name, parent)) = name_and_parent(proc, pid) else { break };
        parents.push(vec![Value::Number(pid.into()), Value::Text(name)]);
        ppid = parent;
    }
    parents
}

/// From `stat` or, if reading that blocks, from `status`.
fn name_and_parent(proc: &Path, pid: u32) -> Option<(Vec<u8>, i32)> {
    let files = Files::open(proc, pid).ok()?;
    match files.read("stat") {
        Ok(bytes) => Stat::parse(&bytes).ok().map(|stat| (stat.comm.to_vec(), stat.ppid)),
        Err(ReadError::Blocked) => {
            let bytes = files.read("status").ok()?;
            let status = Status::parse(&bytes).ok()?;
            Some((status.name?.unescaped().collect(), status.ppid?))
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_names() {
        let cases = [
            (0, None),
            (-1, None),
            (1025, Some("tty1")),
            (1088, Some("ttyS0")),
            (34816, Some("pts/0")),
            // The high bits of the minor number are above the major number.
            (0x0010_8800, Some("pts/256")),
            (0x0501, Some("device 5:1")),
        ];
        for (number, want) in cases {
            assert_eq!(terminal(number).as_deref(), want, "{number}");
        }
    }
}

//! Who a process is.

use std::path::Path;
use std::time::Duration;

use psstat_proc_parse::{Cmdline, Stat, State, Status};

use super::{Files, Machine, Section, Unread, Value};

/// The longest line of parents that is followed; a copy of a procfs could go
/// in circles.
const MOST_PARENTS: usize = 64;

pub(super) fn section(
    proc: &Path,
    stat: &Stat<'_>,
    status: Option<&Status<'_>>,
    command_line: &Result<Vec<u8>, Unread>,
    machine: &Machine,
) -> Section {
    let mut section = Section::new("identity");
    section.fact("name", Value::Text(stat.comm.to_vec()));
    section.fact("state", Value::text(state(stat.state)));
    let text = match command_line {
        Ok(bytes) => Value::Text(Cmdline(bytes).text().collect()),
        Err(_) => Value::Absent,
    };
    section.fact("command_line", text);
    let age = machine.seconds(stat.starttime);
    let started = machine
        .booted
        .and_then(|booted| booted.checked_add(Duration::try_from_secs_f64(age).ok()?));
    section.fact("started_unix_seconds", started.map_or(Value::Absent, Value::Time));
    let age = machine.up.map(|up| (up - age).max(0.0));
    section.fact("age_seconds", age.map_or(Value::Absent, Value::Seconds));
    section.fact("starttime_ticks", Value::Number(stat.starttime));
    section.fact("ppid", Value::Signed(stat.ppid.into()));
    section.fact("parents", Value::text(parents(proc, stat.ppid)));
    section.fact("pgrp", Value::Signed(stat.pgrp.into()));
    section.fact("session", Value::Signed(stat.session.into()));
    section.fact("tty_nr", Value::Signed(stat.tty_nr.into()));
    section.fact("threads", Value::Number(stat.num_threads));
    let Some(status) = status else { return section };
    let ids =
        |ids: Option<[u32; 4]>, at: usize| Value::number(ids.and_then(|ids| ids.get(at).copied()));
    section.fact("uid", ids(status.uid, 0));
    section.fact("euid", ids(status.uid, 1));
    section.fact("gid", ids(status.gid, 0));
    section.fact("egid", ids(status.gid, 1));
    let umask = status.umask.map(|umask| Value::text(format!("{umask:04o}")));
    section.fact("umask", umask.unwrap_or(Value::Absent));
    let pids = status.ns_pid.map(|pids| pids.map(|pid| pid.to_string()).collect::<Vec<_>>());
    section.fact("ns_pids", pids.map_or(Value::Absent, |pids| Value::text(pids.join(" "))));
    section.fact("tracer_pid", Value::signed(status.tracer_pid));
    section.fact("cap_eff", mask(status.cap_eff));
    section.fact("no_new_privs", Value::number(status.no_new_privs));
    let seccomp = status.seccomp.map(|mode| match mode {
        0 => Value::text("off"),
        1 => Value::text("strict"),
        2 => Value::text("filter"),
        other => Value::text(other.to_string()),
    });
    section.fact("seccomp", seccomp.unwrap_or(Value::Absent));
    section
}

fn mask(mask: Option<u64>) -> Value {
    mask.map_or(Value::Absent, |mask| Value::text(format!("{mask:016x}")))
}

fn state(state: State) -> String {
    let word = match state {
        State::Running => "running",
        State::Sleeping => "sleeping",
        State::DiskSleep => "disk sleep",
        State::Stopped => "stopped",
        State::TracingStop => "tracing stop",
        State::Zombie => "zombie",
        State::Dead => "dead",
        State::Idle => "idle",
        State::Parked => "parked",
        _ => "unknown",
    };
    format!("{} ({word})", char::from(state.as_byte()))
}

/// The parents from the nearest on, each with its pid and name.
fn parents(proc: &Path, mut ppid: i32) -> String {
    let mut parents = Vec::new();
    while parents.len() < MOST_PARENTS {
        let Ok(pid @ 1..) = u32::try_from(ppid) else { break };
        let Ok(bytes) = Files::open(proc, pid).and_then(|files| files.read("stat")) else { break };
        let Ok(stat) = Stat::parse(&bytes) else { break };
        parents.push(format!("{pid} {}", String::from_utf8_lossy(stat.comm)));
        ppid = stat.ppid;
    }
    parents.join(", ")
}

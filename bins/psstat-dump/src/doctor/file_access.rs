//! Which files of all processes this user can read.

use std::path::Path;

use psstat_support::procfs;

use super::Check;
use super::capabilities::may_trace;
use crate::process_report::{Files, ReadError};

/// The files, the values that depend on each, and how each is accessed.
const FILES: [(&str, &str, Access); 5] = [
    ("stat", "identity and CPU time", Access::Read),
    ("statm", "memory", Access::Read),
    ("io", "io", Access::Read),
    ("fd", "connections, and descriptors by kind", Access::List),
    ("ns/net", "connections inside containers", Access::Link),
];

#[derive(Clone, Copy)]
enum Access {
    Read,
    List,
    Link,
}

/// Number of processes with a file, and of files that cannot be read.
#[derive(Clone, Copy, Default)]
struct Tally {
    present: usize,
    denied: usize,
    failed: usize,
}

/// One check per file.
pub(super) fn files(proc: &Path) -> Vec<Check> {
    let mut tallies = [Tally::default(); FILES.len()];
    for pid in procfs::pids(proc).into_iter().flatten() {
        let Ok(files) = Files::open(proc, pid) else { continue };
        for (tally, (name, _, access)) in tallies.iter_mut().zip(FILES) {
            let result = match access {
                Access::Read => files.read(name).map(|_| ()),
                Access::List => files.descriptors().map(|_| ()),
                Access::Link => files.link(name).map(|_| ()),
            };
            match result {
                Ok(()) => {}
                // The process exited, or is a kernel thread, which has none.
                Err(ReadError::NotFound) => continue,
                Err(ReadError::Denied) => tally.denied += 1,
                Err(ReadError::Blocked | ReadError::Failed(_)) => tally.failed += 1,
            }
            tally.present += 1;
        }
    }
    let help = help(may_trace(proc), rustix::process::geteuid().is_root());
    let tallies = tallies.iter().zip(FILES);
    tallies.map(|(tally, (name, values, _))| check(name, values, *tally, &help)).collect()
}

fn check(name: &'static str, values: &str, tally: Tally, help: &str) -> Check {
    let Tally { present, denied, failed } = tally;
    if denied > 0 {
        let result = format!("denied for {denied} of {present} processes: {values} missing");
        return Check::fail(name, result, help);
    }
    if failed > 0 {
        let result = format!("failed for {failed} of {present} processes: {values} missing");
        return Check::fail(name, result, "see `psstat-dump pid PID` for the reason");
    }
    if present == 0 {
        return no_process_has(name, values);
    }
    Check::ok(name, format!("readable for all {present} processes: {values}"))
}

/// A kernel can lack a file, and so can a captured procfs. Zombies and kernel threads lack some.
fn no_process_has(name: &'static str, values: &str) -> Check {
    if name == "ns/net" {
        return Check::ok(name, "no process has it: one network namespace for all");
    }
    let help = match name {
        "io" => "use a kernel with CONFIG_TASK_IO_ACCOUNTING",
        _ => "use a kernel, or a capture, that has this file",
    };
    Check::warn(name, format!("no process has it: {values} missing"), help)
}

/// How to get the missing permissions.
fn help(may_trace: bool, is_root: bool) -> String {
    if may_trace {
        return "nothing to do here: CAP_SYS_PTRACE is held, but a security module or the \
                processes' user namespace denies access"
            .to_owned();
    }
    if is_root {
        return "give the container CAP_SYS_PTRACE (`docker run --cap-add SYS_PTRACE`)".to_owned();
    }
    let program = std::env::current_exe().ok();
    let program = program.map_or("PROGRAM".to_owned(), |path| crate::conf::display(&path));
    format!("run as root, or `setcap cap_sys_ptrace,cap_dac_read_search+ep {program}`")
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn file_that_no_process_has() {
        let none = Tally::default();
        let io = check("io", "io", none, "run as root");
        assert_eq!((io.status, &*io.result), (Status::Warn, "no process has it: io missing"));
        assert!(io.help.unwrap().contains("CONFIG_TASK_IO_ACCOUNTING"));
        assert_eq!(check("ns/net", "connections", none, "").status, Status::Ok);
    }

    #[test]
    fn denied_files_fail_with_help() {
        let all = check("io", "io", Tally { present: 3, denied: 0, failed: 0 }, "");
        assert_eq!((all.status, all.help), (Status::Ok, None));
        let help = help(false, false);
        let some = check("io", "io", Tally { present: 3, denied: 1, failed: 1 }, &help);
        assert_eq!(some.status, Status::Fail);
        assert_eq!(some.result, "denied for 1 of 3 processes: io missing");
        assert!(some.help.unwrap().contains("setcap cap_sys_ptrace,cap_dac_read_search+ep /"));
    }
}

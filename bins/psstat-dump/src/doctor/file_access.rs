//! Which files of all processes this user can read.

use std::path::Path;

use psstat_support::procfs;

use super::Check;
use super::capabilities::{is_in_other_namespace, may_trace};
use crate::process_report::{Files, ReadError};
use crate::table::units;

/// The files, the values that depend on each, and how each is accessed.
const FILES: [(&str, &str, Access); 5] = [
    ("stat", "identity and CPU time", Access::Read),
    ("statm", "memory", Access::Read),
    ("io", "io", Access::Read),
    ("fd", "connections, and descriptors by kind", Access::Links),
    ("ns/net", "connections inside containers", Access::Link),
];

#[derive(Clone, Copy)]
enum Access {
    Read,
    /// A directory of links.
    Links,
    Link,
}

/// Number of processes with a file, and of files that cannot be read.
#[derive(Clone, Default)]
struct Tally {
    present: usize,
    denied: usize,
    blocked: usize,
    failed: usize,
    /// Processes without a copy of the file in a capture.
    missing: usize,
    /// The first processes whose file cannot be read.
    unread: Vec<u32>,
}

/// The help for processes whose files block.
const BLOCKED_HELP: &str = "the process is stuck in the kernel while it holds a lock, for example \
                            because a file server does not respond; it has the values when it continues";

/// Number of processes that are named.
const MAX_NAMED: usize = 3;

impl Tally {
    fn unread_count(&self) -> usize {
        self.denied + self.blocked + self.failed + self.missing
    }

    /// Why files cannot be read, and of how many processes each.
    fn reasons(&self) -> String {
        let reasons = [
            ("denied", self.denied),
            ("blocked", self.blocked),
            ("failed", self.failed),
            ("no copy", self.missing),
        ];
        let reasons = reasons.iter().filter(|(_, count)| *count > 0);
        let reasons: Vec<String> =
            reasons.map(|(word, count)| format!("{word} for {count}")).collect();
        reasons.join(", ")
    }

    /// Whether only a few processes are unreadable: a single one of hundreds is not a failure.
    fn is_minor(&self) -> bool {
        self.unread_count().saturating_mul(10) <= self.present
    }

    /// The processes whose file cannot be read.
    fn pids(&self) -> String {
        let pids: Vec<String> = self.unread.iter().map(u32::to_string).collect();
        let more = self.unread_count() > pids.len();
        let (word, more) =
            (if pids.len() == 1 { "pid" } else { "pids" }, if more { " …" } else { "" });
        format!("{word} {}{more}", pids.join(" "))
    }
}

/// One check per file.
pub(super) fn files(proc: &Path) -> Vec<Check> {
    let mut tallies: [Tally; FILES.len()] = Default::default();
    for pid in procfs::pids(proc).into_iter().flatten() {
        let Ok(files) = Files::open(proc, pid) else { continue };
        for (tally, (name, _, access)) in tallies.iter_mut().zip(FILES) {
            let result = match access {
                Access::Read => files.read(name).map(|_| ()),
                Access::Links => links(&files, name),
                Access::Link => files.link(name).map(|_| ()),
            };
            tally.present += 1;
            match result {
                Ok(()) => continue,
                // `ns/net`: the kernel may not have it.
                Err(ReadError::NotFound) if !files.is_procfs() && name != "ns/net" => {
                    tally.missing += 1;
                }
                // The process exited, or is a kernel thread, which has none.
                Err(ReadError::NotFound) => {
                    tally.present -= 1;
                    continue;
                }
                Err(ReadError::Denied) => tally.denied += 1,
                Err(ReadError::Blocked) => tally.blocked += 1,
                Err(ReadError::Failed(_)) => tally.failed += 1,
            }
            if tally.unread.len() < MAX_NAMED {
                tally.unread.push(pid);
            }
        }
    }
    let privilege = match (may_trace(proc), is_in_other_namespace(proc)) {
        (true, _) => Privilege::Traces,
        (false, true) => Privilege::OtherNamespace,
        (false, false) if rustix::process::geteuid().is_root() => Privilege::WeakRoot,
        (false, false) => Privilege::None,
    };
    let help = help(privilege);
    let tallies = tallies.iter().zip(FILES);
    tallies.map(|(tally, (name, values, _))| check(name, values, tally, &help)).collect()
}

/// Reads one link of a directory: to list it takes less permission. An entry can disappear between
/// the two, and one that stays is enough.
fn links(files: &Files, name: &str) -> Result<(), ReadError> {
    for number in files.numbered(name)? {
        match files.link(&format!("{name}/{number}")) {
            Err(ReadError::NotFound) => {}
            result => return result.map(|_| ()),
        }
    }
    Ok(())
}

fn check(name: &'static str, values: &str, tally: &Tally, help: &str) -> Check {
    let present = tally.present;
    let processes = units::count(present as u64, "process", "processes");
    if tally.unread_count() > 0 {
        let help = match *tally {
            Tally { denied: 1.., .. } => help,
            Tally { blocked: 1.., .. } => BLOCKED_HELP,
            Tally { missing: 1.., .. } => {
                "make the capture as a user who may read this file of these processes"
            }
            _ => "see `psstat-dump pid PID` for the reason",
        };
        let (reasons, pids) = (tally.reasons(), tally.pids());
        let result = format!("{reasons} of {processes} ({pids}): {values} missing");
        // A capture can be incomplete.
        return if tally.is_minor() || tally.missing == tally.unread_count() {
            Check::warn(name, result, help)
        } else {
            Check::fail(name, result, help)
        };
    }
    if present == 0 {
        return no_process_has(name, values);
    }
    let all = if present == 1 { "" } else { "all " };
    Check::ok(name, format!("readable for {all}{processes}: {values}"))
}

/// A kernel can lack a file. Zombies and kernel threads lack some.
fn no_process_has(name: &'static str, values: &str) -> Check {
    if name == "ns/net" {
        return Check::ok(name, "no process has it: one network namespace for all");
    }
    let help = match name {
        "io" => "use a kernel with CONFIG_TASK_IO_ACCOUNTING",
        _ => "use a kernel that has this file",
    };
    Check::warn(name, format!("no process has it: {values} missing"), help)
}

/// The access to other users' processes.
#[derive(Clone, Copy)]
enum Privilege {
    /// CAP_SYS_PTRACE.
    Traces,
    /// Capabilities of a user namespace without these processes.
    OtherNamespace,
    /// Root without CAP_SYS_PTRACE.
    WeakRoot,
    /// Nothing.
    None,
}

/// How to get the missing permissions.
fn help(privilege: Privilege) -> String {
    match privilege {
        Privilege::Traces => {
            return "nothing to do here: CAP_SYS_PTRACE is held, but a security module denies \
                    access"
                .to_owned();
        }
        Privilege::OtherNamespace => {
            return "run as root in the user namespace of the processes: capabilities of this \
                    user namespace give no access to them"
                .to_owned();
        }
        Privilege::WeakRoot => {
            return "give the container CAP_SYS_PTRACE (`docker run --cap-add SYS_PTRACE`)"
                .to_owned();
        }
        Privilege::None => {}
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
        let none = &Tally::default();
        let io = check("io", "io", none, "run as root");
        assert_eq!((io.status, &*io.result), (Status::Warn, "no process has it: io missing"));
        assert!(io.help.unwrap().contains("CONFIG_TASK_IO_ACCOUNTING"));
        assert_eq!(check("ns/net", "connections", none, "").status, Status::Ok);
    }

    /// It used to be a failure, with exit status 1.
    #[test]
    fn one_unreadable_process_of_hundreds_warns() {
        let one = Tally { present: 312, denied: 1, unread: vec![4711], ..Tally::default() };
        let check = check("io", "io", &one, "x");
        assert_eq!(check.status, Status::Warn);
        assert_eq!(check.result, "denied for 1 of 312 processes (pid 4711): io missing");
    }

    #[test]
    fn denied_files_fail_with_help() {
        let tally = |present, denied, failed, unread: &[u32]| Tally {
            present,
            denied,
            failed,
            unread: unread.to_vec(),
            ..Tally::default()
        };
        let all = check("io", "io", &tally(3, 0, 0, &[]), "");
        assert_eq!((all.status, all.help), (Status::Ok, None));
        let help = help(Privilege::None);
        let some = check("io", "io", &tally(3, 1, 1, &[7, 9]), &help);
        assert_eq!(some.status, Status::Fail);
        assert_eq!(some.result, "denied for 1, failed for 1 of 3 processes (pids 7 9): io missing");
        assert!(some.help.unwrap().contains("setcap cap_sys_ptrace,cap_dac_read_search+ep /"));
        let many = check("io", "io", &tally(30, 0, 4, &[7, 8, 9]), "");
        assert_eq!(many.status, Status::Fail);
        assert_eq!(many.result, "failed for 4 of 30 processes (pids 7 8 9 …): io missing");
        let stuck = Tally { present: 30, blocked: 1, unread: vec![7], ..Tally::default() };
        let stuck = check("io", "io", &stuck, "");
        assert_eq!(stuck.status, Status::Warn);
        assert_eq!(stuck.result, "blocked for 1 of 30 processes (pid 7): io missing");
        assert!(stuck.help.unwrap().contains("stuck in the kernel"));
    }
}

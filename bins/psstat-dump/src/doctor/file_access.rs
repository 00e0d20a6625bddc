//! What this user may read of processes, tried on all of them.

use std::path::Path;

use psstat_support::procfs;

use super::Check;
use super::rights::may_trace;
use crate::process_report::{Files, ReadError};

/// The files, what depends on each, and whether they are read or what else is
/// done with them.
const FILES: [(&str, &str, Access); 5] = [
    ("stat", "identity and CPU time", Access::Read),
    ("statm", "memory", Access::Read),
    ("io", "io", Access::Read),
    ("fd", "connections, and descriptors by kind", Access::List),
    ("ns/net", "connections inside of containers", Access::Link),
];

#[derive(Clone, Copy)]
enum Access {
    Read,
    List,
    Link,
}

/// How many processes have a file, and how many of these may not be read.
#[derive(Clone, Copy, Default)]
struct Tally {
    present: usize,
    denied: usize,
    failed: usize,
}

/// One check a file.
pub(super) fn files(proc: &Path) -> Vec<Check> {
    let mut tallies = [Tally::default(); FILES.len()];
    for pid in procfs::pids(proc).into_iter().flatten() {
        let Ok(files) = Files::open(proc, pid) else { continue };
        for (tally, (name, _, way)) in tallies.iter_mut().zip(FILES) {
            let tried = match way {
                Access::Read => files.read(name).map(|_| ()),
                Access::List => files.descriptors().map(|_| ()),
                Access::Link => files.link(name).map(|_| ()),
            };
            match tried {
                Ok(()) => {}
                // It ended, or is a kernel thread, which has none.
                Err(ReadError::Gone) => continue,
                Err(ReadError::Denied) => tally.denied += 1,
                Err(ReadError::Blocked | ReadError::Failed(_)) => tally.failed += 1,
            }
            tally.present += 1;
        }
    }
    let remedy = remedy(may_trace(proc), rustix::process::geteuid().is_root());
    let tallies = tallies.iter().zip(FILES);
    tallies.map(|(tally, (name, what, _))| check(name, what, *tally, &remedy)).collect()
}

fn check(name: &'static str, what: &str, tally: Tally, remedy: &str) -> Check {
    let Tally { present: there, denied, failed } = tally;
    if denied > 0 {
        let found = format!("denied for {denied} of {there} processes: no {what} of these");
        return Check::bad(name, found, remedy);
    }
    if failed > 0 {
        let found = format!("cannot be read for {failed} of {there} processes: no {what} of these");
        return Check::bad(name, found, "see `psstat-dump pid PID` for the reason");
    }
    Check::ok(name, format!("readable for all of {there} processes: {what}"))
}

/// What gives this program the rights that it lacks.
fn remedy(has_right: bool, is_root: bool) -> String {
    if has_right {
        return "none from here: CAP_SYS_PTRACE is there, but a security module or the \
                processes' user namespace forbids it"
            .to_owned();
    }
    if is_root {
        return "give the container CAP_SYS_PTRACE (`docker run --cap-add SYS_PTRACE`)".to_owned();
    }
    let program = std::env::current_exe().ok();
    let program = program.map_or("PROGRAM".to_owned(), |path| crate::conf::shown(&path));
    format!("run as root, or `setcap cap_sys_ptrace,cap_dac_read_search+ep {program}`")
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn denied_files_fail_with_help() {
        let all = check("io", "io", Tally { present: 3, denied: 0, failed: 0 }, "");
        assert_eq!((all.state, all.help), (State::Ok, None));
        let remedy = remedy(false, false);
        let some = check("io", "io", Tally { present: 3, denied: 1, failed: 1 }, &remedy);
        assert_eq!(some.state, State::Fail);
        assert_eq!(some.finding, "denied for 1 of 3 processes: no io of these");
        assert!(some.help.unwrap().contains("setcap cap_sys_ptrace,cap_dac_read_search+ep /"));
    }
}

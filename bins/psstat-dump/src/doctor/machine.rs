//! The kernel and the procfs.

use std::path::Path;

use psstat_proc_parse::{FdTarget, Status};
use psstat_sampler::{Options, Sampler};

use super::Check;
use crate::exit::Error;
use crate::measure;

/// The inode of the first pid namespace, the same in every kernel since
/// Linux 3.8 (`PROC_PID_INIT_INO`).
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;

/// The version, and which of the faster ways of reading work.
pub(super) fn kernel(proc: &Path) -> Result<Vec<Check>, Error> {
    let version = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut checks = vec![Check::ok("kernel", format!("Linux {version}"))];
    if measure::is_capture(proc) {
        let found = "this is a copy of a procfs; it stands still and has none of the faster ways";
        checks.push(Check::note("procfs", found, "leave --proc out to look at this machine"));
        return Ok(checks);
    }
    let options = Options { proc_root: proc.to_owned(), ..Options::default() };
    let fast = Sampler::new(options)?.fast_paths();
    let ways = [
        (
            "cpu_clock",
            fast.cpu_clock,
            "CPU time from clocks, in nanoseconds",
            "CPU time from stat, in ticks; clocks need the procfs of the own pid namespace",
        ),
        (
            "fd_size",
            fast.fd_count_from_size,
            "descriptors are counted without listing them",
            "descriptors are listed to be counted; Linux 6.2 makes it fifty times cheaper",
        ),
        (
            "task_links",
            fast.thread_count_from_links,
            "threads are counted without reading stat",
            "threads are counted by reading stat, which costs more",
        ),
        (
            "sock_diag",
            fast.sock_diag,
            "sockets come by netlink",
            "sockets come from the text tables, which takes twice the CPU; \
             `modprobe -a tcp_diag udp_diag unix_diag` may help",
        ),
        (
            "partial_listing",
            fast.partial_listing,
            "of /proc only what can have changed is listed",
            "/proc is listed whole in each cycle; the machine's own pid namespace would not need it",
        ),
    ];
    for (name, works, well, otherwise) in ways {
        checks.push(if works {
            Check::ok(name, well)
        } else {
            let (found, remedy) = otherwise.split_once("; ").unwrap_or((otherwise, "none"));
            Check::note(name, found, remedy)
        });
    }
    Ok(checks)
}

/// Whether all of the machine's processes are there to be seen.
pub(super) fn pid_namespace(proc: &Path) -> Check {
    const NAME: &str = "pid_namespace";
    let status = std::fs::read(proc.join("self/status")).unwrap_or_default();
    let pids = Status::parse(&status).ok().and_then(|status| status.ns_pid);
    if pids.is_some_and(|pids| pids.iter().count() > 1) {
        let found = "the procfs is that of an outer pid namespace; all of it is seen";
        return Check::ok(NAME, found);
    }
    let link = std::fs::read_link(proc.join("self/ns/pid")).unwrap_or_default();
    match FdTarget::parse(link.as_os_str().as_encoded_bytes()) {
        FdTarget::Namespace { inode: FIRST_PID_NAMESPACE, .. } => {
            Check::ok(NAME, "the machine's own")
        }
        FdTarget::Namespace { .. } => Check::note(
            NAME,
            "a container's; only its processes are seen",
            "run outside of it, or with the machine's /proc mounted and --proc",
        ),
        _ => Check::note(NAME, "cannot be told", "look at /proc/self/ns/pid"),
    }
}

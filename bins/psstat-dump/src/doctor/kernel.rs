//! The kernel and the procfs.

use std::path::Path;

use psstat_proc_parse::{FdTarget, Status};
use psstat_sampler::{Options, Sampler};

use super::Check;
use crate::exit::Error;
use crate::measure;

/// The inode of the initial pid namespace, the same in every kernel since
/// Linux 3.8 (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;

/// The kernel version, and which fast paths are available.
pub(super) fn kernel(proc: &Path) -> Result<Vec<Check>, Error> {
    let version = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut checks = vec![Check::ok("kernel", format!("Linux {version}"))];
    if measure::is_capture(proc) {
        let result = "captured /proc: values do not change, no fast paths";
        checks.push(Check::warn("procfs", result, "omit --proc to check this host"));
        return Ok(checks);
    }
    let options = Options { proc_root: proc.to_owned(), ..Options::default() };
    let fast = Sampler::new(options)?.fast_paths();
    let fast_paths = [
        (
            "cpu_clock",
            fast.cpu_clock,
            "CPU time from clocks, in nanoseconds",
            "CPU time from stat, in ticks; clocks need the procfs of this pid namespace",
        ),
        (
            "fd_size",
            fast.fd_count_from_size,
            "descriptors are counted without listing them",
            "descriptors are counted by listing them; Linux 6.2 is fifty times cheaper",
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
            "sockets are read by netlink",
            "sockets are read from text tables (twice the CPU); \
             `modprobe -a tcp_diag udp_diag unix_diag` may help",
        ),
        (
            "partial_listing",
            fast.partial_listing,
            "only the part of /proc that can have changed is listed",
            "/proc is listed completely in each cycle; the initial pid namespace avoids it",
        ),
        (
            "socket_counters",
            fast.socket_counters,
            "socket tables are read where the kernel's counters changed",
            "socket tables are read in each cycle, milliseconds for each network namespace",
        ),
    ];
    for (name, works, fast, slow) in fast_paths {
        checks.push(if works {
            Check::ok(name, fast)
        } else {
            let (result, help) = slow.split_once("; ").unwrap_or((slow, "none"));
            Check::warn(name, result, help)
        });
    }
    Ok(checks)
}

/// Whether all processes of the host are visible.
pub(super) fn pid_namespace(proc: &Path) -> Check {
    const NAME: &str = "pid_namespace";
    let status = std::fs::read(proc.join("self/status")).unwrap_or_default();
    let pids = Status::parse(&status).ok().and_then(|status| status.ns_pid);
    if pids.is_some_and(|pids| pids.iter().count() > 1) {
        let result =
            "the procfs is that of an outer pid namespace; all of its processes are visible";
        return Check::ok(NAME, result);
    }
    let link = std::fs::read_link(proc.join("self/ns/pid")).unwrap_or_default();
    match FdTarget::parse(link.as_os_str().as_encoded_bytes()) {
        FdTarget::Namespace { inode: INITIAL_PID_NAMESPACE, .. } => {
            Check::ok(NAME, "that of the host")
        }
        FdTarget::Namespace { .. } => Check::warn(
            NAME,
            "that of a container; only its processes are visible",
            "run outside of it, or mount the host's /proc and use --proc",
        ),
        _ => Check::warn(NAME, "unknown", "check /proc/self/ns/pid"),
    }
}

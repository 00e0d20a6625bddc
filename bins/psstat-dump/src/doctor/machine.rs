//! The kernel and the procfs.

use std::path::Path;

use psstat_proc_parse::{FdTarget, Status};
use psstat_sampler::{Options, Sampler};

use super::Check;
use crate::exit::Failure;
use crate::measure;

/// The inode of the first pid namespace, the same in every kernel since
/// Linux 3.8 (`PROC_PID_INIT_INO`).
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;

/// The version, and which of the faster ways of reading work.
pub(super) fn kernel(proc: &Path) -> Result<Vec<Check>, Failure> {
    let version = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut checks = vec![Check::well("kernel", format!("Linux {version}"))];
    if measure::is_copy(proc) {
        let found = "this is a copy of a procfs; it stands still and has none of the faster ways";
        checks.push(Check::note("procfs", found, "leave --proc out to look at this machine"));
        return Ok(checks);
    }
    let options = Options { proc: proc.to_owned(), ..Options::default() };
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
            fast.fd_size,
            "descriptors are counted without listing them",
            "descriptors are listed to be counted; Linux 6.2 makes it fifty times cheaper",
        ),
        (
            "task_links",
            fast.task_links,
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
            Check::well(name, well)
        } else {
            let (found, remedy) = otherwise.split_once("; ").unwrap_or((otherwise, "none"));
            Check::note(name, found, remedy)
        });
    }
    Ok(checks)
}

/// Whether the procfs hides other users' processes.
pub(super) fn hidepid(proc: &Path) -> Check {
    const NAME: &str = "hidepid";
    let Ok(mounts) = std::fs::read(proc.join("self/mountinfo")) else {
        return Check::note(NAME, "self/mountinfo cannot be read", "see `mount -t proc`");
    };
    match hidepid_in(&mounts, proc) {
        None => Check::well(NAME, "processes of all users are listed"),
        Some(mode) if rustix::process::geteuid().is_root() => {
            Check::well(NAME, format!("hidepid={mode}, which does not concern root"))
        }
        Some(mode) => Check::bad(
            NAME,
            format!("hidepid={mode}: other users' processes are not seen or not readable"),
            format!(
                "run as root, or in the group of the mount's gid=, or \
                 `mount -o remount,hidepid=0 {}`",
                crate::conf::shown(proc)
            ),
        ),
    }
}

/// The mode of hidepid of the procfs that is mounted at `proc`, unless it is
/// off; see proc_pid_mountinfo(5).
fn hidepid_in(mountinfo: &[u8], proc: &Path) -> Option<String> {
    let text = String::from_utf8_lossy(mountinfo);
    // A later mount at the same place covers the one before.
    let of_proc = text.lines().rev().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        let mut source = source.split(' ');
        (source.next() == Some("proc") && Path::new(point) == proc)
            .then(|| source.nth(1).unwrap_or_default().to_owned())
    })?;
    let mode = of_proc.split(',').find_map(|option| option.strip_prefix("hidepid="))?;
    (mode != "0" && mode != "off").then(|| mode.to_owned())
}

/// Whether all of the machine's processes are there to be seen.
pub(super) fn pid_namespace(proc: &Path) -> Check {
    const NAME: &str = "pid_namespace";
    let status = std::fs::read(proc.join("self/status")).unwrap_or_default();
    let pids = Status::parse(&status).ok().and_then(|status| status.ns_pid);
    if pids.is_some_and(|pids| pids.count() > 1) {
        let found = "the procfs is that of an outer pid namespace; all of it is seen";
        return Check::well(NAME, found);
    }
    let link = std::fs::read_link(proc.join("self/ns/pid")).unwrap_or_default();
    match FdTarget::parse(link.as_os_str().as_encoded_bytes()) {
        FdTarget::Namespace { inode: FIRST_PID_NAMESPACE, .. } => {
            Check::well(NAME, "the machine's own")
        }
        FdTarget::Namespace { .. } => Check::note(
            NAME,
            "a container's; only its processes are seen",
            "run outside of it, or with the machine's /proc mounted and --proc",
        ),
        _ => Check::note(NAME, "cannot be told", "look at /proc/self/ns/pid"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidepid_of_the_mount_that_counts() {
        let mounts = b"21 1 0:20 / /proc rw,relatime shared:5 - proc proc rw,hidepid=invisible\n\
            22 1 0:21 / /sys rw - sysfs sysfs rw\n\
            23 1 0:22 / /host/proc rw - proc proc rw\n\
            24 1 0:23 / /x rw - proc proc rw,hidepid=2\n\
            25 24 0:24 / /x rw master:3 - proc proc rw,gid=4,hidepid=0\n";
        let mode = |point: &str| hidepid_in(mounts, Path::new(point));
        assert_eq!(mode("/proc"), Some("invisible".to_owned()));
        assert_eq!(mode("/host/proc"), None);
        assert_eq!(mode("/x"), None);
        assert_eq!(mode("/sys"), None);
    }
}

//! The kernel and the procfs.

use std::path::{Path, PathBuf};

use psstat_proc_parse::{FdTarget, Status};
use psstat_sampler::Sampler;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, netlink};

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
    let mut sampler = Sampler::builder().proc_root(proc).build()?;
    let fast = sampler.fast_paths();
    let is_visible = proc.join("self").exists();
    let has_loadavg = proc.join("loadavg").exists();
    let fast_paths = [
        (
            "cpu_clock",
            fast.cpu_clock,
            "CPU time from clocks, in nanoseconds",
            "CPU time from stat, in ticks",
            "clocks need the procfs of this pid namespace",
        ),
        (
            "fd_size",
            fast.fd_count_from_size,
            "descriptors are counted without listing them",
            "descriptors are counted by listing them",
            "Linux 6.2 is fifty times cheaper",
        ),
        (
            "task_links",
            fast.thread_count_from_links,
            "threads are counted without reading stat",
            "threads are counted by reading stat, which costs more",
            "none",
        ),
        (
            "partial_listing",
            fast.partial_listing,
            "only the part of /proc that can have changed is listed",
            "/proc is listed completely in each cycle",
            if has_loadavg { "the initial pid namespace avoids it" } else { NO_LOADAVG },
        ),
        (
            "idle_processes",
            fast.idle_processes,
            "files of processes that have not run are read in turn",
            "files of all processes are read in each cycle",
            "it needs clocks of this pid namespace that count less than a tick",
        ),
        (
            "socket_counters",
            fast.socket_counters,
            "socket tables are read where the kernel's counters changed",
            "socket tables are read in each cycle, milliseconds for each network namespace",
            "none",
        ),
    ];
    for (name, works, fast, slow, help) in fast_paths {
        checks.push(match (works, is_visible) {
            (true, _) => Check::ok(name, fast),
            (false, true) => Check::warn(name, slow, help),
            (false, false) => Check::warn(name, slow, NOT_VISIBLE),
        });
    }
    checks.push(if is_visible {
        sock_diag(sampler.probe_sock_diag(), open_sock_diag())
    } else {
        Check::warn("sock_diag", "sockets are read from text tables (twice the CPU)", NOT_VISIBLE)
    });
    Ok(checks)
}

/// The help if this program is not in the procfs.
const NOT_VISIBLE: &str = "this program is not in this procfs, which is that of another pid \
                           namespace; the fast paths need the procfs of the same one";

/// The help if the procfs has only the directories of processes.
const NO_LOADAVG: &str = "this procfs is mounted with `subset=pid` and has no loadavg; mount it \
                          without that option";

/// The directory of this program: in the procfs or, if that is the procfs of a pid namespace that
/// does not contain it, in `/proc`.
pub(super) fn self_dir(proc: &Path) -> PathBuf {
    let of_proc = proc.join("self");
    if of_proc.exists() { of_proc } else { PathBuf::from("/proc/self") }
}

fn open_sock_diag() -> Result<(), Errno> {
    let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
    rustix::net::socket(family, kind, Some(netlink::SOCK_DIAG)).map(drop)
}

/// How the tables of sockets are read. `works`: by netlink, per protocol.
fn sock_diag(works: [(&'static str, bool); 3], opened: Result<(), Errno>) -> Check {
    const NAME: &str = "sock_diag";
    let by = |netlink: bool| -> Vec<&str> {
        works.iter().filter(|(_, works)| *works == netlink).map(|(name, _)| *name).collect()
    };
    let (netlink, text) = (by(true), by(false));
    if text.is_empty() {
        return Check::ok(NAME, "sockets are read by netlink: tcp, udp, unix");
    }
    let cost = "from text tables (twice the CPU)";
    let result = match netlink.is_empty() {
        true => format!("sockets are read {cost}: {}", text.join(", ")),
        false => format!(
            "sockets are read {cost}: {}; by netlink: {}",
            text.join(", "),
            netlink.join(", ")
        ),
    };
    let help = match opened {
        Err(Errno::AFNOSUPPORT | Errno::PERM | Errno::ACCESS) => {
            "netlink sockets are denied: allow AF_NETLINK (`RestrictAddressFamilies=` of a \
             service, the seccomp profile of a container)"
                .to_owned()
        }
        Err(Errno::PROTONOSUPPORT) => {
            "use a kernel with CONFIG_INET_DIAG and CONFIG_UNIX_DIAG".to_owned()
        }
        Err(errno) => format!("a netlink socket cannot be opened: {errno}"),
        Ok(()) => {
            let modules: Vec<String> = text.iter().map(|name| format!("{name}_diag")).collect();
            format!("`modprobe -a {}` may help", modules.join(" "))
        }
    };
    Check::warn(NAME, result, help)
}

/// Whether all processes of the host are visible.
pub(super) fn pid_namespace(proc: &Path) -> Check {
    const NAME: &str = "pid_namespace";
    if !proc.join("self").exists() {
        let result = "that of a pid namespace without this program; only its processes are visible";
        return Check::warn(NAME, result, "omit --proc to see the processes of this host");
    }
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

#[cfg(test)]
mod tests {
    use super::super::Status as CheckStatus;
    use super::*;

    #[test]
    fn socket_tables_in_use() {
        let works = |tcp, udp, unix| [("tcp", tcp), ("udp", udp), ("unix", unix)];
        assert_eq!(sock_diag(works(true, true, true), Ok(())).status, CheckStatus::Ok);
        let some = sock_diag(works(false, true, false), Ok(()));
        assert_eq!(
            some.result,
            "sockets are read from text tables (twice the CPU): tcp, unix; by netlink: udp"
        );
        assert_eq!(some.help.as_deref(), Some("`modprobe -a tcp_diag unix_diag` may help"));
        let denied = sock_diag(works(false, false, false), Err(Errno::AFNOSUPPORT));
        assert!(denied.help.unwrap().contains("AF_NETLINK"));
    }
}

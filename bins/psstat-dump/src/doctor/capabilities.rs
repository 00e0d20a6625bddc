//! The capabilities of this program and of running collectors.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use psstat_proc_parse::{FdTarget, Status};
use psstat_support::cmdline::is_collector;
use psstat_support::user_namespace::covers_processes;

use super::Check;
use super::kernel::self_dir;
use crate::blocking;
use crate::measure;
use crate::process_report::{Files, Link, capability_names, read_host_file};

/// `CAP_SYS_PTRACE`, which allows reading other users' processes.
const SYS_PTRACE: u64 = 1 << 19;
/// `CAP_DAC_READ_SEARCH` and `CAP_SYS_PTRACE`, which the collector keeps.
const NEEDED: u64 = 1 << 2 | SYS_PTRACE;
/// The help for capabilities that apply to other processes.
const OTHER_NAMESPACE: &str = "run it in the user namespace of the processes: on the host, \
                               outside of `unshare --user` and rootless containers";

/// The effective capabilities of a process.
#[derive(Clone, Copy)]
struct Effective {
    set: u64,
    /// They apply to the processes of the procfs. Those of another user namespace do not.
    covers: bool,
}

/// Whether this program may read other users' processes.
pub(super) fn may_trace(proc: &Path) -> bool {
    effective(&self_dir(proc), proc)
        .is_some_and(|effective| effective.covers && effective.set & SYS_PTRACE == SYS_PTRACE)
}

/// Whether the capabilities of this program are those of a user namespace without the processes.
pub(super) fn is_in_other_namespace(proc: &Path) -> bool {
    effective(&self_dir(proc), proc).is_some_and(|effective| !effective.covers)
}

/// One check for this program and one per running collector.
pub(super) fn capabilities(proc: &Path, command_lines: &BTreeMap<u32, Vec<u8>>) -> Vec<Check> {
    let this = effective(&self_dir(proc), proc).map(of_self);
    let collectors = command_lines.iter().filter(|(_, text)| is_collector(text));
    let collectors = collectors.filter_map(|(pid, _)| {
        let process = proc.join(pid.to_string());
        let effective = effective(&process, proc)?;
        Some(of_collector(*pid, effective, is_root(&process), reads_by_bpf(proc, *pid)))
    });
    this.into_iter().chain(collectors).collect()
}

fn of_self(effective: Effective) -> Check {
    const NAME: &str = "capabilities";
    if effective.set != 0 && !effective.covers {
        return Check::warn(NAME, describe(effective), OTHER_NAMESPACE);
    }
    Check::ok(NAME, describe(effective))
}

/// `reads_by_bpf` is `None` if it is not known.
fn of_collector(
    pid: u32,
    effective: Effective,
    is_root: bool,
    reads_by_bpf: Option<bool>,
) -> Check {
    const NAME: &str = "collector_capabilities";
    let result = format!("process {pid}: {}", describe(effective));
    // It keeps only those that it needs.
    if reads_by_bpf == Some(true) {
        return Check::ok(NAME, format!("{result}; it reads by BPF"));
    }
    if effective.set & NEEDED != NEEDED {
        let help = if is_root {
            "give its container or service CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH (`docker run \
             --cap-add SYS_PTRACE --cap-add DAC_READ_SEARCH`, CapabilityBoundingSet= in the unit); \
             without them it only measures its own user's processes"
        } else {
            "start it as root, or `setcap cap_sys_ptrace,cap_dac_read_search=ep` on the program; \
             without them it only measures its own user's processes"
        };
        let help = match reads_by_bpf {
            None => format!("none if it reads by BPF, as its log says; otherwise {help}"),
            Some(_) => help.to_owned(),
        };
        return Check::warn(NAME, result, help);
    }
    if !effective.covers {
        return Check::warn(NAME, result, OTHER_NAMESPACE);
    }
    Check::ok(NAME, result)
}

fn describe(effective: Effective) -> String {
    let names = capability_names(effective.set);
    let namespace = match effective.set != 0 && !effective.covers {
        true => ", in a user namespace without these processes: no access to them",
        false => "",
    };
    format!("effective: {names}{namespace}")
}

/// `CapEff` of `/proc/PID/status`, which is world-readable.
fn effective(process: &Path, proc: &Path) -> Option<Effective> {
    let status = read_host_file(process, "status").ok()?;
    let set = Status::parse(&status).ok()?.cap_eff?;
    let covers = measure::is_capture(proc) || covers_processes(process, proc, read_link);
    Some(Effective { set, covers })
}

/// Whether a process has BPF programs. `None` if its descriptors cannot be read.
fn reads_by_bpf(proc: &Path, pid: u32) -> Option<bool> {
    let links = Files::open(proc, pid).and_then(|files| files.descriptors()).ok()?;
    let is_bpf = |(_, link): &Link| matches!(FdTarget::parse(link), FdTarget::AnonInode(name) if name.starts_with(b"bpf"));
    // They can be listed although their links cannot be read.
    (!links.is_empty()).then(|| links.iter().any(is_bpf))
}

/// The target of a link of a process.
fn read_link(path: &Path) -> io::Result<PathBuf> {
    let mut components = path.iter().rev().filter_map(|part| part.to_str()?.parse().ok());
    // This program's own links, below `self`, do not block.
    let pid = components.next().unwrap_or_else(std::process::id);
    let path = path.to_owned();
    let link = blocking::read(pid, "ns/user", move || std::fs::read_link(path));
    link.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Whether the effective user of a process is root.
fn is_root(process: &Path) -> bool {
    let status = read_host_file(process, "status").unwrap_or_default();
    let ids = Status::parse(&status).ok().and_then(|status| status.uid);
    ids.is_some_and(|ids| ids.effective == 0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use psstat_sampler::{Bpf, BpfError};

    use super::super::Status;
    use super::*;

    #[test]
    fn collector_with_both_capabilities_is_ok() {
        let held = |set| Effective { set, covers: true };
        let from_proc = Some(false);
        let check = of_collector(7, held(NEEDED), true, from_proc);
        assert_eq!(check.result, "process 7: effective: dac_read_search sys_ptrace");
        assert_eq!(check.status, Status::Ok);
        for set in [0, 1 << 2, 1 << 19] {
            let check = of_collector(7, held(set), false, from_proc);
            assert_eq!(check.status, Status::Warn);
            assert!(check.help.unwrap().contains("setcap"));
            // Root is not advised to become root.
            let help = of_collector(7, held(set), true, from_proc).help.unwrap();
            assert!(help.contains("--cap-add") && !help.contains("as root"), "{help}");
        }
    }

    /// It has dropped them, which was reported as a lack.
    #[test]
    fn collector_by_bpf_needs_no_capability() {
        let none = Effective { set: 0, covers: true };
        let check = of_collector(7, none, true, Some(true));
        assert_eq!(check.status, Status::Ok);
        assert_eq!(check.result, "process 7: effective: none; it reads by BPF");
        let unknown = of_collector(7, none, true, None);
        assert_eq!(unknown.status, Status::Warn);
        let help = unknown.help.unwrap();
        assert!(help.contains("by BPF") && help.contains("--cap-add"), "{help}");
    }

    #[test]
    fn descriptors_show_whether_a_process_reads_by_bpf() {
        let (proc, this) = (Path::new("/proc"), std::process::id());
        assert_eq!(reads_by_bpf(proc, u32::MAX), None);
        let parent = rustix::process::getppid().unwrap().as_raw_pid().cast_unsigned();
        assert_ne!(reads_by_bpf(proc, parent), Some(true));
        // Other tests change the numbers of this process while those of the program are compared.
        let load = || match Bpf::load(proc) {
            Err(BpfError::Differs(_)) => {
                std::thread::sleep(Duration::from_millis(500));
                None
            }
            result => Some(result),
        };
        let Some(Ok(_bpf)) = (0..20).find_map(|_| load()) else {
            return println!("skipped: no BPF");
        };
        assert_eq!(reads_by_bpf(proc, this), Some(true));
    }

    #[test]
    fn capabilities_of_another_user_namespace_give_no_access() {
        let other = Effective { set: NEEDED, covers: false };
        for check in [of_self(other), of_collector(7, other, true, Some(false))] {
            assert_eq!(check.status, Status::Warn);
            assert!(check.result.contains("user namespace without these processes"), "{check:?}");
        }
        assert_eq!(of_self(Effective { set: 0, covers: false }).result, "effective: none");
    }
}

//! The capabilities of this program and of running collectors.

use std::collections::BTreeMap;
use std::path::Path;

use psstat_proc_parse::Status;
use psstat_support::cmdline::is_collector;

use super::Check;
use crate::process_report::capability_names;

/// `CAP_SYS_PTRACE`, which allows reading other users' processes.
const SYS_PTRACE: u64 = 1 << 19;
/// `CAP_DAC_READ_SEARCH` and `CAP_SYS_PTRACE`, which the collector keeps.
const NEEDED: u64 = 1 << 2 | SYS_PTRACE;

/// Whether this program may read other users' processes.
pub(super) fn may_trace(proc: &Path) -> bool {
    effective(&proc.join("self")).is_some_and(|set| set & SYS_PTRACE == SYS_PTRACE)
}

/// One check for this program and one per running collector.
pub(super) fn capabilities(proc: &Path, command_lines: &BTreeMap<u32, Vec<u8>>) -> Vec<Check> {
    let this = effective(&proc.join("self")).map(|set| Check::ok("capabilities", describe(set)));
    let collectors = command_lines.iter().filter(|(_, text)| is_collector(text));
    let collectors = collectors.filter_map(|(pid, _)| {
        let process = proc.join(pid.to_string());
        Some(of_collector(*pid, effective(&process)?, is_root(&process)))
    });
    this.into_iter().chain(collectors).collect()
}

fn of_collector(pid: u32, set: u64, is_root: bool) -> Check {
    const NAME: &str = "collector_capabilities";
    let result = format!("process {pid}: {}", describe(set));
    if set & NEEDED == NEEDED {
        return Check::ok(NAME, result);
    }
    let help = if is_root {
        "give its container or service CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH (`docker run \
         --cap-add SYS_PTRACE --cap-add DAC_READ_SEARCH`, CapabilityBoundingSet= in the unit); \
         without them it only measures its own user's processes"
    } else {
        "start it as root, or `setcap cap_sys_ptrace,cap_dac_read_search=ep` on the program; \
         without them it only measures its own user's processes"
    };
    Check::warn(NAME, result, help)
}

fn describe(set: u64) -> String {
    format!("effective: {}", capability_names(set))
}

/// `CapEff` of `/proc/PID/status`, which is world-readable.
fn effective(process: &Path) -> Option<u64> {
    let status = std::fs::read(process.join("status")).ok()?;
    Status::parse(&status).ok()?.cap_eff
}

/// Whether the effective user of a process is root.
fn is_root(process: &Path) -> bool {
    let status = std::fs::read(process.join("status")).unwrap_or_default();
    let ids = Status::parse(&status).ok().and_then(|status| status.uid);
    ids.is_some_and(|ids| ids.effective == 0)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn collector_with_both_capabilities_is_ok() {
        let check = of_collector(7, NEEDED, true);
        assert_eq!(check.result, "process 7: effective: dac_read_search sys_ptrace");
        assert_eq!(check.status, Status::Ok);
        for set in [0, 1 << 2, 1 << 19] {
            let check = of_collector(7, set, false);
            assert_eq!(check.status, Status::Warn);
            assert!(check.help.unwrap().contains("setcap"));
            // Root is not advised to become root.
            let help = of_collector(7, set, true).help.unwrap();
            assert!(help.contains("--cap-add") && !help.contains("as root"), "{help}");
        }
    }
}

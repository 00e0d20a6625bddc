//! The parts of the collector's data that BPF can read on this host.

use std::path::Path;

use psstat_sampler::{Bpf, BpfError};

use super::Check;
use crate::conf::RingSize;

/// Why a program is not used.
#[derive(Clone, Copy)]
enum Missing<'e> {
    /// That for processes cannot be loaded, without which no other one is used.
    Processes(&'e BpfError),
    /// Only this one.
    Only(&'e BpfError),
}

impl<'e> Missing<'e> {
    fn error(self) -> &'e BpfError {
        match self {
            Missing::Processes(error) | Missing::Only(error) => error,
        }
    }

    /// How to fix it. `only`: if the kernel loads that for processes and not this one.
    fn help(self, only: &'static str) -> &'static str {
        match (self.error(), self) {
            (BpfError::Denied, _) => {
                "the collector needs root, or CAP_BPF and CAP_PERFMON, to load the program; it drops \
                 them afterwards"
            }
            (BpfError::NoTypes(_), _) => "use a kernel with CONFIG_DEBUG_INFO_BTF",
            (BpfError::Namespace, _) => "BPF needs the procfs of the initial pid namespace",
            (BpfError::NotBuilt, _) => "use a build for a little-endian machine with 64 bits",
            (_, Missing::Only(_)) => only,
            (BpfError::Refused(_), _) => "use Linux 5.19 or later",
            _ => REPORT,
        }
    }
}

const REPORT: &str = "report it; the collector reads from /proc";

/// Whether processes, their sockets, and their starts and ends can be read by BPF, as the collector
/// does if they can. `ring`: the size in the options of the collector.
pub(super) fn bpf(proc: &Path, ring: &RingSize) -> [Check; 3] {
    let (loaded, kib) = (Bpf::load(proc), ring.kib());
    let recorded = match (&loaded, &kib) {
        (Ok(bpf), Ok(kib @ 1..)) => bpf.clone().with_ring(kib.saturating_mul(1024)).map(drop),
        _ => Ok(()),
    };
    let no_bpf = loaded.as_ref().err().map(Missing::Processes);
    let no_sockets = loaded.as_ref().ok().and_then(Bpf::sockets_error).map(Missing::Only);
    let no_ring = recorded.as_ref().err().map(Missing::Only);
    [processes(no_bpf), sockets(no_bpf.or(no_sockets)), starts(ring, kib, no_bpf.or(no_ring))]
}

fn processes(missing: Option<Missing<'_>>) -> Check {
    const NAME: &str = "bpf";
    let Some(missing) = missing else {
        return Check::ok(NAME, "processes can be read by BPF, all at once");
    };
    let result = format!("processes are read from /proc; BPF: {}", missing.error());
    Check::warn(NAME, result, missing.help(REPORT))
}

fn sockets(missing: Option<Missing<'_>>) -> Check {
    const NAME: &str = "bpf_sockets";
    let Some(missing) = missing else {
        return Check::ok(NAME, "sockets of all users can be read by BPF, without a capability");
    };
    let result = format!("sockets are read from /proc; BPF: {}", missing.error());
    let only = "report it; the collector keeps CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH for the \
                sockets of other users";
    Check::warn(NAME, result, missing.help(only))
}

/// The ring for the starts and ends of processes.
fn starts(ring: &RingSize, kib: Result<u32, String>, missing: Option<Missing<'_>>) -> Check {
    const NAME: &str = "bpf_ring";
    const NOT_COUNTED: &str = "processes between two cycles are not counted";
    let kib = match kib {
        Ok(0) => return Check::ok(NAME, format!("off ({}): {NOT_COUNTED}", ring.describe())),
        Ok(kib) => kib.next_power_of_two(),
        Err(error) => {
            let result = format!("{}: {error}; the collector does not start", ring.describe());
            return Check::fail(NAME, result, "set it to a size, or to 0 for no ring");
        }
    };
    let Some(missing) = missing else {
        let result = format!("processes between two cycles can be counted: a ring of {kib} KiB");
        return Check::ok(NAME, result);
    };
    let result = format!("{NOT_COUNTED}; BPF: {}", missing.error());
    let only = "a smaller ring (`--bpf-ring`) takes less memory; if that does not help, report it";
    Check::warn(NAME, result, missing.help(only))
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    fn refused() -> BpfError {
        BpfError::Refused("the reason".to_owned())
    }

    fn ring(value: &str) -> RingSize {
        RingSize { value: Some(value.to_owned()), is_of_collector: false }
    }

    #[test]
    fn help_is_for_what_is_missing() {
        let check = |missing| [processes(Some(missing)), sockets(Some(missing))];
        for check in check(Missing::Processes(&refused())) {
            assert_eq!(check.status, Status::Warn);
            assert!(check.result.ends_with("does not load the program: the reason"), "{check:?}");
            assert_eq!(check.help.unwrap(), "use Linux 5.19 or later");
        }
        // The kernel is not too old.
        let only = sockets(Some(Missing::Only(&refused())));
        assert!(only.help.unwrap().contains("keeps CAP_SYS_PTRACE"));
        for missing in [Missing::Processes(&BpfError::Denied), Missing::Only(&BpfError::Denied)] {
            let of_ring = starts(&ring("64"), Ok(64), Some(missing));
            assert!(
                of_ring.result.starts_with("processes between two cycles are not counted; BPF")
            );
            assert!(of_ring.help.unwrap().contains("CAP_BPF and CAP_PERFMON"));
        }
        let of_ring = starts(&ring("64"), Ok(64), Some(Missing::Only(&refused())));
        assert!(of_ring.help.unwrap().contains("--bpf-ring"));
    }
}

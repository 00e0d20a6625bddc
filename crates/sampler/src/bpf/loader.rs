//! Loads the program into the kernel.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::programs::{Iter, ProgramError};
use aya::{Btf, EbpfError, EbpfLoader, VerifierLogLevel};
use rustix::io::Errno;

use super::{BpfError, sys};

/// Made by `cargo xtask bpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/processes.bpf.o");

/// The type information of the running kernel.
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// The CPUs that can exist.
const CPUS: &str = "/sys/devices/system/cpu/possible";

/// Loads the iterator over processes, and gives a link of which iterators can be made.
pub(super) fn load() -> Result<OwnedFd, BpfError> {
    if let Err(error) = std::fs::metadata(BTF) {
        return Err(BpfError::NoTypes(error));
    }
    // It has parsed the types, which takes some 10 MB: not twice at the same time.
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    let types = Btf::from_sys_fs().map_err(|error| BpfError::Refused(chain(&error)))?;
    let cpus = std::fs::read_to_string(CPUS).ok().and_then(|list| count(&list)).unwrap_or(0);
    let loaded = loader
        .btf(Some(&types))
        .verifier_log_level(VerifierLogLevel::DISABLE)
        .override_global("cpus", &cpus, true)
        .load(OBJECT);
    let mut object = loaded.map_err(|error| from_ebpf(&error))?;
    let program = object.program_mut("processes").ok_or(BpfError::NotBuilt)?;
    let program: &mut Iter = program.try_into().map_err(|error| from_program(&error))?;
    program.load("task", &types).map_err(|error| from_program(&error))?;
    let fd = program.fd().map_err(|error| from_program(&error))?;
    sys::link_iterator(fd.as_fd()).map_err(|errno| match errno {
        Errno::PERM | Errno::ACCESS => BpfError::Denied,
        errno => BpfError::Refused(errno.to_string()),
    })
}

/// The number of CPUs if their numbers begin at 0 and have no gap: `0-3`, or `0`.
fn count(list: &str) -> Option<u32> {
    let list = list.trim();
    let last = match list.split_once('-') {
        Some(("0", last)) => last.parse::<u32>().ok()?,
        Some(_) => return None,
        None => list.parse().ok().filter(|&only: &u32| only == 0)?,
    };
    last.checked_add(1)
}

pub(super) fn from_ebpf(error: &EbpfError) -> BpfError {
    if let EbpfError::ProgramError(error) = error {
        return from_program(error);
    }
    from_chain(error)
}

pub(super) fn from_program(error: &ProgramError) -> BpfError {
    from_chain(error)
}

/// A missing right, or another reason.
fn from_chain(error: &(dyn std::error::Error + 'static)) -> BpfError {
    let mut source = Some(error);
    while let Some(error) = source {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied) {
            return BpfError::Denied;
        }
        source = error.source();
    }
    BpfError::Refused(chain(error))
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut line = String::new();
    for cause in causes.map(ToString::to_string) {
        // Some repeat their cause.
        if !line.contains(&cause) {
            line.push_str(if line.is_empty() { "" } else { ": " });
            line.push_str(&cause);
        }
    }
    line.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn possible_cpus() {
        assert_eq!(count("0-1\n"), Some(2));
        assert_eq!(count("0\n"), Some(1));
        assert_eq!(count("0-255"), Some(256));
        for other in ["0,2-3", "1-3", "1", "", "0-1,4"] {
            assert_eq!(count(other), None, "{other}");
        }
    }
}

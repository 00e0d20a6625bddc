//! Loads the iterators into the kernel.

use std::fmt;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use aya::maps::{Array, MapData};
use aya::programs::{Iter, ProgramError};
use aya::{Btf, Ebpf, EbpfError, EbpfLoader, VerifierLogLevel};
use rustix::io::Errno;

use super::snapshot::Links;
use super::sockets::Request;
use super::{BpfError, sys};

/// Made by `cargo xtask bpf`.
static PROCESSES: &[u8] = aya::include_bytes_aligned!("../../bpf/processes.bpf.o");
static SOCKETS: &[u8] = aya::include_bytes_aligned!("../../bpf/sockets.bpf.o");

/// The type information of the running kernel.
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// The CPUs that can exist.
const CPUS: &str = "/sys/devices/system/cpu/possible";

/// Loads the iterators over processes, and gives links of which they can be made; and that over
/// their sockets.
pub(super) fn load() -> Result<(Links, Result<Sockets, BpfError>), BpfError> {
    if let Err(error) = std::fs::metadata(BTF) {
        return Err(BpfError::NoTypes(error));
    }
    // It has parsed the types, which takes some 10 MB: not twice at the same time.
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    let types = Btf::from_sys_fs().map_err(|error| BpfError::Refused(chain(&error)))?;
    loader.btf(Some(&types)).verifier_log_level(VerifierLogLevel::DISABLE);
    let sockets = Sockets::load(&mut loader, &types);
    let cpus = std::fs::read_to_string(CPUS).ok().and_then(|list| count(&list)).unwrap_or(0);
    let loaded = loader.override_global("cpus", &cpus, true).load(PROCESSES);
    let mut object = loaded.map_err(|error| from_ebpf(&error))?;
    let processes = link(&mut object, "processes", &types)?;
    let cpu_times = link(&mut object, "cpu_times", &types)?;
    Ok((Links { processes, cpu_times }, sockets))
}

/// Loads an iterator over tasks, and links it.
fn link(object: &mut Ebpf, name: &str, types: &Btf) -> Result<OwnedFd, BpfError> {
    let program = object.program_mut(name).ok_or(BpfError::NotBuilt)?;
    let program: &mut Iter = program.try_into().map_err(|error| from_program(&error))?;
    program.load("task", types).map_err(|error| from_program(&error))?;
    let fd = program.fd().map_err(|error| from_program(&error))?;
    sys::link_iterator(fd.as_fd()).map_err(|errno| match errno {
        Errno::PERM | Errno::ACCESS => BpfError::Denied,
        errno => BpfError::Refused(errno.to_string()),
    })
}

/// The loaded iterator over the sockets of the processes that are requested.
pub(super) struct Sockets {
    link: OwnedFd,
    requests: Mutex<Array<MapData, Request>>,
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockets").field("link", &self.link).finish_non_exhaustive()
    }
}

impl Sockets {
    fn load(loader: &mut EbpfLoader<'_>, types: &Btf) -> Result<Sockets, BpfError> {
        let mut object = loader.load(SOCKETS).map_err(|error| from_ebpf(&error))?;
        let map = object.take_map("requests").ok_or(BpfError::NotBuilt)?;
        let requests = Array::try_from(map).map_err(|error| from_chain(&error))?;
        let link = link(&mut object, "sockets", types)?;
        Ok(Sockets { link, requests: Mutex::new(requests) })
    }

    /// Sets the processes that the next pass shows. It begins and ends while this lives.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub(super) fn request(&self, request: &Request) -> Result<impl Drop, Errno> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.set(0, request, 0).map_err(|error| errno_of(&error))?;
        Ok(requests)
    }

    /// Iterators are made of it.
    pub(super) fn link(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

/// The reason of the kernel.
fn errno_of(error: &(dyn std::error::Error + 'static)) -> Errno {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    let errno = causes.find_map(|error| Errno::from_io_error(error.downcast_ref()?));
    errno.unwrap_or(Errno::INVAL)
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
    let line = line.lines().next().unwrap_or_default().trim_end();
    // The verifier is not asked for a log.
    line.strip_suffix(" Verifier output:").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_one_line() {
        #[derive(Debug, thiserror::Error)]
        #[error("the call failed")]
        struct Failed(#[source] std::io::Error);
        let cause = |text: &str| Failed(std::io::Error::other(text.to_owned()));
        assert_eq!(chain(&cause("no log. Verifier output: ")), "the call failed: no log.");
        assert_eq!(chain(&cause("one\ntwo")), "the call failed: one");
    }

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

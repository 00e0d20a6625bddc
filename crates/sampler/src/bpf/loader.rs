//! Loads the iterators into the kernel.

use std::fmt;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use aya::maps::{Array, Map, MapData};
use aya::programs::{Iter, ProgramError};
use aya::{Btf, Ebpf, EbpfError, EbpfLoader, VerifierLogLevel};
use rustix::io::Errno;

use super::{BpfError, ProcessProgram, SocketProgram, sys};

/// Made by `cargo xtask bpf`.
static PROCESSES: &[u8] = aya::include_bytes_aligned!("../../bpf/processes.bpf.o");
static SOCKETS: &[u8] = aya::include_bytes_aligned!("../../bpf/sockets.bpf.o");

/// The type information of the running kernel.
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// The CPUs that can exist.
const CPUS: &str = "/sys/devices/system/cpu/possible";

/// The loaded iterators over processes, and over their sockets.
pub(super) type Loaded = (ProcessProgram, Result<SocketProgram, BpfError>);

/// Loads the iterators.
pub(super) fn load() -> Result<Loaded, BpfError> {
    if let Err(error) = std::fs::metadata(BTF) {
        return Err(BpfError::NoTypes(error));
    }
    // It has parsed the types, which takes some 10 MB: not twice at the same time.
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    let types = Btf::from_sys_fs().map_err(|error| BpfError::Refused(chain(&error)))?;
    loader.btf(Some(&types)).verifier_log_level(VerifierLogLevel::DISABLE);
    let sockets = Program::load(&mut loader, SOCKETS, "sockets", &types);
    let cpus = std::fs::read_to_string(CPUS).ok().and_then(|list| count(&list)).unwrap_or(0);
    loader.override_global("cpus", &cpus, true);
    Ok((Program::load(&mut loader, PROCESSES, "processes", &types)?, sockets))
}

/// Links an iterator over the entries of a map.
fn link(
    object: &mut Ebpf,
    name: &str,
    map: BorrowedFd<'_>,
    types: &Btf,
) -> Result<OwnedFd, BpfError> {
    let program = object.program_mut(name).ok_or(BpfError::NotBuilt)?;
    let program: &mut Iter = program.try_into().map_err(|error| from_program(&error))?;
    program.load("bpf_map_elem", types).map_err(|error| from_program(&error))?;
    let fd = program.fd().map_err(|error| from_program(&error))?;
    sys::link_iterator(fd.as_fd(), map).map_err(|errno| match errno {
        Errno::PERM | Errno::ACCESS => BpfError::Denied,
        errno => BpfError::Refused(errno.to_string()),
    })
}

/// A loaded iterator over the processes of a request, which has this number of words.
pub(super) struct Program<const WORDS: usize> {
    link: OwnedFd,
    requests: Mutex<Array<MapData, [u64; WORDS]>>,
}

impl<const WORDS: usize> fmt::Debug for Program<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("link", &self.link).finish_non_exhaustive()
    }
}

impl<const WORDS: usize> Program<WORDS> {
    fn load(
        loader: &mut EbpfLoader<'_>,
        object: &[u8],
        name: &str,
        types: &Btf,
    ) -> Result<Program<WORDS>, BpfError> {
        let mut object = loader.load(object).map_err(|error| from_ebpf(&error))?;
        let requests = object.take_map("requests").ok_or(BpfError::NotBuilt)?;
        let requests = Array::try_from(requests).map_err(|error| from_chain(&error))?;
        let Some(Map::Array(turns)) = object.take_map("turns") else {
            return Err(BpfError::NotBuilt);
        };
        let link = link(&mut object, name, turns.fd().as_fd(), types)?;
        Ok(Program { link, requests: Mutex::new(requests) })
    }

    /// Sets the processes of the next pass. It begins and ends while this lives.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub(super) fn request(&self, request: &[u64; WORDS]) -> Result<impl Drop, Errno> {
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

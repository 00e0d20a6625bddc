//! Loads the iterators into the kernel.

use std::fmt;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use aya::maps::{Array, Map, MapData};
use aya::programs::{Iter, ProgramError};
use aya::{Btf, Ebpf, EbpfError, EbpfLoader, VerifierLogLevel};
use rustix::io::Errno;

use super::{BpfError, sys};

/// Made by `cargo xtask bpf`.
static PROCESSES: &[u8] = aya::include_bytes_aligned!("../../bpf/processes.bpf.o");
static SOCKETS: &[u8] = aya::include_bytes_aligned!("../../bpf/sockets.bpf.o");

/// The type information of the running kernel.
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// The CPUs that can exist.
const CPUS: &str = "/sys/devices/system/cpu/possible";

/// The loaded iterators over processes, and over their sockets.
pub(super) type Loaded = (Program, Result<Program, BpfError>);

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

fn iterator<'o>(object: &'o mut Ebpf, name: &str) -> Result<&'o mut Iter, BpfError> {
    let program = object.program_mut(name).ok_or(BpfError::NotBuilt)?;
    program.try_into().map_err(|error| from_program(&error))
}

/// Loads an iterator over the entries of a map.
fn load_program(object: &mut Ebpf, name: &str, types: &Btf) -> Result<(), BpfError> {
    let result = iterator(object, name)?.load("bpf_map_elem", types);
    result.map_err(|error| from_program(&error))
}

/// Links it to a map.
fn link(object: &mut Ebpf, name: &str, map: BorrowedFd<'_>) -> Result<OwnedFd, BpfError> {
    let fd = iterator(object, name)?.fd().map_err(|error| from_program(&error))?;
    sys::link_iterator(fd.as_fd(), map).map_err(|errno| match errno {
        Errno::PERM | Errno::ACCESS => BpfError::Denied,
        errno => BpfError::Refused(errno.to_string()),
    })
}

/// At most this number of processes is read in one pass: as in `bpf/find.h`, as is all that
/// follows.
pub(super) const MAX_TARGETS: usize = 4096;
const FEW_TARGETS: usize = 64;

/// A process of a request, in two words.
pub(super) type Target = [u64; 2];

/// A loaded iterator over the processes of a request.
#[derive(Debug)]
pub(super) struct Program {
    many: Requests<{ 2 + 2 * MAX_TARGETS }>,
    /// An iterator has the same number of steps for each request, so there is one for short ones.
    few: Requests<{ 2 + 2 * FEW_TARGETS }>,
}

/// Requests of up to this number of words.
struct Requests<const WORDS: usize> {
    /// Iterators are made of it.
    link: OwnedFd,
    request: Mutex<Request<WORDS>>,
}

/// The map of a request, and its next value.
struct Request<const WORDS: usize> {
    map: Array<MapData, [u64; WORDS]>,
    words: Box<[u64; WORDS]>,
}

impl<const WORDS: usize> fmt::Debug for Requests<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("link", &self.link).finish_non_exhaustive()
    }
}

impl Program {
    fn load(
        loader: &mut EbpfLoader<'_>,
        object: &[u8],
        name: &str,
        types: &Btf,
    ) -> Result<Program, BpfError> {
        let mut object = loader.load(object).map_err(|error| from_ebpf(&error))?;
        load_program(&mut object, name, types)?;
        let mut turns = object.take_map("few_turns").ok_or(BpfError::NotBuilt)?;
        set_all(&mut turns)?;
        let few = Requests::new(&mut object, name, "few_requests", &turns)?;
        let turns = object.take_map("turns").ok_or(BpfError::NotBuilt)?;
        let many = Requests::new(&mut object, name, "requests", &turns)?;
        Ok(Program { many, few })
    }

    /// Reads the rows of these processes, at most [`MAX_TARGETS`]. `add` gets those of each read;
    /// false if they are incomplete.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(super) fn read(
        &self,
        targets: impl ExactSizeIterator<Item = Target>,
        limit: u64,
        buffer: &mut [u8],
        add: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), Errno> {
        if targets.len() <= FEW_TARGETS {
            self.few.read(targets, limit, buffer, add)
        } else {
            self.many.read(targets, limit, buffer, add)
        }
    }
}

impl<const WORDS: usize> Requests<WORDS> {
    fn new(
        object: &mut Ebpf,
        program: &str,
        requests: &str,
        turns: &Map,
    ) -> Result<Requests<WORDS>, BpfError> {
        let Map::Array(turns) = turns else { return Err(BpfError::NotBuilt) };
        let link = link(object, program, turns.fd().as_fd())?;
        let requests = object.take_map(requests).ok_or(BpfError::NotBuilt)?;
        let map = Array::try_from(requests).map_err(|error| from_chain(&error))?;
        let request = Request { map, words: Box::new([0; WORDS]) };
        Ok(Requests { link, request: Mutex::new(request) })
    }

    fn read(
        &self,
        targets: impl ExactSizeIterator<Item = Target>,
        limit: u64,
        buffer: &mut [u8],
        mut add: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), Errno> {
        // Until the pass ends no other one can set its request.
        let mut request = self.request.lock().unwrap_or_else(PoisonError::into_inner);
        let Request { map, words } = &mut *request;
        let [count, max, rest @ ..] = &mut words[..] else { return Err(Errno::INVAL) };
        (*count, *max) = (targets.len() as u64, limit);
        let (places, _) = rest.as_chunks_mut();
        places.iter_mut().zip(targets).for_each(|(place, target)| *place = target);
        #[expect(clippy::needless_borrows_for_generic_args, reason = "it is large")]
        map.set(0, &**words, 0).map_err(|error| errno_of(&error))?;
        let iterator = sys::new_iterator(self.link.as_fd())?;
        loop {
            let length = sys::read_rows(iterator.as_fd(), buffer)?;
            if length == 0 {
                return Ok(());
            }
            if !add(buffer.get(..length).unwrap_or_default()) {
                return Err(Errno::OVERFLOW);
            }
        }
    }
}

/// Sets all entries of an array to 1.
fn set_all(map: &mut Map) -> Result<(), BpfError> {
    let mut array: Array<_, u32> = Array::try_from(map).map_err(|error| from_chain(&error))?;
    (0..array.len())
        .try_for_each(|index| array.set(index, 1, 0))
        .map_err(|error| from_chain(&error))
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

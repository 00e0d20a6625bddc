//! Numbers of many processes by one pass of a BPF iterator.
//!
//! The program (`bpf/processes.bpf.c`) writes a row for each process that is requested.
//! [`BpfSource`] has the rows of the last pass, and answers from them; what they do not have it
//! reads from the procfs. Another program (`bpf/sockets.bpf.c`) writes the sockets of requested
//! processes. Further programs (`bpf/lifetimes.bpf.c`) report the processes that begin and end
//! between two passes.

#[cfg(all(feature = "bpf", target_endian = "little", target_pointer_width = "64"))]
mod lifetimes;
#[cfg(all(feature = "bpf", target_endian = "little", target_pointer_width = "64"))]
mod loader;
mod row;
mod snapshot;
mod sockets;
mod source;
// Without a program none is linked.
#[cfg_attr(
    not(all(feature = "bpf", target_endian = "little", target_pointer_width = "64")),
    allow(dead_code)
)]
mod sys;
mod verify;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use self::snapshot::Snapshot;
use self::sockets::SocketPass;
pub(crate) use self::source::BpfSource;
use crate::options::FastPaths;
use crate::read::procfs::Procfs;

/// The smallest [ring](Bpf::with_ring), in bytes. It is a multiple of the size of a page on every
/// machine.
pub const MIN_RING: u32 = 1 << 16;

/// The kernel gives at most this number of bytes in one read, always whole rows.
const BUFFER: usize = 32 * 1024;

/// A BPF program that reads many processes at once, loaded into the kernel.
///
/// [`load`](Bpf::load) needs `CAP_BPF` and `CAP_PERFMON`, or root. The loaded program needs no
/// capabilities: they can be dropped before the sampler begins. It only reads. The kernel unloads
/// it when the last clone of this and the last sampler that uses it are dropped.
#[derive(Clone, Debug)]
pub struct Bpf {
    processes: Arc<Program>,
    sockets: Result<Arc<Program>, Arc<BpfError>>,
    /// Each record is read once.
    ring: Option<Arc<Mutex<Ring>>>,
}

/// Why processes cannot be read by BPF.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BpfError {
    /// The feature `bpf` is missing, or this machine has 32 bits or big-endian numbers.
    #[error("this build has no BPF program")]
    NotBuilt,
    /// The directory is a capture, the procfs of another pid namespace, or one of a pid namespace
    /// other than the initial one: a pass shows the pids of the initial one.
    #[error("the procfs is not that of the initial pid namespace")]
    Namespace,
    /// The kernel does not describe its types (`CONFIG_DEBUG_INFO_BTF`).
    #[error("/sys/kernel/btf/vmlinux: {0}")]
    NoTypes(std::io::Error),
    /// A right is missing.
    #[error("needs CAP_BPF and CAP_PERFMON")]
    Denied,
    /// The kernel does not load the program: it is older than Linux 5.19, or differs from those
    /// that the program knows.
    #[error("the kernel does not load the program: {0}")]
    Refused(String),
    /// The program reads other numbers of this process than the procfs has. The name of one.
    #[error("the program and the procfs differ in {0}")]
    Differs(&'static str),
}

impl Bpf {
    /// Loads the program, and verifies that its numbers of this process are those of the procfs.
    ///
    /// This takes some 20 MB, which are given back: with glibc, `M_TRIM_THRESHOLD` of the process
    /// is set to its default for that (mallopt(3)).
    ///
    /// # Errors
    /// When the program cannot be used with this procfs.
    pub fn load(proc_root: &Path) -> Result<Bpf, BpfError> {
        let procfs = Procfs::open(proc_root, FastPaths::ALL).map_err(|_| BpfError::Namespace)?;
        if !procfs.is_initial() {
            return Err(BpfError::Namespace);
        }
        sys::limit_free_memory();
        let loaded = load();
        sys::release_memory();
        let (processes, sockets) = loaded?;
        let sockets = sockets.map(Arc::new).and_then(|program| {
            verify::verify_sockets(SocketPass::new(Arc::clone(&program)), &procfs)?;
            Ok(program)
        });
        let processes = Arc::new(processes);
        let bpf = Bpf { processes, sockets: sockets.map_err(Arc::new), ring: None };
        bpf.verify(&procfs)?;
        Ok(bpf)
    }

    /// Why the sockets of processes are read from the procfs, if they are. Those of other users'
    /// processes need `CAP_SYS_PTRACE` and `CAP_DAC_READ_SEARCH` then. By BPF they need no
    /// capability.
    pub fn sockets_error(&self) -> Option<&BpfError> {
        self.sockets.as_ref().err().map(|error| &**error)
    }

    /// Reports the fork, the execs and the end of every process of the host in a ring from now on,
    /// so that processes count that no listing shows. One sampler at a time can use this or a clone
    /// of it: what one has read from the ring no other one gets.
    ///
    /// `bytes` is the size of the ring: at least [`MIN_RING`], rounded up to a power of two. A
    /// process takes about 300 bytes, more with long arguments, until the ring is read: at the
    /// start of a cycle, or by [`Sampler::read_events`](crate::Sampler::read_events). Records that
    /// do not fit are lost: [`Health::lost_events`](crate::Health::lost_events).
    ///
    /// # Errors
    /// When the programs cannot be loaded. It needs the capabilities that [`load`](Bpf::load)
    /// needs.
    pub fn with_ring(self, bytes: u32) -> Result<Bpf, BpfError> {
        let bytes = bytes.clamp(MIN_RING, 1 << 30).next_power_of_two();
        let ring = Ring::load(bytes);
        sys::release_memory();
        Ok(Bpf { ring: Some(Arc::new(Mutex::new(ring?))), ..self })
    }

    fn ring(&self) -> Option<Arc<Mutex<Ring>>> {
        self.ring.clone()
    }

    fn events_fd(&self) -> Option<Arc<OwnedFd>> {
        self.ring.as_ref().map(|ring| ring.lock().unwrap_or_else(PoisonError::into_inner).fd())
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::new(Arc::clone(&self.processes))
    }

    fn socket_pass(&self) -> Option<SocketPass> {
        self.sockets.as_ref().ok().map(|program| SocketPass::new(Arc::clone(program)))
    }

    /// Compares the row of this process with its files, some times, since other threads can change
    /// its numbers in between.
    fn verify(&self, procfs: &Procfs) -> Result<(), BpfError> {
        const ATTEMPTS: usize = 100;
        let mut snapshot = self.snapshot();
        let mut difference = "";
        for _ in 0..ATTEMPTS {
            match verify::difference(&mut snapshot, procfs) {
                None => return Ok(()),
                Some(name) => difference = name,
            }
        }
        Err(BpfError::Differs(difference))
    }
}

/// The program for a test. Other tests change the numbers of this process while they are compared.
/// `None` if this build has none, or if the test is skipped.
#[cfg(test)]
fn load_in_test() -> Option<Bpf> {
    for _ in 0..20 {
        match Bpf::load(Path::new("/proc")) {
            Ok(bpf) => return Some(bpf),
            Err(BpfError::NotBuilt) => return None,
            Err(BpfError::Differs(_)) => {
                std::thread::sleep(std::time::Duration::from_millis(500));
            }
            Err(error) => {
                println!("skipped: {error}");
                return None;
            }
        }
    }
    panic!("the numbers differ")
}

#[cfg(all(feature = "bpf", target_endian = "little", target_pointer_width = "64"))]
use self::lifetimes::Ring;
#[cfg(all(feature = "bpf", target_endian = "little", target_pointer_width = "64"))]
use self::loader::{MAX_TARGETS, Program, load};

#[cfg(not(all(feature = "bpf", target_endian = "little", target_pointer_width = "64")))]
fn load() -> Result<(Program, Result<Program, BpfError>), BpfError> {
    Err(BpfError::NotBuilt)
}

#[cfg(not(all(feature = "bpf", target_endian = "little", target_pointer_width = "64")))]
const MAX_TARGETS: usize = 1;

/// Without a program nothing is read by it.
#[cfg(not(all(feature = "bpf", target_endian = "little", target_pointer_width = "64")))]
#[derive(Debug)]
enum Program {}

#[cfg(not(all(feature = "bpf", target_endian = "little", target_pointer_width = "64")))]
impl Program {
    fn read(
        &self,
        _targets: impl ExactSizeIterator<Item = [u64; 2]>,
        _limit: u64,
        _buffer: &mut [u8],
        _add: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), rustix::io::Errno> {
        match *self {}
    }
}

/// Without programs there are no records.
#[cfg(not(all(feature = "bpf", target_endian = "little", target_pointer_width = "64")))]
#[derive(Debug)]
enum Ring {}

#[cfg(not(all(feature = "bpf", target_endian = "little", target_pointer_width = "64")))]
impl Ring {
    fn load(_bytes: u32) -> Result<Ring, BpfError> {
        Err(BpfError::NotBuilt)
    }

    fn take(&mut self, _events: &mut crate::lifetimes::LifeEvents) {}

    fn fd(&self) -> Arc<OwnedFd> {
        match *self {}
    }
}

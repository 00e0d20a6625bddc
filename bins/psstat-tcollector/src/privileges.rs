//! Reduces priority and privileges of the collector to what it needs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, mpsc};
use std::time::Duration;

use psstat_support::{procfs, user_namespace};
use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// The capabilities that are kept: to read the I/O and the descriptors of other users'
/// processes, and to search directories that only their owners may search.
const KEPT_CAPS: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);

/// The capabilities that loading a BPF program takes. Only the thread that loads it has them.
const LOADING_CAPS: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);

/// Lower priority than interactive and serving processes.
const NICE: i32 = 5;

/// `CAP_DAC_READ_SEARCH` comes from the program file (`setcap`), not from the caller (root, or
/// the ambient capabilities of a service).
static FILE_CAPS: AtomicBool = AtomicBool::new(false);

/// Drops all privileges that are not needed. Has to be called before any file is read, and
/// before any thread starts that keeps running, because capabilities belong to a thread. Errors are ignored: a
/// privilege that cannot be dropped is not used. Further calls have no effect.
pub(crate) fn drop_privileges() {
    static ONCE: Once = Once::new();
    ONCE.call_once(drop_now);
}

fn drop_now() {
    let _ = rustix::process::nice(NICE);
    let _ = rustix::thread::set_no_new_privs(true);
    // First, because this requires CAP_SETPCAP.
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if !KEPT_CAPS.contains(capability) {
            let _ = rustix::thread::remove_capability_from_bounding_set(capability);
        }
    }
    let search = CapabilitySet::DAC_READ_SEARCH;
    let sets = rustix::thread::capabilities(None);
    let has = sets.is_ok_and(|sets| sets.permitted.contains(search));
    let from_caller = rustix::process::getuid().is_root()
        || rustix::thread::capability_is_in_ambient_set(search).unwrap_or(false);
    FILE_CAPS.store(has && !from_caller, Ordering::Relaxed);
    let _ = rustix::thread::clear_ambient_capability_set();
    keep_only(KEPT_CAPS);
    // A core dump would contain the command lines of other users' processes.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
}

/// Drops all privileges of the calling thread that loading a BPF program does not take. The thread
/// starts before [`drop_privileges`], and ends when the program is loaded.
pub(crate) fn keep_only_loading() {
    let _ = rustix::thread::set_no_new_privs(true);
    let _ = rustix::thread::clear_ambient_capability_set();
    keep_only(LOADING_CAPS);
}

/// Drops all other capabilities of the calling thread.
fn keep_only(capabilities: CapabilitySet) {
    if let Ok(sets) = rustix::thread::capabilities(None) {
        let kept = CapabilitySets {
            effective: sets.effective.intersection(capabilities),
            permitted: sets.permitted.intersection(capabilities),
            inheritable: CapabilitySet::empty(),
        };
        let _ = rustix::thread::set_capabilities(None, kept);
    }
}

/// Drops the capabilities that are not needed when everything of the processes is read by BPF: all,
/// unless a config file cannot be read without one, or processes are hidden. Has to be called before a
/// thread starts that keeps running.
pub(crate) fn keep_only_needed_by_bpf(conf: &[PathBuf], proc: &Path) -> Capabilities {
    let Ok(sets) = rustix::thread::capabilities(None) else { return Capabilities::now() };
    let none = CapabilitySets { effective: CapabilitySet::empty(), ..sets };
    if rustix::thread::set_capabilities(None, none).is_err() {
        return Capabilities::now();
    }
    let mut kept = CapabilitySet::empty();
    if conf.iter().any(|path| access(path, Access::READ_OK) == Err(Errno::ACCESS)) {
        kept |= CapabilitySet::DAC_READ_SEARCH;
    }
    // With the option `hidepid` of the procfs, those of other users.
    if access(&proc.join("1/status"), Access::READ_OK).is_err() {
        kept |= CapabilitySet::SYS_PTRACE;
    }
    let kept = kept.intersection(sets.permitted);
    let inheritable = CapabilitySet::empty();
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable };
    let _ = rustix::thread::set_capabilities(None, sets);
    Capabilities::now()
}

/// Whether a file may be accessed with the effective user and capabilities.
fn access(path: &Path, access: Access) -> Result<(), Errno> {
    rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS)
}

/// Raises the limit of open descriptors to the hard limit.
pub(crate) fn raise_fd_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
}

/// Calls `work` with no more privileges than those of the user who started the program. A
/// program file with capabilities (`setcap`) would otherwise show any file to every user who can
/// run it with `--conf`.
pub(crate) fn with_user_privileges<T>(work: impl FnOnce() -> T) -> T {
    if !FILE_CAPS.load(Ordering::Relaxed) {
        return work();
    }
    let saved = rustix::thread::capabilities(None).ok();
    if let Some(sets) = saved {
        let none = CapabilitySets { effective: CapabilitySet::empty(), ..sets };
        let _ = rustix::thread::set_capabilities(None, none);
    }
    let _restore = RestoreOnDrop(saved);
    work()
}

/// Restores the capabilities of a thread, also after a panic.
struct RestoreOnDrop(Option<CapabilitySets>);

impl Drop for RestoreOnDrop {
    fn drop(&mut self) {
        if let Some(sets) = self.0.take() {
            let _ = rustix::thread::set_capabilities(None, sets);
        }
    }
}

/// The effective capabilities, of those that the collector uses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Capabilities {
    /// `CAP_SYS_PTRACE`: I/O, descriptors and `ns/net` of other users' processes.
    pub(crate) sys_ptrace: bool,
    /// `CAP_DAC_READ_SEARCH`: directories and config files with restricted permissions.
    pub(crate) dac_read_search: bool,
    /// The capabilities are those of a user namespace that does not contain the processes:
    /// they give no access, and count as not held.
    pub(crate) is_other_namespace: bool,
}

impl Capabilities {
    /// Those of the calling thread; none if they cannot be read.
    pub(crate) fn now() -> Capabilities {
        let sets = rustix::thread::capabilities(None);
        let has = |capability| sets.as_ref().is_ok_and(|sets| sets.effective.contains(capability));
        Capabilities {
            sys_ptrace: has(CapabilitySet::SYS_PTRACE),
            dac_read_search: has(CapabilitySet::DAC_READ_SEARCH),
            is_other_namespace: false,
        }
    }

    /// Those of the calling thread towards the processes of this procfs.
    pub(crate) fn towards(proc: &Path) -> Capabilities {
        let is_other_namespace = procfs::is_procfs(proc).unwrap_or(false)
            && !user_namespace::covers_processes(Path::new("/proc/self"), proc, read_link);
        if is_other_namespace {
            Capabilities { is_other_namespace, ..Capabilities::default() }
        } else {
            Capabilities::now()
        }
    }

    /// A description for the log.
    pub(crate) fn describe(self) -> String {
        let with = |held: bool| if held { "with" } else { "without" };
        let namespace = match self.is_other_namespace {
            true => "; its user namespace does not contain the processes",
            false => "",
        };
        format!(
            "runs {} CAP_SYS_PTRACE, {} CAP_DAC_READ_SEARCH{namespace}",
            with(self.sys_ptrace),
            with(self.dac_read_search)
        )
    }
}
/// The target of a link of a process. Reading that of another process can block while that is
/// stuck in the kernel; then the thread that reads it is abandoned.
fn read_link(path: &Path) -> io::Result<PathBuf> {
    const TIMEOUT: Duration = Duration::from_secs(1);
    if path.starts_with("/proc/self") {
        return std::fs::read_link(path);
    }
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    // The receiver is dropped after the time limit.
    let read = move || drop(sender.send(std::fs::read_link(path)));
    std::thread::Builder::new().name("link".to_owned()).stack_size(64 << 10).spawn(read)?;
    receiver.recv_timeout(TIMEOUT).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

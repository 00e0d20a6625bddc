//! How the collector makes itself small: nice, and with no more rights than it
//! needs.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// What is needed as root: to read the io and the descriptors of others'
/// processes, and to reach folders that only their owners may search.
const KEPT_CAPS: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);

/// Behind whatever serves people.
const NICE: i32 = 5;

/// The right to open any file comes from the program's file (`setcap`), not
/// from who started it: neither root nor a service that was given it (ambient).
static FILE_CAPS: AtomicBool = AtomicBool::new(false);

/// Gives up what is not needed. Called before anything is read and before any
/// thread is started, since rights are a thread's. What cannot be given up is
/// kept without a word: it does no harm.
pub fn drop_privileges() {
    let _ = rustix::process::nice(NICE);
    let _ = rustix::thread::set_no_new_privs(true);
    // While there still is CAP_SETPCAP, which this takes.
    for place in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << place);
        if !KEPT_CAPS.contains(one) {
            let _ = rustix::thread::remove_capability_from_bounding_set(one);
        }
    }
    let search = CapabilitySet::DAC_READ_SEARCH;
    let sets = rustix::thread::capabilities(None);
    let has = sets.is_ok_and(|sets| sets.permitted.contains(search));
    let given = rustix::process::getuid().is_root()
        || rustix::thread::capability_is_in_ambient_set(search).unwrap_or(false);
    FILE_CAPS.store(has && !given, Ordering::Relaxed);
    let _ = rustix::thread::clear_ambient_capability_set();
    if let Ok(sets) = rustix::thread::capabilities(None) {
        let kept = CapabilitySets {
            effective: sets.effective.intersection(KEPT_CAPS),
            permitted: sets.permitted.intersection(KEPT_CAPS),
            inheritable: CapabilitySet::empty(),
        };
        let _ = rustix::thread::set_capabilities(None, kept);
    }
    // Others' command lines are in its memory, and a dump is a file.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
}

/// Lets as many descriptors be kept open as the hard limit allows.
pub fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
}

/// Does something with no more rights than the user has who started the
/// program. A program with capabilities of its own (`setcap`) would otherwise
/// show any file to whoever may run it and name a conf.
pub fn with_user_privileges<T>(work: impl FnOnce() -> T) -> T {
    if !FILE_CAPS.load(Ordering::Relaxed) {
        return work();
    }
    let own = rustix::thread::capabilities(None).ok();
    if let Some(sets) = own {
        let none = CapabilitySets { effective: CapabilitySet::empty(), ..sets };
        let _ = rustix::thread::set_capabilities(None, none);
    }
    let _given_back = Restored(own);
    work()
}

/// Gives a thread its rights back, after a panic too.
struct Restored(Option<CapabilitySets>);

impl Drop for Restored {
    fn drop(&mut self) {
        if let Some(sets) = self.0.take() {
            let _ = rustix::thread::set_capabilities(None, sets);
        }
    }
}

/// Which of the needed capabilities are in effect.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capabilities {
    /// `CAP_SYS_PTRACE`: to read io, descriptors' links and `ns/net` of others.
    pub sys_ptrace: bool,
    /// `CAP_DAC_READ_SEARCH`: to open folders and a conf that are not for all.
    pub dac_read_search: bool,
}

impl Capabilities {
    /// Those of the calling thread; none where that cannot be told.
    pub fn now() -> Capabilities {
        let sets = rustix::thread::capabilities(None);
        let has = |one| sets.as_ref().is_ok_and(|sets| sets.effective.contains(one));
        Capabilities {
            sys_ptrace: has(CapabilitySet::SYS_PTRACE),
            dac_read_search: has(CapabilitySet::DAC_READ_SEARCH),
        }
    }

    /// In words, for the log.
    pub fn describe(self) -> String {
        let of = |held: bool| if held { "with" } else { "without" };
        format!(
            "runs {} CAP_SYS_PTRACE, {} CAP_DAC_READ_SEARCH",
            of(self.sys_ptrace),
            of(self.dac_read_search)
        )
    }
}

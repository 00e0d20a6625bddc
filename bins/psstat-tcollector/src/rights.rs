//! How the collector makes itself small: nice, and with no more rights than it
//! needs.

use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// What is needed as root: to read the io and the descriptors of others'
/// processes, and to reach folders that only their owners may search.
const NEEDED: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);

/// Behind whatever serves people.
const NICENESS: i32 = 5;

/// Gives up what is not needed. Called before any thread is started, since
/// rights are a thread's. What cannot be given up is kept without a word: it
/// does no harm.
pub fn shrink() {
    let _ = rustix::process::nice(NICENESS);
    let _ = rustix::thread::set_no_new_privs(true);
    if let Ok(sets) = rustix::thread::capabilities(None) {
        let kept = CapabilitySets {
            effective: sets.effective.intersection(NEEDED),
            permitted: sets.permitted.intersection(NEEDED),
            inheritable: CapabilitySet::empty(),
        };
        let _ = rustix::thread::set_capabilities(None, kept);
    }
}

/// Lets as many descriptors be kept open as the hard limit allows.
pub fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
}

/// What the remaining rights lack, for the log: nothing as root.
pub fn missing() -> Option<&'static str> {
    let sets = rustix::thread::capabilities(None).ok()?;
    (!sets.effective.contains(NEEDED)).then_some("CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH")
}

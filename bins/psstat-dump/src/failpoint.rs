//! Defects on purpose, for the tests: in builds with debug assertions,
//! `PSSTAT_FAULT=draw` makes the live view panic when it draws its second
//! screen, and `PSSTAT_FAULT=measure` the thread that measures for it. In a
//! release build there is no such thing.

/// Panics if a test asked for this.
pub(crate) fn hit(fault: &str) {
    if cfg!(debug_assertions) {
        let wanted = std::env::var("PSSTAT_FAULT").ok();
        assert!(wanted.as_deref() != Some(fault), "a defect on purpose: {fault}");
    }
}

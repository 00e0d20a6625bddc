//! Defects on purpose, for the tests: in builds with debug assertions,
//! `PSSTAT_FAULT=panic:N` makes cycle N panic. In a release build there is no
//! such thing.

/// Panics if a test asked for it in this cycle.
pub fn perhaps(cycle: u64) {
    if cfg!(debug_assertions) {
        let wanted = std::env::var("PSSTAT_FAULT").ok();
        let wanted = wanted.as_deref().and_then(|fault| fault.strip_prefix("panic:"));
        assert!(wanted != Some(cycle.to_string().as_str()), "a defect on purpose in cycle {cycle}");
    }
}

//! Defects on purpose, for the tests: in builds with debug assertions,
//! `PSSTAT_FAULT=panic:N` makes cycle N panic, `PSSTAT_FAULT=panic` every
//! cycle, and `PSSTAT_FAULT=conf` every reading of the conf. In a release build
//! there is no such thing.

/// Panics if a test asked for this.
pub fn perhaps(fault: std::fmt::Arguments<'_>) {
    if cfg!(debug_assertions)
        && let Ok(wanted) = std::env::var("PSSTAT_FAULT")
    {
        assert!(wanted != fault.to_string(), "a defect on purpose: {fault}");
    }
}

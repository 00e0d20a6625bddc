//! Defects on purpose, for the tests: in builds with debug assertions, those
//! that `PSSTAT_FAULT` names, separated by commas. `panic:N` makes cycle N panic,
//! `panic` every cycle, `panic:start` the start, `panic:rules` the change to other
//! rules, `panic:recover` what follows a panic, `conf` every reading of the conf.
//! In a release build there is no such thing.

/// Panics if a test asked for this.
pub fn hit(failpoint: std::fmt::Arguments<'_>) {
    if cfg!(debug_assertions)
        && let Ok(wanted) = std::env::var("PSSTAT_FAULT")
    {
        let fault = failpoint.to_string();
        assert!(wanted.split(',').all(|one| one != fault), "a defect on purpose: {fault}");
    }
}

//! Injected panics for tests.
//!
//! In builds with debug assertions, the environment variable `PSSTAT_FAULT` names the
//! failpoints that panic, separated by commas. Release builds have none.
//!
//! - psstat-tcollector: `panic:N` in cycle N, `panic` in every cycle, `panic:start` at the start,
//!   `panic:rules` when new rules are applied, `panic:recover` in the recovery after a panic, `conf`
//!   when the config file is loaded.
//! - psstat-dump: `draw` when the live view draws its second screen, `measure` in its measuring
//!   thread.

//!
//! `PSSTAT_TEST_IO_START=process`, also in such builds only, lets the I/O counters of
//! psstat-tcollector begin with the processes, as with `--once`: most tests compare them with the
//! kernel's. `PSSTAT_TEST_IMAGE_LIFETIME=SECONDS` is the time after which images that rules made end,
//! in place of an hour.

use std::fmt::Display;

/// Panics if `PSSTAT_FAULT` names this failpoint.
///
/// # Panics
/// Only in builds with debug assertions.
pub fn hit(name: impl Display) {
    if cfg!(debug_assertions)
        && let Ok(selected) = std::env::var("PSSTAT_FAULT")
    {
        let name = name.to_string();
        assert!(selected.split(',').all(|one| one != name), "injected fault: {name}");
    }
}

/// Whether `PSSTAT_TEST_IO_START=process` is set, in builds with debug assertions.
pub fn io_starts_with_processes() -> bool {
    cfg!(debug_assertions)
        && std::env::var_os("PSSTAT_TEST_IO_START").is_some_and(|start| start == "process")
}

/// The value of `PSSTAT_TEST_IMAGE_LIFETIME`, in builds with debug assertions.
pub fn image_lifetime() -> Option<std::time::Duration> {
    if !cfg!(debug_assertions) {
        return None;
    }
    let seconds = std::env::var("PSSTAT_TEST_IMAGE_LIFETIME").ok()?;
    Some(std::time::Duration::from_secs(seconds.parse().ok()?))
}

//! Injected panics for tests.
//!
//! In builds with debug assertions, the environment variable `PSSTAT_FAULT` names the
//! failpoints that panic, separated by commas. Release builds have none.

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

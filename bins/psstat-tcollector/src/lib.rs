//! The collector: a conf in, every metric of the machine's processes out, every
//! 15 seconds, for tcollector.
//!
//! Here the crates are put together; nothing is parsed, matched or reckoned.
//! The way of the data: [`conf`] gives rules, [`cycle`] takes a sample with
//! them, [`points`] says which number goes under which name, [`output`] writes
//! the lines.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod conf;
pub mod config_watcher;
pub mod cycle;
pub mod health;
pub mod log;
pub mod options;
pub mod output;
mod panic;
pub mod points;
pub mod privileges;
pub mod run;
pub mod signals;
pub mod timestamps;

use std::process::ExitCode;

/// Success, and every way of being told to end: tcollector starts a collector
/// that exits with 0 again at once, and leaves it out for an hour otherwise.
pub const EXIT_OK: u8 = 0;
/// `--check` found a bad line, or no conf.
pub const EXIT_BAD_CONF: u8 = 1;
/// Wrong options.
pub const EXIT_USAGE: u8 = 2;

/// The whole program.
pub fn main() -> ExitCode {
    panic::install_hook();
    let settings = match options::Options::read().resolve() {
        Ok(settings) => settings,
        Err(error) => error.exit(),
    };
    if settings.check {
        return ExitCode::from(run::run(settings));
    }
    // A defect that nothing else caught ends it, but does not keep tcollector
    // from starting it again.
    ExitCode::from(panic::catch(|| run::run(settings)).unwrap_or(EXIT_OK))
}

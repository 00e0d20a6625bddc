//! The collector: reads a config file and prints the metrics of the processes that it selects,
//! every 15 seconds, for tcollector.
//!
//! This crate combines the libraries; it does no parsing, matching or arithmetic of its own.
//! Data flow: `conf` provides the rules, `cycle` takes a sample with them, `points` maps
//! each value to a metric, `output` writes the lines.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod check;
mod conf;
mod config_watcher;
mod cycle;
mod health;
mod log;
pub mod options;
mod output;
mod panic;
mod points;
mod privileges;
pub mod run;
mod signals;
mod timestamps;

use std::process::ExitCode;

/// Success, and every requested exit. tcollector restarts a collector that exits with 0 at once,
/// and one that exits with another status after an hour.
pub const EXIT_OK: u8 = 0;
/// `--check` found an invalid line, or could not read the config file.
pub const EXIT_BAD_CONF: u8 = 1;
/// Invalid options.
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
    // A panic that is caught nowhere else ends the program, but with a status after which
    // tcollector restarts it.
    ExitCode::from(panic::catch(|| run::run(settings)).unwrap_or(EXIT_OK))
}

//! The collector: reads a config file and prints the metrics of the processes that it selects,
//! every 15 seconds, for tcollector.
//!
//! This crate combines the libraries; it does no parsing, matching or arithmetic of its own.
//! Data flow: `conf` provides the rules, `cycle` takes a sample with them, `points` maps
//! each value to a metric, `output` writes the lines.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bpf;
mod check;
mod conf;
mod config_watcher;
mod controlling_terminal;
mod cycle;
mod health;
mod http_server;
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

use psstat_support::startup::{self, Stack};
use signal_hook::consts::{SIGABRT, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

/// Success, and every requested exit. tcollector restarts a collector that exits with 0 at once,
/// and one that exits with another status after an hour.
pub const EXIT_OK: u8 = 0;
/// `--check` found an invalid line, or could not read the config file; `--once` had no rules.
pub const EXIT_BAD_CONF: u8 = 1;
/// `--once` could not start: there is no thread, no descriptor or no `/proc`, for example.
pub const EXIT_CANNOT_START: u8 = 1;
/// The address of `--listen` cannot be used, for example because another program listens on it.
pub const EXIT_CANNOT_LISTEN: u8 = 1;
/// Invalid options.
pub const EXIT_USAGE: u8 = 2;

/// The signals that end the program or make it reload its config file.
const HANDLED_SIGNALS: [i32; 5] = [SIGABRT, SIGHUP, SIGINT, SIGTERM, SIGXFSZ];

/// The whole program.
pub fn main() -> ExitCode {
    // Inherited blocked, they would never arrive.
    psstat_sampler::unblock_signals(&HANDLED_SIGNALS);
    match startup::raise_stack_limit() {
        Stack::Sufficient => {}
        Stack::Raised(bytes) => log_stack(bytes, "raised the limit to 8 MiB"),
        Stack::TooSmall(bytes) => {
            log_stack(bytes, "using a separate stack of 8 MiB");
            // Privileges belong to a thread: this one must not keep them.
            privileges::drop_privileges();
            return startup::with_own_stack(run_program);
        }
    }
    run_program()
}

/// Logs that the stack limit is too low.
#[inline(never)]
fn log_stack(bytes: u64, consequence: &str) {
    log::line(&format!("stack limit (RLIMIT_STACK) of {} KiB; {consequence}", bytes >> 10));
}

#[inline(never)]
fn run_program() -> ExitCode {
    if !startup::has_random_numbers() {
        log::line(startup::NO_RANDOM_NUMBERS);
        return ExitCode::from(EXIT_OK);
    }
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

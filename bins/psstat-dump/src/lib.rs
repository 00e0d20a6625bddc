//! The library behind the program `psstat-dump`, so that tests, man pages and
//! shell completions use the same definitions as the program.
//!
//! ```
//! let command = psstat_dump::args::command();
//! assert_eq!(command.get_name(), "psstat-dump");
//! ```
//!
//! [`args`] parses the arguments, [`rule_arg`] those of `-e`, [`selector`] groups
//! processes into images, [`measure`] returns the values of one window as rows, and [`table`] formats
//! rows as text, CSV and JSON. [`top`] is the live view. `process_report`
//! collects all data of one process, and `explain` finds out why a rule does
//! not match. [`psstat_support::escape`] escapes untrusted text for the
//! terminal.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod args;
mod blocking;
mod capture;
mod commands;
mod conf;
mod doctor;
mod examples;
mod executable;
pub mod exit;
mod explain;
mod find;
pub mod measure;
mod process_report;
mod process_text;
pub mod recording;
mod report;
pub mod rule_arg;
pub mod selector;
mod sockets;
mod spelling;
pub mod table;
mod terminal;
mod time;
pub mod top;
mod users;

use std::ffi::OsString;
use std::process::ExitCode;

use exit::{Error, Outcome};
use psstat_support::startup::{self, Stack};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Runs the program with these arguments, the first being its name, and
/// returns its exit status. All errors are printed here.
pub fn main(arguments: impl IntoIterator<Item = OsString> + Send) -> ExitCode {
    psstat_sampler::unblock_signals(&[SIGHUP, SIGINT, SIGTERM]);
    match startup::raise_stack_limit() {
        Stack::TooSmall(_) => startup::with_own_stack(|| run(arguments)),
        _ => run(arguments),
    }
}

#[inline(never)]
fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    if !startup::has_random_numbers() {
        terminal::eprint_line(&format!("psstat-dump: {}", startup::NO_RANDOM_NUMBERS));
        return ExitCode::from(exit::USAGE);
    }
    let outcome = args::parse(arguments).and_then(commands::run);
    let error = match outcome {
        Ok(Outcome::Match) => return ExitCode::from(exit::SUCCESS),
        Ok(Outcome::NoMatch) => return ExitCode::from(exit::NO_MATCH),
        Err(error) => error,
    };
    let error = match error.help() {
        Some(help) => match terminal::print(help.as_bytes()) {
            Ok(()) => return ExitCode::from(exit::SUCCESS),
            Err(error) => Error::Output(error),
        },
        None => error,
    };
    if let Some(message) = error.message() {
        terminal::eprint_line(&message);
    }
    ExitCode::from(error.status())
}

//! The inspector of psstat as a library, so that tests, man pages and shell
//! completions use the same definitions as the program.
//!
//! ```
//! let command = psstat_dump::args::command();
//! assert_eq!(command.get_name(), "psstat-dump");
//! ```
//!
//! One way through it: [`args`] says what was typed, [`choose`] which
//! processes that means, [`measure`] gives the numbers of one window as rows,
//! [`average`] those of several,
//! and [`table`], [`csv`] and [`json`] print rows by way of the [`columns`]
//! that were chosen. [`page`] is what is known of one process, [`miss`] what
//! keeps a rule from matching. [`psstat_support::escape`] makes untrusted
//! text safe for a terminal.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod args;
pub mod average;
pub mod capture;
pub mod columns;
pub mod commands;
pub mod conf;
pub mod csv;
pub mod doctor;
pub mod excerpt;
pub mod executable;
pub mod exit;
pub mod json;
pub mod longest_match;
pub mod measure;
pub mod near_miss;
pub mod process_report;
pub mod row;
pub mod selector;
pub mod table;
pub mod terminal;
pub mod time;
pub mod top;
pub mod units;

use std::ffi::OsString;
use std::process::ExitCode;

use exit::Outcome;
use psstat_support::{escape, failpoint};

/// Runs the program with these arguments, the first being its own name, and
/// gives its exit status. The one place that prints errors.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let outcome = args::parse(arguments).and_then(commands::run);
    match outcome {
        Ok(Outcome::Match) => ExitCode::from(exit::SUCCESS),
        Ok(Outcome::NoMatch) => ExitCode::from(exit::NOTHING),
        Err(failure) => {
            if let Some(args_joined) = failure.message() {
                terminal::eprint_line(&args_joined);
            }
            ExitCode::from(failure.status())
        }
    }
}

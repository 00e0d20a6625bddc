//! All that is known of some processes.

use crate::args::{Format, GlobalArgs, PidArgs};
use crate::exit::{Error, Outcome};
use crate::process_report::{self, ReadError};
use crate::table::json;
use crate::table::units::Style;
use crate::terminal::{self, Paint};
use psstat_support::escape;

/// Prints a page a process.
///
/// # Errors
/// See [`Failure`].
pub(super) fn run(global: &GlobalArgs, args: &PidArgs) -> Result<Outcome, Error> {
    let paint = Paint::new(global.color);
    let style = if args.exact { Style::Exact } else { Style::Human };
    // A wrong folder is not the same as no such process.
    std::fs::read_dir(&global.proc).map_err(|error| {
        Error::Usage(format!("cannot read {}: {error}", crate::conf::shown(&global.proc)))
    })?;
    let mut found = Outcome::NoMatch;
    for &pid in &args.pids {
        let page = match process_report::read(&global.proc, pid) {
            Ok(page) => page,
            Err(ReadError::Gone) => {
                terminal::eprint_line(&format!("psstat-dump: no process {pid}"));
                continue;
            }
            Err(unread) => {
                let why = escape::text(&unread.to_string());
                terminal::eprint_line(&format!("psstat-dump: process {pid} cannot be read: {why}"));
                continue;
            }
        };
        let first = found == Outcome::NoMatch;
        found = Outcome::Match;
        let gap = if first { "" } else { "\n" };
        let bytes = match global.format() {
            Format::Text => {
                format!("{gap}{}", process_report::as_text(&page, style, paint)).into_bytes()
            }
            Format::Json => json::line(&process_report::as_json(&page)),
            Format::Csv => {
                let heading = if first { process_report::csv_heading() } else { String::new() };
                (heading + &process_report::as_csv(&page)).into_bytes()
            }
        };
        terminal::print(&bytes)?;
    }
    Ok(found)
}

//! `pid`.

use super::{pids, source};
use crate::args::{ConfArgs, Format, GlobalArgs, PidArgs};
use crate::exit::{Error, Outcome};
use crate::process_report::{self, ReadError};
use crate::table::json;
use crate::table::units::Style;
use crate::terminal::{self, Paint};
use psstat_support::escape;

pub(super) fn run(global: &GlobalArgs, conf: &ConfArgs, args: &PidArgs) -> Result<Outcome, Error> {
    let paint = Paint::new(global.color);
    let style = if args.exact { Style::Exact } else { Style::Human };
    // An unreadable directory is a usage error, not a missing process.
    std::fs::read_dir(&global.proc).map_err(|error| {
        Error::Usage(format!("cannot read {}: {error}", crate::conf::display(&global.proc)))
    })?;
    let mut outcome = Outcome::NoMatch;
    let source = || source::load(conf, &[], false);
    for pid in pids::by_id_or_name(&global.proc, source, &args.processes)? {
        let report = match process_report::read(&global.proc, pid) {
            Ok(report) => report,
            Err(ReadError::NotFound) => {
                terminal::eprint_line(&format!("psstat-dump: no process {pid}"));
                continue;
            }
            Err(error) => {
                let error = escape::text(&error.to_string());
                terminal::eprint_line(&format!("psstat-dump: cannot read process {pid}: {error}"));
                continue;
            }
        };
        let first = outcome == Outcome::NoMatch;
        outcome = Outcome::Match;
        let gap = if first { "" } else { "\n" };
        let bytes = match global.format() {
            Format::Text => {
                format!("{gap}{}", process_report::as_text(&report, style, paint)).into_bytes()
            }
            Format::Json => json::line(&process_report::as_json(&report)),
            Format::Csv => {
                let heading = if first { process_report::csv_heading() } else { String::new() };
                (heading + &process_report::as_csv(&report)).into_bytes()
            }
        };
        terminal::print(&bytes)?;
    }
    Ok(outcome)
}

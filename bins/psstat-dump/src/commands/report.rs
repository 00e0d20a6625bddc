//! `report`.

use std::io::{IsTerminal as _, Write as _};
use std::time::SystemTime;

use super::replay;
use crate::args::{Format, GlobalArgs, ReportArgs};
use crate::conf;
use crate::exit::{Error, Outcome};
use crate::{report, terminal, time};

pub(super) fn run(global: &GlobalArgs, args: &ReportArgs) -> Result<Outcome, Error> {
    if global.format() != Format::Text {
        return Err(Error::Usage(
            "report prints HTML; use --replay with --json or --csv".to_owned(),
        ));
    }
    if args.output.is_none() && std::io::stdout().is_terminal() {
        return Err(Error::Usage(
            "report prints an HTML page; write it to a file: -o report.html".to_owned(),
        ));
    }
    let mut recording = replay::open_path(&args.file)?;
    let bound = |option, text: &Option<String>, default| match text {
        Some(text) => replay::parse_time(option, text, &recording),
        None => Ok(default),
    };
    let (first, last) = replay::range(&recording);
    let from = bound("--from", &args.from, SystemTime::UNIX_EPOCH)?;
    let to = bound("--to", &args.to, last)?;
    let Some(page) = report::page(&mut recording, from, to) else {
        return Err(Error::Usage(format!(
            "no window from {} to {}; the recording has {} to {}",
            time::format_utc(from.max(SystemTime::UNIX_EPOCH)),
            time::format_utc(to),
            time::format_utc(first),
            time::format_utc(last)
        )));
    };
    write(args, &page)?;
    replay::report_damage(&recording);
    Ok(Outcome::Match)
}

fn write(args: &ReportArgs, page: &str) -> Result<(), Error> {
    let Some(path) = &args.output else { return Ok(terminal::print(page.as_bytes())?) };
    // It contains command lines, as the recording does.
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.write(true).create(true).truncate(true).open(path);
    file.and_then(|mut file| file.write_all(page.as_bytes()))
        .map_err(|error| Error::Usage(format!("cannot write {}: {error}", conf::display(path))))
}

//! The table of a recording.

use std::path::Path;
use std::time::{Duration, SystemTime};

use psstat_support::escape;
use serde_json::{Value, json};

use super::images;
use super::printer::{Origin, Printer};
use crate::args::{Format, GlobalArgs, PidArgs, TableArgs};
use crate::conf;
use crate::exit::{Error, Outcome};
use crate::recording::{Meta, Recording, process};
use crate::table::columns::{self, Level};
use crate::table::json;
use crate::table::units::Style;
use crate::terminal::{self, Paint};
use crate::time;

/// Opens the recording of `--replay`.
///
/// # Errors
/// When it cannot be read.
pub(super) fn open(global: &GlobalArgs) -> Result<Recording, Error> {
    open_path(&global.replay.clone().unwrap_or_default())
}

/// Opens a recording.
///
/// # Errors
/// When it cannot be read.
pub(super) fn open_path(path: &Path) -> Result<Recording, Error> {
    Recording::open(path).map_err(|error| {
        Error::Usage(format!("{} {}", conf::display(path), escape::text(&error.to_string())))
    })
}

/// The first and the last time of a recording.
pub(super) fn range(recording: &Recording) -> (SystemTime, SystemTime) {
    let time = |frame: usize| recording.time(frame).unwrap_or(SystemTime::UNIX_EPOCH);
    (time(0), time(recording.len().saturating_sub(1)))
}

/// Parses a time of a recording.
///
/// # Errors
/// When it is not a time.
pub(super) fn parse_time(
    option: &str,
    text: &str,
    recording: &Recording,
) -> Result<SystemTime, Error> {
    time::parse(text, range(recording).1).ok_or_else(|| {
        let text = escape::text(text);
        Error::Usage(format!(
            "{option} {text}: not a time; write 2026-01-31 23:59:59, 23:59, @SECONDS or -10m (before the end)"
        ))
    })
}

/// The frame of `--at`.
///
/// # Errors
/// When it is not a time, or one before the recording.
pub(super) fn frame_at(global: &GlobalArgs, recording: &Recording) -> Result<Option<usize>, Error> {
    let Some(at) = &global.at else { return Ok(None) };
    let at = parse_time("--at", at, recording)?;
    match recording.find(at) {
        Some(frame) => Ok(Some(frame)),
        None => {
            let (first, last) = range(recording);
            Err(Error::Usage(format!(
                "{} is before the recording, which has {} to {}",
                time::format_utc(at),
                time::format_utc(first),
                time::format_utc(last)
            )))
        }
    }
}

pub(super) fn table(global: &GlobalArgs, args: &TableArgs) -> Result<Outcome, Error> {
    let unusable = [
        (!args.regex.is_empty(), "--regex"),
        (args.no_conf, "--no-conf"),
        (args.kernel_threads, "--kernel-threads"),
    ];
    if let Some((_, option)) = unusable.iter().find(|(is_given, _)| *is_given) {
        return Err(Error::Usage(format!(
            "{option} cannot be used with --replay: a recording has the images that were recorded"
        )));
    }
    let level = if args.processes || !args.pids.is_empty() { Level::Process } else { Level::Image };
    let columns = images::selected_columns(args, level, global.format())?;
    let sort = images::find_column(&args.sort, level)?;
    let mut recording = open(global)?;
    let at = frame_at(global, &recording)?;
    let several = args.count.is_some() || args.interval.is_some();
    let printer = Printer {
        format: global.format(),
        paint: Paint::new(global.color),
        style: if args.exact { Style::Exact } else { Style::Human },
        level,
        columns,
        repeats: several,
    };
    let frames = if several {
        at.unwrap_or(0)..recording.len()
    } else {
        let frame = at.unwrap_or(recording.len().saturating_sub(1));
        frame..frame + 1
    };
    let mut tables = args.count.unwrap_or(u64::MAX);
    let (mut outcome, mut first, mut due) = (Outcome::NoMatch, true, SystemTime::UNIX_EPOCH);
    for number in frames {
        if tables == 0 {
            break;
        }
        let Some(time) = recording.time(number).filter(|time| *time >= due) else { continue };
        let Some(frame) = recording.frame(number) else { continue };
        // The next one can come a little early.
        due = time + args.interval.map_or(Duration::ZERO, |interval| interval.mul_f64(0.9));
        let mut snapshot = frame.snapshot;
        snapshot.select(&args.images);
        snapshot.select_processes(&args.pids);
        let rows = match level {
            Level::Image => &mut snapshot.images,
            Level::Process => &mut snapshot.processes,
        };
        columns::sort(rows, sort, args.reverse);
        if rows.iter().any(|row| row.numbers.processes > 0) {
            outcome = Outcome::Match;
        }
        printer.print(&snapshot, &origin(recording.meta(number)), first)?;
        if first && !several && global.format() == Format::Text {
            note_time(global, &recording, snapshot.time);
        }
        first = false;
        tables -= 1;
    }
    report_damage(&recording);
    if first {
        return Err(Error::Usage("no frame of that time can be read".to_owned()));
    }
    if outcome == Outcome::NoMatch {
        terminal::eprint_line("psstat-dump: no process matches");
    }
    Ok(outcome)
}

/// The fields of JSON.
fn origin(meta: Option<&Meta>) -> Origin {
    let images_from = meta.map_or(Value::Null, |meta| meta.images_from.clone());
    Origin { images_from, step_limited_rules: json!([]) }
}

/// A hint about the time of the table.
fn note_time(global: &GlobalArgs, recording: &Recording, shown: SystemTime) {
    let (first, last) = range(recording);
    let requested = global.at.as_ref().and_then(|at| time::parse(at, last));
    let before = requested.and_then(|requested| requested.duration_since(shown).ok());
    let before = before.filter(|before| *before >= Duration::from_secs(2));
    let before =
        before.map_or(String::new(), |before| format!(", {} s before that time", before.as_secs()));
    terminal::hint(&format!(
        "recorded at {}{before}; the recording has {} to {}",
        time::format_utc(shown),
        time::format_utc(first),
        time::format_utc(last)
    ));
}

/// Reports blocks that could not be read.
pub(super) fn report_damage(recording: &Recording) {
    if recording.damaged() > 0 {
        terminal::eprint_line("psstat-dump: parts of the recording are damaged and left out");
    }
}

/// The recorded values of processes.
pub(super) fn pid(global: &GlobalArgs, args: &PidArgs) -> Result<Outcome, Error> {
    if global.format() == Format::Csv {
        return Err(Error::Usage(
            "pid with --replay has no CSV; use the table: --replay FILE -p --csv".to_owned(),
        ));
    }
    let mut recording = open(global)?;
    let at = frame_at(global, &recording)?.unwrap_or(recording.len().saturating_sub(1));
    let mut outcome = Outcome::NoMatch;
    for pid in super::pids::ids(&args.processes)? {
        let found = process::find(&mut recording, pid, at);
        if found.is_empty() {
            terminal::eprint_line(&format!("psstat-dump: no process {pid} in the recording"));
        }
        for process in found {
            let gap = if outcome == Outcome::NoMatch { "" } else { "\n" };
            outcome = Outcome::Match;
            match global.format() {
                Format::Json => terminal::print(&json::line(&process.as_json()))?,
                _ => terminal::print(format!("{gap}{}", process.as_text()).as_bytes())?,
            }
        }
    }
    report_damage(&recording);
    Ok(outcome)
}

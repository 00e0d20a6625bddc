//! The table: images or processes, once or again and again.

use std::time::{Duration, Instant};

use psstat_matcher::PatternError;
use psstat_matcher::file::{self, Unusable};
use serde_json::{Value, json};

use crate::args::{Common, ConfArgs, Format, TableArgs};
use crate::choose::{self, Chooser, Source};
use crate::columns::{self, Column, Level};
use crate::exit::{Failure, Found};
use crate::measure::{self, Measurer, Snapshot};
use crate::terminal::{self, Paint, Progress};
use crate::units::Style;
use crate::{conf, csv, harmless, json, table, time};

/// The window where no interval is given.
const WINDOW: Duration = Duration::from_secs(1);

/// Prints the table.
///
/// # Errors
/// See [`Failure`].
pub(super) fn run(common: &Common, conf: &ConfArgs, args: &TableArgs) -> Result<Found, Failure> {
    let level = if args.processes { Level::Process } else { Level::Image };
    let columns = chosen_columns(args, level, common.format())?;
    let sort = find_column(&args.sort, level)?;
    let source = source(conf, args)?;
    let chooser = Chooser::new(source, &args.images, measure::own_pid(&common.proc));
    let window = args.interval.unwrap_or(WINDOW);
    let mut progress = Progress::show("measuring …");
    let mut measurer = Measurer::new(&common.proc, window, chooser)?;
    let rounds = args.count.unwrap_or(if args.interval.is_some() { u64::MAX } else { 1 });
    let printer = Printer {
        format: common.format(),
        paint: Paint::new(common.color),
        style: if args.exact { Style::Exact } else { Style::Human },
        level,
        columns,
        repeats: rounds > 1,
    };
    let mut found = Found::Nothing;
    for round in 0..rounds {
        let due = measurer.open();
        if round > 0 || !measurer.is_still() {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let mut snapshot = measurer.close();
        progress = None;
        let rows = match level {
            Level::Image => &mut snapshot.images,
            Level::Process => &mut snapshot.processes,
        };
        columns::sort(rows, sort, args.reverse);
        if snapshot.total.procs > 0 {
            found = Found::Something;
        }
        printer.print(&snapshot, measurer.chooser(), round == 0)?;
    }
    drop(progress);
    if found == Found::Nothing {
        terminal::say("psstat-dump: no process matches");
    }
    Ok(found)
}

/// What makes the images, from the options.
fn source(conf: &ConfArgs, args: &TableArgs) -> Result<Source, Failure> {
    if !args.regex.is_empty() {
        let rules = choose::ad_hoc(&args.regex)
            .map_err(|(pattern, error)| Failure::Usage(pattern_error(pattern, &error)))?;
        return Ok(Source::Regex(rules));
    }
    if args.no_conf {
        return Ok(Source::Executable);
    }
    let location = conf::locate(conf)?;
    let path = conf::shown(&location.path);
    match file::load(&location.path) {
        Ok(loaded) => {
            let diagnostics = loaded.conf.diagnostics.len();
            if diagnostics > 0 {
                let check = "`psstat-dump check` shows what is wrong";
                terminal::say(&format!("psstat-dump: {path}: {diagnostics} complaints; {check}"));
            } else if !location.named {
                terminal::remark(&format!("images of {path}; --no-conf for executables"));
            }
            Ok(Source::Conf { path: location.path, rules: loaded.conf.rules })
        }
        Err(Unusable::Unreadable(error))
            if !location.named && error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(Source::Executable)
        }
        Err(reason) => {
            let instead = if location.named { "" } else { "; --no-conf does without" };
            Err(Failure::Usage(format!("{path} {reason}{instead}")))
        }
    }
}

/// What is wrong with a pattern, with a caret under the spot.
fn pattern_error(pattern: &str, error: &PatternError) -> String {
    let (shown, marks) = marked(pattern, error.column(), error.span());
    let (message, remedy) = (harmless::text(error.message()), harmless::text(error.remedy()));
    format!("-e: {message}\n  |\n  | {shown}\n  | {marks}\n  = help: {remedy}")
}

/// A pattern made harmless, and the line of carets that belongs under it.
/// `column` counts characters from 1.
fn marked(pattern: &str, column: usize, span: usize) -> (String, String) {
    let (mut shown, mut marks) = (String::new(), String::new());
    let spot = column..column.saturating_add(span);
    for (column, character) in (1..).zip(pattern.chars()) {
        let start = shown.len();
        harmless::push(&mut shown, character);
        let width = harmless::width(shown.get(start..).unwrap_or_default());
        let mark = if spot.contains(&column) { "^" } else { " " };
        marks.push_str(&mark.repeat(width));
    }
    // The spot may be the end, as for a bracket that is never closed.
    if !marks.contains('^') {
        marks.push('^');
    }
    marks.truncate(marks.trim_end().len());
    (shown, marks)
}

fn find_column(key: &str, level: Level) -> Result<&'static Column, Failure> {
    columns::find(key, level).ok_or_else(|| {
        let known: Vec<_> = columns::of(level).map(|column| column.key).collect();
        let key = harmless::text(key);
        let rows = if level == Level::Image { "images" } else { "processes" };
        Failure::Usage(format!("{rows} have no column `{key}`, but: {}", known.join(", ")))
    })
}

fn chosen_columns(
    args: &TableArgs,
    level: Level,
    format: Format,
) -> Result<Vec<&'static Column>, Failure> {
    if !args.columns.is_empty() {
        return args.columns.iter().map(|key| find_column(key, level)).collect();
    }
    // A script picks what it wants by name.
    Ok(columns::of(level).filter(|column| column.shown || format != Format::Text).collect())
}

struct Printer {
    format: Format,
    paint: Paint,
    style: Style,
    level: Level,
    columns: Vec<&'static Column>,
    repeats: bool,
}

impl Printer {
    fn print(&self, snapshot: &Snapshot, chooser: &Chooser, first: bool) -> Result<(), Failure> {
        let bytes = match self.format {
            Format::Text => self.text(snapshot, chooser, first).into_bytes(),
            Format::Csv => self.csv(snapshot, first).into_bytes(),
            Format::Json => json::line(&self.json(snapshot, chooser)),
        };
        Ok(terminal::print(&bytes)?)
    }

    fn rows<'a>(&self, snapshot: &'a Snapshot) -> &'a [crate::row::Row] {
        match self.level {
            Level::Image => &snapshot.images,
            Level::Process => &snapshot.processes,
        }
    }

    fn text(&self, snapshot: &Snapshot, chooser: &Chooser, first: bool) -> String {
        let mut text = String::new();
        if self.repeats {
            let gap = if first { "" } else { "\n" };
            text = format!("{gap}{}\n", self.paint.bold(&time::utc(snapshot.time)));
        }
        let rows = self.rows(snapshot);
        // The total of one row is that row.
        let total = (rows.len() > 1).then_some(&snapshot.total);
        let look = table::Look { style: self.style, width: terminal::columns(), paint: self.paint };
        text.push_str(&table::render(&self.columns, rows, total, look));
        if first && let Some(remark) = remark(snapshot, chooser) {
            terminal::remark(&remark);
        }
        text
    }

    fn csv(&self, snapshot: &Snapshot, first: bool) -> String {
        let mut text = if first { csv::heading(&self.columns) } else { String::new() };
        let time = time::unix_seconds(snapshot.time);
        text.push_str(&csv::rows(&self.columns, self.rows(snapshot), time));
        text
    }

    fn json(&self, snapshot: &Snapshot, chooser: &Chooser) -> Value {
        let kind = if self.level == Level::Image { "images" } else { "processes" };
        let mut document = json::document(kind);
        let mut add = |field: &str, value: Value| document.insert(field.to_owned(), value);
        add("images_from", json::source(chooser.source()));
        add("time_unix_seconds", json!(time::unix_seconds(snapshot.time)));
        add("window_seconds", json!(snapshot.window.map(|window| window.as_secs_f64())));
        let rows = self.rows(snapshot).iter().map(|row| json::row(&self.columns, row)).collect();
        add("rows", Value::Array(rows));
        add("total", json::total(&self.columns, &snapshot.total));
        add("unread", json::unread(&snapshot.health));
        Value::Object(document)
    }
}

/// Why there may be less to see than there is.
fn remark(snapshot: &Snapshot, chooser: &Chooser) -> Option<String> {
    let (matched, denied) = (snapshot.health.matched, snapshot.health.denied);
    let mut parts = Vec::new();
    for (file, denied) in [("io", denied.io), ("sockets", denied.fd)] {
        if denied > 0 {
            parts.push(format!("{file} of {denied} of {matched} processes may not be read"));
        }
    }
    if chooser.limited() > 0 {
        parts.push(format!("a rule gave up on {} command lines", chooser.limited()));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_spot() {
        let cases = [
            ("ab(c", 3, 1, "ab(c", "  ^"),
            ("日本(x", 3, 1, "日本(x", "    ^"),
            ("\x1b[日]", 3, 2, "\\x1b[日]", "     ^^^"),
            ("ab", 3, 1, "ab", "  ^"),
            ("", 1, 1, "", "^"),
        ];
        for (pattern, column, span, shown, marks) in cases {
            assert_eq!(marked(pattern, column, span), (shown.to_owned(), marks.to_owned()));
        }
    }
}

//! The table: images or processes, once or again and again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::source;
use crate::args::{Common, ConfArgs, Format, TableArgs};
use crate::choose::Chooser;
use crate::columns::{self, Column, Level};
use crate::exit::{Failure, Found};
use crate::measure::{self, Measurer, Snapshot};
use crate::terminal::{self, Paint, Progress};
use crate::units::Style;
use crate::{csv, harmless, json, table, time};

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
    let source = source::of(conf, &args.regex, args.no_conf)?;
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

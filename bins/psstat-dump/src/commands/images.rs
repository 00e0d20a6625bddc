//! The table: images or processes, once or again and again.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use psstat_matcher::Rule;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use signal_hook::consts::SIGINT;

use super::source;
use crate::args::{ConfArgs, Format, GlobalArgs, TableArgs};
use crate::exit::{Error, Outcome};
use crate::measure::average::Average;
use crate::measure::{self, Measurer, Snapshot};
use crate::selector::Selector;
use crate::table::columns::{self, Column, Level};
use crate::table::row::Row;
use crate::table::units::Style;
use crate::table::{csv, json};
use crate::terminal::{self, Paint, Progress};
use crate::{table, time};
use psstat_support::escape;

/// The window where no interval is given.
const WINDOW: Duration = Duration::from_secs(1);

/// Prints the table.
///
/// # Errors
/// See [`Failure`].
pub(super) fn run(
    global: &GlobalArgs,
    conf: &ConfArgs,
    args: &TableArgs,
) -> Result<Outcome, Error> {
    let level = if args.processes { Level::Process } else { Level::Image };
    let columns = chosen_columns(args, level, global.format())?;
    let sort = find_column(&args.sort, level)?;
    let source = source::load(conf, &args.regex, args.no_conf)?;
    let chooser = Selector::new(source, &args.images, measure::own_pid(&global.proc));
    let window = args.interval.unwrap_or(WINDOW);
    let mut progress = Progress::show("measuring …");
    let mut measurer = Measurer::new(&global.proc, window, chooser)?;
    let rounds = args.count.unwrap_or(if args.interval.is_some() { u64::MAX } else { 1 });
    let printer = Printer {
        format: global.format(),
        paint: Paint::new(global.color),
        style: if args.exact { Style::Exact } else { Style::Human },
        level,
        columns,
        repeats: rounds > 1,
    };
    let has_average = printer.repeats && printer.format == Format::Text;
    let interrupt = has_average.then(CtrlC::listen).transpose()?;
    let mut average = Average::default();
    let mut found = Outcome::NoMatch;
    let mut is_told = false;
    for round in 0..rounds {
        let due = measurer.open();
        if (round > 0 || !measurer.is_capture())
            && wait_until_or_interrupt(due, interrupt.as_ref())?
        {
            break;
        }
        let mut snapshot = measurer.close();
        if has_average {
            average.add(&snapshot);
        }
        progress = None;
        let rows = match level {
            Level::Image => &mut snapshot.images,
            Level::Process => &mut snapshot.processes,
        };
        columns::sort(rows, sort, args.reverse);
        if snapshot.total.numbers.procs > 0 {
            found = Outcome::Match;
        }
        printer.print(&snapshot, measurer.chooser(), round == 0)?;
        if let Some(gave_up) = gave_up(measurer.chooser()).filter(|_| !is_told) {
            // To a script, too: what it reads may be less than there is.
            terminal::eprint_line(&gave_up);
            is_told = true;
        }
    }
    drop(progress);
    if average.windows() > 1 {
        let mut rows = match level {
            Level::Image => average.images(),
            Level::Process => average.processes(),
        };
        columns::sort(&mut rows, sort, args.reverse);
        let title = format!("average of {} tables", average.windows());
        terminal::print(printer.table(&title, &rows, average.total().as_ref()).as_bytes())?;
    }
    if found == Outcome::NoMatch {
        terminal::eprint_line("psstat-dump: no process matches");
    }
    Ok(found)
}

/// ctrl-c, which ends the tables with their average. A second one ends the
/// program at once, should it be held up.
struct CtrlC(UnixStream);

impl CtrlC {
    fn listen() -> io::Result<CtrlC> {
        let (reader, writer) = UnixStream::pair()?;
        let came = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register_conditional_default(SIGINT, Arc::clone(&came))?;
        signal_hook::flag::register(SIGINT, came)?;
        signal_hook::low_level::pipe::register(SIGINT, writer)?;
        Ok(CtrlC(reader))
    }
}

/// Waits for a moment; tells whether ctrl-c came first.
fn wait_until_or_interrupt(due: Instant, interrupt: Option<&CtrlC>) -> io::Result<bool> {
    let Some(CtrlC(reader)) = interrupt else {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        return Ok(false);
    };
    loop {
        let left = due.saturating_duration_since(Instant::now());
        // An interval is a day at most.
        let left = Timespec::try_from(left).unwrap_or_default();
        match poll(&mut [PollFd::new(reader, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            // By a signal; which one, the next look tells.
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn find_column(key: &str, level: Level) -> Result<&'static Column, Error> {
    columns::find(key, level).ok_or_else(|| {
        let known: Vec<_> = columns::cell(level).map(|column| column.key).collect();
        let key = escape::text(key);
        let rows = if level == Level::Image { "images" } else { "processes" };
        Error::Usage(format!("{rows} have no column `{key}`, but: {}", known.join(", ")))
    })
}

fn chosen_columns(
    args: &TableArgs,
    level: Level,
    format: Format,
) -> Result<Vec<&'static Column>, Error> {
    if !args.columns.is_empty() {
        return args.columns.iter().map(|key| find_column(key, level)).collect();
    }
    // A script picks what it wants by name.
    Ok(columns::cell(level).filter(|column| column.shown || format != Format::Text).collect())
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
    fn print(&self, snapshot: &Snapshot, chooser: &Selector, first: bool) -> Result<(), Error> {
        let bytes = match self.format {
            Format::Text => self.text(snapshot, first).into_bytes(),
            Format::Csv => self.csv(snapshot, first).into_bytes(),
            Format::Json => json::line(&self.json(snapshot, chooser)),
        };
        Ok(terminal::print(&bytes)?)
    }

    fn rows<'a>(&self, snapshot: &'a Snapshot) -> &'a [Row] {
        match self.level {
            Level::Image => &snapshot.images,
            Level::Process => &snapshot.processes,
        }
    }

    fn text(&self, snapshot: &Snapshot, first: bool) -> String {
        if first && let Some(remark) = remark(snapshot) {
            terminal::hint(&remark);
        }
        let table = self.table(
            &time::format_utc(snapshot.time),
            self.rows(snapshot),
            Some(&snapshot.total),
        );
        // Without the empty line between two tables.
        if first { table.trim_start_matches('\n').to_owned() } else { table }
    }

    /// A table with its title, where there are several.
    fn table(&self, title: &str, rows: &[Row], total: Option<&Row>) -> String {
        let title =
            if self.repeats { format!("\n{}\n", self.paint.bold(title)) } else { String::new() };
        // The total of one row is that row.
        let total = total.filter(|_| rows.len() > 1);
        let look =
            table::TableStyle { style: self.style, width: terminal::columns(), paint: self.paint };
        title + &table::render(&self.columns, rows, total, look)
    }

    fn csv(&self, snapshot: &Snapshot, first: bool) -> String {
        let mut text = if first { csv::heading(&self.columns) } else { String::new() };
        let time = time::unix_seconds(snapshot.time);
        text.push_str(&csv::rows(&self.columns, self.rows(snapshot), time));
        text
    }

    fn json(&self, snapshot: &Snapshot, chooser: &Selector) -> Value {
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
        let gave_up = chooser.gave_up().into_iter();
        let gave_up = gave_up.map(|(image, rule)| json!({"image": image, "line": rule.line()}));
        add("rules_gave_up", gave_up.collect());
        Value::Object(document)
    }
}

/// Why there may be less to see than there is.
fn remark(snapshot: &Snapshot) -> Option<String> {
    let (matched, denied) = (snapshot.health.matched, snapshot.health.denied);
    let mut parts = Vec::new();
    for (file, denied) in [("io", denied.io), ("sockets", denied.fd)] {
        if denied > 0 {
            parts.push(format!("{file} of {denied} of {matched} processes may not be read"));
        }
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Which rules hit their step limit.
fn gave_up(chooser: &Selector) -> Option<String> {
    let rule = |(image, rule): (&str, &Rule)| match rule.line() {
        Some(line) => format!("{image} (line {line})"),
        None => escape::bytes(rule.pattern()),
    };
    let rules: Vec<String> = chooser.gave_up().into_iter().map(rule).collect();
    (!rules.is_empty()).then(|| {
        let rules = rules.join(", ");
        format!(
            "psstat-dump: hit their step limit, so that processes may be missing: rules {rules}"
        )
    })
}

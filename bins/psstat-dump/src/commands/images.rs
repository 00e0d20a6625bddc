//! The table of images or processes, once or repeatedly.

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
use crate::args::{ConfArgs, Format, GlobalArgs, TableArgs, similar_command};
use crate::conf;
use crate::exit::{Error, Outcome};
use crate::measure::average::Average;
use crate::measure::{Measurer, Snapshot};
use crate::rule_arg::DEFAULT_IMAGE;
use crate::selector::{Selector, Source};
use crate::table::columns::{self, Column, Level};
use crate::table::row::Row;
use crate::table::units::{self, Style};
use crate::table::{csv, json};
use crate::terminal::{self, Paint, Progress};
use crate::{table, time};
use psstat_support::escape;
use psstat_support::sleep::sleep_until;

/// The window without `--interval`.
const WINDOW: Duration = Duration::from_secs(1);

pub(super) fn run(
    global: &GlobalArgs,
    conf: &ConfArgs,
    args: &TableArgs,
) -> Result<Outcome, Error> {
    let level = if args.processes { Level::Process } else { Level::Image };
    let selected = selected_columns(args, level, global.format())?;
    let sort = find_column(&args.sort, level)?;
    let source = source::load(conf, &args.regex, args.no_conf)?;
    let selector = Selector::new(source, &args.images, &global.proc, args.ancestors);
    let window = args.interval.unwrap_or(WINDOW);
    let mut progress = Progress::show("measuring …");
    // The default columns of JSON and CSV read nothing in addition.
    let requested = if args.columns.is_empty() { &[][..] } else { &selected };
    let groups = columns::groups(requested.iter().copied().chain([sort]));
    let mut measurer = Measurer::new(&global.proc, window, selector, groups)?;
    measurer.set_kernel_threads(args.kernel_threads);
    let tables = args.count.unwrap_or(if args.interval.is_some() { u64::MAX } else { 1 });
    let printer = Printer {
        format: global.format(),
        paint: Paint::new(global.color),
        style: if args.exact { Style::Exact } else { Style::Human },
        level,
        columns: selected,
        repeats: tables > 1,
    };
    let has_average = printer.repeats && printer.format == Format::Text;
    let interrupt = has_average.then(CtrlC::listen).transpose()?;
    let mut average = Average::default();
    let mut outcome = Outcome::NoMatch;
    let mut has_warned = false;
    for number in 0..tables {
        let due = measurer.open();
        if (number > 0 || !measurer.is_capture())
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
        if snapshot.total.numbers.processes > 0 {
            outcome = Outcome::Match;
        } else if number == 0 && printer.format == Format::Text {
            reject_typo(args, measurer.selector())?;
        }
        printer.print(&snapshot, measurer.selector(), number == 0)?;
        if !has_warned && let Some(warning) = step_limit_warning(measurer.selector()) {
            // Also for scripts: the output may be incomplete.
            terminal::eprint_line(&warning);
            has_warned = true;
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
    if outcome == Outcome::NoMatch {
        source::report_no_match(&args.regex);
    }
    Ok(outcome)
}

/// An error if the arguments seem to be a mistyped command instead of an image.
fn reject_typo(args: &TableArgs, selector: &Selector) -> Result<(), Error> {
    let is_configured = |name: &str| match selector.source() {
        Source::Conf { rules, .. } => rules.images().iter().any(|image| image.as_str() == name),
        Source::Executable | Source::Regex(_) => false,
    };
    let name = args.images.first().map_or("", |image| image.as_str());
    match similar_command(name) {
        Some(command) if !is_configured(name) => Err(Error::Usage(format!(
            "no process matches the image `{name}`; did you mean the command `{command}`?"
        ))),
        _ => Ok(()),
    }
}

/// ctrl-c, which ends the tables with their average. A second one ends the
/// program immediately, in case it is blocked.
struct CtrlC(UnixStream);

impl CtrlC {
    fn listen() -> io::Result<CtrlC> {
        let (reader, writer) = UnixStream::pair()?;
        let received = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register_conditional_default(SIGINT, Arc::clone(&received))?;
        signal_hook::flag::register(SIGINT, received)?;
        signal_hook::low_level::pipe::register(SIGINT, writer)?;
        Ok(CtrlC(reader))
    }
}

/// Waits until `due`. Returns whether ctrl-c was received before.
fn wait_until_or_interrupt(due: Instant, interrupt: Option<&CtrlC>) -> io::Result<bool> {
    let Some(CtrlC(reader)) = interrupt else {
        sleep_until(due);
        return Ok(false);
    };
    loop {
        let remaining = due.saturating_duration_since(Instant::now());
        // An interval is at most a day.
        let remaining = Timespec::try_from(remaining).unwrap_or_default();
        match poll(&mut [PollFd::new(reader, PollFlags::IN)], Some(&remaining)) {
            Ok(ready) => return Ok(ready > 0),
            // A signal; the next poll detects ctrl-c.
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

pub(super) fn find_column(key: &str, level: Level) -> Result<&'static Column, Error> {
    columns::find(key, level).ok_or_else(|| {
        let available: Vec<_> = columns::columns(level).map(|column| column.key).collect();
        let key = escape::text(key);
        let rows = if level == Level::Image { "images" } else { "processes" };
        Error::Usage(format!("no column `{key}` for {rows}; available: {}", available.join(", ")))
    })
}

fn selected_columns(
    args: &TableArgs,
    level: Level,
    format: Format,
) -> Result<Vec<&'static Column>, Error> {
    if !args.columns.is_empty() {
        return args.columns.iter().map(|key| find_column(key, level)).collect();
    }
    // Scripts select fields by name.
    Ok(columns::columns(level)
        .filter(|column| {
            let is_state = args.kernel_threads && column.key == "state";
            let is_in_document = format != Format::Text && column.is_in_documents();
            column.is_default || is_state || is_in_document
        })
        .collect())
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
    fn print(&self, snapshot: &Snapshot, selector: &Selector, first: bool) -> Result<(), Error> {
        let bytes = match self.format {
            Format::Text => self.text(snapshot, first).into_bytes(),
            Format::Csv => self.csv(snapshot, first).into_bytes(),
            Format::Json => json::line(&self.json(snapshot, selector)),
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
        if first && let Some(hint) = denied_hint(snapshot) {
            terminal::hint(&hint);
        }
        let table = self.table(
            &time::format_utc(snapshot.time),
            self.rows(snapshot),
            Some(&snapshot.total),
        );
        // Without the empty line that separates tables.
        if first { table.trim_start_matches('\n').to_owned() } else { table }
    }

    /// A table, with its title if there are several tables.
    fn table(&self, title: &str, rows: &[Row], total: Option<&Row>) -> String {
        let title =
            if self.repeats { format!("\n{}\n", self.paint.bold(title)) } else { String::new() };
        // The total of a single row is that row.
        let total = total.filter(|_| rows.len() > 1);
        let style =
            table::TableStyle { style: self.style, width: terminal::columns(), paint: self.paint };
        title + &table::render(&self.columns, rows, total, style)
    }

    fn csv(&self, snapshot: &Snapshot, first: bool) -> String {
        let mut text = if first { csv::heading(&self.columns) } else { String::new() };
        let time = time::unix_seconds(snapshot.time);
        text.push_str(&csv::rows(&self.columns, self.rows(snapshot), time));
        text
    }

    fn json(&self, snapshot: &Snapshot, selector: &Selector) -> Value {
        let kind = if self.level == Level::Image { "images" } else { "processes" };
        let mut document = json::document(kind);
        let mut add = |field: &str, value: Value| document.insert(field.to_owned(), value);
        add("images_from", json::source(selector.source()));
        add("time_unix_seconds", json!(time::unix_seconds(snapshot.time)));
        add("window_seconds", json!(snapshot.window.map(|window| window.as_secs_f64())));
        let rows = self.rows(snapshot).iter().map(|row| json::row(&self.columns, row)).collect();
        add("rows", Value::Array(rows));
        add("total", json::total(&self.columns, &snapshot.total));
        add("unread", json::unread(&snapshot.health));
        let limited = selector.step_limited_rules().into_iter();
        let limited = limited.map(|(image, rule)| json!({"image": image, "file": conf::file_of(rule), "line": rule.line()}));
        add("step_limited_rules", limited.collect());
        Value::Object(document)
    }
}

/// A hint about files that this user may not read.
fn denied_hint(snapshot: &Snapshot) -> Option<String> {
    let (matched, denied) = (snapshot.health.matched, snapshot.health.denied);
    let mut parts = Vec::new();
    for (file, denied) in [("io", denied.io), ("sockets", denied.fd)] {
        if denied > 0 {
            let matched = units::count(matched, "process", "processes");
            parts.push(format!("permission denied for {file} of {denied} of {matched}"));
        }
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// A warning about rules that exceeded their step limit.
fn step_limit_warning(selector: &Selector) -> Option<String> {
    let has_several_files = selector.source().has_several_files();
    let rule = |(image, rule): (&str, &Rule)| match conf::place(rule, has_several_files) {
        Some(place) => format!("{image} ({place})"),
        None if image == DEFAULT_IMAGE => escape::bytes(rule.pattern()),
        None => format!("{image}={}", escape::bytes(rule.pattern())),
    };
    let rules: Vec<String> = selector.step_limited_rules().into_iter().map(rule).collect();
    (!rules.is_empty()).then(|| {
        let rules = rules.join(", ");
        format!(
            "psstat-dump: rules exceeded their step limit, so processes may be missing: {rules}"
        )
    })
}

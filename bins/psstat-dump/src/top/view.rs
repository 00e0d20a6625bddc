//! Draws the live view.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style as CellStyle};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::app::{App, Key, Mode};
use super::column_set::{BAR_WIDTH, CONNECTIONS_WIDTH, ColumnSet};
use super::history::{LENGTH, connections};
use super::wrap::rows;
use crate::table::columns::{self, Level};
use crate::table::row::Row;
use crate::table::units::{self, Style};
use crate::{table, time};
use psstat_support::escape;

/// The width of the number of processes, with a space before and after it.
const PROCESSES_WIDTH: usize = 7;
/// The minimum and maximum width of the name.
const NAME_WIDTH: std::ops::RangeInclusive<usize> = 8..=28;

const KEYS: &str =
    "q quit  / filter  s sort  space expand  enter open  c columns  h history  ? help";

const HELP: &str = "\
up, down, j, k       move by a line; also page up, page down, home, end
space, left, right   expand an image into its processes, or collapse it
enter                expand an image; show details of a process (esc: back)
s, S                 sort by the next column, by the previous column
r                    reverse the sort order
/                    filter as you type: images with this text in their name or
                     in a command line; enter keeps the filter, esc clears it;
                     ctrl-u deletes the text, ctrl-w its last word
c                    switch the columns: descriptors, starts, exits, ages
h                    switch the history: CPU, memory, io, connections
K                    show or hide kernel threads
p                    pause or continue
q, ctrl-c            quit
ctrl-z               suspend, until `fg` continues

Press any key to go back.";

const REPLAY_KEYS: &str =
    "q quit  left/right step  space play  t time  / filter  s sort  enter open  ? help";

const REPLAY_HELP: &str = "\
left, right          show the window before, the window after
[, ]                 60 windows back, 60 windows on
{, }                 the first window, the last window
space, p             play or stop
+, -                 play faster, slower
t                    go to a time: 23:59, 2026-01-31 23:59:59, -10m (before the end)
";

/// The keys. Those of a recording come first, and replace some others.
fn help(app: &App) -> String {
    if app.playback.is_none() {
        return HELP.to_owned();
    }
    let is_replaced =
        |line: &&str| ["space, left", "K ", "p  "].iter().any(|start| line.starts_with(start));
    let others: Vec<&str> = HELP.lines().filter(|line| !is_replaced(line)).collect();
    REPLAY_HELP.to_owned() + &others.join("\n")
}

/// Draws the state.
pub fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let area = frame.area();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    app.width = width;
    let app = &*app;
    let mut lines: Vec<Line<'_>> = Vec::new();
    match &app.mode {
        Mode::Report { lines: report, first } => {
            let rows = rows(report, width);
            // A wider screen has fewer rows than before.
            let first = (*first).min(rows.len().saturating_sub(1));
            lines.extend(rows.into_iter().skip(first).take(height).map(Line::from));
        }
        Mode::Help => lines.extend(help(app).lines().map(|line| Line::from(fit(line, width)))),
        Mode::List | Mode::Filter | Mode::Time(_) => {
            lines.extend(header(app).into_iter().map(|line| Line::from(fit(&line, width))));
            list(app, width, height.saturating_sub(lines.len() + 1), &mut lines);
            lines.truncate(height.saturating_sub(1));
            lines.resize(height.saturating_sub(1), Line::default());
            lines.push(fit(&footer(app), width).into());
        }
    }
    frame.render_widget(Paragraph::new(lines), Rect::new(0, 0, area.width, area.height));
}

fn fit(line: &str, width: usize) -> String {
    escape::truncate(&escape::text(line), width)
}

/// Time, totals, and overhead.
fn header(app: &App) -> [String; 2] {
    let Some(snapshot) = &app.snapshot else {
        return ["measuring …".to_owned(), String::new()];
    };
    // First, so that it is visible on a narrow terminal.
    let paused = if app.paused { "PAUSED  " } else { "" };
    let cost =
        match snapshot.window.filter(|_| app.playback.is_none()).map(|window| window.as_secs_f64())
        {
            Some(window) => {
                let cost = app.cost.as_secs_f64();
                let share = if window > 0.0 { cost / window * 100.0 } else { 0.0 };
                format!("overhead: {:.1} ms CPU in {window:.2} s ({share:.1} %)", cost * 1000.0)
            }
            None => match &app.playback {
                Some(playback) => playback.line(),
                None => "captured /proc: values do not change".to_owned(),
            },
        };
    let total = &snapshot.total;
    let cell = |value: Option<String>| value.unwrap_or("-".to_owned());
    [
        format!(
            "{paused}{}  {}, {}, CPU {}, RSS {}",
            time::format_utc(snapshot.time),
            units::count(total.numbers.processes, "process", "processes"),
            units::count(snapshot.images.len() as u64, "image", "images"),
            cell(total.numbers.cpu_percent.map(|pcpu| units::percent(pcpu, Style::Human) + " %")),
            cell(
                total.numbers.rss.map(|rss| {
                    units::bytes(i64::try_from(rss).unwrap_or(i64::MAX), Style::Human)
                })
            ),
        ),
        cost,
    ]
}

fn footer(app: &App) -> String {
    let keys = if app.playback.is_some() { REPLAY_KEYS } else { KEYS };
    match (&app.mode, app.filter.is_empty()) {
        (Mode::Time(text), _) => format!("time: {text}_  (23:59, 2026-01-31 23:59:59, -10m)"),
        (Mode::Filter, _) => format!("filter: {}_", app.filter),
        (_, false) => format!("filter: {}  (esc clears)  {keys}", app.filter),
        _ => keys.to_owned(),
    }
}

fn list(app: &App, width: usize, height: usize, out: &mut Vec<Line<'static>>) {
    let numbers_width = PROCESSES_WIDTH + app.columns().map_or(0, ColumnSet::width);
    let name =
        width.saturating_sub(numbers_width + 9).clamp(*NAME_WIDTH.start(), *NAME_WIDTH.end());
    let history = width.saturating_sub(numbers_width + name + 1).min(LENGTH);
    let sort = app.sort_key();
    let heading = |key: &str, text: &str| {
        // The sort column is marked.
        if key == sort {
            format!("{text}{}", if app.reverse { '^' } else { 'v' })
        } else {
            text.to_owned()
        }
    };
    let mut title = format!("{:<name$} {:>5} ", heading("image", "IMAGE"), "PROCS");
    let set = app.columns();
    let has_bar = set.is_some_and(|set| set.has_bar);
    if has_bar {
        title.push_str(&" ".repeat(BAR_WIDTH + 1));
    }
    for shown in set.iter().flat_map(|set| &set.columns) {
        let column = shown.of(Level::Image);
        let text = heading(shown.key, column.map_or("", |column| column.heading));
        title.push_str(&format!("{text:>width$} ", width = shown.width));
    }
    if has_bar {
        title.push_str(&format!("{:>CONNECTIONS_WIDTH$} ", "CONN"));
    }
    title.push_str(app.metric.heading());
    let bold = CellStyle::new().add_modifier(Modifier::BOLD);
    out.push(Line::styled(fit(&title, width), bold));
    let lines = app.lines();
    let at = app.position(&lines);
    let room = height.saturating_sub(1);
    // The selected line is always visible.
    let from = at.saturating_sub(room.saturating_sub(1));
    for (number, (key, row)) in lines.iter().enumerate().skip(from).take(room) {
        let text = match key {
            Key::Image(image) => {
                let mark = if app.is_expanded(image) { '-' } else { '+' };
                let sparkline =
                    app.histories.get(image).map(|one| one.sparkline(app.metric, history));
                numbers(app, row, &format!("{mark}{image}"), name) + &sparkline.unwrap_or_default()
            }
            Key::Process(_, pid) => {
                let cell = |key: &str| {
                    let column = columns::find(key, Level::Process);
                    column.map_or(String::new(), |column| {
                        table::cell(&(column.get)(row), Style::Human)
                    })
                };
                let state = row.id.as_ref().and_then(|id| id.state).map(|_| cell("state") + " ");
                let state = state.unwrap_or_default();
                numbers(app, row, &format!("   {pid}"), name) + &state + &cell("command")
            }
        };
        let style = if number == at {
            CellStyle::new().add_modifier(Modifier::REVERSED)
        } else {
            CellStyle::new()
        };
        out.push(Line::styled(fit(&text, width), style));
    }
}

fn numbers(app: &App, row: &Row, label: &str, name: usize) -> String {
    let set = app.columns();
    let has_bar = set.is_some_and(|set| set.has_bar);
    let level = if row.id.is_some() { Level::Process } else { Level::Image };
    let label = escape::truncate(label, name);
    let mut text = format!("{label:<name$} {:>5} ", row.numbers.processes);
    if has_bar {
        text.push_str(&bar(row.numbers.cpu_percent));
        text.push(' ');
    }
    for shown in set.iter().flat_map(|set| &set.columns) {
        let column = shown.of(level);
        let cell =
            column.map_or(String::new(), |column| table::cell(&(column.get)(row), Style::Human));
        text.push_str(&format!("{cell:>width$} ", width = shown.width));
    }
    if has_bar {
        let connections = connections(row).map_or("-".to_owned(), |count| count.to_string());
        text.push_str(&format!("{connections:>CONNECTIONS_WIDTH$} "));
    }
    text
}

/// CPU usage as a bar that is full at one core.
fn bar(pcpu: Option<f64>) -> String {
    // Negative values and NaN become 0.
    let eighths = (pcpu.unwrap_or(0.0) / 100.0 * BAR_WIDTH as f64).round() as usize;
    let full = eighths.min(BAR_WIDTH);
    "#".repeat(full) + &".".repeat(BAR_WIDTH - full)
}

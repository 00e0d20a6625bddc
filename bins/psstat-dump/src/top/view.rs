//! The screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style as Look};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::app::{App, Key, Mode};
use super::history::{LENGTH, connections};
use super::wrap::rows;
use crate::table::columns::{self, Level};
use crate::table::row::Row;
use crate::table::units::{self, Style};
use crate::{table, time};
use psstat_support::escape;

/// How wide the bar of CPU is.
const BAR: usize = 8;
/// What a line has beside the name and the history, spaces included.
const NUMBERS: usize = 54;
/// The narrowest name, and the widest.
const NAME: std::ops::RangeInclusive<usize> = 8..=28;

const KEYS: &str = "q quit  / filter  s sort  space unfold  enter page  p pause  h history  ? help";

const HELP: &str = "\
up, down, j, k       go a line; page up, page down, home, end go further
space, left, right   unfold an image into its processes, or fold it
enter                unfold an image; open a process's page, esc leaves it
s, S                 sort by the next column, by the one before
r                    sort the other way round
/                    filter as you type: images with this in their name or in
                     a command line; enter keeps it, esc clears it; ctrl-u
                     deletes what was typed, ctrl-w its last word
h                    the history of CPU, memory, io or connections
p                    pause, and go on
q, ctrl-c            quit
ctrl-z               stop, until `fg` goes on

Any key leaves this page.";

/// Draws what the app shows.
pub fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let area = frame.area();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    app.width = width;
    let app = &*app;
    let mut lines: Vec<Line<'_>> = Vec::new();
    match &app.mode {
        Mode::Page { lines: page, from } => {
            let rows = rows(page, width);
            // A wider screen has fewer of them than there were.
            let from = (*from).min(rows.len().saturating_sub(1));
            lines.extend(rows.into_iter().skip(from).take(height).map(Line::from));
        }
        Mode::Help => lines.extend(HELP.lines().map(|line| Line::from(fit(line, width)))),
        Mode::List | Mode::Filter => {
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

/// When, how much there is, and what looking at it costs.
fn header(app: &App) -> [String; 2] {
    let Some(snapshot) = &app.snapshot else {
        return ["measuring …".to_owned(), String::new()];
    };
    // First, so that no narrow terminal cuts it off.
    let paused = if app.paused { "PAUSED  " } else { "" };
    let cost = match snapshot.window.map(|window| window.as_secs_f64()) {
        Some(window) => {
            let cost = app.cost.as_secs_f64();
            let share = if window > 0.0 { cost / window * 100.0 } else { 0.0 };
            format!("looking cost {:.1} ms of CPU in {window:.2} s ({share:.1} %)", cost * 1000.0)
        }
        None => "this is a copy of a procfs; it stands still".to_owned(),
    };
    let total = &snapshot.total;
    let cell = |value: Option<String>| value.unwrap_or("-".to_owned());
    [
        format!(
            "{paused}{}  {}, {}, CPU {}, RSS {}",
            time::format_utc(snapshot.time),
            units::count(total.numbers.procs, "process", "processes"),
            units::count(snapshot.images.len() as u64, "image", "images"),
            cell(total.numbers.pcpu.map(|pcpu| units::percent(pcpu, Style::Human) + " %")),
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
    match (&app.mode, app.filter.is_empty()) {
        (Mode::Filter, _) => format!("filter: {}_", app.filter),
        (_, false) => format!("filter: {}  (esc clears)  {KEYS}", app.filter),
        _ => KEYS.to_owned(),
    }
}

fn list(app: &App, width: usize, height: usize, out: &mut Vec<Line<'static>>) {
    let name = width.saturating_sub(NUMBERS + 9).clamp(*NAME.start(), *NAME.end());
    let history = width.saturating_sub(NUMBERS + name + 1).min(LENGTH);
    let sort = app.sort_key();
    let heading = |key: &str, text: &str| {
        // The column by which is sorted is marked.
        if key == sort {
            format!("{text}{}", if app.reverse { '^' } else { 'v' })
        } else {
            text.to_owned()
        }
    };
    let title = format!(
        "{:<name$} {:>5} {:<BAR$} {:>6} {:>6} {:>8} {:>8} {:>5} {}",
        heading("image", "IMAGE"),
        "PROCS",
        "",
        heading("pcpu", "%CPU"),
        heading("rss", "RSS"),
        heading("rchar/s", "RCHAR/S"),
        heading("wchar/s", "WCHAR/S"),
        "CONN",
        app.measure.heading(),
    );
    let bold = Look::new().add_modifier(Modifier::BOLD);
    out.push(Line::styled(fit(&title, width), bold));
    let lines = app.lines();
    let at = app.position(&lines);
    let room = height.saturating_sub(1);
    // The current line is always there.
    let from = at.saturating_sub(room.saturating_sub(1));
    for (number, (key, row)) in lines.iter().enumerate().skip(from).take(room) {
        let text = match key {
            Key::Image(image) => {
                let mark = if app.is_unfolded(image) { '-' } else { '+' };
                let bars = app.histories.get(image).map(|one| one.sparkline(app.measure, history));
                numbers(row, &format!("{mark}{image}"), name) + &bars.unwrap_or_default()
            }
            Key::Process(_, pid) => {
                let who = row.who.as_ref();
                let command = who.map(|who| escape::bytes(&who.command_line));
                numbers(row, &format!("   {pid}"), name) + &command.unwrap_or_default()
            }
        };
        let look =
            if number == at { Look::new().add_modifier(Modifier::REVERSED) } else { Look::new() };
        out.push(Line::styled(fit(&text, width), look));
    }
}

fn numbers(row: &Row, label: &str, name: usize) -> String {
    let label = escape::truncate(label, name);
    let cell = |key: &str| {
        let column = columns::find(key, Level::Image);
        column.map_or(String::new(), |column| table::cell(&(column.get)(row), Style::Human))
    };
    let connections = connections(row).map_or("-".to_owned(), |count| count.to_string());
    format!(
        "{label:<name$} {:>5} {} {:>6} {:>6} {:>8} {:>8} {connections:>5} ",
        row.numbers.procs,
        bar(row.numbers.pcpu),
        cell("pcpu"),
        cell("rss"),
        cell("rchar/s"),
        cell("wchar/s"),
    )
}

/// CPU as a bar that is full at one core.
fn bar(pcpu: Option<f64>) -> String {
    // Negative and not-a-number become 0.
    let eighths = (pcpu.unwrap_or(0.0) / 100.0 * BAR as f64).round() as usize;
    let full = eighths.min(BAR);
    "#".repeat(full) + &".".repeat(BAR - full)
}

//! The list of images and processes.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style as CellStyle;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::{fit, pad};
use crate::table;
use crate::table::columns::{self, Cell, Level};
use crate::table::row::Row;
use crate::table::units::{self, Style};
use crate::top::app::{App, Key, Places};
use crate::top::entries::Entry;
use crate::top::history::{self, Metric};
use crate::top::layout::{BAR, Layout, Shown};
use crate::top::settings::View;
use crate::top::theme::{Meaning, Theme};
use psstat_support::escape;

/// The scales that all rows have.
struct Scales {
    /// Of the bar, in percent of a core.
    bar: f64,
    /// Of the histories.
    history: f64,
}

impl Scales {
    fn of(app: &App) -> Scales {
        let metric = app.settings.history;
        let highest = app.tracks.histories.values().map(|one| one.highest(metric));
        let rows = app.snapshot.iter().flat_map(|snapshot| &snapshot.images);
        let pcpu = rows.filter_map(|row| row.numbers.cpu_percent).fold(0.0, f64::max);
        Scales {
            bar: history::scale(Metric::Cpu, pcpu),
            history: history::scale(metric, highest.fold(0.0, f64::max)),
        }
    }
}

/// Draws the heading and the lines.
pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    if area.height == 0 || app.snapshot.is_none() {
        return;
    }
    let layout = app.layout();
    let scales = Scales::of(app);
    let room = usize::from(area.height).saturating_sub(1);
    let at = app.position();
    // The selected line is always visible, and lines do not move without need.
    let most = app.entries.len().saturating_sub(room);
    let first = app.places.first.min(at).max((at + 1).saturating_sub(room)).min(most);
    let (heading, headings) = heading(app, &layout, &scales);
    app.places = Places { heading: Some(area.y), headings, first, room };
    let mut lines = vec![heading];
    for (number, entry) in app.entries.iter().enumerate().skip(first).take(room) {
        let Some(row) = app.row(entry) else { continue };
        let mut line = line(app, &layout, &scales, entry, row);
        if number == at {
            let rest = usize::from(area.width).saturating_sub(line.width());
            line.push_span(" ".repeat(rest));
            line = line.patch_style(app.theme.style(Meaning::Selected));
            if !app.theme.has_attributes
                && let Some(span) = line.spans.first_mut()
            {
                let rest: String = span.content.chars().skip(1).collect();
                span.content = format!(">{rest}").into();
            }
        }
        lines.push(line);
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// The heading, and the places of its parts.
fn heading(
    app: &App,
    layout: &Layout,
    scales: &Scales,
) -> (Line<'static>, Vec<(u16, u16, &'static str)>) {
    let sort = app.sort_column().map_or("", |column| column.key);
    let marked = |key: &str, text: &str| {
        // The sort column is marked.
        if key == sort {
            format!("{text}{}", if app.settings.reverse { '^' } else { 'v' })
        } else {
            text.to_owned()
        }
    };
    let (mut text, mut places) = (String::new(), Vec::new());
    let mut add = |key: &'static str, part: &str| {
        let from = u16::try_from(escape::width(&text)).unwrap_or(u16::MAX);
        text.push_str(part);
        let to = u16::try_from(escape::width(&text)).unwrap_or(u16::MAX).saturating_sub(1);
        places.push((from, to.max(from), key));
    };
    match layout.level {
        Level::Image => {
            add("image", &pad(&marked("image", "IMAGE"), layout.name + 1, true));
            add("processes", &pad(&(marked("processes", "PROCS") + " "), layout.processes, false));
        }
        Level::Process => add("pid", &(pad(&marked("pid", "PID"), layout.name, false) + " ")),
    }
    for one in &layout.shown {
        let name = match one.key {
            BAR => pad(&format!("0-{:.0} %", scales.bar), one.width, true),
            key => {
                let heading = columns::find(key, layout.level).map_or("", |column| column.heading);
                pad(&marked(key, heading), one.width, one.is_text)
            }
        };
        let key = if one.key == BAR { "pcpu" } else { one.key };
        add(key, &(name + " "));
    }
    match layout.level {
        Level::Image => text.push_str(&fit(&history_heading(app, scales), layout.tail)),
        Level::Process => add("command", &fit(&marked("command", "COMMAND"), layout.tail)),
    }
    (Line::styled(text, app.theme.style(Meaning::Heading)), places)
}

/// The metric of the histories and its scale.
fn history_heading(app: &App, scales: &Scales) -> String {
    let metric = app.settings.history;
    let end = match metric {
        Metric::Cpu => format!("{:.0} %", scales.history),
        Metric::Memory | Metric::Io => units::byte_rate(scales.history, Style::Human),
        Metric::Connections => format!("{:.0}", scales.history),
    };
    format!("{} 0-{}", metric.heading(), end.replace(".0", ""))
}

/// The line of an image or a process.
fn line(app: &App, layout: &Layout, scales: &Scales, entry: &Entry, row: &Row) -> Line<'static> {
    let theme = app.theme;
    let is_process = row.id.is_some();
    let is_new = is_process && !entry.is_exited() && app.tracks.is_new(row);
    let mut spans = vec![Span::raw(label(app, layout, entry))];
    let is_without = !is_process && row.numbers.processes == 0 && row.numbers.exits > 0;
    spans.push(match (entry.is_exited() || is_without, is_new) {
        (true, _) => Span::raw("x"),
        (_, true) => Span::styled("*", theme.style(Meaning::New)),
        _ => Span::raw(" "),
    });
    if layout.processes > 0 {
        let count = row.numbers.processes.to_string();
        let count = if is_process { String::new() } else { count };
        spans.push(Span::raw(pad(&(count + " "), layout.processes, false)));
    }
    let is_member = is_process && layout.level == Level::Image;
    let (shown, tail) =
        if is_member { layout.of_member() } else { (&layout.shown[..], layout.tail) };
    for one in shown {
        push_cell(&mut spans, app, scales, *one, row);
    }
    let end = match &entry.key {
        Key::Image(image) => {
            let history = app.tracks.histories.get(image);
            let metric = app.settings.history;
            history.map(|one| one.sparkline(metric, tail, scales.history)).unwrap_or_default()
        }
        Key::Process(..) => {
            let value = |key| cell(key, Level::Process, row);
            let has_state = shown.iter().any(|one| one.key == "state");
            let state = row.id.as_ref().and_then(|id| id.state).filter(|_| !has_state);
            let state = state.map(|_| value("state") + " ").unwrap_or_default();
            // The state of a process that has exited is that of a moment before.
            let state = if entry.is_exited() { String::new() } else { state };
            escape::truncate(&format!("{}{state}{}", entry.guide, value("command")), tail)
        }
    };
    spans.push(Span::raw(end));
    let line = Line::from(spans);
    if entry.is_exited() || is_without {
        line.patch_style(theme.style(Meaning::Exited))
    } else {
        line
    }
}

fn label(app: &App, layout: &Layout, entry: &Entry) -> String {
    match &entry.key {
        Key::Image(image) => {
            let mark = if app.is_expanded(image) { '-' } else { '+' };
            pad(&format!("{mark}{}", escape::text(image)), layout.name, true)
        }
        Key::Process(_, pid) if app.settings.view == View::Images => {
            pad(&format!("   {pid}"), layout.name, true)
        }
        Key::Process(_, pid) => pad(&pid.to_string(), layout.name, false),
    }
}

/// The text of a value.
fn cell(key: &str, level: Level, row: &Row) -> String {
    let column = columns::find(key, level);
    column.map_or(String::new(), |column| table::cell(&(column.get)(row), Style::Human))
}

/// A column of a row, and the space after it, which can have a mark.
fn push_cell(spans: &mut Vec<Span<'static>>, app: &App, scales: &Scales, one: Shown, row: &Row) {
    let theme = app.theme;
    if one.key == BAR {
        let pcpu = row.numbers.cpu_percent;
        spans.push(Span::styled(bar(pcpu, scales.bar, one.width), load_style(theme, pcpu)));
        spans.push(Span::raw(" "));
        return;
    }
    let level = if row.id.is_some() { Level::Process } else { Level::Image };
    let key =
        if level == Level::Process { crate::top::layout::of_processes(one.key) } else { one.key };
    // A process has none of the values that count processes.
    let text = columns::find(key, level)
        .map_or(String::new(), |column| table::cell(&(column.get)(row), Style::Human));
    let style = match key {
        "pcpu" => load_style(theme, row.numbers.cpu_percent),
        "fd%" => load_style(theme, row.numbers.fd_percent),
        // Waiting without being interruptible.
        "state" if text == "D" => theme.style(Meaning::HighLoad),
        "disk" | "zombie" if is_positive(key, row) => theme.style(Meaning::HighLoad),
        _ => CellStyle::new(),
    };
    spans.push(Span::styled(pad(&text, one.width, one.is_text), style));
    spans.push(if app.tracks.grows(row, key) {
        Span::styled("↑", theme.style(Meaning::Growth))
    } else {
        Span::raw(" ")
    });
}

fn is_positive(key: &str, row: &Row) -> bool {
    let column = columns::find(key, Level::Image);
    column.is_some_and(|column| matches!((column.get)(row), Cell::Count(1..)))
}

fn load_style(theme: Theme, percent: Option<f64>) -> CellStyle {
    percent.and_then(Theme::load).map(|meaning| theme.style(meaning)).unwrap_or_default()
}

/// CPU usage as a bar that is full at the end of the scale.
fn bar(pcpu: Option<f64>, scale: f64, width: usize) -> String {
    // Negative values and NaN become 0.
    let parts = (pcpu.unwrap_or(0.0) / scale * width as f64).round() as usize;
    let full = parts.min(width);
    "#".repeat(full) + &".".repeat(width - full)
}

//! The head of the screen: totals, the host, the overhead, and the contents of the list.

use ratatui::text::{Line, Span};

use super::fit;
use crate::table::columns::Level;
use crate::table::units::{self, Style};
use crate::time;
use crate::top::app::App;
use crate::top::history::bar;
use crate::top::host::Host;
use crate::top::theme::{Meaning, Theme};

/// Up to this many cores have a bar with a number.
const MAX_NUMBERED: usize = 8;

/// Totals, the host and the overhead.
pub(super) fn lines(app: &App) -> Vec<Line<'static>> {
    let width = app.size.0;
    let plain = |text: &str| Line::from(fit(text, width));
    let Some(snapshot) = &app.snapshot else {
        return vec![plain("measuring …"), Line::default()];
    };
    // First, so that it is visible on a narrow terminal.
    let paused = if app.paused { "PAUSED  " } else { "" };
    let total = &snapshot.total;
    let cell = |value: Option<String>| value.unwrap_or("-".to_owned());
    let totals = format!(
        "{paused}{}  {}, {}, CPU {}, RSS {}",
        time::format_utc(snapshot.time),
        units::count(total.numbers.processes, "process", "processes"),
        units::count(snapshot.images.len() as u64, "image", "images"),
        cell(total.numbers.cpu_percent.map(|pcpu| units::percent(pcpu, Style::Human) + " %")),
        cell(total.numbers.rss.map(bytes)),
    );
    let mut lines = vec![plain(&totals)];
    lines.extend(app.host.as_ref().map(|host| host_line(host, app.theme, width)));
    let seconds = snapshot.window.filter(|_| app.playback.is_none()).map(|it| it.as_secs_f64());
    let second = match (seconds, &app.playback) {
        (Some(window), _) => {
            let cost = app.cost.as_secs_f64();
            let share = if window > 0.0 { cost / window * 100.0 } else { 0.0 };
            format!(
                "overhead: {:.1} ms CPU in {window:.2} s ({share:.1} %), windows of {} s",
                cost * 1000.0,
                app.interval.as_secs_f64()
            )
        }
        (None, Some(playback)) => playback.line(),
        (None, None) => "captured /proc: values do not change".to_owned(),
    };
    lines.push(plain(&second));
    lines
}

fn bytes(bytes: u64) -> String {
    units::bytes(i64::try_from(bytes).unwrap_or(i64::MAX), Style::Human)
}

/// Load, CPU usage of all cores and of each, and memory.
fn host_line(host: &Host, theme: Theme, width: usize) -> Line<'static> {
    let mut spans = Vec::new();
    if let Some([one, five, fifteen]) = host.load {
        spans.push(Span::raw(format!("load {one:.2} {five:.2} {fifteen:.2}  ")));
    }
    let (mut cores, mut memory) = (cores(host, theme), memory(host, theme));
    // Many cores do not fit into the line.
    if host.cores.len() > MAX_NUMBERED {
        std::mem::swap(&mut cores, &mut memory);
    }
    spans.append(&mut cores);
    spans.append(&mut memory);
    truncated(spans, width)
}

/// A text in the style of a percentage.
fn loaded(text: String, theme: Theme, percent: f64) -> Span<'static> {
    let style = Theme::load(percent).map(|meaning| theme.style(meaning)).unwrap_or_default();
    Span::styled(text, style)
}

fn cores(host: &Host, theme: Theme) -> Vec<Span<'static>> {
    let Some(percent) = host.cpu_percent else { return Vec::new() };
    let mut spans = vec![Span::raw("cores "), loaded(format!("{percent:.0} % "), theme, percent)];
    let is_numbered = host.cores.len() <= MAX_NUMBERED;
    for (number, busy) in host.cores.iter().enumerate() {
        let bar = bar(*busy, 100.0);
        let text = if is_numbered { format!(" {number}:{bar}{busy:.0}") } else { bar.to_string() };
        spans.push(loaded(text, theme, *busy));
    }
    spans.push(Span::raw("  "));
    spans
}

fn memory(host: &Host, theme: Theme) -> Vec<Span<'static>> {
    let Some((total, available)) = host.memory else { return Vec::new() };
    let used = total.saturating_sub(available);
    let percent = if total > 0 { used as f64 / total as f64 * 100.0 } else { 0.0 };
    let text = format!("{} of {} ({percent:.0} %)", bytes(used), bytes(total));
    let mut spans = vec![Span::raw("memory "), loaded(text, theme, percent), Span::raw("  ")];
    if let Some((total, free)) = host.swap
        && total > free
    {
        spans.push(Span::raw(format!("swap {} of {}  ", bytes(total - free), bytes(total))));
    }
    spans
}

/// The spans up to this width.
fn truncated(spans: Vec<Span<'static>>, width: usize) -> Line<'static> {
    let mut room = width;
    let mut line = Vec::new();
    for span in spans {
        let needed = span.width();
        if needed > room {
            line.push(Span::styled(fit(&span.content, room), span.style));
            break;
        }
        room -= needed;
        line.push(span);
    }
    Line::from(line)
}

/// The contents of the list: the view, the sort order and the filter.
pub(super) fn status(app: &App, width: usize) -> Line<'static> {
    if app.snapshot.is_none() {
        return Line::default();
    }
    let settings = &app.settings;
    let heading = app.sort_column().map_or("", |column| column.heading);
    let heading = if heading == "S" { "state" } else { heading };
    let is_text = app
        .sort_column()
        .is_some_and(|column| ["image", "command", "owner", "state", "comm"].contains(&column.key));
    let is_descending = is_text == settings.reverse;
    let order = if is_descending { "descending" } else { "ascending" };
    let what = match settings.view.level() {
        Level::Image => "images",
        Level::Process => settings.view.name(),
    };
    let mut text = format!("{what} by {heading}, {order}");
    if settings.kernel_threads {
        text.push_str(", with kernel threads");
    }
    let mut spans = vec![Span::raw(fit(&text, width))];
    if !app.filter.is_empty() {
        let lines = units::count(app.entries.len() as u64, "line", "lines");
        let filter = format!("filter: {} ({lines}, esc clears)", app.filter);
        spans.push(Span::raw(", "));
        let style = app.theme.style(Meaning::Heading);
        spans.push(Span::styled(fit(&filter, width), style));
    }
    truncated(spans, width)
}

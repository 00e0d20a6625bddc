//! The plots of the selected image, below the list.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Sparkline};

use super::fit;
use crate::table::units::{self, Style};
use crate::top::app::App;
use crate::top::history::{History, LENGTH, Metric, scale};
use crate::top::theme::Meaning;

/// The minimum width of a plot.
const MIN_WIDTH: usize = 30;
/// The lines of a plot, with its title.
const PLOT_HEIGHT: usize = 4;
/// The full height of a bar.
const FULL: u64 = 10_000;

/// The plots next to each other.
fn per_row(width: usize) -> usize {
    match width / MIN_WIDTH {
        0 | 1 => 1,
        2 | 3 => 2,
        _ => Metric::ALL.len(),
    }
}

/// The lines of the plots, of at most this many; 0 if there is no room for them.
pub(super) fn height(width: usize, room: usize) -> usize {
    let rows = Metric::ALL.len().div_ceil(per_row(width));
    let rows = rows.min(room.saturating_sub(1) / PLOT_HEIGHT);
    if rows == 0 { 0 } else { 1 + rows * PLOT_HEIGHT }
}

/// Draws as many plots as fit, the metric of the histories first.
pub(super) fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    if area.height == 0 {
        return;
    }
    let Some(image) = app.plotted() else { return };
    let Some(history) = app.tracks.histories.get(image) else { return };
    let width = usize::from(area.width);
    let windows = history.values(Metric::Cpu).count();
    let title =
        format!("─ {image}, the last {} ", units::count(windows as u64, "window", "windows"));
    let title = fit(&title, width);
    let rest = "─".repeat(width.saturating_sub(psstat_support::escape::width(&title)));
    let title = Line::styled(title + &rest, app.theme.style(Meaning::Heading));
    frame.render_widget(Paragraph::new(title), Rect { height: 1, ..area });
    let per_row = per_row(width);
    let column = area.width / u16::try_from(per_row).unwrap_or(1);
    let mut metrics = Metric::ALL.to_vec();
    metrics.sort_by_key(|metric| *metric != app.settings.history);
    for (number, metric) in metrics.into_iter().enumerate() {
        let place = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        let x = area.x + column * place(number % per_row);
        let y = area.y + 1 + place(number / per_row * PLOT_HEIGHT);
        let height = place(PLOT_HEIGHT);
        if y + height > area.y + area.height {
            return;
        }
        // A space between plots.
        let width = column.saturating_sub(if per_row > 1 { 1 } else { 0 });
        plot(frame, app, history, metric, Rect::new(x, y, width, height));
    }
}

fn plot(frame: &mut Frame<'_>, app: &App, history: &History, metric: Metric, area: Rect) {
    let values: Vec<Option<f64>> = history.values(metric).collect();
    let top = scale(metric, history.highest(metric));
    let text = |value: f64| match metric {
        Metric::Cpu => units::percent(value, Style::Human) + " %",
        Metric::Memory | Metric::Io => units::byte_rate(value, Style::Human),
        Metric::Connections => format!("{value:.0}"),
    };
    let now = values.last().copied().flatten().map_or("-".to_owned(), &text);
    let unit = if metric == Metric::Io { "/s" } else { "" };
    let end = text(top).replace(".0", "");
    let title = format!("{} {now}{unit}  (0 to {end})", metric.heading());
    let title =
        Line::styled(fit(&title, usize::from(area.width)), app.theme.style(Meaning::Heading));
    frame.render_widget(Paragraph::new(title), Rect { height: 1, ..area });
    let width = usize::from(area.width).min(LENGTH);
    let level = |value: f64| (value / top * FULL as f64).round() as u64;
    let shown = values.iter().skip(values.len().saturating_sub(width));
    let bars: Vec<Option<u64>> = shown.map(|value| value.map(level)).collect();
    // The most recent window is at the right.
    let missing = width.saturating_sub(bars.len());
    let bars = std::iter::repeat_n(None, missing).chain(bars);
    let sparkline = Sparkline::default().data(bars.collect::<Vec<_>>()).max(FULL);
    let width = u16::try_from(width).unwrap_or(area.width);
    let area = Rect::new(area.x, area.y + 1, width, area.height.saturating_sub(1));
    frame.render_widget(sparkline, area);
}

//! Draws the live view.

mod head;
mod list;
mod pages;
mod plots;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::app::{App, Mode};
use super::keys;
use psstat_support::escape;

/// Screens with fewer lines have a shorter head.
const LOW: usize = 12;
/// The list has at least this many lines before plots are shown.
const MIN_LIST: usize = 6;

/// Draws the state.
pub fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let area = frame.area();
    app.size = (usize::from(area.width), usize::from(area.height));
    app.places.heading = None;
    match &app.mode {
        Mode::Page(page) => pages::process(frame, app.theme, page),
        Mode::Columns(chooser) => pages::columns(frame, app, *chooser),
        Mode::Help(first) => {
            let first = pages::help(frame, app, *first);
            app.mode = Mode::Help(first);
        }
        _ => overview(frame, app),
    }
    app.theme.adapt(frame.buffer_mut());
}

/// The head, the list, the plots and the last line.
fn overview(frame: &mut Frame<'_>, app: &mut App) {
    let area = frame.area();
    let (width, height) = app.size;
    let mut head = head::lines(app);
    if height < LOW {
        head = head.into_iter().take(1).collect();
    }
    head.push(head::status(app, width));
    let plots = app.settings.plots && app.plotted().is_some();
    let below = height.saturating_sub(head.len() + 1);
    // One line for the heading of the list.
    let plots = if plots { plots::height(width, below.saturating_sub(1 + MIN_LIST)) } else { 0 };
    let head_height = head.len();
    let at = |y: usize, lines: usize| {
        let y = u16::try_from(y).unwrap_or(u16::MAX).min(area.height);
        let lines = u16::try_from(lines).unwrap_or(u16::MAX).min(area.height - y);
        Rect::new(0, y, area.width, lines)
    };
    frame.render_widget(Paragraph::new(head), at(0, head_height));
    let list = below.saturating_sub(plots);
    list::draw(frame, app, at(head_height, list));
    plots::draw(frame, app, at(head_height + list, plots));
    let last = Line::from(fit(&footer(app, width), width));
    frame.render_widget(Paragraph::new(last), at(height.saturating_sub(1), 1));
}

/// A line of text, escaped, in at most this many columns.
fn fit(line: &str, width: usize) -> String {
    escape::truncate(&escape::text(line), width)
}

fn footer(app: &App, width: usize) -> String {
    match &app.mode {
        Mode::Time(text) => format!("time: {text}_  (23:59, 2026-01-31 23:59:59, -10m)"),
        Mode::Filter => format!("filter: {}_", app.filter),
        Mode::Signal(question) => question.text(),
        _ if !app.message.is_empty() => app.message.clone(),
        _ => keys::hints(app.playback.is_some(), width),
    }
}

/// A text in this many columns, which may be truncated.
fn pad(text: &str, width: usize, is_text: bool) -> String {
    let text = escape::truncate(text, width);
    let blanks = " ".repeat(width.saturating_sub(escape::width(&text)));
    if is_text { text + &blanks } else { blanks + &text }
}

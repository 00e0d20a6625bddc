//! The pages: keys, columns, and a process.

use ratatui::Frame;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::fit;
use crate::table::columns::Level;
use crate::top::app::App;
use crate::top::chooser::{self, Chooser};
use crate::top::keys;
use crate::top::page::Page;
use crate::top::theme::{Meaning, Theme};
use crate::top::wrap;

/// The width of the keys on the page of help.
const KEYS_WIDTH: usize = 20;

/// Draws lines and a last line.
fn draw(frame: &mut Frame<'_>, mut lines: Vec<Line<'static>>, footer: &str) {
    let area = frame.area();
    let height = usize::from(area.height);
    lines.truncate(height.saturating_sub(1));
    lines.resize(height.saturating_sub(1), Line::default());
    lines.push(Line::from(fit(footer, usize::from(area.width))));
    frame.render_widget(Paragraph::new(lines), area);
}

/// The page of a process.
pub(super) fn process(frame: &mut Frame<'_>, theme: Theme, page: &Page) {
    let (width, height) = (usize::from(frame.area().width), usize::from(frame.area().height));
    let rows = wrap::rows(&page.lines, width);
    // A wider screen has fewer rows than before.
    let first = page.first.min(rows.len().saturating_sub(1));
    let line = |row: String| {
        let is_section = row.starts_with(|first: char| !first.is_whitespace());
        let style = match (page.is_found(&row), is_section) {
            (true, _) => theme.style(Meaning::Found),
            (_, true) => theme.style(Meaning::Heading),
            _ => ratatui::style::Style::new(),
        };
        Line::styled(row, style)
    };
    let lines = rows.into_iter().skip(first).take(height).map(line).collect();
    draw(frame, lines, &page.footer());
}

/// The keys and the marks. Returns the first line that is shown.
pub(super) fn help(frame: &mut Frame<'_>, app: &App, first: usize) -> usize {
    let (width, height) = app.size;
    let mut text = Vec::new();
    for binding in keys::all(app.playback.is_some()) {
        let room = width.saturating_sub(KEYS_WIDTH + 1).max(20);
        for (number, part) in words(binding.help, room).into_iter().enumerate() {
            let keys = if number == 0 { binding.keys } else { "" };
            text.push(format!("{keys:<KEYS_WIDTH$} {part}"));
        }
    }
    text.push(String::new());
    text.extend(keys::LEGEND.lines().map(str::to_owned));
    let first = first.min(text.len().saturating_sub(height.saturating_sub(1)));
    let lines = text.iter().skip(first).map(|line| Line::from(fit(line, width))).collect();
    draw(frame, lines, "Press any other key to go back; up, down, space: more");
    first
}

/// The lines of a text, broken at spaces.
fn words(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The choice of columns.
pub(super) fn columns(frame: &mut Frame<'_>, app: &App, chooser: Chooser) {
    let (width, height) = app.size;
    let of = match chooser.level {
        Level::Image => "images",
        Level::Process => "processes",
    };
    let title = format!("columns of {of}: those at the end are left out on narrow screens");
    let mut lines = vec![Line::styled(fit(&title, width), app.theme.style(Meaning::Heading))];
    let items = chooser::items(&app.settings, chooser.level);
    let room = height.saturating_sub(2);
    let first = (chooser.at + 1).saturating_sub(room);
    for (number, item) in items.iter().enumerate().skip(first).take(room) {
        let mark = if item.is_chosen { 'x' } else { ' ' };
        let text = format!("[{mark}] {:<24} {}", item.key, item.description);
        let is_selected = number == chooser.at;
        let text = fit(&text, width);
        let style = if is_selected {
            app.theme.style(Meaning::Selected)
        } else {
            ratatui::style::Style::new()
        };
        lines.push(Line::styled(text, style));
    }
    let footer = if app.message.is_empty() {
        "space choose  left/right move  W save as default  enter back"
    } else {
        &app.message
    };
    draw(frame, lines, footer);
}

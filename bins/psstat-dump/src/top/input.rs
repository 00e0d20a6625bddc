//! The changes of the state by keys and the mouse.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::app::{App, Key, Mode, Next};
use super::chooser::Chooser;
use super::keys::{self, Action};
use super::layout;
use super::page::{Page, Request};
use super::playback::Seek;
use super::settings::View;
use super::signal::{self, Question};
use crate::recording::process as recorded_process;
use crate::table::columns::Level;
use crate::table::{cell, columns, units};

/// Lines per step of the wheel.
const WHEEL_LINES: usize = 3;
/// The lengths of windows for the keys, in seconds.
const INTERVALS: [f64; 11] = [0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0];

impl App {
    /// Handles a key.
    pub fn key(&mut self, key: KeyEvent) -> Next {
        // Terminals send capital letters with or without shift.
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let is_plain = key.modifiers.difference(KeyModifiers::SHIFT).is_empty();
        match key.code {
            KeyCode::Char('c') if control => return Next::Quit,
            KeyCode::Char(character) if control => {
                if let Some(text) = self.typed() {
                    edit(text, character);
                    self.arrange();
                }
                return Next::Continue;
            }
            KeyCode::Char(_) if !is_plain => return Next::Continue,
            _ => {}
        }
        self.message.clear();
        let (columns, height) = self.size;
        match &mut self.mode {
            Mode::List => return self.list_key(key.code),
            Mode::Help(first) => match key.code {
                KeyCode::Down | KeyCode::Char('j') => *first += 1,
                KeyCode::Up | KeyCode::Char('k') => *first = first.saturating_sub(1),
                KeyCode::PageDown | KeyCode::Char(' ') => *first += height.saturating_sub(2),
                KeyCode::PageUp => *first = first.saturating_sub(height.saturating_sub(2)),
                _ => self.mode = Mode::List,
            },
            Mode::Page(page) => match page.key(key.code, columns, height) {
                Request::Nothing => {}
                Request::Back => self.mode = Mode::List,
                Request::Read => self.requested = page.pid,
            },
            Mode::Columns(chooser) => {
                if key.code == KeyCode::Char('W') {
                    self.save();
                } else if chooser.key(key.code, &mut self.settings) {
                    self.mode = Mode::List;
                }
            }
            Mode::Filter => {
                match key.code {
                    KeyCode::Enter => self.mode = Mode::List,
                    KeyCode::Esc => {
                        self.filter.clear();
                        self.mode = Mode::List;
                    }
                    KeyCode::Backspace => drop(self.filter.pop()),
                    KeyCode::Char(character) => self.filter.push(character),
                    _ => {}
                }
                self.arrange();
            }
            Mode::Time(text) => match key.code {
                KeyCode::Enter => {
                    let seek = Seek::Time(std::mem::take(text));
                    if let Some(playback) = &mut self.playback {
                        playback.seek = Some(seek);
                    }
                    self.mode = Mode::List;
                }
                KeyCode::Esc => self.mode = Mode::List,
                KeyCode::Backspace => drop(text.pop()),
                KeyCode::Char(character) => text.push(character),
                _ => {}
            },
            Mode::Signal(_) => self.signal_key(key.code),
        }
        Next::Continue
    }

    /// The text that is being typed.
    fn typed(&mut self) -> Option<&mut String> {
        match &mut self.mode {
            Mode::Filter => Some(&mut self.filter),
            Mode::Time(text) => Some(text),
            Mode::Signal(question) if question.signal.is_none() => Some(&mut question.input),
            Mode::Page(page) if page.is_typing => Some(&mut page.search),
            _ => None,
        }
    }

    fn signal_key(&mut self, code: KeyCode) {
        let Mode::Signal(question) = &mut self.mode else { return };
        match (question.signal, code) {
            (Some(_), KeyCode::Char('y' | 'Y')) => {
                self.message = signal::send(&self.proc, question);
                self.mode = Mode::List;
            }
            (Some(_), _) | (None, KeyCode::Esc) => {
                self.message = "no signal was sent".to_owned();
                self.mode = Mode::List;
            }
            (None, KeyCode::Enter) => {
                if let Err(message) = question.accept() {
                    self.message = message;
                    self.mode = Mode::List;
                }
            }
            (None, KeyCode::Backspace) => drop(question.input.pop()),
            (None, KeyCode::Char(character)) => question.input.push(character),
            _ => {}
        }
    }

    fn list_key(&mut self, code: KeyCode) -> Next {
        let Some(action) = keys::action(code, self.playback.is_some()) else {
            return Next::Continue;
        };
        if self.playback.as_mut().is_some_and(|playback| playback.act(action)) {
            return Next::Continue;
        }
        let page = self.places.room.saturating_sub(1).max(1);
        match action {
            Action::Quit => return Next::Quit,
            Action::Help => self.mode = Mode::Help(0),
            Action::Filter => self.mode = Mode::Filter,
            Action::Clear => self.filter.clear(),
            Action::Up => self.move_selection(|at| at.saturating_sub(1)),
            Action::Down => self.move_selection(|at| at + 1),
            Action::PageUp => self.move_selection(|at| at.saturating_sub(page)),
            Action::PageDown => self.move_selection(|at| at.saturating_add(page)),
            Action::First => self.move_selection(|_| 0),
            Action::Last => self.move_selection(|_| usize::MAX),
            Action::Toggle => self.toggle(),
            Action::Open => self.open(),
            Action::NextView => {
                let at = View::ALL.iter().position(|view| *view == self.settings.view);
                let next = at.and_then(|at| View::ALL.get(at + 1)).copied().unwrap_or_default();
                self.show(next);
            }
            Action::Images => self.show(View::Images),
            Action::Processes => self.show(View::Processes),
            Action::Tree => self.show(View::Tree),
            Action::SortNext => self.sort_by_neighbor(1),
            Action::SortPrevious => self.sort_by_neighbor(-1),
            Action::Reverse => self.settings.reverse = !self.settings.reverse,
            Action::Columns => {
                let level = self.settings.view.level();
                self.mode = Mode::Columns(Chooser { level, at: 0 });
            }
            Action::Metric => self.settings.history = self.settings.history.next(),
            Action::Plots => self.settings.plots = !self.settings.plots,
            Action::KernelThreads => self.settings.kernel_threads = !self.settings.kernel_threads,
            Action::Signal => self.open_question(),
            Action::Pause => self.paused = !self.paused,
            Action::Longer => self.change_interval(true),
            Action::Shorter => self.change_interval(false),
            Action::Save => self.save(),
            Action::Time => self.mode = Mode::Time(String::new()),
            // Those of a recording.
            _ => {}
        }
        self.arrange();
        Next::Continue
    }

    fn show(&mut self, view: View) {
        // The selected process remains selected where it is a line.
        if let Some(Key::Process(image, _)) = &mut self.selected
            && view != View::Images
        {
            image.clear();
        }
        self.settings.view = view;
    }

    fn move_selection(&mut self, to: impl Fn(usize) -> usize) {
        let to = to(self.position()).min(self.entries.len().saturating_sub(1));
        self.selected = self.entries.get(to).map(|entry| entry.key.clone());
    }

    /// Sorts by the column after the sort column, or before it, of those on the screen.
    fn sort_by_neighbor(&mut self, by: isize) {
        let layout = self.layout();
        let shown = layout.shown.iter().map(|one| one.key).filter(|key| *key != layout::BAR);
        let keys: Vec<&'static str> = match layout.level {
            Level::Image => ["image", "processes"].into_iter().chain(shown).collect(),
            Level::Process => {
                std::iter::once("pid").chain(shown).chain(std::iter::once("command")).collect()
            }
        };
        let current = self.sort_column().map_or("", |column| column.key);
        let at = keys.iter().position(|key| *key == current);
        let count = keys.len();
        let next = match (at, by > 0) {
            (Some(at), true) => (at + 1) % count,
            (Some(at), false) => (at + count - 1) % count,
            (None, _) => 0,
        };
        self.settings.sort = keys.get(next).copied().unwrap_or("pcpu");
    }

    fn change_interval(&mut self, is_longer: bool) {
        let now = self.interval.as_secs_f64();
        let next = if is_longer {
            INTERVALS.iter().find(|seconds| **seconds > now + 0.001)
        } else {
            INTERVALS.iter().rfind(|seconds| **seconds < now - 0.001)
        };
        if let Some(seconds) = next {
            self.interval = Duration::from_secs_f64(*seconds);
            self.settings.interval = Some(self.interval);
        }
    }

    fn save(&mut self) {
        let Some(path) = &self.settings_file else {
            self.message = "not saved: neither XDG_CONFIG_HOME nor HOME is set".to_owned();
            return;
        };
        let shown = crate::conf::display(path);
        self.message = match self.settings.write(path) {
            Ok(()) => format!("saved in {shown}"),
            Err(error) => format!("cannot save {shown}: {error}"),
        };
    }

    /// Expands or collapses the selected image, or a part of the tree.
    fn toggle(&mut self) {
        match self.current().map(|entry| entry.key.clone()) {
            Some(Key::Image(name) | Key::Process(name, _)) if !name.is_empty() => {
                if !self.expanded.remove(&name) {
                    self.expanded.insert(name.clone());
                }
                self.selected = Some(Key::Image(name));
            }
            Some(Key::Process(_, pid)) => {
                if !self.collapsed.remove(&pid) {
                    self.collapsed.insert(pid);
                }
                self.selected = Some(Key::Process(String::new(), pid));
            }
            _ => {}
        }
    }

    /// Expands or collapses the selected image, or opens the page of the selected process.
    fn open(&mut self) {
        match self.current().map(|entry| entry.key.clone()) {
            Some(Key::Process(_, pid)) if self.playback.is_some() => {
                let row = self.snapshot.as_ref().and_then(|snapshot| snapshot.process(pid));
                let text = row.map(recorded_process::as_text).unwrap_or_default();
                self.mode = Mode::Page(Page::new(&text));
            }
            Some(Key::Process(_, pid)) => {
                self.mode = Mode::Page(Page::loading(pid));
                self.requested = Some(pid);
            }
            Some(Key::Image(_)) => self.toggle(),
            None => {}
        }
    }

    fn open_question(&mut self) {
        if !self.settings.signals {
            self.message = "signals are switched off".to_owned();
            return;
        }
        let Some(entry) = self.current() else { return };
        let id = self.row(entry).and_then(|row| Some((row, row.id.as_ref()?)));
        let Some((row, id)) = id.filter(|_| !entry.is_exited()) else {
            self.message = "select a process; space expands an image".to_owned();
            return;
        };
        let command = columns::find("command", Level::Process);
        let command =
            command.map_or(String::new(), |column| cell(&(column.get)(row), units::Style::Human));
        self.mode = Mode::Signal(Question::new(id.pid, id.starttime, command));
    }

    /// Handles the mouse.
    pub fn mouse(&mut self, event: MouseEvent) {
        let wheel = match event.kind {
            MouseEventKind::ScrollUp => Some(KeyCode::Up),
            MouseEventKind::ScrollDown => Some(KeyCode::Down),
            _ => None,
        };
        match (&self.mode, wheel) {
            (Mode::List | Mode::Page(_) | Mode::Help(_) | Mode::Columns(_), Some(code)) => {
                for _ in 0..WHEEL_LINES {
                    self.key(KeyEvent::new(code, KeyModifiers::NONE));
                }
            }
            (Mode::List, None) if event.kind == MouseEventKind::Down(MouseButton::Left) => {
                self.click(event.column, event.row);
            }
            _ => {}
        }
    }

    fn click(&mut self, column: u16, row: u16) {
        let Some(heading) = self.places.heading else { return };
        if row == heading {
            let mut headings = self.places.headings.iter();
            let found = headings.find(|(from, to, _)| (*from..=*to).contains(&column));
            if let Some((_, _, key)) = found {
                let is_same = self.sort_column().is_some_and(|column| column.key == *key);
                self.settings.reverse = is_same && !self.settings.reverse;
                self.settings.sort = key;
                self.arrange();
            }
            return;
        }
        let Some(below) = row.checked_sub(heading + 1).map(usize::from) else { return };
        let at = self.places.first + below;
        let Some(entry) = self.entries.get(at).filter(|_| below < self.places.room) else { return };
        if at == self.position() && self.selected.is_some() {
            self.open();
        } else {
            self.selected = Some(entry.key.clone());
        }
        self.arrange();
    }
}

/// Edits a line with control keys, as in a shell.
fn edit(line: &mut String, character: char) {
    match character {
        'h' => {
            line.pop();
        }
        'u' => line.clear(),
        'w' => {
            let rest = line.trim_end().trim_end_matches(|c: char| !c.is_whitespace());
            line.truncate(rest.len());
        }
        _ => {}
    }
}

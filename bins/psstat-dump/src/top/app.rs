//! What is shown, and what keys do to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::history::{History, Metric};
use super::wrap::rows;
use crate::measure::Snapshot;
use crate::process_report;
use crate::table::columns::{self, Column, Level};
use crate::table::row::Row;
use crate::table::units::Style;
use crate::terminal::Paint;

/// The columns by which is sorted, in turn.
const SORTS: [&str; 8] = ["pcpu", "rss", "rchar/s", "wchar/s", "tcp", "fds", "threads", "image"];
/// How far a page key goes.
const PAGE_ROWS: usize = 10;

/// Which line is meant; it stays with its image or process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// An image.
    Image(String),
    /// A process of an image.
    Process(String, u32),
}

/// What fills the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The images.
    List,
    /// The images, while a filter is typed.
    Filter,
    /// What is known of a process.
    Page {
        /// Its lines.
        lines: Vec<String>,
        /// The first row that is shown; a long line takes several.
        from: usize,
    },
    /// What keys do.
    Help,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Yes.
    Stay,
    /// No.
    Quit,
}

/// What is shown.
#[derive(Debug)]
pub struct App {
    /// What fills the screen.
    pub mode: Mode,
    /// The last window; none before the first has passed.
    pub snapshot: Option<Snapshot>,
    /// CPU time that this program used in it.
    pub cost: Duration,
    /// By image.
    pub histories: BTreeMap<String, History>,
    /// What histories are shown of.
    pub measure: Metric,
    /// Whether new windows are left out.
    pub paused: bool,
    /// Only images with this in their name, or in a command line.
    pub filter: String,
    /// Whether it is sorted the other way round.
    pub reverse: bool,
    /// How many columns the screen had when it was last drawn.
    pub width: usize,
    sort: usize,
    unfolded: BTreeSet<String>,
    selected: Option<Key>,
    proc: PathBuf,
}

impl App {
    /// Shows processes of this procfs, with nothing measured yet.
    pub fn new(proc: PathBuf) -> App {
        App {
            mode: Mode::List,
            snapshot: None,
            cost: Duration::ZERO,
            histories: BTreeMap::new(),
            measure: Metric::default(),
            paused: false,
            filter: String::new(),
            reverse: false,
            width: 0,
            sort: 0,
            unfolded: BTreeSet::new(),
            selected: None,
            proc,
        }
    }

    /// Takes a new window, and the CPU time that this program used in it.
    pub fn set_snapshot(&mut self, snapshot: Snapshot, cost: Duration) {
        if self.paused {
            return;
        }
        self.cost = cost;
        let names: BTreeSet<&String> = snapshot.images.iter().flat_map(|row| &row.images).collect();
        self.histories.retain(|name, _| names.contains(name));
        for row in &snapshot.images {
            if let Some(name) = row.images.first() {
                self.histories.entry(name.clone()).or_default().add(row);
            }
        }
        self.snapshot = Some(snapshot);
        self.sort_rows();
    }

    /// The column by which is sorted.
    pub fn sort_key(&self) -> &'static str {
        SORTS.get(self.sort).copied().unwrap_or("pcpu")
    }

    fn sort_rows(&mut self) {
        let (key, reverse) = (self.sort_key(), self.reverse);
        let Some(snapshot) = &mut self.snapshot else { return };
        let column = |level| -> Option<&'static Column> { columns::find(key, level) };
        if let Some(column) = column(Level::Image) {
            columns::sort(&mut snapshot.images, column, reverse);
        }
        if let Some(column) = column(Level::Process) {
            columns::sort(&mut snapshot.processes, column, reverse);
        }
    }

    /// The lines of the list: images, and processes of those that are
    /// unfolded.
    pub fn lines(&self) -> Vec<(Key, &Row)> {
        let mut lines = Vec::new();
        let Some(snapshot) = &self.snapshot else { return lines };
        for row in &snapshot.images {
            let Some(name) = row.images.first() else { continue };
            let of_image = || snapshot.processes.iter().filter(|p| p.images.contains(name));
            if !self.is_wanted(name, of_image()) {
                continue;
            }
            lines.push((Key::Image(name.clone()), row));
            if self.unfolded.contains(name) {
                lines.extend(of_image().filter_map(|process| {
                    let pid = process.who.as_ref()?.pid;
                    Some((Key::Process(name.clone(), pid), process))
                }));
            }
        }
        lines
    }

    fn is_wanted<'r>(&self, name: &str, processes: impl Iterator<Item = &'r Row>) -> bool {
        if self.filter.is_empty() {
            return true;
        }
        let wanted = self.filter.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        let mut commands = processes.filter_map(|process| process.who.as_ref());
        has(name) || commands.any(|who| has(&String::from_utf8_lossy(&who.command_line)))
    }

    /// Which line is the current one.
    pub fn position(&self, lines: &[(Key, &Row)]) -> usize {
        let selected = self.selected.as_ref();
        lines.iter().position(|(key, _)| Some(key) == selected).unwrap_or(0)
    }

    /// Whether an image is unfolded.
    pub fn is_unfolded(&self, image: &str) -> bool {
        self.unfolded.contains(image)
    }

    /// Does what a key asks for.
    pub fn key(&mut self, key: KeyEvent) -> Next {
        // Capital letters come with shift, or without.
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let is_plain = key.modifiers.difference(KeyModifiers::SHIFT).is_empty();
        match (key.code, &self.mode) {
            (KeyCode::Char('c'), _) if control => return Next::Quit,
            (KeyCode::Char(character), Mode::Filter) if control => {
                edit(&mut self.filter, character);
                return Next::Stay;
            }
            (KeyCode::Char(_), _) if !is_plain => return Next::Stay,
            _ => {}
        }
        match &mut self.mode {
            Mode::Help => self.mode = Mode::List,
            Mode::Page { lines, from } => {
                let last = rows(lines, self.width).len().saturating_sub(1);
                *from = (*from).min(last);
                match key.code {
                    KeyCode::Down | KeyCode::Char('j') => *from = (*from + 1).min(last),
                    KeyCode::Up | KeyCode::Char('k') => *from = from.saturating_sub(1),
                    KeyCode::PageDown | KeyCode::Char(' ') => *from = (*from + PAGE_ROWS).min(last),
                    KeyCode::PageUp => *from = from.saturating_sub(PAGE_ROWS),
                    KeyCode::Home => *from = 0,
                    KeyCode::End => *from = last,
                    KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q') => self.mode = Mode::List,
                    _ => {}
                }
            }
            Mode::Filter => match key.code {
                KeyCode::Enter => self.mode = Mode::List,
                KeyCode::Esc => {
                    self.filter.clear();
                    self.mode = Mode::List;
                }
                KeyCode::Backspace => {
                    self.filter.pop();
                }
                KeyCode::Char(character) => self.filter.push(character),
                _ => {}
            },
            Mode::List => return self.list_key(key.code),
        }
        Next::Stay
    }

    fn list_key(&mut self, code: KeyCode) -> Next {
        match code {
            KeyCode::Char('q') => return Next::Quit,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('h') => self.measure = self.measure.next(),
            KeyCode::Char('s') => {
                self.sort = (self.sort + 1) % SORTS.len();
                self.sort_rows();
            }
            KeyCode::Char('S') => {
                self.sort = (self.sort + SORTS.len() - 1) % SORTS.len();
                self.sort_rows();
            }
            KeyCode::Char('r') => {
                self.reverse = !self.reverse;
                self.sort_rows();
            }
            KeyCode::Down | KeyCode::Char('j') => self.move_selection(|at| at + 1),
            KeyCode::Up | KeyCode::Char('k') => self.move_selection(|at| at.saturating_sub(1)),
            KeyCode::PageDown => self.move_selection(|at| at + PAGE_ROWS),
            KeyCode::PageUp => self.move_selection(|at| at.saturating_sub(PAGE_ROWS)),
            KeyCode::Home => self.move_selection(|_| 0),
            KeyCode::End => self.move_selection(|_| usize::MAX),
            KeyCode::Char(' ') | KeyCode::Right | KeyCode::Left => self.fold(),
            KeyCode::Enter => self.enter(),
            _ => {}
        }
        Next::Stay
    }

    fn move_selection(&mut self, to: impl Fn(usize) -> usize) {
        let lines = self.lines();
        let to = to(self.position(&lines)).min(lines.len().saturating_sub(1));
        self.selected = lines.get(to).map(|(key, _)| key.clone());
    }

    fn current(&self) -> Option<Key> {
        let lines = self.lines();
        lines.get(self.position(&lines)).map(|(key, _)| key.clone())
    }

    /// Unfolds the current image, or folds it.
    fn fold(&mut self) {
        let (Some(Key::Image(name)) | Some(Key::Process(name, _))) = self.current() else { return };
        if !self.unfolded.remove(&name) {
            self.unfolded.insert(name.clone());
        }
        self.selected = Some(Key::Image(name));
    }

    /// Unfolds the current image, or opens the current process's page.
    fn enter(&mut self) {
        match self.current() {
            Some(Key::Process(_, pid)) => {
                let text = match process_report::read(&self.proc, pid) {
                    Ok(page) => process_report::as_text(&page, Style::Human, Paint::PLAIN),
                    Err(unread) => format!("process {pid}: {unread}"),
                };
                let lines = text.lines().map(str::to_owned).collect();
                self.mode = Mode::Page { lines, from: 0 };
            }
            Some(Key::Image(_)) => self.fold(),
            None => {}
        }
    }
}

/// What ctrl with a letter does to a line that is typed, as in a shell.
fn edit(line: &mut String, character: char) {
    match character {
        'h' => {
            line.pop();
        }
        'u' => line.clear(),
        'w' => {
            let kept = line.trim_end().trim_end_matches(|c: char| !c.is_whitespace());
            line.truncate(kept.len());
        }
        _ => {}
    }
}

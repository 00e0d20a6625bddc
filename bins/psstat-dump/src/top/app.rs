//! The state of the live view, and its changes by keys.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::column_set::{self, ColumnSet, of_processes};
use super::history::{History, Metric};
use super::playback::{Playback, Seek};
use super::wrap::rows;
use crate::measure::Snapshot;
use crate::process_report;
use crate::recording::process as recorded_process;
use crate::table::columns::{self, Column, Level};
use crate::table::row::{CommName, Row};
use crate::table::units::Style;
use crate::terminal::Paint;

/// The sort columns of the default sets.
const SORT_COLUMNS: [&str; 13] = [
    "pcpu", "rss", "rchar/s", "wchar/s", "tcp", "fds", "threads", "shared", "fd%", "starts",
    "exits", "oldest", "image",
];
/// Rows per page key.
const PAGE_ROWS: usize = 10;

/// The image or process of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// An image.
    Image(String),
    /// A process of an image.
    Process(String, u32),
}

/// The contents of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The images.
    List,
    /// The images, while a filter is typed.
    Filter,
    /// The images, while a time of the recording is typed.
    Time(String),
    /// The report of a process.
    Report {
        /// The lines.
        lines: Vec<String>,
        /// The first visible row; a long line takes several rows.
        first: usize,
    },
    /// The keys.
    Help,
}

/// Whether to continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Continue.
    Continue,
    /// Quit.
    Quit,
}

/// The state of the live view.
#[derive(Debug)]
pub struct App {
    /// The contents of the screen.
    pub mode: Mode,
    /// The last window; `None` before the end of the first window.
    pub snapshot: Option<Snapshot>,
    /// CPU time of this program in it.
    pub cost: Duration,
    /// Histories by image.
    pub histories: BTreeMap<String, History>,
    /// The metric of the histories.
    pub metric: Metric,
    /// The controls of a recording; `None` for a live view.
    pub playback: Option<Playback>,
    /// Whether kernel threads are measured.
    pub has_kernel_threads: bool,
    /// Whether new windows are ignored.
    pub paused: bool,
    /// Only images whose name or command lines contain this text.
    pub filter: String,
    /// Whether the sort order is reversed.
    pub reverse: bool,
    /// The width of the screen when it was last drawn.
    pub width: usize,
    sort: usize,
    /// The sets of columns; the first one is shown.
    sets: VecDeque<ColumnSet>,
    /// The sort columns, in the order of the key `s`.
    sort_columns: Vec<&'static str>,
    expanded: BTreeSet<String>,
    selected: Option<Key>,
    proc: PathBuf,
}

impl App {
    /// A view of this procfs, before the first window.
    pub fn new(proc: PathBuf) -> App {
        App {
            mode: Mode::List,
            snapshot: None,
            cost: Duration::ZERO,
            histories: BTreeMap::new(),
            metric: Metric::default(),
            playback: None,
            has_kernel_threads: false,
            paused: false,
            filter: String::new(),
            reverse: false,
            width: 0,
            sort: 0,
            sets: column_set::defaults(),
            sort_columns: SORT_COLUMNS.to_vec(),
            expanded: BTreeSet::new(),
            selected: None,
            proc,
        }
    }

    /// A view that shows these columns of images first, if there are any.
    pub fn with_columns(proc: PathBuf, columns: &[&'static Column]) -> App {
        let mut app = App::new(proc);
        if !columns.is_empty() {
            app.sets.push_front(ColumnSet::selected(columns));
        }
        for column in columns {
            if !app.sort_columns.contains(&column.key) {
                // Before the name.
                let last = app.sort_columns.len().saturating_sub(1);
                app.sort_columns.insert(last, column.key);
            }
        }
        app
    }

    /// Forgets the histories, before windows of another time.
    pub(super) fn clear_histories(&mut self) {
        self.histories.clear();
    }

    /// Shows a new window, with the CPU time of this program in it.
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

    /// The sort column.
    pub fn sort_key(&self) -> &'static str {
        self.sort_columns.get(self.sort).copied().unwrap_or("pcpu")
    }

    /// The columns that are shown; `None`: none.
    pub(super) fn columns(&self) -> Option<&ColumnSet> {
        self.sets.front()
    }

    fn sort_rows(&mut self) {
        let (key, reverse) = (self.sort_key(), self.reverse);
        let Some(snapshot) = &mut self.snapshot else { return };
        if let Some(column) = columns::find(key, Level::Image) {
            columns::sort(&mut snapshot.images, column, reverse);
        }
        if let Some(column) = columns::find(of_processes(key), Level::Process) {
            columns::sort(&mut snapshot.processes, column, reverse);
        }
    }

    /// The lines of the list: images, and the processes of expanded images.
    pub fn lines(&self) -> Vec<(Key, &Row)> {
        let mut lines = Vec::new();
        let Some(snapshot) = &self.snapshot else { return lines };
        for row in &snapshot.images {
            let Some(name) = row.images.first() else { continue };
            let of_image = || snapshot.processes.iter().filter(|p| p.images.contains(name));
            if !self.is_included(name, of_image()) {
                continue;
            }
            lines.push((Key::Image(name.clone()), row));
            if self.expanded.contains(name) {
                lines.extend(of_image().filter_map(|process| {
                    let pid = process.id.as_ref()?.pid;
                    Some((Key::Process(name.clone(), pid), process))
                }));
            }
        }
        lines
    }

    fn is_included<'r>(&self, name: &str, processes: impl Iterator<Item = &'r Row>) -> bool {
        if self.filter.is_empty() {
            return true;
        }
        let filter = self.filter.to_lowercase();
        let matches = |text: &str| text.to_lowercase().contains(&filter);
        let mut ids = processes.filter_map(|process| process.id.as_ref());
        let is_named = |comm: &CommName| matches(&String::from_utf8_lossy(comm.bytes()));
        matches(name)
            || ids.any(|id| {
                matches(&String::from_utf8_lossy(&id.command_line))
                    || id.comm.as_ref().is_some_and(is_named)
            })
    }

    /// The index of the selected line.
    pub fn position(&self, lines: &[(Key, &Row)]) -> usize {
        let selected = self.selected.as_ref();
        lines.iter().position(|(key, _)| Some(key) == selected).unwrap_or(0)
    }

    /// Whether an image is expanded.
    pub fn is_expanded(&self, image: &str) -> bool {
        self.expanded.contains(image)
    }

    /// Handles a key.
    pub fn key(&mut self, key: KeyEvent) -> Next {
        // Terminals send capital letters with or without shift.
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let is_plain = key.modifiers.difference(KeyModifiers::SHIFT).is_empty();
        match (key.code, &self.mode) {
            (KeyCode::Char('c'), _) if control => return Next::Quit,
            (KeyCode::Char(character), Mode::Filter) if control => {
                edit(&mut self.filter, character);
                return Next::Continue;
            }
            (KeyCode::Char(character), Mode::Time(_)) if control => {
                if let Mode::Time(text) = &mut self.mode {
                    edit(text, character);
                }
                return Next::Continue;
            }
            (KeyCode::Char(_), _) if !is_plain => return Next::Continue,
            _ => {}
        }
        match &mut self.mode {
            Mode::Help => self.mode = Mode::List,
            Mode::Report { lines, first } => {
                let last = rows(lines, self.width).len().saturating_sub(1);
                *first = (*first).min(last);
                match key.code {
                    KeyCode::Down | KeyCode::Char('j') => *first = (*first + 1).min(last),
                    KeyCode::Up | KeyCode::Char('k') => *first = first.saturating_sub(1),
                    KeyCode::PageDown | KeyCode::Char(' ') => {
                        *first = (*first + PAGE_ROWS).min(last);
                    }
                    KeyCode::PageUp => *first = first.saturating_sub(PAGE_ROWS),
                    KeyCode::Home => *first = 0,
                    KeyCode::End => *first = last,
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
            Mode::Time(text) => match key.code {
                KeyCode::Enter => {
                    let seek = Seek::Time(std::mem::take(text));
                    if let Some(playback) = &mut self.playback {
                        playback.seek = Some(seek);
                    }
                    self.mode = Mode::List;
                }
                KeyCode::Esc => self.mode = Mode::List,
                KeyCode::Backspace => {
                    text.pop();
                }
                KeyCode::Char(character) => text.push(character),
                _ => {}
            },
            Mode::List => return self.list_key(key.code),
        }
        Next::Continue
    }

    fn list_key(&mut self, code: KeyCode) -> Next {
        if let Some(playback) = &mut self.playback {
            if code == KeyCode::Char('t') {
                self.mode = Mode::Time(String::new());
                return Next::Continue;
            }
            if playback.key(code) {
                return Next::Continue;
            }
        }
        match code {
            KeyCode::Char('q') => return Next::Quit,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('K') => self.has_kernel_threads = !self.has_kernel_threads,
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('c') => self.sets.rotate_left(1),
            KeyCode::Char('h') => self.metric = self.metric.next(),
            KeyCode::Char('s') => {
                self.sort = (self.sort + 1) % self.sort_columns.len();
                self.sort_rows();
            }
            KeyCode::Char('S') => {
                let count = self.sort_columns.len();
                self.sort = (self.sort + count - 1) % count;
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
            KeyCode::Char(' ') | KeyCode::Right | KeyCode::Left => self.toggle(),
            KeyCode::Enter => self.enter(),
            _ => {}
        }
        Next::Continue
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

    /// Expands or collapses the selected image.
    fn toggle(&mut self) {
        let (Some(Key::Image(name)) | Some(Key::Process(name, _))) = self.current() else { return };
        if !self.expanded.remove(&name) {
            self.expanded.insert(name.clone());
        }
        self.selected = Some(Key::Image(name));
    }

    /// Expands or collapses the selected image, or opens the report of the
    /// selected process.
    fn enter(&mut self) {
        match self.current() {
            Some(Key::Process(_, pid)) if self.playback.is_some() => {
                let row = self.snapshot.as_ref().and_then(|snapshot| snapshot.process(pid));
                let text = row.map(recorded_process::as_text).unwrap_or_default();
                let lines = text.lines().map(str::to_owned).collect();
                self.mode = Mode::Report { lines, first: 0 };
            }
            Some(Key::Process(_, pid)) => {
                let text = match process_report::read(&self.proc, pid) {
                    Ok(report) => process_report::as_text(&report, Style::Human, Paint::PLAIN),
                    Err(error) => format!("process {pid}: {error}"),
                };
                let lines = text.lines().map(str::to_owned).collect();
                self.mode = Mode::Report { lines, first: 0 };
            }
            Some(Key::Image(_)) => self.toggle(),
            None => {}
        }
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

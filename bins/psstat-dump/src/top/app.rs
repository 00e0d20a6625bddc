//! The state of the live view.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use psstat_sampler::MetricGroups;

use super::chooser::Chooser;
pub use super::entries::Key;
use super::entries::{self, Choice, Entry};
use super::host::Host;
use super::layout::{self, Layout};
use super::page::Page;
use super::playback::Playback;
use super::settings::{Settings, View};
use super::signal::Question;
use super::theme::Theme;
use super::track::Tracks;
use crate::measure::Snapshot;
use crate::table::columns::{self, Column, Level};
use crate::table::row::Row;
use psstat_support::escape;

/// The contents of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The list.
    List,
    /// The list, while a filter is typed.
    Filter,
    /// The list, while a time of the recording is typed.
    Time(String),
    /// The list, with a question about a signal.
    Signal(Question),
    /// The page of a process.
    Page(Page),
    /// The choice of columns.
    Columns(Chooser),
    /// The keys, from this line on.
    Help(usize),
}

/// Whether to continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Continue.
    Continue,
    /// Quit.
    Quit,
}

/// Where the lines of the list are on the screen, for the mouse.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// The row of the heading, if there is one.
    pub(super) heading: Option<u16>,
    /// The first and last column of each heading, and its key.
    pub(super) headings: Vec<(u16, u16, &'static str)>,
    /// The number of the first line that is shown.
    pub(super) first: usize,
    /// The number of lines for which there is room.
    pub(super) room: usize,
}

/// The state of the live view.
#[derive(Debug)]
pub struct App {
    /// The contents of the screen.
    pub mode: Mode,
    /// The choices of the user.
    pub settings: Settings,
    /// The capabilities of the terminal.
    pub theme: Theme,
    /// Where the settings are saved; `None`: nowhere.
    pub settings_file: Option<PathBuf>,
    /// The last window; `None` before the end of the first window.
    pub snapshot: Option<Snapshot>,
    /// The state of the host at its end; `None` in a recording or capture.
    pub host: Option<Host>,
    /// CPU time of this program in it.
    pub cost: Duration,
    /// The length of a window.
    pub interval: Duration,
    /// The controls of a recording; `None` for a live view.
    pub playback: Option<Playback>,
    /// Whether new windows are ignored.
    pub paused: bool,
    /// Only lines that contain this text.
    pub filter: String,
    /// The size of the screen when it was last drawn.
    pub(super) size: (usize, usize),
    pub(super) places: Places,
    pub(super) tracks: Tracks,
    /// A message in the last line, until the next key.
    pub(super) message: String,
    /// A process whose report is to be read.
    pub(super) requested: Option<u32>,
    pub(super) expanded: BTreeSet<String>,
    pub(super) collapsed: BTreeSet<u32>,
    pub(super) selected: Option<Key>,
    pub(super) proc: PathBuf,
    pub(super) entries: Vec<Entry>,
}

impl App {
    /// A view of this procfs, before the first window.
    pub fn new(proc: PathBuf) -> App {
        App {
            mode: Mode::List,
            settings: Settings::default(),
            theme: Theme::default(),
            settings_file: None,
            snapshot: None,
            host: None,
            cost: Duration::ZERO,
            interval: Duration::from_secs(1),
            playback: None,
            paused: false,
            filter: String::new(),
            size: (80, 24),
            places: Places::default(),
            tracks: Tracks::default(),
            message: String::new(),
            requested: None,
            expanded: BTreeSet::new(),
            collapsed: BTreeSet::new(),
            selected: None,
            proc,
            entries: Vec::new(),
        }
    }

    /// Forgets what changed in earlier windows, before windows of another time.
    pub(super) fn clear_histories(&mut self) {
        self.tracks = Tracks::default();
        self.snapshot = None;
    }

    /// Shows a new window, with the CPU time of this program in it.
    pub fn set_snapshot(&mut self, snapshot: Snapshot, cost: Duration) {
        if self.paused {
            return;
        }
        self.cost = cost;
        self.tracks.add(&snapshot, self.snapshot.as_ref());
        self.snapshot = Some(snapshot);
        self.arrange();
    }

    /// The names of the images that have histories.
    pub fn histories(&self) -> impl Iterator<Item = &str> {
        self.tracks.histories.keys().map(String::as_str)
    }

    /// Shows a report that was read.
    pub(super) fn set_report(&mut self, pid: u32, text: &str) {
        if let Mode::Page(page) = &mut self.mode
            && page.pid == Some(pid)
        {
            page.set_text(text);
        }
    }

    /// Sorts the rows, and makes the lines.
    pub(super) fn arrange(&mut self) {
        let Settings { view, sort, reverse, .. } = self.settings;
        let Some(snapshot) = &mut self.snapshot else { return };
        if view == View::Images
            && let Some(column) = layout::sort_column(sort, Level::Image)
        {
            columns::sort(&mut snapshot.images, column, reverse);
        }
        if let Some(column) = layout::sort_column(sort, Level::Process)
            && (view != View::Images || !self.expanded.is_empty())
        {
            columns::sort(&mut snapshot.processes, column, reverse);
        }
        let choice = Choice {
            view,
            filter: &self.filter,
            expanded: &self.expanded,
            collapsed: &self.collapsed,
        };
        self.entries = entries::entries(snapshot, &self.tracks, &choice);
    }

    /// The groups of values that the columns need, and the sort order.
    pub(super) fn groups(&self) -> MetricGroups {
        let level = self.settings.view.level();
        let shown = self.settings.columns(level).iter();
        let mut needed: Vec<&'static Column> =
            shown.filter_map(|key| columns::find(key, level)).collect();
        needed.extend(self.sort_column());
        columns::groups(needed)
    }

    /// The column by which the lines are sorted.
    pub fn sort_column(&self) -> Option<&'static Column> {
        layout::sort_column(self.settings.sort, self.settings.view.level())
    }

    /// The columns in the current width.
    pub(super) fn layout(&self) -> Layout {
        let level = self.settings.view.level();
        let images = self.snapshot.iter().flat_map(|snapshot| &snapshot.images);
        let names = images.filter_map(|row| row.images.first());
        let longest = names.map(|name| escape::width(name) + 1).max().unwrap_or(0);
        Layout::new(level, self.settings.columns(level), self.size.0, longest)
    }

    /// The row of a line.
    pub(super) fn row(&self, entry: &Entry) -> Option<&Row> {
        entry.row(self.snapshot.as_ref()?, &self.tracks)
    }

    /// The index of the selected line.
    pub(super) fn position(&self) -> usize {
        let is_selected = |entry: &Entry| Some(&entry.key) == self.selected.as_ref();
        self.entries.iter().position(is_selected).unwrap_or(0)
    }

    pub(super) fn current(&self) -> Option<&Entry> {
        self.entries.get(self.position())
    }

    /// The image whose plots are shown: the selected one, or the first of the selected process.
    pub(super) fn plotted(&self) -> Option<&str> {
        let entry = self.current()?;
        match &entry.key {
            Key::Image(name) => Some(name),
            Key::Process(name, _) if !name.is_empty() => Some(name),
            Key::Process(..) => self.row(entry)?.images.first().map(String::as_str),
        }
    }

    /// Whether an image is expanded.
    pub(super) fn is_expanded(&self, image: &str) -> bool {
        self.expanded.contains(image)
    }
}

//! The lines of the list: images, processes, or the tree of processes.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::settings::View;
use super::track::Tracks;
use crate::measure::Snapshot;
use crate::table::row::Row;

/// Guides of the tree are drawn up to this depth.
const MAX_DEPTH: usize = 24;

/// The image or process of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// An image.
    Image(String),
    /// A process: of an image, or of none in a list of processes.
    Process(String, u32),
}

/// The place of the row of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Image(usize),
    Process(usize),
    Exited(usize),
}

/// A line of the list.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    place: Place,
    /// The lines of the tree before the command line.
    pub(super) guide: String,
}

impl Entry {
    /// The row in the window that the lines were made of.
    pub(super) fn row<'r>(&self, snapshot: &'r Snapshot, tracks: &'r Tracks) -> Option<&'r Row> {
        match self.place {
            Place::Image(at) => snapshot.images.get(at),
            Place::Process(at) => snapshot.processes.get(at),
            Place::Exited(at) => tracks.exited_at(at),
        }
    }

    /// Whether the process has exited.
    pub(super) fn is_exited(&self) -> bool {
        matches!(self.place, Place::Exited(_))
    }
}

/// The part of a window that is shown.
pub(super) struct Choice<'a> {
    pub(super) view: View,
    pub(super) filter: &'a str,
    /// The images whose processes are shown below them.
    pub(super) expanded: &'a BTreeSet<String>,
    /// The processes of the tree whose children are not shown.
    pub(super) collapsed: &'a BTreeSet<u32>,
}

/// The lines of a window, whose rows are sorted.
pub(super) fn entries(snapshot: &Snapshot, tracks: &Tracks, choice: &Choice<'_>) -> Vec<Entry> {
    match choice.view {
        View::Images => images(snapshot, tracks, choice),
        View::Processes => {
            let filter = Filter::new(choice.filter);
            let rows = snapshot.processes.iter().enumerate();
            let live = rows.map(|(at, row)| (Place::Process(at), row));
            let exited = tracks.exited().enumerate().map(|(at, row)| (Place::Exited(at), row));
            let matching = live.chain(exited).filter(|(_, row)| filter.has_process(row));
            matching.filter_map(|(place, row)| entry(place, row, "", String::new())).collect()
        }
        View::Tree => tree(snapshot, choice),
    }
}

fn entry(place: Place, row: &Row, image: &str, guide: String) -> Option<Entry> {
    let pid = row.id.as_ref()?.pid;
    Some(Entry { key: Key::Process(image.to_owned(), pid), place, guide })
}

fn images(snapshot: &Snapshot, tracks: &Tracks, choice: &Choice<'_>) -> Vec<Entry> {
    let filter = Filter::new(choice.filter);
    let mut members: HashMap<&str, Vec<(Place, &Row)>> = HashMap::new();
    if !filter.0.is_empty() || !choice.expanded.is_empty() {
        let rows = snapshot.processes.iter().enumerate();
        let live = rows.map(|(at, row)| (Place::Process(at), row));
        let exited = tracks.exited().enumerate().map(|(at, row)| (Place::Exited(at), row));
        for (place, row) in live.chain(exited) {
            for image in &row.images {
                members.entry(image).or_default().push((place, row));
            }
        }
    }
    let mut lines = Vec::new();
    for (at, row) in snapshot.images.iter().enumerate() {
        let Some(name) = row.images.first() else { continue };
        let members = members.get(name.as_str()).map_or(&[][..], Vec::as_slice);
        let is_included =
            filter.has_text(name) || members.iter().any(|(_, process)| filter.has_command(process));
        if !is_included {
            continue;
        }
        let key = Key::Image(name.clone());
        lines.push(Entry { key, place: Place::Image(at), guide: String::new() });
        if choice.expanded.contains(name) {
            let member = |(place, row): &(Place, &Row)| entry(*place, row, name, String::new());
            lines.extend(members.iter().filter_map(member));
        }
    }
    lines
}

/// The processes below their parents, in the order of the rows. A process whose parent is not
/// among them is at the top.
fn tree(snapshot: &Snapshot, choice: &Choice<'_>) -> Vec<Entry> {
    let filter = Filter::new(choice.filter);
    let rows = &snapshot.processes;
    let ids = |at: usize| rows.get(at).and_then(|row| row.id.as_ref());
    let by_pid: HashMap<u32, usize> =
        (0..rows.len()).filter_map(|at| Some((ids(at)?.pid, at))).collect();
    let parent = |at: usize| ids(at).and_then(|id| by_pid.get(&id.ppid)).copied();
    // Matching processes, and their ancestors.
    let mut included: HashSet<usize> = HashSet::new();
    for (at, row) in rows.iter().enumerate() {
        let mut next = filter.has_process(row).then_some(at);
        while let Some(at) = next {
            next = if included.insert(at) { parent(at) } else { None };
        }
    }
    let mut children: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
    for at in (0..rows.len()).filter(|at| included.contains(at)) {
        children.entry(parent(at).filter(|parent| *parent != at)).or_default().push(at);
    }
    let mut lines = Vec::new();
    let mut stack: Vec<(usize, String, String)> = Vec::new();
    let push = |stack: &mut Vec<_>, parent: Option<usize>, indent: &str| {
        let of_parent = children.get(&parent).map_or(&[][..], Vec::as_slice);
        let is_top = parent.is_none() || indent.chars().count() >= 2 * MAX_DEPTH;
        for (number, at) in of_parent.iter().rev().enumerate() {
            let (corner, below) = match (is_top, number) {
                (true, _) => ("", ""),
                (false, 0) => ("└─", "  "),
                (false, _) => ("├─", "│ "),
            };
            stack.push((*at, format!("{indent}{corner}"), format!("{indent}{below}")));
        }
    };
    push(&mut stack, None, "");
    while let Some((at, mut guide, indent)) = stack.pop() {
        let Some(id) = ids(at) else { continue };
        let has_children = children.contains_key(&Some(at));
        let is_collapsed = has_children && choice.collapsed.contains(&id.pid);
        if is_collapsed {
            guide.push('+');
        }
        let row = rows.get(at);
        lines.extend(row.and_then(|row| entry(Place::Process(at), row, "", guide)));
        if has_children && !is_collapsed {
            // Without this, the children of the top would look like its siblings.
            let indent = if indent.is_empty() { " ".to_owned() } else { indent };
            push(&mut stack, Some(at), &indent);
        }
    }
    lines
}

/// The text that lines have to contain, in lower case; empty: all.
struct Filter(String);

impl Filter {
    fn new(text: &str) -> Filter {
        Filter(text.to_lowercase())
    }

    fn has_text(&self, text: &str) -> bool {
        self.0.is_empty() || text.to_lowercase().contains(&self.0)
    }

    fn has_bytes(&self, bytes: &[u8]) -> bool {
        self.has_text(&String::from_utf8_lossy(bytes))
    }

    /// Whether the command line of a process or its name contains the text.
    fn has_command(&self, row: &Row) -> bool {
        row.id.as_ref().is_some_and(|id| {
            self.has_bytes(&id.command_line)
                || id.comm.as_ref().is_some_and(|comm| self.has_bytes(comm.bytes()))
        })
    }

    fn has_process(&self, row: &Row) -> bool {
        self.0.is_empty()
            || row.images.iter().any(|image| self.has_text(image))
            || row.id.as_ref().is_some_and(|id| id.pid.to_string() == self.0)
            || self.has_command(row)
    }
}

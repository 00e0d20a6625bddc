//! The columns that fit into a width.
//!
//! The user chooses columns and their order. Those at the end of the order are left out first,
//! so that a history of images and a part of the command line of processes remain.

use super::history::LENGTH;
use crate::table::columns::{Column, Level, find};

/// The bar of CPU usage, which is not a column of tables.
pub(super) const BAR: &str = "bar";
/// Its width.
const BAR_WIDTH: usize = 8;
/// The minimum and maximum width of the name of an image.
const NAME_WIDTH: std::ops::RangeInclusive<usize> = 10..=28;
/// The width of a process id.
const PID_WIDTH: usize = 7;
/// The width of the number of processes.
const PROCESSES_WIDTH: usize = 5;
/// The width of a history, and of a command line, for which columns are left out.
const MIN_HISTORY: usize = 12;
const MIN_COMMAND: usize = 28;

/// The columns of images by default, the most important first.
pub(super) const IMAGE_COLUMNS: [&str; 15] = [
    BAR,
    "pcpu",
    "rss",
    "read_bytes/s",
    "write_bytes/s",
    "fds",
    "threads",
    "tcp",
    "udp",
    "unix",
    "rchar/s",
    "wchar/s",
    "starts",
    "exits",
    "oldest",
];
/// Those of processes.
pub(super) const PROCESS_COLUMNS: [&str; 13] = [
    "owner",
    "state",
    "pcpu",
    "rss",
    "read_bytes/s",
    "write_bytes/s",
    "fds",
    "threads",
    "tcp",
    "udp",
    "unix",
    "age",
    "image",
];

/// A column on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The key of the column, or [`BAR`].
    pub(super) key: &'static str,
    /// The width without the space after it, with the mark of the sort order.
    pub(super) width: usize,
    pub(super) is_text: bool,
}

impl Shown {
    fn new(key: &'static str, level: Level) -> Option<Shown> {
        if key == BAR {
            return Some(Shown { key, width: BAR_WIDTH, is_text: true });
        }
        let column = find(key, level)?;
        let heading = column.heading.len() + 1;
        let (width, is_text) = match key {
            "state" => (2, true),
            "owner" => (9, true),
            "image" => (14, true),
            "comm" => (16, true),
            "started" => (20, true),
            "fds" | "threads" | "tcp" | "udp" | "unix" => (5, false),
            _ => (heading.max(6), false),
        };
        Some(Shown { key, width, is_text })
    }
}

/// The parts of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) level: Level,
    /// The width of the first column: the name of an image, or the pid.
    pub(super) name: usize,
    /// The width of the number of processes, with a space before it; 0: none.
    pub(super) processes: usize,
    /// The columns, each followed by a space.
    pub(super) shown: Vec<Shown>,
    /// The width of the rest of the line: the history, or the command line.
    pub(super) tail: usize,
}

impl Layout {
    /// The columns that fit, of those that the user chose. `longest` is the width of the longest
    /// name.
    pub(super) fn new(
        level: Level,
        columns: &[&'static str],
        width: usize,
        longest: usize,
    ) -> Layout {
        let (name, processes, min_tail) = match level {
            Level::Image => {
                let max = (width / 4).clamp(*NAME_WIDTH.start(), *NAME_WIDTH.end());
                (longest.clamp(*NAME_WIDTH.start(), max), PROCESSES_WIDTH + 1, MIN_HISTORY)
            }
            Level::Process => (PID_WIDTH, 0, MIN_COMMAND),
        };
        // One more for the mark of new and exited processes.
        let mut used = name + 1 + processes;
        let mut shown = Vec::new();
        for one in columns.iter().filter_map(|key| Shown::new(key, level)) {
            if used + one.width + 1 + min_tail > width {
                break;
            }
            used += one.width + 1;
            shown.push(one);
        }
        let tail = width.saturating_sub(used);
        let tail = if level == Level::Image { tail.min(LENGTH) } else { tail };
        Layout { level, name, processes, shown, tail }
    }

    /// The columns of a process below its image, which leave room for its command line, and the
    /// width of that.
    pub(super) fn of_member(&self) -> (&[Shown], usize) {
        let all: usize = self.shown.iter().map(|one| one.width + 1).sum();
        let (mut room, mut count) = (self.tail + all, 0);
        for one in &self.shown {
            if room < one.width + 1 + MIN_COMMAND {
                break;
            }
            room -= one.width + 1;
            count += 1;
        }
        (self.shown.get(..count).unwrap_or_default(), room)
    }
}

/// The column of processes for one of images, which they do not all have.
pub(super) fn of_processes(key: &'static str) -> &'static str {
    match key {
        "oldest" | "youngest" => "age",
        "running" | "sleeping" | "disk" | "stopped" | "zombie" => "state",
        other => other,
    }
}

/// All columns that can be chosen for rows of this level, without those that are always shown.
pub(super) fn choices(level: Level) -> impl Iterator<Item = &'static str> {
    let is_fixed = move |key: &str| match level {
        Level::Image => ["image", "processes"].contains(&key),
        Level::Process => ["pid", "command"].contains(&key),
    };
    let columns = crate::table::columns::columns(level).map(|column| column.key);
    std::iter::once(BAR).chain(columns.filter(move |key| !is_fixed(key)))
}

/// The column of this level by which rows are sorted.
pub(super) fn sort_column(key: &'static str, level: Level) -> Option<&'static Column> {
    let of_level = match level {
        Level::Image => match key {
            "age" => "oldest",
            "pid" | "command" | "owner" | "ppid" | "comm" => "image",
            other => other,
        },
        Level::Process => of_processes(key),
    };
    find(of_level, level).or_else(|| find("pcpu", level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_columns_exist_and_headings_fit() {
        for (level, columns) in
            [(Level::Image, &IMAGE_COLUMNS[..]), (Level::Process, &PROCESS_COLUMNS[..])]
        {
            for key in columns {
                assert!(choices(level).any(|choice| choice == *key), "{key}");
                let shown = Shown::new(key, level).unwrap();
                let heading = find(key, level).map_or("", |column| column.heading);
                assert!(heading.len() <= shown.width, "{key}");
            }
        }
    }

    #[test]
    fn lines_fit() {
        let all: Vec<&'static str> = choices(Level::Process).collect();
        for width in 0..400 {
            for (level, columns) in [
                (Level::Image, &IMAGE_COLUMNS[..]),
                (Level::Process, &PROCESS_COLUMNS[..]),
                (Level::Process, &all[..]),
            ] {
                let layout = Layout::new(level, columns, width, 99);
                let used: usize = layout.shown.iter().map(|one| one.width + 1).sum();
                let line = layout.name + 1 + layout.processes + used + layout.tail;
                assert!(line <= width.max(17), "{width}: {layout:?}");
                let (shown, room) = layout.of_member();
                let member: usize = shown.iter().map(|one| one.width + 1).sum();
                assert_eq!(member + room, used + layout.tail);
                assert!(width < 60 || room >= MIN_COMMAND.min(layout.tail + used));
            }
        }
    }

    #[test]
    fn command_line_survives_80_columns() {
        let layout = Layout::new(Level::Process, &PROCESS_COLUMNS, 80, 0);
        let shown: Vec<&str> = layout.shown.iter().map(|one| one.key).collect();
        assert_eq!(shown, ["owner", "state", "pcpu", "rss", "read_bytes/s", "write_bytes/s"]);
        assert!(layout.tail >= MIN_COMMAND);
    }
}

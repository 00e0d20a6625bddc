//! The columns of the live view.

use std::collections::VecDeque;

use crate::table::columns::{Column, Level, find};

/// The width of a bar.
pub(super) const BAR_WIDTH: usize = 8;
/// The width of the number of connections.
pub(super) const CONNECTIONS_WIDTH: usize = 5;
/// The minimum width of a column that the user has selected.
const MIN_WIDTH: usize = 6;

/// Columns that are shown together.
#[derive(Debug)]
pub(super) struct ColumnSet {
    pub(super) columns: Vec<ShownColumn>,
    /// Whether there are a bar before them and the connections after them.
    pub(super) has_bar: bool,
}

/// A column of the live view.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShownColumn {
    /// The column of an image.
    pub(super) key: &'static str,
    /// The width, which contains the mark of the sort column.
    pub(super) width: usize,
}

impl ShownColumn {
    /// The column of rows of this level; `None` if they do not have the value.
    pub(super) fn of(&self, level: Level) -> Option<&'static Column> {
        match level {
            Level::Image => find(self.key, level),
            Level::Process => find(of_processes(self.key), level),
        }
    }
}

/// The sets of columns, in the order of the key `c`.
pub(super) fn defaults() -> VecDeque<ColumnSet> {
    let set = |columns: &[(&'static str, usize)], has_bar| {
        let columns = columns.iter().map(|&(key, width)| ShownColumn { key, width }).collect();
        ColumnSet { columns, has_bar }
    };
    let first = [("pcpu", 6), ("rss", 6), ("rchar/s", 8), ("wchar/s", 8)];
    let second = [
        ("pcpu", 6),
        ("threads", 4),
        ("fds", 5),
        ("fd%", 5),
        ("starts", 7),
        ("exits", 6),
        ("oldest", 7),
    ];
    VecDeque::from([set(&first, true), set(&second, false)])
}

impl ColumnSet {
    /// These columns.
    pub(super) fn selected(columns: &[&'static Column]) -> ColumnSet {
        let shown = |column: &&'static Column| ShownColumn {
            key: column.key,
            width: (column.heading.len() + 1).max(MIN_WIDTH),
        };
        // The name is always shown.
        let columns = columns.iter().filter(|column| column.key != "image").map(shown).collect();
        ColumnSet { columns, has_bar: false }
    }

    /// The width of all columns, with a space after each.
    pub(super) fn width(&self) -> usize {
        let bar = if self.has_bar { BAR_WIDTH + 1 + CONNECTIONS_WIDTH + 1 } else { 0 };
        self.columns.iter().map(|shown| shown.width + 1).sum::<usize>() + bar
    }
}

/// The column by which processes are sorted if images are sorted by `key`.
pub(super) fn of_processes(key: &'static str) -> &'static str {
    match key {
        "oldest" | "youngest" => "age",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_exist_and_fit() {
        for set in defaults() {
            for shown in &set.columns {
                let heading = shown.of(Level::Image).unwrap().heading;
                assert!(heading.len() < shown.width, "{heading}");
            }
            assert_eq!(set.width(), 47);
        }
        let selected = ["image", "swap", "zombie"].map(|key| find(key, Level::Image).unwrap());
        let set = ColumnSet::selected(&selected);
        assert_eq!((set.columns.len(), set.width()), (2, 7 + 8));
    }
}

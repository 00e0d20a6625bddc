//! The columns of the live view.

use crate::table::columns::Level;

/// A column of the live view.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShownColumn {
    /// The column of an image.
    pub(super) key: &'static str,
    /// The column of a process; `None`: processes do not have the value.
    process_key: Option<&'static str>,
    /// The width, which contains the mark of the sort column.
    pub(super) width: usize,
}

impl ShownColumn {
    const fn both(key: &'static str, width: usize) -> ShownColumn {
        ShownColumn { key, process_key: Some(key), width }
    }

    /// The column of rows of this level.
    pub(super) fn of(&self, level: Level) -> Option<&'static str> {
        match level {
            Level::Image => Some(self.key),
            Level::Process => self.process_key,
        }
    }
}

/// The sets of columns, in the order of the key `c`. Each takes the same width; the first has a
/// bar and the number of connections in addition.
pub(super) static SETS: &[&[ShownColumn]] = &[
    &[
        ShownColumn::both("pcpu", 6),
        ShownColumn::both("rss", 6),
        ShownColumn::both("rchar/s", 8),
        ShownColumn::both("wchar/s", 8),
    ],
    &[
        ShownColumn::both("pcpu", 6),
        ShownColumn::both("threads", 4),
        ShownColumn::both("fds", 5),
        ShownColumn::both("fd%", 5),
        ShownColumn { key: "starts", process_key: None, width: 7 },
        ShownColumn { key: "exits", process_key: None, width: 6 },
        OLDEST,
    ],
];

const OLDEST: ShownColumn = ShownColumn { key: "oldest", process_key: Some("age"), width: 7 };

/// The column by which processes are sorted if images are sorted by `key`.
pub(super) fn of_processes(key: &'static str) -> &'static str {
    if key == OLDEST.key { "age" } else { key }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::columns::find;

    #[test]
    fn columns_exist_and_fit() {
        for (number, set) in SETS.iter().enumerate() {
            for shown in *set {
                let heading = find(shown.key, Level::Image).unwrap().heading;
                assert!(heading.len() < shown.width, "{heading}");
                let process = shown.of(Level::Process).map(|key| find(key, Level::Process));
                assert!(process.is_none_or(|column| column.is_some()), "{heading}");
                assert_eq!(
                    process.is_some(),
                    find(of_processes(shown.key), Level::Process).is_some()
                );
            }
            // A space before each; the bar, and the connections.
            let width: usize = set.iter().map(|shown| shown.width + 1).sum();
            assert_eq!(width + if number == 0 { 9 + 6 } else { 0 }, 47);
        }
    }
}

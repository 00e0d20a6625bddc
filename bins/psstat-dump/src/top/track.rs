//! Changes in the last windows: histories of images, new and exited processes, growth.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::history::History;
use crate::measure::Snapshot;
use crate::table::row::Row;

/// Windows in which a process is new, and in which an exited one is still shown.
const RECENT_WINDOWS: u64 = 5;
/// Exited processes that are shown at most: a storm of short ones must not fill the memory.
const MAX_EXITED: usize = 500;
/// Readings from which growth is determined.
const READINGS: usize = 5;
/// The number of values whose growth is determined.
const VALUES: usize = 6;
/// The columns of these values.
const KEYS: [&str; VALUES] = ["rss", "fds", "threads", "tcp", "udp", "unix"];

/// A process: pid and start time.
type ProcessKey = (u32, u64);

/// The last readings of one row.
#[derive(Clone, Debug, Default)]
struct Recent {
    readings: [[f32; VALUES]; READINGS],
    count: usize,
}

impl Recent {
    fn add(&mut self, row: &Row) {
        let numbers = &row.numbers;
        let values =
            [numbers.rss, numbers.fds, numbers.threads, numbers.tcp, numbers.udp, numbers.unix];
        self.readings.rotate_left(1);
        if let Some(last) = self.readings.last_mut() {
            *last = values.map(|value| value.map_or(f32::NAN, |value| value as f32));
        }
        self.count = (self.count + 1).min(READINGS);
    }

    /// Whether a value has grown in at least three of the last four windows, and not shrunk in
    /// the last one. Unknown values do not grow.
    fn grows(&self, key: &str) -> bool {
        let Some(at) = KEYS.iter().position(|one| *one == key) else { return false };
        if self.count < READINGS {
            return false;
        }
        let values = self.readings.iter().filter_map(|reading| reading.get(at)).copied();
        let steps: Vec<f32> =
            values.clone().zip(values.skip(1)).map(|(before, after)| after - before).collect();
        steps.iter().filter(|step| **step > 0.0).count() + 1 >= steps.len()
            && steps.last().is_some_and(|last| *last >= 0.0)
    }
}

/// The last windows.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    /// The number of windows so far.
    windows: u64,
    /// Histories by image.
    pub(super) histories: BTreeMap<String, History>,
    images: HashMap<String, Recent>,
    /// The window in which each process was first seen, and its readings.
    processes: HashMap<ProcessKey, (u64, Recent)>,
    /// The last rows of processes that exited, with the window in which they were missing.
    exited: Vec<(u64, Row)>,
}

fn process_key(row: &Row) -> Option<ProcessKey> {
    row.id.as_ref().map(|id| (id.pid, id.starttime))
}

impl Tracks {
    /// Adds a window, which follows the window `previous`.
    pub(super) fn add(&mut self, snapshot: &Snapshot, previous: Option<&Snapshot>) {
        self.windows += 1;
        let windows = self.windows;
        let names: HashSet<&String> = snapshot.images.iter().flat_map(|row| &row.images).collect();
        self.histories.retain(|name, _| names.contains(name));
        self.images.retain(|name, _| names.contains(name));
        for row in &snapshot.images {
            let Some(name) = row.images.first() else { continue };
            self.histories.entry(name.clone()).or_default().add(row);
            self.images.entry(name.clone()).or_default().add(row);
        }
        let mut before = std::mem::take(&mut self.processes);
        for row in &snapshot.processes {
            let Some(key) = process_key(row) else { continue };
            let (first, mut recent) =
                before.remove(&key).unwrap_or_else(|| (windows, Recent::default()));
            recent.add(row);
            self.processes.insert(key, (first, recent));
        }
        self.exited.retain(|(window, _)| window + RECENT_WINDOWS > windows);
        for row in previous.iter().flat_map(|previous| &previous.processes) {
            let Some(key) = process_key(row) else { continue };
            // The processes that are left in `before` are not in the window.
            if before.contains_key(&key) && self.exited.len() < MAX_EXITED {
                self.exited.push((windows, row.clone()));
            }
        }
    }

    /// The last rows of processes that exited in the last windows.
    pub(super) fn exited(&self) -> impl Iterator<Item = &Row> {
        self.exited.iter().map(|(_, row)| row)
    }

    pub(super) fn exited_at(&self, at: usize) -> Option<&Row> {
        self.exited.get(at).map(|(_, row)| row)
    }

    /// Whether a process was first seen in one of the last windows, but not in the first one.
    pub(super) fn is_new(&self, row: &Row) -> bool {
        let seen = process_key(row).and_then(|key| self.processes.get(&key));
        seen.is_some_and(|(first, _)| *first > 1 && first + RECENT_WINDOWS > self.windows)
    }

    /// Whether the value of a column grows.
    pub(super) fn grows(&self, row: &Row, column: &str) -> bool {
        let recent = match process_key(row) {
            Some(key) => self.processes.get(&key).map(|(_, recent)| recent),
            None => row.images.first().and_then(|name| self.images.get(name)),
        };
        recent.is_some_and(|recent| recent.grows(column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_needs_three_of_four_steps() {
        let grows = |values: &[Option<u64>]| {
            let mut recent = Recent::default();
            for value in values {
                let mut row = Row::default();
                row.numbers.rss = *value;
                recent.add(&row);
            }
            recent.grows("rss")
        };
        let known = |values: [u64; 5]| grows(&values.map(Some));
        assert!(known([1, 2, 3, 4, 5]));
        assert!(known([1, 2, 2, 4, 5]));
        assert!(known([1, 2, 3, 4, 4]));
        assert!(!known([1, 2, 3, 4, 3]));
        assert!(!known([1, 1, 1, 4, 5]));
        assert!(!known([5, 5, 5, 5, 5]));
        assert!(!grows(&[Some(1), Some(2), Some(3)]));
        assert!(!grows(&[Some(1), Some(2), None, Some(4), Some(5)]));
        assert!(!Recent::default().grows("pcpu"));
    }
}

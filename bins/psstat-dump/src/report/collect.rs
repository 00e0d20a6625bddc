//! The values of images and processes in a range of windows.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::SystemTime;

use crate::recording::{Exit, Recording};
use crate::table::row::{ProcessId, Row};
use crate::top::history::connections;

/// A value that has a plot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    /// Its name in the data.
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    /// `percent`, `bytes`, `bytes/s`, `/s` or `count`.
    pub(super) unit: &'static str,
    /// Whether only images have it.
    pub(super) is_of_images: bool,
    get: fn(&Row, Option<&Row>, f64) -> Option<f64>,
}

/// All plots, in their order.
pub(super) const METRICS: [Metric; 7] = [
    Metric {
        key: "cpu",
        title: "CPU, percent of one core",
        unit: "percent",
        is_of_images: false,
        get: |row, _, _| row.numbers.cpu_percent,
    },
    Metric {
        key: "memory",
        title: "Resident memory",
        unit: "bytes",
        is_of_images: false,
        get: |row, _, _| row.numbers.rss.map(|rss| rss as f64),
    },
    Metric {
        key: "io",
        title: "Read and written by calls (rchar, wchar)",
        unit: "bytes/s",
        is_of_images: false,
        get: |row, _, _| {
            let rate = |(io, seconds): (psstat_sampler::IoCounters, f64)| {
                io.rchar.saturating_add(io.wchar) as f64 / seconds
            };
            row.growth.io.map(rate)
        },
    },
    Metric {
        key: "storage",
        title: "Read from and written to storage (read_bytes, write_bytes)",
        unit: "bytes/s",
        is_of_images: false,
        get: |row, _, _| {
            let rate = |(io, seconds): (psstat_sampler::IoCounters, f64)| {
                io.read_bytes.saturating_add(io.write_bytes) as f64 / seconds
            };
            row.growth.io.map(rate)
        },
    },
    Metric {
        key: "connections",
        title: "Connections (tcp, udp, unix)",
        unit: "count",
        is_of_images: false,
        get: |row, _, _| connections(row).map(|count| count as f64),
    },
    Metric {
        key: "starts",
        title: "Starts",
        unit: "/s",
        is_of_images: true,
        get: |row, before, seconds| {
            let started = row.numbers.starts.checked_sub(before?.numbers.starts)?;
            Some(started as f64 / seconds)
        },
    },
    Metric {
        key: "exits",
        title: "Exits",
        unit: "/s",
        is_of_images: true,
        get: |row, before, seconds| {
            let ended = row.numbers.exits.checked_sub(before?.numbers.exits)?;
            Some(ended as f64 / seconds)
        },
    },
];

/// The values of one row in a window.
pub(super) type Values = [Option<f64>; METRICS.len()];

/// The sums over all windows of one image or process.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) sums: [f64; METRICS.len()],
    counts: [u64; METRICS.len()],
    pub(super) highest: Values,
    /// Its last row.
    pub(super) last: Row,
    /// Most processes at a time.
    pub(super) processes: u64,
    pub(super) last_time: SystemTime,
    /// Bytes read and written by calls.
    pub(super) transferred: f64,
}

impl Summary {
    fn new(row: &Row, time: SystemTime) -> Summary {
        Summary {
            sums: [0.0; METRICS.len()],
            counts: [0; METRICS.len()],
            highest: [None; METRICS.len()],
            last: row.clone(),
            processes: 0,
            last_time: time,
            transferred: 0.0,
        }
    }

    fn add(&mut self, row: &Row, values: &Values, time: SystemTime) {
        let all = self.sums.iter_mut().zip(&mut self.counts).zip(&mut self.highest);
        for (((sum, count), highest), value) in all.zip(values) {
            let Some(value) = *value else { continue };
            *sum += value;
            *count += 1;
            *highest = Some(highest.map_or(value, |before| before.max(value)));
        }
        self.processes = self.processes.max(row.numbers.processes);
        let transferred = row.growth.io.map(|(io, _)| io.rchar.saturating_add(io.wchar));
        self.transferred += transferred.unwrap_or(0) as f64;
        self.last.clone_from(row);
        self.last_time = time;
    }

    /// The average over the windows that have the value.
    pub(super) fn average(&self, metric: usize) -> Option<f64> {
        let (sum, count) = (self.sums.get(metric)?, *self.counts.get(metric)?);
        (count > 0).then(|| sum / count as f64)
    }
}

/// The pid and start time of a process.
pub(super) type ProcessKey = (u32, u64);

/// One window.
pub(super) struct Window<'a> {
    pub(super) time: SystemTime,
    /// Whether windows are missing before it.
    pub(super) is_after_gap: bool,
    pub(super) total: &'a Values,
    pub(super) images: &'a HashMap<String, Values>,
    pub(super) processes: &'a HashMap<ProcessKey, Values>,
}

/// All summaries of a range.
#[derive(Debug)]
pub(super) struct Summaries {
    pub(super) windows: u64,
    pub(super) total: Option<Summary>,
    pub(super) images: HashMap<String, Summary>,
    pub(super) processes: HashMap<ProcessKey, Summary>,
    pub(super) exits: Vec<(SystemTime, Exit)>,
    pub(super) exit_count: u64,
    pub(super) short_lived: u64,
}

/// Maximum of [`Summaries::exits`]: those with a status other than 0 are kept longest.
const MAX_EXITS: usize = 2000;

/// Reads the windows of a range, calls `each` with each of them, and returns the sums.
pub(super) fn collect(
    recording: &mut Recording,
    range: std::ops::Range<usize>,
    each: &mut dyn FnMut(&Window<'_>),
) -> Summaries {
    let mut all = Summaries {
        windows: 0,
        total: None,
        images: HashMap::new(),
        processes: HashMap::new(),
        exits: Vec::new(),
        exit_count: 0,
        short_lived: 0,
    };
    let mut before: Option<crate::measure::Snapshot> = None;
    for number in range {
        let Some(frame) = recording.frame(number) else { continue };
        let snapshot = frame.snapshot;
        let time = snapshot.time;
        let interval = recording.meta(number).map_or(1.0, |meta| meta.interval);
        let since = before.as_ref().and_then(|one| time.duration_since(one.time).ok());
        let seconds = since.map_or(interval, |since| since.as_secs_f64()).max(1e-3);
        // A recorder that started again counts from 0.
        let is_after_gap = before.is_some() && seconds > 2.5 * interval;
        let previous = before.as_ref().filter(|_| !is_after_gap);
        let images_before: HashMap<&[String], &Row> = previous
            .into_iter()
            .flat_map(|one| &one.images)
            .map(|row| (&row.images[..], row))
            .collect();
        let values = |row: &Row, before: Option<&Row>| -> Values {
            METRICS.map(|metric| (metric.get)(row, before, seconds).filter(|one| one.is_finite()))
        };
        let total = values(&snapshot.total, previous.map(|one| &one.total));
        add(&mut all.total, &snapshot.total, &total, time);
        let mut images = HashMap::new();
        for row in &snapshot.images {
            let Some(name) = row.images.first() else { continue };
            let values = values(row, images_before.get(&row.images[..]).copied());
            add_to(&mut all.images, name.clone(), row, &values, time);
            images.insert(name.clone(), values);
        }
        let mut processes = HashMap::new();
        for row in &snapshot.processes {
            let Some(ProcessId { pid, starttime, .. }) = row.id else { continue };
            let values = values(row, None);
            add_to(&mut all.processes, (pid, starttime), row, &values, time);
            processes.insert((pid, starttime), values);
        }
        all.windows += 1;
        // The exits before the first window are not in the range.
        if before.is_some() {
            all.exit_count += frame.exits.exits.len() as u64;
            all.short_lived += frame.exits.short_lived_count;
            all.exits.extend(frame.exits.exits.into_iter().map(|exit| (time, exit)));
            if all.exits.len() > 2 * MAX_EXITS {
                shorten(&mut all.exits);
            }
        }
        each(&Window { time, is_after_gap, total: &total, images: &images, processes: &processes });
        before = Some(snapshot);
    }
    shorten(&mut all.exits);
    all
}

fn add(summary: &mut Option<Summary>, row: &Row, values: &Values, time: SystemTime) {
    summary.get_or_insert_with(|| Summary::new(row, time)).add(row, values, time);
}

fn add_to<K: Eq + Hash>(
    summaries: &mut HashMap<K, Summary>,
    key: K,
    row: &Row,
    values: &Values,
    time: SystemTime,
) {
    summaries.entry(key).or_insert_with(|| Summary::new(row, time)).add(row, values, time);
}

/// Leaves out the oldest exits, first those with status 0.
fn shorten(exits: &mut Vec<(SystemTime, Exit)>) {
    let mut excess = exits.len().saturating_sub(MAX_EXITS);
    for only_successful in [true, false] {
        exits.retain(|(_, exit)| {
            let is_left_out = excess > 0 && (!only_successful || exit.status.is_success());
            excess -= usize::from(is_left_out);
            !is_left_out
        });
    }
}

//! The data of the page, as JSON.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::SystemTime;

use psstat_support::escape;
use serde_json::{Value, json};

use super::collect::{METRICS, ProcessKey, Summaries, Summary, Values, Window, collect};
use crate::recording::{Exit, ExitStatus, Recording};
use crate::table::columns::{self, Level};
use crate::table::row::{ProcessId, Row};
use crate::table::units::Style;
use crate::{table, time};

/// Points per plot. With more windows, a point is the average of several.
const MAX_POINTS: usize = 4000;
/// Lines per plot; the others are summed up.
const MAX_LINES: usize = 10;
/// Rows in the table of processes.
const MAX_PROCESSES: usize = 200;

/// One line of a plot.
#[derive(Debug, Default)]
struct Line {
    sums: Vec<f64>,
    counts: Vec<u32>,
}

impl Line {
    fn add(&mut self, point: usize, value: Option<f64>) {
        if self.sums.len() <= point {
            self.sums.resize(point + 1, 0.0);
            self.counts.resize(point + 1, 0);
        }
        if let (Some(value), Some(sum), Some(count)) =
            (value, self.sums.get_mut(point), self.counts.get_mut(point))
        {
            *sum += value;
            *count += 1;
        }
    }

    /// The averages, in which a point without a value is absent.
    fn points(&self, count: usize) -> Vec<Value> {
        let point = |at: usize| {
            let (sum, count) = (*self.sums.get(at)?, *self.counts.get(at)?);
            (count > 0).then(|| rounded(sum / f64::from(count)))
        };
        (0..count).map(|at| point(at).unwrap_or(Value::Null)).collect()
    }
}

/// Four digits at least, which is more than a plot shows; whole numbers as such.
fn rounded(value: f64) -> Value {
    if value.abs() >= 1000.0 || value.fract() == 0.0 {
        return json!(value.round() as i64);
    }
    json!((value * 1000.0).round() / 1000.0)
}

/// The lines of one metric.
struct Plot<K> {
    /// The images or processes with the highest sums.
    highest: Vec<K>,
    lines: Vec<Line>,
}

impl<K: Eq + Hash + Clone + Ord> Plot<K> {
    fn new(metric: usize, summaries: &HashMap<K, Summary>) -> Plot<K> {
        let mut ranked: Vec<(&K, f64)> = summaries
            .iter()
            .filter_map(|(key, summary)| Some((key, *summary.sums.get(metric)?)))
            .filter(|(_, sum)| *sum > 0.0)
            .collect();
        ranked.sort_by(|(a, one), (b, other)| other.total_cmp(one).then_with(|| a.cmp(b)));
        let highest: Vec<K> =
            ranked.into_iter().take(MAX_LINES).map(|(key, _)| key.clone()).collect();
        let lines = highest.iter().map(|_| Line::default()).collect();
        Plot { highest, lines }
    }

    fn add(&mut self, point: usize, metric: usize, window: &HashMap<K, Values>) {
        for (key, line) in self.highest.iter().zip(&mut self.lines) {
            let value = window.get(key).and_then(|values| values.get(metric).copied().flatten());
            line.add(point, value);
        }
    }

    fn json(&self, points: usize, label: impl Fn(&K) -> Value) -> Vec<Value> {
        let lines = self.highest.iter().zip(&self.lines);
        lines
            .map(|(key, line)| json!({"label": label(key), "points": line.points(points)}))
            .collect()
    }
}

/// The data of the windows from one time to another; `None` if there is none.
pub(super) fn data(recording: &mut Recording, from: SystemTime, to: SystemTime) -> Option<Value> {
    let is_in = |number: &usize| recording.time(*number).is_some_and(|t| t >= from && t <= to);
    let first = (0..recording.len()).find(is_in)?;
    let last = (first..recording.len()).rfind(is_in)?;
    let range = first..last + 1;
    let all = collect(recording, range.clone(), &mut |_| ());
    if all.windows == 0 {
        return None;
    }
    let windows_per_point = range.len().div_ceil(MAX_POINTS);

    let mut images: Vec<Plot<String>> =
        (0..METRICS.len()).map(|metric| Plot::new(metric, &all.images)).collect();
    let mut processes: Vec<Plot<ProcessKey>> =
        (0..METRICS.len()).map(|metric| Plot::new(metric, &all.processes)).collect();
    let mut totals: Vec<Line> = METRICS.iter().map(|_| Line::default()).collect();
    let mut times: Vec<Value> = Vec::new();
    let mut in_point = 0;
    collect(recording, range, &mut |window: &Window<'_>| {
        let seconds = time::unix_seconds(window.time);
        if window.is_after_gap && !times.is_empty() {
            // A point without values.
            times.push(json!(seconds - 1e-3));
            in_point = 0;
        }
        if in_point == 0 {
            times.push(json!((seconds * 1000.0).round() / 1000.0));
        }
        in_point = (in_point + 1) % windows_per_point;
        let point = times.len() - 1;
        for metric in 0..METRICS.len() {
            if let Some(line) = totals.get_mut(metric) {
                line.add(point, window.total.get(metric).copied().flatten());
            }
            if let Some(plot) = images.get_mut(metric) {
                plot.add(point, metric, window.images);
            }
            if let Some(plot) = processes.get_mut(metric) {
                plot.add(point, metric, window.processes);
            }
        }
    });
    let count = times.len();
    let plots = METRICS.iter().zip(images.iter().zip(&processes)).zip(&totals);
    let plots: Vec<Value> = plots
        .map(|((metric, (images, processes)), total)| {
            let of_processes =
                processes.json(count, |key| json!(process_label(all.processes.get(key))));
            json!({
                "key": metric.key, "title": metric.title, "unit": metric.unit,
                "total": total.points(count),
                "images": images.json(count, |name| json!(escape::text(name))),
                "processes": if metric.is_of_images { Vec::new() } else { of_processes },
            })
        })
        .collect();
    let meta = recording.meta(last);
    Some(json!({
        "host": escape::text(meta.map_or("", |meta| &meta.host)),
        "kernel": escape::text(meta.map_or("", |meta| &meta.kernel)),
        "program": escape::text(meta.map_or("", |meta| &meta.program)),
        "interval": meta.map(|meta| meta.interval),
        "windows": all.windows,
        "windows_per_point": windows_per_point,
        "from": recording.time(first).map(time::format_utc),
        "to": recording.time(last).map(time::format_utc),
        "times": times,
        "plots": plots,
        "image_rows": image_rows(&all),
        "process_rows": process_rows(&all),
        "process_count": all.processes.len(),
        "exit_rows": exit_rows(&all),
        "exit_count": all.exit_count,
        "short_lived": all.short_lived,
    }))
}

/// A process in the legend: its pid and the name of its program.
fn process_label(summary: Option<&Summary>) -> String {
    let Some(id) = summary.and_then(|summary| summary.last.id.as_ref()) else {
        return String::new();
    };
    let command = command(&summary.map(|summary| summary.last.clone()).unwrap_or_default());
    let program = command.split(' ').next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    format!("{} {}", id.pid, escape::truncate(name, 30))
}

fn command(row: &Row) -> String {
    let column = columns::find("command", Level::Process);
    column.map_or(String::new(), |column| table::cell(&(column.get)(row), Style::Human))
}

fn index(key: &str) -> usize {
    METRICS.iter().position(|metric| metric.key == key).unwrap_or(0)
}

/// Average and highest CPU usage, highest memory, transferred bytes, most connections.
fn common(summary: &Summary) -> [Value; 5] {
    let highest = |key: &str| summary.highest.get(index(key)).copied().flatten();
    let number = |value: Option<f64>| value.map_or(Value::Null, rounded);
    [
        number(summary.average(index("cpu"))),
        number(highest("cpu")),
        number(highest("memory")),
        rounded(summary.transferred),
        number(highest("connections")),
    ]
}

fn image_rows(all: &Summaries) -> Vec<Value> {
    let mut rows: Vec<(&String, &Summary)> = all.images.iter().collect();
    rows.sort_by_key(|(name, _)| *name);
    let row = |(name, summary): (&String, &Summary)| {
        let [cpu, most_cpu, memory, transferred, connections] = common(summary);
        let processes = summary.processes;
        let numbers = &summary.last.numbers;
        json!([
            escape::text(name),
            processes,
            cpu,
            most_cpu,
            memory,
            transferred,
            connections,
            numbers.starts,
            numbers.exits
        ])
    };
    rows.into_iter().map(row).collect()
}

fn process_rows(all: &Summaries) -> Vec<Value> {
    let mut rows: Vec<(&ProcessKey, &Summary)> = all.processes.iter().collect();
    let cpu = |summary: &Summary| summary.sums.get(index("cpu")).copied().unwrap_or(0.0);
    rows.sort_by(|(a, one), (b, other)| {
        cpu(other).total_cmp(&cpu(one)).then_with(|| {
            let memory = |one: &Summary| one.last.numbers.rss;
            memory(other).cmp(&memory(one)).then_with(|| a.cmp(b))
        })
    });
    let ends: HashMap<ProcessKey, ExitStatus> =
        all.exits.iter().map(|(_, exit)| (key_of(&exit.id), exit.status)).collect();
    let row = |(key, summary): (&ProcessKey, &Summary)| {
        let [cpu, most_cpu, memory, transferred, connections] = common(summary);
        let started = summary.last.id.as_ref().and_then(|id| id.started);
        json!([
            key.0,
            escape::text(&summary.last.images.join(", ")),
            cpu,
            most_cpu,
            memory,
            transferred,
            connections,
            started.map(time::format_utc),
            ends.get(key).map(|status| status.text()),
            command(&summary.last),
        ])
    };
    rows.into_iter().take(MAX_PROCESSES).map(row).collect()
}

fn key_of(id: &ProcessId) -> ProcessKey {
    (id.pid, id.starttime)
}

fn exit_rows(all: &Summaries) -> Vec<Value> {
    let row = |(at, exit): &(SystemTime, Exit)| {
        let row = Row { id: Some(exit.id.clone()), ..Row::default() };
        json!([
            time::format_utc(*at),
            exit.id.pid,
            escape::text(&exit.images.join(", ")),
            exit.status.text(),
            command(&row),
        ])
    };
    all.exits.iter().map(row).collect()
}

//! The data of one process in a recording, as text and JSON.

use std::fmt::Write as _;
use std::time::SystemTime;

use psstat_support::escape;
use serde_json::{Map, Value, json};

use super::{Exit, ExitStatus, Recording};
use crate::table::columns::{self, Cell, Column, Level};
use crate::table::row::{ProcessId, Row};
use crate::table::units::Style;
use crate::table::{self, json};
use crate::time;

/// A process in a recording.
#[derive(Debug)]
pub struct RecordedProcess {
    /// Its values in one window.
    pub row: Row,
    /// The time of that window.
    pub time: SystemTime,
    /// The first window that has it.
    pub first: SystemTime,
    /// The last one.
    pub last: SystemTime,
    /// When its end was noticed, and how it ended.
    pub ended: Option<(SystemTime, ExitStatus)>,
}

/// The columns of [`RecordedProcess::row`], with those that say which process it is first.
fn process_columns() -> impl Iterator<Item = &'static Column> {
    let first = |column: &&Column| ["pid", "command", "image"].contains(&column.key);
    let all = || columns::columns(Level::Process);
    all().filter(first).chain(all().filter(move |column| !first(column)))
}

/// The processes with this pid, oldest first. Their rows are those of the last frame up to `at`, or
/// of their first one if that is later.
pub fn find(recording: &mut Recording, pid: u32, at: usize) -> Vec<RecordedProcess> {
    let mut found: Vec<RecordedProcess> = Vec::new();
    for number in 0..recording.len() {
        let Some(frame) = recording.process(number, pid) else { continue };
        let Some(time) = recording.time(number) else { continue };
        for exit in &frame.exits {
            let is_exit_of = |one: &&mut RecordedProcess| is_same(&one.row, exit);
            if let Some(process) = found.iter_mut().rev().find(is_exit_of) {
                process.ended = Some((time, exit.status));
            }
        }
        let Some(row) = frame.row else { continue };
        match found.last_mut() {
            Some(process) if key(&process.row) == key(&row) => {
                process.last = time;
                if number <= at {
                    (process.row, process.time) = (row, time);
                }
            }
            _ => found.push(RecordedProcess { row, time, first: time, last: time, ended: None }),
        }
    }
    found
}

fn key(row: &Row) -> Option<(u32, u64)> {
    row.id.as_ref().map(|id| (id.pid, id.starttime))
}

fn is_same(row: &Row, exit: &Exit) -> bool {
    let ProcessId { pid, starttime, .. } = exit.id;
    key(row) == Some((pid, starttime))
}

impl ExitStatus {
    /// As a text.
    pub fn text(self) -> String {
        match self {
            ExitStatus::Exited(status) => format!("exited with status {status}"),
            ExitStatus::Signaled { signal, has_core } => {
                let core = if has_core { ", core dumped" } else { "" };
                format!("killed by signal {signal}{core}")
            }
            ExitStatus::Left => "still running, but in no image".to_owned(),
            ExitStatus::Unknown => "ended; its status was not reported to the recorder".to_owned(),
        }
    }

    /// As the fields `status` and `signal`.
    pub fn json(self) -> Value {
        match self {
            ExitStatus::Exited(status) => json!({"status": status, "signal": null}),
            ExitStatus::Signaled { signal, .. } => json!({"status": null, "signal": signal}),
            ExitStatus::Left => json!({"status": null, "signal": null, "is_running": true}),
            ExitStatus::Unknown => json!({"status": null, "signal": null}),
        }
    }
}

/// The values of one window, one per line.
pub fn as_text(row: &Row) -> String {
    let mut text = String::new();
    for column in process_columns() {
        let cell = (column.get)(row);
        if cell == Cell::Absent {
            continue;
        }
        let value = table::cell(&cell, Style::Human);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:<24} {value}", column.key);
    }
    text
}

impl RecordedProcess {
    /// All of it, one value per line.
    pub fn as_text(&self) -> String {
        let pid = self.row.id.as_ref().map_or(0, |id| id.pid);
        let ended = match self.ended {
            Some((time, status)) => format!("{}: {}", time::format_utc(time), status.text()),
            None => "-".to_owned(),
        };
        let fields = [
            ("recorded from", time::format_utc(self.first)),
            ("recorded to", time::format_utc(self.last)),
            ("ended", ended),
            ("values of", time::format_utc(self.time)),
        ];
        let mut text = format!("process {pid}\n");
        for (name, value) in fields {
            let _ = writeln!(text, "{name:<24} {}", escape::text(&value));
        }
        text + &as_text(&self.row)
    }

    /// A document.
    pub fn as_json(&self) -> Value {
        let mut document: Map<String, Value> = json::document("recorded_process");
        let mut add = |field: &str, value: Value| document.insert(field.to_owned(), value);
        add("first_unix_seconds", json!(time::unix_seconds(self.first)));
        add("last_unix_seconds", json!(time::unix_seconds(self.last)));
        let ended = self.ended.map(|(time, status)| {
            let mut ended = status.json();
            if let Some(fields) = ended.as_object_mut() {
                fields.insert("time_unix_seconds".to_owned(), json!(time::unix_seconds(time)));
            }
            ended
        });
        add("ended", ended.unwrap_or(Value::Null));
        add("time_unix_seconds", json!(time::unix_seconds(self.time)));
        let columns: Vec<&Column> = process_columns().collect();
        add("row", json::row(&columns, &self.row));
        Value::Object(document)
    }
}

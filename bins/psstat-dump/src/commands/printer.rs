//! Prints snapshots in the format that the arguments select.

use serde_json::{Value, json};

use crate::args::Format;
use crate::conf;
use crate::exit::Error;
use crate::measure::Snapshot;
use crate::selector::Selector;
use crate::table::columns::{Column, Level};
use crate::table::row::Row;
use crate::table::units::{self, Style};
use crate::table::{csv, json};
use crate::terminal::{self, Paint};
use crate::{table, time};

/// Prints tables in one of the formats.
pub(super) struct Printer {
    pub(super) format: Format,
    pub(super) paint: Paint,
    pub(super) style: Style,
    pub(super) level: Level,
    pub(super) columns: Vec<&'static Column>,
    pub(super) repeats: bool,
}

/// Where the images of a snapshot come from; only for JSON.
#[derive(Debug, Default)]
pub(super) struct Origin {
    pub(super) images_from: Value,
    pub(super) step_limited_rules: Value,
}

impl Printer {
    /// That of these images.
    pub(super) fn origin(&self, selector: &Selector) -> Origin {
        if self.format != Format::Json {
            return Origin::default();
        }
        let limited = selector.step_limited_rules().into_iter();
        let limited = limited.map(|(image, rule)| json!({"image": image, "file": conf::file_of(rule), "line": rule.line()}));
        Origin {
            images_from: json::source(selector.source()),
            step_limited_rules: limited.collect(),
        }
    }

    pub(super) fn print(
        &self,
        snapshot: &Snapshot,
        origin: &Origin,
        first: bool,
    ) -> Result<(), Error> {
        let bytes = match self.format {
            Format::Text => self.text(snapshot, first).into_bytes(),
            Format::Csv => self.csv(snapshot, first).into_bytes(),
            Format::Json => json::line(&self.json(snapshot, origin)),
        };
        Ok(terminal::print(&bytes)?)
    }

    fn rows<'a>(&self, snapshot: &'a Snapshot) -> &'a [Row] {
        match self.level {
            Level::Image => &snapshot.images,
            Level::Process => &snapshot.processes,
        }
    }

    fn text(&self, snapshot: &Snapshot, first: bool) -> String {
        if first && let Some(hint) = denied_hint(snapshot) {
            terminal::hint(&hint);
        }
        let table = self.table(
            &time::format_utc(snapshot.time),
            self.rows(snapshot),
            Some(&snapshot.total),
        );
        // Without the empty line that separates tables.
        if first { table.trim_start_matches('\n').to_owned() } else { table }
    }

    /// A table, with its title if there are several tables.
    pub(super) fn table(&self, title: &str, rows: &[Row], total: Option<&Row>) -> String {
        let title =
            if self.repeats { format!("\n{}\n", self.paint.bold(title)) } else { String::new() };
        // The total of a single row is that row.
        let total = total.filter(|_| rows.len() > 1);
        let style =
            table::TableStyle { style: self.style, width: terminal::columns(), paint: self.paint };
        title + &table::render(&self.columns, rows, total, style)
    }

    fn csv(&self, snapshot: &Snapshot, first: bool) -> String {
        let mut text = if first { csv::heading(&self.columns) } else { String::new() };
        let time = time::unix_seconds(snapshot.time);
        text.push_str(&csv::rows(&self.columns, self.rows(snapshot), time));
        text
    }

    fn json(&self, snapshot: &Snapshot, origin: &Origin) -> Value {
        let kind = if self.level == Level::Image { "images" } else { "processes" };
        let mut document = json::document(kind);
        let mut add = |field: &str, value: Value| document.insert(field.to_owned(), value);
        add("images_from", origin.images_from.clone());
        add("time_unix_seconds", json!(time::unix_seconds(snapshot.time)));
        add("window_seconds", json!(snapshot.window.map(|window| window.as_secs_f64())));
        let rows = self.rows(snapshot).iter().map(|row| json::row(&self.columns, row)).collect();
        add("rows", Value::Array(rows));
        add("total", json::total(&self.columns, &snapshot.total));
        add("unread", json::unread(&snapshot.health));
        add("step_limited_rules", origin.step_limited_rules.clone());
        Value::Object(document)
    }
}

/// A hint about files that this user may not read.
fn denied_hint(snapshot: &Snapshot) -> Option<String> {
    let (matched, denied) = (snapshot.health.matched, snapshot.health.denied);
    let mut parts = Vec::new();
    for (file, denied) in [("io", denied.io), ("sockets", denied.fd)] {
        if denied > 0 {
            let matched = units::count(matched, "process", "processes");
            parts.push(format!("permission denied for {file} of {denied} of {matched}"));
        }
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

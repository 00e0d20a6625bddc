//! Rows as comma-separated values (RFC 4180, with a line feed as line end).

use crate::table::columns::{Cell, Column};
use crate::table::row::Row;
use crate::time::unix_seconds;
use psstat_support::escape;

/// The heading.
pub fn heading(columns: &[&Column]) -> String {
    let fields = std::iter::once("time_unix_seconds").chain(columns.iter().map(|c| c.field));
    line(fields.map(str::to_owned))
}

/// One record per row. Absent values are empty, numbers are exact, and untrusted
/// text is escaped.
pub fn rows(columns: &[&Column], rows: &[Row], time: f64) -> String {
    let mut lines = String::new();
    for row in rows {
        let cells = columns.iter().map(|column| value(&(column.get)(row)));
        lines.push_str(&line(std::iter::once(format!("{time:.3}")).chain(cells)));
    }
    lines
}

fn value(cell: &Cell<'_>) -> String {
    match *cell {
        Cell::Absent => String::new(),
        Cell::Name(name) => name.to_owned(),
        Cell::Names(names) => names.join(" "),
        Cell::Text(text) => escape::bytes(text),
        Cell::Comm(_) => String::new(),
        Cell::Count(value) => value.to_string(),
        Cell::Bytes(value) | Cell::Calls(value) => value.to_string(),
        Cell::ByteRate(value) | Cell::CallRate(value) | Cell::Percent(value) => {
            format!("{value:.3}")
        }
        Cell::Seconds(value) | Cell::CpuTime(value) | Cell::CpuRate(value) => format!("{value:.3}"),
        Cell::Time(time) => format!("{:.3}", unix_seconds(time)),
    }
}

/// A line of these fields, quoted where need be.
pub fn line(fields: impl Iterator<Item = String>) -> String {
    let mut line = String::new();
    for (number, field) in fields.enumerate() {
        if number > 0 {
            line.push(',');
        }
        if field.contains([',', '"', '\n', '\r']) || field.starts_with(' ') || field.ends_with(' ')
        {
            line.push('"');
            line.push_str(&field.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(&field);
        }
    }
    line.push('\n');
    line
}

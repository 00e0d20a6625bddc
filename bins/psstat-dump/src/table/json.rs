//! Rows as JSON, and JSON that is safe on a terminal.
//!
//! The document of a table:
//!
//! ```json
//! {"format": "psstat-dump", "version": 1, "kind": "images",
//!  "images_from": {"source": "executable"},
//!  "time_unix_seconds": 1700000000.5, "window_seconds": 1.0,
//!  "rows": [{"image": "cron", "processes": 1, "pcpu_percent": 0.0}],
//!  "total": {"processes": 1, "pcpu_percent": 0.0},
//!  "unread": {"io": 0}}
//! ```
//!
//! `kind` is `images` or `processes`, the subject of the rows. The fields of a
//! row are those of [`COLUMNS`](crate::table::columns::COLUMNS). A value that
//! could not be read is `null`. `window_seconds` is `null` for a capture.
//! `unread` contains the number of processes for which each file could not be
//! read. In untrusted text that is not UTF-8, invalid bytes are replaced by
//! U+FFFD, and an additional field with the suffix `_hex` contains all bytes.
//! `version` is increased when a field is removed or changes its meaning; new
//! fields may be added at any time.

use std::fmt::Write as _;
use std::path::Path;

use psstat_matcher::{ImageTemplate, Rule};
use psstat_sampler::Health;
use serde_json::{Map, Value, json};

use crate::conf;
use crate::selector::Source;
use crate::table::columns::{Cell, Column};
use crate::table::row::Row;
use crate::time::unix_seconds;
use psstat_support::escape;

/// The version of the format.
pub const VERSION: u64 = 1;

/// The first fields of each document.
pub fn document(kind: &str) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("format".to_owned(), json!("psstat-dump"));
    document.insert("version".to_owned(), json!(VERSION));
    document.insert("kind".to_owned(), json!(kind));
    document
}

/// The source of the images.
pub fn source(source: &Source) -> Value {
    match source {
        Source::Executable => json!({"source": "executable"}),
        Source::Conf { paths, .. } => {
            let mut fields = Map::new();
            fields.insert("source".to_owned(), json!("conf"));
            insert_path(&mut fields, "conf", &conf::joined(paths));
            fields.into()
        }
        Source::Regex(rules) => {
            let regex = |rule: &Rule| json!(String::from_utf8_lossy(rule.pattern()));
            let image = |rule: &Rule| rules.images().get(rule.image()).map(ImageTemplate::as_str);
            let rule = |rule: &Rule| json!({"image": image(rule), "regex": regex(rule)});
            let all = || rules.rules().iter();
            let regex: Vec<Value> = all().map(regex).collect();
            json!({"source": "regex", "regex": regex, "rules": all().map(rule).collect::<Vec<_>>()})
        }
    }
}

/// The fields of a row.
pub fn row(columns: &[&Column], row: &Row) -> Value {
    let mut fields = Map::new();
    for column in columns {
        let cell = (column.get)(row);
        if let Cell::Text(text) = cell {
            insert_text(&mut fields, column.field, text);
        } else {
            fields.insert(column.field.to_owned(), value(&cell));
        }
    }
    Value::Object(fields)
}

/// The fields of the total: the numeric fields of a row.
pub fn total(columns: &[&Column], total: &Row) -> Value {
    let mut fields = Map::new();
    fields.insert("processes".to_owned(), json!(total.numbers.processes));
    for column in columns.iter().filter(|column| column.has_total()) {
        fields.insert(column.field.to_owned(), value(&(column.get)(total)));
    }
    Value::Object(fields)
}

/// The number of processes for which each file could not be read.
pub fn unread(health: &Health) -> Value {
    let (denied, failed) = (health.denied, health.failed);
    json!({
        "cmdline": denied.command_line + failed.command_line + health.blocked,
        "io": denied.io + failed.io,
        "fd": denied.fd + failed.fd,
        "ns_net": denied.netns + failed.netns,
        "statm": denied.statm + failed.statm,
        "stat": denied.stat + failed.stat,
        "limits": denied.limits + failed.limits,
        "status": denied.status + failed.status,
        "comm": denied.comm + failed.comm,
        "cgroup": denied.cgroup + failed.cgroup,
    })
}

fn value(cell: &Cell<'_>) -> Value {
    match *cell {
        Cell::Absent => Value::Null,
        Cell::Name(name) => json!(name),
        Cell::Names(names) => json!(names),
        Cell::Text(text) => json!(String::from_utf8_lossy(text)),
        Cell::Comm(_) => json!(""),
        Cell::Count(value) => json!(value),
        Cell::Bytes(value) | Cell::Calls(value) => json!(value),
        Cell::ByteRate(value)
        | Cell::CallRate(value)
        | Cell::Percent(value)
        | Cell::Seconds(value)
        | Cell::CpuTime(value)
        | Cell::CpuRate(value) => thousandths(value),
        Cell::Time(time) => thousandths(unix_seconds(time)),
    }
}

fn thousandths(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}

/// Inserts untrusted text: as text, and its bytes in hexadecimal if it is not
/// valid UTF-8.
pub fn insert_text(fields: &mut Map<String, Value>, field: &str, text: &[u8]) {
    fields.insert(field.to_owned(), json!(String::from_utf8_lossy(text)));
    if std::str::from_utf8(text).is_err() {
        fields.insert(format!("{field}_hex"), json!(hex(text)));
    }
}

/// Inserts a path in the same way.
pub fn insert_path(fields: &mut Map<String, Value>, field: &str, path: &Path) {
    insert_text(fields, field, path.as_os_str().as_encoded_bytes());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A document as one line with a newline. Characters that are unsafe on a
/// terminal are JSON escapes, which parsers decode to the same text.
pub fn line(document: &Value) -> Vec<u8> {
    let printed = document.to_string();
    let mut line = String::with_capacity(printed.len() + 1);
    // serde_json escapes quotes, backslashes and the ASCII control characters
    // except DEL. Other unsafe characters can occur in strings only.
    for (at, character) in printed.char_indices() {
        if escape::is_printable_after(printed.get(..at).unwrap_or_default(), character) {
            line.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(line, "\\u{unit:04x}");
            }
        }
    }
    line.push('\n');
    line.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_text_round_trips() {
        let text = "\u{301}\u{301}a\x1b[2J\u{9b}\u{7f}\u{202e}\u{e0041}\u{5d0}\"\\\n日本 é";
        let printed = String::from_utf8(line(&json!({ "x": text }))).unwrap();
        let want =
            r#"{"x":"\u0301\u0301a\u001b[2J\u009b\u007f\u202e\udb40\udc41\u05d0\"\\\n日本 é"}"#;
        assert_eq!(printed.trim_end(), want);
        let back: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(back["x"], text);
    }
}

//! A report as text, JSON and CSV.

use serde_json::{Map, json};

use super::{Field, List, Report, Section, Value};
use crate::table::units::{self, Style};
use crate::table::{csv, json};
use crate::terminal::Paint;
use crate::time;
use psstat_support::escape;

/// Fields that only some processes have. In the text they are omitted where they are absent.
const FIELDS_OF_SOME: [&str; 5] = [
    "command_line_error",
    "tty",
    "exit_code",
    "threads_with_other_descriptors",
    "address_byte_order",
];
/// Sections whose absent fields are omitted: a kernel thread has no memory, and a kernel has only
/// some of their fields.
const SECTIONS_OF_SOME: [&str; 3] = ["summary", "memory", "addresses"];

/// The report as text. An absent field is a dash, or omitted if the process or the kernel has no
/// such value. In a section that could not be read completely, all fields are shown.
pub(crate) fn as_text(report: &Report, style: Style, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.bold(&format!("process {}", report.pid)));
    for section in &report.sections {
        text.push_str(&format!("\n{}\n", paint.bold(&section.name.replace('_', " "))));
        if let Some(error) = &section.unread {
            let error = escape::text(&error.to_string());
            text.push_str(&format!("  {}\n", paint.warning(&format!("cannot be read: {error}"))));
        }
        let is_optional = |field: &Field| {
            SECTIONS_OF_SOME.contains(&section.name) || FIELDS_OF_SOME.contains(&field.name)
        };
        let is_shown = |field: &&Field| {
            field.value != Value::Absent || section.unread.is_some() || !is_optional(field)
        };
        let present = || section.fields.iter().filter(is_shown);
        let label = |field: &str| match field.strip_suffix("_bytes_per_second") {
            Some(name) => format!("{name} per second"),
            None => field_label(field).replace('_', " "),
        };
        let width = present().map(|field| label(field.name).len()).max().unwrap_or(0);
        for field in present() {
            let value = format_value(field.name, &field.value, style);
            text.push_str(&format!("  {:<width$}  {value}\n", label(field.name)));
        }
        for list in section.lists.iter().filter(|list| !list.rows.is_empty()) {
            text.push_str(&list_text(list, style));
        }
    }
    text
}

/// The name of a field without the unit, which the value includes.
fn field_label(field: &str) -> &str {
    let units = ["_unix_seconds", "_seconds", "_percent"];
    let label = units.iter().find_map(|unit| field.strip_suffix(unit));
    // `read_bytes` and similar names are those of the kernel.
    let is_kernel_name = ["read_bytes", "write_bytes", "cancelled_write_bytes"].contains(&field);
    label.or_else(|| field.strip_suffix("_bytes").filter(|_| !is_kernel_name)).unwrap_or(field)
}

fn format_value(field: &str, value: &Value, style: Style) -> String {
    match value {
        Value::Absent => "-".to_owned(),
        Value::Text(text) => escape::bytes(text),
        Value::Number(number) => number.to_string(),
        Value::Signed(number) => number.to_string(),
        Value::Bytes(bytes) => units::bytes(*bytes, style),
        Value::Seconds(seconds) if field == "age_seconds" && style == Style::Human => {
            units::age(*seconds)
        }
        Value::Seconds(seconds) => format!("{seconds:.2} s"),
        Value::Percent(percent) => format!("{} %", units::percent(*percent, style)),
        Value::Time(at) => time::format_utc(*at),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Limit { max: None, .. } => "unlimited".to_owned(),
        Value::Limit { max: Some(max), in_bytes: true } => {
            units::bytes(i64::try_from(*max).unwrap_or(i64::MAX), style)
        }
        Value::Limit { max: Some(max), in_bytes: false } => max.to_string(),
    }
}

/// A list as a table. Columns without values are omitted.
fn list_text(list: &List, style: Style) -> String {
    let is_present = |at: usize| list.rows.iter().any(|row| row.get(at) != Some(&Value::Absent));
    let present: Vec<bool> = (0..list.fields.len()).map(is_present).collect();
    let fields = || {
        list.fields.iter().zip(&present).filter(|(_, present)| **present).map(|(field, _)| field)
    };
    let cells = |row: &Vec<Value>| -> Vec<String> {
        let values =
            row.iter().zip(&present).filter(|(_, present)| **present).map(|(value, _)| value);
        let cells = fields().zip(values).map(|(field, value)| match value {
            // The heading contains the unit.
            Value::Percent(percent) => units::percent(*percent, style),
            other => format_value(field, other, style),
        });
        cells.collect()
    };
    let label = |field: &&'static str| {
        let unit = if field.ends_with("_percent") { " %" } else { "" };
        field_label(field).replace('_', " ").to_uppercase() + unit
    };
    let mut lines: Vec<Vec<String>> = vec![fields().map(label).collect()];
    lines.extend(list.rows.iter().map(cells));
    let mut widths = vec![0; fields().count()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = escape::width(cell).max(*width);
        }
    }
    // The main list has no caption.
    let is_main = list.name == "list";
    let mut text =
        if is_main { String::new() } else { format!("  {}\n", list.name.replace('_', " ")) };
    for line in &lines {
        let mut out = String::from(if is_main { " " } else { "   " });
        for (cell, width) in line.iter().zip(&widths) {
            let padding = width.saturating_sub(escape::width(cell));
            out.push_str(&format!(" {cell}{}", " ".repeat(padding)));
        }
        text.push_str(out.trim_end());
        text.push('\n');
    }
    text
}

/// The report as a document: an object per section with its fields, its lists as
/// arrays of objects, and `unread`.
pub(crate) fn as_json(report: &Report) -> serde_json::Value {
    let mut document = json::document("process");
    document.insert("pid".to_owned(), json!(report.pid));
    for section in &report.sections {
        document.insert(section.name.to_owned(), section_json(section));
    }
    document.into()
}

fn section_json(section: &Section) -> serde_json::Value {
    let mut fields = Map::new();
    let unread = section.unread.as_ref().map(ToString::to_string);
    fields.insert("unread".to_owned(), json!(unread));
    for field in &section.fields {
        insert(&mut fields, field.name, &field.value);
    }
    for list in &section.lists {
        let row = |row: &Vec<Value>| {
            let mut fields = Map::new();
            for (field, value) in list.fields.iter().zip(row) {
                insert(&mut fields, field, value);
            }
            serde_json::Value::Object(fields)
        };
        fields.insert(list.name.to_owned(), list.rows.iter().map(row).collect());
    }
    fields.into()
}

/// The name of the field for an unlimited limit.
fn unlimited(field: &str) -> String {
    format!("{field}_unlimited")
}

fn insert(fields: &mut Map<String, serde_json::Value>, field: &str, value: &Value) {
    let value = match value {
        Value::Text(text) => return json::insert_text(fields, field, text),
        Value::Limit { max, .. } => {
            fields.insert(field.to_owned(), json!(max));
            fields.insert(unlimited(field), json!(max.is_none()));
            return;
        }
        Value::Absent => serde_json::Value::Null,
        Value::Bool(value) => json!(value),
        Value::Number(number) => json!(number),
        Value::Signed(number) | Value::Bytes(number) => json!(number),
        Value::Seconds(number) | Value::Percent(number) => {
            json!((number * 1000.0).round() / 1000.0)
        }
        Value::Time(at) => json!(time::unix_seconds(*at)),
    };
    fields.insert(field.to_owned(), value);
}

/// The heading of [`as_csv`].
pub(crate) fn csv_heading() -> String {
    csv::line(["pid", "section", "index", "field", "value"].map(str::to_owned).into_iter())
}

/// One record per field. The records of a list are numbered from 0, and the name
/// of the list precedes the field: `list.fd`.
pub(crate) fn as_csv(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |section: &str, index: String, field: &str, value: &Value| {
        let value = match value {
            Value::Absent | Value::Limit { max: None, .. } => String::new(),
            Value::Limit { max: Some(max), .. } => max.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Bytes(bytes) => bytes.to_string(),
            Value::Seconds(number) | Value::Percent(number) => format!("{number:.3}"),
            Value::Time(at) => format!("{:.3}", time::unix_seconds(*at)),
            other => format_value(field, other, Style::Exact),
        };
        let fields = [report.pid.to_string(), section.into(), index, field.into(), value];
        text.push_str(&csv::line(fields.into_iter()));
    };
    for section in &report.sections {
        if let Some(error) = &section.unread {
            line(section.name, String::new(), "unread", &Value::text(error.to_string()));
        }
        for field in &section.fields {
            line(section.name, String::new(), field.name, &field.value);
        }
        for list in &section.lists {
            for (index, row) in list.rows.iter().enumerate() {
                for (field, value) in list.fields.iter().zip(row) {
                    let field = format!("{}.{field}", list.name);
                    line(section.name, index.to_string(), &field, value);
                    if let Value::Limit { max, .. } = value {
                        let is_unlimited = Value::Bool(max.is_none());
                        line(section.name, index.to_string(), &unlimited(&field), &is_unlimited);
                    }
                }
            }
        }
    }
    text
}

//! A page as text, JSON and CSV.

use serde_json::{Map, json};

use super::{List, Report, Section, Value};
use crate::table::units::{self, Style};
use crate::table::{csv, json};
use crate::terminal::Paint;
use crate::time;
use psstat_support::escape;

/// The page for people. Facts that the kernel does not tell are left out.
pub(crate) fn as_text(page: &Report, style: Style, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.bold(&format!("process {}", page.pid)));
    for section in &page.sections {
        text.push_str(&format!("\n{}\n", paint.bold(section.name)));
        if let Some(unread) = &section.unread {
            let why = escape::text(&unread.to_string());
            text.push_str(&format!("  {}\n", paint.warning(&format!("cannot be read: {why}"))));
        }
        let told = || section.facts.iter().filter(|fact| fact.value != Value::Absent);
        let label = |field: &str| field_label(field).replace('_', " ");
        let width = told().map(|fact| label(fact.field).len()).max().unwrap_or(0);
        for fact in told() {
            let value = shown(fact.field, &fact.value, style);
            text.push_str(&format!("  {:<width$}  {value}\n", label(fact.field)));
        }
        for list in section.lists.iter().filter(|list| !list.rows.is_empty()) {
            text.push_str(&list_text(list, style));
        }
    }
    text
}

/// A field's name without the unit, which the value shows.
fn field_label(field: &str) -> &str {
    let units = ["_unix_seconds", "_seconds", "_percent"];
    let cut = units.iter().find_map(|unit| field.strip_suffix(unit));
    // `read_bytes` and its like are the kernel's own names.
    let keep = ["read_bytes", "write_bytes", "cancelled_write_bytes"].contains(&field);
    cut.or_else(|| field.strip_suffix("_bytes").filter(|_| !keep)).unwrap_or(field)
}

fn shown(field: &str, value: &Value, style: Style) -> String {
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
        Value::Limit { max: Some(most), in_bytes: true } => {
            units::bytes(i64::try_from(*most).unwrap_or(i64::MAX), style)
        }
        Value::Limit { max: Some(most), in_bytes: false } => most.to_string(),
    }
}

/// A list as a table. Columns without any value are left out.
fn list_text(list: &List, style: Style) -> String {
    let is_told = |at: usize| list.rows.iter().any(|row| row.get(at) != Some(&Value::Absent));
    let told: Vec<bool> = (0..list.fields.len()).map(is_told).collect();
    let fields =
        || list.fields.iter().zip(&told).filter(|(_, told)| **told).map(|(field, _)| field);
    let cells = |row: &Vec<Value>| -> Vec<String> {
        let values = row.iter().zip(&told).filter(|(_, told)| **told).map(|(value, _)| value);
        let cells = fields().zip(values).map(|(field, value)| match value {
            // The heading has the unit.
            Value::Percent(percent) => units::percent(*percent, style),
            other => shown(field, other, style),
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
    // The list that a section is about needs no caption.
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

/// The page as a document: an object a section, with its facts, with its lists
/// as arrays of objects, and with `unread` where something could not be read.
pub(crate) fn as_json(page: &Report) -> serde_json::Value {
    let mut document = json::document("process");
    document.insert("pid".to_owned(), json!(page.pid));
    for section in &page.sections {
        document.insert(section.name.to_owned(), section_json(section));
    }
    document.into()
}

fn section_json(section: &Section) -> serde_json::Value {
    let mut fields = Map::new();
    let unread = section.unread.as_ref().map(ToString::to_string);
    fields.insert("unread".to_owned(), json!(unread));
    for fact in &section.facts {
        insert(&mut fields, fact.field, &fact.value);
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

/// The name of the field that tells whether a limit is none.
fn unlimited(field: &str) -> String {
    format!("{field}_unlimited")
}

fn insert(fields: &mut Map<String, serde_json::Value>, field: &str, value: &Value) {
    let value = match value {
        Value::Text(text) => return json::insert_text(fields, field, text),
        Value::Limit { max: most, .. } => {
            fields.insert(field.to_owned(), json!(most));
            fields.insert(unlimited(field), json!(most.is_none()));
            return;
        }
        Value::Absent => serde_json::Value::Null,
        Value::Bool(is_so) => json!(is_so),
        Value::Number(number) => json!(number),
        Value::Signed(number) | Value::Bytes(number) => json!(number),
        Value::Seconds(number) | Value::Percent(number) => {
            json!((number * 1000.0).round() / 1000.0)
        }
        Value::Time(at) => json!(time::unix_seconds(*at)),
    };
    fields.insert(field.to_owned(), value);
}

/// The names of the columns of [`as_csv`].
pub(crate) fn csv_heading() -> String {
    csv::line(["pid", "section", "number", "field", "value"].map(str::to_owned).into_iter())
}

/// One line a fact; what a section lists is numbered from 0, and the list's
/// name stands before the field: `list.fd`.
pub(crate) fn as_csv(page: &Report) -> String {
    let mut text = String::new();
    let mut line = |section: &str, number: String, field: &str, value: &Value| {
        let value = match value {
            Value::Absent | Value::Limit { max: None, .. } => String::new(),
            Value::Limit { max: Some(most), .. } => most.to_string(),
            Value::Bool(is_so) => is_so.to_string(),
            Value::Bytes(bytes) => bytes.to_string(),
            Value::Seconds(number) | Value::Percent(number) => format!("{number:.3}"),
            Value::Time(at) => format!("{:.3}", time::unix_seconds(*at)),
            other => shown(field, other, Style::Exact),
        };
        let fields = [page.pid.to_string(), section.into(), number, field.into(), value];
        text.push_str(&csv::line(fields.into_iter()));
    };
    for section in &page.sections {
        if let Some(unread) = &section.unread {
            line(section.name, String::new(), "unread", &Value::text(unread.to_string()));
        }
        for fact in &section.facts {
            line(section.name, String::new(), fact.field, &fact.value);
        }
        for list in &section.lists {
            for (number, row) in list.rows.iter().enumerate() {
                for (field, value) in list.fields.iter().zip(row) {
                    let field = format!("{}.{field}", list.name);
                    line(section.name, number.to_string(), &field, value);
                    if let Value::Limit { max: most, .. } = value {
                        let is_none = Value::Bool(most.is_none());
                        line(section.name, number.to_string(), &unlimited(&field), &is_none);
                    }
                }
            }
        }
    }
    text
}

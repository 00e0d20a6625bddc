//! Rows, and their formats: an aligned table here, CSV and JSON below.

pub mod columns;
pub mod csv;
pub mod json;
pub mod row;
pub mod units;

use crate::table::columns::{Cell, Column};
use crate::table::row::Row;
use crate::table::units::Style;
use crate::terminal::Paint;
use crate::time::format_utc;
use psstat_support::escape;

/// Text columns are not truncated to less than this width.
const MIN_WIDTH: usize = 8;
/// The label of the total.
const TOTAL: &str = "total";
/// Shown for an absent value.
const ABSENT: &str = "-";

/// The style of a table.
#[derive(Clone, Copy, Debug)]
pub struct TableStyle {
    /// The format of numbers.
    pub style: Style,
    /// The maximum width of a line; `None`: unlimited.
    pub width: Option<usize>,
    /// Colors of the heading and the total.
    pub(crate) paint: Paint,
}

/// A text, in which a blank is escaped if there is nothing else: an empty cell means another thing.
fn visible(text: &[u8]) -> String {
    let escaped = escape::bytes(text);
    if escaped.is_empty() || !escaped.trim().is_empty() {
        return escaped;
    }
    let number = |blank: char| match u32::from(blank) {
        code @ ..0x80 => format!("\\x{code:02x}"),
        code => format!("\\u{{{code:x}}}"),
    };
    escaped.chars().map(number).collect()
}

/// The text of a cell.
pub fn cell(cell: &Cell<'_>, style: Style) -> String {
    match *cell {
        Cell::Absent => ABSENT.to_owned(),
        Cell::Name(name) => escape::text(name),
        Cell::Names(names) => escape::text(&names.join(",")),
        Cell::Text(text) => visible(text),
        Cell::Comm(comm) => escape::bytes(&comm.enclosed()),
        Cell::Count(value) => value.to_string(),
        Cell::Bytes(value) => units::bytes(value, style),
        Cell::Calls(value) => units::number(value, style),
        Cell::ByteRate(value) => units::byte_rate(value, style),
        Cell::CallRate(value) => units::call_rate(value, style),
        Cell::Percent(value) => units::percent(value, style),
        Cell::Seconds(value) => units::duration(value, style),
        Cell::CpuTime(value) => units::cpu_time(value, style),
        Cell::CpuRate(value) => units::cpu_rate(value, style),
        Cell::Time(time) => format_utc(time),
    }
}

/// The table with its heading and an optional total. Each line ends with a
/// newline.
pub fn render(
    columns: &[&Column],
    rows: &[Row],
    total: Option<&Row>,
    table_style: TableStyle,
) -> String {
    let headings = columns.iter().map(|column| column.heading.to_owned()).collect();
    let mut lines: Vec<Vec<String>> = vec![headings];
    let mut is_text = vec![false; columns.len()];
    for row in rows {
        let cells: Vec<Cell<'_>> = columns.iter().map(|column| (column.get)(row)).collect();
        for (is_text, cell) in is_text.iter_mut().zip(&cells) {
            *is_text |= cell.is_text();
        }
        lines.push(cells.iter().map(|value| cell(value, table_style.style)).collect());
    }
    if let Some(total) = total {
        // Image names have no parentheses.
        let is_taken = rows.iter().any(|row| row.images.iter().any(|name| name == TOTAL));
        let label = if is_taken { format!("({TOTAL})") } else { TOTAL.to_owned() };
        lines.push(total_line(columns, total, &label, table_style.style));
    }
    let mut widths: Vec<usize> = vec![0; columns.len()];
    for line in &lines {
        for (width, text) in widths.iter_mut().zip(line) {
            *width = (*width).max(escape::width(text));
        }
    }
    if let Some(max_width) = table_style.width {
        narrow(&mut widths, &is_text, max_width);
    }
    let last = lines.len().saturating_sub(1);
    let mut table = String::new();
    for (number, line) in lines.iter().enumerate() {
        let mut text = pad(line, &widths, &is_text);
        if let Some(max_width) = table_style.width {
            text = escape::truncate(&text, max_width);
        }
        let is_bold = number == 0 || (total.is_some() && number == last);
        table.push_str(&if is_bold { table_style.paint.bold(&text) } else { text });
        table.push('\n');
    }
    table
}

/// The cells of the total; the first text column contains the label.
fn total_line(columns: &[&Column], total: &Row, label: &str, style: Style) -> Vec<String> {
    let mut named = false;
    let cells = columns.iter().map(|column| match column.key {
        "image" => {
            named = true;
            label.to_owned()
        }
        _ if !column.has_total() => String::new(),
        _ => cell(&(column.get)(total), style),
    });
    let mut cells: Vec<String> = cells.collect();
    if !named && let Some(first) = cells.iter_mut().find(|cell| cell.is_empty()) {
        *first = label.to_owned();
    }
    cells
}

/// Reduces the width of text columns, the widest first, until a line fits.
fn narrow(widths: &mut [usize], is_text: &[bool], max_width: usize) {
    let gaps = widths.len().saturating_sub(1);
    loop {
        let total = widths.iter().sum::<usize>() + gaps;
        if total <= max_width {
            return;
        }
        let widest = widths
            .iter_mut()
            .zip(is_text)
            .filter(|(width, is_text)| **is_text && **width > MIN_WIDTH);
        let Some((width, _)) = widest.max_by_key(|(width, _)| **width) else { return };
        *width = MIN_WIDTH.max(width.saturating_sub((total - max_width).div_ceil(2)));
    }
}

fn pad(line: &[String], widths: &[usize], is_text: &[bool]) -> String {
    let mut text = String::new();
    for ((cell, &width), &is_text) in line.iter().zip(widths).zip(is_text) {
        let cell = escape::truncate(cell, width);
        let padding = " ".repeat(width.saturating_sub(escape::width(&cell)));
        if !text.is_empty() {
            text.push(' ');
        }
        let (before, after) = if is_text { ("", &padding[..]) } else { (&padding[..], "") };
        text.push_str(before);
        text.push_str(&cell);
        text.push_str(after);
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_text_is_visible() {
        for (text, want) in
            [("", ""), (" ", "\\x20"), ("  \u{3000}", "\\x20\\x20\\u{3000}"), (" a ", " a ")]
        {
            assert_eq!(visible(text.as_bytes()), want);
        }
    }
    use crate::table::columns::{self, Level};
    use crate::table::row::{Growth, ProcessId};
    use psstat_sampler::Usage;

    fn process(pid: u32, image: &str, command_line: &[u8]) -> Row {
        let id = ProcessId {
            pid,
            ppid: 1,
            starttime: 5,
            command_line: command_line.to_vec(),
            ..ProcessId::default()
        };
        let mut numbers = Usage::default();
        numbers.rss = Some(1536);
        Row { images: vec![image.to_owned()], id: Some(id), numbers, growth: Growth::default() }
    }

    fn shown(width: Option<usize>) -> String {
        let columns: Vec<_> = ["pid", "image", "rss", "pcpu", "command"]
            .iter()
            .map(|key| columns::find(key, Level::Process).unwrap())
            .collect();
        let rows = [
            process(7, "cat", b"cat \x1b[31mred"),
            process(12345, "a-rather-long-name", "日本 \u{202e}x".as_bytes()),
        ];
        let total = Row { images: Vec::new(), id: None, ..process(0, "", b"") };
        let style = TableStyle { style: Style::Human, width, paint: Paint::PLAIN };
        render(&columns, &rows, Some(&total), style)
    }

    /// An image of this name used to look like the total.
    #[test]
    fn image_named_total() {
        let columns: Vec<_> =
            ["image", "rss"].iter().map(|key| columns::find(key, Level::Image).unwrap()).collect();
        let rows = [process(7, "total", b"x"), process(8, "cat", b"y")];
        let sum = Row { images: Vec::new(), id: None, ..process(0, "", b"") };
        let style = TableStyle { style: Style::Human, width: None, paint: Paint::PLAIN };
        let table = render(&columns, &rows, Some(&sum), style);
        assert_eq!(table.lines().filter(|line| line.starts_with("total ")).count(), 1, "{table}");
        assert!(table.lines().last().unwrap().starts_with("(total) "), "{table}");
    }

    #[test]
    fn unlimited_width() {
        let want = "  PID IMAGE               RSS %CPU COMMAND
    7 cat                1.5K    - cat \\x1b[31mred
12345 a-rather-long-name 1.5K    - 日本 \\u{202e}x
      total              1.5K    -
";
        assert_eq!(shown(None), want);
    }

    #[test]
    fn fits_the_terminal() {
        let want = "  PID IMAGE        RSS %CPU COMMAND
    7 cat         1.5K    - cat \\x1b[3…
12345 a-rather-l… 1.5K    - 日本 \\u{20…
      total       1.5K    -
";
        assert_eq!(shown(Some(39)), want);
        for width in 0..80 {
            for line in shown(Some(width)).lines() {
                assert!(escape::width(line) <= width, "{width}: {line}");
            }
        }
    }
}

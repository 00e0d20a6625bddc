//! What can be shown of a row, and under which names.

use std::cmp::Ordering;

use psstat_sampler::IoCounters;

use crate::table::row::Row;

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Could not be read, or there is no earlier reading to compare with.
    Absent,
    /// A name that holds nothing but `[-_./a-zA-Z0-9]`.
    Name(&'a str),
    /// Several such names.
    Names(&'a [String]),
    /// A stranger's text; any bytes.
    Text(&'a [u8]),
    /// A number of things that are there now.
    Count(u64),
    /// Bytes.
    Bytes(i64),
    /// Calls so far.
    Calls(i64),
    /// Bytes a second.
    ByteRate(f64),
    /// Calls a second.
    CallRate(f64),
    /// Percent of one core.
    Percent(f64),
}

impl Cell<'_> {
    /// Whether it stands at the left of its column, as text does.
    pub fn is_text(&self) -> bool {
        matches!(self, Cell::Name(_) | Cell::Names(_) | Cell::Text(_))
    }

    /// The order in a sorted table: what is absent last, numbers from the
    /// largest, text from A to Z.
    pub fn order(&self, other: &Cell<'_>) -> Ordering {
        match (self, other) {
            (Cell::Absent, Cell::Absent) => Ordering::Equal,
            (Cell::Absent, _) => Ordering::Greater,
            (_, Cell::Absent) => Ordering::Less,
            (Cell::Name(one), Cell::Name(other)) => one.cmp(other),
            (Cell::Names(one), Cell::Names(other)) => one.cmp(other),
            (Cell::Text(one), Cell::Text(other)) => one.cmp(other),
            (Cell::Count(one), Cell::Count(other)) => other.cmp(one),
            (Cell::Bytes(one), Cell::Bytes(other)) | (Cell::Calls(one), Cell::Calls(other)) => {
                other.cmp(one)
            }
            (Cell::ByteRate(one), Cell::ByteRate(other))
            | (Cell::CallRate(one), Cell::CallRate(other))
            | (Cell::Percent(one), Cell::Percent(other)) => other.total_cmp(one),
            // A column has cells of one kind.
            _ => Ordering::Equal,
        }
    }
}

/// Whether rows are images or processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// One row an image.
    Image,
    /// One row a process.
    Process,
}

/// A column: its names and where its value comes from.
#[derive(Debug)]
pub struct Column {
    /// Its name for `--columns` and `--sort`.
    pub key: &'static str,
    /// Its heading in a table.
    pub heading: &'static str,
    /// Its name in JSON and CSV, with the unit where there is one.
    pub field: &'static str,
    /// What it is.
    pub description: &'static str,
    /// Which rows have it; `None`: all.
    pub level: Option<Level>,
    /// Whether it is shown where nothing else was asked for.
    pub shown: bool,
    /// The value.
    pub get: for<'a> fn(&'a Row) -> Cell<'a>,
}

fn count(value: Option<u64>) -> Cell<'static> {
    value.map_or(Cell::Absent, Cell::Count)
}

fn bytes(value: Option<u64>) -> Cell<'static> {
    value.map_or(Cell::Absent, |value| Cell::Bytes(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn io(row: &Row, get: fn(IoCounters) -> i64) -> Option<i64> {
    row.numbers.io.map(get)
}

fn io_bytes(row: &Row, get: fn(IoCounters) -> i64) -> Cell<'static> {
    io(row, get).map_or(Cell::Absent, Cell::Bytes)
}

fn io_calls(row: &Row, get: fn(IoCounters) -> i64) -> Cell<'static> {
    io(row, get).map_or(Cell::Absent, Cell::Calls)
}

fn rate(row: &Row, get: fn(IoCounters) -> i64) -> Option<f64> {
    row.io_done.map(|(done, seconds)| get(done) as f64 / seconds)
}

fn byte_rate(row: &Row, get: fn(IoCounters) -> i64) -> Cell<'static> {
    rate(row, get).map_or(Cell::Absent, Cell::ByteRate)
}

fn call_rate(row: &Row, get: fn(IoCounters) -> i64) -> Cell<'static> {
    rate(row, get).map_or(Cell::Absent, Cell::CallRate)
}

/// A line of the list below: key, heading, field, level, shown, about, value.
macro_rules! columns {
    ($($key:literal $heading:literal $field:literal $level:expr, $shown:expr, $about:literal, $get:expr;)*) => {
        &[$(Column {
            key: $key, heading: $heading, field: $field, description: $about,
            level: $level, shown: $shown, get: $get,
        }),*]
    };
}

const IMAGE: Option<Level> = Some(Level::Image);
const PROCESS: Option<Level> = Some(Level::Process);

/// All columns in the order in which they are shown.
#[rustfmt::skip]
pub static COLUMNS: &[Column] = columns![
    "pid" "PID" "pid" PROCESS, true, "process number", |row| count(row.who.as_ref().map(|who| u64::from(who.pid)));
    "ppid" "PPID" "ppid" PROCESS, false, "the parent's process number", |row| count(row.who.as_ref().map(|who| u64::from(who.ppid)));
    "starttime" "STARTTIME" "starttime_ticks" PROCESS, false, "start, in clock ticks after boot", |row| count(row.who.as_ref().map(|who| who.starttime));
    "image" "IMAGE" "image" IMAGE, true, "image", |row| row.images.first().map_or(Cell::Absent, |name| Cell::Name(name));
    "image" "IMAGE" "images" PROCESS, true, "images that the process belongs to", |row| Cell::Names(&row.images);
    "procs" "PROCS" "procs" IMAGE, true, "processes that run now", |row| Cell::Count(row.numbers.procs);
    "pcpu" "%CPU" "pcpu_percent" None, true, "CPU time used in the window, percent of one core", |row| row.numbers.pcpu.map_or(Cell::Absent, Cell::Percent);
    "rss" "RSS" "rss_bytes" None, true, "resident memory", |row| bytes(row.numbers.rss);
    "vsize" "VSIZE" "vsize_bytes" None, false, "virtual memory", |row| bytes(row.numbers.vsize);
    "fds" "FDS" "fds" None, true, "open file descriptors", |row| count(row.numbers.descriptors);
    "threads" "THR" "threads" None, true, "threads", |row| count(row.numbers.threads);
    "tcp" "TCP" "tcp_established" None, true, "ESTABLISHED sockets, tcp and tcp6", |row| count(row.numbers.tcp);
    "udp" "UDP" "udp_established" None, true, "ESTABLISHED sockets, udp and udp6", |row| count(row.numbers.udp);
    "unix" "UNIX" "unix_established" None, true, "connected unix domain sockets", |row| count(row.numbers.unix);
    "rchar" "RCHAR" "rchar_bytes" None, false, "bytes passed to read(2) and its like, so far", |row| io_bytes(row, |io| io.rchar);
    "rchar/s" "RCHAR/S" "rchar_bytes_per_second" None, true, "the same a second, in the window", |row| byte_rate(row, |io| io.rchar);
    "wchar" "WCHAR" "wchar_bytes" None, false, "bytes passed to write(2) and its like, so far", |row| io_bytes(row, |io| io.wchar);
    "wchar/s" "WCHAR/S" "wchar_bytes_per_second" None, true, "the same a second, in the window", |row| byte_rate(row, |io| io.wchar);
    "syscr" "SYSCR" "syscr_calls" None, false, "calls of read(2) and its like, so far", |row| io_calls(row, |io| io.syscr);
    "syscr/s" "SYSCR/S" "syscr_calls_per_second" None, false, "the same a second, in the window", |row| call_rate(row, |io| io.syscr);
    "syscw" "SYSCW" "syscw_calls" None, false, "calls of write(2) and its like, so far", |row| io_calls(row, |io| io.syscw);
    "syscw/s" "SYSCW/S" "syscw_calls_per_second" None, false, "the same a second, in the window", |row| call_rate(row, |io| io.syscw);
    "read_bytes" "READ" "read_bytes" None, false, "bytes fetched from storage, so far", |row| io_bytes(row, |io| io.read_bytes);
    "read_bytes/s" "READ/S" "read_bytes_per_second" None, true, "the same a second, in the window", |row| byte_rate(row, |io| io.read_bytes);
    "write_bytes" "WRITE" "write_bytes" None, false, "bytes sent to storage, so far", |row| io_bytes(row, |io| io.write_bytes);
    "write_bytes/s" "WRITE/S" "write_bytes_per_second" None, true, "the same a second, in the window", |row| byte_rate(row, |io| io.write_bytes);
    "cancelled_write_bytes" "CANCELLED" "cancelled_write_bytes" None, false, "bytes that a truncation kept from storage, so far", |row| io_bytes(row, |io| io.cancelled_write_bytes);
    "cancelled_write_bytes/s" "CANCELLED/S" "cancelled_write_bytes_per_second" None, false, "the same a second, in the window", |row| byte_rate(row, |io| io.cancelled_write_bytes);
    "command" "COMMAND" "command_line" PROCESS, true, "command line, arguments joined by a space", |row| row.who.as_ref().map_or(Cell::Absent, |who| Cell::Text(&who.command_line));
];

/// The column of this name, for rows of this level.
pub fn find(key: &str, level: Level) -> Option<&'static Column> {
    cell(level).find(|column| column.key == key)
}

/// All columns that rows of this level have.
pub fn cell(level: Level) -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().filter(move |column| column.level.is_none_or(|only| only == level))
}

/// Sorts rows by a column. Rows that are equal there come by their resident
/// memory, then by image and pid, so that the order is always the same.
pub fn sort(rows: &mut [Row], by: &Column, reverse: bool) {
    rows.sort_by(|one, other| {
        let (a, b) = ((by.get)(one), (by.get)(other));
        // What is absent stays at the end.
        let turned = reverse && a != Cell::Absent && b != Cell::Absent;
        let order = if turned { b.order(&a) } else { a.order(&b) };
        order
            .then_with(|| other.numbers.rss.cmp(&one.numbers.rss))
            .then_with(|| one.images.cmp(&other.images))
            .then_with(|| {
                let pid = |row: &Row| row.who.as_ref().map(|who| who.pid);
                pid(one).cmp(&pid(other))
            })
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use psstat_sampler::Numbers;

    #[test]
    fn names_are_unique() {
        for level in [Level::Image, Level::Process] {
            for name in [|c: &Column| c.key, |c: &Column| c.heading, |c: &Column| c.field] {
                let mut names: Vec<_> = cell(level).map(name).collect();
                let all = names.len();
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), all);
            }
        }
    }

    #[test]
    fn sorted_by_any_column() {
        let row = |image: &str, pcpu: Option<f64>, rss: u64| {
            let mut numbers = Numbers::default();
            (numbers.pcpu, numbers.rss) = (pcpu, Some(rss));
            Row { images: vec![image.to_owned()], who: None, numbers, io_done: None }
        };
        let given = [
            row("b", Some(1.0), 1),
            row("a", None, 9),
            row("d", Some(3.0), 2),
            row("c", Some(1.0), 5),
            row("e", Some(1.0), 5),
        ];
        let sorted = |key, reverse| {
            let mut rows = given.clone();
            sort(&mut rows, find(key, Level::Image).unwrap(), reverse);
            rows.iter().map(|row| row.images[0].clone()).collect::<String>()
        };
        assert_eq!(sorted("pcpu", false), "dceba");
        assert_eq!(sorted("pcpu", true), "cebda");
        assert_eq!(sorted("rss", false), "acedb");
        assert_eq!(sorted("image", false), "abcde");
        assert_eq!(sorted("image", true), "edcba");
    }
}

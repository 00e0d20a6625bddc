//! All that is known of one process, as sections of facts that every form of
//! output shows alike.

mod addresses;
mod cpu;
mod descriptors;
mod files;
mod identity;
mod limits;
mod memory;
mod render;
mod rights;
mod signals;
mod sockets;
mod unix_peers;

use std::path::Path;
use std::time::{Duration, SystemTime};

use psstat_proc_parse::{Io, Stat, Statm, Status};

use crate::measure;

pub(crate) use files::{Files, ReadError};
pub(crate) use render::{as_csv, as_json, as_text, csv_heading};
pub(crate) use rights::names as capability_names;

/// A value of a fact.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// The kernel did not print it, or it could not be read.
    Absent,
    /// Any bytes.
    Text(Vec<u8>),
    /// A number of things, or a number that names one.
    Number(u64),
    /// A number that may be negative.
    Signed(i64),
    /// Bytes.
    Bytes(i64),
    /// Seconds.
    Seconds(f64),
    /// Percent.
    Percent(f64),
    /// A moment.
    Time(SystemTime),
    /// Whether something is so.
    Bool(bool),
    /// The most there may be, in bytes or in another unit; `None`: unlimited.
    Limit {
        /// How much or how many.
        max: Option<u64>,
        /// Whether that is in bytes.
        in_bytes: bool,
    },
}

impl Value {
    fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into().into_bytes())
    }

    fn kb(kilobytes: Option<u64>) -> Value {
        let bytes = kilobytes.map(|kilobytes| kilobytes.saturating_mul(1024));
        Value::bytes(bytes)
    }

    fn bytes(bytes: Option<u64>) -> Value {
        bytes.map_or(Value::Absent, |bytes| Value::Bytes(i64::try_from(bytes).unwrap_or(i64::MAX)))
    }

    fn number(number: Option<impl Into<u64>>) -> Value {
        number.map_or(Value::Absent, |number| Value::Number(number.into()))
    }

    fn signed(number: Option<impl Into<i64>>) -> Value {
        number.map_or(Value::Absent, |number| Value::Signed(number.into()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::text(text)
    }
}

/// One fact: its name, with the unit where there is one, and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    /// The name, as JSON and CSV have it.
    pub field: &'static str,
    /// The value.
    pub value: Value,
}

/// Several things of one kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct List {
    /// Its name, as JSON and CSV have it; `list` for what the section is about.
    pub name: &'static str,
    /// Names of what is known of each, with the unit where there is one.
    pub fields: &'static [&'static str],
    /// One row a thing, one value a field.
    pub rows: Vec<Vec<Value>>,
}

/// What belongs together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Section {
    /// Its name.
    pub name: &'static str,
    /// Why nothing, or not all of it, is here.
    pub unread: Option<ReadError>,
    /// What there is one of.
    pub facts: Vec<Field>,
    /// What there are several of.
    pub lists: Vec<List>,
}

impl Section {
    fn new(name: &'static str) -> Section {
        Section { name, unread: None, facts: Vec::new(), lists: Vec::new() }
    }

    fn fact(&mut self, field: &'static str, value: Value) {
        self.facts.push(Field { field, value });
    }

    fn list(&mut self, name: &'static str, fields: &'static [&'static str], rows: Vec<Vec<Value>>) {
        self.lists.push(List { name, fields, rows });
    }
}

/// All that is known of one process.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    /// Which process.
    pub pid: u32,
    /// What is known of it.
    pub sections: Vec<Section>,
}

/// What the machine says that a process's page needs.
#[derive(Clone, Copy, Debug)]
struct BootInfo {
    /// When it was booted: `btime` of `/proc/stat`.
    booted: Option<SystemTime>,
    /// How long that is ago: `/proc/uptime`.
    up: Option<f64>,
    ticks_per_second: f64,
}

impl BootInfo {
    fn read(proc: &Path) -> BootInfo {
        let stat = std::fs::read(proc.join("stat")).unwrap_or_default();
        let btime = stat.split(|byte| *byte == b'\n').find_map(|line| {
            let seconds = line.strip_prefix(b"btime ")?;
            std::str::from_utf8(seconds).ok()?.trim().parse().ok()
        });
        let booted = btime
            .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        let uptime = std::fs::read_to_string(proc.join("uptime")).unwrap_or_default();
        let up = uptime.split_whitespace().next().and_then(|up| up.parse().ok());
        // At most a million; f64 has room.
        let ticks_per_second = rustix::param::clock_ticks_per_second().max(1) as f64;
        BootInfo { booted, up, ticks_per_second }
    }

    fn seconds(&self, ticks: u64) -> f64 {
        ticks as f64 / self.ticks_per_second
    }
}

/// Reads all that is to be known of a process.
///
/// # Errors
/// When there is no such process, or its folder cannot be opened.
pub(crate) fn read(proc: &Path, pid: u32) -> Result<Report, ReadError> {
    let files = Files::open(proc, pid)?;
    let machine = BootInfo::read(proc);
    let stat = files.read("stat");
    let status = files.read("status");
    let command_line = files.command_line();
    let limits = files.read("limits");
    let links = files.descriptors();
    // stat is what every process has and everyone may read.
    let stat = Stat::parse(stat.as_deref().map_err(ReadError::clone)?).map_err(ReadError::from)?;
    let status = match &status {
        Ok(bytes) => Status::parse(bytes).map_err(ReadError::from),
        Err(unread) => Err(unread.clone()),
    };
    let known = status.as_ref().ok();
    let statm = files.read("statm");
    let statm = statm.and_then(|bytes| Statm::parse(&bytes).map_err(ReadError::from));
    let mut identity = identity::section(proc, &stat, known, &command_line, &machine);
    identity.unread = status.as_ref().err().cloned();
    let sections = vec![
        identity,
        cpu::section(&stat, known, &machine),
        memory::section(&stat, known, &statm),
        io_section(files.read("io")),
        limits::section(limits, &stat, known, links.as_ref().ok().map(Vec::len), &machine),
        rights::section(known),
        signals::section(known),
        descriptors::section(&links, known.and_then(|status| status.fd_size)),
        sockets::section(&files, &links, is_own_namespace(proc, &files)),
        addresses::section(&stat),
    ];
    Ok(Report { pid, sections })
}

/// Whether a process is in this program's own network namespace. Inodes of
/// sockets in a copy of a procfs are of another time or machine.
fn is_own_namespace(proc: &Path, files: &Files) -> bool {
    let own = std::fs::read_link(proc.join("self/ns/net"));
    let theirs = files.link("ns/net");
    !measure::is_capture(proc)
        && own.is_ok_and(|own| theirs.is_ok_and(|of| of == own.as_os_str().as_encoded_bytes()))
}

fn io_section(io: Result<Vec<u8>, ReadError>) -> Section {
    let mut section = Section::new("io");
    match io.and_then(|bytes| Io::parse(&bytes).map_err(ReadError::from)) {
        Ok(io) => {
            section.fact("rchar_bytes", Value::bytes(Some(io.rchar)));
            section.fact("wchar_bytes", Value::bytes(Some(io.wchar)));
            section.fact("syscr_calls", Value::Number(io.syscr));
            section.fact("syscw_calls", Value::Number(io.syscw));
            section.fact("read_bytes", Value::bytes(Some(io.read_bytes)));
            section.fact("write_bytes", Value::bytes(Some(io.write_bytes)));
            section.fact("cancelled_write_bytes", Value::Bytes(io.cancelled_write_bytes));
        }
        Err(unread) => section.unread = Some(unread),
    }
    section
}

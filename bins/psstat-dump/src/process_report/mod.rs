//! All data of one process, as sections of fields that all output formats
//! share.

mod addresses;
mod cpu;
mod descriptors;
mod files;
mod identity;
mod limits;
mod main_thread;
mod memory;
mod privileges;
mod render;
mod signals;
mod sockets;
mod summary;

use std::path::Path;
use std::time::{Duration, SystemTime};

use psstat_proc_parse::{Io, Stat, Statm, Status};

use crate::measure;
use crate::users::Users;

use cpu::ThreadSums;

pub(crate) use descriptors::descriptor_kind;
pub(crate) use files::{Files, Link, ReadError, Target, machine, read_host_file};
pub(crate) use identity::is_kernel_thread;
pub(crate) use privileges::names as capability_names;
pub(crate) use render::{as_csv, as_json, as_text, csv_heading};
pub(crate) use signals::name as signal_name;

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// The kernel does not provide it, or it could not be read.
    Absent,
    /// Any bytes.
    Text(Vec<u8>),
    /// A count or an identifier.
    Number(u64),
    /// A number that can be negative.
    Signed(i64),
    /// Bytes.
    Bytes(i64),
    /// Seconds.
    Seconds(f64),
    /// Percent.
    Percent(f64),
    /// A point in time.
    Time(SystemTime),
    /// A boolean.
    Bool(bool),
    /// A resource limit.
    Limit {
        /// The limit; `None`: unlimited.
        max: Option<u64>,
        /// Whether the unit is bytes.
        in_bytes: bool,
    },
}

impl Value {
    fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into().into_bytes())
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

/// A field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    /// The name in JSON and CSV, with its unit as suffix.
    pub name: &'static str,
    /// The value.
    pub value: Value,
}

/// A list of records.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct List {
    /// The name in JSON and CSV; `list` for the section's main list.
    pub name: &'static str,
    /// The names of the fields, with their units as suffixes.
    pub fields: &'static [&'static str],
    /// One row per record, one value per field.
    pub rows: Vec<Vec<Value>>,
}

/// A section.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Section {
    /// The name.
    pub name: &'static str,
    /// Why data is missing or incomplete.
    pub unread: Option<ReadError>,
    /// The fields.
    pub fields: Vec<Field>,
    /// The lists.
    pub lists: Vec<List>,
}

impl Section {
    fn new(name: &'static str) -> Section {
        Section { name, unread: None, fields: Vec::new(), lists: Vec::new() }
    }

    fn field(&mut self, name: &'static str, value: Value) {
        self.fields.push(Field { name, value });
    }

    fn list(&mut self, name: &'static str, fields: &'static [&'static str], rows: Vec<Vec<Value>>) {
        self.lists.push(List { name, fields, rows });
    }
}

/// All data of one process.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    /// The process.
    pub pid: u32,
    /// The sections.
    pub sections: Vec<Section>,
}

/// Boot time, uptime and the units of the machine.
#[derive(Clone, Debug)]
pub(crate) struct BootInfo {
    boot_time: Option<SystemTime>,
    /// In seconds.
    uptime: Option<f64>,
    ticks_per_second: f64,
    page_size: u64,
    pub(crate) byte_order: ByteOrder,
}

/// The byte order of addresses in the tables of `net`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    /// That of this machine.
    Native,
    /// That of the machine of a capture.
    Captured { is_big_endian: bool },
    /// The capture does not contain it; that of this machine is assumed.
    Assumed,
}

impl ByteOrder {
    pub(crate) fn is_native(self) -> bool {
        match self {
            ByteOrder::Native | ByteOrder::Assumed => true,
            ByteOrder::Captured { is_big_endian } => is_big_endian == cfg!(target_endian = "big"),
        }
    }
}

impl BootInfo {
    pub(crate) fn read(proc: &Path) -> BootInfo {
        let machine = machine(proc);
        let boot_time = machine.boot_time_unix_nanoseconds.map(Duration::from_nanos);
        let boot_time = boot_time.or_else(|| Some(Duration::from_secs(btime(proc)?)));
        let boot_time = boot_time.and_then(|time| SystemTime::UNIX_EPOCH.checked_add(time));
        let uptime = if measure::is_capture(proc) {
            uptime(proc)
        } else {
            Some(files::uptime().as_secs_f64())
        };
        let ticks = machine.ticks_per_second.unwrap_or(rustix::param::clock_ticks_per_second());
        let byte_order = match machine.is_big_endian {
            _ if !measure::is_capture(proc) => ByteOrder::Native,
            Some(is_big_endian) => ByteOrder::Captured { is_big_endian },
            None => ByteOrder::Assumed,
        };
        BootInfo {
            boot_time,
            uptime,
            // At most a million, which is exact in f64.
            ticks_per_second: ticks.max(1) as f64,
            page_size: machine.page_size.unwrap_or(rustix::param::page_size() as u64),
            byte_order,
        }
    }

    /// The time of a start time in ticks after boot.
    pub(crate) fn started(&self, ticks: u64) -> Option<SystemTime> {
        self.time_at(self.start_seconds(ticks))
    }

    /// The seconds since a start time in ticks after boot.
    pub(crate) fn age(&self, ticks: u64) -> Option<f64> {
        self.uptime.map(|uptime| (uptime - self.start_seconds(ticks)).max(0.0))
    }

    fn seconds(&self, ticks: u64) -> f64 {
        ticks as f64 / self.ticks_per_second
    }

    /// A start time in seconds after boot. In a time namespace it can be before the boot:
    /// then the kernel's nanoseconds, which have 64 bits and no sign, wrap.
    fn start_seconds(&self, ticks: u64) -> f64 {
        let seconds = self.seconds(ticks);
        let wrap = 2_f64.powi(64) / 1e9;
        if (wrap / 2.0..=wrap).contains(&seconds) {
            // Exact to microseconds.
            let wrap_ticks = wrap * self.ticks_per_second;
            return (ticks as f64 - wrap_ticks) / self.ticks_per_second;
        }
        seconds
    }

    /// A point in time by its seconds after boot.
    fn time_at(&self, seconds: f64) -> Option<SystemTime> {
        let distance = Duration::try_from_secs_f64(seconds.abs()).ok()?;
        if seconds < 0.0 {
            self.boot_time?.checked_sub(distance)
        } else {
            self.boot_time?.checked_add(distance)
        }
    }
}

/// The time of boot in `/proc/stat` of a capture, in seconds since 1970.
fn btime(proc: &Path) -> Option<u64> {
    let stat = read_host_file(proc, "stat").ok()?;
    stat.split(|byte| *byte == b'\n').find_map(|line| {
        let seconds = line.strip_prefix(b"btime ")?;
        std::str::from_utf8(seconds).ok()?.trim().parse().ok()
    })
}

/// `uptime` of a capture, in seconds.
fn uptime(proc: &Path) -> Option<f64> {
    let uptime = read_host_file(proc, "uptime").ok()?;
    String::from_utf8_lossy(&uptime).split_whitespace().next()?.parse().ok()
}

/// Reads all data of a process.
///
/// # Errors
/// When the process does not exist or its directory cannot be opened.
pub(crate) fn read(proc: &Path, pid: u32) -> Result<Report, ReadError> {
    let files = Files::open(proc, pid)?;
    let boot = BootInfo::read(proc);
    let stat = files.read("stat");
    let status = files.read("status");
    let command_line = files.read("cmdline");
    let limits = files.read("limits");
    let links = files.descriptors();
    let open = links.as_ref().map_or_else(|_| files.fd_count(), |links| Some(links.len() as u64));
    // Every process has stat, which is world-readable. Reading it can block; then a
    // capture does not have it.
    let main = match stat.as_deref() {
        Ok(bytes) => Some(Stat::parse(bytes).map_err(ReadError::from)?),
        Err(ReadError::Blocked) => None,
        Err(ReadError::NotFound) if !files.is_procfs() && status.is_ok() => None,
        Err(error) => return Err(error.clone()),
    };
    let without_stat = stat.as_ref().err().map(|error| match error {
        ReadError::NotFound => ReadError::Failed("the capture has no stat of it".to_owned()),
        other => other.clone(),
    });
    let main = main.as_ref();
    let live = (files.read_live_thread("stat"), files.read_live_thread("status"));
    let stat = main.map(|main| with_memory_of(*main, live.0.as_deref()));
    let stat = stat.as_ref();
    let status = match &status {
        Ok(bytes) => Status::parse(bytes).map_err(ReadError::from),
        Err(error) => Err(error.clone()),
    };
    let main_status = status.as_ref().ok();
    let live_status = live.1.as_deref().and_then(|bytes| Status::parse(bytes).ok());
    // The memory of a main thread that has exited is unknown; its ids are those of the process.
    let live_status = live_status.map(|mut live| {
        live.ns_pid = main_status.and_then(|status| status.ns_pid);
        live
    });
    let status_ok = live_status.as_ref().or(main_status);
    let threads = ThreadSums::read(proc, &files, stat, status_ok);
    let statm = files.read("statm");
    let statm = statm.and_then(|bytes| Statm::parse(&bytes).map_err(ReadError::from));
    let mut identity = identity::section(proc, stat, status_ok, &command_line, &boot);
    let state = main.map(|stat| (stat.state, stat.num_threads));
    let state = state.or(main_status.and_then(|status| status.state.zip(status.threads)));
    let has_exited = state.map(|(state, threads)| files::has_main_thread_exited(state, threads));
    identity.field("main_thread_exited", has_exited.map_or(Value::Absent, Value::Bool));
    identity.unread = status.as_ref().err().cloned();
    let is_own = is_own_namespace(proc, &files);
    let (socket_section, sockets) = sockets::section(&files, &links, is_own, boot.byte_order);
    let mut sections = vec![
        summary::section(&files, status_ok, &identity, &sockets, &Users::read(proc)),
        identity,
        cpu::section(stat, threads, &boot),
        main_thread::section(main, main_status),
        memory::section(stat, status_ok, &statm, boot.page_size),
        io_section(files.read("io")),
        limits::section(limits, stat, status_ok, open, &boot),
        privileges::section(status_ok),
        signals::section(main_status),
        descriptors::section(&files, &links, open, status_ok.and_then(|status| status.fd_size)),
        socket_section,
        addresses::section(stat),
    ];
    for section in &mut sections {
        if ["identity", "cpu", "main_thread", "memory", "addresses"].contains(&section.name) {
            section.unread = section.unread.take().or_else(|| without_stat.clone());
        }
        if section.unread == Some(ReadError::NotFound) && !files.is_procfs() {
            section.unread = Some(ReadError::Failed("the capture has no copy".to_owned()));
        }
    }
    Ok(Report { pid, sections })
}

/// The stat of a process with state and memory of a live thread, if its main thread
/// has exited.
fn with_memory_of<'a>(mut stat: Stat<'a>, live: Option<&[u8]>) -> Stat<'a> {
    let Some(live) = live.and_then(|bytes| Stat::parse(bytes).ok()) else { return stat };
    stat.state = live.state;
    stat.vsize = live.vsize;
    (stat.startcode, stat.endcode, stat.startstack) =
        (live.startcode, live.endcode, live.startstack);
    (stat.start_data, stat.end_data, stat.start_brk) =
        (live.start_data, live.end_data, live.start_brk);
    (stat.arg_start, stat.arg_end) = (live.arg_start, live.arg_end);
    (stat.env_start, stat.env_end) = (live.env_start, live.env_end);
    stat
}

/// Whether a process is in the network namespace of this program. Inodes of
/// sockets in a capture are from another time or host.
fn is_own_namespace(proc: &Path, files: &Files) -> bool {
    if measure::is_capture(proc) {
        return false;
    }
    let this = std::fs::read_link(proc.join("self/ns/net"));
    let other = files.link("ns/net");
    this.is_ok_and(|this| other.is_ok_and(|other| other == this.as_os_str().as_encoded_bytes()))
}

fn io_section(io: Result<Vec<u8>, ReadError>) -> Section {
    let mut section = Section::new("io");
    match io.and_then(|bytes| Io::parse(&bytes).map_err(ReadError::from)) {
        Ok(io) => {
            section.field("rchar_bytes", Value::bytes(Some(io.rchar)));
            section.field("wchar_bytes", Value::bytes(Some(io.wchar)));
            section.field("syscr_calls", Value::Number(io.syscr));
            section.field("syscw_calls", Value::Number(io.syscw));
            section.field("read_bytes", Value::bytes(Some(io.read_bytes)));
            section.field("write_bytes", Value::bytes(Some(io.write_bytes)));
            section.field("cancelled_write_bytes", Value::Bytes(io.cancelled_write_bytes));
        }
        Err(error) => section.unread = Some(error),
    }
    section
}

//! The columns of a table: names and values.

use std::cmp::Ordering;
use std::time::{Duration, SystemTime};

use psstat_sampler::{
    CpuTime, FaultCounts, IoCounters, MetricGroups, StateCounts, SwitchCounts, TcpStateCounts,
    Usage,
};

use crate::spelling;
use crate::table::row::{CommName, ProcessId, Row, Seconds};

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Could not be read, or there is no previous reading.
    Absent,
    /// A name of the characters `[-_./a-zA-Z0-9]`.
    Name(&'a str),
    /// Several such names.
    Names(&'a [String]),
    /// Untrusted text; any bytes.
    Text(&'a [u8]),
    /// The command line of a process that has none: its name, in brackets or braces.
    Comm(&'a CommName),
    /// A current number.
    Count(u64),
    /// Bytes.
    Bytes(i64),
    /// Total calls.
    Calls(i64),
    /// Bytes per second.
    ByteRate(f64),
    /// Calls per second.
    CallRate(f64),
    /// Percent: of one core, of a limit.
    Percent(f64),
    /// A duration in seconds.
    Seconds(f64),
    /// CPU time in seconds.
    CpuTime(f64),
    /// CPU time in seconds per second.
    CpuRate(f64),
    /// A point in time.
    Time(SystemTime),
}

impl Cell<'_> {
    /// Whether the cell is text, which is left-aligned.
    pub fn is_text(&self) -> bool {
        matches!(self, Cell::Name(_) | Cell::Names(_) | Cell::Text(_) | Cell::Comm(_))
    }

    /// The order in a sorted table: numbers in descending order, text in
    /// ascending order, absent values last.
    pub fn order(&self, other: &Cell<'_>) -> Ordering {
        match (self, other) {
            (Cell::Absent, Cell::Absent) => Ordering::Equal,
            (Cell::Absent, _) => Ordering::Greater,
            (_, Cell::Absent) => Ordering::Less,
            (Cell::Name(one), Cell::Name(other)) => one.cmp(other),
            (Cell::Names(one), Cell::Names(other)) => one.cmp(other),
            (Cell::Text(one), Cell::Text(other)) => one.cmp(other),
            (Cell::Comm(one), Cell::Comm(other)) => one.bytes().cmp(other.bytes()),
            (Cell::Text(_), Cell::Comm(_)) => Ordering::Less,
            (Cell::Comm(_), Cell::Text(_)) => Ordering::Greater,
            (Cell::Count(one), Cell::Count(other)) => other.cmp(one),
            (Cell::Bytes(one), Cell::Bytes(other)) | (Cell::Calls(one), Cell::Calls(other)) => {
                other.cmp(one)
            }
            (Cell::ByteRate(one), Cell::ByteRate(other))
            | (Cell::CallRate(one), Cell::CallRate(other))
            | (Cell::Percent(one), Cell::Percent(other))
            | (Cell::Seconds(one), Cell::Seconds(other))
            | (Cell::CpuTime(one), Cell::CpuTime(other))
            | (Cell::CpuRate(one), Cell::CpuRate(other)) => other.total_cmp(one),
            (Cell::Time(one), Cell::Time(other)) => other.cmp(one),
            // All cells of a column have the same type.
            _ => Ordering::Equal,
        }
    }
}

/// The subject of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// One row per image.
    Image,
    /// One row per process.
    Process,
}

/// A column: its names and its value.
#[derive(Debug)]
pub struct Column {
    /// Name for `--columns` and `--sort`.
    pub key: &'static str,
    /// Heading in a table.
    pub heading: &'static str,
    /// Name in JSON and CSV, with its unit as suffix.
    pub field: &'static str,
    /// Description for `--help`.
    pub description: &'static str,
    /// The rows that have the column; `None`: all.
    pub level: Option<Level>,
    /// Whether the column is shown by default.
    pub is_default: bool,
    /// The value.
    pub get: for<'a> fn(&'a Row) -> Cell<'a>,
}

/// Values that the sampler reads only on request, since each costs a further read per process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// [`MetricGroups::states`].
    States,
    /// [`MetricGroups::swap`].
    Swap,
    /// [`MetricGroups::switches`].
    Switches,
    /// [`MetricGroups::faults`].
    Faults,
    /// [`MetricGroups::tcp`].
    Tcp,
}

impl Column {
    /// The group that the column needs.
    pub fn group(&self) -> Option<Group> {
        match self.key {
            "state" | "running" | "sleeping" | "disk" | "stopped" | "zombie" => Some(Group::States),
            "swap" => Some(Group::Swap),
            "vcsw" | "vcsw/s" | "ivcsw" | "ivcsw/s" => Some(Group::Switches),
            "minflt" | "minflt/s" | "majflt" | "majflt/s" => Some(Group::Faults),
            "listen" | "syn_sent" | "syn_recv" | "fin_wait1" | "fin_wait2" | "close_wait"
            | "last_ack" | "closing" => Some(Group::Tcp),
            _ => None,
        }
    }

    /// Whether the column is in JSON and CSV if no columns are selected. The state of a kernel
    /// thread is; the owner, for which the names of users are read, is not.
    pub fn is_in_documents(&self) -> bool {
        (self.group().is_none() || self.key == "state") && self.key != "owner"
    }

    /// Whether the total has a value: not for the identity of a process or an image.
    pub fn has_total(&self) -> bool {
        self.level != Some(Level::Process) && self.key != "image"
    }
}

fn count(value: Option<u64>) -> Cell<'static> {
    value.map_or(Cell::Absent, Cell::Count)
}

fn bytes(value: Option<u64>) -> Cell<'static> {
    value.map_or(Cell::Absent, |value| Cell::Bytes(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn seconds(value: Option<Duration>) -> Cell<'static> {
    value.map_or(Cell::Absent, |value| Cell::Seconds(value.as_secs_f64()))
}

/// A number that is counted for processes, not for kernel threads, whose images have names in
/// brackets.
fn member_count(row: &Row, get: fn(&Usage) -> u64) -> Cell<'static> {
    if row.images.iter().any(|name| name.starts_with('[')) {
        return Cell::Absent;
    }
    Cell::Count(get(&row.numbers))
}

fn cpu_time(row: &Row, get: fn(CpuTime) -> u64) -> Cell<'static> {
    row.numbers.cpu.map_or(Cell::Absent, |cpu| Cell::CpuTime(get(cpu) as f64 / 1e9))
}

fn cpu_rate(row: &Row) -> Cell<'static> {
    row.growth.cpu.map_or(Cell::Absent, |(used, seconds)| Cell::CpuRate(used / seconds))
}

fn calls(count: u64) -> Cell<'static> {
    Cell::Calls(i64::try_from(count).unwrap_or(i64::MAX))
}

fn switches(row: &Row, get: fn(SwitchCounts) -> u64) -> Cell<'static> {
    row.numbers.switches.map_or(Cell::Absent, |switches| calls(get(switches)))
}

fn faults(row: &Row, get: fn(FaultCounts) -> u64) -> Cell<'static> {
    row.numbers.faults.map_or(Cell::Absent, |faults| calls(get(faults)))
}

/// The rate of one of two counters.
fn pair_rate(growth: Option<([u64; 2], Seconds)>, get: fn([u64; 2]) -> u64) -> Cell<'static> {
    growth.map_or(Cell::Absent, |(done, seconds)| Cell::CallRate(get(done) as f64 / seconds))
}

fn tcp_states(row: &Row, get: fn(TcpStateCounts) -> u64) -> Cell<'static> {
    count(row.numbers.tcp_states.map(get))
}

fn states(row: &Row, get: fn(StateCounts) -> u64) -> Cell<'static> {
    count(row.numbers.states.map(get))
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
    row.growth.io.map(|(done, seconds)| get(done) as f64 / seconds)
}

fn byte_rate(row: &Row, get: fn(IoCounters) -> i64) -> Cell<'static> {
    rate(row, get).map_or(Cell::Absent, Cell::ByteRate)
}

fn call_rate(row: &Row, get: fn(IoCounters) -> i64) -> Cell<'static> {
    rate(row, get).map_or(Cell::Absent, Cell::CallRate)
}

fn owner(id: &ProcessId) -> Cell<'_> {
    let number = || id.uid.map_or(Cell::Absent, |uid| Cell::Count(u64::from(uid)));
    id.owner.as_ref().map_or_else(number, |name| Cell::Text(name))
}

fn command(id: &ProcessId) -> Cell<'_> {
    match &id.comm {
        Some(comm) if id.command_line.is_empty() => Cell::Comm(comm),
        _ => Cell::Text(&id.command_line),
    }
}

/// A line of the list below: key, heading, field, level, is_default, description, value.
macro_rules! columns {
    ($($key:literal $heading:literal $field:literal $level:expr, $is_default:expr, $description:literal, $get:expr;)*) => {
        &[$(Column {
            key: $key, heading: $heading, field: $field, description: $description,
            level: $level, is_default: $is_default, get: $get,
        }),*]
    };
}

const IMAGE: Option<Level> = Some(Level::Image);
const PROCESS: Option<Level> = Some(Level::Process);

/// All columns, in display order.
#[rustfmt::skip]
pub static COLUMNS: &[Column] = columns![
    "pid" "PID" "pid" PROCESS, true, "process id", |row| count(row.id.as_ref().map(|id| u64::from(id.pid)));
    "ppid" "PPID" "ppid" PROCESS, false, "process id of the parent", |row| count(row.id.as_ref().map(|id| u64::from(id.ppid)));
    "owner" "OWNER" "owner" PROCESS, false, "user of the process, by name or number", |row| row.id.as_ref().map_or(Cell::Absent, owner);
    "starttime" "STARTTIME" "starttime_ticks" PROCESS, false, "start time, in clock ticks after boot", |row| count(row.id.as_ref().map(|id| id.starttime));
    "started" "STARTED" "started_unix_seconds" PROCESS, false, "time of its start, UTC", |row| row.id.as_ref().and_then(|id| id.started).map_or(Cell::Absent, Cell::Time);
    "age" "AGE" "age_seconds" PROCESS, false, "time since its start", |row| seconds(row.numbers.oldest);
    "state" "S" "state" PROCESS, false, "state: R, S, D, T, or I of a kernel thread", |row| row.id.as_ref().and_then(|id| id.state.as_ref()).map_or(Cell::Absent, |state| Cell::Text(std::slice::from_ref(state)));
    "comm" "COMM" "comm" PROCESS, false, "name of a process or kernel thread without a command line", |row| row.id.as_ref().and_then(|id| id.comm.as_ref()).map_or(Cell::Absent, |comm| Cell::Text(comm.bytes()));
    "image" "IMAGE" "image" IMAGE, true, "image", |row| row.images.first().map_or(Cell::Absent, |name| Cell::Name(name));
    "image" "IMAGE" "images" PROCESS, true, "images of the process", |row| Cell::Names(&row.images);
    "processes" "PROCS" "processes" IMAGE, true, "running processes", |row| Cell::Count(row.numbers.processes);
    "running" "RUN" "running" IMAGE, false, "processes in state R: on a CPU, or waiting for one", |row| states(row, |states| states.running);
    "sleeping" "SLEEP" "sleeping" IMAGE, false, "processes in state S: waiting for an event", |row| states(row, |states| states.sleeping);
    "disk" "DISK" "disk" IMAGE, false, "processes in state D: waiting without being interruptible", |row| states(row, |states| states.disk);
    "stopped" "STOP" "stopped" IMAGE, false, "processes in state T: stopped by a signal or a tracer", |row| states(row, |states| states.stopped);
    "zombie" "ZOMBIE" "zombie" IMAGE, false, "exited children for which a process of the image has not waited", |row| states(row, |states| states.zombie);
    "starts" "STARTS" "starts" IMAGE, false, "processes that joined the image since psstat-dump started", |row| member_count(row, |numbers| numbers.starts);
    "exits" "EXITS" "exits" IMAGE, false, "processes that exited or left it since psstat-dump started", |row| member_count(row, |numbers| numbers.exits);
    "oldest" "OLDEST" "oldest_seconds" IMAGE, false, "time since the start of its oldest process", |row| seconds(row.numbers.oldest);
    "youngest" "YOUNGEST" "youngest_seconds" IMAGE, false, "time since the start of its youngest process", |row| seconds(row.numbers.youngest);
    "unread_io" "UNREAD_IO" "unread_io" IMAGE, false, "its processes whose `io` could not be read: they are missing in the sums", |row| Cell::Count(row.numbers.unread.io);
    "unread_net" "UNREAD_NET" "unread_net" IMAGE, false, "… whose connections", |row| Cell::Count(row.numbers.unread.net);
    "unread_fd" "UNREAD_FD" "unread_fd" IMAGE, false, "… whose descriptors", |row| Cell::Count(row.numbers.unread.fd);
    "unread_mem" "UNREAD_MEM" "unread_mem" IMAGE, false, "… whose memory", |row| Cell::Count(row.numbers.unread.mem);
    "unread_cpu" "UNREAD_CPU" "unread_cpu" IMAGE, false, "… whose CPU time", |row| Cell::Count(row.numbers.unread.cpu);
    "pcpu" "%CPU" "pcpu_percent" None, true, "CPU time in the window, percent of one core", |row| row.numbers.cpu_percent.map_or(Cell::Absent, Cell::Percent);
    "cpu" "CPUTIME" "cpu_seconds" None, false, "total CPU time, with that of reaped children", |row| cpu_time(row, CpuTime::total);
    "user" "USER" "cpu_user_seconds" None, false, "… in user mode", |row| cpu_time(row, |cpu| cpu.user);
    "system" "SYSTEM" "cpu_system_seconds" None, false, "… in the kernel", |row| cpu_time(row, |cpu| cpu.system);
    "cpu/s" "CPU/S" "cpu_seconds_per_second" None, false, "total CPU time per second, over the window", cpu_rate;
    "vcsw" "VCSW" "voluntary_switches" None, false, "total context switches because a thread had to wait", |row| switches(row, |switches| switches.voluntary);
    "vcsw/s" "VCSW/S" "voluntary_switches_per_second" None, false, "… per second, over the window", |row| pair_rate(row.growth.switches, |[voluntary, _]| voluntary);
    "ivcsw" "IVCSW" "involuntary_switches" None, false, "total context switches because a thread had to yield", |row| switches(row, |switches| switches.involuntary);
    "ivcsw/s" "IVCSW/S" "involuntary_switches_per_second" None, false, "… per second, over the window", |row| pair_rate(row.growth.switches, |[_, involuntary]| involuntary);
    "minflt" "MINFLT" "minor_faults" None, false, "total page faults without a read from storage, with those of reaped children", |row| faults(row, |faults| faults.minor);
    "minflt/s" "MINFLT/S" "minor_faults_per_second" None, false, "… per second, over the window", |row| pair_rate(row.growth.faults, |[minor, _]| minor);
    "majflt" "MAJFLT" "major_faults" None, false, "total page faults with a read from storage, with those of reaped children", |row| faults(row, |faults| faults.major);
    "majflt/s" "MAJFLT/S" "major_faults_per_second" None, false, "… per second, over the window", |row| pair_rate(row.growth.faults, |[_, major]| major);
    "rss" "RSS" "rss_bytes" None, true, "resident memory", |row| bytes(row.numbers.rss);
    "shared" "SHARED" "shared_bytes" None, false, "resident memory that is backed by files or shared memory", |row| bytes(row.numbers.shared);
    "vsize" "VSIZE" "vsize_bytes" None, false, "virtual memory", |row| bytes(row.numbers.vsize);
    "swap" "SWAP" "swap_bytes" None, false, "swapped-out anonymous memory", |row| bytes(row.numbers.swap);
    "fds" "FDS" "fds" None, true, "open file descriptors", |row| count(row.numbers.fds);
    "fd%" "FD%" "fd_limit_percent" None, false, "open descriptors, percent of the soft limit; of an image, the highest of a process", |row| row.numbers.fd_percent.map_or(Cell::Absent, Cell::Percent);
    "threads" "THR" "threads" None, true, "threads", |row| count(row.numbers.threads);
    "tcp" "TCP" "tcp_established" None, true, "ESTABLISHED sockets, tcp and tcp6", |row| count(row.numbers.tcp);
    "listen" "LISTEN" "tcp_listen" None, false, "TCP sockets in state LISTEN: waits for connections", |row| tcp_states(row, |states| states.listen);
    "syn_sent" "SYN_SENT" "tcp_syn_sent" None, false, "TCP sockets in state SYN_SENT: connects", |row| tcp_states(row, |states| states.syn_sent);
    "syn_recv" "SYN_RECV" "tcp_syn_recv" None, false, "TCP sockets in state SYN_RECV: accepted early", |row| tcp_states(row, |states| states.syn_recv);
    "fin_wait1" "FIN_WAIT1" "tcp_fin_wait1" None, false, "TCP sockets in state FIN_WAIT1: shut down, not acknowledged yet", |row| tcp_states(row, |states| states.fin_wait1);
    "fin_wait2" "FIN_WAIT2" "tcp_fin_wait2" None, false, "TCP sockets in state FIN_WAIT2: shut down, the peer is not", |row| tcp_states(row, |states| states.fin_wait2);
    "close_wait" "CLOSE_WAIT" "tcp_close_wait" None, false, "TCP sockets in state CLOSE_WAIT: closed by the peer only", |row| tcp_states(row, |states| states.close_wait);
    "last_ack" "LAST_ACK" "tcp_last_ack" None, false, "TCP sockets in state LAST_ACK: closed by the peer, then shut down", |row| tcp_states(row, |states| states.last_ack);
    "closing" "CLOSING" "tcp_closing" None, false, "TCP sockets in state CLOSING: shut down by both at once", |row| tcp_states(row, |states| states.closing);
    "udp" "UDP" "udp_established" None, true, "ESTABLISHED sockets, udp and udp6", |row| count(row.numbers.udp);
    "unix" "UNIX" "unix_established" None, true, "connected unix domain sockets", |row| count(row.numbers.unix);
    "rchar" "RCHAR" "rchar_bytes" None, false, "total bytes read by read(2) and similar calls", |row| io_bytes(row, |io| io.rchar);
    "rchar/s" "RCHAR/S" "rchar_bytes_per_second" None, true, "… per second, over the window", |row| byte_rate(row, |io| io.rchar);
    "wchar" "WCHAR" "wchar_bytes" None, false, "total bytes written by write(2) and similar calls", |row| io_bytes(row, |io| io.wchar);
    "wchar/s" "WCHAR/S" "wchar_bytes_per_second" None, true, "… per second, over the window", |row| byte_rate(row, |io| io.wchar);
    "syscr" "SYSCR" "syscr_calls" None, false, "total read(2) and similar calls", |row| io_calls(row, |io| io.syscr);
    "syscr/s" "SYSCR/S" "syscr_calls_per_second" None, false, "… per second, over the window", |row| call_rate(row, |io| io.syscr);
    "syscw" "SYSCW" "syscw_calls" None, false, "total write(2) and similar calls", |row| io_calls(row, |io| io.syscw);
    "syscw/s" "SYSCW/S" "syscw_calls_per_second" None, false, "… per second, over the window", |row| call_rate(row, |io| io.syscw);
    "read_bytes" "READ" "read_bytes" None, false, "total bytes read from storage", |row| io_bytes(row, |io| io.read_bytes);
    "read_bytes/s" "READ/S" "read_bytes_per_second" None, true, "… per second, over the window", |row| byte_rate(row, |io| io.read_bytes);
    "write_bytes" "WRITE" "write_bytes" None, false, "total bytes written to storage", |row| io_bytes(row, |io| io.write_bytes);
    "write_bytes/s" "WRITE/S" "write_bytes_per_second" None, true, "… per second, over the window", |row| byte_rate(row, |io| io.write_bytes);
    "cancelled_write_bytes" "CANCELLED" "cancelled_write_bytes" None, false, "total bytes of cancelled writes (truncated page cache)", |row| io_bytes(row, |io| io.cancelled_write_bytes);
    "cancelled_write_bytes/s" "CANCELLED/S" "cancelled_write_bytes_per_second" None, false, "… per second, over the window", |row| byte_rate(row, |io| io.cancelled_write_bytes);
    "command" "COMMAND" "command_line" PROCESS, true, "command line, arguments joined by a space", |row| row.id.as_ref().map_or(Cell::Absent, command);
];

/// The groups that these columns need.
pub fn groups<'a>(columns: impl IntoIterator<Item = &'a Column>) -> MetricGroups {
    let mut groups = MetricGroups::default();
    for column in columns {
        match column.group() {
            Some(Group::States) => groups.states = true,
            Some(Group::Swap) => groups.swap = true,
            Some(Group::Switches) => groups.switches = true,
            Some(Group::Faults) => groups.faults = true,
            Some(Group::Tcp) => groups.tcp = true,
            None => {}
        }
    }
    groups
}

/// Names of other programs for columns.
const OTHER_NAMES: [(&str, &str); 8] = [
    ("cpu%", "pcpu"),
    ("mem", "rss"),
    ("res", "rss"),
    ("virt", "vsize"),
    ("vsz", "vsize"),
    ("time", "cpu"),
    ("cmd", "command"),
    ("args", "command"),
];

/// The column that a user names: by its key, its heading, its field or its name in `ps` and `top`,
/// in any case, and with any of `-`, `_` and space between words.
pub fn find_by_name(name: &str, level: Level) -> Option<&'static Column> {
    let normal = |text: &str| text.to_ascii_lowercase().replace(['-', ' '], "_");
    let name = normal(name.trim());
    let by = |get: fn(&Column) -> &'static str| {
        columns(level).find(|column| normal(get(column)) == name)
    };
    let other = || OTHER_NAMES.iter().find(|(other, _)| *other == name);
    by(|column| column.key)
        .or_else(|| by(|column| column.heading))
        .or_else(|| by(|column| column.field))
        .or_else(|| find(other()?.1, level))
}

/// The key of the column whose name is most similar to this text.
pub fn most_similar(text: &str, level: Level) -> Option<&'static str> {
    let names = columns(level).flat_map(|column| [column.key, column.heading, column.field]);
    let name = spelling::nearest(text, names)?;
    find_by_name(name, level).map(|column| column.key)
}

/// The column with this key, for rows of this level.
pub fn find(key: &str, level: Level) -> Option<&'static Column> {
    columns(level).find(|column| column.key == key)
}

/// All columns of rows of this level.
pub fn columns(level: Level) -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().filter(move |column| column.level.is_none_or(|only| only == level))
}

/// Sorts rows by a column. Rows with equal values are sorted by resident
/// memory, image and pid, so that the order is stable.
pub fn sort(rows: &mut [Row], by: &Column, reverse: bool) {
    rows.sort_by(|one, other| {
        let (a, b) = ((by.get)(one), (by.get)(other));
        // Absent values remain at the end.
        let is_reversed = reverse && a != Cell::Absent && b != Cell::Absent;
        let order = if is_reversed { b.order(&a) } else { a.order(&b) };
        order
            .then_with(|| other.numbers.rss.cmp(&one.numbers.rss))
            .then_with(|| one.images.cmp(&other.images))
            .then_with(|| {
                let pid = |row: &Row| row.id.as_ref().map(|id| id.pid);
                pid(one).cmp(&pid(other))
            })
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::row::Growth;
    use psstat_sampler::Usage;

    #[test]
    fn names_are_unique() {
        for level in [Level::Image, Level::Process] {
            for name in [|c: &Column| c.key, |c: &Column| c.heading, |c: &Column| c.field] {
                let mut names: Vec<_> = columns(level).map(name).collect();
                let all = names.len();
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), all);
            }
        }
    }

    #[test]
    fn names_of_columns() {
        for level in [Level::Image, Level::Process] {
            for column in columns(level) {
                for name in [column.key, column.heading, column.field] {
                    for name in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
                        let found = find_by_name(&name, level).unwrap();
                        assert_eq!(found.key, column.key, "{name}");
                    }
                }
            }
            for (name, key) in OTHER_NAMES {
                let key_of = |column: Option<&Column>| column.map(|column| column.key);
                assert_eq!(key_of(find_by_name(name, level)), key_of(find(key, level)));
            }
        }
        for (name, key) in [("WRITE/S", "write_bytes/s"), ("Fd-Limit percent", "fd%")] {
            assert_eq!(find_by_name(name, Level::Image).unwrap().key, key);
        }
        for (text, key) in
            [("writes/s", Some("write_bytes/s")), ("pcpuu", Some("pcpu")), ("x", None)]
        {
            assert_eq!(most_similar(text, Level::Image), key, "{text}");
        }
    }

    #[test]
    fn sorts_by_any_column() {
        let row = |image: &str, pcpu: Option<f64>, rss: u64| {
            let mut numbers = Usage::default();
            (numbers.cpu_percent, numbers.rss) = (pcpu, Some(rss));
            Row { images: vec![image.to_owned()], id: None, numbers, growth: Growth::default() }
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

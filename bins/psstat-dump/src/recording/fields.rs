//! The numbers of a row, as a list of integers.
//!
//! A recording contains the names of its fields, in its order. A reader ignores a field that it
//! does not know, and a field that a recording does not have is absent: so fields can be added, but
//! the name of a field never gets another meaning.

use std::time::{Duration, SystemTime};

use psstat_sampler::{FaultCounts, IoCounters, StateCounts, SwitchCounts, TcpStateCounts};

use crate::table::row::Row;

/// From which values a field is predicted. Only the difference is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prediction {
    /// The previous value.
    Same,
    /// The previous value and the time between the frames, which is the same for all rows.
    Age,
    /// The previous value and the change of the clock's time of boot.
    Started,
    /// The growth of the sum of these fields, which are before this one in the list.
    Growth(&'static [&'static str]),
}

/// One field.
#[derive(Debug)]
pub(super) struct Field {
    /// The name in a recording.
    pub(super) name: &'static str,
    pub(super) prediction: Prediction,
    /// The value; `None` if it is absent.
    pub(super) get: fn(&Row) -> Option<i64>,
    /// Sets a value that is present.
    pub(super) set: fn(&mut Row, i64),
}

fn int(value: u64) -> i64 {
    // The bits are kept.
    value as i64
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// Nanoseconds since 1970.
pub(super) fn unix_nanoseconds(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => nanoseconds(after),
        Err(before) => -nanoseconds(before.duration()),
    }
}

/// The time of [`unix_nanoseconds`].
pub(super) fn time_of(nanoseconds: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    let time = match nanoseconds {
        0.. => SystemTime::UNIX_EPOCH.checked_add(distance),
        _ => SystemTime::UNIX_EPOCH.checked_sub(distance),
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn bits(value: f64) -> i64 {
    int(value.to_bits())
}

fn float(bits: i64) -> f64 {
    f64::from_bits(bits as u64)
}

/// CPU time of a growth is a number of nanoseconds, as seconds.
fn cpu_nanoseconds(seconds: f64) -> i64 {
    (seconds * 1e9).round() as i64
}

fn growth_io(row: &mut Row) -> &mut IoCounters {
    &mut row.growth.io.get_or_insert((IoCounters::default(), 0.0)).0
}

/// A line of the list: name, prediction, value, setter.
macro_rules! fields {
    ($($name:literal $prediction:expr, $get:expr, $set:expr;)*) => {
        &[$(Field { name: $name, prediction: $prediction, get: $get, set: $set }),*]
    };
}

use Prediction::{Age, Growth, Same, Started};

/// All fields, in the order in which they are written.
#[rustfmt::skip]
pub(super) static FIELDS: &[Field] = fields![
    "processes" Same, |row| Some(int(row.numbers.processes)), |row, value| row.numbers.processes = value as u64;
    "starts" Same, |row| Some(int(row.numbers.starts)), |row, value| row.numbers.starts = value as u64;
    "exits" Same, |row| Some(int(row.numbers.exits)), |row, value| row.numbers.exits = value as u64;
    "ppid" Same, |row| row.id.as_ref().map(|id| i64::from(id.ppid)), |row, value| if let Some(id) = &mut row.id { id.ppid = value as u32 };
    "uid" Same, |row| row.id.as_ref()?.uid.map(i64::from), |row, value| if let Some(id) = &mut row.id { id.uid = Some(value as u32) };
    "state" Same, |row| row.id.as_ref()?.state.map(i64::from), |row, value| if let Some(id) = &mut row.id { id.state = Some(value as u8) };
    "started" Started, |row| row.id.as_ref()?.started.map(unix_nanoseconds), |row, value| if let Some(id) = &mut row.id { id.started = Some(time_of(value)) };
    "oldest" Age, |row| row.numbers.oldest.map(nanoseconds), |row, value| row.numbers.oldest = Some(Duration::from_nanos(value as u64));
    "youngest" Age, |row| row.numbers.youngest.map(nanoseconds), |row, value| row.numbers.youngest = Some(Duration::from_nanos(value as u64));
    "pcpu" Same, |row| row.numbers.cpu_percent.map(bits), |row, value| row.numbers.cpu_percent = Some(float(value));
    "cpu_user" Same, |row| row.numbers.cpu.map(|cpu| int(cpu.user)), |row, value| row.numbers.cpu.get_or_insert_default().user = value as u64;
    "cpu_system" Same, |row| row.numbers.cpu.map(|cpu| int(cpu.system)), |row, value| row.numbers.cpu.get_or_insert_default().system = value as u64;
    "rss" Same, |row| row.numbers.rss.map(int), |row, value| row.numbers.rss = Some(value as u64);
    "shared" Same, |row| row.numbers.shared.map(int), |row, value| row.numbers.shared = Some(value as u64);
    "vsize" Same, |row| row.numbers.vsize.map(int), |row, value| row.numbers.vsize = Some(value as u64);
    "swap" Same, |row| row.numbers.swap.map(int), |row, value| row.numbers.swap = Some(value as u64);
    "fds" Same, |row| row.numbers.fds.map(int), |row, value| row.numbers.fds = Some(value as u64);
    "fd_percent" Same, |row| row.numbers.fd_percent.map(bits), |row, value| row.numbers.fd_percent = Some(float(value));
    "threads" Same, |row| row.numbers.threads.map(int), |row, value| row.numbers.threads = Some(value as u64);
    "tcp" Same, |row| row.numbers.tcp.map(int), |row, value| row.numbers.tcp = Some(value as u64);
    "udp" Same, |row| row.numbers.udp.map(int), |row, value| row.numbers.udp = Some(value as u64);
    "unix" Same, |row| row.numbers.unix.map(int), |row, value| row.numbers.unix = Some(value as u64);
    "rchar" Same, |row| row.numbers.io.map(|io| io.rchar), |row, value| row.numbers.io.get_or_insert_default().rchar = value;
    "wchar" Same, |row| row.numbers.io.map(|io| io.wchar), |row, value| row.numbers.io.get_or_insert_default().wchar = value;
    "syscr" Same, |row| row.numbers.io.map(|io| io.syscr), |row, value| row.numbers.io.get_or_insert_default().syscr = value;
    "syscw" Same, |row| row.numbers.io.map(|io| io.syscw), |row, value| row.numbers.io.get_or_insert_default().syscw = value;
    "read_bytes" Same, |row| row.numbers.io.map(|io| io.read_bytes), |row, value| row.numbers.io.get_or_insert_default().read_bytes = value;
    "write_bytes" Same, |row| row.numbers.io.map(|io| io.write_bytes), |row, value| row.numbers.io.get_or_insert_default().write_bytes = value;
    "cancelled_write_bytes" Same, |row| row.numbers.io.map(|io| io.cancelled_write_bytes), |row, value| row.numbers.io.get_or_insert_default().cancelled_write_bytes = value;
    "voluntary_switches" Same, |row| row.numbers.switches.map(|one| int(one.voluntary)), |row, value| row.numbers.switches.get_or_insert(SwitchCounts::default()).voluntary = value as u64;
    "involuntary_switches" Same, |row| row.numbers.switches.map(|one| int(one.involuntary)), |row, value| row.numbers.switches.get_or_insert(SwitchCounts::default()).involuntary = value as u64;
    "running" Same, |row| row.numbers.states.map(|one| int(one.running)), |row, value| row.numbers.states.get_or_insert(StateCounts::default()).running = value as u64;
    "sleeping" Same, |row| row.numbers.states.map(|one| int(one.sleeping)), |row, value| row.numbers.states.get_or_insert(StateCounts::default()).sleeping = value as u64;
    "disk" Same, |row| row.numbers.states.map(|one| int(one.disk)), |row, value| row.numbers.states.get_or_insert(StateCounts::default()).disk = value as u64;
    "stopped" Same, |row| row.numbers.states.map(|one| int(one.stopped)), |row, value| row.numbers.states.get_or_insert(StateCounts::default()).stopped = value as u64;
    "zombie" Same, |row| row.numbers.states.map(|one| int(one.zombie)), |row, value| row.numbers.states.get_or_insert(StateCounts::default()).zombie = value as u64;
    "listen" Same, |row| row.numbers.tcp_states.map(|one| int(one.listen)), |row, value| row.numbers.tcp_states.get_or_insert(TcpStateCounts::default()).listen = value as u64;
    "syn_sent" Same, |row| row.numbers.tcp_states.map(|one| int(one.syn_sent)), |row, value| row.numbers.tcp_states.get_or_insert(TcpStateCounts::default()).syn_sent = value as u64;
    "syn_recv" Same, |row| row.numbers.tcp_states.map(|one| int(one.syn_recv)), |row, value| row.numbers.tcp_states.get_or_insert(TcpStateCounts::default()).syn_recv = value as u64;
    "fin_wait1" Same, |row| row.numbers.tcp_states.map(|one| int(one.fin_wait1)), |row, value| row.numbers.tcp_states.get_or_insert(TcpStateCounts::default()).fin_wait1 = value as u64;
    "fin_wait2" Same, |row| row.numbers.tcp_states.map(|one| int(one.fin_wait2)), |row, value| row.numbers.tcp_states.get_or_insert(TcpStateCounts::default()).fin_wait2 = value as u64;
    "close_wait" Same, |row| row.numbers.tcp_states.map(|one| int(one.close_wait)), |row, value| row.numbers.tcp_states.get_or_insert(TcpStateCounts::default()).close_wait = value as u64;
    "last_ack" Same, |row| row.numbers.tcp_states.map(|one| int(one.last_ack)), |row, value| row.numbers.tcp_states.get_or_insert(TcpStateCounts::default()).last_ack = value as u64;
    "closing" Same, |row| row.numbers.tcp_states.map(|one| int(one.closing)), |row, value| row.numbers.tcp_states.get_or_insert(TcpStateCounts::default()).closing = value as u64;
    "unread_io" Same, |row| Some(int(row.numbers.unread.io)), |row, value| row.numbers.unread.io = value as u64;
    "unread_net" Same, |row| Some(int(row.numbers.unread.net)), |row, value| row.numbers.unread.net = value as u64;
    "unread_fd" Same, |row| Some(int(row.numbers.unread.fd)), |row, value| row.numbers.unread.fd = value as u64;
    "unread_mem" Same, |row| Some(int(row.numbers.unread.mem)), |row, value| row.numbers.unread.mem = value as u64;
    "unread_cpu" Same, |row| Some(int(row.numbers.unread.cpu)), |row, value| row.numbers.unread.cpu = value as u64;
    "minor_faults" Same, |row| row.numbers.faults.map(|one| int(one.minor)), |row, value| row.numbers.faults.get_or_insert_default().minor = value as u64;
    "major_faults" Same, |row| row.numbers.faults.map(|one| int(one.major)), |row, value| row.numbers.faults.get_or_insert_default().major = value as u64;
    "rchar_growth" Growth(&["rchar"]), |row| row.growth.io.map(|(io, _)| io.rchar), |row, value| growth_io(row).rchar = value;
    "wchar_growth" Growth(&["wchar"]), |row| row.growth.io.map(|(io, _)| io.wchar), |row, value| growth_io(row).wchar = value;
    "syscr_growth" Growth(&["syscr"]), |row| row.growth.io.map(|(io, _)| io.syscr), |row, value| growth_io(row).syscr = value;
    "syscw_growth" Growth(&["syscw"]), |row| row.growth.io.map(|(io, _)| io.syscw), |row, value| growth_io(row).syscw = value;
    "read_bytes_growth" Growth(&["read_bytes"]), |row| row.growth.io.map(|(io, _)| io.read_bytes), |row, value| growth_io(row).read_bytes = value;
    "write_bytes_growth" Growth(&["write_bytes"]), |row| row.growth.io.map(|(io, _)| io.write_bytes), |row, value| growth_io(row).write_bytes = value;
    "cancelled_write_bytes_growth" Growth(&["cancelled_write_bytes"]), |row| row.growth.io.map(|(io, _)| io.cancelled_write_bytes), |row, value| growth_io(row).cancelled_write_bytes = value;
    "cpu_growth" Growth(&["cpu_user", "cpu_system"]), |row| row.growth.cpu.map(|(cpu, _)| cpu_nanoseconds(cpu)), |row, value| row.growth.cpu.get_or_insert((0.0, 0.0)).0 = value as f64 / 1e9;
    "minor_faults" Same, |row| row.numbers.faults.map(|one| int(one.minor)), |row, value| row.numbers.faults.get_or_insert(FaultCounts::default()).minor = value as u64;
    "major_faults" Same, |row| row.numbers.faults.map(|one| int(one.major)), |row, value| row.numbers.faults.get_or_insert(FaultCounts::default()).major = value as u64;
    "minor_faults_growth" Growth(&["minor_faults"]), |row| row.growth.faults.map(|([minor, _], _)| int(minor)), |row, value| row.growth.faults.get_or_insert(([0; 2], 0.0)).0[0] = value as u64;
    "major_faults_growth" Growth(&["major_faults"]), |row| row.growth.faults.map(|([_, major], _)| int(major)), |row, value| row.growth.faults.get_or_insert(([0; 2], 0.0)).0[1] = value as u64;
    "voluntary_switches_growth" Growth(&["voluntary_switches"]), |row| row.growth.switches.map(|([voluntary, _], _)| int(voluntary)), |row, value| row.growth.switches.get_or_insert(([0; 2], 0.0)).0[0] = value as u64;
    "involuntary_switches_growth" Growth(&["involuntary_switches"]), |row| row.growth.switches.map(|([_, involuntary], _)| int(involuntary)), |row, value| row.growth.switches.get_or_insert(([0; 2], 0.0)).0[1] = value as u64;
];

/// The values of a row, one for each field of a list.
pub(super) type Values = Vec<Option<i64>>;

/// The values of a row, for [`FIELDS`].
pub(super) fn values(row: &Row, into: &mut Values) {
    into.clear();
    into.extend(FIELDS.iter().map(|field| (field.get)(row)));
}

/// The steps that are common to all rows of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// For [`Prediction::Age`].
    pub(super) age: i64,
    /// For [`Prediction::Started`].
    pub(super) started: i64,
}

/// A field of a recording: how it is predicted, with the positions of other fields.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) field: &'static Field,
    /// For [`Prediction::Growth`].
    summed: Vec<usize>,
}

/// The fields of a list of names, in its order; `None` for an unknown one.
pub(super) fn known<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Vec<Option<Known>> {
    let find = |name: &str| {
        let field = FIELDS.iter().find(|field| field.name == name)?;
        let summed = match field.prediction {
            Growth(of) => of,
            Same | Age | Started => &[],
        };
        let position = |of: &&str| names.clone().position(|name| name == *of);
        let summed = summed.iter().filter_map(position).collect();
        Some(Known { field, summed })
    };
    names.clone().map(find).collect()
}

impl Known {
    /// The predicted value of the field at `at`. `before` are the values in the previous frame, if
    /// the row was in it; `now` those in this frame, up to this field.
    pub(super) fn predict(
        &self,
        at: usize,
        before: Option<&[Option<i64>]>,
        now: &[Option<i64>],
        steps: Steps,
    ) -> Option<i64> {
        let before = before?;
        let previous = before.get(at).copied().flatten();
        match self.field.prediction {
            Same => previous,
            Age => previous.map(|age| age.wrapping_add(steps.age)),
            Started => previous.map(|time| time.wrapping_add(steps.started)),
            Growth(_) => {
                let sum = |values: &[Option<i64>]| {
                    self.summed.iter().try_fold(0_i64, |sum, &at| {
                        Some(sum.wrapping_add(values.get(at).copied().flatten()?))
                    })
                };
                Some(sum(now)?.wrapping_sub(sum(before)?))
            }
        }
    }
}

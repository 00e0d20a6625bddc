//! The processes with known resources. The name of each role is the name of its image.

use std::collections::BTreeMap;

use psstat_testproc::{Config, Kind, TestProcess, oracle};
use serde_json::Value;

use crate::Result;
use crate::report::{Expected, Report};

/// The beginning of the processes' `argv[0]`.
pub(crate) const PREFIX: &str = "role-";
/// More than 32 bits of bytes, and not a multiple of anything.
const WRITTEN: u64 = (4 << 30) + 123_457;
const READ: u64 = (4 << 30) + (1 << 28) + 7;
/// The size of a read or write.
const CALL: u64 = 1 << 20;
const TOUCHED: u64 = 64 << 20;

/// The values of a process or an image by name.
pub(crate) type Values = BTreeMap<&'static str, Expected>;

/// The processes of an image, and what is known of it.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) name: &'static str,
    pub(crate) processes: Vec<TestProcess>,
    /// Of each process.
    threads: u64,
    tcp: u64,
    udp: u64,
    unix: u64,
    /// File descriptors of each process.
    fds: u64,
    /// Whether each process is the owner of all sockets: the image has the same number.
    shared: bool,
    /// The least resident memory.
    touched: u64,
    /// The least memory that is swapped out, if there is swap space.
    swapped: u64,
    /// CPU time, in percent of one core.
    percent: Option<f64>,
}

impl Role {
    fn new(name: &'static str) -> Result<Role> {
        let process = TestProcess::spawn(&Config::new(format!("{PREFIX}{name}")))?;
        Ok(Role {
            name,
            processes: vec![process],
            threads: 1,
            tcp: 0,
            udp: 0,
            unix: 0,
            fds: 3,
            shared: false,
            touched: 0,
            swapped: 0,
            percent: None,
        })
    }

    /// With sockets of a kind.
    fn sockets(name: &'static str, kind: Kind, n: u64) -> Result<Role> {
        let mut role = Role::new(name)?;
        role.processes[0].open_sockets(kind, n)?;
        role.count_sockets()?;
        Ok(role)
    }

    /// The numbers of sockets and descriptors by the process's own system calls.
    fn count_sockets(&mut self) -> Result<()> {
        let counts = self.processes[0].sockets()?;
        self.tcp = counts.tcp + counts.tcp6;
        self.udp = counts.udp + counts.udp6;
        self.unix = counts.unix;
        self.fds = counts.fds;
        Ok(())
    }

    /// The values of a process: those that are known, and the sizes in the kernel's file.
    pub(crate) fn values(&self, process: &TestProcess) -> Result<Values> {
        let mut values = BTreeMap::from([
            ("threads", Expected::Exactly(self.threads)),
            ("fds", Expected::Exactly(self.fds)),
            ("tcp", Expected::Exactly(self.tcp)),
            ("udp", Expected::Exactly(self.udp)),
            ("unix", Expected::Exactly(self.unix)),
        ]);
        match self.percent {
            // Emulated processors are slow, and other processes run meanwhile: this finds
            // wrong units and clocks.
            Some(percent) => {
                let by = if percent > 99.0 { 50.0 } else { percent * 0.9 };
                values.insert("pcpu", Expected::About { value: percent, by });
            }
            None => {
                values.insert("pcpu", Expected::About { value: 0.0, by: 5.0 });
                let io = process.expected_io()?;
                values.insert("rchar", Expected::Exactly(io.rchar));
                values.insert("wchar", Expected::Exactly(io.wchar));
                values.insert("syscr", Expected::Exactly(io.syscr));
                values.insert("syscw", Expected::Exactly(io.syscw));
            }
        }
        let memory = oracle::memory(process.tid())?;
        values.insert("vsize", Expected::Exactly(memory.total));
        values.insert("rss", Expected::Exactly(memory.resident));
        values.insert("swap", Expected::Exactly(swapped(process.pid())?));
        Ok(values)
    }

    /// The values of the image: sums, but sockets that are shared count once.
    pub(crate) fn sums(&self) -> Result<Values> {
        let mut sums = Values::new();
        for process in &self.processes {
            for (name, value) in self.values(process)? {
                let sum = sums.entry(name).or_insert(Expected::Exactly(0));
                if self.shared && ["tcp", "udp", "unix"].contains(&name) {
                    *sum = value;
                } else if let (Expected::Exactly(sum), Expected::Exactly(value)) =
                    (&mut *sum, value)
                {
                    *sum += value;
                } else {
                    *sum = value;
                }
            }
        }
        sums.insert("processes", Expected::Exactly(self.processes.len() as u64));
        Ok(sums)
    }

    /// All connected sockets of a process.
    pub(crate) fn established(&self) -> Option<Expected> {
        Some(Expected::Exactly(self.tcp + self.udp + self.unix))
    }

    /// Compares what the processes know with the kernel's files: differences there are not errors
    /// of psstat.
    pub(crate) fn check_kernel(&self, report: &mut Report) -> Result<()> {
        for process in &self.processes {
            let sockets = oracle::established(process.tid())?;
            let memory = oracle::memory(process.tid())?;
            let mut found = BTreeMap::from([
                ("threads", oracle::threads(process.pid())?),
                ("fds", oracle::fds(process.tid())?),
                ("tcp", sockets.all_tcp()),
                ("udp", sockets.all_udp()),
                ("unix", sockets.unix.len() as u64),
            ]);
            for (name, value) in oracle::io(process.pid())? {
                let name = ["rchar", "wchar", "syscr", "syscw"].into_iter().find(|&io| io == name);
                if let (Some(name), Ok(value)) = (name, u64::try_from(value)) {
                    found.insert(name, value);
                }
            }
            for (name, expected) in self.values(process)? {
                if let Some(&found) = found.get(name) {
                    report.compare("kernel", self.name, name, &expected, Some(found as f64));
                }
            }
            if self.swapped > 0 && has_swap_space()? {
                let swapped = Expected::AtLeast(self.swapped);
                let found = self::swapped(process.pid())? as f64;
                report.compare("kernel", self.name, "swap", &swapped, Some(found));
            }
            if self.touched == 0 {
                continue;
            }
            let touched = Expected::AtLeast(self.touched);
            report.compare("kernel", self.name, "rss", &touched, Some(memory.resident as f64));
            report.compare("kernel", self.name, "vsize", &touched, Some(memory.total as f64));
        }
        Ok(())
    }

    /// Compares a row of psstat-dump.
    pub(crate) fn check_row(
        &self,
        source: &str,
        row: Option<&Value>,
        values: &Values,
        report: &mut Report,
    ) {
        for (&name, expected) in values {
            let Some(field) = field(name) else { continue };
            let found = row.and_then(|row| row[field].as_f64());
            report.compare(source, self.name, name, expected, found);
        }
    }
}

/// Whether the kernel shows datagram sockets as connected: since Linux 5.15.
fn shows_connected_datagram_sockets() -> bool {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(5), Some(15))
}

/// The memory of a process that is swapped out, in bytes; 0 if it has none.
fn swapped(pid: u32) -> Result<u64> {
    let Ok(swap) = oracle::status_field(pid, "VmSwap") else { return Ok(0) };
    Ok(swap.trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
}

fn has_swap_space() -> Result<bool> {
    Ok(std::fs::read_to_string("/proc/swaps")?.lines().count() > 1)
}

/// The resident memory of a process, in bytes, by its page tables. `None` if it has none.
pub(crate) fn resident_by_page_tables(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    Some(line.trim_end_matches(" kB").trim().parse::<u64>().ok()? * 1024)
}

/// The field of a row of psstat-dump's JSON.
pub(crate) fn field(name: &str) -> Option<&'static str> {
    Some(match name {
        "processes" => "processes",
        "threads" => "threads",
        "fds" => "fds",
        "tcp" => "tcp_established",
        "udp" => "udp_established",
        "unix" => "unix_established",
        "pcpu" => "pcpu_percent",
        "rchar" => "rchar_bytes",
        "wchar" => "wchar_bytes",
        "syscr" => "syscr_calls",
        "syscw" => "syscw_calls",
        "vsize" => "vsize_bytes",
        "rss" => "rss_bytes",
        _ => return None,
    })
}

/// The field of the JSON of `psstat-dump pid`.
pub(crate) fn pointer(name: &str) -> Option<&'static str> {
    Some(match name {
        "threads" => "/identity/threads",
        "fds" => "/descriptors/open",
        "rchar" => "/io/rchar_bytes",
        "wchar" => "/io/wchar_bytes",
        "syscr" => "/io/syscr_calls",
        "syscw" => "/io/syscw_calls",
        "vsize" => "/memory/vsize_bytes",
        "rss" => "/memory/statm_resident_bytes",
        _ => return None,
    })
}

/// The metric of the collector and its type.
pub(crate) fn series(name: &str) -> Option<(&'static str, Option<&'static str>)> {
    Some(match name {
        "processes" => ("procs", None),
        "threads" => ("threads", None),
        "fds" => ("fd", Some("open")),
        "tcp" => ("net", Some("tcp")),
        "udp" => ("net", Some("udp")),
        "unix" => ("net", Some("unix")),
        "pcpu" => ("pcpu", None),
        "rchar" => ("io", Some("rchar")),
        "wchar" => ("io", Some("wchar")),
        "syscr" => ("io", Some("syscr")),
        "syscw" => ("io", Some("syscw")),
        "vsize" => ("mem", Some("total")),
        "rss" => ("mem", Some("resident")),
        "swap" => ("swap", None),
        _ => return None,
    })
}

/// Starts all processes.
pub(crate) fn start() -> Result<Vec<Role>> {
    let mut roles = Vec::new();

    let mut files = Role::new("files")?;
    files.fds = files.processes[0].open_files(40)?;
    roles.push(files);

    let mut threads = Role::new("threads")?;
    threads.threads = threads.processes[0].threads(10)?;
    roles.push(threads);

    roles.push(Role::sockets("tcp", Kind::Tcp, 4)?);
    roles.push(Role::sockets("udp", Kind::Udp, 3)?);
    roles.push(Role::sockets("unix", Kind::UnixStream, 3)?);
    let mut datagram = Role::sockets("datagram", Kind::UnixDgram, 2)?;
    if !shows_connected_datagram_sockets() {
        datagram.unix = 0;
    }
    roles.push(datagram);
    if std::fs::exists("/proc/net/tcp6")? {
        roles.push(Role::sockets("tcp6", Kind::Tcp6, 3)?);
        roles.push(Role::sockets("mapped", Kind::Tcp6Mapped, 2)?);
        roles.push(Role::sockets("udp6", Kind::Udp6, 2)?);
    }

    let mut listeners = Role::new("listeners")?;
    listeners.processes[0].non_established_sockets(2)?;
    listeners.count_sockets()?;
    roles.push(listeners);

    let mut io = Role::new("io")?;
    io.processes[0].write_bytes(WRITTEN, WRITTEN / CALL)?;
    io.processes[0].read_bytes(READ, READ / CALL)?;
    roles.push(io);

    // The kernel adds the io of a child that is waited for to its parent.
    let mut reaper = Role::new("reaper")?;
    for _ in 0..3 {
        let mut child = reaper.processes[0].fork_child(&Config::new("role-child"))?;
        child.write_bytes(WRITTEN / 2, WRITTEN / 2 / CALL)?;
        child.exit(0)?;
        reaper.processes[0].wait(child)?;
    }
    roles.push(reaper);

    let mut memory = Role::new("memory")?;
    memory.processes[0].mmap_touch(TOUCHED)?;
    memory.touched = TOUCHED;
    roles.push(memory);

    let mut swap = Role::new("swap")?;
    swap.processes[0].page_out(TOUCHED / 2)?;
    swap.swapped = TOUCHED / 4;
    roles.push(swap);

    // Two processes with the same sockets.
    let mut copies = Role::new("copies")?;
    copies.processes[0].tcp_pairs(2)?;
    let copy = copies.processes[0].fork_copy()?;
    copies.processes.push(copy);
    copies.count_sockets()?;
    copies.fds = oracle::fds(copies.processes[0].pid())?;
    copies.shared = true;
    roles.push(copies);

    // Its main thread has exited, and the others continue.
    let mut leaderless = Role::sockets("leaderless", Kind::Tcp, 1)?;
    leaderless.processes[0].leader_exit()?;
    leaderless.count_sockets()?;
    leaderless.threads = oracle::threads(leaderless.processes[0].pid())?;
    roles.push(leaderless);

    for (name, percent) in [("busy100", 100.0), ("busy30", 30.0)] {
        let mut busy = Role::new(name)?;
        busy.processes[0].burn_until_stopped(percent, 1)?;
        busy.threads = 2;
        busy.percent = Some(percent);
        roles.push(busy);
    }
    for role in roles.iter().filter(|role| role.percent.is_none()) {
        for process in &role.processes {
            process.quiesce()?;
        }
    }
    Ok(roles)
}

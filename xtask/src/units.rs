//! `cargo xtask units`: the units of the package, run by a real systemd.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::container::{Chroot, Machine, in_mount_namespace};
use crate::{Result, package};

/// Run the systemd units of the Debian package in a container that systemd has booted.
///
/// The package is installed in a temporary copy of this machine's root, which systemd boots with its
/// own processes, network and services. Each unit is started, and its values are compared with a
/// process of another user; then its privileges are checked: that it has no other capabilities, and
/// that values are missing without each of the two. Prints the figure of `systemd-analyze security`.
/// Needs root, systemd and python3; `cargo xtask package` builds the package.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The Debian package [the one in target/debian]
    #[arg(long, value_name = "FILE")]
    package: Option<PathBuf>,

    /// Run the check in the current mount namespace, with this directory for the copy
    #[arg(long, value_name = "DIR", hide = true)]
    inside: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let package = package::given_or_built(options.package.as_deref())?;
    match &options.inside {
        Some(dir) => {
            let chroot = Chroot::new(dir)?;
            package::install(&chroot, &package)?;
            prepare(&chroot)?;
            check(&Machine::boot(&chroot)?)
        }
        None => in_mount_namespace(&["units".as_ref(), "--package".as_ref(), package.as_os_str()]),
    }
}

/// A process with known files and connections, which writes at SIGUSR1.
const KNOWN: &str = r#"
import signal, socket
files = [open("/dev/null", "wb", 0) for _ in range(7)]
server = socket.create_server(("127.0.0.1", 0))
pairs = [(socket.create_connection(server.getsockname()), server.accept()[0]) for _ in range(3)]
def write(*_):
    for _ in range(12):
        files[0].write(bytes(10_288))
signal.signal(signal.SIGUSR1, write)
while True:
    signal.pause()
"#;
/// Its established ends of connections.
const CONNECTIONS: f64 = 6.0;
/// The bytes that it writes at a signal.
const WRITTEN: f64 = 12.0 * 10_288.0;
/// Where it is in the container.
const KNOWN_PATH: &str = "/usr/local/lib/known.py";

/// The directory of Debian's node_exporter.
const TEXTFILES: &str = "/var/lib/prometheus/node-exporter";

/// Adds the known process to the services, and a config file in which it is an image.
fn prepare(chroot: &Chroot) -> Result<()> {
    fs::write(chroot.path(KNOWN_PATH), KNOWN)?;
    // A user other than root and those of the units.
    let unit = format!("[Service]\nUser=daemon\nExecStart=/usr/bin/python3 {KNOWN_PATH}\n");
    fs::write(chroot.path("/etc/systemd/system/known.service"), unit)?;
    fs::write(chroot.path("/etc/psstat.conf"), format!("known {KNOWN_PATH}$\n"))?;
    fs::write(chroot.path("/etc/default/psstat"), "PSSTAT_INTERVAL=1\n")?;
    let conf = "[Service]\nEnvironment=PSSTAT_CONF=/etc/psstat.conf\n";
    let record = chroot.path("/etc/systemd/system/psstat-record.service.d");
    fs::create_dir_all(&record)?;
    fs::write(record.join("conf.conf"), conf)?;
    fs::create_dir_all(chroot.path(TEXTFILES))?;
    Ok(())
}

/// A unit, and how its values are read.
struct Unit {
    name: &'static str,
    is_root: bool,
    can_reload: bool,
    /// It may load the BPF program.
    loads_bpf: bool,
    /// Prints the values.
    show: &'static str,
    parse: fn(&str) -> Result<Values>,
    /// Removes them while the unit is stopped; fails if a stopped unit should have done so.
    clean: &'static str,
}

const UNITS: [Unit; 3] = [
    Unit {
        name: "psstat",
        is_root: false,
        can_reload: true,
        loads_bpf: true,
        show: "bash -ec 'exec 3<>/dev/tcp/127.0.0.1/9256
            printf \"GET /metrics HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n\" >&3
            cat <&3'",
        parse: of_exposition,
        clean: "true",
    },
    Unit {
        name: "psstat-textfile",
        is_root: true,
        can_reload: true,
        loads_bpf: true,
        show: "cat /var/lib/prometheus/node-exporter/psstat.prom",
        parse: of_exposition,
        clean: "test -z \"$(ls /var/lib/prometheus/node-exporter)\"",
    },
    Unit {
        name: "psstat-record",
        is_root: false,
        can_reload: false,
        loads_bpf: false,
        show: "psstat-dump --replay /var/lib/psstat/recording --json",
        parse: of_table,
        clean: "rm /var/lib/psstat/*",
    },
];

/// The values of the known process. None if one is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Values {
    processes: Option<f64>,
    descriptors: Option<f64>,
    connections: Option<f64>,
    written: Option<f64>,
}

/// Those in the text format of Prometheus.
fn of_exposition(text: &str) -> Result<Values> {
    let value = |series: &str| -> Result<Option<f64>> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(series));
        Ok(lines.next().map(str::trim).map(str::parse).transpose()?)
    };
    Ok(Values {
        processes: value("proc_stat_ps_procs{image=\"known\"}")?,
        descriptors: value("proc_stat_ps_fd{image=\"known\",type=\"open\"}")?,
        connections: value("proc_stat_ps_net{image=\"known\",type=\"tcp\"}")?,
        written: value("proc_stat_ps_io_bytes_total{image=\"known\",type=\"wchar\"}")?,
    })
}

/// Those in a table of psstat-dump.
fn of_table(text: &str) -> Result<Values> {
    let table: serde_json::Value = serde_json::from_str(text)?;
    let rows = table["rows"].as_array().ok_or("no rows")?;
    let row = rows.iter().find(|row| row["image"] == "known").ok_or("no row")?;
    Ok(Values {
        processes: row["processes"].as_f64(),
        descriptors: row["fds"].as_f64(),
        connections: row["tcp_established"].as_f64(),
        written: row["wchar_bytes"].as_f64(),
    })
}

/// Checks all units.
fn check(machine: &Machine) -> Result<()> {
    machine.sh("systemctl start known")?;
    let count = "ls /proc/$(systemctl show --property MainPID --value known)/fd | wc -l";
    // Its three standard streams, the files, the server and the connections.
    let descriptors = machine.until(count, |count| count.trim() == "17")?.stdout;
    let descriptors = descriptors.trim().parse()?;
    println!("{}", machine.sh("systemctl --version | head -n 1")?.stdout.trim());
    for unit in UNITS {
        let figure = unit.check(machine, descriptors);
        let figure = figure.map_err(|error| format!("{}: {error}", unit.name))?;
        println!("{}: runs, with two capabilities, both needed; {figure}", unit.name);
    }
    Ok(())
}

impl Unit {
    fn check(&self, machine: &Machine, descriptors: f64) -> Result<String> {
        let name = self.name;
        machine.sh(&format!("systemctl enable --now {name}"))?;
        let complete = Values {
            processes: Some(1.0),
            descriptors: Some(descriptors),
            connections: Some(CONNECTIONS),
            written: None,
        };
        let is_complete = |values: Values| Values { written: None, ..values } == complete;
        let before =
            self.values_when(machine, |values| is_complete(values) && values.written.is_some())?;
        machine.sh("systemctl kill --signal USR1 known")?;
        let after = before.written.map(|written| written + WRITTEN);
        self.values_when(machine, |values| values.written == after)?;
        self.check_privileges(machine)?;
        if self.can_reload {
            let pid = format!("systemctl show --property MainPID --value {name}");
            let before = machine.sh(&pid)?.stdout;
            machine.sh(&format!("systemctl reload {name}"))?;
            let written = self.values_when(machine, is_complete)?.written;
            if machine.sh(&pid)?.stdout != before || written < after {
                return Err("a reload restarts it".into());
            }
        }
        self.stop(machine)?;
        for (capability, other) in
            [("CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"), ("CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE")]
        {
            let values = self.without(machine, other)?;
            let is_missing = match capability {
                "CAP_SYS_PTRACE" => values.written.is_none(),
                _ => values.connections.is_none(),
            };
            if !is_missing {
                return Err(format!("{capability} is not needed: {values:?}").into());
            }
        }
        let figure = format!("systemd-analyze security --no-pager {name} | tail -n 1");
        let figure = machine.sh(&figure)?.stdout;
        let figure = figure.split("service: ").nth(1).ok_or("no figure")?;
        let figure = figure.split(' ').next().unwrap_or_default();
        Ok(format!("exposure {figure}"))
    }

    /// The values, when a condition is true.
    fn values_when(&self, machine: &Machine, is_true: impl Fn(Values) -> bool) -> Result<Values> {
        let output = machine
            .until(self.show, |text| (self.parse)(text).is_ok_and(&is_true))
            .map_err(|error| {
                let status = format!("systemctl status --no-pager --full {}", self.name);
                let status = machine.sh(&format!("{status} || true"));
                format!("{error}\n{}", status.map(|output| output.stdout).unwrap_or_default())
            })?;
        (self.parse)(&output.stdout)
    }

    /// Checks what the running process may do.
    fn check_privileges(&self, machine: &Machine) -> Result<()> {
        let pid = format!("pid=$(systemctl show --property MainPID --value {})", self.name);
        let status = machine.sh(&format!("{pid}; cat /proc/$pid/status"))?.stdout;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()).unwrap_or_default()
        };
        // CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE.
        let two = 1_u64 << 2 | 1 << 19;
        // And CAP_PERFMON and CAP_BPF, which a unit of the collector drops when the BPF program is loaded, or
        // cannot be. A bounding set can only be reduced with CAP_SETPCAP.
        let bound = if self.loads_bpf { two | 1 << 38 | 1 << 39 } else { two };
        let [two, bound] = [two, bound].map(|set| format!("{set:016x}"));
        for (name, expected) in [
            ("CapPrm:", &*two),
            ("CapEff:", &two),
            ("CapBnd:", &bound),
            ("NoNewPrivs:", "1"),
            ("Seccomp:", "2"),
        ] {
            if field(name) != expected {
                return Err(format!("{name} is not {expected}: {status}").into());
            }
        }
        if (field("Uid:") == "0") != self.is_root {
            return Err(format!("another user: {status}").into());
        }
        let nice = machine.sh(&format!("{pid}; cut -d\" \" -f19 /proc/$pid/stat"))?.stdout;
        if nice.trim() != "5" {
            return Err(format!("its nice value is {nice}").into());
        }
        // The file systems of its namespace.
        machine.sh(&format!(
            "{pid}; for path in /etc /usr /var; do
                if nsenter --target $pid --mount touch $path/psstat-check 2>/dev/null; then
                    echo \"$path is writable\" >&2; exit 1
                fi
            done"
        ))?;
        Ok(())
    }

    /// The values with one of the two capabilities.
    fn without(&self, machine: &Machine, capability: &str) -> Result<Values> {
        let name = self.name;
        let ambient = if self.is_root { "" } else { capability };
        machine.sh(&format!(
            "mkdir -p /run/systemd/system/{name}.service.d
            printf '[Service]\\nCapabilityBoundingSet=\\nCapabilityBoundingSet={capability}\\nAmbientCapabilities=\\nAmbientCapabilities={ambient}\\n' > /run/systemd/system/{name}.service.d/less.conf
            systemctl daemon-reload
            systemctl start {name}"
        ))?;
        let values = self.values_when(machine, |values| values.processes == Some(1.0))?;
        self.stop(machine)?;
        machine.sh(&format!(
            "rm -r /run/systemd/system/{name}.service.d
            systemctl daemon-reload"
        ))?;
        Ok(values)
    }

    fn stop(&self, machine: &Machine) -> Result<()> {
        let name = self.name;
        machine.sh(&format!("systemctl stop {name}"))?;
        let state = format!("systemctl show --property Result,NRestarts,ActiveState {name}");
        let state = machine.sh(&state)?.stdout;
        for expected in ["Result=success", "NRestarts=0", "ActiveState=inactive"] {
            if !state.lines().any(|line| line == expected) {
                return Err(format!("not {expected} after it was stopped: {state}").into());
            }
        }
        machine.sh(self.clean)?;
        Ok(())
    }
}

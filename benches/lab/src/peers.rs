//! Other tools for the same purpose, each configured as cheaply as it can be for its numbers.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use psstat_testproc::{TempDir, oracle};

use crate::child_modes::{self, ChildGuard};
use crate::observer::Running;
use crate::stats::Stats;
use crate::stop::Stop;
use crate::{Result, sys};

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Netdata,
    Pidstat,
    Python,
    /// Without smaps and thread names.
    ProcessExporterLean,
    ProcessExporter,
    /// The process scraper of the OpenTelemetry collector.
    OtelHostmetrics,
    Psutil,
}

/// The cost of a tool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerCost {
    /// CPU time per cycle.
    pub(crate) cpu: Stats,
    /// Bytes.
    pub(crate) resident: u64,
}

/// Cycles before the measured ones, and these.
const WARM_UP: u32 = 3;
const CYCLES: u32 = 10;
/// psutil takes about a minute per cycle; the others take less than a second.
const CYCLE_TIMEOUT: Duration = Duration::from_secs(900);
/// The Python of Debian, which has python3-psutil.
const PYTHON: &str = "/usr/bin/python3";
/// The process scraper with its default metrics. The exporter prints one line per cycle.
const HOSTMETRICS: &str = "
receivers:
  hostmetrics:
    collection_interval: 2s
    scrapers: {process: {mute_process_all_errors: true}}
exporters:
  debug:
service:
  telemetry:
    metrics: {level: none}
    logs: {output_paths: [stdout]}
  pipelines:
    metrics: {receivers: [hostmetrics], exporters: [debug]}
";

impl Peer {
    /// All of them; the cheapest come first.
    pub(crate) const ALL: [Peer; 7] = [
        Peer::Netdata,
        Peer::Pidstat,
        Peer::Python,
        Peer::ProcessExporterLean,
        Peer::ProcessExporter,
        Peer::OtelHostmetrics,
        Peer::Psutil,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Netdata => "netdata apps.plugin",
            Peer::Pidstat => "pidstat -p ALL -d -r -u -v",
            Peer::Python => "plain Python",
            Peer::ProcessExporterLean => "process-exporter, without smaps and thread names",
            Peer::ProcessExporter => "process-exporter, default",
            Peer::OtelHostmetrics => "OpenTelemetry collector, hostmetrics, process scraper",
            Peer::Psutil => "psutil",
        }
    }

    /// The values of psstat that the tool lacks.
    pub(crate) fn lacks(self) -> &'static str {
        match self {
            Peer::Netdata | Peer::ProcessExporterLean | Peer::ProcessExporter => "connections",
            Peer::Pidstat | Peer::OtelHostmetrics => "connections, images",
            Peer::Python | Peer::Psutil => "",
        }
    }

    /// The target for its CPU per cycle relative to psstat, if there is one.
    pub(crate) fn target(self) -> Option<f64> {
        match self {
            Peer::Netdata => Some(3.0),
            Peer::Python => Some(10.0),
            Peer::ProcessExporterLean => Some(15.0),
            Peer::Pidstat | Peer::ProcessExporter | Peer::OtelHostmetrics | Peer::Psutil => None,
        }
    }

    /// Starts the tool.
    ///
    /// # Errors
    /// If it is not installed or does not work here.
    pub(crate) fn start(self, dir: &TempDir, stop: &Stop) -> Result<RunningPeer> {
        let (command, ends): (_, &[_]) = match self {
            Peer::Netdata => (netdata()?, &["BEGIN apps.cpu "]),
            Peer::Pidstat => {
                let mut command = Command::new(installed("pidstat")?);
                command.args(["-p", "ALL", "-d", "-r", "-u", "-v", "1"]);
                // In the heading of the CPU part, the first one of a report.
                (command, &["%usr"])
            }
            Peer::Python => (script("plain.py")?, &["cycle"]),
            Peer::Psutil => {
                let mut check = Command::new(PYTHON);
                check.args(["-c", "import psutil"]).stderr(Stdio::null());
                if !check.status()?.success() {
                    return Err("not installed".into());
                }
                (script("with_psutil.py")?, &["cycle"])
            }
            Peer::OtelHostmetrics => {
                let mut command = Command::new(installed("otelcol")?);
                let config = crate::write(dir, "otelcol.yaml", HOSTMETRICS)?;
                command.arg(format!("--config=file:{}", config.display()));
                (command, &["\"data points\""])
            }
            Peer::ProcessExporterLean => {
                let flags = ["-gather-smaps=false", "-threads=false"];
                return Ok(RunningPeer::Scraped(Exporter::start(dir, &flags, stop)?));
            }
            Peer::ProcessExporter => {
                return Ok(RunningPeer::Scraped(Exporter::start(dir, &[], stop)?));
            }
        };
        Ok(RunningPeer::Writing(Running::start(&command, ends)?))
    }

    /// The cost per cycle.
    pub(crate) fn measure(self, dir: &TempDir, stop: &Stop) -> Result<PeerCost> {
        // One cycle of psutil takes too long for more.
        let (warm_up, cycles) = if self == Peer::Psutil { (1, 1) } else { (WARM_UP, CYCLES) };
        match self.start(dir, stop)? {
            RunningPeer::Writing(mut running) => {
                let cpu = running.measure(warm_up, cycles, CYCLE_TIMEOUT, stop)?.0;
                Ok(PeerCost { cpu, resident: oracle::memory(running.pid())?.resident })
            }
            RunningPeer::Scraped(exporter) => exporter.measure(warm_up, cycles, stop),
        }
    }
}

/// A running tool; killed when dropped.
#[derive(Debug)]
pub(crate) enum RunningPeer {
    /// Writes the numbers of each cycle to stdout.
    Writing(Running),
    /// Reads when it is scraped over HTTP.
    Scraped(Exporter),
}

impl RunningPeer {
    /// Waits for the first cycle.
    pub(crate) fn wait_for_first(&mut self, stop: &Stop) -> Result<()> {
        match self {
            RunningPeer::Writing(running) => running.next(CYCLE_TIMEOUT, stop).map(drop),
            RunningPeer::Scraped(exporter) => exporter.scrape(),
        }
    }

    /// Lets it run; an exporter is scraped each second.
    pub(crate) fn observe(&self, time: Duration, stop: &Stop) -> Result<()> {
        let end = Instant::now() + time;
        if let RunningPeer::Scraped(exporter) = self {
            let mut due = Instant::now();
            while due < end {
                stop.sleep(due.saturating_duration_since(Instant::now()))?;
                exporter.scrape()?;
                due += Duration::from_secs(1);
            }
        }
        stop.sleep(end.saturating_duration_since(Instant::now()))
    }
}

fn netdata() -> Result<Command> {
    let dirs = ["/usr/libexec/netdata", "/usr/lib/netdata", "/opt/netdata/usr/libexec/netdata"];
    let mut paths = dirs.iter().map(|dir| Path::new(dir).join("plugins.d/apps.plugin"));
    let mut command = Command::new(paths.find(|path| path.exists()).ok_or("not installed")?);
    // One cycle per second.
    command.arg("1");
    Ok(command)
}

fn script(name: &str) -> Result<Command> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name);
    let mut command = Command::new(installed("python3").map(|_| PYTHON)?);
    command.arg(path);
    Ok(command)
}

/// A program in PATH.
fn installed(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").ok_or("no PATH")?;
    let mut candidates = std::env::split_paths(&path).map(|dir| dir.join(name));
    candidates.find(|path| path.is_file()).ok_or_else(|| "not installed".into())
}

/// An exporter that reads when it is scraped, or psstat; killed when dropped.
#[derive(Debug)]
pub(crate) struct Exporter {
    child: ChildGuard,
    port: u16,
    /// A series of the population.
    series: &'static str,
}

impl Exporter {
    /// Starts process-exporter and waits until it accepts connections.
    fn start(dir: &TempDir, flags: &[&str], stop: &Stop) -> Result<Exporter> {
        let names = ["process-exporter", "prometheus-process-exporter"];
        let path = names.iter().find_map(|name| installed(name).ok()).ok_or("not installed")?;
        let rule = "process_names:\n  - name: \"{{.Matches.Name}}\"\n    cmdline:\n      \
                - '^(?P<Name>member-\\d+) '\n";
        let config = crate::write(dir, "process-exporter.yml", rule)?;
        let mut command = Command::new(path);
        command.arg("-config.path").arg(config).args(flags);
        let series = "namedprocess_namegroup_num_procs{groupname=\"member-0\"}";
        Exporter::spawn(command, "-web.listen-address=127.0.0.1:", series, stop)
    }

    /// Starts another one, which is passed its port with this option.
    pub(crate) fn spawn(
        mut command: Command,
        listen: &str,
        series: &'static str,
        stop: &Stop,
    ) -> Result<Exporter> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        command.arg(format!("{listen}{port}"));
        let mut command = child_modes::bound(&command);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let exporter = Exporter { child: ChildGuard(command.spawn()?), port, series };
        for _ in 0..200 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(exporter);
            }
            stop.sleep(Duration::from_millis(50))?;
        }
        Err("does not accept connections".into())
    }

    /// Scrapes it each second.
    pub(crate) fn measure(&self, warm_up: u32, cycles: u32, stop: &Stop) -> Result<PeerCost> {
        let mut readings = Vec::new();
        for cycle in 0..warm_up + cycles + 1 {
            if cycle >= warm_up {
                readings.push(self.cpu()?);
            }
            self.scrape()?;
            // Garbage collection after a scrape is a part of its cost.
            stop.sleep(Duration::from_secs(1))?;
        }
        let resident = oracle::memory(self.child.0.id())?.resident;
        Ok(PeerCost { cpu: Stats::between(&readings), resident })
    }

    /// Makes it read everything once, or psstat pass on its last cycle.
    pub(crate) fn scrape(&self) -> Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response)?;
        if String::from_utf8_lossy(&response).contains(self.series) {
            Ok(())
        } else {
            Err("does not find the population".into())
        }
    }

    fn cpu(&self) -> Result<Duration> {
        Ok(Duration::from_nanos(sys::cpu_nanoseconds(self.child.0.id())?))
    }
}

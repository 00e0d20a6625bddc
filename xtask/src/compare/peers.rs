//! The other tools, each as cheap as it can be set to give its numbers.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::meter::{self, Running};
use super::options::{Options, Part};
use super::scratch::Scratch;
use super::spread::Spread;
use crate::stop::Stop;
use crate::{Result, sys};

/// A tool and what it lacks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) lacks: &'static str,
    /// How many times psstat's CPU it is to take, if there is such a bound.
    pub(crate) reach: Option<f64>,
    part: Part,
    run: fn(&Scratch, &Stop) -> Result<Spread>,
}

/// All of them, the cheap ones first.
pub(crate) const PEERS: [Peer; 6] = [
    Peer {
        name: "netdata apps.plugin",
        lacks: "connections",
        reach: Some(3.0),
        part: Part::Netdata,
        run: netdata,
    },
    Peer {
        name: "pidstat -p ALL -d -r -u -v",
        lacks: "connections, images",
        reach: None,
        part: Part::Pidstat,
        run: pidstat,
    },
    Peer { name: "plain Python", lacks: "", reach: Some(10.0), part: Part::Python, run: python },
    Peer {
        name: "process-exporter, without smaps and thread names",
        lacks: "connections",
        reach: Some(15.0),
        part: Part::ProcessExporter,
        run: process_exporter,
    },
    Peer {
        name: "process-exporter as it comes",
        lacks: "connections",
        reach: None,
        part: Part::ProcessExporter,
        run: process_exporter_as_it_comes,
    },
    Peer { name: "psutil", lacks: "", reach: None, part: Part::Psutil, run: psutil },
];

impl Peer {
    /// CPU time of one of its cycles.
    ///
    /// # Errors
    /// It is left out or not installed, or does not work here.
    pub(crate) fn measure(
        &self,
        options: &Options,
        scratch: &Scratch,
        stop: &Stop,
    ) -> Result<Spread> {
        if !options.has(self.part) {
            return Err("left out".into());
        }
        (self.run)(scratch, stop)
    }
}

/// Cycles before those that are measured, and these.
const WARM_UP: u32 = 3;
const CYCLES: u32 = 10;

/// Its messages are of no interest here.
pub(crate) fn quiet(command: &Command) -> Command {
    let mut command = meter::bound(command);
    command.stderr(Stdio::null());
    command
}

/// One that writes each cycle's numbers to stdout.
fn written(command: &Command, marker: &'static str, stop: &Stop) -> Result<Spread> {
    let patience = Duration::from_secs(60);
    let running = Running::start(quiet(command), marker)?;
    Ok(running.measure(WARM_UP, CYCLES, patience, stop)?.0)
}

/// A command that writes each cycle's numbers to stdout, and what is in one of
/// their lines.
pub(crate) type Written = (Command, &'static str);

pub(crate) fn netdata_command() -> Result<Written> {
    let folders = ["/usr/libexec/netdata", "/usr/lib/netdata", "/opt/netdata/usr/libexec/netdata"];
    let mut paths = folders.iter().map(|folder| Path::new(folder).join("plugins.d/apps.plugin"));
    let path = paths.find(|path| path.exists()).ok_or("not installed")?;
    let mut command = Command::new(path);
    // One cycle a second.
    command.arg("1");
    Ok((command, "BEGIN apps.cpu "))
}

fn netdata(_: &Scratch, stop: &Stop) -> Result<Spread> {
    let (command, marker) = netdata_command()?;
    written(&command, marker, stop)
}

pub(crate) fn pidstat_command() -> Result<Written> {
    let mut command = Command::new(installed("pidstat")?);
    command.args(["-p", "ALL", "-d", "-r", "-u", "-v", "1"]);
    // In the heading of the CPU part, the first of a report.
    Ok((command, "%usr"))
}

fn pidstat(_: &Scratch, stop: &Stop) -> Result<Spread> {
    let (command, marker) = pidstat_command()?;
    written(&command, marker, stop)
}

pub(crate) fn python_command() -> Result<Written> {
    Ok((script("plain.py")?, "cycle"))
}

fn python(_: &Scratch, stop: &Stop) -> Result<Spread> {
    let (command, marker) = python_command()?;
    written(&command, marker, stop)
}

pub(crate) fn psutil_command() -> Result<Written> {
    let found =
        Command::new(PYTHON).args(["-c", "import psutil"]).stderr(Stdio::null()).status()?;
    if !found.success() {
        return Err("not installed".into());
    }
    Ok((script("with_psutil.py")?, "cycle"))
}

fn psutil(_: &Scratch, stop: &Stop) -> Result<Spread> {
    let (command, marker) = psutil_command()?;
    // It takes about a minute a cycle, so one has to do.
    let patience = Duration::from_secs(900);
    let running = Running::start(quiet(&command), marker)?;
    Ok(running.measure(1, 1, patience, stop)?.0)
}

/// Debian's, for which python3-psutil is.
const PYTHON: &str = "/usr/bin/python3";

fn script(name: &str) -> Result<Command> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name);
    let mut command = Command::new(installed("python3").map(|_| PYTHON)?);
    command.arg(path);
    Ok(command)
}

/// A program in PATH.
fn installed(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").ok_or("no PATH")?;
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(name));
    places.find(|place| place.is_file()).ok_or_else(|| "not installed".into())
}

fn process_exporter(scratch: &Scratch, stop: &Stop) -> Result<Spread> {
    scraped(scratch, &LEAN, stop)
}

/// Options of process-exporter that spare it the dearest reads.
pub(crate) const LEAN: [&str; 2] = ["-gather-smaps=false", "-threads=false"];

fn process_exporter_as_it_comes(scratch: &Scratch, stop: &Stop) -> Result<Spread> {
    scraped(scratch, &[], stop)
}

/// process-exporter reads when it is asked, over HTTP.
fn scraped(scratch: &Scratch, flags: &[&str], stop: &Stop) -> Result<Spread> {
    let exporter = Exporter::start(scratch, flags, stop)?;
    for _ in 0..WARM_UP {
        exporter.scrape()?;
        stop.sleep(Duration::from_secs(1))?;
    }
    let mut readings = vec![exporter.cpu()?];
    for _ in 0..CYCLES {
        exporter.scrape()?;
        // What it clears up afterwards belongs to it.
        stop.sleep(Duration::from_secs(1))?;
        readings.push(exporter.cpu()?);
    }
    Ok(Spread::between(&readings))
}

/// Ended when dropped.
#[derive(Debug)]
pub(crate) struct Exporter {
    child: Child,
    port: u16,
}

impl Exporter {
    /// Starts one and waits until it answers.
    pub(crate) fn start(scratch: &Scratch, flags: &[&str], stop: &Stop) -> Result<Exporter> {
        let names = ["process-exporter", "prometheus-process-exporter"];
        let path = names.iter().find_map(|name| installed(name).ok()).ok_or("not installed")?;
        let rule = "process_names:\n  - name: \"{{.Matches.Name}}\"\n    cmdline:\n      \
                - '^(?P<Name>member-\\d+) '\n";
        let conf = scratch.write("process-exporter.yml", rule)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new(path);
        command.arg("-config.path").arg(conf).args(flags);
        command.arg(format!("-web.listen-address=127.0.0.1:{port}"));
        let child = quiet(&command).stdout(Stdio::null()).spawn()?;
        let exporter = Exporter { child, port };
        exporter.wait_until_up(stop)?;
        Ok(exporter)
    }

    fn wait_until_up(&self, stop: &Stop) -> Result<()> {
        for _ in 0..200 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(());
            }
            stop.sleep(Duration::from_millis(50))?;
        }
        Err("does not come up".into())
    }

    /// Has it read everything once.
    pub(crate) fn scrape(&self) -> Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let needle = b"namedprocess_namegroup_num_procs{groupname=\"member-0\"}";
        if answer.windows(needle.len()).any(|part| part == needle) {
            Ok(())
        } else {
            Err("does not see the population".into())
        }
    }

    fn cpu(&self) -> Result<Duration> {
        Ok(Duration::from_nanos(sys::cpu_nanoseconds(self.child.id())?))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

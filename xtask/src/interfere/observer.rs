//! Who observes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::compare::meter::Running;
use crate::compare::peers::{self, Exporter, LEAN};
use crate::compare::scratch::Scratch;
use crate::stop::Stop;

/// An observer, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Observer {
    Nobody,
    /// psstat at its default, 15 s.
    Psstat,
    /// psstat with a cycle a second.
    PsstatEachSecond,
    Netdata,
    Pidstat,
    Python,
    ProcessExporterLean,
    ProcessExporter,
    Psutil,
}

/// One at work; ended when dropped.
#[derive(Debug)]
pub(crate) enum Watching {
    Nobody,
    Writing { _running: Running },
    Scraped(Exporter),
}

/// How long a first cycle may take.
const PATIENCE: Duration = Duration::from_secs(120);

impl Observer {
    /// All but nobody, or those of a quick run.
    pub(crate) fn all(quick: bool) -> Vec<Observer> {
        let mut all = vec![
            Observer::Psstat,
            Observer::Netdata,
            Observer::PsstatEachSecond,
            Observer::ProcessExporter,
        ];
        if !quick {
            all.extend([
                Observer::Pidstat,
                Observer::Python,
                Observer::ProcessExporterLean,
                Observer::Psutil,
            ]);
        }
        all
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Observer::Nobody => "nobody",
            Observer::Psstat => "psstat, every 15 s",
            Observer::PsstatEachSecond => "psstat, every second",
            Observer::Netdata => "netdata apps.plugin",
            Observer::Pidstat => "pidstat",
            Observer::Python => "plain Python",
            Observer::ProcessExporterLean => "process-exporter, lean",
            Observer::ProcessExporter => "process-exporter",
            Observer::Psutil => "psutil",
        }
    }

    pub(crate) fn is_psstat(self) -> bool {
        matches!(self, Observer::Psstat | Observer::PsstatEachSecond)
    }

    /// Starts it and waits for its first cycle.
    pub(crate) fn start(self, conf: &Path, scratch: &Scratch, stop: &Stop) -> Result<Watching> {
        let (command, marker) = match self {
            Observer::Nobody => return Ok(Watching::Nobody),
            Observer::Psstat => psstat(conf, 15)?,
            Observer::PsstatEachSecond => psstat(conf, 1)?,
            Observer::Netdata => peers::netdata_command()?,
            Observer::Pidstat => peers::pidstat_command()?,
            Observer::Python => peers::python_command()?,
            Observer::Psutil => peers::psutil_command()?,
            Observer::ProcessExporterLean | Observer::ProcessExporter => {
                let flags = if self == Observer::ProcessExporter { &[][..] } else { &LEAN };
                let exporter = Exporter::start(scratch, flags, stop)?;
                exporter.scrape()?;
                return Ok(Watching::Scraped(exporter));
            }
        };
        let running = Running::start(peers::quiet(&command), marker)?;
        running.pass(1, PATIENCE, stop)?;
        Ok(Watching::Writing { _running: running })
    }
}

/// The collector beside this program.
fn psstat(conf: &Path, interval: u64) -> Result<(Command, &'static str)> {
    let path = std::env::current_exe()?.with_file_name("psstat-tcollector");
    let mut command = Command::new(path);
    command.arg("--conf").arg(conf).args(["--interval", &interval.to_string()]);
    Ok((command, "proc.stat.ps.collector.seen "))
}

impl Watching {
    /// Lets it observe for so long; one that has to be asked is asked each
    /// second.
    pub(crate) fn watch(&self, time: Duration, stop: &Stop) -> Result<()> {
        let end = Instant::now() + time;
        if let Watching::Scraped(exporter) = self {
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

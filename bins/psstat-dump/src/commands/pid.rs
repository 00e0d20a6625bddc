//! `pid`.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use psstat_sampler::MetricGroups;
use psstat_support::escape;
use psstat_support::sleep::sleep_until;

use super::{pids, source};
use crate::args::{ConfArgs, Format, GlobalArgs, PidArgs};
use crate::exit::{Error, Outcome};
use crate::measure::{self, Measurer, Snapshot};
use crate::process_report::{self, Files, ReadError, Report};
use crate::selector::{Selector, Source};
use crate::table::json;
use crate::table::units::Style;
use crate::terminal::{self, Paint};

/// The time for CPU usage and rates.
const WINDOW: Duration = Duration::from_secs(1);
/// Without an end of the window by then, the values are unknown.
const MAX_WAIT: Duration = Duration::from_millis(2700);

pub(super) fn run(global: &GlobalArgs, conf: &ConfArgs, args: &PidArgs) -> Result<Outcome, Error> {
    // An unreadable directory is a usage error, not a missing process.
    std::fs::read_dir(&global.proc).map_err(|error| {
        Error::Usage(format!("cannot read {}: {error}", crate::conf::display(&global.proc)))
    })?;
    let start = Instant::now();
    // The page needs no config file.
    let images = source::load(conf, &[], false).unwrap_or_else(|error| {
        terminal::eprint_line(&error.message().unwrap_or_default());
        Source::Executable
    });
    let mut selector = Selector::new(images, &[], &global.proc, false);
    let pids = pids::by_id_or_name(&global.proc, &mut selector, &args.processes)?;
    let measured =
        (!measure::is_capture(&global.proc)).then(|| measure(global.proc.clone(), pids.clone()));
    let mut reports = Vec::new();
    for pid in pids {
        match process_report::read(&global.proc, pid) {
            Ok(mut report) => {
                let files = Files::open(&global.proc, pid);
                if let Ok(command_line) = files.and_then(|files| files.read("cmdline")) {
                    report.set_images(&selector.images_of(pid, &command_line));
                }
                reports.push(report);
            }
            Err(ReadError::NotFound) => {
                terminal::eprint_line(&format!("psstat-dump: no process {pid}"));
            }
            Err(error) => {
                let error = escape::text(&error.to_string());
                terminal::eprint_line(&format!("psstat-dump: cannot read process {pid}: {error}"));
            }
        }
    }
    if !reports.is_empty()
        && let Some(measured) = measured
        && let Ok(snapshot) = measured.recv_timeout(MAX_WAIT.saturating_sub(start.elapsed()))
    {
        for report in &mut reports {
            if let Some(row) = snapshot.process(report.pid) {
                report.set_measured(row);
            }
        }
    }
    for (number, report) in reports.iter().enumerate() {
        terminal::print(&print(global, args, report, number == 0))?;
    }
    Ok(Outcome::when(!reports.is_empty()))
}

fn print(global: &GlobalArgs, args: &PidArgs, report: &Report, is_first: bool) -> Vec<u8> {
    let style = if args.exact { Style::Exact } else { Style::Human };
    match global.format() {
        Format::Text => {
            let gap = if is_first { "" } else { "\n" };
            let paint = Paint::new(global.color);
            format!("{gap}{}", process_report::as_text(report, style, paint)).into_bytes()
        }
        Format::Json => json::line(&process_report::as_json(report)),
        Format::Csv => {
            let heading = if is_first { process_report::csv_heading() } else { String::new() };
            (heading + &process_report::as_csv(report)).into_bytes()
        }
    }
}

/// Measures these processes in another thread, for one window.
fn measure(proc: PathBuf, pids: Vec<u32>) -> Receiver<Snapshot> {
    let (sender, snapshot) = mpsc::channel();
    let measure = move || {
        let mut selector = Selector::new(Source::Executable, &[], &proc, false);
        selector.follow(&pids);
        let groups = MetricGroups::default();
        let Ok(mut measurer) = Measurer::new(&proc, WINDOW, selector, groups) else { return };
        sleep_until(measurer.open());
        // The receiver does not wait for longer than its limit.
        let _ = sender.send(measurer.close());
    };
    // Without another thread, the values are unknown.
    let _ = std::thread::Builder::new().name("window".to_owned()).spawn(measure);
    snapshot
}

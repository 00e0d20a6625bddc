//! `record`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use psstat_support::{escape, failpoint};
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};

use super::interrupt::Interrupt;
use super::{images, source};
use crate::args::{ConfArgs, Format, GlobalArgs, RecordArgs};
use crate::conf;
use crate::exit::{Error, Outcome};
use crate::measure::Measurer;
use crate::recording::{Bounds, ExitScope, Meta, Recorder};
use crate::selector::{Selector, Source, self_pid};
use crate::table::columns::{self, Column, Level};
use crate::table::json;
use crate::table::units::{self, Style};
use crate::terminal;

/// A shorter window is left out.
const MIN_WINDOW: Duration = Duration::from_millis(50);

pub(super) fn run(
    global: &GlobalArgs,
    conf: &ConfArgs,
    args: &RecordArgs,
) -> Result<Outcome, Error> {
    if global.format() != Format::Text {
        return Err(Error::Usage(
            "record writes its own format; use --replay with --json or --csv".to_owned(),
        ));
    }
    let columns: Vec<&Column> = args
        .columns
        .iter()
        .map(|key| {
            images::find_column(key, Level::Image)
                .or_else(|_| images::find_column(key, Level::Process))
        })
        .collect::<Result<_, _>>()?;
    let source = source::load(conf, &args.patterns, args.no_conf)?;
    let images_from = json::source(&source);
    let has_all = matches!(source, Source::Executable) && args.images.is_empty();
    let selector = Selector::new(source, &args.images, &global.proc, args.ancestors);
    // Before the file is opened: one that is too large must not end the program.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    let interrupt = Interrupt::listen(&[SIGTERM, SIGINT])?;
    let bounds = Bounds { size: args.size, keep: args.keep };
    let meta = Meta::of_host(args.interval.as_secs_f64(), images_from);
    let exits = match (self_pid(&global.proc) == Some(std::process::id()), has_all) {
        (false, _) => ExitScope::None,
        (true, false) => ExitScope::Rows,
        (true, true) => ExitScope::All,
    };
    let file = conf::display(&args.file);
    let mut recorder = Recorder::open(&args.file, bounds, meta, exits)
        .map_err(|error| Error::Usage(format!("{file} {}", escape::text(&error.to_string()))))?;
    let mut measurer =
        Measurer::new(&global.proc, args.interval, selector, columns::groups(columns))?;
    measurer.set_kernel_threads(args.kernel_threads);
    describe(&file, args, &recorder);

    let mut due = Instant::now();
    let mut failed = 0_u64;
    let mut frames = 0_u64;
    let mut total = 0;
    loop {
        due = next_due(due, args.interval);
        measurer.set_window(due.saturating_duration_since(Instant::now()));
        let close = measurer.open();
        if interrupt.wait_until(close)? {
            break;
        }
        let snapshot = measurer.close();
        failpoint::hit("record");
        match recorder.record(&snapshot) {
            Ok(recorded) => {
                if failed > 0 {
                    let count = units::count(failed, "window is", "windows are");
                    terminal::eprint_line(&format!(
                        "psstat-dump: {file} can be written again; {count} missing"
                    ));
                }
                (failed, total) = (0, recorded.total);
                frames += 1;
            }
            Err(error) => {
                if failed == 0 {
                    terminal::eprint_line(&format!(
                        "psstat-dump: {file} cannot be written: {error}; it is tried again with each window"
                    ));
                }
                failed += 1;
            }
        }
    }
    let size = units::bytes(i64::try_from(total).unwrap_or(i64::MAX), Style::Human);
    let count = units::count(frames, "window", "windows");
    terminal::hint(&format!("{count} recorded; {file} has {size}"));
    Ok(Outcome::Match)
}

/// The end of the next window. Windows are a whole number of intervals apart, whatever a cycle
/// takes; those that are over, or almost, are left out.
fn next_due(due: Instant, interval: Duration) -> Instant {
    let earliest = Instant::now() + MIN_WINDOW.min(interval / 2);
    let late = earliest.saturating_duration_since(due).as_secs_f64();
    let intervals = (late / interval.as_secs_f64()).ceil().max(1.0);
    due + interval.mul_f64(intervals)
}

/// A hint about the start of the recording.
fn describe(file: &str, args: &RecordArgs, recorder: &Recorder) {
    let action = if recorder.is_continued() { "continues" } else { "begins" };
    let seconds = args.interval.as_secs_f64();
    let status = if recorder.has_exit_status() {
        ""
    } else {
        "; the kernel does not report exits to this user, so their status is unknown"
    };
    terminal::hint(&format!(
        "the recording {file} {action}, every {seconds} s; ctrl-c ends it{status}"
    ));
}

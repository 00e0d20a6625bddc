//! The table of images or processes, once or repeatedly.

use std::io;
use std::time::{Duration, Instant};

use psstat_matcher::Rule;
use signal_hook::consts::SIGINT;

use super::interrupt::Interrupt;
use super::printer::Printer;
use super::source;
use crate::args::{ConfArgs, Format, GlobalArgs, TableArgs, similar_command};
use crate::conf;
use crate::exit::{Error, Outcome};
use crate::measure::Measurer;
use crate::measure::average::Average;
use crate::rule_arg::DEFAULT_IMAGE;
use crate::selector::{Selector, Source};
use crate::table::columns::{self, Column, Level};
use crate::table::units::Style;
use crate::terminal::{self, Paint, Progress};
use psstat_support::escape;
use psstat_support::sleep::sleep_until;

/// The window without `--interval`.
const WINDOW: Duration = Duration::from_secs(1);

pub(super) fn run(
    global: &GlobalArgs,
    conf: &ConfArgs,
    args: &TableArgs,
) -> Result<Outcome, Error> {
    let level = if args.processes || !args.pids.is_empty() { Level::Process } else { Level::Image };
    let selected = selected_columns(args, level, global.format())?;
    let sort = find_column(&args.sort, level)?;
    let source = source::load(conf, &args.regex, args.no_conf)?;
    let mut selector = Selector::new(source, &args.images, &global.proc, args.ancestors);
    if !args.pids.is_empty() {
        selector.follow(&super::pids::processes(&global.proc, &args.pids));
    }
    let window = args.interval.unwrap_or(WINDOW);
    let mut progress = Progress::show("measuring …");
    // The default columns of JSON and CSV read nothing in addition.
    let requested = if args.columns.is_empty() { &[][..] } else { &selected };
    let groups = columns::groups(requested.iter().copied().chain([sort]));
    let mut measurer = Measurer::new(&global.proc, window, selector, groups)?;
    measurer.set_kernel_threads(args.kernel_threads);
    if selected.iter().chain([&sort]).any(|column| column.key == "owner") {
        measurer.set_owners();
    }
    let tables = args.count.unwrap_or(if args.interval.is_some() { u64::MAX } else { 1 });
    let printer = Printer {
        format: global.format(),
        paint: Paint::new(global.color),
        style: if args.exact { Style::Exact } else { Style::Human },
        level,
        columns: selected,
        repeats: tables > 1,
    };
    let has_average = printer.repeats && printer.format == Format::Text;
    let interrupt = has_average.then(|| Interrupt::listen(&[SIGINT])).transpose()?;
    let mut average = Average::default();
    let mut outcome = Outcome::NoMatch;
    let mut has_warned = false;
    for number in 0..tables {
        let due = measurer.open();
        if (number > 0 || !measurer.is_capture()) && wait(due, interrupt.as_ref())? {
            break;
        }
        let mut snapshot = measurer.close();
        if has_average {
            average.add(&snapshot);
        }
        progress = None;
        let rows = match level {
            Level::Image => &mut snapshot.images,
            Level::Process => &mut snapshot.processes,
        };
        columns::sort(rows, sort, args.reverse);
        if snapshot.total.numbers.processes > 0 {
            outcome = Outcome::Match;
        } else if number == 0 && printer.format == Format::Text {
            reject_typo(args, measurer.selector())?;
        }
        let origin = printer.origin(measurer.selector());
        printer.print(&snapshot, &origin, number == 0)?;
        if !has_warned && let Some(warning) = step_limit_warning(measurer.selector()) {
            // Also for scripts: the output may be incomplete.
            terminal::eprint_line(&warning);
            has_warned = true;
        }
    }
    drop(progress);
    if average.windows() > 1 {
        let mut rows = match level {
            Level::Image => average.images(),
            Level::Process => average.processes(),
        };
        columns::sort(&mut rows, sort, args.reverse);
        let title = format!("average of {} tables", average.windows());
        terminal::print(printer.table(&title, &rows, average.total().as_ref()).as_bytes())?;
    }
    if outcome == Outcome::NoMatch {
        source::report_no_match(&args.regex);
    }
    Ok(outcome)
}

/// An error if the arguments seem to be a mistyped command instead of an image.
fn reject_typo(args: &TableArgs, selector: &Selector) -> Result<(), Error> {
    let is_configured = |name: &str| match selector.source() {
        Source::Conf { rules, .. } => rules.images().iter().any(|image| image.as_str() == name),
        Source::Executable | Source::Regex(_) => false,
    };
    let name = args.images.first().map_or("", |image| image.as_str());
    match similar_command(name) {
        Some(command) if !is_configured(name) => Err(Error::Usage(format!(
            "no process matches the image `{name}`; did you mean the command `{command}`?"
        ))),
        _ => Ok(()),
    }
}

/// Waits until `due`. Returns whether ctrl-c was received before.
fn wait(due: Instant, interrupt: Option<&Interrupt>) -> io::Result<bool> {
    match interrupt {
        Some(interrupt) => interrupt.wait_until(due),
        None => {
            sleep_until(due);
            Ok(false)
        }
    }
}

pub(super) fn find_column(name: &str, level: Level) -> Result<&'static Column, Error> {
    columns::find_by_name(name, level).ok_or_else(|| {
        let (rows, other) = match level {
            Level::Image => ("images", Level::Process),
            Level::Process => ("processes", Level::Image),
        };
        let text = escape::text(name);
        if columns::find_by_name(name, other).is_some() {
            let help = if level == Level::Image {
                "only processes have it; add -p"
            } else {
                "only images have it; omit -p"
            };
            return Error::Usage(format!("no column `{text}` for {rows}: {help}"));
        }
        let help = match columns::most_similar(name, level) {
            Some(key) => format!("did you mean `{key}`? "),
            None => String::new(),
        };
        let available: Vec<_> = columns::columns(level).map(|column| column.key).collect();
        let available = available.join(", ");
        Error::Usage(format!("no column `{text}` for {rows}; {help}available: {available}"))
    })
}

pub(super) fn selected_columns(
    args: &TableArgs,
    level: Level,
    format: Format,
) -> Result<Vec<&'static Column>, Error> {
    if !args.columns.is_empty() {
        return args.columns.iter().map(|key| find_column(key, level)).collect();
    }
    // Scripts select fields by name.
    Ok(columns::columns(level)
        .filter(|column| {
            let is_state = args.kernel_threads && column.key == "state";
            let is_in_document = format != Format::Text && column.is_in_documents();
            column.is_default || is_state || is_in_document
        })
        .collect())
}

/// A warning about rules that exceeded their step limit.
fn step_limit_warning(selector: &Selector) -> Option<String> {
    let has_several_files = selector.source().has_several_files();
    let rule = |(image, rule): (&str, &Rule)| match conf::place(rule, has_several_files) {
        Some(place) => format!("{image} ({place})"),
        None if image == DEFAULT_IMAGE => escape::bytes(rule.pattern()),
        None => format!("{image}={}", escape::bytes(rule.pattern())),
    };
    let rules: Vec<String> = selector.step_limited_rules().into_iter().map(rule).collect();
    (!rules.is_empty()).then(|| {
        let rules = rules.join(", ");
        format!(
            "psstat-dump: rules exceeded their step limit, so processes may be missing: {rules}"
        )
    })
}

//! Explains why rules match a process or not, and lists matching processes.

mod excerpt;
mod process;
mod rule;
mod search;

use std::cell::Cell;
use std::ops::Range;
use std::time::Duration;

use psstat_matcher::{ImageTemplate, Rule, Rules};
use psstat_support::clock::process_cpu_time;
use serde_json::{Map, Value, json};

use crate::args::{Format, GlobalArgs};
use crate::conf;
use crate::exit::{Error, Outcome};
use crate::selector::Source;
use crate::terminal::{self, Paint};
use psstat_support::escape;

use search::NearMiss;

/// CPU time for all searches together. It is CPU time so that a busy host does
/// not shorten the search. Many rules on a very long command line can take
/// longer; the last rules then have no result.
const SEARCH_BUDGET: Duration = Duration::from_secs(3);
/// Indentation of a command line.
const INDENT: &str = "    ";

/// Explains the rules of an image. With patterns of the command line the processes that run this
/// one are left out, as in a table, unless `ancestors` is set.
///
/// # Errors
/// When the procfs cannot be read or the output cannot be written.
pub(crate) fn of_rule(
    global: &GlobalArgs,
    source: &Source,
    image: &ImageTemplate,
    ancestors: bool,
) -> Result<Outcome, Error> {
    rule::explain(global, source, image, ancestors, Printer::new(global, source))
}

/// Explains these processes.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn of_processes(
    global: &GlobalArgs,
    source: &Source,
    pids: &[u32],
) -> Result<Outcome, Error> {
    process::explain(global, source, pids, Printer::new(global, source))
}

#[derive(Clone, Copy)]
struct Printer {
    format: Format,
    paint: Paint,
    /// Maximum width of a command line's excerpt.
    columns: usize,
    /// Places of rules contain their file.
    has_several_files: bool,
}

impl Printer {
    fn new(global: &GlobalArgs, source: &Source) -> Printer {
        let columns = terminal::columns().map_or(excerpt::COLUMNS, |columns| {
            columns.saturating_sub(INDENT.len() + excerpt::ELLIPSIS_COLUMNS).max(INDENT.len())
        });
        let has_several_files = source.has_several_files();
        let (format, paint) = (global.format(), Paint::new(global.color));
        Printer { format, paint, columns, has_several_files }
    }

    /// The place of a rule, in parentheses.
    fn place(self, rule: &Rule) -> String {
        let place = conf::place(rule, self.has_several_files);
        place.map(|place| format!(" ({place})")).unwrap_or_default()
    }

    /// A text with a line of carets below it.
    fn excerpt(self, text: &[u8], at: &Range<usize>) -> String {
        if text.is_empty() {
            return format!("{INDENT}(empty)\n");
        }
        let (shown, marks) = excerpt::underline(text, at, self.columns);
        format!("{INDENT}{shown}\n{INDENT}{marks}\n")
    }
}

/// CPU time that all searches share.
struct TimeBudget {
    start: Duration,
    is_exhausted: Cell<bool>,
}

impl TimeBudget {
    fn start() -> TimeBudget {
        TimeBudget { start: process_cpu_time(), is_exhausted: Cell::new(false) }
    }

    /// Whether some of the budget is left.
    fn has_time(&self) -> bool {
        let has_time = process_cpu_time().saturating_sub(self.start) < SEARCH_BUDGET;
        if !has_time {
            self.is_exhausted.set(true);
        }
        has_time
    }

    /// Reports that a search was stopped.
    fn warn_incomplete(&self) {
        if self.is_exhausted.get() {
            terminal::eprint_line(&format!(
                "psstat-dump: stopped searching for near misses after {} s of CPU time",
                SEARCH_BUDGET.as_secs()
            ));
        }
    }
}

fn image_of<'r>(rules: &'r Rules, rule: &Rule) -> &'r str {
    rules.images().get(rule.image()).map_or("", ImageTemplate::as_str)
}

/// A near miss: the difference, and where it is in the regex and in the
/// command line.
fn near_miss_text(rule: &Rule, text: &[u8], near_miss: &NearMiss, printer: Printer) -> String {
    let part = |of: &[u8], at: &Range<usize>| escape::bytes(of.get(at.clone()).unwrap_or(b""));
    match near_miss {
        NearMiss::Case(at) => {
            let excerpt = printer.excerpt(text, at);
            format!("  near miss: differs only in case; `(?i)` before it ignores case\n{excerpt}")
        }
        NearMiss::Alternation(at) => {
            let excerpt = printer.excerpt(text, at);
            format!(
                "  near miss: `\\|` is a literal `|`; `|` without the backslash separates \
                 alternatives\n{excerpt}"
            )
        }
        NearMiss::Mismatch { expected, found } => {
            let excerpts =
                [printer.excerpt(rule.pattern(), expected), printer.excerpt(text, found)].concat();
            let (expected, found) = (part(rule.pattern(), expected), part(text, found));
            let difference = match (&expected[..], &found[..]) {
                (_, "") => format!("expected `{expected}`, which is missing"),
                ("", _) => format!("unexpected `{found}`"),
                _ => format!("expected `{expected}`, found `{found}`"),
            };
            format!("  near miss: {difference}\n{excerpts}")
        }
    }
}

fn insert_range(fields: &mut Map<String, Value>, at: Option<&Range<usize>>) {
    fields.insert("start_byte".to_owned(), json!(at.map(|at| at.start)));
    fields.insert("end_byte".to_owned(), json!(at.map(|at| at.end)));
}

//! Which rules match a process and where; which processes a rule matches.

mod process;
mod rule;

use std::cell::Cell;
use std::ops::Range;
use std::time::Duration;

use psstat_matcher::{ImageName, Rule, Rules};
use psstat_support::clock;
use serde_json::{Map, Value, json};

use super::source;
use crate::args::{ConfArgs, ExplainArgs, Format, GlobalArgs};
use crate::exit::{Error, Outcome};
use crate::near_miss::NearMiss;
use crate::terminal::{self, Paint};
use crate::{escape, excerpt};

/// How much CPU time is spent on what keeps rules from matching: on a busy
/// machine, too, it is found for as many. Many rules on a
/// very long command line can take longer; the last ones then go without.
const SEARCH_BUDGET: Duration = Duration::from_secs(3);
/// Blanks before a command line.
const INDENT: &str = "    ";

/// Explains.
///
/// # Errors
/// See [`Failure`].
pub(super) fn run(
    common: &GlobalArgs,
    conf: &ConfArgs,
    args: &ExplainArgs,
) -> Result<Outcome, Error> {
    let source = source::of(conf, &args.patterns, false)?;
    let columns = terminal::columns().map_or(excerpt::COLUMNS, |columns| {
        columns.saturating_sub(INDENT.len() + excerpt::ELLIPSIS_COLUMNS).max(INDENT.len())
    });
    let out = Printer { format: common.format(), paint: Paint::new(common.color), columns };
    match &args.rule {
        Some(image) => rule::rule(common, &source, image, out),
        None => process::processes(common, &source, &args.pids, out),
    }
}

#[derive(Clone, Copy)]
struct Printer {
    format: Format,
    paint: Paint,
    /// How many columns of a command line are shown.
    columns: usize,
}

impl Printer {
    /// A text with the line of carets under it.
    fn spot(self, text: &[u8], at: &Range<usize>) -> String {
        let (shown, marks) = excerpt::underline(text, at, self.columns);
        format!("{INDENT}{shown}\n{INDENT}{marks}\n")
    }
}

/// How long it is looked for what keeps rules from matching, all together.
struct TimeBudget {
    begin: Duration,
    ran_out: Cell<bool>,
}

impl TimeBudget {
    fn begin() -> TimeBudget {
        TimeBudget { begin: clock::process_cpu_time(), ran_out: Cell::new(false) }
    }

    /// Whether there is some left.
    fn has_time(&self) -> bool {
        let lasts = clock::process_cpu_time().saturating_sub(self.begin) < SEARCH_BUDGET;
        if !lasts {
            self.ran_out.set(true);
        }
        lasts
    }

    /// Says so if there was none left for something.
    fn warn_incomplete(&self) {
        if self.ran_out.get() {
            terminal::eprint_line(&format!(
                "psstat-dump: after {} s of CPU time it was looked no further for what keeps \
                 rules from matching",
                SEARCH_BUDGET.as_secs()
            ));
        }
    }
}

fn image_of<'r>(rules: &'r Rules, rule: &Rule) -> &'r str {
    rules.images().get(rule.image()).map_or("", ImageName::as_str)
}

/// What is wrong, and where in the regex and in the command line.
fn miss_text(rule: &Rule, text: &[u8], miss: &NearMiss, out: Printer) -> String {
    let part = |of: &[u8], at: &Range<usize>| escape::bytes(of.get(at.clone()).unwrap_or(b""));
    match miss {
        NearMiss::Case(at) => {
            let spot = out.spot(text, at);
            format!(
                "  nearly: only the case of letters differs; `(?i)` before it takes both\n{spot}"
            )
        }
        NearMiss::Gap { wanted, found } => {
            let (want, has) = (part(rule.pattern(), wanted), part(text, found));
            let why = match (&want[..], &has[..]) {
                (_, "") => format!("the regex wants `{want}`, the command line has nothing there"),
                ("", _) => format!("the command line has `{has}` there, the regex nothing"),
                _ => format!("the regex wants `{want}`, the command line has `{has}`"),
            };
            let spots = [out.spot(rule.pattern(), wanted), out.spot(text, found)].concat();
            format!("  nearly: {why}\n{spots}")
        }
    }
}

fn range(fields: &mut Map<String, Value>, at: Option<&Range<usize>>) {
    fields.insert("start_byte".to_owned(), json!(at.map(|at| at.start)));
    fields.insert("end_byte".to_owned(), json!(at.map(|at| at.end)));
}

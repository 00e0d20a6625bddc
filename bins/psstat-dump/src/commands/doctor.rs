//! How this machine is, for who wants to read its processes.

use serde_json::{Value, json};

use crate::args::{ConfArgs, DoctorArgs, Format, GlobalArgs};
use crate::conf;
use crate::doctor::{self, Check, State};
use crate::exit::{Error, Outcome};
use crate::table::{csv, json};
use crate::terminal::{self, Paint};
use psstat_support::escape;

/// Prints the checks.
///
/// # Errors
/// See [`Failure`].
pub(super) fn run(
    global: &GlobalArgs,
    conf_args: &ConfArgs,
    args: &DoctorArgs,
) -> Result<Outcome, Error> {
    let location = conf::locate(conf_args);
    let checks = doctor::run_checks(&global.proc, &location, &args.conf_owner)?;
    let bytes = match global.format() {
        Format::Text => text(&checks, Paint::new(global.color)).into_bytes(),
        Format::Csv => as_csv(&checks).into_bytes(),
        Format::Json => json::line(&as_json(&checks)),
    };
    terminal::print(&bytes)?;
    Ok(Outcome::when(is_well(&checks)))
}

fn is_well(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.state != State::Fail)
}

fn text(checks: &[Check], paint: Paint) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let word = format!("{:<4}", check.state.word());
        let word = match check.state {
            State::Ok => word,
            State::Warn => paint.warning(&word),
            State::Fail => paint.error(&word),
        };
        let found = escape::text(&check.finding);
        text.push_str(&format!("{word}  {:<width$}  {found}\n", check.name));
        if let Some(remedy) = &check.help {
            text.push_str(&format!("{:6}{:width$}  -> {}\n", "", "", escape::text(remedy)));
        }
    }
    text
}

fn as_csv(checks: &[Check]) -> String {
    let mut text = csv::line(["name", "state", "found", "remedy"].map(str::to_owned).into_iter());
    for check in checks {
        let remedy = check.help.as_deref().map(escape::text).unwrap_or_default();
        let fields = [check.name, check.state.word()].map(str::to_owned);
        let fields = fields.into_iter().chain([escape::text(&check.finding), remedy]);
        text.push_str(&csv::line(fields));
    }
    text
}

fn as_json(checks: &[Check]) -> Value {
    let mut document = json::document("doctor");
    document.insert("ok".to_owned(), json!(is_well(checks)));
    let one = |check: &Check| {
        json!({
            "name": check.name, "state": check.state.word(),
            "found": check.finding, "remedy": check.help,
        })
    };
    document.insert("checks".to_owned(), checks.iter().map(one).collect());
    document.into()
}

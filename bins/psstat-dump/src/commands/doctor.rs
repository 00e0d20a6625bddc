//! `doctor`.

use std::path::Path;

use serde_json::{Value, json};

use crate::args::{ConfArgs, DoctorArgs, Format, GlobalArgs};
use crate::conf::{self, Location};
use crate::doctor::{self, Check, Status};
use crate::exit::{Error, Outcome};
use crate::table::{csv, json};
use crate::terminal::{self, Paint};
use psstat_support::escape;

pub(super) fn run(
    global: &GlobalArgs,
    conf_args: &ConfArgs,
    args: &DoctorArgs,
) -> Result<Outcome, Error> {
    let location = (!args.no_conf).then(|| conf::locate(conf_args));
    let owner = conf::owner(args.conf_owner.as_deref());
    let ring = conf::ring_size(args.bpf_ring.as_deref());
    let checks = doctor::run_checks(&global.proc, location.as_ref(), &owner, &ring)?;
    let bytes = match global.format() {
        Format::Text => text(&checks, Paint::new(global.color)).into_bytes(),
        Format::Csv => as_csv(&checks).into_bytes(),
        Format::Json => json::line(&as_json(&checks)),
    };
    terminal::print(&bytes)?;
    Ok(Outcome::when(is_ok(&checks)))
}

/// The text of the checks, or of the error, for a capture.
pub(super) fn report(proc: &Path, conf: Option<&Location>) -> String {
    match doctor::run_checks(proc, conf, &conf::owner(None), &conf::ring_size(None)) {
        Ok(checks) => text(&checks, Paint::PLAIN),
        Err(error) => format!("{}\n", error.message().unwrap_or_default()),
    }
}

fn is_ok(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.status != Status::Fail)
}

fn text(checks: &[Check], paint: Paint) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let word = format!("{:<4}", check.status.word());
        let word = match check.status {
            Status::Ok => word,
            Status::Warn => paint.warning(&word),
            Status::Fail => paint.error(&word),
        };
        let result = escape::text(&check.result);
        text.push_str(&format!("{word}  {:<width$}  {result}\n", check.name));
        if let Some(help) = &check.help {
            text.push_str(&format!("{:6}{:width$}  -> {}\n", "", "", escape::text(help)));
        }
    }
    text
}

fn as_csv(checks: &[Check]) -> String {
    let mut text = csv::line(["name", "status", "result", "help"].map(str::to_owned).into_iter());
    for check in checks {
        let help = check.help.as_deref().map(escape::text).unwrap_or_default();
        let fields = [check.name, check.status.word()].map(str::to_owned);
        let fields = fields.into_iter().chain([escape::text(&check.result), help]);
        text.push_str(&csv::line(fields));
    }
    text
}

fn as_json(checks: &[Check]) -> Value {
    let mut document = json::document("doctor");
    document.insert("ok".to_owned(), json!(is_ok(checks)));
    let one = |check: &Check| {
        json!({
            "name": check.name, "status": check.status.word(),
            "result": check.result, "help": check.help,
        })
    };
    document.insert("checks".to_owned(), checks.iter().map(one).collect());
    document.into()
}

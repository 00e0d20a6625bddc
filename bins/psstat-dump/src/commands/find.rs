//! `find`.

use std::os::unix::ffi::OsStrExt as _;

use super::source;
use crate::args::{ConfArgs, FindArgs, Format, GlobalArgs};
use crate::exit::{Error, Outcome};
use crate::find::{self, Findings, Printed, Target};
use crate::selector::Selector;
use crate::table::{json, units};
use crate::terminal::{self, Paint};
use crate::users::Users;
use psstat_support::escape;

pub(super) fn run(global: &GlobalArgs, conf: &ConfArgs, args: &FindArgs) -> Result<Outcome, Error> {
    let mut targets = args
        .what
        .iter()
        .map(|argument| Target::parse(argument).map_err(Error::Usage))
        .collect::<Result<Vec<Target>, Error>>()?;
    let mut what: Vec<Vec<u8>> =
        args.what.iter().map(|argument| argument.as_bytes().to_vec()).collect();
    if targets.is_empty() {
        targets.push(Target::Listeners);
        what.push(b"--listen".to_vec());
    }
    let source = source::load(conf, &[], args.no_conf)?;
    let mut selector = Selector::new(source, &[], &global.proc, false);
    let findings =
        find::find(&global.proc, &targets, args.listen, &mut selector).map_err(|error| {
            let path = crate::conf::display(&global.proc);
            Error::Usage(format!("cannot read {path}: {error}"))
        })?;
    let users = Users::read(&global.proc);
    let printed = Printed { findings: &findings, what: &what, users: &users };
    let bytes = match global.format() {
        Format::Text if findings.hits.is_empty() => Vec::new(),
        Format::Text => find::as_text(&printed, Paint::new(global.color)).into_bytes(),
        Format::Csv => (find::csv_heading() + &find::as_csv(&printed)).into_bytes(),
        Format::Json => json::line(&find::as_json(&printed)),
    };
    terminal::print(&bytes)?;
    for (number, (target, what)) in targets.iter().zip(&what).enumerate() {
        for message in messages(&findings, number, target, &escape::bytes(what)) {
            terminal::eprint_line(&format!("psstat-dump: {message}"));
        }
    }
    for message in unread(&findings) {
        terminal::eprint_line(&format!("psstat-dump: {message}"));
    }
    Ok(Outcome::when(!findings.hits.is_empty()))
}

/// The messages about one argument.
fn messages(findings: &Findings, number: usize, target: &Target, what: &str) -> Vec<String> {
    let mut messages = Vec::new();
    if !findings.hits.iter().any(|hit| hit.target == number) {
        messages.push(match target {
            Target::Listeners => "no socket listens".to_owned(),
            _ => format!("no process holds {what}"),
        });
        messages.extend(target.hint());
    }
    let of_target = findings.unowned.iter().filter(|((target, _), _)| *target == number);
    let states: Vec<String> =
        of_target.clone().map(|((_, state), sockets)| format!("{sockets} {state}")).collect();
    if !states.is_empty() {
        let sockets: u64 = of_target.map(|(_, sockets)| sockets).sum();
        let noun = units::count(sockets, "socket", "sockets");
        messages.push(format!("{noun} of {what} without a process: {}", states.join(", ")));
    }
    messages
}

/// The messages about unread data.
fn unread(findings: &Findings) -> Vec<String> {
    const MAX_NAMED: usize = 5;
    let mut messages = Vec::new();
    let all = units::count(findings.processes as u64, "process", "processes");
    if findings.denied > 0 {
        let is_root = rustix::process::geteuid().is_root();
        let help = if is_root { "" } else { "; root sees them" };
        let denied = findings.denied;
        messages.push(format!("permission denied for the descriptors of {denied} of {all}{help}"));
    }
    if !findings.blocked.is_empty() {
        let named: Vec<String> =
            findings.blocked.iter().take(MAX_NAMED).map(u32::to_string).collect();
        let more = if findings.blocked.len() > MAX_NAMED { " …" } else { "" };
        messages.push(format!(
            "reading the descriptors of {} of {all} blocks, so these are missing: pid {}{more}",
            findings.blocked.len(),
            named.join(" ")
        ));
    }
    if findings.failed > 0 {
        messages.push(format!("the descriptors of {} of {all} cannot be read", findings.failed));
    }
    if findings.unread_tables > 0 {
        let tables = units::count(findings.unread_tables as u64, "table", "tables");
        messages.push(format!("{tables} of sockets cannot be read"));
    }
    messages
}

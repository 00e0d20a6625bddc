//! The commands.

mod capture;
mod check;
mod doctor;
mod explain;
mod find;
mod images;
mod interrupt;
mod pid;
mod pids;
mod printer;
mod record;
mod replay;
mod report;
mod source;
mod top;

use psstat_support::procfs;

use crate::args::{Args, Command};
use crate::conf;
use crate::exit::{Error, Outcome};

/// Runs the command that the arguments select.
///
/// # Errors
/// When it fails.
pub(crate) fn run(args: Args) -> Result<Outcome, Error> {
    if args.global.replay.is_some() {
        return replay(&args);
    }
    let proc = &args.global.proc;
    if matches!(procfs::is_procfs_or_capture(proc), Ok(false)) {
        let path = conf::display(proc);
        return Err(Error::Usage(format!(
            "{path} is not a procfs or a capture of one (no process directories); to mount it: \
             `mount -t proc proc {path}`"
        )));
    }
    match args.command {
        None => images::run(&args.global, &args.conf, &args.table),
        Some(Command::Pid(pid)) => pid::run(&args.global, &args.conf, &pid),
        Some(Command::Explain(explain)) => explain::run(&args.global, &args.conf, &explain),
        Some(Command::Find(find)) => find::run(&args.global, &args.conf, &find),
        Some(Command::Doctor(doctor)) => doctor::run(&args.global, &args.conf, &doctor),
        Some(Command::Capture(capture)) => capture::run(&args.global, &args.conf, &capture),
        Some(Command::Top(top)) => top::run(&args.global, &args.conf, &top),
        Some(Command::Record(record)) => record::run(&args.global, &args.conf, &record),
        Some(Command::Report(report)) => report::run(&args.global, &report),
        Some(Command::Check(check)) => check::run(&args.global, &args.conf, &check),
    }
}

/// Runs the command on a recording.
fn replay(args: &Args) -> Result<Outcome, Error> {
    let name = match &args.command {
        None => return replay::table(&args.global, &args.table),
        Some(Command::Pid(pid)) => return replay::pid(&args.global, pid),
        Some(Command::Top(top)) => return top::run(&args.global, &args.conf, top),
        Some(Command::Explain(_)) => "explain",
        Some(Command::Find(_)) => "find",
        Some(Command::Doctor(_)) => "doctor",
        Some(Command::Capture(_)) => "capture",
        Some(Command::Record(_)) => "record",
        Some(Command::Report(_)) => "report",
        Some(Command::Check(_)) => "check",
    };
    let reason = match name {
        "report" => "write `report FILE`",
        _ => "a recording does not have the files that it reads",
    };
    Err(Error::Usage(format!("--replay cannot be used with `{name}`: {reason}")))
}

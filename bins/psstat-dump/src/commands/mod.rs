//! What can be asked.

mod capture;
mod check;
mod doctor;
mod explain;
mod images;
mod pid;
mod source;
mod top;

use psstat_support::procfs;

use crate::args::{Args, Command};
use crate::conf;
use crate::exit::{Error, Outcome};

/// Does what was asked.
///
/// # Errors
/// When it cannot be done; see [`Failure`].
pub(crate) fn run(args: Args) -> Result<Outcome, Error> {
    let proc = &args.global.proc;
    if matches!(procfs::looks_like_procfs(proc), Ok(false)) {
        let shown = conf::shown(proc);
        return Err(Error::Usage(format!(
            "{shown} is no procfs, nor a copy of one: there is no process in it; if it should be \
             one, `mount -t proc proc {shown}`"
        )));
    }
    match args.command {
        None => images::run(&args.global, &args.conf, &args.table),
        Some(Command::Pid(pid)) => pid::run(&args.global, &pid),
        Some(Command::Explain(explain)) => explain::run(&args.global, &args.conf, &explain),
        Some(Command::Doctor(doctor)) => doctor::run(&args.global, &args.conf, &doctor),
        Some(Command::Capture(capture)) => capture::run(&args.global, &args.conf, &capture),
        Some(Command::Top(top)) => top::run(&args.global, &args.conf, &top),
        Some(Command::Check(check)) => check::run(&args.global, &args.conf, &check),
    }
}

//! What can be asked.

mod capture;
mod check;
mod doctor;
mod explain;
mod images;
mod pid;
mod source;
mod top;

use crate::args::{Args, Verb};
use crate::exit::{Failure, Found};
use crate::{conf, measure};

/// Does what was asked.
///
/// # Errors
/// When it cannot be done; see [`Failure`].
pub fn run(args: Args) -> Result<Found, Failure> {
    let proc = &args.common.proc;
    if !measure::may_hold_processes(proc) {
        let shown = conf::shown(proc);
        return Err(Failure::Usage(format!(
            "{shown} is no procfs, nor a copy of one: there is no process in it; if it should be \
             one, `mount -t proc proc {shown}`"
        )));
    }
    match args.verb {
        None => images::run(&args.common, &args.conf, &args.table),
        Some(Verb::Pid(pid)) => pid::run(&args.common, &pid),
        Some(Verb::Explain(explain)) => explain::run(&args.common, &args.conf, &explain),
        Some(Verb::Doctor(doctor)) => doctor::run(&args.common, &args.conf, &doctor),
        Some(Verb::Capture(capture)) => capture::run(&args.common, &args.conf, &capture),
        Some(Verb::Top(top)) => top::run(&args.common, &args.conf, &top),
        Some(Verb::Check(check)) => check::run(&args.common, &args.conf, &check),
    }
}

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

/// Does what was asked.
///
/// # Errors
/// When it cannot be done; see [`Failure`].
pub fn run(args: Args) -> Result<Found, Failure> {
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

//! What can be asked.

mod check;
mod images;
mod pid;

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
        Some(Verb::Check(check)) => check::run(&args.common, &args.conf, &check),
    }
}

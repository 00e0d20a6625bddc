//! The live view.

use std::io::IsTerminal as _;

use super::source;
use crate::args::{Common, ConfArgs, Format, TopArgs};
use crate::choose::Chooser;
use crate::exit::{Failure, Found};
use crate::measure::{self, Measurer};
use crate::top::screen;

/// Shows the live view.
///
/// # Errors
/// See [`Failure`].
pub(super) fn run(common: &Common, conf: &ConfArgs, args: &TopArgs) -> Result<Found, Failure> {
    if common.format() != Format::Text {
        return Err(Failure::Usage(
            "top is for a terminal; --json and --csv go with --interval".to_owned(),
        ));
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::Usage("top needs a terminal; --interval does without".to_owned()));
    }
    let source = source::of(conf, &args.patterns, args.no_conf)?;
    let chooser = Chooser::new(source, &args.images, measure::own_pid(&common.proc));
    let measurer = Measurer::new(&common.proc, args.interval, chooser)?;
    screen::run(measurer, common.proc.clone())?;
    Ok(Found::Something)
}

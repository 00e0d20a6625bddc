//! The live view.

use std::io::IsTerminal as _;

use super::source;
use crate::args::{ConfArgs, Format, GlobalArgs, TopArgs};
use crate::exit::{Error, Outcome};
use crate::measure::{self, Measurer};
use crate::selector::Selector;
use crate::top::screen;

/// Shows the live view.
///
/// # Errors
/// See [`Failure`].
pub(super) fn run(common: &GlobalArgs, conf: &ConfArgs, args: &TopArgs) -> Result<Outcome, Error> {
    if common.format() != Format::Text {
        return Err(Error::Usage(
            "top is for a terminal; --json and --csv go with --interval".to_owned(),
        ));
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Error::Usage("top needs a terminal; --interval does without".to_owned()));
    }
    let source = source::of(conf, &args.patterns, args.no_conf)?;
    let chooser = Selector::new(source, &args.images, measure::own_pid(&common.proc));
    let measurer = Measurer::new(&common.proc, args.interval, chooser)?;
    screen::run(measurer, common.proc.clone())?;
    Ok(Outcome::Match)
}

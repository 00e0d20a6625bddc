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
pub(super) fn run(global: &GlobalArgs, conf: &ConfArgs, args: &TopArgs) -> Result<Outcome, Error> {
    if global.format() != Format::Text {
        return Err(Error::Usage(
            "top is for a terminal; --json and --csv go with --interval".to_owned(),
        ));
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Error::Usage("top needs a terminal; --interval does without".to_owned()));
    }
    let source = source::load(conf, &args.patterns, args.no_conf)?;
    let chooser = Selector::new(source, &args.images, measure::own_pid(&global.proc));
    let measurer = Measurer::new(&global.proc, args.interval, chooser)?;
    screen::run(measurer, global.proc.clone())?;
    Ok(Outcome::Match)
}

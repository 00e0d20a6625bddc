//! `explain`.

use super::source;
use crate::args::{ConfArgs, ExplainArgs, GlobalArgs};
use crate::exit::{Error, Outcome};
use crate::explain;

pub(super) fn run(
    global: &GlobalArgs,
    conf: &ConfArgs,
    args: &ExplainArgs,
) -> Result<Outcome, Error> {
    explain::run(global, args, &source::load(conf, &args.patterns, false)?)
}

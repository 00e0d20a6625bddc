//! `explain`.

use super::{pids, source};
use crate::args::{ConfArgs, ExplainArgs, GlobalArgs};
use crate::exit::{Error, Outcome};
use crate::explain;

pub(super) fn run(
    global: &GlobalArgs,
    conf: &ConfArgs,
    args: &ExplainArgs,
) -> Result<Outcome, Error> {
    let source = source::load(conf, &args.patterns, false)?;
    let pids = pids::processes(&global.proc, &args.pids);
    explain::run(global, args.rule.as_ref(), &pids, &source)
}

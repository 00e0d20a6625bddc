//! `explain`.

use super::{pids, source};
use crate::args::{ConfArgs, ExplainArgs, GlobalArgs};
use crate::conf;
use crate::exit::{Error, Outcome};
use crate::explain;
use crate::selector::Source;

pub(super) fn run(
    global: &GlobalArgs,
    conf_args: &ConfArgs,
    args: &ExplainArgs,
) -> Result<Outcome, Error> {
    let source = source::load(conf_args, &args.patterns, false)?;
    if let Some(image) = &args.rule {
        if matches!(source, Source::Executable) {
            let location = conf::locate(conf_args);
            return Err(Error::Usage(format!(
                "--rule needs a config file, and {} does not exist; {}, or -e",
                location.describe(),
                location.options()
            )));
        }
        return explain::of_rule(global, &source, image, args.ancestors);
    }
    explain::of_processes(global, &source, &pids::processes(&global.proc, &args.pids))
}

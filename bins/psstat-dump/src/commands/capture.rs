//! A copy of what a bug report needs.

use psstat_sampler::{Options, Sampler};
use serde_json::{Value, json};

use super::source;
use crate::args::{CaptureArgs, ConfArgs, Format, GlobalArgs};
use crate::capture::{self, Captured};
use crate::exit::{Error, Outcome};
use crate::selector::Selector;
use crate::table::{csv, json};
use crate::terminal;
use crate::{conf, measure};

/// Captures.
///
/// # Errors
/// See [`Failure`].
pub(super) fn run(
    global: &GlobalArgs,
    conf_args: &ConfArgs,
    args: &CaptureArgs,
) -> Result<Outcome, Error> {
    let pids = if args.pids.is_empty() {
        let source = source::load(conf_args, &args.patterns, false)?;
        let chooser = Selector::new(source, &args.images, measure::own_pid(&global.proc));
        chosen(global, chooser)?
    } else {
        args.pids.clone()
    };
    let captured = capture::capture(&global.proc, &pids, &args.dir).map_err(|error| {
        Error::Usage(format!("cannot capture into {}: {error}", conf::shown(&args.dir)))
    })?;
    let bytes = match global.format() {
        Format::Text => text(args, &captured).into_bytes(),
        Format::Csv => as_csv(args, &captured).into_bytes(),
        Format::Json => json::line(&as_json(args, &captured)),
    };
    terminal::print(&bytes)?;
    Ok(Outcome::when(captured.process_count > 0))
}

/// The processes that are chosen now, by pid.
fn chosen(global: &GlobalArgs, mut chooser: Selector) -> Result<Vec<u32>, Error> {
    let options = Options { proc_root: global.proc.clone(), ..Options::default() };
    let mut pids = std::collections::BTreeSet::new();
    Sampler::new(options)?.open(&mut |candidate, images| {
        chooser.classify(candidate, images);
        if !images.is_empty() {
            pids.insert(candidate.pid);
        }
    });
    Ok(pids.into_iter().collect())
}

fn text(args: &CaptureArgs, captured: &Captured) -> String {
    let dir = conf::shown(&args.dir);
    let procs = captured.process_count;
    let mut text = format!("processes captured in {dir}: {procs}\n");
    for (file, count) in &captured.unread {
        text.push_str(&format!("  without {file}, which cannot be read: {count}\n"));
    }
    text.push_str(
        "Command lines and names of files and sockets are scrubbed of what looks secret; look \
         through them before you pass them on:\n",
    );
    text.push_str(&format!("  psstat-dump --no-conf -p --proc {dir}\n"));
    text
}

fn as_csv(args: &CaptureArgs, captured: &Captured) -> String {
    let mut text = csv::line(["dir", "procs", "unread"].map(str::to_owned).into_iter());
    let unread: Vec<String> =
        captured.unread.iter().map(|(file, count)| format!("{file}:{count}")).collect();
    let fields = [conf::shown(&args.dir), captured.process_count.to_string(), unread.join(" ")];
    text.push_str(&csv::line(fields.into_iter()));
    text
}

fn as_json(args: &CaptureArgs, captured: &Captured) -> Value {
    let mut document = json::document("capture");
    json::insert_path(&mut document, "dir", &args.dir);
    document.insert("procs".to_owned(), json!(captured.process_count));
    document.insert("unread".to_owned(), json!(captured.unread));
    document.into()
}

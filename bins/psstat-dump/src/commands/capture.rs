//! `capture`.

use psstat_matcher::{Rules, sources};
use psstat_sampler::Sampler;
use serde_json::{Value, json};

use super::{doctor, source};
use crate::args::{CaptureArgs, ConfArgs, Format, GlobalArgs};
use crate::capture::scrub::Scrubber;
use crate::capture::{self, Captured, additions};
use crate::conf;
use crate::exit::{Error, Outcome};
use crate::selector::{Selector, Source};
use crate::table::{csv, json};
use crate::terminal;

pub(super) fn run(
    global: &GlobalArgs,
    conf_args: &ConfArgs,
    args: &CaptureArgs,
) -> Result<Outcome, Error> {
    // The captured command lines match the same rules of the config file.
    let loaded = (!args.no_conf).then(|| sources::load(conf::locate(conf_args).paths, None));
    let mut additions = loaded.as_ref().map(additions::conf).unwrap_or_default();
    let has_conf = !additions.is_empty();
    let conf_rules = loaded.map_or_else(Rules::default, |loaded| loaded.conf.rules);
    let mut selector = None;
    let pids = if args.pids.is_empty() {
        let source = source::load(conf_args, &args.patterns, args.no_conf)?;
        let selector =
            selector.insert(Selector::new(source, &args.images, &global.proc, args.ancestors));
        selected(global, selector)?
    } else {
        super::pids::processes(&global.proc, &args.pids)
    };
    let patterns = selector.as_ref().and_then(|selector| match selector.source() {
        Source::Regex(rules) => Some(rules),
        _ => None,
    });
    let rules: Vec<_> = std::iter::once(&conf_rules).chain(patterns).collect();
    let scrubber = Scrubber { keep_arguments: args.keep_arguments, rules: &rules };
    let captured = capture::capture(&global.proc, &pids, &args.dir, &scrubber, || {
        let location = (!args.no_conf).then(|| conf::locate(conf_args));
        let doctor = doctor::report(&global.proc, location.as_ref());
        additions.extend([additions::doctor(doctor), additions::versions()]);
        additions
    })
    .map_err(|error| {
        Error::Usage(format!("cannot capture into {}: {error}", conf::display(&args.dir)))
    })?;
    let bytes = match global.format() {
        // Nothing was written.
        Format::Text if captured.process_count == 0 => Vec::new(),
        Format::Text => text(args, &captured, has_conf).into_bytes(),
        Format::Csv => as_csv(args, &captured).into_bytes(),
        Format::Json => json::line(&as_json(args, &captured)),
    };
    terminal::print(&bytes)?;
    if captured.process_count == 0 {
        source::report_no_match(&args.patterns);
    }
    Ok(Outcome::when(captured.process_count > 0))
}

/// The pids of the selected processes.
fn selected(global: &GlobalArgs, selector: &mut Selector) -> Result<Vec<u32>, Error> {
    let mut pids = std::collections::BTreeSet::new();
    let builder = Sampler::builder().proc_root(&global.proc).fields(selector.fields());
    // Only to see each process once.
    let _ = builder.build()?.open_with(|candidate, _| {
        selector.classify(candidate, |_| {
            pids.insert(candidate.pid);
        });
    });
    Ok(pids.into_iter().collect())
}

fn text(args: &CaptureArgs, captured: &Captured, has_conf: bool) -> String {
    let dir = conf::display(&args.dir);
    let processes = captured.process_count;
    let mut text = format!("processes captured in {dir}: {processes}\n");
    for (file, count) in &captured.unread {
        text.push_str(&format!("  without {file}, which could not be read: {count}\n"));
    }
    text.push_str(if args.keep_arguments {
        "Probable secrets in command lines and in names of files and sockets are redacted; \
         review the files before you share them:\n"
    } else {
        "Command lines and names of files and sockets are redacted, except for the parts that \
         are known to be safe and those that rules match; review the files before you \
         share them:\n"
    });
    if has_conf {
        text.push_str("The config file is included without changes.\n");
    }
    let name = capture::name_in_archive(&args.dir).map(conf::display);
    if let Some(name) = &name {
        text.push_str(&format!("  tar -xzf {dir}   # makes the directory {name}\n"));
    }
    let dir = name.unwrap_or(dir);
    let conf =
        if has_conf { format!("--conf {dir}/{}", additions::CONF) } else { "--no-conf".to_owned() };
    text.push_str(&format!("  psstat-dump {conf} -p --proc {dir}\n"));
    text
}

fn as_csv(args: &CaptureArgs, captured: &Captured) -> String {
    let mut text = csv::line(["dir", "processes", "unread"].map(str::to_owned).into_iter());
    let unread: Vec<String> =
        captured.unread.iter().map(|(file, count)| format!("{file}:{count}")).collect();
    let fields = [conf::display(&args.dir), captured.process_count.to_string(), unread.join(" ")];
    text.push_str(&csv::line(fields.into_iter()));
    text
}

fn as_json(args: &CaptureArgs, captured: &Captured) -> Value {
    let mut document = json::document("capture");
    json::insert_path(&mut document, "dir", &args.dir);
    document.insert("processes".to_owned(), json!(captured.process_count));
    document.insert("unread".to_owned(), json!(captured.unread));
    document.into()
}

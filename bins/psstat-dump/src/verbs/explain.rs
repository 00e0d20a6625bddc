//! Which rules match a process and where; which processes a rule matches.

use std::ops::Range;

use psstat_matcher::{ImageName, Rule, Rules};
use psstat_proc_parse::Cmdline;
use serde_json::{Map, Value, json};

use super::source;
use crate::args::{Common, ConfArgs, ExplainArgs, Format};
use crate::choose::Source;
use crate::exit::{Failure, Found};
use crate::nearest::{Beginnings, Near, marked};
use crate::page::Files;
use crate::terminal::{self, Paint};
use crate::{csv, executable, harmless, json, measure};

/// How many of the processes that come near are shown to people.
const NEAR_SHOWN: usize = 10;

/// Explains.
///
/// # Errors
/// See [`Failure`].
pub(super) fn run(common: &Common, conf: &ConfArgs, args: &ExplainArgs) -> Result<Found, Failure> {
    let source = source::of(conf, &args.patterns, false)?;
    let out = Out { format: common.format(), paint: Paint::new(common.color) };
    match &args.rule {
        Some(image) => rule(common, &source, image, out),
        None => processes(common, &source, &args.pids, out),
    }
}

#[derive(Clone, Copy)]
struct Out {
    format: Format,
    paint: Paint,
}

/// A rule against one command line.
struct Tried<'r> {
    rule: &'r Rule,
    image: &'r str,
    at: Option<Range<usize>>,
    /// How near it comes; for a rule that does not match.
    near: Option<Near>,
}

fn image_of<'r>(rules: &'r Rules, rule: &Rule) -> &'r str {
    rules.images().get(rule.image()).map_or("", ImageName::as_str)
}

fn processes(common: &Common, source: &Source, pids: &[u32], out: Out) -> Result<Found, Failure> {
    let mut found = Found::Nothing;
    let mut first = true;
    for &pid in pids {
        let read = Files::open(&common.proc, pid).and_then(|files| files.command_line());
        let raw = match read {
            Ok(raw) => raw,
            Err(unread) => {
                let why = harmless::text(&unread.to_string());
                terminal::say(&format!("psstat-dump: {pid}: {why}"));
                continue;
            }
        };
        let text: Vec<u8> = Cmdline(&raw).text().collect();
        let rules = match source {
            Source::Conf { rules, .. } | Source::Regex(rules) => rules,
            Source::Executable => &Rules::default(),
        };
        let try_rule = |rule| {
            let at = if text.is_empty() { None } else { Rule::find(rule, &text) };
            let near = at.is_none().then(|| Beginnings::of(rule.source()).nearest(&text));
            Tried { rule, image: image_of(rules, rule), at, near: near.flatten() }
        };
        let tried: Vec<Tried<'_>> = rules.rules().iter().map(try_rule).collect();
        let by_name = matches!(source, Source::Executable) && !text.is_empty();
        let by_name = by_name.then(|| executable::image(&raw));
        if by_name.is_some() || tried.iter().any(|tried| tried.at.is_some()) {
            found = Found::Something;
        }
        let bytes = match out.format {
            Format::Text => {
                let gap = if first { "" } else { "\n" };
                let text = process_text(pid, &text, &tried, by_name.as_deref(), out.paint);
                format!("{gap}{text}").into_bytes()
            }
            Format::Json => json::line(&process_json(pid, &text, &tried, source, by_name)),
            Format::Csv => process_csv(pid, &tried, first).into_bytes(),
        };
        first = false;
        terminal::print(&bytes)?;
    }
    Ok(found)
}

fn process_text(
    pid: u32,
    text: &[u8],
    tried: &[Tried<'_>],
    by_name: Option<&str>,
    paint: Paint,
) -> String {
    let mut said = format!("{}\n", paint.bold(&format!("process {pid}")));
    if text.is_empty() {
        said.push_str("  has no command line: a kernel thread or a zombie; no rule matches it\n");
        return said;
    }
    if let Some(image) = by_name {
        let command = harmless::cut(&harmless::bytes(text), 120);
        said.push_str(&format!("  {command}\n  is of image {image} by its executable's name\n"));
        return said;
    }
    for tried in tried {
        let line = tried.rule.line().map(|line| format!(" (line {line})")).unwrap_or_default();
        let regex = harmless::bytes(tried.rule.source());
        let word = if tried.at.is_some() { paint.bold("matches") } else { "no match".to_owned() };
        said.push_str(&format!("{word}  {}  {regex}{line}\n", tried.image));
        if let Some(at) = &tried.at {
            said.push_str(&spot(text, at));
        } else if let Some(near) = &tried.near {
            said.push_str(&format!("  matches as far as {}\n", harmless::text(&near.beginning)));
            said.push_str(&spot(text, &near.at));
        } else {
            said.push_str("  no beginning of it matches\n");
        }
    }
    let matched = tried.iter().filter(|tried| tried.at.is_some()).count();
    said.push_str(&format!("{matched} of {} rules match\n", tried.len()));
    said
}

fn spot(text: &[u8], at: &Range<usize>) -> String {
    let (shown, marks) = marked(text, at);
    format!("    {shown}\n    {marks}\n")
}

fn range(fields: &mut Map<String, Value>, at: Option<&Range<usize>>) {
    fields.insert("start_byte".to_owned(), json!(at.map(|at| at.start)));
    fields.insert("end_byte".to_owned(), json!(at.map(|at| at.end)));
}

fn process_json(
    pid: u32,
    text: &[u8],
    tried: &[Tried<'_>],
    source: &Source,
    by_name: Option<String>,
) -> Value {
    let mut document = json::document("explain");
    document.insert("images_from".to_owned(), json::source(source));
    document.insert("pid".to_owned(), json!(pid));
    json::insert_text(&mut document, "command_line", text);
    let image = by_name.or_else(|| {
        tried.iter().find(|tried| tried.at.is_some()).map(|tried| tried.image.to_owned())
    });
    document.insert("first_image".to_owned(), json!(image));
    let rules = tried.iter().map(|tried| {
        let mut fields = Map::new();
        fields.insert("image".to_owned(), json!(tried.image));
        fields.insert("line".to_owned(), json!(tried.rule.line()));
        json::insert_text(&mut fields, "regex", tried.rule.source());
        fields.insert("matches".to_owned(), json!(tried.at.is_some()));
        let near = tried.near.as_ref();
        range(&mut fields, tried.at.as_ref().or(near.map(|near| &near.at)));
        fields.insert("matches_as_far_as".to_owned(), json!(near.map(|near| &near.beginning)));
        Value::Object(fields)
    });
    document.insert("rules".to_owned(), rules.collect());
    document.into()
}

fn process_csv(pid: u32, tried: &[Tried<'_>], first: bool) -> String {
    let mut text = String::new();
    if first {
        let fields = ["pid", "line", "image", "regex", "matches", "start_byte", "end_byte"];
        let fields = fields.into_iter().chain(["matches_as_far_as"]);
        text.push_str(&csv::line(fields.map(str::to_owned)));
    }
    for tried in tried {
        let near = tried.near.as_ref();
        let at = tried.at.as_ref().or(near.map(|near| &near.at));
        let number = |number: Option<usize>| number.map(|n| n.to_string()).unwrap_or_default();
        let fields = [
            pid.to_string(),
            number(tried.rule.line()),
            tried.image.to_owned(),
            harmless::bytes(tried.rule.source()),
            tried.at.is_some().to_string(),
            number(at.map(|at| at.start)),
            number(at.map(|at| at.end)),
            near.map(|near| harmless::text(&near.beginning)).unwrap_or_default(),
        ];
        text.push_str(&csv::line(fields.into_iter()));
    }
    text
}

/// A process that a rule, or its beginning, matches: pid, command line, where.
type Hit<'t> = (u32, &'t [u8], Range<usize>);

/// A rule against all processes.
struct Spread<'r, 't> {
    rule: &'r Rule,
    matches: Vec<Hit<'t>>,
    /// The beginning, and those that come nearest by it.
    near: Option<(String, Vec<Hit<'t>>)>,
}

fn rule(common: &Common, source: &Source, image: &ImageName, out: Out) -> Result<Found, Failure> {
    let (Source::Conf { rules, .. } | Source::Regex(rules)) = source else {
        return Err(Failure::Usage("--rule needs a conf: name one with --conf".to_owned()));
    };
    let of_image = rules.rules().iter().filter(|rule| image_of(rules, rule) == image.as_str());
    let here = measure::command_lines(&common.proc)?;
    let spreads: Vec<Spread<'_, '_>> = of_image.map(|rule| spread(rule, &here)).collect();
    if spreads.is_empty() {
        terminal::say(&format!("psstat-dump: there is no rule for the image {image}"));
    }
    let bytes = match out.format {
        Format::Text => rule_text(image, &spreads, out.paint).into_bytes(),
        Format::Json => json::line(&rule_json(image, &spreads, source)),
        Format::Csv => rule_csv(&spreads).into_bytes(),
    };
    terminal::print(&bytes)?;
    Ok(Found::when(spreads.iter().any(|spread| !spread.matches.is_empty())))
}

fn spread<'r, 't>(
    rule: &'r Rule,
    here: &'t std::collections::BTreeMap<u32, Vec<u8>>,
) -> Spread<'r, 't> {
    let (mut matches, mut others) = (Vec::new(), Vec::new());
    for (&pid, text) in here {
        match rule.find(text) {
            Some(at) => matches.push((pid, &text[..], at)),
            None => others.push((pid, &text[..])),
        }
    }
    let near = Beginnings::of(rule.source()).nearest_of(&others);
    Spread { rule, matches, near }
}

fn rule_text(image: &ImageName, spreads: &[Spread<'_, '_>], paint: Paint) -> String {
    let mut said = String::new();
    for spread in spreads {
        let line = spread.rule.line().map(|line| format!(" (line {line})")).unwrap_or_default();
        let regex = harmless::bytes(spread.rule.source());
        said.push_str(&format!("{}\n", paint.bold(&format!("{image}  {regex}{line}"))));
        said.push_str(&format!("  processes that match: {}\n", spread.matches.len()));
        for (pid, text, at) in &spread.matches {
            said.push_str(&format!("  {pid}\n{}", spot(text, at)));
        }
        if let Some((beginning, near)) = &spread.near {
            let beginning = harmless::text(beginning);
            let number = near.len();
            said.push_str(&format!("  processes that match as far as {beginning}: {number}\n"));
            for (pid, text, at) in near.iter().take(NEAR_SHOWN) {
                said.push_str(&format!("  {pid}\n{}", spot(text, at)));
            }
            if let Some(more @ 1..) = near.len().checked_sub(NEAR_SHOWN) {
                said.push_str(&format!("  and {more} more\n"));
            }
        }
    }
    said
}

fn rule_json(image: &ImageName, spreads: &[Spread<'_, '_>], source: &Source) -> Value {
    let hits = |hits: &[Hit<'_>]| -> Value {
        let hit = |(pid, text, at): &Hit<'_>| {
            let mut fields = Map::new();
            fields.insert("pid".to_owned(), json!(pid));
            json::insert_text(&mut fields, "command_line", text);
            range(&mut fields, Some(at));
            Value::Object(fields)
        };
        hits.iter().map(hit).collect()
    };
    let mut document = json::document("explain_rule");
    document.insert("images_from".to_owned(), json::source(source));
    document.insert("image".to_owned(), json!(image.as_str()));
    let rules = spreads.iter().map(|spread| {
        let near = spread.near.as_ref();
        let mut fields = Map::new();
        fields.insert("line".to_owned(), json!(spread.rule.line()));
        json::insert_text(&mut fields, "regex", spread.rule.source());
        fields.insert("matches".to_owned(), hits(&spread.matches));
        fields.insert("matches_as_far_as".to_owned(), json!(near.map(|near| &near.0)));
        fields.insert("nearly".to_owned(), hits(near.map_or(&[], |near| &near.1)));
        Value::Object(fields)
    });
    document.insert("rules".to_owned(), rules.collect());
    document.into()
}

fn rule_csv(spreads: &[Spread<'_, '_>]) -> String {
    let heading =
        ["line", "regex", "pid", "matches", "start_byte", "end_byte", "matches_as_far_as"];
    let heading = heading.into_iter().chain(["command_line"]);
    let mut text = csv::line(heading.map(str::to_owned));
    for spread in spreads {
        let regex = harmless::bytes(spread.rule.source());
        let line = spread.rule.line().map(|line| line.to_string()).unwrap_or_default();
        let mut add = |(pid, command, at): &Hit<'_>, beginning: Option<&str>| {
            let fields = [
                line.clone(),
                regex.clone(),
                pid.to_string(),
                beginning.is_none().to_string(),
                at.start.to_string(),
                at.end.to_string(),
                beginning.map(harmless::text).unwrap_or_default(),
                harmless::bytes(command),
            ];
            text.push_str(&csv::line(fields.into_iter()));
        };
        for hit in &spread.matches {
            add(hit, None);
        }
        if let Some((beginning, near)) = &spread.near {
            for hit in near {
                add(hit, Some(beginning));
            }
        }
    }
    text
}

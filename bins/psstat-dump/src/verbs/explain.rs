//! Which rules match a process and where; which processes a rule matches.

use std::ops::Range;
use std::time::{Duration, Instant};

use psstat_matcher::{ImageName, Rule, Rules};
use psstat_proc_parse::Cmdline;
use serde_json::{Map, Value, json};

use super::source;
use crate::args::{Common, ConfArgs, ExplainArgs, Format};
use crate::choose::Source;
use crate::exit::{Failure, Found};
use crate::miss::{self, Miss};
use crate::nearest::{Beginnings, Near, marked};
use crate::page::Files;
use crate::terminal::{self, Paint};
use crate::{csv, executable, harmless, json, measure};

/// How many of the processes that come near are shown to people.
const NEAR_SHOWN: usize = 10;
/// How long it is looked for what keeps rules from matching. Many rules on a
/// very long command line can take longer; the last ones then go without.
const PATIENCE: Duration = Duration::from_secs(3);

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
    /// What keeps it from matching; for a rule that nearly does.
    miss: Option<Miss>,
    /// How far it gets; for a rule that does not match.
    near: Option<Near>,
}

fn image_of<'r>(rules: &'r Rules, rule: &Rule) -> &'r str {
    rules.images().get(rule.image()).map_or("", ImageName::as_str)
}

fn processes(common: &Common, source: &Source, pids: &[u32], out: Out) -> Result<Found, Failure> {
    let mut found = Found::Nothing;
    let mut first = true;
    let begin = Instant::now();
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
            let at = if text.is_empty() { None } else { Rule::find(rule, &text).ok().flatten() };
            let is_off = at.is_none() && !text.is_empty();
            let is_tried = is_off && begin.elapsed() < PATIENCE;
            let miss = is_tried.then(|| miss::of(rule.source(), &text)).flatten();
            let near = is_off.then(|| Beginnings::of(rule.source()).nearest(&text)).flatten();
            Tried { rule, image: image_of(rules, rule), at, miss, near }
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
            Format::Csv => process_csv(pid, &text, &tried, first).into_bytes(),
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
        } else if let Some(miss) = &tried.miss {
            said.push_str(&miss_text(tried.rule, text, miss));
        } else if let Some(near) = tried.near.as_ref().filter(|near| near.is_worth_telling()) {
            said.push_str(&format!("  matches as far as {}\n", harmless::text(&near.beginning)));
            said.push_str(&spot(text, &near.at));
        } else {
            said.push_str("  comes nowhere near\n");
        }
    }
    let matched = tried.iter().filter(|tried| tried.at.is_some()).count();
    said.push_str(&format!("{matched} of {} rules match\n", tried.len()));
    said
}

/// What is wrong, and where in the regex and in the command line.
fn miss_text(rule: &Rule, text: &[u8], miss: &Miss) -> String {
    let part = |of: &[u8], at: &Range<usize>| harmless::bytes(of.get(at.clone()).unwrap_or(b""));
    match miss {
        Miss::Case(at) => {
            let spot = spot(text, at);
            format!(
                "  nearly: only the case of letters differs; `(?i)` before it takes both\n{spot}"
            )
        }
        Miss::Place { wanted, found } => {
            let (want, has) = (part(rule.source(), wanted), part(text, found));
            let why = match (&want[..], &has[..]) {
                (_, "") => format!("the regex wants `{want}`, the command line has nothing there"),
                ("", _) => format!("the command line has `{has}` there, the regex nothing"),
                _ => format!("the regex wants `{want}`, the command line has `{has}`"),
            };
            let spots = [spot(rule.source(), wanted), spot(text, found)].concat();
            format!("  nearly: {why}\n{spots}")
        }
    }
}

/// The fields of a near miss; they are there, and null, where there is none.
fn miss_json(fields: &mut Map<String, Value>, rule: &Rule, text: &[u8], miss: Option<&Miss>) {
    let (wanted, found) = match miss {
        Some(Miss::Place { wanted, found }) => (Some(wanted), Some(found)),
        Some(Miss::Case(found)) => (None, Some(found)),
        None => (None, None),
    };
    let what = miss.map(|miss| match miss {
        Miss::Case(_) => "case",
        Miss::Place { .. } => "place",
    });
    fields.insert("nearly".to_owned(), json!(what));
    for (field, of, at) in [("wanted", rule.source(), wanted), ("found", text, found)] {
        match at.and_then(|at| of.get(at.clone())) {
            Some(part) => json::insert_text(fields, field, part),
            None => {
                fields.insert(field.to_owned(), Value::Null);
            }
        }
    }
    fields.insert("wanted_start_byte".to_owned(), json!(wanted.map(|at| at.start)));
    fields.insert("found_start_byte".to_owned(), json!(found.map(|at| at.start)));
}

/// The same for comma-separated values: what, wanted, found.
fn miss_csv(rule: &Rule, text: &[u8], miss: Option<&Miss>) -> [String; 3] {
    let part = |of: &[u8], at: &Range<usize>| harmless::bytes(of.get(at.clone()).unwrap_or(b""));
    match miss {
        Some(Miss::Case(found)) => ["case".to_owned(), String::new(), part(text, found)],
        Some(Miss::Place { wanted, found }) => {
            ["place".to_owned(), part(rule.source(), wanted), part(text, found)]
        }
        None => Default::default(),
    }
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
        miss_json(&mut fields, tried.rule, text, tried.miss.as_ref());
        Value::Object(fields)
    });
    document.insert("rules".to_owned(), rules.collect());
    document.into()
}

fn process_csv(pid: u32, command: &[u8], tried: &[Tried<'_>], first: bool) -> String {
    let mut text = String::new();
    if first {
        let fields = ["pid", "line", "image", "regex", "matches", "start_byte", "end_byte"];
        let fields = fields.into_iter().chain(["matches_as_far_as", "nearly", "wanted", "found"]);
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
        let miss = miss_csv(tried.rule, command, tried.miss.as_ref());
        text.push_str(&csv::line(fields.into_iter().chain(miss)));
    }
    text
}

/// A process that a rule, or its beginning, matches: pid, command line, where.
type Hit<'t> = (u32, &'t [u8], Range<usize>);

/// A rule against all processes.
struct Spread<'r, 't> {
    rule: &'r Rule,
    matches: Vec<Hit<'t>>,
    /// Those that come nearest.
    near: Option<Nearly<'t>>,
}

/// Processes that a rule nearly matches: the longest beginning of it that
/// matches any, or where none does, the longest ending.
struct Nearly<'t> {
    side: Side,
    part: String,
    hits: Vec<Hit<'t>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Beginning,
    Ending,
}

impl Nearly<'_> {
    /// The part, if it is of this side.
    fn part(&self, side: Side) -> Option<&str> {
        (self.side == side).then_some(&self.part)
    }
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
            Ok(Some(at)) => matches.push((pid, &text[..], at)),
            _ => others.push((pid, &text[..])),
        }
    }
    let of = |side: Side| {
        let parts = match side {
            Side::Beginning => Beginnings::of(rule.source()),
            Side::Ending => Beginnings::endings_of(rule.source()),
        };
        let (part, hits) = parts.nearest_of(&others)?;
        Some(Nearly { side, part, hits })
    };
    let near = of(Side::Beginning).or_else(|| of(Side::Ending));
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
        if let Some(near) = &spread.near {
            let part = harmless::text(&near.part);
            let number = near.hits.len();
            let side = if near.side == Side::Beginning { "as far as" } else { "from" };
            said.push_str(&format!("  processes that match {side} {part}: {number}\n"));
            for (pid, text, at) in near.hits.iter().take(NEAR_SHOWN) {
                said.push_str(&format!("  {pid}\n"));
                match miss::of(spread.rule.source(), text) {
                    Some(miss) => said.push_str(&miss_text(spread.rule, text, &miss)),
                    None => said.push_str(&spot(text, at)),
                }
            }
            if let Some(more @ 1..) = near.hits.len().checked_sub(NEAR_SHOWN) {
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
        let part = |side| json!(near.and_then(|near| near.part(side)));
        fields.insert("matches_as_far_as".to_owned(), part(Side::Beginning));
        fields.insert("matches_from".to_owned(), part(Side::Ending));
        fields.insert("nearly".to_owned(), hits(near.map_or(&[], |near| &near.hits)));
        Value::Object(fields)
    });
    document.insert("rules".to_owned(), rules.collect());
    document.into()
}

fn rule_csv(spreads: &[Spread<'_, '_>]) -> String {
    let heading = ["line", "regex", "pid", "matches", "start_byte", "end_byte"];
    let heading = heading.into_iter().chain(["matches_as_far_as", "matches_from", "command_line"]);
    let mut text = csv::line(heading.map(str::to_owned));
    for spread in spreads {
        let regex = harmless::bytes(spread.rule.source());
        let line = spread.rule.line().map(|line| line.to_string()).unwrap_or_default();
        let mut add = |(pid, command, at): &Hit<'_>, near: Option<&Nearly<'_>>| {
            let part = |side| near.and_then(|near| near.part(side)).map(harmless::text);
            let fields = [
                line.clone(),
                regex.clone(),
                pid.to_string(),
                near.is_none().to_string(),
                at.start.to_string(),
                at.end.to_string(),
                part(Side::Beginning).unwrap_or_default(),
                part(Side::Ending).unwrap_or_default(),
                harmless::bytes(command),
            ];
            text.push_str(&csv::line(fields.into_iter()));
        };
        for hit in &spread.matches {
            add(hit, None);
        }
        if let Some(near) = &spread.near {
            for hit in &near.hits {
                add(hit, Some(near));
            }
        }
    }
    text
}

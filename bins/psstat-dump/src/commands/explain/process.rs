//! Which rules match a process and where, and what keeps the others from it.

use std::ops::Range;

use psstat_matcher::{Rule, Rules, StepLimit};
use psstat_proc_parse::Cmdline;
use serde_json::{Map, Value, json};

use super::{Printer, TimeBudget, image_of, miss_text, range};
use crate::args::{Format, GlobalArgs};
use crate::exit::{Error, Outcome};
use crate::longest_match::{self, PartialMatch};
use crate::near_miss::{self, NearMiss};
use crate::process_report::Files;
use crate::selector::Source;
use crate::{csv, escape, executable, json, terminal};

/// A rule against one command line.
struct RuleResult<'r> {
    rule: &'r Rule,
    image: &'r str,
    at: Result<Option<Range<usize>>, StepLimit>,
    /// What keeps it from matching; for a rule that nearly does.
    miss: Option<NearMiss>,
    /// How far it gets; for a rule that does not match.
    near: Option<PartialMatch>,
    /// Whether patience lasted for looking for these.
    searched: bool,
}

impl RuleResult<'_> {
    /// Where it matches.
    fn hit(&self) -> Option<&Range<usize>> {
        self.at.as_ref().ok()?.as_ref()
    }

    fn gave_up(&self) -> bool {
        self.at.is_err()
    }

    /// Where it matches, or its beginning does.
    fn place(&self) -> Option<&Range<usize>> {
        self.hit().or(self.near.as_ref().map(|near| &near.at))
    }

    /// `None`: it gave up, so nobody knows.
    fn matches(&self) -> Option<bool> {
        self.at.as_ref().ok().map(Option::is_some)
    }
}

/// Explains these processes.
pub(super) fn processes(
    common: &GlobalArgs,
    source: &Source,
    pids: &[u32],
    out: Printer,
) -> Result<Outcome, Error> {
    let read = |&pid: &u32| match Files::open(&common.proc, pid).and_then(|f| f.command_line()) {
        Ok(raw) => Some((pid, raw)),
        Err(unread) => {
            let why = escape::text(&unread.to_string());
            terminal::eprint_line(&format!("psstat-dump: {pid}: {why}"));
            None
        }
    };
    let read: Vec<(u32, Vec<u8>)> = pids.iter().filter_map(read).collect();
    let texts: Vec<Vec<u8>> =
        read.iter().map(|(_, raw)| Cmdline::new(raw).joined().collect()).collect();
    let rules = match source {
        Source::Conf { rules, .. } | Source::Regex(rules) => rules,
        Source::Executable => &Rules::default(),
    };
    let patience = TimeBudget::begin();
    let mut tried: Vec<Vec<RuleResult<'_>>> = texts.iter().map(|_| Vec::new()).collect();
    for rule in rules.rules() {
        let of_rule = try_rule(rule, image_of(rules, rule), &texts, &patience);
        for (of_process, one) in tried.iter_mut().zip(of_rule) {
            of_process.push(one);
        }
    }
    let mut found = Outcome::NoMatch;
    let mut first = true;
    for (((pid, raw), text), tried) in read.iter().zip(&texts).zip(&tried) {
        let by_name = matches!(source, Source::Executable) && !text.is_empty();
        let by_name = by_name.then(|| executable::image(raw));
        if by_name.is_some() || tried.iter().any(|tried| tried.hit().is_some()) {
            found = Outcome::Match;
        }
        let bytes = match out.format {
            Format::Text => {
                let gap = if first { "" } else { "\n" };
                let text = process_text(*pid, text, tried, by_name.as_deref(), out);
                format!("{gap}{text}").into_bytes()
            }
            Format::Json => json::line(&process_json(*pid, text, tried, source, by_name)),
            Format::Csv => process_csv(*pid, text, tried, first).into_bytes(),
        };
        first = false;
        terminal::print(&bytes)?;
    }
    patience.warn_incomplete();
    Ok(found)
}

/// A rule against each text.
fn try_rule<'r>(
    rule: &'r Rule,
    image: &'r str,
    texts: &[Vec<u8>],
    patience: &TimeBudget,
) -> Vec<RuleResult<'r>> {
    let try_it = |text: &Vec<u8>| {
        let at = rule.find(text);
        let is_off = matches!(at, Ok(None)) && !text.is_empty() && patience.has_time();
        let miss = is_off.then(|| near_miss::of(rule.pattern(), text)).flatten();
        RuleResult { rule, image, at, miss, near: None, searched: true }
    };
    let mut tried: Vec<RuleResult<'_>> = texts.iter().map(try_it).collect();
    let is_off = |tried: &RuleResult<'_>| matches!(tried.at, Ok(None));
    let off = tried.iter_mut().zip(texts).filter(|(tried, text)| is_off(tried) && !text.is_empty());
    let (mut off, texts): (Vec<_>, Vec<&[u8]>) = off.map(|(one, text)| (one, &text[..])).unzip();
    let nearest = longest_match::longest_match(rule.pattern(), &texts, &|| patience.has_time());
    for (tried, near) in off.iter_mut().zip(nearest) {
        tried.near = near;
        tried.searched = !patience.ran_out.get();
    }
    tried
}

fn process_text(
    pid: u32,
    text: &[u8],
    tried: &[RuleResult<'_>],
    by_name: Option<&str>,
    out: Printer,
) -> String {
    let paint = out.paint;
    let mut said = format!("{}\n", paint.bold(&format!("process {pid}")));
    if text.is_empty() {
        said.push_str("  has no command line: a kernel thread or a zombie; no rule matches it\n");
        return said;
    }
    if let Some(image) = by_name {
        let command = escape::truncate(&escape::bytes(text), 120);
        said.push_str(&format!("  {command}\n  is of image {image} by its executable's name\n"));
        return said;
    }
    for tried in tried {
        let line = tried.rule.line().map(|line| format!(" (line {line})")).unwrap_or_default();
        let regex = escape::bytes(tried.rule.pattern());
        let word = match tried.matches() {
            Some(true) => paint.bold("matches"),
            Some(false) => "no match".to_owned(),
            None => paint.warning("gave up"),
        };
        said.push_str(&format!("{word}  {}  {regex}{line}\n", tried.image));
        if let Some(at) = tried.hit() {
            said.push_str(&out.spot(text, at));
        } else if tried.gave_up() {
            said.push_str("  hit its step limit, so that nobody knows whether it matches\n");
        } else if let Some(miss) = &tried.miss {
            said.push_str(&miss_text(tried.rule, text, miss, out));
        } else if let Some(near) = tried.near.as_ref().filter(|near| near.is_significant()) {
            said.push_str(&format!("  matches as far as {}\n", escape::text(&near.beginning)));
            said.push_str(&out.spot(text, &near.at));
        } else if tried.searched {
            said.push_str("  comes nowhere near\n");
        } else {
            said.push_str("  how near it comes would take too long to find out\n");
        }
    }
    let matched = tried.iter().filter(|tried| tried.hit().is_some()).count();
    let gave_up = match tried.iter().filter(|tried| tried.gave_up()).count() {
        0 => String::new(),
        some => format!(", {some} gave up"),
    };
    said.push_str(&format!("{matched} of {} rules match{gave_up}\n", tried.len()));
    said
}

/// The fields of a near miss; they are there, and null, where there is none.
fn miss_json(fields: &mut Map<String, Value>, rule: &Rule, text: &[u8], miss: Option<&NearMiss>) {
    let (wanted, found) = match miss {
        Some(NearMiss::Gap { wanted, found }) => (Some(wanted), Some(found)),
        Some(NearMiss::Case(found)) => (None, Some(found)),
        None => (None, None),
    };
    let what = miss.map(|miss| match miss {
        NearMiss::Case(_) => "case",
        NearMiss::Gap { .. } => "place",
    });
    fields.insert("nearly".to_owned(), json!(what));
    for (field, of, at) in [("wanted", rule.pattern(), wanted), ("found", text, found)] {
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
fn miss_csv(rule: &Rule, text: &[u8], miss: Option<&NearMiss>) -> [String; 3] {
    let part = |of: &[u8], at: &Range<usize>| escape::bytes(of.get(at.clone()).unwrap_or(b""));
    match miss {
        Some(NearMiss::Case(found)) => ["case".to_owned(), String::new(), part(text, found)],
        Some(NearMiss::Gap { wanted, found }) => {
            ["place".to_owned(), part(rule.pattern(), wanted), part(text, found)]
        }
        None => Default::default(),
    }
}

fn process_json(
    pid: u32,
    text: &[u8],
    tried: &[RuleResult<'_>],
    source: &Source,
    by_name: Option<String>,
) -> Value {
    let mut document = json::document("explain");
    document.insert("images_from".to_owned(), json::source(source));
    document.insert("pid".to_owned(), json!(pid));
    json::insert_text(&mut document, "command_line", text);
    let image = by_name.or_else(|| {
        tried.iter().find(|tried| tried.hit().is_some()).map(|tried| tried.image.to_owned())
    });
    document.insert("first_image".to_owned(), json!(image));
    let rules = tried.iter().map(|tried| {
        let mut fields = Map::new();
        fields.insert("image".to_owned(), json!(tried.image));
        fields.insert("line".to_owned(), json!(tried.rule.line()));
        json::insert_text(&mut fields, "regex", tried.rule.pattern());
        fields.insert("matches".to_owned(), json!(tried.matches()));
        fields.insert("gave_up".to_owned(), json!(tried.gave_up()));
        let near = tried.near.as_ref();
        range(&mut fields, tried.place());
        fields.insert("matches_as_far_as".to_owned(), json!(near.map(|near| &near.beginning)));
        miss_json(&mut fields, tried.rule, text, tried.miss.as_ref());
        Value::Object(fields)
    });
    document.insert("rules".to_owned(), rules.collect());
    document.into()
}

fn process_csv(pid: u32, command: &[u8], tried: &[RuleResult<'_>], first: bool) -> String {
    let mut text = String::new();
    if first {
        let fields = ["pid", "line", "image", "regex", "matches", "start_byte", "end_byte"];
        let fields = fields.into_iter().chain(["matches_as_far_as", "nearly", "wanted", "found"]);
        text.push_str(&csv::line(fields.map(str::to_owned)));
    }
    for tried in tried {
        let near = tried.near.as_ref();
        let at = tried.place();
        let number = |number: Option<usize>| number.map(|n| n.to_string()).unwrap_or_default();
        let fields = [
            pid.to_string(),
            number(tried.rule.line()),
            tried.image.to_owned(),
            escape::bytes(tried.rule.pattern()),
            tried.matches().map(|matches| matches.to_string()).unwrap_or_default(),
            number(at.map(|at| at.start)),
            number(at.map(|at| at.end)),
            near.map(|near| escape::text(&near.beginning)).unwrap_or_default(),
        ];
        let miss = miss_csv(tried.rule, command, tried.miss.as_ref());
        text.push_str(&csv::line(fields.into_iter().chain(miss)));
    }
    text
}

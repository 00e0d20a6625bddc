//! Lists the processes that match an image's rules, and near misses.

use std::collections::BTreeMap;

use psstat_matcher::{ImageName, ImageTemplate, Rule, Rules};
use serde_json::{Map, Value, json};

use super::search::{self, Hit, Side};
use super::{Printer, TimeBudget, image_of, insert_range, near_miss_text};
use crate::args::{Format, GlobalArgs};
use crate::conf;
use crate::exit::{Error, Outcome};
use crate::measure;
use crate::process_text::{OwnedText, field_name, pattern};
use crate::selector::{self, Source};
use crate::table::{csv, json};
use crate::terminal;
use psstat_support::escape;

/// Number of near misses that are printed as text.
const MAX_NEAR_SHOWN: usize = 10;

/// The result of a rule for all processes.
struct RuleMatches<'r, 't> {
    rule: &'r Rule,
    matches: Vec<Hit<'t>>,
    /// The processes on which the rule exceeded its step limit.
    step_limit_exceeded: Vec<u32>,
    near: Option<NearMatches<'t>>,
}

/// The processes that are closest to a match: the longest prefix of the rule
/// that matches any process or, if none does, the longest suffix.
struct NearMatches<'t> {
    side: Side,
    part: String,
    hits: Vec<Hit<'t>>,
}

impl NearMatches<'_> {
    /// The part, if it is on this side.
    fn part(&self, side: Side) -> Option<&str> {
        (self.side == side).then_some(&self.part)
    }
}

/// Explains the rules of an image.
pub(super) fn explain(
    global: &GlobalArgs,
    source: &Source,
    image: &ImageTemplate,
    ancestors: bool,
    printer: Printer,
) -> Result<Outcome, Error> {
    let rules = match source {
        Source::Conf { rules, .. } | Source::Regex(rules) => rules,
        Source::Executable => &Rules::default(),
    };
    let mut texts = measure::process_texts(&global.proc, rules)?;
    if matches!(source, Source::Regex(_)) && !ancestors {
        for pid in selector::callers_of_self(&global.proc) {
            texts.remove(&pid);
        }
    }
    let budget = TimeBudget::start();
    let results: Vec<RuleMatches<'_, '_>> = rules
        .rules()
        .iter()
        .filter_map(|rule| {
            let is_of_image = image_of(rules, rule) == image.as_str();
            let made = (!is_of_image).then_some(image.name()).flatten();
            if !is_of_image && (made.is_none() || !has_groups(rules, rule)) {
                return None;
            }
            let matches = apply(rule, made, &texts, &budget);
            (is_of_image || !matches.matches.is_empty()).then_some(matches)
        })
        .collect();
    if results.is_empty() {
        terminal::eprint_line(&format!("psstat-dump: no rule for image {image}"));
    }
    let bytes = match printer.format {
        Format::Text => as_text(image, &results, &budget, printer).into_bytes(),
        Format::Json => json::line(&as_json(image, &results, &texts, source)),
        Format::Csv => as_csv(&results, &texts).into_bytes(),
    };
    terminal::print(&bytes)?;
    budget.warn_incomplete();
    Ok(Outcome::when(results.iter().any(|result| !result.matches.is_empty())))
}

fn command_line(texts: &BTreeMap<u32, OwnedText>, pid: u32) -> &[u8] {
    texts.get(&pid).map(OwnedText::command_line).unwrap_or_default()
}

fn has_groups(rules: &Rules, rule: &Rule) -> bool {
    rules.images().get(rule.image()).is_some_and(|image| image.name().is_none())
}

/// Applies a rule to all processes. `made`: only those of which it makes this image, without near
/// misses.
fn apply<'r, 't>(
    rule: &'r Rule,
    made: Option<&ImageName>,
    texts: &'t BTreeMap<u32, OwnedText>,
    budget: &TimeBudget,
) -> RuleMatches<'r, 't> {
    let (mut matches, mut others, mut step_limit_exceeded) = (Vec::new(), Vec::new(), Vec::new());
    for (&pid, texts) in texts {
        // A process without the text, such as one in no container, is not near to a match.
        let Some(text) = texts.get(rule.field()) else { continue };
        match rule.find(text) {
            Ok(Some(at)) => {
                let makes = |image: &ImageName| {
                    let name = rule.make_name(text).ok().flatten();
                    name.is_some_and(|name| name.name == image.as_str())
                };
                if made.is_none_or(makes) {
                    matches.push((pid, text, at));
                }
            }
            Ok(None) if text.is_empty() || made.is_some() => {}
            Ok(None) => others.push((pid, text)),
            Err(_) => step_limit_exceeded.push(pid),
        }
    }
    let closest = |side: Side| {
        let has_time = || budget.has_time();
        let (part, hits) = search::closest(rule.pattern(), side, &others, &has_time)?;
        Some(NearMatches { side, part, hits })
    };
    let near = closest(Side::Prefix).or_else(|| closest(Side::Suffix));
    RuleMatches { rule, matches, step_limit_exceeded, near }
}

fn as_text(
    image: &ImageTemplate,
    results: &[RuleMatches<'_, '_>],
    budget: &TimeBudget,
    printer: Printer,
) -> String {
    let mut out = String::new();
    for result in results {
        let line = printer.place(result.rule);
        let regex = pattern(result.rule.field(), &escape::bytes(result.rule.pattern()));
        out.push_str(&format!("{}\n", printer.paint.bold(&format!("{image}  {regex}{line}"))));
        out.push_str(&format!("  matching processes: {}\n", result.matches.len()));
        for (pid, text, at) in &result.matches {
            out.push_str(&format!("  {pid}\n{}", printer.excerpt(text, at)));
        }
        if !result.step_limit_exceeded.is_empty() {
            let pids: Vec<String> = result.step_limit_exceeded.iter().map(u32::to_string).collect();
            let pids = pids.join(", ");
            out.push_str(&format!("  unknown (step limit exceeded): {pids}\n"));
        }
        if let Some(near) = &result.near {
            out.push_str(&near_text(result.rule, near, budget, printer));
        }
    }
    out
}

fn near_text(rule: &Rule, near: &NearMatches<'_>, budget: &TimeBudget, printer: Printer) -> String {
    let (part, count) = (escape::text(&near.part), near.hits.len());
    let side = if near.side == Side::Prefix { "up to" } else { "from" };
    let mut out = format!("  processes that match {side} {part}: {count}\n");
    let shown = near.hits.get(..MAX_NEAR_SHOWN).unwrap_or(&near.hits);
    let texts: Vec<&[u8]> = shown.iter().map(|(_, text, _)| *text).collect();
    let explanations = search::explain(rule.pattern(), &texts, &|| budget.has_time());
    for ((pid, text, at), explanation) in shown.iter().zip(explanations) {
        out.push_str(&format!("  {pid}\n"));
        match explanation.near_miss {
            Some(near_miss) => out.push_str(&near_miss_text(rule, text, &near_miss, printer)),
            None => out.push_str(&printer.excerpt(text, at)),
        }
    }
    if let Some(more @ 1..) = count.checked_sub(MAX_NEAR_SHOWN) {
        out.push_str(&format!("  and {more} more\n"));
    }
    out
}

fn as_json(
    image: &ImageTemplate,
    results: &[RuleMatches<'_, '_>],
    texts: &BTreeMap<u32, OwnedText>,
    source: &Source,
) -> Value {
    let hits = |hits: &[Hit<'_>]| -> Value {
        let hit = |(pid, text, at): &Hit<'_>| {
            let mut fields = Map::new();
            fields.insert("pid".to_owned(), json!(pid));
            json::insert_text(&mut fields, "command_line", command_line(texts, *pid));
            json::insert_text(&mut fields, "text", text);
            insert_range(&mut fields, Some(at));
            Value::Object(fields)
        };
        hits.iter().map(hit).collect()
    };
    let mut document = json::document("explain_rule");
    document.insert("images_from".to_owned(), json::source(source));
    document.insert("image".to_owned(), json!(image.as_str()));
    let rules = results.iter().map(|result| {
        let near = result.near.as_ref();
        let mut fields = Map::new();
        fields.insert("file".to_owned(), conf::file_of(result.rule));
        fields.insert("line".to_owned(), json!(result.rule.line()));
        fields.insert("field".to_owned(), json!(field_name(result.rule.field())));
        json::insert_text(&mut fields, "regex", result.rule.pattern());
        fields.insert("matches".to_owned(), hits(&result.matches));
        fields.insert("step_limit_exceeded".to_owned(), json!(result.step_limit_exceeded));
        let part = |side| json!(near.and_then(|near| near.part(side)));
        fields.insert("matches_up_to".to_owned(), part(Side::Prefix));
        fields.insert("matches_from".to_owned(), part(Side::Suffix));
        fields.insert("near_misses".to_owned(), hits(near.map_or(&[], |near| &near.hits)));
        Value::Object(fields)
    });
    document.insert("rules".to_owned(), rules.collect());
    document.into()
}

fn as_csv(results: &[RuleMatches<'_, '_>], texts: &BTreeMap<u32, OwnedText>) -> String {
    let heading = ["line", "regex", "pid", "matches", "start_byte", "end_byte"];
    let heading = heading.into_iter().chain(["matches_up_to", "matches_from", "command_line"]);
    let heading = heading.chain(["file", "field", "text"]);
    let mut lines = csv::line(heading.map(str::to_owned));
    for result in results {
        let regex = escape::bytes(result.rule.pattern());
        let line = result.rule.line().map(|line| line.to_string()).unwrap_or_default();
        let file = result.rule.path().map(conf::display).unwrap_or_default();
        let field = field_name(result.rule.field()).to_owned();
        let mut add = |(pid, text, at): &Hit<'_>, near: Option<&NearMatches<'_>>| {
            let part = |side| near.and_then(|near| near.part(side)).map(escape::text);
            let fields = [
                line.clone(),
                regex.clone(),
                pid.to_string(),
                near.is_none().to_string(),
                at.start.to_string(),
                at.end.to_string(),
                part(Side::Prefix).unwrap_or_default(),
                part(Side::Suffix).unwrap_or_default(),
                escape::bytes(command_line(texts, *pid)),
                file.clone(),
                field.clone(),
                escape::bytes(text),
            ];
            lines.push_str(&csv::line(fields.into_iter()));
        };
        for hit in &result.matches {
            add(hit, None);
        }
        if let Some(near) = &result.near {
            for hit in &near.hits {
                add(hit, Some(near));
            }
        }
        for pid in &result.step_limit_exceeded {
            // All fields after the pid are unknown.
            let known = [line.clone(), regex.clone(), pid.to_string()];
            let empty = std::iter::repeat_n(String::new(), 6);
            lines.push_str(&csv::line(known.into_iter().chain(empty).chain([
                file.clone(),
                field.clone(),
                String::new(),
            ])));
        }
    }
    lines
}

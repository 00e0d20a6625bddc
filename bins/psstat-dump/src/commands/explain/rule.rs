//! Which processes an image's rules match, and which nearly.

use std::ops::Range;

use psstat_matcher::{ImageName, Rule};
use serde_json::{Map, Value, json};

use super::{Printer, TimeBudget, image_of, miss_text, range};
use crate::args::{Format, GlobalArgs};
use crate::exit::{Error, Outcome};
use crate::longest_match::{self, Side};
use crate::selector::Source;
use crate::{csv, escape, json, measure, near_miss, terminal};

/// How many of the processes that come near are shown to people.
const MAX_NEAR_SHOWN: usize = 10;

/// A process that a rule, or its beginning, matches: pid, command line, where.
type Hit<'t> = (u32, &'t [u8], Range<usize>);

/// A rule against all processes.
struct RuleMatches<'r, 't> {
    rule: &'r Rule,
    matches: Vec<Hit<'t>>,
    /// The processes on whose command lines it gave up.
    gave_up: Vec<u32>,
    /// Those that come nearest.
    near: Option<NearMatches<'t>>,
}

/// Processes that a rule nearly matches: the longest beginning of it that
/// matches any, or where none does, the longest ending.
struct NearMatches<'t> {
    side: Side,
    part: String,
    hits: Vec<Hit<'t>>,
}

impl NearMatches<'_> {
    /// The part, if it is of this side.
    fn part(&self, side: Side) -> Option<&str> {
        (self.side == side).then_some(&self.part)
    }
}

/// Explains the rules of an image.
pub(super) fn rule(
    common: &GlobalArgs,
    source: &Source,
    image: &ImageName,
    out: Printer,
) -> Result<Outcome, Error> {
    let (Source::Conf { rules, .. } | Source::Regex(rules)) = source else {
        return Err(Error::Usage("--rule needs a conf: name one with --conf".to_owned()));
    };
    let of_image = rules.rules().iter().filter(|rule| image_of(rules, rule) == image.as_str());
    let here = measure::command_lines(&common.proc)?;
    let patience = TimeBudget::begin();
    let spread = |rule| spread(rule, &here, &patience);
    let spreads: Vec<RuleMatches<'_, '_>> = of_image.map(spread).collect();
    if spreads.is_empty() {
        terminal::eprint_line(&format!("psstat-dump: there is no rule for the image {image}"));
    }
    let bytes = match out.format {
        Format::Text => rule_text(image, &spreads, &patience, out).into_bytes(),
        Format::Json => json::line(&rule_json(image, &spreads, source)),
        Format::Csv => rule_csv(&spreads).into_bytes(),
    };
    terminal::print(&bytes)?;
    patience.warn_incomplete();
    Ok(Outcome::when(spreads.iter().any(|spread| !spread.matches.is_empty())))
}

fn spread<'r, 't>(
    rule: &'r Rule,
    here: &'t std::collections::BTreeMap<u32, Vec<u8>>,
    patience: &TimeBudget,
) -> RuleMatches<'r, 't> {
    let (mut matches, mut others, mut gave_up) = (Vec::new(), Vec::new(), Vec::new());
    for (&pid, text) in here {
        match rule.find(text) {
            Ok(Some(at)) => matches.push((pid, &text[..], at)),
            Ok(None) => others.push((pid, &text[..])),
            Err(_) => gave_up.push(pid),
        }
    }
    let of = |side: Side| {
        let go_on = || patience.has_time();
        let (part, hits) = longest_match::nearest_of(rule.pattern(), side, &others, &go_on)?;
        Some(NearMatches { side, part, hits })
    };
    let near = of(Side::Prefix).or_else(|| of(Side::Suffix));
    RuleMatches { rule, matches, gave_up, near }
}

fn rule_text(
    image: &ImageName,
    spreads: &[RuleMatches<'_, '_>],
    patience: &TimeBudget,
    out: Printer,
) -> String {
    let mut said = String::new();
    for spread in spreads {
        let line = spread.rule.line().map(|line| format!(" (line {line})")).unwrap_or_default();
        let regex = escape::bytes(spread.rule.pattern());
        said.push_str(&format!("{}\n", out.paint.bold(&format!("{image}  {regex}{line}"))));
        said.push_str(&format!("  processes that match: {}\n", spread.matches.len()));
        for (pid, text, at) in &spread.matches {
            said.push_str(&format!("  {pid}\n{}", out.spot(text, at)));
        }
        if !spread.gave_up.is_empty() {
            let pids: Vec<String> = spread.gave_up.iter().map(u32::to_string).collect();
            said.push_str(&format!(
                "  processes on which it hit its step limit, so that nobody knows: {}\n",
                pids.join(", ")
            ));
        }
        if let Some(near) = &spread.near {
            let part = escape::text(&near.part);
            let number = near.hits.len();
            let side = if near.side == Side::Prefix { "as far as" } else { "from" };
            said.push_str(&format!("  processes that match {side} {part}: {number}\n"));
            for (pid, text, at) in near.hits.iter().take(MAX_NEAR_SHOWN) {
                said.push_str(&format!("  {pid}\n"));
                let miss = patience.has_time().then(|| near_miss::of(spread.rule.pattern(), text));
                match miss.flatten() {
                    Some(miss) => said.push_str(&miss_text(spread.rule, text, &miss, out)),
                    None => said.push_str(&out.spot(text, at)),
                }
            }
            if let Some(more @ 1..) = near.hits.len().checked_sub(MAX_NEAR_SHOWN) {
                said.push_str(&format!("  and {more} more\n"));
            }
        }
    }
    said
}

fn rule_json(image: &ImageName, spreads: &[RuleMatches<'_, '_>], source: &Source) -> Value {
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
        json::insert_text(&mut fields, "regex", spread.rule.pattern());
        fields.insert("matches".to_owned(), hits(&spread.matches));
        fields.insert("gave_up".to_owned(), json!(spread.gave_up));
        let part = |side| json!(near.and_then(|near| near.part(side)));
        fields.insert("matches_as_far_as".to_owned(), part(Side::Prefix));
        fields.insert("matches_from".to_owned(), part(Side::Suffix));
        fields.insert("nearly".to_owned(), hits(near.map_or(&[], |near| &near.hits)));
        Value::Object(fields)
    });
    document.insert("rules".to_owned(), rules.collect());
    document.into()
}

fn rule_csv(spreads: &[RuleMatches<'_, '_>]) -> String {
    let heading = ["line", "regex", "pid", "matches", "start_byte", "end_byte"];
    let heading = heading.into_iter().chain(["matches_as_far_as", "matches_from", "command_line"]);
    let mut text = csv::line(heading.map(str::to_owned));
    for spread in spreads {
        let regex = escape::bytes(spread.rule.pattern());
        let line = spread.rule.line().map(|line| line.to_string()).unwrap_or_default();
        let mut add = |(pid, command, at): &Hit<'_>, near: Option<&NearMatches<'_>>| {
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
                escape::bytes(command),
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
        for pid in &spread.gave_up {
            // Whether it matches, and all behind that, is not known.
            let known = [line.clone(), regex.clone(), pid.to_string()];
            let blank = std::iter::repeat_n(String::new(), 6);
            text.push_str(&csv::line(known.into_iter().chain(blank)));
        }
    }
    text
}

//! Warnings about rules that are valid but probably mistakes.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, Severity};
use crate::process_text::Field;
use crate::python::LiteralSketch;
use crate::render::{escaped, place};
use crate::rule::Rule;
use crate::rules::Rules;

/// Maximum product of the number of an image's rules and their characters for
/// which rules are compared with each other.
const MAX_COMPARED: usize = 20_000_000;

/// The warnings that do not depend on any command line.
pub(crate) fn warnings(rules: &Rules) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    matches_empty(rules, &mut warnings);
    case_variants(rules, &mut warnings);
    subsumed(rules, &mut warnings);
    expensive(rules, &mut warnings);
    foreign_syntax(rules, &mut warnings);
    shared_images(rules, &mut warnings);
    warnings
}

fn matches_empty(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    for rule in rules.rules().iter().filter(|r| r.matches_empty()) {
        warnings.push(rule.warning(
            "matches the empty string, and therefore every process".into(),
            "require at least one character: replace `*` by `+`, or add required text".into(),
        ));
    }
}

/// A linear rule with more operations per byte can be cut short on a long command
/// line.
const MAX_WEIGHT: u64 = 1 << 15;
/// Length of the texts on which backtracking rules are tried.
const PROBE_LEN: usize = 300;
/// More steps for such a text, and its cube, are more than nested repeats of
/// limited depth need.
const MAX_PROBE_STEPS: u64 = 1_000_000;
/// Steps to try all rules; a fifth of a second.
const MAX_PROBE_STEPS_TOTAL: u64 = 20_000_000;

/// Rules that can exceed their limits on command lines of ordinary length.
fn expensive(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    let mut steps_left = MAX_PROBE_STEPS_TOTAL;
    for rule in rules.rules() {
        let [ascii, unicode] = rule.compiled().weights();
        if !rule.is_linear() {
            if let Some(unit) = slow_repetition(rule, &mut steps_left) {
                let unit = char::from(unit);
                warnings.push(rule.warning(
                    format!(
                        "expensive: takes more than {MAX_PROBE_STEPS} steps on a command line \
                         with {PROBE_LEN} times `{unit}`, and is then treated as not matching"
                    ),
                    "split nested repeats, or replace a look-around by two rules".into(),
                ));
            }
        } else if ascii > MAX_WEIGHT {
            warnings.push(rule.warning(
                format!(
                    "expensive: takes up to {ascii} operations per byte, and can be treated as \
                     not matching a long command line"
                ),
                "repeat less, or write `*` or `+` without an upper bound".into(),
            ));
        } else if unicode > MAX_WEIGHT {
            warnings.push(rule.warning(
                format!(
                    "expensive: takes up to {unicode} operations per byte beyond ASCII, and can \
                     be treated as not matching a long command line"
                ),
                "repeat `\\w`, `\\d` and the like less, or write `(?a)` at the start, with which \
                 they match ASCII only"
                    .into(),
            ));
        }
    }
}

/// A character whose repetition makes a backtracking rule exceed its limit.
fn slow_repetition(rule: &Rule, steps_left: &mut u64) -> Option<u8> {
    // Characters of the pattern itself, and others that classes often contain.
    let mut units: Vec<u8> = Vec::new();
    let written = rule.pattern().iter().copied().filter(u8::is_ascii_alphanumeric).take(50);
    for unit in written.chain(*b"a1 /") {
        if units.len() < 12 && !units.contains(&unit) {
            units.push(unit);
        }
    }
    units.into_iter().find(|&unit| {
        let mut text = vec![unit; PROBE_LEN];
        text.push(b'!');
        let granted = MAX_PROBE_STEPS.min(*steps_left);
        let mut steps = granted;
        let is_slow = rule.compiled().exceeds_steps(&text, &mut steps);
        *steps_left -= granted - steps;
        is_slow && granted == MAX_PROBE_STEPS
    })
}

fn case_variants(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    let mut first_by_key: HashMap<String, usize> = HashMap::new();
    for (index, image) in rules.images().iter().enumerate() {
        let key = image.as_str().to_ascii_lowercase().replace('-', "_");
        let first = *first_by_key.entry(key).or_insert(index);
        let Some(other) = rules.images().get(first).filter(|_| first != index) else { continue };
        let rule_of = |image: usize| rules.rules().iter().find(|r| r.image() == image);
        if let (Some(rule), Some(first)) = (rule_of(index), rule_of(first)) {
            let difference = if other.as_str().eq_ignore_ascii_case(image.as_str()) {
                "case"
            } else {
                "case, `-` or `_`"
            };
            let location = match (first.path(), first.line()) {
                (Some(path), Some(line)) if !first.is_of_same_file(rule) => {
                    format!(" in {}", place(path, line))
                }
                _ => String::new(),
            };
            let message =
                format!("image name differs only in {difference} from `{other}`{location}");
            let help = format!("use `{other}` if the same image is meant");
            warnings.push(rule.warn_at_name(image.as_str(), message, help));
        }
    }
}

/// Images that several files define: their authors may not know of each other.
fn shared_images(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    let mut first_rules: Vec<Option<&Rule>> = rules.images().iter().map(|_| None).collect();
    let mut previous: Option<&Rule> = None;
    for rule in rules.rules() {
        let Some(first) = first_rules.get_mut(rule.image()) else { continue };
        let first = *first.get_or_insert(rule);
        let is_reported =
            previous.is_some_and(|p| p.image() == rule.image() && p.is_of_same_file(rule));
        previous = Some(rule);
        let place = first.path().zip(first.line()).map(|(path, line)| place(path, line));
        let Some(place) = place.filter(|_| !is_reported && !first.is_of_same_file(rule)) else {
            continue;
        };
        let image = rules.images().get(rule.image()).map_or("", |image| image.as_str());
        let message = format!("image `{image}` is also defined in {place}");
        let help = "use another name if not all these processes belong together";
        let note = rule.warn_at_name(image, message, help.into());
        warnings.push(Diagnostic { severity: Severity::Note, ..note });
    }
}

fn subsumed(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    let mut rules_by_image: HashMap<(usize, Field), Vec<&Rule>> = HashMap::new();
    for rule in rules.rules() {
        rules_by_image.entry((rule.image(), rule.field())).or_default().push(rule);
    }
    for rules in rules_by_image.values().filter(|rules| rules.len() > 1) {
        let sketches: Vec<Option<LiteralSketch>> =
            rules.iter().map(|rule| LiteralSketch::new(rule.pattern())).collect();
        let characters: usize = sketches.iter().flatten().map(LiteralSketch::len).sum();
        let is_compared = characters.saturating_mul(rules.len()) <= MAX_COMPARED;
        let contains = |wide: usize, narrow: usize| {
            let sketch = |index: usize| sketches.get(index).and_then(Option::as_ref);
            let both = sketch(wide).zip(sketch(narrow));
            both.is_some_and(|(wide, narrow)| wide.contains(narrow))
        };
        let mut first_by_pattern: HashMap<&[u8], usize> = HashMap::new();
        for (index, rule) in rules.iter().enumerate() {
            let same = first_by_pattern.get(rule.pattern()).copied();
            let wider = || {
                (0..rules.len()).filter(|_| is_compared).find(|&wide| {
                    // If two rules match the same, only the later is reported.
                    wide != index
                        && contains(wide, index)
                        && (wide < index || !contains(index, wide))
                })
            };
            // A wider rule can make another name.
            let other = match rule.template() {
                Some(_) => same,
                None => same.or_else(wider),
            };
            let other = other.and_then(|other| rules.get(other));
            if let Some(other) = other {
                let location = match (other.path(), other.line()) {
                    (Some(path), Some(line)) if !other.is_of_same_file(rule) => {
                        format!(" in {}", place(path, line))
                    }
                    (_, line) => line.map_or(String::new(), |line| format!(" in line {line}")),
                };
                let message =
                    format!("redundant: the rule{location} matches everything this one does");
                warnings.push(rule.warning(message, "remove this line".into()));
            }
            first_by_pattern.entry(rule.pattern()).or_insert(index);
        }
    }
}

/// Rules that were written for another tool: they are valid here, but match
/// something else.
fn foreign_syntax(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    for rule in rules.rules() {
        if let Some((message, help)) = foreign(rule.pattern()) {
            warnings.push(rule.warning(message, help));
        }
    }
}

/// The message and help for a pattern with syntax of another tool.
fn foreign(pattern: &[u8]) -> Option<(String, String)> {
    for (quote, name) in [(b'"', "quotes"), (b'\'', "quotes"), (b'`', "backquotes")] {
        let inner = enclosed(pattern, quote, quote).filter(|inner| !inner.contains(&quote));
        if let Some(inner) = inner {
            return Some((
                format!("the {name} are part of the regex, and command lines have none"),
                format!("write it without: `{}`", escaped(inner)),
            ));
        }
    }
    let is_path_only = |inner: &[u8]| {
        inner.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_'))
    };
    if let Some(inner) = enclosed(pattern, b'/', b'/')
        // `/opt/app/` is a directory.
        .filter(|inner| !inner.contains(&b'/') && !(is_path_only(inner)))
    {
        return Some((
            "the slashes at both ends are part of the regex".into(),
            format!("write it without: `{}`", escaped(inner)),
        ));
    }
    if let Some(rest) = pattern.strip_prefix(b"- ").filter(|rest| !rest.is_empty()) {
        return Some((
            "the regex starts with `- `, as an entry of a YAML list does".into(),
            format!("write `{}`, or `[-] …` if it is meant", escaped(rest.trim_ascii())),
        ));
    }
    if let Some(parts) = quoted_list(pattern) {
        return Some((
            "a list is a set of single characters".into(),
            format!("write `{}`, or one rule for each", escaped(&parts.join(&b'|'))),
        ));
    }
    if let Some(class) = posix_class(pattern) {
        return Some((
            format!("`[:{class}:]` is a set of the characters of its name and `:`"),
            format!("write {}", posix_replacement(&class)),
        ));
    }
    let comment = pattern.windows(2).position(|w| w[0].is_ascii_whitespace() && w[1] == b'#');
    if let Some(at) = comment {
        let before = pattern.get(..at).unwrap_or_default().trim_ascii_end();
        // `[ #]`, and flags with which it is a comment.
        let in_class =
            before.iter().rposition(|b| *b == b'[') > before.iter().rposition(|b| *b == b']');
        let is_comment = pattern.get(at + 2).is_none_or(u8::is_ascii_whitespace);
        if is_comment && !in_class && !pattern.starts_with(b"(?") && !before.is_empty() {
            return Some((
                "a `#` after a regex is part of it, not a comment".into(),
                format!(
                    "write the comment on a line of its own, and here `{}`; or `[#]` if it is meant",
                    escaped(before)
                ),
            ));
        }
    }
    None
}

/// The text between two delimiters at its ends.
fn enclosed(text: &[u8], first: u8, last: u8) -> Option<&[u8]> {
    text.strip_prefix(&[first])?.strip_suffix(&[last]).filter(|inner| !inner.is_empty())
}

/// The parts of a list of quoted texts in brackets.
fn quoted_list(pattern: &[u8]) -> Option<Vec<&[u8]>> {
    let parts = enclosed(pattern, b'[', b']')?.split(|b| *b == b',');
    parts
        .map(|part| {
            let part = part.trim_ascii();
            enclosed(part, b'"', b'"').or_else(|| enclosed(part, b'\'', b'\''))
        })
        .collect()
}

/// The name of a class of POSIX in a set, as in `[[:space:]]`.
fn posix_class(pattern: &[u8]) -> Option<String> {
    let start = pattern.windows(2).position(|pair| pair == b"[:")?;
    let rest = pattern.get(start + 2..)?;
    let len = rest.iter().position(|b| !b.is_ascii_lowercase())?;
    let is_class = len > 0 && rest.get(len..)?.starts_with(b":]");
    is_class.then(|| escaped(rest.get(..len).unwrap_or_default()))
}

fn posix_replacement(class: &str) -> String {
    let replacement = match class {
        "space" | "blank" => r"\s",
        "digit" => r"\d",
        "alnum" => "a-zA-Z0-9",
        "alpha" => "a-zA-Z",
        "upper" => "A-Z",
        "lower" => "a-z",
        "xdigit" => "0-9a-fA-F",
        "word" => r"\w",
        "punct" => "!-/:-@[-`{-~",
        _ => return "the characters".to_owned(),
    };
    format!("`{replacement}` in its place: `[{replacement}]`")
}

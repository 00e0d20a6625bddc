//! Warnings about rules that are valid but probably mistakes.

use std::collections::HashMap;

use crate::diagnostic::Diagnostic;
use crate::python::LiteralSketch;
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

fn case_variants(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    let mut first_by_key: HashMap<String, usize> = HashMap::new();
    for (index, image) in rules.images().iter().enumerate() {
        let key = image.as_str().to_ascii_lowercase().replace('-', "_");
        let first = *first_by_key.entry(key).or_insert(index);
        let Some(other) = rules.images().get(first).filter(|_| first != index) else { continue };
        if let Some(rule) = rules.rules().iter().find(|r| r.image() == index) {
            let difference = if other.as_str().eq_ignore_ascii_case(image.as_str()) {
                "case"
            } else {
                "case, `-` or `_`"
            };
            let message = format!("image name differs only in {difference} from `{other}`");
            let help = format!("use `{other}` if the same image is meant");
            warnings.push(rule.warn_at_name(image.as_str(), message, help));
        }
    }
}

fn subsumed(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    let mut rules_by_image: Vec<Vec<&Rule>> = rules.images().iter().map(|_| Vec::new()).collect();
    for rule in rules.rules() {
        if let Some(rules) = rules_by_image.get_mut(rule.image()) {
            rules.push(rule);
        }
    }
    for rules in rules_by_image.iter().filter(|rules| rules.len() > 1) {
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
            let other = same.or_else(wider).and_then(|other| rules.get(other));
            if let Some(other) = other {
                let location = other.line().map_or(String::new(), |l| format!(" in line {l}"));
                let message =
                    format!("redundant: the rule{location} matches everything this one does");
                warnings.push(rule.warning(message, "remove this line".into()));
            }
            first_by_pattern.entry(rule.pattern()).or_insert(index);
        }
    }
}

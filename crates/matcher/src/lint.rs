//! What is legal in a conf and likely not what was meant.

use std::collections::HashMap;

use crate::diagnostic::Diagnostic;
use crate::python::LiteralSketch;
use crate::rules::{Rule, Rules};

/// An image with more rules times characters than this is not searched for
/// rules that contain others.
const MAX_COMPARED: usize = 20_000_000;

/// The warnings about rules that can be given without knowing a command line.
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
            "this matches the empty string, and so every process".into(),
            "require at least one character: `+` for `*`, or name what must be there".into(),
        ));
    }
}

fn case_variants(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    let mut first: HashMap<String, usize> = HashMap::new();
    for (number, image) in rules.images().iter().enumerate() {
        let plain = image.as_str().to_ascii_lowercase().replace('-', "_");
        let earlier = *first.entry(plain).or_insert(number);
        let Some(before) = rules.images().get(earlier).filter(|_| earlier != number) else {
            continue;
        };
        if let Some(rule) = rules.rules().iter().find(|r| r.image() == number) {
            let message = format!("the image `{image}` is written `{before}` elsewhere");
            let remedy = format!("write `{before}` if the two are one; else they are two images");
            warnings.push(rule.warn_at_name(image.as_str(), message, remedy));
        }
    }
}

fn subsumed(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    let mut images: Vec<Vec<&Rule>> = rules.images().iter().map(|_| Vec::new()).collect();
    for rule in rules.rules() {
        if let Some(of_image) = images.get_mut(rule.image()) {
            of_image.push(rule);
        }
    }
    for of_image in images.iter().filter(|of_image| of_image.len() > 1) {
        let outlines: Vec<Option<LiteralSketch>> =
            of_image.iter().map(|rule| LiteralSketch::new(rule.pattern())).collect();
        let all: usize = outlines.iter().flatten().map(LiteralSketch::len).sum();
        let is_compared = all.saturating_mul(of_image.len()) <= MAX_COMPARED;
        let contains = |wide: usize, narrow: usize| {
            let outline = |number: usize| outlines.get(number).and_then(Option::as_ref);
            let both = outline(wide).zip(outline(narrow));
            both.is_some_and(|(wide, narrow)| wide.contains(narrow))
        };
        let mut seen: HashMap<&[u8], usize> = HashMap::new();
        for (number, rule) in of_image.iter().enumerate() {
            let same = seen.get(rule.pattern()).copied();
            let wider = || {
                (0..of_image.len()).filter(|_| is_compared).find(|&wide| {
                    // Of two ways to write one thing only the later is told.
                    wide != number
                        && contains(wide, number)
                        && (wide < number || !contains(number, wide))
                })
            };
            let other = same.or_else(wider).and_then(|other| of_image.get(other));
            if let Some(other) = other {
                let place = other.line().map_or(String::new(), |l| format!(" in line {l}"));
                let message = format!("whatever this matches, the rule{place} matches too");
                warnings.push(rule.warning(message, "remove this line".into()));
            }
            seen.entry(rule.pattern()).or_insert(number);
        }
    }
}

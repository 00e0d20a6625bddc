//! What is legal in a conf and likely not what was meant.

use std::collections::HashMap;

use crate::diagnostic::Diagnostic;
use crate::rules::{Rule, Rules};

/// An image with more rules than this is not searched for rules that contain
/// others: that takes time by the square.
const MAX_COMPARED: usize = 1_000;

/// The warnings about rules that can be given without knowing a command line.
pub(crate) fn warnings(rules: &Rules) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    empty(rules, &mut warnings);
    spellings(rules, &mut warnings);
    contained(rules, &mut warnings);
    warnings
}

fn empty(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    for rule in rules.rules().iter().filter(|r| r.matches_empty()) {
        warnings.push(rule.warning(
            "this matches the empty string, and so every process".into(),
            "require at least one character: `+` for `*`, or name what must be there".into(),
        ));
    }
}

fn spellings(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
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
            warnings.push(rule.warning_at_name(image.as_str(), message, remedy));
        }
    }
}

fn contained(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    let mut images: Vec<Vec<&Rule>> = rules.images().iter().map(|_| Vec::new()).collect();
    for rule in rules.rules() {
        if let Some(of_image) = images.get_mut(rule.image()) {
            of_image.push(rule);
        }
    }
    for of_image in images {
        let mut seen: HashMap<&[u8], &Rule> = HashMap::new();
        for &rule in &of_image {
            let same = seen.get(rule.source()).copied();
            let wider = || {
                let few = of_image.len() <= MAX_COMPARED;
                of_image.iter().copied().find(|wide| few && contains(wide, rule))
            };
            if let Some(other) = same.or_else(wider) {
                let place = other.line().map_or(String::new(), |l| format!(" in line {l}"));
                let message = format!("whatever this matches, the rule{place} matches too");
                warnings.push(rule.warning(message, "remove this line".into()));
            }
            seen.entry(rule.source()).or_insert(rule);
        }
    }
}

/// Whether `wide` is a plain text that every match of `narrow` has in it.
fn contains(wide: &Rule, narrow: &Rule) -> bool {
    let (wide_text, narrow_text) = (wide.literal(), narrow.literal());
    wide.source() != narrow.source()
        && wide_text.whole
        && wide_text.exact
        && narrow_text.exact
        && narrow_text.bytes.len() >= wide_text.bytes.len()
        && narrow_text.bytes.windows(wide_text.bytes.len()).any(|w| w == wide_text.bytes)
        // Of two ways to write one text only the later is told.
        && !(contains_whole(narrow, wide) && narrow.line() < wide.line())
}

/// Whether both are the same plain text.
fn contains_whole(a: &Rule, b: &Rule) -> bool {
    let (a, b) = (a.literal(), b.literal());
    a.whole && b.whole && a.exact && b.exact && a.bytes == b.bytes
}

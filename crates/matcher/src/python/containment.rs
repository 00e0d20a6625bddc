//! The literals that a pattern requires, to find patterns that match everything
//! another pattern matches.

use super::analysis::always_matches;
use super::ast::Node;
use super::literals::{Letter, required_runs};
use super::parse::parse;

/// The literals that each alternative of a pattern requires.
#[derive(Debug)]
pub(crate) struct LiteralSketch(Vec<Alternative>);

#[derive(Debug, Default)]
struct Alternative {
    /// Runs of characters that each match contains.
    runs: Vec<Vec<Letter>>,
    /// The run, if it is the only requirement.
    literal: Option<Vec<Letter>>,
}

impl LiteralSketch {
    /// `None` if the pattern is invalid.
    pub(crate) fn new(pattern: &[u8]) -> Option<Self> {
        let alternatives = match parse(pattern).ok()?.node {
            Node::Alternation(nodes) => nodes.iter().map(Alternative::new).collect(),
            node => vec![Alternative::new(&node)],
        };
        Some(Self(alternatives))
    }

    /// The number of characters to compare.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().flat_map(|a| &a.runs).map(Vec::len).sum()
    }

    /// Whether this pattern matches every text that the other one matches: each
    /// alternative of `other` requires a literal of this pattern. `false` if it
    /// is unknown.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        let literals: Vec<&[Letter]> = self.0.iter().filter_map(|a| a.literal.as_deref()).collect();
        let is_contained = |narrow: &Alternative| {
            literals.iter().any(|wide| narrow.runs.iter().any(|run| has(run, wide)))
        };
        other.0.iter().all(is_contained)
    }
}

impl Alternative {
    fn new(node: &Node) -> Self {
        Self { runs: required_runs(node), literal: literal(node) }
    }
}

/// Whether each text that a run matches contains a text that `wide` matches.
fn has(run: &[Letter], wide: &[Letter]) -> bool {
    let is_in = |narrow: &Letter, wide: &Letter| {
        let same = narrow.character == wide.character;
        let lower = u8::try_from(narrow.character).map(|b| u32::from(b.to_ascii_lowercase()));
        if wide.folded { lower == Ok(wide.character) } else { same && !narrow.folded }
    };
    run.windows(wide.len()).any(|window| window.iter().zip(wide).all(|(n, w)| is_in(n, w)))
}

/// The characters of a pattern without other requirements. Items at its ends
/// that can be empty (`.*`) require nothing.
fn literal(node: &Node) -> Option<Vec<Letter>> {
    let nodes = match node {
        Node::Concat(nodes) => nodes.as_slice(),
        node => std::slice::from_ref(node),
    };
    let start = nodes.iter().position(|n| !always_matches(n))?;
    let end = nodes.iter().rposition(|n| !always_matches(n))?;
    let mut run = Vec::new();
    if !nodes.get(start..=end)?.iter().all(|node| letters(node, &mut run)) {
        return None;
    }
    // A final space could match the trailing space, which is not part of the
    // other rule's match.
    let is_space = |letter: &Letter| (9..=32).contains(&letter.character);
    run.last().is_some_and(|last| !is_space(last)).then_some(run)
}

/// Adds the characters of a node; returns whether it consists of characters.
fn letters(node: &Node, run: &mut Vec<Letter>) -> bool {
    match node {
        Node::Leaf(_) => {
            let letter = Letter::new(node);
            run.extend(letter);
            letter.is_some()
        }
        Node::Concat(nodes) => nodes.iter().all(|n| letters(n, run)),
        // A group with flags.
        Node::Alternation(nodes) if nodes.len() == 1 => nodes.iter().all(|n| letters(n, run)),
        Node::Group { node, .. } | Node::Atomic(node) => letters(node, run),
        Node::Empty => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Rules;

    fn pattern() -> impl Strategy<Value = String> {
        let pieces = vec![
            "a", "b", "ab", "A", " ", ".*", "a?", "(?:a|b)", "(a)", "^", "$", "b+", r"\b",
            "(?i:a)", "(?:ab)*", "(?!a)", "(?=b)", "(?>b)", r"\s", "é", r"\udcc3", "[^a]",
            "(?:ab)++",
        ];
        let parts = prop::collection::vec(prop::sample::select(pieces), 1..4);
        let alternatives = prop::collection::vec(parts.prop_map(|p| p.concat()), 1..3);
        let flags = prop::sample::select(vec!["", "", "(?i)"]);
        (flags, alternatives).prop_map(|(flags, a)| format!("{flags}{}", a.join("|")))
    }

    proptest! {
        #[test]
        fn contained_patterns_never_match_more(
            wide in pattern(),
            narrow in pattern(),
            texts in prop::collection::vec("[abA é]{1,6}", 8),
        ) {
            let sketch = |pattern: &str| LiteralSketch::new(pattern.as_bytes()).unwrap();
            if sketch(&wide).contains(&sketch(&narrow)) {
                let mut rules = Rules::default();
                for pattern in [&wide, &narrow] {
                    rules.push("image".parse().unwrap(), pattern).unwrap();
                }
                let matches =
                    |rule: usize, text: &str| rules.rules()[rule].find(text.as_bytes()).unwrap();
                for text in texts {
                    let is_contained = matches(0, &text).is_some() || matches(1, &text).is_none();
                    prop_assert!(is_contained, "{} and {} on {}", wide, narrow, text);
                }
            }
        }
    }

    #[track_caller]
    fn check(wide: &str, narrow: &str, contains: bool) {
        let sketch = |pattern: &str| LiteralSketch::new(pattern.as_bytes()).unwrap();
        assert_eq!(sketch(wide).contains(&sketch(narrow)), contains, "{wide} and {narrow}");
    }

    #[test]
    fn literal_contains_patterns_that_require_it() {
        for narrow in ["lrh", "lrh.*finland/", "finland/.*lrh", r"^\S+/(lrh)\b", "(?:xlrhx)+"] {
            check("lrh", narrow, true);
            check(".*lrh.*", narrow, true);
            check("x?(l)rh(?:y|z)*", narrow, true);
        }
        for narrow in
            ["lr", "(?:lrh)?", "lrh|x", "lr.h", "l(?:rh)+", "(?!lrh)", "(?i)lrh", "(?=lrh)"]
        {
            check("lrh", narrow, false);
        }
        for wide in ["^lrh", "lrh$", "lrh.", "lrh ", "lr+h", r"\blrh", "(?=a)lrh"] {
            check(wide, "lrh lrh", false);
        }
    }

    #[test]
    fn every_alternative_must_be_contained() {
        check("nginx|httpd", "httpd -k|/nginx: ", true);
        check("nginx|httpd", "httpd -k|apache", false);
        check("^nginx|httpd", "httpd", true);
        check("^nginx|httpd", "nginx", false);
        check("a", "ab|ac", true);
    }

    #[test]
    fn case_and_characters() {
        check("(?i)nginx", "NGINX: ", false);
        // The letters s and k have case variants beyond ASCII.
        check("(?i)java", "x(?i:JaVa)", true);
        check("(?i)java", "JAVA", true);
        check("java", "(?i)java", false);
        check("(?i:j)ava", "JAVA", false);
        check("(?i:j)ava", "xJava", true);
        check("é", "caf(é|É)", false);
        check("é", "café", true);
        // A byte that is not UTF-8 is not part of a character.
        check(r"\udcc3", "é", false);
    }
}

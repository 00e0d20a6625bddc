//! What a pattern surely asks for, to compare two patterns by.

use super::analysis::{character_of, is_empty_anywhere};
use super::ast::{Kind, Node};
use super::parse::parse;

/// What a pattern's alternatives ask for.
#[derive(Debug)]
pub(crate) struct LiteralSketch(Vec<Alternative>);

/// A character, or an ASCII letter (in lower case) in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Letter {
    character: u32,
    folded: bool,
}

#[derive(Debug, Default)]
struct Alternative {
    /// Runs of characters that each match has.
    runs: Vec<Vec<Letter>>,
    /// The one run that is all that it asks for.
    plain: Option<Vec<Letter>>,
}

impl LiteralSketch {
    /// `None` where it is no pattern.
    pub(crate) fn new(source: &[u8]) -> Option<Self> {
        let alternatives = match parse(source).ok()?.node {
            Node::Alternation(nodes) => nodes.iter().map(Alternative::new).collect(),
            node => vec![Alternative::new(&node)],
        };
        Some(Self(alternatives))
    }

    /// How much there is to compare.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().flat_map(|a| &a.runs).map(Vec::len).sum()
    }

    /// Whether this matches whatever the other one matches: each of that one's
    /// alternatives has the plain text of one of these in it. `false` where it
    /// cannot be told.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        let plain: Vec<&[Letter]> = self.0.iter().filter_map(|a| a.plain.as_deref()).collect();
        other
            .0
            .iter()
            .all(|narrow| plain.iter().any(|wide| narrow.runs.iter().any(|run| has(run, wide))))
    }
}

impl Alternative {
    fn new(node: &Node) -> Self {
        let mut finder = Finder::default();
        finder.node(node);
        finder.end();
        Self { runs: finder.runs, plain: is_literal(node) }
    }
}

/// Whether each text of a run has a text of `wide` in it.
fn has(run: &[Letter], wide: &[Letter]) -> bool {
    let is_in = |narrow: &Letter, wide: &Letter| {
        let same = narrow.character == wide.character;
        let lower = u8::try_from(narrow.character).map(|b| u32::from(b.to_ascii_lowercase()));
        if wide.folded { lower == Ok(wide.character) } else { same && !narrow.folded }
    };
    run.windows(wide.len()).any(|window| window.iter().zip(wide).all(|(n, w)| is_in(n, w)))
}

/// The characters of a pattern that asks for nothing else. What may be nothing
/// at its ends (`.*`) asks for nothing.
fn is_literal(node: &Node) -> Option<Vec<Letter>> {
    let nodes = match node {
        Node::Concat(nodes) => nodes.as_slice(),
        node => std::slice::from_ref(node),
    };
    let start = nodes.iter().position(|n| !is_empty_anywhere(n))?;
    let end = nodes.iter().rposition(|n| !is_empty_anywhere(n))?;
    let mut run = Vec::new();
    if !nodes.get(start..=end)?.iter().all(|node| letters(node, &mut run)) {
        return None;
    }
    // The closing space may be what its match ends in, and be none of the
    // other's.
    let is_space = |letter: &Letter| (9..=32).contains(&letter.character);
    run.last().is_some_and(|last| !is_space(last)).then_some(run)
}

/// Adds the characters of a node; tells whether it is nothing else.
fn letters(node: &Node, run: &mut Vec<Letter>) -> bool {
    match node {
        Node::Leaf(_) => {
            let letter = letter(node);
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

fn letter(node: &Node) -> Option<Letter> {
    let Node::Leaf(leaf) = node else { return None };
    character_of(leaf.set.ranges()).map(|(character, folded)| Letter { character, folded })
}

#[derive(Default)]
struct Finder {
    run: Vec<Letter>,
    runs: Vec<Vec<Letter>>,
}

impl Finder {
    fn node(&mut self, node: &Node) {
        match node {
            Node::Leaf(_) => match letter(node) {
                Some(letter) => self.run.push(letter),
                None => self.end(),
            },
            Node::Concat(nodes) => nodes.iter().for_each(|n| self.node(n)),
            // A group with flags.
            Node::Alternation(nodes) if nodes.len() == 1 => {
                nodes.iter().for_each(|n| self.node(n));
            }
            Node::Group { node, .. } | Node::Atomic(node) => self.node(node),
            Node::Repeat { node, min: 1.., kind, .. } if *kind != Kind::Possessive => {
                // It is there once at least; what is beside it need not be
                // beside each of its turns.
                self.end();
                self.node(node);
                self.end();
            }
            Node::Assert(_) | Node::Empty => {}
            _ => self.end(),
        }
    }

    fn end(&mut self) {
        if !self.run.is_empty() {
            self.runs.push(std::mem::take(&mut self.run));
        }
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
        fn never_wrongly(
            wide in pattern(),
            narrow in pattern(),
            texts in prop::collection::vec("[abA é]{1,6}", 8),
        ) {
            let outline = |source: &str| LiteralSketch::new(source.as_bytes()).unwrap();
            if outline(&wide).contains(&outline(&narrow)) {
                let mut rules = Rules::default();
                for pattern in [&wide, &narrow] {
                    rules.push("image".parse().unwrap(), pattern).unwrap();
                }
                let finds = |rule: usize, text: &str| rules.rules()[rule].find(text.as_bytes());
                for text in texts {
                    let both = (finds(0, &text).unwrap(), finds(1, &text).unwrap());
                    let fine = both.0.is_some() || both.1.is_none();
                    prop_assert!(fine, "{} and {} on {}", wide, narrow, text);
                }
            }
        }
    }

    #[track_caller]
    fn check(wide: &str, narrow: &str, contains: bool) {
        let outline = |source: &str| LiteralSketch::new(source.as_bytes()).unwrap();
        assert_eq!(outline(wide).contains(&outline(narrow)), contains, "{wide} and {narrow}");
    }

    #[test]
    fn a_plain_text_contains_what_has_it() {
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
    fn each_alternative_has_to_be_contained() {
        check("nginx|httpd", "httpd -k|/nginx: ", true);
        check("nginx|httpd", "httpd -k|apache", false);
        check("^nginx|httpd", "httpd", true);
        check("^nginx|httpd", "nginx", false);
        check("a", "ab|ac", true);
    }

    #[test]
    fn case_and_characters() {
        check("(?i)nginx", "NGINX: ", false);
        // The letters s and k have relatives beyond ASCII.
        check("(?i)java", "x(?i:JaVa)", true);
        check("(?i)java", "JAVA", true);
        check("java", "(?i)java", false);
        check("(?i:j)ava", "JAVA", false);
        check("(?i:j)ava", "xJava", true);
        check("é", "caf(é|É)", false);
        check("é", "café", true);
        // A byte that is not UTF-8 is no part of a character.
        check(r"\udcc3", "é", false);
    }
}

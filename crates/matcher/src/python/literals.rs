//! The literal text that every match of a pattern contains.

use super::ast::{Node, RepeatKind};

/// A character, or an ASCII letter (in lower case) in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) character: u32,
    pub(super) folded: bool,
}

impl Letter {
    /// `None` if the node matches other characters too.
    pub(super) fn new(node: &Node) -> Option<Self> {
        let Node::Leaf(leaf) = node else { return None };
        match *leaf.set.ranges() {
            [(a, b)] if a == b => {
                // Other surrogates do not occur in a text.
                let can_occur = char::from_u32(a).is_some() || (0xdc80..=0xdcff).contains(&a);
                can_occur.then_some(Self { character: a, folded: false })
            }
            [(a, b), (c, d)] if a == b && c == d && a + 32 == c && (65..=90).contains(&a) => {
                Some(Self { character: c, folded: true })
            }
            _ => None,
        }
    }

    /// Appends its bytes in a text.
    fn push_bytes(self, bytes: &mut Vec<u8>) {
        match char::from_u32(self.character) {
            Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            None => bytes.push((self.character & 0xff) as u8),
        }
    }
}

/// The longest run of characters that every match contains, except for case, as
/// bytes; empty if there is none.
pub(super) fn longest_literal(node: &Node) -> Vec<u8> {
    let to_bytes = |run: Vec<Letter>| {
        let mut bytes = Vec::new();
        run.into_iter().for_each(|letter| letter.push_bytes(&mut bytes));
        // The text that is searched for literals has no trailing space.
        bytes.truncate(bytes.trim_ascii_end().len());
        bytes
    };
    // `max_by_key` would return the last of several.
    let longer = |a: Vec<u8>, b: Vec<u8>| if b.len() > a.len() { b } else { a };
    required_runs(node).into_iter().map(to_bytes).fold(Vec::new(), longer)
}

/// Runs of characters that every match contains.
pub(super) fn required_runs(node: &Node) -> Vec<Vec<Letter>> {
    let mut finder = RunFinder::default();
    finder.node(node);
    finder.end_run();
    finder.runs
}

#[derive(Default)]
struct RunFinder {
    run: Vec<Letter>,
    runs: Vec<Vec<Letter>>,
}

impl RunFinder {
    fn node(&mut self, node: &Node) {
        match node {
            Node::Leaf(_) => match Letter::new(node) {
                Some(letter) => self.run.push(letter),
                None => self.end_run(),
            },
            Node::Concat(nodes) => nodes.iter().for_each(|n| self.node(n)),
            // A group with flags.
            Node::Alternation(nodes) if nodes.len() == 1 => {
                nodes.iter().for_each(|n| self.node(n));
            }
            Node::Group { node, .. } | Node::Atomic(node) => self.node(node),
            Node::Repeat { node, min: 1.., kind, .. } if *kind != RepeatKind::Possessive => {
                // The repeated item occurs at least once. The text before and
                // after the repeat is not adjacent to each iteration.
                self.end_run();
                self.node(node);
                self.end_run();
            }
            Node::Assert(_) | Node::Empty => {}
            _ => self.end_run(),
        }
    }

    fn end_run(&mut self) {
        if !self.run.is_empty() {
            self.runs.push(std::mem::take(&mut self.run));
        }
    }
}

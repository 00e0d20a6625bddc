//! What can be told of a pattern without a text.

use super::ast::{Assert, Kind, Node};

/// The size of a pattern with its repeats written out, as the linear engine
/// does it; saturating.
pub(super) fn size(node: &Node) -> u64 {
    match node {
        Node::Empty | Node::Leaf(_) | Node::Assert(_) | Node::Backreference { .. } => 1,
        Node::Concat(nodes) | Node::Alternation(nodes) => {
            nodes.iter().map(size).fold(1, u64::saturating_add)
        }
        Node::Repeat { node, min, max, .. } => {
            let times = max.map_or(u64::from(*min) + 1, u64::from);
            size(node).saturating_mul(times.max(1)).saturating_add(1)
        }
        Node::Group { node, .. } | Node::Atomic(node) | Node::Look { node, .. } => {
            size(node).saturating_add(1)
        }
        Node::Conditional { yes, no, .. } => size(yes).saturating_add(size(no)),
    }
}

/// About what the linear engine needs for text beyond ASCII, in bytes, as it
/// was measured: 14 MB for `\w{250}`, 1.3 MB for `\d{250}`, 0.3 MB for
/// `.{250}`; saturating.
pub(super) fn any_memory(node: &Node) -> u64 {
    match node {
        Node::Leaf(leaf) if leaf.set.has_non_ascii() => 1_000 + 80 * leaf.set.ranges().len() as u64,
        Node::Concat(nodes) | Node::Alternation(nodes) => {
            nodes.iter().map(any_memory).fold(0, u64::saturating_add)
        }
        Node::Repeat { node, min, max, .. } => {
            let times = max.map_or(u64::from(*min) + 1, u64::from);
            any_memory(node).saturating_mul(times)
        }
        Node::Group { node, .. } | Node::Atomic(node) | Node::Look { node, .. } => any_memory(node),
        Node::Conditional { yes, no, .. } => any_memory(yes).saturating_add(any_memory(no)),
        Node::Empty | Node::Leaf(_) | Node::Assert(_) | Node::Backreference { .. } => 0,
    }
}

/// Whether a space after the text can make a match that is none without it.
///
/// The last character of such a match is that space, or something looks at
/// it. An end that can be empty needs no space: then the rest matches alone.
pub(super) fn wants_space(node: &Node, linear: bool) -> bool {
    // With look-around and the like an end that can be empty may be forced
    // not to be.
    if linear { end_wants_space(node) || looks(node) } else { true }
}

fn looks(node: &Node) -> bool {
    match node {
        Node::Assert(Assert::Start | Assert::LineStart) | Node::Empty | Node::Leaf(_) => false,
        Node::Concat(nodes) | Node::Alternation(nodes) => nodes.iter().any(looks),
        Node::Repeat { node, .. } | Node::Group { node, .. } => looks(node),
        _ => true,
    }
}

fn end_wants_space(node: &Node) -> bool {
    match node {
        Node::Leaf(leaf) => leaf.set.contains(32),
        Node::Concat(nodes) => {
            nodes.iter().rev().find(|n| !can_be_empty(n)).is_some_and(end_wants_space)
        }
        Node::Alternation(nodes) => nodes.iter().any(end_wants_space),
        Node::Repeat { node, min, .. } => *min > 0 && end_wants_space(node),
        Node::Group { node, .. } => end_wants_space(node),
        _ => false,
    }
}

/// Whether it matches the empty string wherever no assertion forbids it.
pub(super) fn can_be_empty(node: &Node) -> bool {
    match node {
        Node::Leaf(_) => false,
        Node::Concat(nodes) => nodes.iter().all(can_be_empty),
        Node::Alternation(nodes) => nodes.iter().any(can_be_empty),
        Node::Repeat { node, min, .. } => *min == 0 || can_be_empty(node),
        Node::Group { node, .. } | Node::Atomic(node) => can_be_empty(node),
        Node::Conditional { yes, no, .. } => can_be_empty(yes) || can_be_empty(no),
        Node::Empty | Node::Look { .. } | Node::Backreference { .. } | Node::Assert(_) => true,
    }
}

/// Whether it matches the empty string everywhere: no assertion or reference
/// has a part in that.
pub(super) fn is_empty_anywhere(node: &Node) -> bool {
    match node {
        Node::Empty => true,
        Node::Concat(nodes) => nodes.iter().all(is_empty_anywhere),
        Node::Alternation(nodes) => nodes.iter().any(is_empty_anywhere),
        Node::Repeat { node, min, .. } => *min == 0 || is_empty_anywhere(node),
        Node::Group { node, .. } | Node::Atomic(node) => is_empty_anywhere(node),
        Node::Leaf(_)
        | Node::Look { .. }
        | Node::Backreference { .. }
        | Node::Assert(_)
        | Node::Conditional { .. } => false,
    }
}

/// The longest run of characters that every match has, in some case, as bytes;
/// empty where there is none.
pub(super) fn literal(node: &Node) -> Vec<u8> {
    let mut finder = Finder::default();
    finder.node(node);
    finder.end();
    finder.best
}

#[derive(Default)]
struct Finder {
    run: Vec<u8>,
    best: Vec<u8>,
}

impl Finder {
    fn node(&mut self, node: &Node) {
        match node {
            Node::Leaf(leaf) => match character_of(leaf.set.ranges()) {
                Some((c, _)) => {
                    let mut utf8 = [0; 4];
                    match char::from_u32(c) {
                        Some(c) => self.run.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()),
                        None => self.run.push((c & 0xff) as u8),
                    }
                }
                None => self.end(),
            },
            Node::Concat(nodes) => nodes.iter().for_each(|n| self.node(n)),
            Node::Group { node, .. } | Node::Atomic(node) => self.node(node),
            Node::Repeat { node, min: 1.., kind, .. } => {
                // What is repeated is there once at least; what follows it
                // need not follow its first turn.
                self.end();
                if *kind != Kind::Possessive {
                    self.node(node);
                }
                self.end();
            }
            Node::Assert(_) | Node::Empty => {}
            _ => self.end(),
        }
    }

    fn end(&mut self) {
        let trimmed = self.run.trim_ascii_end();
        // The closing space is not in every text that is looked through.
        if trimmed.len() > self.best.len() {
            self.best = trimmed.to_vec();
        }
        self.run.clear();
    }
}

/// The character of a set that has one, or the ASCII letter (in lower case) of
/// one that has both cases of it; and whether it is the latter.
pub(super) fn character_of(ranges: &[(u32, u32)]) -> Option<(u32, bool)> {
    match *ranges {
        [(a, b)] if a == b => {
            // Other surrogates are in no text.
            let may_be = char::from_u32(a).is_some() || (0xdc80..=0xdcff).contains(&a);
            may_be.then_some((a, false))
        }
        [(a, b), (c, d)] if a == b && c == d && a + 32 == c && (65..=90).contains(&a) => {
            Some((c, true))
        }
        _ => None,
    }
}

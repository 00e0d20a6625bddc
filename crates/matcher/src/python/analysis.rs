//! Properties of a pattern that do not depend on a text.

use super::ast::{Assert, Kind, Node};

/// The size of a pattern: its characters and assertions, with repeats written
/// out as the linear engine does; saturating.
pub(super) fn size(node: &Node) -> u64 {
    match node {
        Node::Empty | Node::Leaf(_) | Node::Assert(_) | Node::Backreference { .. } => 1,
        Node::Concat(nodes) | Node::Alternation(nodes) => {
            nodes.iter().map(size).fold(0, u64::saturating_add)
        }
        Node::Repeat { node, min, max, .. } => {
            let times = max.map_or(u64::from(*min) + 1, u64::from);
            // An optional or unbounded repeat of a group has a state of its own,
            // so that nested ones count.
            let is_leaf = matches!(**node, Node::Leaf(_));
            let loop_state = u64::from(!is_leaf && max.is_none_or(|max| max == 1));
            size(node).saturating_mul(times.max(1)).saturating_add(loop_state)
        }
        Node::Group { node, .. } | Node::Atomic(node) | Node::Lookaround { node, .. } => size(node),
        Node::Conditional { yes, no, .. } => size(yes).saturating_add(size(no)),
    }
}

/// Estimated memory of the linear engine for text beyond ASCII, in bytes,
/// derived from measurements: 14 MB for `\w{250}`, 1.3 MB for `\d{250}`, 0.3 MB
/// for `.{250}`; saturating.
pub(super) fn unicode_automaton_size(node: &Node) -> u64 {
    match node {
        Node::Leaf(leaf) if leaf.set.has_non_ascii() => 1_000 + 80 * leaf.set.ranges().len() as u64,
        Node::Concat(nodes) | Node::Alternation(nodes) => {
            nodes.iter().map(unicode_automaton_size).fold(0, u64::saturating_add)
        }
        Node::Repeat { node, min, max, .. } => {
            let times = max.map_or(u64::from(*min) + 1, u64::from);
            unicode_automaton_size(node).saturating_mul(times)
        }
        Node::Group { node, .. } | Node::Atomic(node) | Node::Lookaround { node, .. } => {
            unicode_automaton_size(node)
        }
        Node::Conditional { yes, no, .. } => {
            unicode_automaton_size(yes).saturating_add(unicode_automaton_size(no))
        }
        Node::Empty | Node::Leaf(_) | Node::Assert(_) | Node::Backreference { .. } => 0,
    }
}

/// Whether a space after the text can cause a match of a text that does not
/// match without it.
///
/// The last character of such a match is that space, or an assertion depends on
/// it. If the end of the pattern can be empty, the space is not needed, because
/// the rest of the pattern matches without it.
pub(super) fn may_need_space(node: &Node, is_linear: bool) -> bool {
    // Look-around and similar constructs can prevent an optional end from being
    // empty.
    if is_linear { end_may_need_space(node) || depends_on_next(node) } else { true }
}

/// Whether it has an assertion that can depend on the next character.
fn depends_on_next(node: &Node) -> bool {
    match node {
        Node::Assert(Assert::Start | Assert::LineStart) | Node::Empty | Node::Leaf(_) => false,
        Node::Concat(nodes) | Node::Alternation(nodes) => nodes.iter().any(depends_on_next),
        Node::Repeat { node, .. } | Node::Group { node, .. } => depends_on_next(node),
        _ => true,
    }
}

fn end_may_need_space(node: &Node) -> bool {
    match node {
        Node::Leaf(leaf) => leaf.set.contains(32),
        Node::Concat(nodes) => {
            nodes.iter().rev().find(|n| !can_be_empty(n)).is_some_and(end_may_need_space)
        }
        Node::Alternation(nodes) => nodes.iter().any(end_may_need_space),
        Node::Repeat { node, min, .. } => *min > 0 && end_may_need_space(node),
        Node::Group { node, .. } => end_may_need_space(node),
        _ => false,
    }
}

/// Whether it matches the empty string at every position where its assertions
/// hold.
pub(super) fn can_be_empty(node: &Node) -> bool {
    match node {
        Node::Leaf(_) => false,
        Node::Concat(nodes) => nodes.iter().all(can_be_empty),
        Node::Alternation(nodes) => nodes.iter().any(can_be_empty),
        Node::Repeat { node, min, .. } => *min == 0 || can_be_empty(node),
        Node::Group { node, .. } | Node::Atomic(node) => can_be_empty(node),
        Node::Conditional { yes, no, .. } => can_be_empty(yes) || can_be_empty(no),
        Node::Empty | Node::Lookaround { .. } | Node::Backreference { .. } | Node::Assert(_) => {
            true
        }
    }
}

/// Whether it matches the empty string at every position, without a dependency
/// on an assertion or reference.
pub(super) fn always_matches(node: &Node) -> bool {
    match node {
        Node::Empty => true,
        Node::Concat(nodes) => nodes.iter().all(always_matches),
        Node::Alternation(nodes) => nodes.iter().any(always_matches),
        Node::Repeat { node, min, .. } => *min == 0 || always_matches(node),
        Node::Group { node, .. } | Node::Atomic(node) => always_matches(node),
        Node::Leaf(_)
        | Node::Lookaround { .. }
        | Node::Backreference { .. }
        | Node::Assert(_)
        | Node::Conditional { .. } => false,
    }
}

/// The longest run of characters that every match contains, except for case, as
/// bytes; empty if there is none.
pub(super) fn literal(node: &Node) -> Vec<u8> {
    let mut finder = LiteralFinder::default();
    finder.node(node);
    finder.end_run();
    finder.longest
}

#[derive(Default)]
struct LiteralFinder {
    run: Vec<u8>,
    longest: Vec<u8>,
}

impl LiteralFinder {
    fn node(&mut self, node: &Node) {
        match node {
            Node::Leaf(leaf) => match single_char(leaf.set.ranges()) {
                Some((c, _)) => {
                    let mut utf8 = [0; 4];
                    match char::from_u32(c) {
                        Some(c) => self.run.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()),
                        None => self.run.push((c & 0xff) as u8),
                    }
                }
                None => self.end_run(),
            },
            Node::Concat(nodes) => nodes.iter().for_each(|n| self.node(n)),
            Node::Group { node, .. } | Node::Atomic(node) => self.node(node),
            Node::Repeat { node, min: 1.., kind, .. } => {
                // The repeated item occurs at least once. The text after the
                // repeat need not follow the first iteration.
                self.end_run();
                if *kind != Kind::Possessive {
                    self.node(node);
                }
                self.end_run();
            }
            Node::Assert(_) | Node::Empty => {}
            _ => self.end_run(),
        }
    }

    fn end_run(&mut self) {
        // The text that is searched for literals has no trailing space.
        let trimmed = self.run.trim_ascii_end();
        if trimmed.len() > self.longest.len() {
            self.longest = trimmed.to_vec();
        }
        self.run.clear();
    }
}

/// The character of a set with one character, or the lower-case ASCII letter of
/// a set with both cases of a letter; and whether it is the latter.
pub(super) fn single_char(ranges: &[(u32, u32)]) -> Option<(u32, bool)> {
    match *ranges {
        [(a, b)] if a == b => {
            // Other surrogates do not occur in a text.
            let can_occur = char::from_u32(a).is_some() || (0xdc80..=0xdcff).contains(&a);
            can_occur.then_some((a, false))
        }
        [(a, b), (c, d)] if a == b && c == d && a + 32 == c && (65..=90).contains(&a) => {
            Some((c, true))
        }
        _ => None,
    }
}

//! Properties of a pattern that do not depend on a text.

use super::ast::{Assert, Node};

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

/// An upper bound of the weight of the linear engine's form for ASCII text: its
/// states, and their ranges and alternatives; saturating.
pub(super) fn ascii_weight(node: &Node) -> u64 {
    // A search that is not anchored has states of its own, and so has the whole
    // pattern as a group.
    parts_weight(node).saturating_add(16)
}

fn parts_weight(node: &Node) -> u64 {
    let sum = |nodes: &[Node]| nodes.iter().map(parts_weight).fold(0, u64::saturating_add);
    match node {
        Node::Leaf(leaf) => {
            let ranges = leaf.set.ranges().iter().take_while(|range| range.0 < 128).count();
            if ranges == 1 { 1 } else { 1 + ranges as u64 }
        }
        Node::Concat(nodes) => sum(nodes),
        Node::Alternation(nodes) => sum(nodes).saturating_add(2 + nodes.len() as u64),
        Node::Repeat { node, min, max, .. } => {
            let times = max.map_or(u64::from(*min) + 1, u64::from);
            // Each optional iteration is an alternative.
            let optional = max.map_or(2, |max| u64::from(max - min));
            let iterations = parts_weight(node).saturating_mul(times.max(1));
            iterations.saturating_add(4).saturating_add(3 * optional)
        }
        Node::Group { node, .. } | Node::Atomic(node) | Node::Lookaround { node, .. } => {
            parts_weight(node)
        }
        Node::Conditional { yes, no, .. } => parts_weight(yes).saturating_add(parts_weight(no)),
        // `$` before a newline at the end is a repeat.
        Node::Empty | Node::Assert(_) | Node::Backreference { .. } => 12,
    }
}

/// The weight of the linear engine's form for any text, estimated from its
/// memory: 41 bytes for each operation, for `\w{250}`, `\d{4}` and `.{200}`.
pub(super) fn unicode_weight(node: &Node) -> u64 {
    ascii_weight(node).saturating_add(unicode_automaton_size(node) / 41)
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

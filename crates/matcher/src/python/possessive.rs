//! References to groups that CPython loses.
//!
//! In a possessive repeat, CPython does not restore a group that was set by an
//! alternative that failed, if another alternative of the same iteration
//! matches: `(?:(a)|b)*+c\1` finds `abc`, as if the group had matched nothing.
//! This requires alternatives (or a conditional) in the repeat; other constructs
//! restore groups. A reference to a group of such a repeat is therefore reliable
//! only if the group matched in the same iteration; any other is rejected.

use super::ast::{Node, RepeatKind};

/// A group in one of these repeats (first and last group of each) that is
/// referenced although CPython may have lost it.
pub(super) fn find_unreliable_group(
    node: &Node,
    groups: usize,
    repeats: impl Iterator<Item = (usize, usize)>,
) -> Option<usize> {
    Visitor::new(groups, repeats).node(node)
}

/// Why a template cannot have the value of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoValue {
    /// The group is only in parts that never give it a value: a negative look-around, a repeat of
    /// zero times.
    Never,
    /// CPython may lose its match.
    Lost,
}

/// Whether the value of a group is known at the end of a match.
pub(super) fn check_value(
    node: &Node,
    groups: usize,
    repeats: impl Iterator<Item = (usize, usize)>,
    group: usize,
) -> Result<(), NoValue> {
    if !can_have_value(node, group) {
        return Err(NoValue::Never);
    }
    let mut visitor = Visitor::new(groups, repeats);
    visitor.node(node);
    visitor.visit_backref(group).map_or(Ok(()), |_| Err(NoValue::Lost))
}

fn can_have_value(node: &Node, group: usize) -> bool {
    match node {
        Node::Concat(nodes) | Node::Alternation(nodes) => {
            nodes.iter().any(|n| can_have_value(n, group))
        }
        Node::Group { index, node } => *index == group || can_have_value(node, group),
        Node::Repeat { max: Some(0), .. } | Node::Lookaround { negate: true, .. } => false,
        Node::Repeat { node, .. } | Node::Atomic(node) | Node::Lookaround { node, .. } => {
            can_have_value(node, group)
        }
        Node::Conditional { yes, no, .. } => {
            can_have_value(yes, group) || can_have_value(no, group)
        }
        Node::Empty | Node::Leaf(_) | Node::Backreference { .. } | Node::Assert(_) => false,
    }
}

/// Whether a repeat can lose groups: it is possessive, can have more than one
/// iteration, and has alternatives.
pub(super) fn can_lose_groups(node: &Node, max: Option<u32>, kind: RepeatKind) -> bool {
    kind == RepeatKind::Possessive
        && max.is_none_or(|max| max > 1)
        && any(node, &mut has_alternatives)
}

fn has_alternatives(node: &Node) -> bool {
    match node {
        Node::Alternation(nodes) => nodes.len() > 1,
        Node::Conditional { .. } => true,
        _ => false,
    }
}

/// The first and the last group in a node.
pub(super) fn groups_of(node: &Node) -> Option<(usize, usize)> {
    let mut range: Option<(usize, usize)> = None;
    any(node, &mut |node| {
        if let Node::Group { index, .. } = node {
            let (first, last) = range.unwrap_or((*index, *index));
            range = Some((first.min(*index), last.max(*index)));
        }
        false
    });
    range
}

/// Whether the predicate holds for a node or a node in it.
fn any(node: &Node, predicate: &mut dyn FnMut(&Node) -> bool) -> bool {
    if predicate(node) {
        return true;
    }
    match node {
        Node::Concat(nodes) | Node::Alternation(nodes) => nodes.iter().any(|n| any(n, predicate)),
        Node::Group { node, .. }
        | Node::Repeat { node, .. }
        | Node::Atomic(node)
        | Node::Lookaround { node, .. } => any(node, predicate),
        Node::Conditional { yes, no, .. } => any(yes, predicate) || any(no, predicate),
        Node::Empty | Node::Leaf(_) | Node::Backreference { .. } | Node::Assert(_) => false,
    }
}

struct Visitor {
    /// Whether each group is in a repeat that can lose it.
    is_unreliable: Vec<bool>,
    /// Whether each group has certainly matched in this iteration of all
    /// repeats.
    has_matched: Vec<bool>,
    /// The groups that have, in their order.
    matched: Vec<usize>,
}

impl Visitor {
    /// `repeats`: the first and the last group of each repeat that can lose them.
    fn new(groups: usize, repeats: impl Iterator<Item = (usize, usize)>) -> Visitor {
        let mut visitor = Visitor {
            is_unreliable: vec![false; groups],
            has_matched: vec![false; groups],
            matched: vec![],
        };
        for (first, last) in repeats {
            visitor.is_unreliable.get_mut(first..=last).unwrap_or_default().fill(true);
        }
        visitor
    }

    /// Visits nodes in the order of matching; returns the group of the first
    /// unreliable reference.
    fn node(&mut self, node: &Node) -> Option<usize> {
        match node {
            Node::Concat(nodes) => nodes.iter().find_map(|n| self.node(n)),
            // A group with flags is an alternation of one.
            Node::Alternation(nodes) if nodes.len() == 1 => nodes.iter().find_map(|n| self.node(n)),
            // Each group is in one of the alternatives.
            Node::Alternation(nodes) => nodes.iter().find_map(|n| self.visit_optional(n)),
            Node::Group { index, node } => {
                let unreliable = self.node(node);
                if let Some(has_matched) = self.has_matched.get_mut(*index) {
                    *has_matched = true;
                }
                self.matched.push(*index);
                unreliable
            }
            Node::Repeat { node, min, kind, .. } => {
                if *min == 0 || *kind == RepeatKind::Possessive {
                    self.visit_optional(node)
                } else {
                    self.node(node)
                }
            }
            Node::Atomic(node) | Node::Lookaround { node, negate: false, .. } => self.node(node),
            Node::Lookaround { node, .. } => self.visit_optional(node),
            Node::Backreference { group, .. } => self.visit_backref(*group),
            Node::Conditional { group, yes, no } => self
                .visit_backref(*group)
                .or_else(|| self.visit_optional(yes))
                .or_else(|| self.visit_optional(no)),
            Node::Empty | Node::Leaf(_) | Node::Assert(_) => None,
        }
    }

    /// A part whose groups may not have matched.
    fn visit_optional(&mut self, node: &Node) -> Option<usize> {
        let before = self.matched.len();
        let unreliable = self.node(node);
        for group in self.matched.drain(before..) {
            if let Some(has_matched) = self.has_matched.get_mut(group) {
                *has_matched = false;
            }
        }
        unreliable
    }

    fn visit_backref(&self, group: usize) -> Option<usize> {
        let is_set = |flags: &[bool]| flags.get(group).is_some_and(|flag| *flag);
        (is_set(&self.is_unreliable) && !is_set(&self.has_matched)).then_some(group)
    }
}

//! References to what CPython loses.
//!
//! A possessive repeat of CPython does not put back a group that a way of its
//! body set before it led nowhere, where another way of the same turn leads on:
//! `(?:(a)|b)*+c\1` finds `abc`, as though the group had matched nothing. It
//! takes alternatives (or a conditional) in the repeat: what else tries one way and then another
//! puts groups back. So a reference to a group of such a repeat has a sure
//! meaning only where the group was matched in the same turn; any other is
//! refused.

use super::ast::{Kind, Node};

/// A group in one of these repeats (first and last group of each) that
/// something refers to although CPython may have lost it.
pub(super) fn find_unreliable_group(
    node: &Node,
    groups: usize,
    repeats: impl Iterator<Item = (usize, usize)>,
) -> Option<usize> {
    let mut walk = Walk { inside: vec![false; groups], is_set: vec![false; groups], set: vec![] };
    for (first, last) in repeats {
        walk.inside.get_mut(first..=last).unwrap_or_default().fill(true);
    }
    walk.node(node)
}

/// Whether a repeat is one that loses groups: it is possessive, can take more
/// than one turn, and has alternatives.
pub(super) fn can_lose_groups(node: &Node, max: Option<u32>, kind: Kind) -> bool {
    kind == Kind::Possessive && max.is_none_or(|max| max > 1) && any(node, &mut has_alternatives)
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
    let mut found: Option<(usize, usize)> = None;
    any(node, &mut |node| {
        if let Node::Group { index, .. } = node {
            let (first, last) = found.unwrap_or((*index, *index));
            found = Some((first.min(*index), last.max(*index)));
        }
        false
    });
    found
}

/// Whether something holds for a node or one in it.
fn any(node: &Node, is: &mut dyn FnMut(&Node) -> bool) -> bool {
    if is(node) {
        return true;
    }
    match node {
        Node::Concat(nodes) | Node::Alternation(nodes) => nodes.iter().any(|n| any(n, is)),
        Node::Group { node, .. }
        | Node::Repeat { node, .. }
        | Node::Atomic(node)
        | Node::Look { node, .. } => any(node, is),
        Node::Conditional { yes, no, .. } => any(yes, is) || any(no, is),
        Node::Empty | Node::Leaf(_) | Node::Backreference { .. } | Node::Assert(_) => false,
    }
}

struct Walk {
    /// Whether each group is in a repeat that loses it.
    inside: Vec<bool>,
    /// Whether each group has matched for sure, in this turn of all repeats.
    is_set: Vec<bool>,
    /// Those that have, in their order.
    set: Vec<usize>,
}

impl Walk {
    /// In the order of matching, up to a reference that is not sure.
    fn node(&mut self, node: &Node) -> Option<usize> {
        match node {
            Node::Concat(nodes) => nodes.iter().find_map(|n| self.node(n)),
            // A group with flags has one alternative.
            Node::Alternation(nodes) if nodes.len() == 1 => nodes.iter().find_map(|n| self.node(n)),
            // No group is in more than one of them.
            Node::Alternation(nodes) => nodes.iter().find_map(|n| self.visit_optional(n)),
            Node::Group { index, node } => {
                let lost = self.node(node);
                if let Some(is_set) = self.is_set.get_mut(*index) {
                    *is_set = true;
                }
                self.set.push(*index);
                lost
            }
            Node::Repeat { node, min, kind, .. } => {
                if *min == 0 || *kind == Kind::Possessive {
                    self.visit_optional(node)
                } else {
                    self.node(node)
                }
            }
            Node::Atomic(node) | Node::Look { node, negate: false, .. } => self.node(node),
            Node::Look { node, .. } => self.visit_optional(node),
            Node::Backreference { group, .. } => self.visit_backref(*group),
            Node::Conditional { group, yes, no } => self
                .visit_backref(*group)
                .or_else(|| self.visit_optional(yes))
                .or_else(|| self.visit_optional(no)),
            Node::Empty | Node::Leaf(_) | Node::Assert(_) => None,
        }
    }

    /// A part after which it is not known whether its groups have matched.
    fn visit_optional(&mut self, node: &Node) -> Option<usize> {
        let before = self.set.len();
        let lost = self.node(node);
        for group in self.set.drain(before..) {
            if let Some(is_set) = self.is_set.get_mut(group) {
                *is_set = false;
            }
        }
        lost
    }

    fn visit_backref(&self, group: usize) -> Option<usize> {
        let is = |list: &[bool]| list.get(group).is_some_and(|is| *is);
        (is(&self.inside) && !is(&self.is_set)).then_some(group)
    }
}

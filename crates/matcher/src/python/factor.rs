//! What CPython does to a pattern before it matches, where that shows.

use std::collections::HashSet;
use std::sync::Arc;

use super::ast::{Flags, Leaf, Node};
use super::class::{Class, Item};
use super::parse::leaf;

/// CPython takes a common beginning out of alternatives, and makes a class of
/// alternatives that are a character each. With case ignored the class can
/// match what none of its characters alone would.
pub(super) fn join_alternatives(mut nodes: Vec<Node>, flags: Flags) -> Node {
    if nodes.len() == 1 {
        return nodes.pop().unwrap_or(Node::Empty);
    }
    let mut prefix: Vec<Node> = Vec::new();
    while let Some(first) = nodes.first().and_then(|n| item(n, prefix.len())) {
        let index = prefix.len();
        if !nodes.iter().all(|n| item(n, index).is_some_and(|other| is_same(other, first))) {
            break;
        }
        prefix.push(first.clone());
    }
    for node in &mut nodes {
        drop_items(node, prefix.len());
    }
    let mut items: Vec<Item> = Vec::new();
    let single = nodes.iter().all(|n| match n {
        Node::Leaf(leaf) if !leaf.class.negate => {
            items.extend(&leaf.class.items);
            true
        }
        _ => false,
    });
    let rest = if single {
        leaf(Class { items: unique(items), negate: false }, flags)
    } else {
        Node::Alternation(nodes)
    };
    if prefix.is_empty() {
        return rest;
    }
    prefix.push(rest);
    Node::Concat(prefix)
}

/// Each item once, in the order of its first mention.
pub(super) fn unique(mut items: Vec<Item>) -> Vec<Item> {
    let mut seen = HashSet::with_capacity(items.len());
    items.retain(|item| seen.insert(*item));
    items
}

/// An item of a sequence, by its number.
fn item(node: &Node, index: usize) -> Option<&Node> {
    match node {
        Node::Concat(nodes) => nodes.get(index),
        Node::Empty => None,
        _ => (index == 0).then_some(node),
    }
}

/// Takes the first `count` items out of a sequence that has them.
fn drop_items(node: &mut Node, count: usize) {
    match node {
        _ if count == 0 => {}
        Node::Concat(nodes) => {
            nodes.drain(..count.min(nodes.len()));
            match nodes.len() {
                0 => *node = Node::Empty,
                1 => *node = nodes.pop().unwrap_or(Node::Empty),
                _ => {}
            }
        }
        _ => *node = Node::Empty,
    }
}

/// Whether CPython sees that two items are the same: of those that hold
/// others it does not.
fn is_same(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::Leaf(a), Node::Leaf(b)) => a.class == b.class,
        (Node::Assert(a), Node::Assert(b)) => a == b,
        (Node::Backreference { group: a, .. }, Node::Backreference { group: b, .. }) => a == b,
        _ => false,
    }
}

/// Where a pattern begins with a class, CPython searches for its characters
/// first, and takes `\d`, `\s` and `\w` there with the flags of the whole
/// pattern even where the class stands in `(?a:…)` or `(?u:…)`. So a match
/// begins with a character that is in both readings.
pub(super) fn search_prefix(node: &mut Node, ascii: bool) {
    match node {
        Node::Concat(nodes) => {
            if let Some(first) = nodes.first_mut() {
                search_prefix(first, ascii);
            }
        }
        Node::Group { node, .. } => search_prefix(node, ascii),
        // A group with flags.
        Node::Alternation(nodes) if nodes.len() == 1 => {
            if let Some(first) = nodes.first_mut() {
                search_prefix(first, ascii);
            }
        }
        Node::Leaf(leaf) if leaf.flags.ascii != ascii => narrow_categories(leaf, ascii),
        _ => {}
    }
}

fn narrow_categories(leaf: &mut Leaf, ascii: bool) {
    let has_category = leaf.class.items.iter().any(|i| matches!(i, Item::Category(..)));
    if !has_category || (leaf.flags.ignore_case && leaf.class.has_case(leaf.flags.ascii)) {
        return;
    }
    let searched = leaf.class.resolve(Flags { ascii, ..Flags::default() });
    leaf.set = Arc::new(leaf.set.intersection(&searched));
}

//! CPython's optimizations of a pattern that affect the result.

use std::collections::HashSet;
use std::sync::Arc;

use super::ast::{Flags, Leaf, Node};
use super::class::{Class, Item};

/// CPython factors a common prefix out of alternatives, and joins alternatives
/// that are single characters to a class. If case is ignored, the class can
/// match characters that none of the alternatives matches.
pub(super) fn join_alternatives(mut nodes: Vec<Node>, flags: Flags) -> Node {
    if nodes.len() == 1 {
        return nodes.pop().unwrap_or(Node::Empty);
    }
    let mut prefix: Vec<Node> = Vec::new();
    while let Some(first) = nodes.first().and_then(|n| item(n, prefix.len())) {
        let index = prefix.len();
        let is_common = |n| item(n, index).is_some_and(|other| is_same(other, first));
        if !nodes.iter().all(is_common) {
            break;
        }
        prefix.push(first.clone());
    }
    for node in &mut nodes {
        drop_items(node, prefix.len());
    }
    let mut items: Vec<Item> = Vec::new();
    let are_single = nodes.iter().all(|n| match n {
        Node::Leaf(leaf) if !leaf.class.negate => {
            items.extend(&leaf.class.items);
            true
        }
        _ => false,
    });
    let rest = if are_single {
        Node::leaf(Class { items: unique(items), negate: false }, flags)
    } else {
        Node::Alternation(nodes)
    };
    if prefix.is_empty() {
        return rest;
    }
    prefix.push(rest);
    Node::Concat(prefix)
}

/// Each item once, in the order of the first occurrences.
pub(super) fn unique(mut items: Vec<Item>) -> Vec<Item> {
    let mut seen = HashSet::with_capacity(items.len());
    items.retain(|item| seen.insert(*item));
    items
}

/// An item of a sequence.
fn item(node: &Node, index: usize) -> Option<&Node> {
    match node {
        Node::Concat(nodes) => nodes.get(index),
        Node::Empty => None,
        _ => (index == 0).then_some(node),
    }
}

/// Removes the first `count` items of a sequence.
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

/// Whether CPython considers two items equal. Items that contain others are not.
fn is_same(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::Leaf(a), Node::Leaf(b)) => a.class == b.class,
        (Node::Assert(a), Node::Assert(b)) => a == b,
        (Node::Backreference { group: a, .. }, Node::Backreference { group: b, .. }) => a == b,
        _ => false,
    }
}

/// If a pattern starts with a class, CPython first searches for its characters,
/// and resolves `\d`, `\s` and `\w` with the flags of the whole pattern even if
/// the class is in `(?a:…)` or `(?u:…)`. A match therefore starts with a
/// character that is in both sets.
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

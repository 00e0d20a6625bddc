//! The tree of a pattern as CPython parses it, flags resolved.

use std::sync::Arc;

use super::class::{Class, Item, category_set};
use super::set::CharSet;

/// The flags that apply at a position of the pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Flags {
    pub(super) ignore_case: bool,
    pub(super) multi_line: bool,
    pub(super) dot_all: bool,
    pub(super) verbose: bool,
    pub(super) ascii: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Empty,
    Leaf(Leaf),
    Concat(Vec<Node>),
    Alternation(Vec<Node>),
    Repeat { node: Box<Node>, min: u32, max: Option<u32>, kind: RepeatKind },
    Group { index: usize, node: Box<Node> },
    Atomic(Box<Node>),
    Lookaround { node: Box<Node>, negate: bool, behind: Option<u32> },
    Backreference { group: usize, fold: Fold },
    Conditional { group: usize, yes: Box<Node>, no: Box<Node> },
    Assert(Assert),
}

/// One character of a set. The class as written is kept, because CPython joins
/// alternatives of single characters to a class before it applies case.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) class: Class,
    pub(super) flags: Flags,
    pub(super) set: Arc<CharSet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RepeatKind {
    Greedy,
    Lazy,
    Possessive,
}

/// The comparison of a back-reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fold {
    Exact,
    Ascii,
    Unicode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assert {
    /// `\A`, and `^` unless `m`.
    Start,
    /// `^` with `m`.
    LineStart,
    /// `\Z`.
    End,
    /// `$` unless `m`: the end, or before a newline that is the end.
    BeforeLastNewline,
    /// `$` with `m`.
    LineEnd,
    /// `\b` and `\B`.
    Word { ascii: bool, negate: bool },
}

impl Node {
    /// A character of a class.
    pub(super) fn leaf(class: Class, flags: Flags) -> Self {
        let set = match class.items.as_slice() {
            [Item::Category(category, negated)] if !class.negate => {
                category_set(*category, *negated, flags)
            }
            _ => Arc::new(class.resolve(flags)),
        };
        Self::Leaf(Leaf { class, flags, set })
    }

    /// Minimum and maximum number of characters, saturating.
    pub(super) fn width(&self, groups: &[Option<(u64, u64)>]) -> (u64, u64) {
        match self {
            Self::Empty | Self::Lookaround { .. } | Self::Assert(_) => (0, 0),
            Self::Leaf(_) => (1, 1),
            Self::Concat(nodes) => nodes.iter().fold((0, 0), |(low, high): (u64, u64), n| {
                let (a, b) = n.width(groups);
                (low.saturating_add(a), high.saturating_add(b))
            }),
            Self::Alternation(nodes) => nodes
                .iter()
                .map(|n| n.width(groups))
                .reduce(|x, y| (x.0.min(y.0), x.1.max(y.1)))
                .unwrap_or_default(),
            Self::Repeat { node, min, max, .. } => {
                let (low, high) = node.width(groups);
                let times = max.map_or(u64::MAX, u64::from);
                (low.saturating_mul(u64::from(*min)), high.saturating_mul(times))
            }
            Self::Group { node, .. } | Self::Atomic(node) => node.width(groups),
            Self::Backreference { group, .. } => {
                groups.get(*group).copied().flatten().unwrap_or((0, u64::MAX))
            }
            Self::Conditional { yes, no, .. } => {
                let (x, y) = (yes.width(groups), no.width(groups));
                (x.0.min(y.0), x.1.max(y.1))
            }
        }
    }
}

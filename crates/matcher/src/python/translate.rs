//! Translation of a pattern for the `regex` crate.
//!
//! There are two forms. The form for ASCII text has no characters beyond ASCII,
//! so its automata are small and fast; nearly every command line is ASCII. The
//! other form matches text in the form of [`encode`](super::text::encode).
//!
//! Constructs that the linear engine does not support are not translated:
//! look-around, back-references, conditionals, atomic groups, possessive
//! quantifiers, and a `$` that is not at the end.

use std::fmt::Write as _;

use super::ast::{Assert, Node, RepeatKind};
use super::set::CharSet;

/// The text that the translation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Ascii,
    Unicode,
}

/// The translation; `None` if the pattern is not supported.
pub(super) fn translate(node: &Node, target: Target) -> Option<String> {
    let mut printer = Printer { out: String::new(), target };
    printer.node(node, true)?;
    Some(printer.out)
}

struct Printer {
    out: String,
    target: Target,
}

impl Printer {
    /// `last`: nothing of the pattern follows the node.
    fn node(&mut self, node: &Node, last: bool) -> Option<()> {
        match node {
            Node::Empty => self.out.push_str("(?:)"),
            Node::Leaf(leaf) => self.set(&leaf.set),
            Node::Concat(nodes) => {
                for (index, node) in nodes.iter().enumerate() {
                    self.node(node, last && index + 1 == nodes.len())?;
                }
            }
            Node::Alternation(nodes) => {
                self.out.push_str("(?:");
                for (index, node) in nodes.iter().enumerate() {
                    if index > 0 {
                        self.out.push('|');
                    }
                    self.node(node, last)?;
                }
                self.out.push(')');
            }
            Node::Repeat { kind: RepeatKind::Possessive, .. } => return None,
            Node::Repeat { node, min, max, kind } => {
                self.out.push_str("(?:");
                self.node(node, last && *max == Some(1))?;
                self.out.push(')');
                match (min, max) {
                    (0, None) => self.out.push('*'),
                    (1, None) => self.out.push('+'),
                    (0, Some(1)) => self.out.push('?'),
                    (min, None) => write!(self.out, "{{{min},}}").ok()?,
                    (min, Some(max)) => write!(self.out, "{{{min},{max}}}").ok()?,
                }
                if *kind == RepeatKind::Lazy {
                    self.out.push('?');
                }
            }
            Node::Group { node, .. } => {
                self.out.push_str("(?:");
                self.node(node, last)?;
                self.out.push(')');
            }
            Node::Assert(assert) => self.assert(*assert, last)?,
            Node::Atomic(_)
            | Node::Lookaround { .. }
            | Node::Backreference { .. }
            | Node::Conditional { .. } => return None,
        }
        Some(())
    }

    fn assert(&mut self, assert: Assert, last: bool) -> Option<()> {
        self.out.push_str(match assert {
            Assert::Start => r"\A",
            Assert::LineStart => "(?m:^)",
            Assert::End => r"\z",
            Assert::LineEnd => "(?m:$)",
            // At the end of the pattern, consuming the newline does not change
            // whether there is a match.
            Assert::BeforeLastNewline if last => r"(?:\x0A?\z)",
            Assert::BeforeLastNewline => return None,
            Assert::Word { ascii, negate } => match (self.target, ascii, negate) {
                (Target::Ascii, _, false) | (Target::Unicode, true, false) => r"(?-u:\b)",
                (Target::Ascii, _, true) => r"(?-u:\B)",
                (Target::Unicode, false, false) => r"\b",
                // It could hold inside a character.
                (Target::Unicode, _, true) => return None,
            },
        });
        Some(())
    }

    fn set(&mut self, set: &CharSet) {
        match self.target {
            Target::Ascii => {
                let ascii = set.ranges().iter().filter(|r| r.0 < 128);
                self.class(ascii.map(|r| (r.0, r.1.min(127))));
            }
            Target::Unicode => self.unicode_set(set),
        }
    }

    fn unicode_set(&mut self, set: &CharSet) {
        // A class cannot contain surrogates. Only the surrogates that represent
        // a byte occur in a text.
        let without_surrogates = set.ranges().iter().flat_map(|&(first, last)| {
            let below = (first < 0xd800).then(|| (first, last.min(0xd7ff)));
            let above = (last > 0xdfff).then(|| (first.max(0xe000), last));
            below.into_iter().chain(above)
        });
        let bytes: Vec<(u32, u32)> = set
            .ranges()
            .iter()
            .map(|r| (r.0.max(0xdc80), r.1.min(0xdcff)))
            .filter(|r| r.0 <= r.1)
            .collect();
        if bytes.is_empty() {
            self.class(without_surrogates);
            return;
        }
        self.out.push_str("(?:");
        self.class(without_surrogates);
        for (first, last) in bytes {
            for (lead, low, high) in [(0xb2, 0xdc80, 0xdcbf), (0xb3, 0xdcc0, 0xdcff)] {
                let (first, last) = (first.max(low), last.min(high));
                if first <= last {
                    let (a, b) = (0x80 | (first & 0x3f), 0x80 | (last & 0x3f));
                    let _ = write!(self.out, r"|(?-u:\xED\x{lead:02X}[\x{a:02X}-\x{b:02X}])");
                }
            }
        }
        self.out.push(')');
    }

    fn class(&mut self, ranges: impl Iterator<Item = (u32, u32)>) {
        let ranges: Vec<(u32, u32)> = ranges.collect();
        match ranges.as_slice() {
            // An empty class.
            [] => self.out.push_str("[a&&b]"),
            [(c, same)] if c == same => self.character(*c),
            _ => {
                self.out.push('[');
                for (first, last) in ranges {
                    self.character(first);
                    if last > first {
                        self.out.push('-');
                        self.character(last);
                    }
                }
                self.out.push(']');
            }
        }
    }

    fn character(&mut self, c: u32) {
        let _ = write!(self.out, r"\x{{{c:X}}}");
    }
}

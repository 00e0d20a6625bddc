//! The parser: sequences, alternatives and quantifiers. Groups are in
//! `group.rs`, classes in `char_class.rs`, escapes in `escape.rs`.
//!
//! It accepts and rejects the same `str` patterns as CPython 3.11's
//! `re.compile`, with five exceptions that only CPython accepts: the
//! undocumented flag `t`, group names beyond ASCII, group numbers that are not
//! plain digits, names in `\N{…}` that are not in the table, and references to
//! groups that CPython loses (`possessive.rs`).

use std::collections::HashMap;
use std::sync::Arc;

use super::ast::{Assert, Flags, Fold, Leaf, Node, RepeatKind};
use super::class::{Class, Item};
use super::factor::{join_alternatives, search_prefix};
use super::possessive::{can_lose_groups, find_unreliable_group, groups_of};
use super::set::CharSet;
use super::token::{TokenKind, Tokens};
use crate::pattern_error::PatternError;

/// Maximum nesting depth of groups.
const MAX_DEPTH: usize = 100;
/// CPython's limit for a repeat count.
const MAX_REPEAT: u64 = 0xffff_ffff;

pub(super) type Result<T> = std::result::Result<T, PatternError>;

/// A parsed pattern.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) node: Node,
    /// Number of groups, the whole match (0) included.
    pub(super) groups: usize,
    /// The numbers of the named groups.
    pub(super) names: HashMap<String, usize>,
    /// The repeats that lose groups: the first and the last group of each.
    pub(super) unreliable: Vec<(usize, usize)>,
}

/// The state of the parser.
pub(super) struct Parser {
    pub(super) tokens: Tokens,
    /// Flags of the whole pattern. They can be set at its start only, so they
    /// are known before the first character that they affect.
    pub(super) global: Flags,
    /// `(?u)` was given, which excludes `(?a)`.
    pub(super) unicode: bool,
    pub(super) names: HashMap<String, usize>,
    /// The width of each group, `None` while it is open.
    pub(super) widths: Vec<Option<(u64, u64)>>,
    /// In a look-behind: the number of groups before it.
    pub(super) in_lookbehind: Option<usize>,
    /// Groups that conditionals reference by number, with their offsets.
    pub(super) conditions: Vec<(usize, usize)>,
    pub(super) depth: usize,
    /// Repeats that lose groups: the first and the last of their groups, and the
    /// quantifier.
    unreliable_groups: Vec<((usize, usize), Checkpoint)>,
    /// The sets of the classes so far: resolving a class is expensive, and
    /// patterns repeat classes.
    pub(super) classes: HashMap<(Class, Flags), Arc<CharSet>>,
}

/// A quantifier and its location.
struct Checkpoint {
    at: usize,
    span: usize,
    min: u32,
}

/// One item of a sequence.
struct Part {
    node: Node,
    /// `^`, `$`, `\b` and the like cannot be repeated.
    is_assertion: bool,
    is_repeat: bool,
}

pub(super) fn parse(pattern: &[u8]) -> Result<Parsed> {
    let mut parser = Parser {
        tokens: Tokens::new(pattern)?,
        global: Flags::default(),
        unicode: false,
        names: HashMap::new(),
        widths: vec![None],
        in_lookbehind: None,
        conditions: Vec::new(),
        depth: 0,
        unreliable_groups: Vec::new(),
        classes: HashMap::new(),
    };
    let mut node = parser.alternatives(Flags::default(), true)?;
    if parser.global.ascii && parser.unicode {
        return Err(err("flags `a` and `u` exclude each other", 0, 1, "keep one of them"));
    }
    if parser.tokens.peek().is_some() {
        let at = parser.tokens.at();
        return Err(err("unbalanced parenthesis", at, 1, "write `\\)` for a literal `)`"));
    }
    search_prefix(&mut node, parser.global.ascii);
    let groups = parser.widths.len();
    if let Some((group, at)) = parser.conditions.iter().find(|c| c.0 >= groups) {
        let message = format!("invalid group reference {group}: there is no such group");
        return Err(err(message, *at, 1, "use the number of a group of this pattern"));
    }
    if let Some(group) =
        find_unreliable_group(&node, groups, parser.unreliable_groups.iter().map(|l| l.0))
    {
        return Err(parser.unreliable_backref(group));
    }
    let unreliable = parser.unreliable_groups.iter().map(|repeat| repeat.0).collect();
    Ok(Parsed { node, groups, names: parser.names, unreliable })
}

pub(super) fn err(
    message: impl Into<String>,
    at: usize,
    span: usize,
    help: impl Into<String>,
) -> PatternError {
    PatternError::new(message, at, span, help)
}

fn literal(c: u32, flags: Flags) -> Node {
    Node::leaf(Class { items: vec![Item::Char(c)], negate: false }, flags)
}

impl Parser {
    /// `a|b|c`, up to a closing parenthesis or the end.
    pub(super) fn alternatives(&mut self, flags: Flags, top: bool) -> Result<Node> {
        let mut flags = flags;
        let mut nodes = Vec::new();
        loop {
            nodes.push(self.sequence(&mut flags, top && nodes.is_empty())?);
            if !self.tokens.consume_if('|') {
                break;
            }
        }
        Ok(join_alternatives(nodes, flags))
    }

    /// A sequence of items. `first`: flags of the whole pattern are allowed and
    /// change `flags`.
    ///
    /// All nested constructs contain sequences, so the nesting depth is bounded
    /// here; functions that walk the tree are recursive.
    pub(super) fn sequence(&mut self, flags: &mut Flags, first: bool) -> Result<Node> {
        self.depth += 1;
        // The pattern itself is a sequence too.
        if self.depth > MAX_DEPTH + 1 {
            let message = format!("groups nest deeper than {MAX_DEPTH}");
            return Err(err(message, self.tokens.at(), 1, "reduce the nesting, or split the rule"));
        }
        let mut parts: Vec<Part> = Vec::new();
        while let Some(token) = self.tokens.peek() {
            if let TokenKind::Char(c) = token.kind
                && (c == u32::from('|') || c == u32::from(')'))
            {
                break;
            }
            self.tokens.get();
            let at = token.at;
            let node = match token.kind {
                TokenKind::Escape(c) => self.escape(c, at, *flags)?,
                TokenKind::Char(c) => match char::from_u32(c) {
                    Some(c) if flags.verbose && is_white_space(c) => continue,
                    Some('#') if flags.verbose => {
                        self.skip_comment_line();
                        continue;
                    }
                    Some('[') => self.char_class(at, *flags)?,
                    Some('.') => {
                        let newline = if flags.dot_all { vec![] } else { vec![(10, 10)] };
                        negated_char(CharSet::new(newline))
                    }
                    Some('^') if flags.multi_line => Node::Assert(Assert::LineStart),
                    Some('^') => Node::Assert(Assert::Start),
                    Some('$') if flags.multi_line => Node::Assert(Assert::LineEnd),
                    Some('$') => Node::Assert(Assert::BeforeLastNewline),
                    Some('(') => match self.group(at, flags, first && parts.is_empty())? {
                        Some(node) => {
                            // A group can be repeated, even an assertion in one.
                            parts.push(Part { node, is_assertion: false, is_repeat: false });
                            continue;
                        }
                        None => continue,
                    },
                    Some(c @ ('*' | '+' | '?' | '{')) => match self.quantifier(c, at)? {
                        Some((min, max)) => {
                            self.repeat(&mut parts, at, min, max)?;
                            continue;
                        }
                        None => literal(u32::from('{'), *flags),
                    },
                    _ => literal(c, *flags),
                },
            };
            let is_assertion = matches!(node, Node::Assert(_));
            parts.push(Part { node, is_assertion, is_repeat: false });
        }
        self.depth -= 1;
        let mut nodes: Vec<Node> = Vec::with_capacity(parts.len());
        for part in parts {
            match part.node {
                // A group without captures or flags equals its content.
                Node::Concat(inner) => nodes.extend(inner),
                Node::Empty => {}
                node => nodes.push(node),
            }
        }
        Ok(match nodes.len() {
            0 => Node::Empty,
            1 => nodes.remove(0),
            _ => Node::Concat(nodes),
        })
    }

    fn skip_comment_line(&mut self) {
        while let Some(token) = self.tokens.get() {
            if token.kind == TokenKind::Char(10) {
                break;
            }
        }
    }

    /// The bounds of a quantifier; `None` for a literal brace.
    fn quantifier(&mut self, c: char, at: usize) -> Result<Option<(u32, Option<u32>)>> {
        match c {
            '?' => return Ok(Some((0, Some(1)))),
            '*' => return Ok(Some((0, None))),
            '+' => return Ok(Some((1, None))),
            _ => {}
        }
        if self.tokens.peek_char() == Some('}') {
            return Ok(None);
        }
        let start = self.tokens.position();
        let digits = |c: char| c.is_ascii_digit();
        let low = self.tokens.take_while(usize::MAX, digits);
        let high = if self.tokens.consume_if(',') {
            self.tokens.take_while(usize::MAX, digits)
        } else {
            low.clone()
        };
        if !self.tokens.consume_if('}') {
            self.tokens.seek(start);
            return Ok(None);
        }
        let span = self.tokens.at() - at;
        let number = |digits: &str| -> Result<Option<u32>> {
            if digits.is_empty() {
                return Ok(None);
            }
            digits
                .parse::<u64>()
                .ok()
                .filter(|n| *n < MAX_REPEAT)
                .and_then(|n| u32::try_from(n).ok())
                .map(Some)
                .ok_or_else(|| err("the repetition number is too large", at, span, "write `*`"))
        };
        let (min, max) = (number(&low)?.unwrap_or(0), number(&high)?);
        if max.is_some_and(|max| max < min) {
            let help = format!("write `{{{high},{low}}}`");
            return Err(err("min repeat greater than max repeat", at, span, help));
        }
        Ok(Some((min, max)))
    }

    /// Repeats the last item; parses a `?` or `+` after the quantifier.
    fn repeat(
        &mut self,
        parts: &mut Vec<Part>,
        at: usize,
        min: u32,
        max: Option<u32>,
    ) -> Result<()> {
        let span = self.tokens.at() - at;
        let Some(part) = parts.pop().filter(|p| !p.is_assertion) else {
            let help = "put an item before it, or a backslash for the literal character";
            return Err(err("nothing to repeat", at, span, help));
        };
        if part.is_repeat {
            let help = "put the repeated item in a group: `(?:a*)*`";
            return Err(err("multiple repeat", at, span, help));
        }
        let kind = if self.tokens.consume_if('?') {
            RepeatKind::Lazy
        } else if self.tokens.consume_if('+') {
            RepeatKind::Possessive
        } else {
            RepeatKind::Greedy
        };
        if can_lose_groups(&part.node, max, kind)
            && let Some(groups) = groups_of(&part.node)
        {
            self.unreliable_groups.push((groups, Checkpoint { at, span: span + 1, min }));
        }
        let node = Node::Repeat { node: Box::new(part.node), min, max, kind };
        parts.push(Part { node, is_assertion: false, is_repeat: true });
        Ok(())
    }

    /// The error about a reference to a group that CPython loses.
    fn unreliable_backref(&self, group: usize) -> PatternError {
        let contains = |groups: (usize, usize)| (groups.0..=groups.1).contains(&group);
        let quantifier = self.unreliable_groups.iter().find(|u| contains(u.0)).map(|u| &u.1);
        let (at, span, min) = quantifier.map_or((0, 1, 0), |q| (q.at, q.span, q.min));
        let message = format!(
            "group {group} is referenced outside its iteration of a possessive repeat with \
             alternatives, where Python loses its match"
        );
        let help = if min > 1 {
            "write `(?>(?>…){2,})` for `(?:…){2,}+`"
        } else {
            "write `(?>(?:…)*)` for `(?:…)*+`, `(?>(?:…)+)` for `(?:…)++`"
        };
        err(message, at, span, help)
    }

    pub(super) fn fold(flags: Flags) -> Fold {
        match (flags.ignore_case, flags.ascii) {
            (false, _) => Fold::Exact,
            (true, true) => Fold::Ascii,
            (true, false) => Fold::Unicode,
        }
    }
}

/// Whether `re` skips the character in verbose mode.
fn is_white_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

fn negated_char(set: CharSet) -> Node {
    let items = set.ranges().iter().map(|r| Item::Range(r.0, r.1)).collect();
    // Negated classes are not joined with other alternatives.
    let class = Class { items, negate: true };
    Node::Leaf(Leaf { class, flags: Flags::default(), set: Arc::new(set.negated()) })
}

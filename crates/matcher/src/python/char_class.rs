//! Classes in brackets: `[a-z\d]`.
//!
//! Python has no nested sets: `[[a]`, `[a&&b]`, `[a--b]` and `[a~~b]` are literal
//! characters.

use std::sync::Arc;

use super::ast::{Flags, Leaf, Node};
use super::class::{Class, Item};
use super::factor::unique;
use super::parse::{Parser, Result, err};
use super::token::{Token, TokenKind};

impl Parser {
    /// The class after a `[` at `at`.
    pub(super) fn char_class(&mut self, at: usize, flags: Flags) -> Result<Node> {
        let mut items: Vec<Item> = Vec::new();
        let negate = self.tokens.consume_if('^');
        loop {
            let token = self.class_token(at)?;
            if is(token, ']') && !items.is_empty() {
                break;
            }
            let first = self.class_item(token)?;
            if !self.tokens.consume_if('-') {
                items.push(first);
                continue;
            }
            let second = self.class_token(at)?;
            if is(second, ']') {
                items.push(first);
                items.push(Item::Char(u32::from('-')));
                break;
            }
            match (first, self.class_item(second)?) {
                (Item::Char(low), Item::Char(high)) if low <= high => {
                    items.push(Item::Range(low, high));
                }
                (Item::Char(_), Item::Char(_)) => {
                    let span = self.tokens.at() - token.at;
                    let message = "bad character range: the end is before the start";
                    return Err(err(message, token.at, span, "swap the ends, or write `\\-`"));
                }
                _ => {
                    let span = self.tokens.at() - token.at;
                    let message = "bad character range: a class cannot be an end of a range";
                    let help = "write `\\-` for a literal `-`, or put it last";
                    return Err(err(message, token.at, span, help));
                }
            }
        }
        let class = Class { items: unique(items), negate };
        let set = match self.classes.get(&(class.clone(), flags)) {
            Some(set) => Arc::clone(set),
            None => {
                let set = Arc::new(class.resolve(flags));
                self.classes.insert((class.clone(), flags), Arc::clone(&set));
                set
            }
        };
        Ok(Node::Leaf(Leaf { class, flags, set }))
    }

    fn class_token(&mut self, at: usize) -> Result<Token> {
        let span = self.tokens.at().saturating_sub(at);
        self.tokens.get().ok_or_else(|| {
            let help = "close it with `]`, or write `\\[` for a literal `[`; a `]` at the start \
                        of a class is literal";
            err("unterminated character set", at, span, help)
        })
    }

    fn class_item(&mut self, token: Token) -> Result<Item> {
        match token.kind {
            TokenKind::Char(c) => Ok(Item::Char(c)),
            TokenKind::Escape(c) => self.class_escape(c, token.at),
        }
    }
}

fn is(token: Token, c: char) -> bool {
    token.kind == TokenKind::Char(u32::from(c))
}

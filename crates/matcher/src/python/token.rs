//! The tokens of CPython's parser: a character, or a backslash and the
//! character after it.

use super::text::{characters, surrogateescaped};
use crate::pattern_error::PatternError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// 0-based character offset in the pattern.
    pub(super) at: usize,
    pub(super) kind: TokenKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Char(u32),
    /// A backslash and this character.
    Escape(u32),
}

/// A cursor over the tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    tokens: Vec<Token>,
    /// Index of the next token.
    next: usize,
    /// Characters in the pattern.
    len: usize,
}

impl Tokens {
    /// Bytes that are not UTF-8 become U+DC80 to U+DCFF, as in the text.
    pub(super) fn new(pattern: &[u8]) -> Result<Self, PatternError> {
        let mut tokens = Vec::with_capacity(pattern.len());
        let mut chars =
            characters(pattern).map(|c| c.map_or_else(surrogateescaped, u32::from)).enumerate();
        let mut len = 0;
        while let Some((at, c)) = chars.next() {
            len = at + 1;
            let kind = if c == u32::from('\\') {
                let Some((_, escaped)) = chars.next() else {
                    return Err(PatternError::new(
                        "bad escape: the pattern ends with a backslash",
                        at,
                        1,
                        "write `\\\\` for a backslash, `[ ]` for a space at the end",
                    ));
                };
                len += 1;
                TokenKind::Escape(escaped)
            } else {
                TokenKind::Char(c)
            };
            tokens.push(Token { at, kind });
        }
        Ok(Self { tokens, next: 0, len })
    }

    pub(super) fn peek(&self) -> Option<Token> {
        self.tokens.get(self.next).copied()
    }

    /// The next token, if it is a plain character.
    pub(super) fn peek_char(&self) -> Option<char> {
        match self.peek()?.kind {
            TokenKind::Char(c) => char::from_u32(c),
            TokenKind::Escape(_) => None,
        }
    }

    pub(super) fn get(&mut self) -> Option<Token> {
        let token = self.peek()?;
        self.next += 1;
        Some(token)
    }

    /// Consumes the next token if it is this character.
    pub(super) fn consume_if(&mut self, c: char) -> bool {
        let is_next = self.peek_char() == Some(c);
        self.next += usize::from(is_next);
        is_next
    }

    /// Consumes up to `limit` characters for which `predicate` holds.
    pub(super) fn take_while(&mut self, limit: usize, predicate: impl Fn(char) -> bool) -> String {
        let mut out = String::new();
        while out.len() < limit {
            match self.peek_char() {
                Some(c) if predicate(c) => out.push(c),
                _ => break,
            }
            self.next += 1;
        }
        out
    }

    /// Character offset of the next token or of the end.
    pub(super) fn at(&self) -> usize {
        self.peek().map_or(self.len, |t| t.at)
    }

    /// The position for a later [`seek`](Self::seek).
    pub(super) fn position(&self) -> usize {
        self.next
    }

    pub(super) fn seek(&mut self, to: usize) {
        self.next = to;
    }
}

//! Escapes.

use super::ast::{Assert, Flags, Node};
use super::class::{Category, Class, Item};
use super::names;
use super::parse::{Parser, Result, err};
use super::set::MAX;

impl Parser {
    /// An escape outside a class; `at` is the offset of its backslash.
    pub(super) fn escape(&mut self, c: u32, at: usize, flags: Flags) -> Result<Node> {
        let word = |negate| Node::Assert(Assert::Word { ascii: flags.ascii, negate });
        match char::from_u32(c) {
            Some('A') => return Ok(Node::Assert(Assert::Start)),
            Some('Z') => return Ok(Node::Assert(Assert::End)),
            Some('b') => return Ok(word(false)),
            Some('B') => return Ok(word(true)),
            Some(digit @ '1'..='9') => return self.octal_or_group(digit, at, flags),
            _ => {}
        }
        let item = match category(c) {
            Some(item) => item,
            None => self.character(c, at)?,
        };
        Ok(Node::leaf(Class { items: vec![item], negate: false }, flags))
    }

    /// An escape in a class.
    pub(super) fn class_escape(&mut self, c: u32, at: usize) -> Result<Item> {
        match char::from_u32(c) {
            Some('b') => Ok(Item::Char(8)),
            Some(digit @ '1'..='7') => {
                let more = self.tokens.take_while(2, is_octal);
                self.octal(&format!("{digit}{more}"), at)
            }
            Some('8' | '9') => {
                let message = "bad escape: not an octal digit";
                Err(err(message, at, 2, "write the character without `\\`"))
            }
            _ => match category(c) {
                Some(item) => Ok(item),
                None => self.character(c, at),
            },
        }
    }

    /// `\1` to `\99` are groups; three octal digits are a character.
    fn octal_or_group(&mut self, first: char, at: usize, flags: Flags) -> Result<Node> {
        let mut digits = first.to_string();
        digits += &self.tokens.take_while(1, |c| c.is_ascii_digit());
        if digits.len() == 2 && digits.chars().all(is_octal) {
            let third = self.tokens.take_while(1, is_octal);
            if !third.is_empty() {
                let item = self.octal(&format!("{digits}{third}"), at)?;
                return Ok(Node::leaf(Class { items: vec![item], negate: false }, flags));
            }
        }
        let span = 1 + digits.len();
        let group = digits.parse::<usize>().unwrap_or(usize::MAX);
        if group >= self.widths.len() {
            let message = format!("invalid group reference {group}: no such group before it");
            let help = "groups are numbered by their `(`; write `\\x01` for the character 1";
            return Err(err(message, at, span, help));
        }
        self.reference(group, at, span, flags)
    }

    /// A back-reference to a group that exists.
    pub(super) fn reference(
        &mut self,
        group: usize,
        at: usize,
        span: usize,
        flags: Flags,
    ) -> Result<Node> {
        if self.widths.get(group).copied().flatten().is_none() {
            let help = "refer to it after its `)`";
            return Err(err("cannot refer to an open group", at, span, help));
        }
        self.check_behind(group, at, span)?;
        Ok(Node::Backreference { group, fold: Self::fold(flags) })
    }

    /// In a look-behind, only groups before it can be referenced.
    pub(super) fn check_behind(&self, group: usize, at: usize, span: usize) -> Result<()> {
        let Some(before) = self.in_lookbehind else { return Ok(()) };
        if self.widths.get(group).copied().flatten().is_none() {
            let help = "refer to it after its `)`";
            return Err(err("cannot refer to an open group", at, span, help));
        }
        if group >= before {
            let message = "cannot refer to a group defined in the same look-behind";
            return Err(err(message, at, span, "repeat the pattern of the group"));
        }
        Ok(())
    }

    fn octal(&self, digits: &str, at: usize) -> Result<Item> {
        match u32::from_str_radix(digits, 8) {
            Ok(c) if c <= 0o377 => Ok(Item::Char(c)),
            _ => {
                let message = format!("octal escape \\{digits} is beyond \\377");
                Err(err(message, at, digits.len() + 1, "write `\\uHHHH`"))
            }
        }
    }

    /// Escapes for one character, which are the same in a class and outside.
    fn character(&mut self, c: u32, at: usize) -> Result<Item> {
        let c = match char::from_u32(c) {
            Some('a') => 7,
            Some('f') => 12,
            Some('n') => 10,
            Some('r') => 13,
            Some('t') => 9,
            Some('v') => 11,
            Some('x') => self.hex(2, 'x', at)?,
            Some('u') => self.hex(4, 'u', at)?,
            Some('U') => self.hex(8, 'U', at)?,
            Some('N') => self.named(at)?,
            Some('0') => {
                let more = self.tokens.take_while(2, is_octal);
                return self.octal(&format!("0{more}"), at);
            }
            Some(letter) if letter.is_ascii_alphabetic() => {
                let message = format!("bad escape \\{letter}: not an escape of Python");
                return Err(err(message, at, 2, suggestion(letter)));
            }
            _ => c,
        };
        Ok(Item::Char(c))
    }

    fn hex(&mut self, digits: usize, letter: char, at: usize) -> Result<u32> {
        let text = self.tokens.take_while(digits, |c| c.is_ascii_hexdigit());
        let span = 2 + text.len();
        if text.len() != digits {
            let message = format!("incomplete escape \\{letter}{text}");
            return Err(err(message, at, span, format!("write {digits} hexadecimal digits")));
        }
        match u32::from_str_radix(&text, 16) {
            Ok(c) if c <= MAX => Ok(c),
            _ => Err(err("bad escape: no such character", at, span, "the maximum is \\U0010ffff")),
        }
    }

    fn named(&mut self, at: usize) -> Result<u32> {
        if !self.tokens.consume_if('{') {
            return Err(err("missing { after \\N", at, 2, "write `\\N{NAME}`, or `[^\\n]`"));
        }
        let name = self.tokens.take_while(usize::MAX, |c| c != '}');
        let span = name.chars().count() + 4;
        if !self.tokens.consume_if('}') {
            return Err(err("missing }, unterminated name", at, span, "close it with `}`"));
        }
        names::lookup(&name).ok_or_else(|| {
            let message = format!("the character name `{name}` is not supported");
            err(message, at, span, "write the character itself, or `\\uHHHH` with its code point")
        })
    }
}

fn category(c: u32) -> Option<Item> {
    Some(match char::from_u32(c)? {
        'd' => Item::Category(Category::Digit, false),
        'D' => Item::Category(Category::Digit, true),
        's' => Item::Category(Category::Space, false),
        'S' => Item::Category(Category::Space, true),
        'w' => Item::Category(Category::Word, false),
        'W' => Item::Category(Category::Word, true),
        _ => return None,
    })
}

fn is_octal(c: char) -> bool {
    matches!(c, '0'..='7')
}

/// The equivalent of an escape of other dialects.
fn suggestion(letter: char) -> &'static str {
    match letter {
        'z' => "write `\\Z` for the end of the text",
        'h' => "write `[ \\t]`",
        'R' => "write `(?:\\r\\n|[\\n\\r])`",
        'Q' | 'E' => "put a backslash before each special character",
        'G' | 'K' | 'C' | 'X' => "Python has no equivalent; remove it",
        'p' | 'P' => "write the characters as a class, or `\\w` for letters, digits and `_`",
        'g' | 'k' => "write `(?P=name)` to reference a group",
        'e' => "write `\\x1b`",
        'c' => "write `\\xHH` with the control character's number",
        'l' => "write `[a-z]`",
        _ => "remove the backslash, or write two for a literal backslash",
    }
}

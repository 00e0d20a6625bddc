//! Groups.

use super::ast::{Flags, Node};
use super::parse::{Parser, Result, err};
use super::token::TokenKind;

/// The flags that `(?…)` turns on and off.
#[derive(Clone, Copy, Debug, Default)]
struct FlagChange {
    on: FlagLetters,
    off: FlagLetters,
}

/// A set of flag letters.
#[derive(Clone, Copy, Debug, Default)]
struct FlagLetters {
    i: bool,
    m: bool,
    s: bool,
    x: bool,
    a: bool,
    u: bool,
}

impl FlagLetters {
    fn get(&mut self, letter: char) -> Option<&mut bool> {
        Some(match letter {
            'i' => &mut self.i,
            'm' => &mut self.m,
            's' => &mut self.s,
            'x' => &mut self.x,
            'a' => &mut self.a,
            'u' => &mut self.u,
            _ => return None,
        })
    }
}

impl FlagChange {
    fn apply(self, flags: Flags) -> Flags {
        Flags {
            ignore_case: (flags.ignore_case || self.on.i) && !self.off.i,
            multi_line: (flags.multi_line || self.on.m) && !self.off.m,
            dot_all: (flags.dot_all || self.on.s) && !self.off.s,
            verbose: (flags.verbose || self.on.x) && !self.off.x,
            ascii: (flags.ascii && !self.on.u) || self.on.a,
        }
    }
}

impl Parser {
    /// The group after a `(` at `at`; `None` for a comment and for flags of the
    /// whole pattern, which change `flags`.
    pub(super) fn group(
        &mut self,
        at: usize,
        flags: &mut Flags,
        first: bool,
    ) -> Result<Option<Node>> {
        if !self.tokens.consume_if('?') {
            return self.capture(at, None, *flags).map(Some);
        }
        let Some(token) = self.tokens.get() else {
            return Err(err("unexpected end of pattern", at, 2, "write `\\(` for a literal `(`"));
        };
        let c = match token.kind {
            TokenKind::Char(c) => char::from_u32(c),
            TokenKind::Escape(_) => None,
        };
        let node = match c {
            Some('P') => return self.python_group(at, *flags).map(Some),
            Some(':') => self.group_body(at, *flags)?,
            Some('#') => {
                self.comment(at)?;
                return Ok(None);
            }
            Some('=') => self.lookaround(at, *flags, false, false)?,
            Some('!') => self.lookaround(at, *flags, true, false)?,
            Some('<') => {
                let negate = match self.tokens.peek_char() {
                    Some('=') => false,
                    Some('!') => true,
                    _ => {
                        let help = "write `(?P<name>…)` for a named group, `(?<=…)` or \
                                      `(?<!…)` for a look-behind";
                        return Err(err("unknown extension (?<", at, 3, help));
                    }
                };
                self.tokens.get();
                self.lookaround(at, *flags, negate, true)?
            }
            Some('(') => self.conditional(at, *flags)?,
            Some('>') => Node::Atomic(Box::new(self.group_body(at, *flags)?)),
            Some(letter @ ('i' | 'm' | 's' | 'x' | 'a' | 'u' | 'L' | 't' | '-')) => {
                let Some(change) = self.flags(letter, at)? else {
                    return self.global(at, flags, first).map(|()| None);
                };
                // An alternation of one is not joined with its neighbors, which
                // have other flags.
                Node::Alternation(vec![self.group_body(at, change.apply(*flags))?])
            }
            _ => {
                let help = match c {
                    Some('|') => "Python has no branch reset; use the normal group numbers",
                    Some('\'') => "write `(?P<name>…)`",
                    Some('R' | '0'..='9' | '&' | '+') => "Python has no recursion; write it out",
                    _ => "write `\\(` for a literal `(`, `(?:…)` for a group",
                };
                return Err(err("unknown extension of a group", at, 3, help));
            }
        };
        Ok(Some(node))
    }

    /// The content of a group and its `)`.
    fn group_body(&mut self, at: usize, flags: Flags) -> Result<Node> {
        let node = self.alternatives(flags, false)?;
        self.close(at)?;
        Ok(node)
    }

    fn close(&mut self, at: usize) -> Result<()> {
        if self.tokens.consume_if(')') {
            return Ok(());
        }
        let help = "close it with `)`, or write `\\(` for a literal `(`";
        Err(err("missing ), unterminated subpattern", at, 1, help))
    }

    fn capture(&mut self, at: usize, name: Option<(String, usize)>, flags: Flags) -> Result<Node> {
        let index = self.widths.len();
        self.widths.push(None);
        if let Some((name, name_at)) = name {
            let span = name.len();
            if self.names.insert(name, index).is_some() {
                let message = "redefinition of a group name";
                return Err(err(message, name_at, span, "use a unique name per group"));
            }
        }
        let node = self.group_body(at, flags)?;
        let width = node.width(&self.widths);
        if let Some(slot) = self.widths.get_mut(index) {
            *slot = Some(width);
        }
        Ok(Node::Group { index, node: Box::new(node) })
    }

    /// `(?P<name>…)` and `(?P=name)`.
    fn python_group(&mut self, at: usize, flags: Flags) -> Result<Node> {
        if self.tokens.consume_if('<') {
            let name_at = self.tokens.at();
            let name = self.name('>')?;
            return self.capture(at, Some((name, name_at)), flags);
        }
        if self.tokens.consume_if('=') {
            let name_at = self.tokens.at();
            let name = self.name(')')?;
            let group = self.named_group(&name, name_at)?;
            return self.reference(group, name_at, name.len(), flags);
        }
        let help = "write `(?P<name>…)` to name a group, `(?P=name)` to reference it";
        Err(err("unknown extension (?P", at, 3, help))
    }

    fn named_group(&self, name: &str, at: usize) -> Result<usize> {
        self.names.get(name).copied().ok_or_else(|| {
            let message = format!("unknown group name `{name}`");
            err(message, at, name.len(), "use the name of a group before it")
        })
    }

    /// The characters up to `end`, which is consumed too.
    fn until(&mut self, end: char) -> Result<String> {
        let at = self.tokens.at();
        let name = self.tokens.take_while(usize::MAX, |c| c != end);
        let span = name.chars().count();
        if self.tokens.peek().is_some() && !self.tokens.consume_if(end) {
            // A backslash, or a byte that is not UTF-8.
            return Err(bad_name(at, span + 1));
        }
        if name.is_empty() {
            return Err(err("missing group name", at, 1, "add a name"));
        }
        if self.tokens.at() == at + span {
            let message = format!("missing {end}, unterminated name");
            return Err(err(message, at, span, format!("close it with `{end}`")));
        }
        Ok(name)
    }

    fn name(&mut self, end: char) -> Result<String> {
        let at = self.tokens.at();
        let name = self.until(end)?;
        let span = name.chars().count();
        if is_identifier(&name) {
            return Ok(name);
        }
        if name.is_ascii() {
            return Err(bad_name(at, span));
        }
        let help = "use ASCII: letters, digits and `_`";
        Err(err("group names beyond ASCII are not supported", at, span, help))
    }

    fn comment(&mut self, at: usize) -> Result<()> {
        while let Some(token) = self.tokens.get() {
            if token.kind == TokenKind::Char(u32::from(')')) {
                return Ok(());
            }
        }
        Err(err("missing ), unterminated comment", at, 3, "close it with `)`"))
    }

    fn lookaround(&mut self, at: usize, flags: Flags, negate: bool, behind: bool) -> Result<Node> {
        let outer = self.in_lookbehind;
        if behind && outer.is_none() {
            self.in_lookbehind = Some(self.widths.len());
        }
        let node = self.alternatives(flags, false)?;
        self.in_lookbehind = outer;
        self.close(at)?;
        let mut width = None;
        if behind {
            let (low, high) = node.width(&self.widths);
            width = u32::try_from(low).ok().filter(|_| low == high);
            if width.is_none() {
                let help = "make all alternatives the same length, or write one look-behind \
                            per alternative: `(?:(?<=a)|(?<=bc))`";
                let span = self.tokens.at() - at;
                return Err(err("look-behind requires fixed-width pattern", at, span, help));
            }
        }
        Ok(Node::Lookaround { node: Box::new(node), negate, behind: width })
    }

    /// `(?(group)yes|no)`
    fn conditional(&mut self, at: usize, flags: Flags) -> Result<Node> {
        let name_at = self.tokens.at();
        let name = self.until(')')?;
        let span = name.chars().count();
        let group = if is_identifier(&name) {
            self.named_group(&name, name_at)?
        } else {
            let number = Some(&name).filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
            match number.map(|n| n.parse::<usize>().unwrap_or(usize::MAX)) {
                None => return Err(bad_name(name_at, span)),
                Some(0) => {
                    let help = "groups are numbered from 1";
                    return Err(err("bad group number", name_at, span, help));
                }
                Some(number) => {
                    self.conditions.push((number, name_at));
                    number
                }
            }
        };
        self.check_behind(group, name_at, span)?;
        let mut flags = flags;
        let yes = self.branch(&mut flags)?;
        let mut no = Node::Empty;
        if self.tokens.consume_if('|') {
            no = self.branch(&mut flags)?;
            if self.tokens.peek_char() == Some('|') {
                let message = "conditional backref with more than two branches";
                let help = "put the alternatives into a group: `(?(1)a|(?:b|c))`";
                return Err(err(message, self.tokens.at(), 1, help));
            }
        }
        self.close(at)?;
        Ok(Node::Conditional { group, yes: Box::new(yes), no: Box::new(no) })
    }

    fn branch(&mut self, flags: &mut Flags) -> Result<Node> {
        self.sequence(flags, false)
    }

    /// Applies the flags of the whole pattern, which `flags` has stored in
    /// `global`.
    fn global(&mut self, at: usize, flags: &mut Flags, first: bool) -> Result<()> {
        if !first {
            let span = self.tokens.at() - at;
            let message = "global flags not at the start of the expression";
            let help = "move them to the start, or limit them to a group: `(?i:…)`";
            return Err(err(message, at, span, help));
        }
        *flags = self.global;
        Ok(())
    }

    /// Flag letters after `(?`; `None` if they apply to the whole pattern.
    fn flags(&mut self, letter: char, at: usize) -> Result<Option<FlagChange>> {
        let mut change = FlagChange::default();
        let mut c = letter;
        if c != '-' {
            loop {
                set(&mut change.on, c, at, self.tokens.at())?;
                if change.on.a && change.on.u {
                    let help = "keep one of them";
                    return Err(err("flags `a` and `u` exclude each other", at, 3, help));
                }
                c = self.flag_char(at)?;
                if matches!(c, ')' | '-' | ':') {
                    break;
                }
            }
        }
        if c == ')' {
            self.unicode |= change.on.u;
            let ascii = self.global.ascii || change.on.a;
            self.global = change.apply(self.global);
            self.global.ascii = ascii;
            return Ok(None);
        }
        if c == '-' {
            loop {
                c = self.flag_char(at)?;
                if c == ':' {
                    break;
                }
                set(&mut change.off, c, at, self.tokens.at())?;
                if change.off.a || change.off.u {
                    let message = "bad inline flags: cannot turn off flags `a` and `u`";
                    let span = self.tokens.at() - at;
                    return Err(err(message, at, span, "turn on the other one: `(?u:…)`"));
                }
            }
            let (on, off) = (change.on, change.off);
            if !(off.i || off.m || off.s || off.x) {
                return Err(err("missing flag", at, 3, "add a flag after the `-`"));
            }
            if on.i && off.i || on.m && off.m || on.s && off.s || on.x && off.x {
                let span = self.tokens.at() - at;
                let message = "bad inline flags: flag turned on and off";
                return Err(err(message, at, span, "keep one of them"));
            }
        }
        Ok(Some(change))
    }

    fn flag_char(&mut self, at: usize) -> Result<char> {
        let c = self.tokens.peek_char().ok_or_else(|| {
            err("missing -, : or ) after flags", at, 3, "write `(?i)` or `(?i:…)`")
        })?;
        self.tokens.get();
        Ok(c)
    }
}

fn set(letters: &mut FlagLetters, c: char, at: usize, end: usize) -> Result<()> {
    if let Some(flag) = letters.get(c) {
        *flag = true;
        return Ok(());
    }
    let span = end.saturating_sub(at);
    Err(match c {
        'L' => {
            let help = "remove it: command lines are text";
            err("bad inline flags: cannot use `L` with text", at, span, help)
        }
        't' => {
            let message = "the flag `t` is not supported: Python 3.13 does not have it";
            err(message, at, span, "remove it: it does not affect matching")
        }
        _ => {
            let help = "the flags are `a`, `i`, `m`, `s`, `u` and `x`";
            err("unknown flag", at, span, help)
        }
    })
}

fn bad_name(at: usize, span: usize) -> crate::PatternError {
    let help = "use letters, digits and `_`, a letter or `_` first";
    err("bad character in group name", at, span, help)
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

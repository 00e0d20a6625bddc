//! Assertions, look-around, back-references and atomic parts of the
//! backtracking engine.

use super::ast::{Assert, Fold};
use super::backtrack::{BITSET_WORDS_PER_STEP, Frame, NONE, Run, StepLimit};
use super::class::{is_word, lower};
use crate::python::text::{decode, decode_last};

impl Run<'_> {
    /// Matches the part at `pc` atomically: after its first match, no
    /// alternative match of it is tried.
    pub(super) fn match_atomic(
        &mut self,
        pc: usize,
        at: usize,
    ) -> Result<Option<usize>, StepLimit> {
        let base = self.vm.stack.len();
        let end = self.run(pc, at)?;
        if end.is_some() {
            // Frames in nested atomic parts are scanned once per level.
            self.charge((self.vm.stack.len() - base) as u64 / BITSET_WORDS_PER_STEP)?;
            // The frames that restore slots and repeats are kept, in case the
            // whole match fails later.
            let stack = &mut self.vm.stack;
            let mut kept = base;
            for index in base..stack.len() {
                if let Some(Frame::Slot { .. } | Frame::Repeat { .. }) = stack.get(index) {
                    stack.swap(kept, index);
                    kept += 1;
                }
            }
            stack.truncate(kept);
        }
        Ok(end)
    }

    pub(super) fn lookaround(
        &mut self,
        pc: usize,
        at: usize,
        negate: bool,
        behind: Option<u32>,
    ) -> Result<bool, StepLimit> {
        let mut start = at;
        for _ in 0..behind.unwrap_or(0) {
            self.charge(1)?;
            match decode_last(self.text, start) {
                Some((_, len)) => start -= len,
                None => return Ok(negate),
            }
        }
        if !negate {
            return Ok(self.match_atomic(pc, start)?.is_some());
        }
        let base = self.vm.stack.len();
        if self.run(pc, start)?.is_none() {
            return Ok(true);
        }
        // Undo its changes of slots and repeats, and try no alternative.
        while self.vm.stack.len() > base {
            if let Some(Frame::Slot { .. } | Frame::Repeat { .. }) = self.vm.stack.last() {
                self.backtrack()?;
            } else {
                self.vm.stack.pop();
            }
        }
        Ok(false)
    }

    /// Matches each iteration atomically, as CPython does.
    pub(super) fn possessive(
        &mut self,
        pc: usize,
        at: usize,
        min: u32,
        max: Option<u32>,
    ) -> Result<Option<usize>, StepLimit> {
        let mut at = at;
        let mut last = NONE;
        let mut count = 0;
        while count < min || (max.is_none_or(|max| count < max) && last != at) {
            if count >= min {
                last = at;
            }
            self.charge(1)?;
            match self.match_atomic(pc, at)? {
                Some(end) => at = end,
                None if count < min => return Ok(None),
                None => break,
            }
            count = count.saturating_add(1);
        }
        Ok(Some(at))
    }

    /// The match of a group, if it has matched.
    pub(super) fn group(&self, group: usize) -> Option<&[u8]> {
        let start = *self.vm.slots.get(group * 2)?;
        let end = *self.vm.slots.get(group * 2 + 1)?;
        if start == NONE || end == NONE { None } else { self.text.get(start..end) }
    }

    pub(super) fn backref(
        &mut self,
        group: usize,
        fold: Fold,
        at: usize,
    ) -> Result<Option<usize>, StepLimit> {
        let Some(expected) = self.group(group) else { return Ok(None) };
        let (mut end, mut compared) = (at, 0);
        let mut is_same = true;
        while let Some((c, len)) = decode(expected, compared).filter(|_| is_same) {
            let actual = decode(self.text, end);
            is_same = actual.is_some_and(|(actual, _)| match fold {
                Fold::Exact => c == actual,
                Fold::Ascii => lower(c, true) == lower(actual, true),
                Fold::Unicode => lower(c, false) == lower(actual, false),
            });
            compared += len;
            end += actual.map_or(0, |d| d.1);
        }
        // The compared bytes are charged even if they differ.
        self.charge(compared as u64)?;
        Ok(is_same.then_some(end))
    }

    pub(super) fn holds(&self, assert: Assert, at: usize) -> bool {
        let text = self.text;
        match assert {
            Assert::Start => at == 0,
            Assert::LineStart => at == 0 || text.get(at - 1) == Some(&b'\n'),
            Assert::End => at == text.len(),
            Assert::BeforeLastNewline => {
                at == text.len() || (at + 1 == text.len() && text.last() == Some(&b'\n'))
            }
            Assert::LineEnd => at == text.len() || text.get(at) == Some(&b'\n'),
            Assert::Word { ascii, negate } => {
                // Before Python 3.14, neither matches an empty text.
                if text.is_empty() {
                    return false;
                }
                let before = decode_last(text, at).is_some_and(|d| is_word(d.0, ascii));
                let after = decode(text, at).is_some_and(|d| is_word(d.0, ascii));
                (before != after) != negate
            }
        }
    }
}

//! What the machine checks without taking characters one by one:
//! assertions, look-around, back-references, and parts that are matched for
//! themselves.

use super::ast::{Assert, Fold};
use super::backtrack::{BITSET_WORDS_PER_STEP, Frame, NONE, Run, StepLimit};
use super::class::{is_word, lower};
use crate::text::{decode, decode_last};

impl Run<'_> {
    /// Matches the part at `pc` for itself: once it has matched, no other way
    /// of matching it is tried.
    pub(super) fn match_atomic(
        &mut self,
        pc: usize,
        at: usize,
    ) -> Result<Option<usize>, StepLimit> {
        let base = self.backtrack.stack.len();
        let end = self.run(pc, at)?;
        if end.is_some() {
            // What lies within many such parts is looked at by each.
            self.charge((self.backtrack.stack.len() - base) as u64 / BITSET_WORDS_PER_STEP)?;
            // What it set stays, and is still put back when all of it turns
            // out to lead nowhere.
            let stack = &mut self.backtrack.stack;
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

    pub(super) fn look(
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
        let base = self.backtrack.stack.len();
        if self.run(pc, start)?.is_none() {
            return Ok(true);
        }
        // What it set must not stay: undo it, and try nothing else of it.
        while self.backtrack.stack.len() > base {
            if let Some(Frame::Slot { .. } | Frame::Repeat { .. }) = self.backtrack.stack.last() {
                self.backtrack()?;
            } else {
                self.backtrack.stack.pop();
            }
        }
        Ok(false)
    }

    /// Each turn is matched for itself, as CPython does it.
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

    /// What a group has matched, if it has.
    pub(super) fn group(&self, group: usize) -> Option<&[u8]> {
        let start = *self.backtrack.slots.get(group * 2)?;
        let end = *self.backtrack.slots.get(group * 2 + 1)?;
        if start == NONE || end == NONE { None } else { self.text.get(start..end) }
    }

    pub(super) fn backref(
        &mut self,
        group: usize,
        fold: Fold,
        at: usize,
    ) -> Result<Option<usize>, StepLimit> {
        let Some(wanted) = self.group(group) else { return Ok(None) };
        let (mut end, mut seen) = (at, 0);
        let mut is_same = true;
        while let Some((c, len)) = decode(wanted, seen).filter(|_| is_same) {
            let found = decode(self.text, end);
            is_same = found.is_some_and(|(found, _)| match fold {
                Fold::Exact => c == found,
                Fold::Ascii => lower(c, true) == lower(found, true),
                Fold::Unicode => lower(c, false) == lower(found, false),
            });
            seen += len;
            end += found.map_or(0, |d| d.1);
        }
        // What was compared counts, whatever came of it.
        self.charge(seen as u64)?;
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
                // Python before 3.14: an empty text has neither.
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

//! The backtracking engine: CPython's matching algorithm with a step limit.
//!
//! It supports the constructs that no automaton supports: look-around,
//! back-references, conditionals, atomic groups, possessive quantifiers. It
//! decodes the text in place, reuses its stack from one match to the next, and
//! returns an error after a number of steps.

use std::ops::Range;

use thiserror::Error;

use super::ast::RepeatKind;
use super::program::{Inst, Program};
use crate::python::text::{decode, decode_last};

/// A rule exceeded its step limit on a text, so whether it matches is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("exceeded the step limit")]
#[non_exhaustive]
pub struct StepLimit;

/// Maximum number of stack entries (24 MiB). Exceeding it counts as exceeding
/// the step limit.
const MAX_STACK: usize = 1 << 20;
/// Words of memory that are written or read in the time of one step.
pub(super) const BITSET_WORDS_PER_STEP: u64 = 16;
/// No position.
pub(super) const NONE: usize = usize::MAX;

/// Memory that is reused from one match to the next.
#[derive(Debug, Default)]
pub(crate) struct BacktrackVm {
    pub(super) stack: Vec<Frame>,
    pub(super) slots: Vec<usize>,
    repeats: Vec<Repeat>,
    steps: u64,
}

#[derive(Clone, Copy, Debug)]
struct Repeat {
    count: u32,
    /// Start of the last iteration beyond the minimum.
    last: usize,
}

/// An action when an alternative fails.
#[derive(Debug)]
pub(super) enum Frame {
    /// Continue here.
    Try { pc: u32, at: usize },
    /// Give back one character, down to `low`, and continue at `pc`.
    GiveBack { pc: u32, low: usize, at: usize },
    /// Take one more character of the instruction at `pc`, at most `left`.
    TakeMore { pc: u32, at: usize, left: u32 },
    /// Run one more iteration of the repeat at `pc`.
    LoopMore { pc: u32, at: usize },
    /// Restore a slot.
    Slot { slot: u32, old: usize },
    /// Restore a repeat.
    Repeat { repeat: u32, count: u32, last: usize },
}

impl BacktrackVm {
    /// Frees stack capacity above this number of bytes, which a single text may
    /// have required.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let frames = bytes / size_of::<Frame>();
        if self.stack.capacity() > frames {
            self.stack.clear();
            self.stack.shrink_to(frames);
        }
    }

    /// The range of the first match. `steps` is the step limit and is reduced by
    /// the steps taken.
    pub(super) fn find(
        &mut self,
        program: &Program,
        text: &[u8],
        steps: &mut u64,
    ) -> Result<Option<Range<usize>>, StepLimit> {
        let mut at = 0;
        self.steps = *steps;
        let result = loop {
            let can_start = match (&program.first, text.get(at)) {
                (Some(first), Some(byte)) => first[usize::from(*byte)],
                (Some(_), None) => false,
                (None, _) => true,
            };
            if can_start {
                match self.match_at(program, text, at) {
                    Ok(None) => {}
                    Ok(Some(end)) => break Ok(Some(at..end)),
                    Err(limit) => break Err(limit),
                }
            }
            match decode(text, at) {
                Some((_, len)) if !program.anchored => at += len,
                _ => break Ok(None),
            }
        };
        *steps = self.steps;
        result
    }

    /// The end of the match that starts at `at`.
    pub(super) fn find_at(
        &mut self,
        program: &Program,
        text: &[u8],
        at: usize,
        steps: u64,
    ) -> Result<Option<usize>, StepLimit> {
        self.steps = steps;
        self.match_at(program, text, at)
    }

    /// Finds the first match, or that which starts at `start`, and keeps its groups for
    /// [`group`](Self::group). `steps` is reduced as in [`find`](Self::find).
    pub(super) fn capture(
        &mut self,
        program: &Program,
        text: &[u8],
        start: Option<usize>,
        steps: &mut u64,
    ) -> Result<bool, StepLimit> {
        if let Some(start) = start {
            let end = self.find_at(program, text, start, *steps);
            *steps = self.steps;
            if end?.is_some() {
                return Ok(true);
            }
        }
        self.find(program, text, steps).map(|range| range.is_some())
    }

    /// The range of a group in the match that was found last, if the group took part in it.
    pub(crate) fn group(&self, group: usize) -> Option<Range<usize>> {
        let start = *self.slots.get(group * 2)?;
        let end = *self.slots.get(group * 2 + 1)?;
        (start != NONE && end != NONE && start <= end).then_some(start..end)
    }

    fn match_at(
        &mut self,
        program: &Program,
        text: &[u8],
        at: usize,
    ) -> Result<Option<usize>, StepLimit> {
        self.stack.clear();
        self.slots.clear();
        self.slots.resize(program.slots, NONE);
        self.repeats.clear();
        self.repeats.resize(program.repeats, Repeat { count: 0, last: NONE });
        let mut run = Run { vm: self, insts: &program.insts, text };
        run.charge((program.slots + program.repeats) as u64 / BITSET_WORDS_PER_STEP)?;
        run.run(0, at)
    }
}

/// One attempt to match at a position.
pub(super) struct Run<'a> {
    pub(super) vm: &'a mut BacktrackVm,
    insts: &'a [Inst],
    pub(super) text: &'a [u8],
}

impl Run<'_> {
    /// Runs from `pc` to an `Accept`, and returns the position there. Recursive,
    /// limited by the nesting depth of groups.
    pub(super) fn run(&mut self, pc: usize, at: usize) -> Result<Option<usize>, StepLimit> {
        let base = self.vm.stack.len();
        let mut state = Some((pc, at));
        loop {
            let Some((pc, at)) = state else {
                if self.vm.stack.len() <= base {
                    return Ok(None);
                }
                state = self.backtrack()?;
                continue;
            };
            self.charge(1)?;
            let Some(inst) = self.insts.get(pc) else { return Ok(None) };
            if matches!(inst, Inst::Accept) {
                return Ok(Some(at));
            }
            state = self.step(inst, pc, at)?;
        }
    }

    pub(super) fn charge(&mut self, steps: u64) -> Result<(), StepLimit> {
        let left = self.vm.steps.checked_sub(steps);
        self.vm.steps = left.unwrap_or(0);
        left.map(drop).ok_or(StepLimit)
    }

    fn push(&mut self, frame: Frame) -> Result<(), StepLimit> {
        if self.vm.stack.len() >= MAX_STACK {
            return Err(StepLimit);
        }
        self.vm.stack.push(frame);
        Ok(())
    }

    /// Executes one instruction; returns the next state, or `None` if it fails.
    fn step(
        &mut self,
        inst: &Inst,
        pc: usize,
        at: usize,
    ) -> Result<Option<(usize, usize)>, StepLimit> {
        let next = pc + 1;
        Ok(match inst {
            Inst::Set(set) => {
                decode(self.text, at).filter(|d| set.contains(d.0)).map(|d| (next, at + d.1))
            }
            Inst::Many { .. } => self.many(inst, pc, at)?,
            Inst::Assert(assert) => self.holds(*assert, at).then_some((next, at)),
            Inst::Split(first, second) => {
                self.push(Frame::Try { pc: index(*second), at })?;
                Some((*first, at))
            }
            Inst::Jump(to) => Some((*to, at)),
            Inst::Save(slot) => {
                if let Some(value) = self.vm.slots.get_mut(*slot) {
                    let old = std::mem::replace(value, at);
                    self.push(Frame::Slot { slot: index(*slot), old })?;
                }
                Some((next, at))
            }
            Inst::LoopEnter(repeat) => {
                self.set_repeat(*repeat, Repeat { count: 0, last: NONE })?;
                Some((next, at))
            }
            Inst::LoopIter { repeat, min, max, lazy, exit } => {
                let current = self.repeat(*repeat);
                if current.count < *min {
                    self.set_repeat(*repeat, Repeat { count: current.count + 1, ..current })?;
                    Some((next, at))
                } else if *lazy {
                    self.push(Frame::LoopMore { pc: index(pc), at })?;
                    Some((*exit, at))
                } else if max.is_none_or(|max| current.count < max) && current.last != at {
                    self.push(Frame::Try { pc: index(*exit), at })?;
                    let count = current.count.saturating_add(1);
                    self.set_repeat(*repeat, Repeat { count, last: at })?;
                    Some((next, at))
                } else {
                    Some((*exit, at))
                }
            }
            Inst::Lookaround { negate, behind, exit } => {
                self.lookaround(next, at, *negate, *behind)?.then_some((*exit, at))
            }
            Inst::Atomic { exit } => self.match_atomic(next, at)?.map(|end| (*exit, end)),
            Inst::Possessive { min, max, exit } => {
                self.possessive(next, at, *min, *max)?.map(|end| (*exit, end))
            }
            Inst::Backref { group, fold } => {
                self.backref(*group, *fold, at)?.map(|end| (next, end))
            }
            Inst::IfGroup { group, no } => {
                Some((if self.group(*group).is_some() { next } else { *no }, at))
            }
            Inst::Accept => None,
        })
    }

    pub(super) fn backtrack(&mut self) -> Result<Option<(usize, usize)>, StepLimit> {
        let Some(frame) = self.vm.stack.pop() else { return Ok(None) };
        Ok(match frame {
            Frame::Try { pc, at } => Some((pc as usize, at)),
            Frame::GiveBack { pc, low, at } => {
                self.charge(1)?;
                let at = decode_last(self.text, at).map_or(low, |d| at - d.1);
                if at > low {
                    self.push(Frame::GiveBack { pc, low, at })?;
                }
                Some((pc as usize, at))
            }
            Frame::TakeMore { pc, at, left } => {
                let Some(Inst::Many { set, .. }) = self.insts.get(pc as usize) else {
                    return Ok(None);
                };
                let Some((_, len)) = decode(self.text, at).filter(|d| set.contains(d.0)) else {
                    return Ok(None);
                };
                self.charge(1)?;
                if left > 1 {
                    self.push(Frame::TakeMore { pc, at: at + len, left: left - 1 })?;
                }
                Some((pc as usize + 1, at + len))
            }
            Frame::LoopMore { pc, at } => {
                let Some(Inst::LoopIter { repeat, max, .. }) = self.insts.get(pc as usize) else {
                    return Ok(None);
                };
                let current = self.repeat(*repeat);
                if max.is_some_and(|max| current.count >= max) || current.last == at {
                    return Ok(None);
                }
                let count = current.count.saturating_add(1);
                self.set_repeat(*repeat, Repeat { count, last: at })?;
                Some((pc as usize + 1, at))
            }
            Frame::Slot { slot, old } => {
                if let Some(value) = self.vm.slots.get_mut(slot as usize) {
                    *value = old;
                }
                None
            }
            Frame::Repeat { repeat, count, last } => {
                if let Some(value) = self.vm.repeats.get_mut(repeat as usize) {
                    *value = Repeat { count, last };
                }
                None
            }
        })
    }

    /// A repeat of one character.
    fn many(
        &mut self,
        inst: &Inst,
        pc: usize,
        at: usize,
    ) -> Result<Option<(usize, usize)>, StepLimit> {
        let Inst::Many { set, min, max, kind } = inst else { return Ok(None) };
        let max_count = if *kind == RepeatKind::Lazy { *min } else { max.unwrap_or(u32::MAX) };
        let (mut end, mut low, mut count) = (at, at, 0);
        while count < max_count {
            let Some((_, len)) = decode(self.text, end).filter(|d| set.contains(d.0)) else {
                break;
            };
            self.charge(1)?;
            end += len;
            count += 1;
            if count == *min {
                low = end;
            }
        }
        if count < *min {
            return Ok(None);
        }
        match kind {
            RepeatKind::Greedy if end > low => {
                self.push(Frame::GiveBack { pc: index(pc + 1), low, at: end })?;
            }
            RepeatKind::Lazy => {
                let left = max.unwrap_or(u32::MAX) - min;
                if left > 0 {
                    self.push(Frame::TakeMore { pc: index(pc), at: end, left })?;
                }
            }
            _ => {}
        }
        Ok(Some((pc + 1, end)))
    }

    fn repeat(&self, repeat: usize) -> Repeat {
        self.vm.repeats.get(repeat).copied().unwrap_or(Repeat { count: 0, last: NONE })
    }

    fn set_repeat(&mut self, repeat: usize, to: Repeat) -> Result<(), StepLimit> {
        let Some(value) = self.vm.repeats.get_mut(repeat) else { return Ok(()) };
        let Repeat { count, last } = std::mem::replace(value, to);
        self.push(Frame::Repeat { repeat: index(repeat), count, last })
    }
}

/// Indices fit into 32 bits, because a pattern has at most 64 KiB.
fn index(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::parse::parse;

    const STEPS: u64 = 10_000_000;

    /// The result for a text, and the steps taken.
    fn run(pattern: &str, text: &[u8]) -> (Result<Option<Range<usize>>, StepLimit>, u64) {
        let parsed = parse(pattern.as_bytes()).unwrap();
        let program = Program::new(&parsed.node, parsed.groups);
        let mut steps = STEPS;
        let range = BacktrackVm::default().find(&program, text, &mut steps);
        (range, STEPS - steps)
    }

    /// Only comparisons that matched were charged, so that some patterns
    /// compared the text with itself at each position without a charge: minutes
    /// on a long text.
    #[test]
    fn failed_comparisons_are_charged() {
        let text = |len| [vec![b'a'; len], b"b".to_vec()].concat();
        for len in [100, 1_000] {
            // At each position after the first, all bytes up to the end.
            let compared = (len * len / 2) as u64;
            let (range, steps) = run(r"^(?=(a*b)).+?\1", &text(len));
            assert_eq!(range, Ok(None));
            assert!(steps > compared && steps < 2 * compared + 20_000, "{steps}");
        }
        // A charge above the rest uses all of the rest.
        let long = text(6_000_000);
        assert_eq!(run(r"^(?=(a*b)).+?\1", &long), (Err(StepLimit), STEPS));
    }

    /// Clearing the slots of groups at each position was not charged either.
    #[test]
    fn clearing_groups_is_charged() {
        let pattern = format!("(?=b){}", "()".repeat(20_000));
        let (range, steps) = run(&pattern, &[b'a'; 1_000]);
        assert_eq!(range, Ok(None));
        assert!(steps > 1_000 * 40_000 / BITSET_WORDS_PER_STEP, "{steps}");
        let repeats = format!("(?=b){}", "(?:ab)*".repeat(8_000));
        assert!(run(&repeats, &[b'a'; 1_000]).1 > 1_000 * 8_000 / BITSET_WORDS_PER_STEP);
        // A few groups are free.
        assert!(run("(?=b)()()()", &[b'a'; 1_000]).1 < 4_000);
    }
}

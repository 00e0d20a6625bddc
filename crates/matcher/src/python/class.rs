//! What a class means: `[a-z\d]`, `\w`, a literal, each with its flags.
//!
//! Ignoring case follows CPython step by step, since it has no closed rule:
//! the characters of a class are lowered, those that share an upper case are
//! added, and then the *lowered* character of the text is looked up; unless no
//! character of the class has case, then the text is looked up as it is.

use super::ast::Flags;
use super::set::{CharSet, MAX, contains, negate};
use super::tables::{DIGIT, EXTRA, LOWER, SPACE, UPPER, WORD};

/// `\d`, `\s` or `\w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    Digit,
    Space,
    Word,
}

/// A part of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Char(u32),
    Range(u32, u32),
    /// The second says whether it is negated (`\D`).
    Category(Category, bool),
}

/// A class as it is written, before flags give it a meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) items: Vec<Item>,
    pub(super) negate: bool,
}

impl Class {
    /// The characters that it matches.
    pub(super) fn resolve(&self, flags: Flags) -> CharSet {
        let set = if flags.ignore_case {
            ignoring_case(&self.items, flags.ascii)
        } else {
            CharSet::new(self.items.iter().flat_map(|i| ranges(i, flags.ascii)).collect())
        };
        if self.negate { set.negated() } else { set }
    }
}

impl Class {
    /// Whether a character of it has case.
    pub(super) fn has_case(&self, ascii: bool) -> bool {
        self.items.iter().any(|item| match *item {
            Item::Char(c) => has_case(c, ascii),
            Item::Range(first, last) => {
                last > 0xffff || cased().any(|c| (first..=last).contains(&c) && has_case(c, ascii))
            }
            Item::Category(..) => false,
        })
    }
}

/// Whether `c` is a word character; bytes that are not UTF-8 are none.
pub(crate) fn is_word(c: u32, ascii: bool) -> bool {
    match u8::try_from(c) {
        Ok(byte) if byte < 128 => byte.is_ascii_alphanumeric() || byte == b'_',
        _ => !ascii && contains(WORD, c),
    }
}

/// Lower case as the flags have it.
pub(crate) fn lower(c: u32, ascii: bool) -> u32 {
    if c < 128 {
        return if (65..=90).contains(&c) { c + 32 } else { c };
    }
    if ascii { c } else { mapped(LOWER, c) }
}

fn upper(c: u32) -> u32 {
    mapped(UPPER, c)
}

/// The character that a table of (first, last, step, difference) makes of `c`.
fn mapped(table: &[(u32, u32, u32, i32)], c: u32) -> u32 {
    // Runs with a step may interleave, at most two deep.
    let start = table.partition_point(|run| run.0 <= c);
    for &(first, last, step, difference) in table.iter().take(start).rev().take(4) {
        if c <= last && (c - first).is_multiple_of(step) {
            return c.saturating_add_signed(difference);
        }
    }
    c
}

fn has_case(c: u32, ascii: bool) -> bool {
    if ascii {
        return u8::try_from(c).is_ok_and(|b| b.is_ascii_alphabetic());
    }
    lower(c, false) != c || upper(c) != c
}

fn extra(c: u32, ascii: bool) -> &'static [u32] {
    if ascii {
        return &[];
    }
    EXTRA.binary_search_by_key(&c, |e| e.0).ok().and_then(|i| EXTRA.get(i)).map_or(&[], |e| e.1)
}

fn ranges(item: &Item, ascii: bool) -> Vec<(u32, u32)> {
    match *item {
        Item::Char(c) => vec![(c, c)],
        Item::Range(first, last) => vec![(first, last)],
        Item::Category(category, negated) => {
            let set = category_ranges(category, ascii);
            if negated { negate(set) } else { set.to_vec() }
        }
    }
}

fn category_ranges(category: Category, ascii: bool) -> &'static [(u32, u32)] {
    match (category, ascii) {
        (Category::Digit, true) => &[(0x30, 0x39)],
        (Category::Digit, false) => DIGIT,
        (Category::Space, true) => &[(0x09, 0x0d), (0x20, 0x20)],
        (Category::Space, false) => SPACE,
        (Category::Word, true) => &[(0x30, 0x39), (0x41, 0x5a), (0x5f, 0x5f), (0x61, 0x7a)],
        (Category::Word, false) => WORD,
    }
}

/// All characters whose case changes.
fn cased() -> impl Iterator<Item = u32> {
    LOWER.iter().chain(UPPER).flat_map(|&(first, last, step, _)| {
        (first..=last).step_by(usize::try_from(step).unwrap_or(1))
    })
}

fn ignoring_case(items: &[Item], ascii: bool) -> CharSet {
    if let [Item::Char(c)] = *items {
        return literal_ignoring_case(c, ascii);
    }
    let mut lowered: Vec<(u32, u32)> = Vec::new();
    // Ranges that reach beyond U+FFFF are compared with the upper case too.
    let mut wide: Vec<(u32, u32)> = Vec::new();
    let mut any_cased = false;
    let add = |c: u32, lowered: &mut Vec<(u32, u32)>| {
        let low = lower(c, ascii);
        lowered.push((low, low));
        lowered.extend(extra(low, ascii).iter().map(|k| (*k, *k)));
    };
    for item in items {
        match *item {
            Item::Char(c) if c > 0xffff => {
                // CPython keeps these as they are.
                any_cased = true;
                lowered.push((c, c));
            }
            Item::Char(c) => {
                any_cased |= has_case(c, ascii);
                add(c, &mut lowered);
            }
            Item::Range(first, last) => {
                let inside: Vec<u32> = cased().filter(|c| (first..=last).contains(c)).collect();
                any_cased |= last > 0xffff || inside.iter().any(|c| has_case(*c, ascii));
                // A character without case is its own lower case, and one
                // that is not its own must not stay.
                let narrow = last.min(0xffff);
                for (from, to) in without_lowered(first, narrow, ascii) {
                    lowered.push((from, to));
                }
                for c in inside.into_iter().filter(|c| *c <= 0xffff) {
                    add(c, &mut lowered);
                }
                if last > 0xffff {
                    wide.push((first, last));
                }
            }
            Item::Category(..) => lowered.extend(ranges(item, ascii)),
        }
    }
    let plain = || CharSet::new(items.iter().flat_map(|i| ranges(i, ascii)).collect());
    if !any_cased {
        return plain();
    }
    let wanted = CharSet::new(lowered);
    let matches = |c: u32| {
        let low = lower(c, ascii);
        let up = upper(low);
        wanted.contains(low)
            || wide.iter().any(|r| (r.0..=r.1).contains(&low) || (r.0..=r.1).contains(&up))
    };
    closed_under_case(&wanted, &wide, matches)
}

/// The code points from `first` to `last` that are their own lower case.
fn without_lowered(first: u32, last: u32, ascii: bool) -> Vec<(u32, u32)> {
    let mut out = Vec::new();
    let mut next = first;
    let mut changed: Vec<u32> =
        cased().filter(|c| (first..=last).contains(c) && lower(*c, ascii) != *c).collect();
    changed.sort_unstable();
    changed.dedup();
    for c in changed {
        if c > next {
            out.push((next, c - 1));
        }
        next = c + 1;
    }
    if next <= last {
        out.push((next, last));
    }
    out
}

/// The characters for which `matches` holds, which for those without case is
/// to be in `wanted` or `wide`.
fn closed_under_case(
    wanted: &CharSet,
    wide: &[(u32, u32)],
    matches: impl Fn(u32) -> bool,
) -> CharSet {
    let all = CharSet::new(wanted.ranges().iter().chain(wide).copied().collect());
    let mut with_case: Vec<u32> = cased().collect();
    with_case.sort_unstable();
    with_case.dedup();
    let case_set = CharSet::new(with_case.iter().map(|c| (*c, *c)).collect());
    // Without case: in `all` and not in `case_set`.
    let mut outside = negate(all.ranges());
    outside.extend_from_slice(case_set.ranges());
    let mut out = CharSet::new(outside).negated().ranges().to_vec();
    out.extend(with_case.into_iter().filter(|c| matches(*c)).map(|c| (c, c)));
    debug_assert!(out.iter().all(|r| r.1 <= MAX));
    CharSet::new(out)
}

fn literal_ignoring_case(c: u32, ascii: bool) -> CharSet {
    if !has_case(c, ascii) {
        return CharSet::new(vec![(c, c)]);
    }
    let low = lower(c, ascii);
    let wanted: Vec<u32> = std::iter::once(low).chain(extra(low, ascii).iter().copied()).collect();
    let mut out: Vec<u32> = cased().filter(|t| wanted.contains(&lower(*t, ascii))).collect();
    out.extend(wanted.iter().filter(|t| lower(**t, ascii) == **t));
    CharSet::new(out.into_iter().map(|t| (t, t)).collect())
}

//! What a class means: `[a-z\d]`, `\w`, a literal, each with its flags.
//!
//! Ignoring case follows CPython step by step, since it has no closed rule:
//! the characters of a class are lowered, those that share an upper case are
//! added, and then the *lowered* character of the text is looked up; unless no
//! character of the class has case, then the text is looked up as it is.

use std::sync::{Arc, OnceLock};

use super::ast::Flags;
use super::set::{CharSet, MAX, contains, negate};
use super::tables::{DIGIT, EXTRA, LOWER, SPACE, UPPER, WORD};

/// `\d`, `\s` or `\w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Category {
    Digit,
    Space,
    Word,
}

/// A part of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Item {
    Char(u32),
    Range(u32, u32),
    /// The second says whether it is negated (`\D`).
    Category(Category, bool),
}

/// A class as it is written, before flags give it a meaning.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
                last > 0xffff || cased_between(first, last).iter().any(|c| has_case(*c, ascii))
            }
            Item::Category(..) => false,
        })
    }
}

/// The characters of `\w` and the like, shared by all patterns: they are
/// hundreds of ranges, and a conf may have them a million times. Case has no
/// part in it.
pub(super) fn category_set(category: Category, negated: bool, flags: Flags) -> Arc<CharSet> {
    static SETS: [OnceLock<Arc<CharSet>>; 12] = [const { OnceLock::new() }; 12];
    let number = category as usize * 4 + usize::from(negated) * 2 + usize::from(flags.ascii);
    let new = || {
        let set = CharSet::new(category_ranges(category, flags.ascii).to_vec());
        Arc::new(if negated { set.negated() } else { set })
    };
    SETS.get(number).map_or_else(new, |set| Arc::clone(set.get_or_init(new)))
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

/// What ignoring case looks up, made once.
struct CaseFolded {
    /// All characters whose case changes, sorted.
    all: Vec<u32>,
    /// Those that are not their own lower case: it and the character, sorted.
    by_lower: Vec<(u32, u32)>,
    /// `all` as a set.
    set: CharSet,
}

fn fold_case() -> &'static CaseFolded {
    static CASED: OnceLock<CaseFolded> = OnceLock::new();
    CASED.get_or_init(|| {
        let runs = LOWER.iter().chain(UPPER).flat_map(|&(first, last, step, _)| {
            (first..=last).step_by(usize::try_from(step).unwrap_or(1))
        });
        let mut all: Vec<u32> = runs.collect();
        all.sort_unstable();
        all.dedup();
        let changed = all.iter().filter(|c| lower(**c, false) != **c);
        let mut by_lower: Vec<(u32, u32)> = changed.map(|c| (lower(*c, false), *c)).collect();
        by_lower.sort_unstable();
        let set = CharSet::new(all.iter().map(|c| (*c, *c)).collect());
        CaseFolded { all, by_lower, set }
    })
}

/// The characters with case from `first` to `last`.
fn cased_between(first: u32, last: u32) -> &'static [u32] {
    let all = &fold_case().all;
    let start = all.partition_point(|c| *c < first);
    let end = all.partition_point(|c| *c <= last);
    all.get(start..end).unwrap_or_default()
}

/// The characters that have this lower case, itself left out.
fn with_lower(low: u32, ascii: bool) -> Vec<u32> {
    let by_lower = &fold_case().by_lower;
    let start = by_lower.partition_point(|pair| pair.0 < low);
    let same = by_lower.iter().skip(start).take_while(|pair| pair.0 == low);
    same.map(|pair| pair.1).filter(|c| lower(*c, ascii) == low).collect()
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
                let inside = cased_between(first, last);
                any_cased |= last > 0xffff || inside.iter().any(|c| has_case(*c, ascii));
                // A character without case is its own lower case, and one
                // that is not its own must not stay.
                let narrow = last.min(0xffff);
                for (from, to) in strip_lowercase(first, narrow, ascii) {
                    lowered.push((from, to));
                }
                for c in inside.iter().filter(|c| **c <= 0xffff) {
                    add(*c, &mut lowered);
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
fn strip_lowercase(first: u32, last: u32, ascii: bool) -> Vec<(u32, u32)> {
    let mut out = Vec::new();
    let mut next = first;
    for &c in cased_between(first, last).iter().filter(|c| lower(**c, ascii) != **c) {
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
    // Without case: in `all` and not in the set of those with it.
    let mut outside = negate(all.ranges());
    outside.extend_from_slice(fold_case().set.ranges());
    let mut out = CharSet::new(outside).negated().ranges().to_vec();
    out.extend(fold_case().all.iter().filter(|c| matches(**c)).map(|c| (*c, *c)));
    debug_assert!(out.iter().all(|r| r.1 <= MAX));
    CharSet::new(out)
}

fn literal_ignoring_case(c: u32, ascii: bool) -> CharSet {
    if !has_case(c, ascii) {
        return CharSet::new(vec![(c, c)]);
    }
    let low = lower(c, ascii);
    let wanted: Vec<u32> = std::iter::once(low).chain(extra(low, ascii).iter().copied()).collect();
    let mut out: Vec<u32> = wanted.iter().flat_map(|w| with_lower(*w, ascii)).collect();
    out.extend(wanted.iter().filter(|t| lower(**t, ascii) == **t));
    CharSet::new(out.into_iter().map(|t| (t, t)).collect())
}

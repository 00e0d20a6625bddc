//! The characters of a class: `[a-z\d]`, `\w`, a literal, each with its flags.
//!
//! Case-insensitive matching follows the steps of CPython, because there is no
//! simple rule: the characters of a class are lowered, characters that share an
//! upper case are added, and the *lowered* character of the text is compared.
//! If no character of the class has case, the text's character is compared
//! unchanged.

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

/// A class as written, before flags are applied.
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

    /// Whether one of its characters has case.
    pub(super) fn has_case(&self, ascii: bool) -> bool {
        self.items.iter().any(|item| match *item {
            Item::Char(c) => has_case(c, ascii),
            Item::Range(first, last) => {
                last > 0xffff || cased_in_range(first, last).iter().any(|c| has_case(*c, ascii))
            }
            Item::Category(..) => false,
        })
    }
}

/// The characters of `\w` and similar, shared by all patterns: they are hundreds
/// of ranges, and a config file can contain them a million times. They do not
/// depend on case.
pub(super) fn category_set(category: Category, negated: bool, flags: Flags) -> Arc<CharSet> {
    static SETS: [OnceLock<Arc<CharSet>>; 12] = [const { OnceLock::new() }; 12];
    let number = category as usize * 4 + usize::from(negated) * 2 + usize::from(flags.ascii);
    let new = || {
        let set = CharSet::new(category_ranges(category, flags.ascii).to_vec());
        Arc::new(if negated { set.negated() } else { set })
    };
    SETS.get(number).map_or_else(new, |set| Arc::clone(set.get_or_init(new)))
}

/// Whether `c` is a word character. Bytes that are not UTF-8 are not.
pub(crate) fn is_word(c: u32, ascii: bool) -> bool {
    match u8::try_from(c) {
        Ok(byte) if byte < 128 => byte.is_ascii_alphanumeric() || byte == b'_',
        _ => !ascii && contains(WORD, c),
    }
}

/// The lower case of a character.
pub(crate) fn lower(c: u32, ascii: bool) -> u32 {
    if c < 128 {
        return if (65..=90).contains(&c) { c + 32 } else { c };
    }
    if ascii { c } else { mapped(LOWER, c) }
}

fn upper(c: u32) -> u32 {
    mapped(UPPER, c)
}

/// Maps `c` by a table of (first, last, step, difference).
fn mapped(table: &[(u32, u32, u32, i32)], c: u32) -> u32 {
    // Runs with a step can interleave, at most two at a time.
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

/// Tables for case-insensitive matching, computed once.
struct CaseFolded {
    /// All characters whose case changes, sorted.
    all: Vec<u32>,
    /// Lower case and character, for characters that are not lower case, sorted.
    by_lower: Vec<(u32, u32)>,
    /// `all` as a set.
    set: CharSet,
}

fn fold_case() -> &'static CaseFolded {
    static TABLES: OnceLock<CaseFolded> = OnceLock::new();
    TABLES.get_or_init(|| {
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
fn cased_in_range(first: u32, last: u32) -> &'static [u32] {
    let all = &fold_case().all;
    let start = all.partition_point(|c| *c < first);
    let end = all.partition_point(|c| *c <= last);
    all.get(start..end).unwrap_or_default()
}

/// The other characters with this lower case.
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
    // Ranges that extend beyond U+FFFF are compared with the upper case too.
    let mut wide: Vec<(u32, u32)> = Vec::new();
    let mut has_cased = false;
    let add = |c: u32, lowered: &mut Vec<(u32, u32)>| {
        let low = lower(c, ascii);
        lowered.push((low, low));
        lowered.extend(extra(low, ascii).iter().map(|k| (*k, *k)));
    };
    for item in items {
        match *item {
            Item::Char(c) if c > 0xffff => {
                // CPython does not change these.
                has_cased = true;
                lowered.push((c, c));
            }
            Item::Char(c) => {
                has_cased |= has_case(c, ascii);
                add(c, &mut lowered);
            }
            Item::Range(first, last) => {
                let cased = cased_in_range(first, last);
                has_cased |= last > 0xffff || cased.iter().any(|c| has_case(*c, ascii));
                // Characters that are not lower case are replaced by theirs.
                let narrow = last.min(0xffff);
                for (from, to) in strip_lowercase(first, narrow, ascii) {
                    lowered.push((from, to));
                }
                for c in cased.iter().filter(|c| **c <= 0xffff) {
                    add(*c, &mut lowered);
                }
                if last > 0xffff {
                    wide.push((first, last));
                }
            }
            Item::Category(..) => lowered.extend(ranges(item, ascii)),
        }
    }
    if !has_cased {
        return CharSet::new(items.iter().flat_map(|i| ranges(i, ascii)).collect());
    }
    let lowered = CharSet::new(lowered);
    let matches = |c: u32| {
        let low = lower(c, ascii);
        let up = upper(low);
        lowered.contains(low)
            || wide.iter().any(|r| (r.0..=r.1).contains(&low) || (r.0..=r.1).contains(&up))
    };
    case_closure(&lowered, &wide, matches)
}

/// The code points from `first` to `last` that equal their lower case.
fn strip_lowercase(first: u32, last: u32, ascii: bool) -> Vec<(u32, u32)> {
    let mut out = Vec::new();
    let mut next = first;
    for &c in cased_in_range(first, last).iter().filter(|c| lower(**c, ascii) != **c) {
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

/// The characters with case for which `matches` holds, and the characters
/// without case in `lowered` or `wide`.
fn case_closure(lowered: &CharSet, wide: &[(u32, u32)], matches: impl Fn(u32) -> bool) -> CharSet {
    let all = CharSet::new(lowered.ranges().iter().chain(wide).copied().collect());
    // Without case: in `all` and not in the set of characters with case.
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
    let lowered: Vec<u32> = std::iter::once(low).chain(extra(low, ascii).iter().copied()).collect();
    let mut out: Vec<u32> = lowered.iter().flat_map(|l| with_lower(*l, ascii)).collect();
    out.extend(lowered.iter().filter(|l| lower(**l, ascii) == **l));
    CharSet::new(out.into_iter().map(|c| (c, c)).collect())
}

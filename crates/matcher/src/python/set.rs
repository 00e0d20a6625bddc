//! Sets of characters, the leaves of a pattern.

/// The last code point.
pub(crate) const MAX: u32 = 0x10_ffff;

/// A set of code points, including surrogates: a byte of a command line that is
/// not UTF-8 is the character U+DC80 to U+DCFF, as decoded by CPython's
/// `surrogateescape`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CharSet {
    /// The ASCII part as bits, because most text is ASCII.
    ascii: u128,
    /// First and last, sorted, neither adjacent nor overlapping.
    ranges: Vec<(u32, u32)>,
}

impl CharSet {
    pub(crate) fn new(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => joined.push((first, last)),
            }
        }
        let mut ascii = 0;
        for &(first, last) in &joined {
            for c in first..=last.min(127) {
                ascii |= 1 << c;
            }
        }
        Self { ascii, ranges: joined }
    }

    pub(crate) fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    pub(crate) fn contains(&self, c: u32) -> bool {
        if c < 128 {
            return self.ascii >> c & 1 == 1;
        }
        contains(&self.ranges, c)
    }

    pub(crate) fn has_non_ascii(&self) -> bool {
        self.ranges.last().is_some_and(|r| r.1 > 127)
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut outside = negate(&self.ranges);
        outside.extend(negate(&other.ranges));
        Self::new(outside).negated()
    }

    pub(crate) fn negated(&self) -> Self {
        Self::new(negate(&self.ranges))
    }
}

/// Whether sorted ranges contain `c`.
pub(super) fn contains(ranges: &[(u32, u32)], c: u32) -> bool {
    let index = ranges.partition_point(|r| r.1 < c);
    ranges.get(index).is_some_and(|r| r.0 <= c)
}

/// All code points that are not in sorted ranges.
pub(super) fn negate(ranges: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let mut out = Vec::with_capacity(ranges.len() + 1);
    let mut next = 0;
    for &(first, last) in ranges {
        if first > next {
            out.push((next, first - 1));
        }
        next = last.saturating_add(1);
    }
    if next <= MAX {
        out.push((next, MAX));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_and_negates() {
        let set = CharSet::new(vec![(5, 9), (0, 3), (4, 4), (200, 300), (250, 260)]);
        assert_eq!(set.ranges(), [(0, 9), (200, 300)]);
        assert_eq!(set.negated().ranges(), [(10, 199), (301, MAX)]);
        assert_eq!(set.negated().negated(), set);
        for (c, inside) in [(0, true), (9, true), (10, false), (199, false), (300, true)] {
            assert_eq!(set.contains(c), inside);
            assert_eq!(set.negated().contains(c), !inside);
        }
    }
}

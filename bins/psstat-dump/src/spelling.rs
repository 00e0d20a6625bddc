//! The word that a mistyped one is meant to be.

/// The candidate that a text is most similar to, ignoring case: with at most one typing error per
/// three letters. A typing error is a wrong, missing or additional letter, or two swapped ones.
/// `None` also for a text that is a candidate.
pub(crate) fn nearest<'c>(
    text: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let lower = text.to_ascii_lowercase();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if candidate == text {
            return None;
        }
        let errors = distance(lower.as_bytes(), candidate.to_ascii_lowercase().as_bytes());
        let limit = candidate.len().max(lower.len()).div_ceil(3).min(candidate.len() - 1);
        if errors <= limit && best.is_none_or(|(fewest, _)| errors < fewest) {
            best = Some((errors, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The number of typing errors between two words (optimal string alignment).
fn distance(one: &[u8], other: &[u8]) -> usize {
    /// Longer words are not names of anything here.
    const MAX: usize = 64;
    if one.len().max(other.len()) > MAX {
        return usize::MAX;
    }
    // The rows of the last two letters and of this one.
    let mut rows = [vec![], (0..=other.len()).collect::<Vec<usize>>(), vec![0; other.len() + 1]];
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX - 1);
    for (i, letter) in one.iter().enumerate() {
        let [before, last, current] = &mut rows;
        current.clear();
        current.push(i + 1);
        for (j, its) in other.iter().enumerate() {
            let mut least = (at(last, j) + usize::from(letter != its))
                .min(at(last, j + 1) + 1)
                .min(at(current, j) + 1);
            let is_swapped =
                i > 0 && j > 0 && one.get(i - 1) == Some(its) && other.get(j - 1) == Some(letter);
            if is_swapped {
                least = least.min(at(before, j - 1) + 1);
            }
            current.push(least);
        }
        rows.rotate_left(1);
    }
    let [_, last, _] = rows;
    at(&last, other.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, other, want) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("", "abc", 3),
            ("abc", "acb", 1),
            ("abc", "abd", 1),
            ("abc", "ab", 1),
            ("abc", "xabc", 1),
            ("explain", "explian", 1),
            ("explain", "eplian", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one.as_bytes(), other.as_bytes()), want, "{one} {other}");
            assert_eq!(distance(other.as_bytes(), one.as_bytes()), want, "{other} {one}");
        }
        assert_eq!(distance(&[b'x'; 100], b"x"), usize::MAX);
    }

    #[test]
    fn nearest_of_several() {
        let words = ["rchar/s", "wchar/s", "pcpu", "rss"];
        for (text, want) in [
            ("rchra/s", Some("rchar/s")),
            ("WCHAR/S", Some("wchar/s")),
            ("wchar", Some("wchar/s")),
            ("rsss", Some("rss")),
            ("rss", None),
            ("x", None),
            ("banana", None),
        ] {
            assert_eq!(nearest(text, words), want, "{text}");
        }
    }
}

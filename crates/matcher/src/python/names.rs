//! Characters by name: `\N{EM DASH}`.
//!
//! CPython supports all names of Unicode. This table has the names of ASCII,
//! Latin-1, the usual letters of Greek and Cyrillic, and common punctuation; others are rejected.

use super::name_table::NAMES;

/// The character with this name, in upper or lower case.
pub(super) fn lookup(name: &str) -> Option<u32> {
    let name = name.to_ascii_uppercase();
    let index = NAMES.binary_search_by(|entry| entry.0.cmp(&name)).ok()?;
    NAMES.get(index).map(|entry| entry.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names() {
        assert_eq!(lookup("EM DASH"), Some(0x2014));
        assert_eq!(lookup("Latin small letter e with acute"), Some(0xe9));
        assert_eq!(lookup("em  dash"), None);
        assert!(NAMES.is_sorted());
    }

    /// The page of the rules promised all names of Greek and Cyrillic.
    #[test]
    fn documented_characters_are_those_of_the_table() {
        let page = include_str!("../../../../docs/rules.md");
        let start = page.find("`\\N{…}` other than those of printable ASCII, Latin-1,").unwrap();
        let text = &page[start..start + page[start..].find("group names").unwrap()];
        let words: Vec<&str> = text.split_whitespace().collect();
        let code = |word: &str| {
            let digits = word.strip_prefix("U+")?.trim_end_matches([',', ';']);
            u32::from_str_radix(digits, 16).ok()
        };
        let mut documented: Vec<u32> = (0x20..=0x7e).chain(0xa0..=0xff).collect();
        for (at, word) in words.iter().enumerate() {
            let Some(first) = code(word) else { continue };
            // The last one of a range is the first one of a second range of one character.
            let last = words.get(at + 1).filter(|word| **word == "to");
            let last = last.and_then(|_| code(words[at + 2])).unwrap_or(first);
            documented.extend(first..=last);
        }
        documented.sort_unstable();
        documented.dedup();
        let mut known: Vec<u32> = NAMES.iter().map(|entry| entry.1).collect();
        known.sort_unstable();
        // Without a character for U+03A2 in Unicode.
        documented.retain(|code| *code != 0x3a2);
        assert_eq!(documented, known);
    }
}

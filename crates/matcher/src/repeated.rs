//! The results of long texts, for those that occur again.
//!
//! A forked process has the command line of its parent, and a long one takes
//! milliseconds to match.

use std::hash::{BuildHasher as _, RandomState};

/// A shorter text is matched in the time that finding its result takes.
const MIN_TEXT: usize = 4 << 10;
/// Number of texts whose results are kept.
const MAX_TEXTS: usize = 64;
/// The results of a text that belongs to more images are not kept.
const MAX_IMAGES: usize = 64;

/// The results of the last long texts.
#[derive(Debug, Default)]
pub(crate) struct RepeatedTexts {
    /// Keyed with random numbers, so that no text can be made to have the hash of
    /// another.
    hasher: RandomState,
    entries: Vec<Entry>,
    /// The entry that is replaced next.
    next: usize,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    found: Vec<Found>,
    /// The made names, concatenated.
    names: String,
}

/// An image that a text belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The index of the image of the rules.
    pub(crate) image: u32,
    /// The index of the rule.
    pub(crate) rule: u32,
    /// Where its name is among the made names; empty if it is not made.
    pub(crate) name: (u32, u32),
}

impl Found {
    /// Its name, if it is made.
    pub(crate) fn made<'n>(&self, names: &'n str) -> Option<&'n str> {
        let (start, end) = self.name;
        names.get(start as usize..end as usize).filter(|name| !name.is_empty())
    }
}

/// Identifies a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    hash: u64,
    len: usize,
}

impl RepeatedTexts {
    /// The key of a text; `None` if it is short.
    pub(crate) fn key(&self, text: &[u8]) -> Option<Key> {
        let is_long = text.len() >= MIN_TEXT;
        is_long.then(|| Key { hash: self.hasher.hash_one(text), len: text.len() })
    }

    /// The images of a text and the made names, if they are known.
    pub(crate) fn get(&self, key: Key) -> Option<(&[Found], &str)> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some((&entry.found, &entry.names))
    }

    /// Keeps the images of a text, in place of the oldest result.
    pub(crate) fn insert(&mut self, key: Key, found: &[Found], names: &str) {
        if self.entries.len() < MAX_TEXTS {
            self.entries.push(Entry { key, found: Vec::new(), names: String::new() });
        }
        let Some(entry) = self.entries.get_mut(self.next) else { return };
        self.next = (self.next + 1) % MAX_TEXTS;
        entry.key = key;
        entry.found.clear();
        entry.names.clear();
        if found.len() >= MAX_IMAGES {
            // No text has this length.
            entry.key.len = usize::MAX;
            return;
        }
        entry.found.extend_from_slice(found);
        entry.names.push_str(names);
    }

    /// Forgets all results, because the rules have changed.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(image: usize) -> Found {
        Found { image: image as u32, rule: 9, name: (0, 1) }
    }

    #[test]
    fn keeps_the_last_results_of_long_texts() {
        let mut texts = RepeatedTexts::default();
        assert!(texts.key(&[b'a'; MIN_TEXT - 1]).is_none());
        let text = |n: usize| vec![b'a'; MIN_TEXT + n];
        for n in 0..MAX_TEXTS + 2 {
            let key = texts.key(&text(n)).unwrap();
            assert_eq!(texts.get(key), None);
            texts.insert(key, &[found(n), found(7)], "x");
        }
        let get = |n| texts.get(texts.key(&text(n)).unwrap());
        assert_eq!((get(0), get(1)), (None, None));
        for n in 2..MAX_TEXTS + 2 {
            assert_eq!(get(n), Some((&[found(n), found(7)][..], "x")));
        }
        let mut other = text(5);
        other[MIN_TEXT] = b'b';
        assert_eq!(texts.get(texts.key(&other).unwrap()), None);
    }

    #[test]
    fn result_with_many_images_is_not_kept() {
        let mut texts = RepeatedTexts::default();
        let key = texts.key(&[b'a'; MIN_TEXT]).unwrap();
        let all: Vec<Found> = (0..MAX_IMAGES).map(found).collect();
        texts.insert(key, &all[1..], "");
        assert_eq!(texts.get(key).unwrap().0.len(), MAX_IMAGES - 1);
        texts.clear();
        texts.insert(key, &all, "");
        assert_eq!(texts.get(key), None);
    }
}

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
    images: Vec<u32>,
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

    /// The indices of the images of a text, if they are known.
    pub(crate) fn get(&self, key: Key) -> Option<&[u32]> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(&entry.images)
    }

    /// Keeps the indices of the images of a text, in place of the oldest result.
    pub(crate) fn insert(&mut self, key: Key, images: impl Iterator<Item = usize>) {
        if self.entries.len() < MAX_TEXTS {
            self.entries.push(Entry { key, images: Vec::new() });
        }
        let Some(entry) = self.entries.get_mut(self.next) else { return };
        self.next = (self.next + 1) % MAX_TEXTS;
        entry.key = key;
        entry.images.clear();
        entry.images.extend(images.filter_map(|image| u32::try_from(image).ok()).take(MAX_IMAGES));
        if entry.images.len() == MAX_IMAGES {
            // Possibly not all of them. No text has this length.
            entry.key.len = usize::MAX;
        }
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

    #[test]
    fn keeps_the_last_results_of_long_texts() {
        let mut texts = RepeatedTexts::default();
        assert!(texts.key(&[b'a'; MIN_TEXT - 1]).is_none());
        let text = |n: usize| vec![b'a'; MIN_TEXT + n];
        for n in 0..MAX_TEXTS + 2 {
            let key = texts.key(&text(n)).unwrap();
            assert_eq!(texts.get(key), None);
            texts.insert(key, [n, 7].into_iter());
        }
        let get = |n| texts.get(texts.key(&text(n)).unwrap());
        assert_eq!((get(0), get(1)), (None, None));
        for n in 2..MAX_TEXTS + 2 {
            assert_eq!(get(n), Some(&[n as u32, 7][..]));
        }
        let mut other = text(5);
        other[MIN_TEXT] = b'b';
        assert_eq!(texts.get(texts.key(&other).unwrap()), None);
    }

    #[test]
    fn result_with_many_images_is_not_kept() {
        let mut texts = RepeatedTexts::default();
        let key = texts.key(&[b'a'; MIN_TEXT]).unwrap();
        texts.insert(key, 0..MAX_IMAGES - 1);
        assert_eq!(texts.get(key).unwrap().len(), MAX_IMAGES - 1);
        texts.clear();
        texts.insert(key, 0..MAX_IMAGES);
        assert_eq!(texts.get(key), None);
    }
}

//! Patterns in the dialect of Python's `re`.

use std::ops::Range;

use crate::pattern_error::PatternError;

#[derive(Debug)]
pub(crate) struct Pattern(regex::bytes::Regex);

impl Pattern {
    pub(crate) fn new(source: &[u8]) -> Result<Self, PatternError> {
        let text = String::from_utf8_lossy(source);
        regex::bytes::Regex::new(&text)
            .map(Self)
            .map_err(|e| PatternError::new(e.to_string(), 0, 1, "write it otherwise"))
    }

    pub(crate) fn find(&self, text: &[u8]) -> Option<Range<usize>> {
        self.0.find(text).map(|m| m.range())
    }
}

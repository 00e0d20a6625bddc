//! The error of a rejected pattern.

use thiserror::Error;

/// The reason why a pattern is rejected: Python rejects it too, or its meaning
/// cannot be kept, or it is too large.
///
/// Displays as the message alone; [`column`](Self::column) and
/// [`help`](Self::help) give the location and a suggestion.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct PatternError {
    message: String,
    /// 1-based, in characters of the pattern.
    column: usize,
    /// Length in characters, at least 1.
    span: usize,
    help: String,
}

impl PatternError {
    /// `at` is a 0-based character offset.
    pub(crate) fn new(
        message: impl Into<String>,
        at: usize,
        span: usize,
        help: impl Into<String>,
    ) -> Self {
        Self {
            message: message.into(),
            column: at.saturating_add(1),
            span: span.max(1),
            help: help.into(),
        }
    }

    /// The error message, a phrase.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Start of the error in the pattern: 1-based, in characters. A byte that is
    /// not UTF-8 counts as one character.
    pub fn column(&self) -> usize {
        self.column
    }

    /// Number of characters from [`column`](Self::column) that the error refers
    /// to; at least 1.
    pub fn span(&self) -> usize {
        self.span
    }

    /// A suggestion for an equivalent or intended pattern.
    pub fn help(&self) -> &str {
        &self.help
    }
}

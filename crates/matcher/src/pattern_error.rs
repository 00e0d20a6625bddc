//! Why a pattern is not taken.

use thiserror::Error;

/// Why a pattern is refused: Python refuses it too, or its meaning cannot be
/// kept, or it is too large.
///
/// Displays as the reason alone; [`column`](Self::column) and
/// [`remedy`](Self::remedy) say where and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct PatternError {
    /// What is wrong.
    message: String,
    /// 1-based, in characters of the pattern.
    column: usize,
    /// How many characters are meant, at least 1.
    span: usize,
    /// What to write instead.
    remedy: String,
}

impl PatternError {
    /// `at` is a 0-based character offset.
    pub(crate) fn new(
        message: impl Into<String>,
        at: usize,
        span: usize,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            message: message.into(),
            column: at.saturating_add(1),
            span: span.max(1),
            remedy: remedy.into(),
        }
    }

    /// What is wrong, in a phrase.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where in the pattern: 1-based, in characters. A byte that is not UTF-8
    /// is a character.
    pub fn column(&self) -> usize {
        self.column
    }

    /// How many characters from [`column`](Self::column) on are meant; at
    /// least 1.
    pub fn span(&self) -> usize {
        self.span
    }

    /// What to write instead.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

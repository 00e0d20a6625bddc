//! What is wrong with a line of a conf, and what to write instead.

use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// The line counts, and may well be what was meant.
    Note,
    /// The line counts; it is likely not what was meant.
    Warning,
    /// The line does not count.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One complaint about one spot of a conf.
///
/// [`Diagnostic::display`] shows it as a compiler does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Whether the line counts.
    pub severity: Severity,
    /// 1-based number of the line; 0 where the file as a whole is meant.
    pub line: usize,
    /// 1-based, in characters; a byte that is not UTF-8 is one character.
    pub column: usize,
    /// How many characters from `column` on are meant; at least 1.
    pub span: usize,
    /// The line's bytes, without its end, at most the first 64 KiB.
    pub text: Vec<u8>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl Diagnostic {
    /// Shows it with the file's name: `file:line:column`, the message, the
    /// line with a caret under the spot, the remedy.
    ///
    /// Control characters, characters that reorder text and bytes that are
    /// not UTF-8 are shown escaped (`\x1b`, `\u{202e}`), and of a long line
    /// only the part around the spot, so that the output is safe for a
    /// terminal or a log. It ends without a newline.
    pub fn display<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        crate::render::DisplayDiagnostic { diagnostic: self, file }
    }
}

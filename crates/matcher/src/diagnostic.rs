//! Diagnostics about lines of a config file.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The severity of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// The line is used and may be correct.
    Note,
    /// The line is used, but is probably a mistake.
    Warning,
    /// The line is ignored.
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

/// A message about one location of a config file.
///
/// [`Diagnostic::display`] formats it as compilers do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Whether the line is used.
    pub severity: Severity,
    /// The file, if it is known.
    pub path: Option<Arc<Path>>,
    /// 1-based line number; `None` if the diagnostic is about the whole file.
    pub line: Option<usize>,
    /// 1 if there is no line. 1-based, in characters; a byte that is not UTF-8 is one character.
    pub column: usize,
    /// Number of characters from `column` that it refers to; at least 1.
    pub span: usize,
    /// The line's bytes, without its end, at most the first 64 KiB.
    pub text: Vec<u8>,
    /// The message, a phrase.
    pub message: String,
    /// How to fix it.
    pub help: String,
}

impl Diagnostic {
    /// Formats it with the file's name: the message, `file:line:column`, the
    /// line with carets under the span, and the help. `file` is the name if the
    /// [`path`](Self::path) is unknown.
    ///
    /// Control characters, characters that reorder text and bytes that are not
    /// UTF-8 are escaped (`\x1b`, `\u{202e}`), and a long line is cut around
    /// the span, so that the output is safe for a terminal or a log. It ends
    /// without a newline.
    pub fn display<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        crate::render::DisplayDiagnostic { diagnostic: self, file }
    }
}

//! A diagnostic as text, in the format of compilers.

use std::fmt::{self, Write as _};
use std::path::Path;

use unicode_width::UnicodeWidthStr as _;

use crate::diagnostic::Diagnostic;
use crate::python::text::characters;

/// Maximum number of characters shown of a line.
const WINDOW: usize = 100;
/// Characters shown before the span if the line is cut.
const CONTEXT_COLUMNS: usize = 40;

pub(crate) struct DisplayDiagnostic<'a> {
    pub(crate) diagnostic: &'a Diagnostic,
    pub(crate) file: &'a str,
}

impl fmt::Display for DisplayDiagnostic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = self.diagnostic;
        let mut file = String::new();
        match &d.path {
            Some(path) => push_escaped_bytes(&mut file, path.as_os_str().as_encoded_bytes()),
            None => self.file.chars().for_each(|c| push_escaped(&mut file, c)),
        }
        writeln!(f, "{}: {}", d.severity, d.message)?;
        if let Some(line) = d.line {
            let number = line.to_string();
            let gutter = " ".repeat(number.len());
            let (text, carets) = excerpt(&d.text, d.column, d.span);
            writeln!(f, "{gutter}--> {file}:{number}:{}", d.column)?;
            writeln!(f, "{gutter} |")?;
            writeln!(f, "{number} | {text}")?;
            writeln!(f, "{gutter} | {carets}")?;
        } else {
            writeln!(f, " --> {file}")?;
        }
        write!(f, "  = help: {}", d.help)
    }
}

/// The escaped part of `text` around the span, and the line of carets for it.
fn excerpt(text: &[u8], column: usize, span: usize) -> (String, String) {
    let at = column.saturating_sub(1);
    // Only the window is decoded, regardless of the line's length.
    let first = if at > WINDOW - CONTEXT_COLUMNS { at - CONTEXT_COLUMNS } else { 0 };
    let mut line = String::new();
    let mut carets = String::new();
    if first > 0 {
        line.push_str("...");
        carets.push_str("   ");
    }
    let mut is_marked = false;
    let mut rest = characters(text).skip(first);
    for (index, character) in rest.by_ref().take(WINDOW).enumerate() {
        let mut escaped = String::new();
        match character {
            Ok(c) => push_escaped(&mut escaped, c),
            Err(byte) => {
                let _ = write!(escaped, "\\x{byte:02x}");
            }
        }
        let is_in_span = (first + index).checked_sub(at).is_some_and(|n| n < span.max(1));
        is_marked |= is_in_span;
        let mark = if is_in_span { '^' } else { ' ' };
        carets.extend(std::iter::repeat_n(mark, escaped.width()));
        line.push_str(&escaped);
    }
    if rest.next().is_some() {
        line.push_str("...");
    }
    if !is_marked {
        carets.push('^');
    }
    (line, carets.trim_end().to_owned())
}

/// Appends bytes that need not be UTF-8.
fn push_escaped_bytes(out: &mut String, bytes: &[u8]) {
    for character in characters(bytes) {
        match character {
            Ok(c) => push_escaped(out, c),
            Err(byte) => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
}

/// The place of a line in another file, for a message.
pub(crate) fn place(path: &Path, line: usize) -> String {
    let mut place = String::new();
    push_escaped_bytes(&mut place, path.as_os_str().as_encoded_bytes());
    let _ = write!(place, ":{line}");
    place
}

/// Part of a pattern in a message, escaped, and cut if it is long.
pub(crate) fn escaped(text: &[u8]) -> String {
    let mut out = String::new();
    let mut rest = characters(text);
    for character in rest.by_ref().take(WINDOW) {
        match character {
            Ok(c) => push_escaped(&mut out, c),
            Err(byte) => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    if rest.next().is_some() {
        out.push_str("...");
    }
    out
}

/// Appends a character. Control characters, which could control a terminal, and
/// format characters, which could reorder or hide the text after them, are
/// escaped.
fn push_escaped(out: &mut String, c: char) {
    let is_format_character = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    if c == '\t' {
        // One column wide, to keep the carets aligned.
        out.push(' ');
    } else if c.is_ascii_control() {
        let _ = write!(out, "\\x{:02x}", u32::from(c));
    } else if c.is_control() || is_format_character {
        let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
    } else {
        out.push(c);
    }
}

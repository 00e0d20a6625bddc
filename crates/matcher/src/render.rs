//! A diagnostic as text for people, as compilers show theirs.

use std::fmt::{self, Write as _};

use crate::diagnostic::Diagnostic;

/// How many characters of a line are shown at most.
const WINDOW: usize = 100;
/// How many of them stand before the spot, where the line is cut.
const CONTEXT_COLUMNS: usize = 40;

pub(crate) struct DisplayDiagnostic<'a> {
    pub(crate) diagnostic: &'a Diagnostic,
    pub(crate) file: &'a str,
}

impl fmt::Display for DisplayDiagnostic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = self.diagnostic;
        let mut file = String::new();
        escape_str(&mut file, self.file);
        writeln!(f, "{}: {}", d.severity, d.message)?;
        if d.line == 0 {
            writeln!(f, " --> {file}")?;
        } else {
            let number = d.line.to_string();
            let gutter = " ".repeat(number.len());
            let (line, marks) = excerpt(&d.text, d.column, d.span);
            writeln!(f, "{gutter}--> {file}:{}:{}", d.line, d.column)?;
            writeln!(f, "{gutter} |")?;
            writeln!(f, "{number} | {line}")?;
            writeln!(f, "{gutter} | {marks}")?;
        }
        write!(f, "  = help: {}", d.help)
    }
}

/// The part of `text` around the spot, made harmless, and the line of carets
/// that belongs under it.
fn excerpt(text: &[u8], column: usize, span: usize) -> (String, String) {
    let at = column.saturating_sub(1);
    // Only a window is ever decoded into memory, however long the line is.
    let first = if at > WINDOW - CONTEXT_COLUMNS { at - CONTEXT_COLUMNS } else { 0 };
    let mut line = String::new();
    let mut marks = String::new();
    if first > 0 {
        line.push_str("...");
        marks.push_str("   ");
    }
    let mut marked = false;
    let mut rest = characters(text).skip(first);
    for (index, character) in rest.by_ref().take(WINDOW).enumerate() {
        let mut shown = String::new();
        match character {
            Ok(c) => escape_char(&mut shown, c),
            Err(byte) => {
                let _ = write!(shown, "\\x{byte:02x}");
            }
        }
        let inside = (first + index).checked_sub(at).is_some_and(|n| n < span.max(1));
        marked |= inside;
        let mark = if inside { '^' } else { ' ' };
        marks.extend(std::iter::repeat_n(mark, width(&shown)));
        line.push_str(&shown);
    }
    if rest.next().is_some() {
        line.push_str("...");
    }
    if !marked {
        marks.push('^');
    }
    (line, marks.trim_end().to_owned())
}

/// The characters of bytes: each that is not part of valid UTF-8 by itself.
pub(crate) fn characters(text: &[u8]) -> impl Iterator<Item = Result<char, u8>> + '_ {
    text.utf8_chunks().flat_map(|chunk| {
        chunk.valid().chars().map(Ok).chain(chunk.invalid().iter().copied().map(Err))
    })
}

fn escape_str(out: &mut String, text: &str) {
    for c in text.chars() {
        escape_char(out, c);
    }
}

/// Control characters could drive a terminal and format characters could
/// reorder or hide what follows, so they are shown by number.
fn escape_char(out: &mut String, c: char) {
    let invisible = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    if c == '\t' {
        // One column wide, so that the caret stands right.
        out.push(' ');
    } else if c.is_ascii_control() {
        let _ = write!(out, "\\x{:02x}", u32::from(c));
    } else if c.is_control() || invisible {
        let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
    } else {
        out.push(c);
    }
}

/// Columns on a terminal: East Asian wide characters and emoji take two,
/// combining marks none.
fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f
        | 0x483..=0x489
        | 0x591..=0x5bd
        | 0x64b..=0x65f
        | 0x1ab0..=0x1aff
        | 0x1dc0..=0x1dff
        | 0x20d0..=0x20ff
        | 0xfe00..=0xfe0f
        | 0xfe20..=0xfe2f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xa960..=0xa97f
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

//! The config file: `imagename<white space>regex`, one rule per line.

use crate::diagnostic::{Diagnostic, Severity};
use crate::image::{ImageName, ImageNameError};
use crate::lint;
use crate::python::text::characters;
use crate::rules::Rules;

/// Maximum file length in bytes. A longer file is rejected as a whole, because
/// a part of it is not what its author wrote.
pub(crate) const MAX_FILE_LEN: usize = 4 << 20;
/// Maximum line length in bytes. A longer line is invalid.
const MAX_LINE_LEN: usize = 64 << 10;
/// Maximum number of rules. Further rules are invalid lines.
const MAX_RULES: usize = 10_000;
/// Maximum number of diagnostics; one more gives the number of the others.
const MAX_DIAGNOSTICS: usize = 1_000;

/// The rules of a config file and its diagnostics.
#[derive(Debug, Default)]
pub struct Conf {
    /// The rules of all valid lines, in their order.
    pub rules: Rules,
    /// The diagnostics in the order of the lines. A line with an
    /// [error](Severity::Error) is ignored, a line with a
    /// [warning](Severity::Warning) is used.
    pub diagnostics: Vec<Diagnostic>,
}

impl Conf {
    /// Parses a config file. It never fails: an invalid line produces a
    /// diagnostic, and all other lines are used.
    ///
    /// The bytes need not be UTF-8. Lines end in `\n` or `\r\n`; the last line
    /// may have no end. A byte order mark at the start is skipped, `#` starts a
    /// comment line, blank lines are skipped.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut parser = Parser::default();
        if bytes.len() > MAX_FILE_LEN {
            parser.report(too_large(bytes.len() as u64));
        } else {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
                parser.line(index + 1, line.strip_suffix(b"\r").unwrap_or(line));
            }
        }
        parser.finish()
    }

    /// Whether a line is invalid.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}

/// The diagnostic for a file of `len` bytes.
fn too_large(len: u64) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        line: 0,
        column: 1,
        span: 1,
        text: Vec::new(),
        message: format!("the file has {len} bytes; the maximum is {MAX_FILE_LEN}"),
        help: "make it smaller: join rules of one image with `|`, remove comments".into(),
    }
}

#[derive(Default)]
struct Parser {
    conf: Conf,
    /// Diagnostics beyond the limit.
    suppressed: usize,
    /// Whether the limit on rules has been reported.
    rule_limit_reached: bool,
}

impl Parser {
    fn line(&mut self, number: usize, line: &[u8]) {
        let start = line.iter().position(|b| !is_space(*b));
        let Some(start) = start else { return };
        if line.get(start) == Some(&b'#') {
            return;
        }
        if let Err(diagnostic) = self.rule(number, line, start) {
            self.report(diagnostic);
        }
    }

    /// Parses a line that is neither blank nor a comment. Its first character
    /// is at `start`.
    fn rule(&mut self, number: usize, line: &[u8], start: usize) -> Result<(), Diagnostic> {
        if line.len() > MAX_LINE_LEN {
            let message =
                format!("the line has {} bytes; the maximum is {MAX_LINE_LEN}", line.len());
            let start_of_line = line.get(..MAX_LINE_LEN).unwrap_or(line);
            let help = "split the rule into several lines";
            return Err(error(number, start_of_line, start, 1, message, help));
        }
        if let Some(at) = line.iter().position(|b| *b == 0) {
            let help = "remove it; to match a NUL byte, write `\\x00` (command lines have none)";
            return Err(error(number, line, at, 1, "the line contains a NUL byte", help));
        }
        let rest = line.get(start..).unwrap_or_default();
        let name_len = rest.iter().position(|b| is_space(*b)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(name_len);
        let image =
            ImageName::from_bytes(name).map_err(|e| invalid_name(number, line, start, name, e))?;
        let Some(skip) = rest.iter().position(|b| !is_space(*b)) else {
            let message = format!("image `{image}` has no regex");
            let help = format!("write `{image} REGEX` on one line");
            return Err(error(number, line, start, name.len(), message, help));
        };
        let at = start + name_len + skip;
        let pattern = rest.get(skip..).unwrap_or_default();
        // `trim_ascii_end` does not remove a vertical tab.
        let end = pattern.iter().rposition(|b| !is_space(*b)).map_or(0, |last| last + 1);
        let pattern = pattern.get(..end).unwrap_or_default();
        if self.conf.rules.rules().len() >= MAX_RULES {
            if self.rule_limit_reached {
                // Reported once, not for every further line.
                return Ok(());
            }
            self.rule_limit_reached = true;
            let message =
                format!("more than {MAX_RULES} rules; this and all later rules are ignored");
            let help = "join rules of one image with `|`";
            return Err(error(number, line, start, name.len(), message, help));
        }
        self.conf.rules.add(image, line, at..at + pattern.len(), Some(number)).map_err(|e| {
            let before = characters(line.get(..at).unwrap_or_default()).count();
            Diagnostic {
                severity: Severity::Error,
                line: number,
                column: before + e.column(),
                span: e.span(),
                text: line.to_vec(),
                message: e.message().to_owned(),
                help: e.help().to_owned(),
            }
        })
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        if self.conf.diagnostics.len() < MAX_DIAGNOSTICS {
            self.conf.diagnostics.push(diagnostic);
        } else {
            self.suppressed += 1;
        }
    }

    fn finish(mut self) -> Conf {
        for warning in lint::warnings(&self.conf.rules) {
            self.report(warning);
        }
        self.conf.diagnostics.sort_by_key(|d| d.line);
        if self.suppressed > 0 {
            self.conf.diagnostics.push(Diagnostic {
                severity: Severity::Error,
                line: 0,
                column: 1,
                span: 1,
                text: Vec::new(),
                message: format!("{} more diagnostics are not shown", self.suppressed),
                help: "fix the lines above first".into(),
            });
        }
        self.conf
    }
}

/// Whether a byte separates the name from the regex and is trimmed at its end.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// An error at byte offset `at`, `len` bytes long.
fn error(
    line: usize,
    text: &[u8],
    at: usize,
    len: usize,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        line,
        column: characters(text.get(..at).unwrap_or_default()).count() + 1,
        span: len.max(1),
        text: text.to_vec(),
        message: message.into(),
        help: help.into(),
    }
}

fn invalid_name(
    line: usize,
    text: &[u8],
    start: usize,
    name: &[u8],
    e: ImageNameError,
) -> Diagnostic {
    let (at, len) = match e {
        ImageNameError::BadCharacter { at } => (start + at, 1),
        ImageNameError::Empty | ImageNameError::TooLong { .. } => (start, name.len()),
    };
    let help = match e {
        ImageNameError::BadCharacter { .. } => {
            let suggestion: String = characters(name)
                .map(|c| match c {
                    Ok(c) if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/') => c,
                    _ => '_',
                })
                .take(ImageName::MAX_LEN)
                .collect();
            format!("write `{suggestion}`; the format of a line is `imagename<white space>regex`")
        }
        ImageNameError::Empty | ImageNameError::TooLong { .. } => "use a shorter name".to_owned(),
    };
    error(line, text, at, len, e.to_string(), help)
}

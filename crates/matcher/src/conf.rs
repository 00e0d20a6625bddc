//! The conf file: `imagename<white space>regex`, one rule a line.

use crate::diagnostic::{Diagnostic, Severity};
use crate::image::{ImageName, ImageNameError};
use crate::lint;
use crate::render::characters;
use crate::rules::Rules;

/// The largest file, in bytes. A larger one is refused as a whole: half a
/// conf is not what its author wrote.
pub(crate) const MAX_FILE_LEN: usize = 4 << 20;
/// The longest line, in bytes. A longer one is a bad line.
const MAX_LINE_LEN: usize = 64 << 10;
/// The largest number of rules. Those beyond are bad lines.
const MAX_RULES: usize = 10_000;
/// How many diagnostics are kept; one more says how many there were.
const MAX_DIAGNOSTICS: usize = 1_000;

/// What a conf says: its rules, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Conf {
    /// The rules of all good lines, in their order.
    pub rules: Rules,
    /// What is wrong, by line. A line with an [error](Severity::Error) does
    /// not count, a line with a [warning](Severity::Warning) does.
    pub diagnostics: Vec<Diagnostic>,
}

impl Conf {
    /// Reads a conf. It never fails: bad lines become diagnostics, and all
    /// others count.
    ///
    /// The bytes need not be UTF-8. Lines end in `\n` or `\r\n`, the last one
    /// may end without. A byte order mark at the start is skipped, `#` starts
    /// a comment line, blank lines are skipped.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut reader = Parser::default();
        if bytes.len() > MAX_FILE_LEN {
            reader.report(too_large(bytes.len() as u64));
        } else {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
                reader.line(index + 1, line.strip_suffix(b"\r").unwrap_or(line));
            }
        }
        reader.finish()
    }

    /// Whether a line is bad.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}

/// The complaint about a file of `len` bytes.
pub(crate) fn too_large(len: u64) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        line: 0,
        column: 1,
        span: 1,
        text: Vec::new(),
        message: format!("the file has {len} bytes, more than the {MAX_FILE_LEN} that are read"),
        help: "make it smaller: join rules of one image with `|`, drop comments".into(),
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
        if let Err(complaint) = self.rule(number, line, start) {
            self.report(complaint);
        }
    }

    /// A line that is neither blank nor a comment; it begins at `start`.
    fn rule(&mut self, number: usize, line: &[u8], start: usize) -> Result<(), Diagnostic> {
        if line.len() > MAX_LINE_LEN {
            let message =
                format!("the line has {} bytes, the longest allowed is {MAX_LINE_LEN}", line.len());
            let cut = line.get(..MAX_LINE_LEN).unwrap_or(line);
            return Err(error(number, cut, start, 1, message, "split the rule into several lines"));
        }
        if let Some(at) = line.iter().position(|b| *b == 0) {
            let remedy = "remove it; write `\\x00` to match one (command lines have none)";
            return Err(error(number, line, at, 1, "the line has a NUL byte", remedy));
        }
        let rest = line.get(start..).unwrap_or_default();
        let name_len = rest.iter().position(|b| is_space(*b)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(name_len);
        let image =
            ImageName::from_bytes(name).map_err(|e| invalid_name(number, line, start, name, e))?;
        let Some(skip) = rest.iter().position(|b| !is_space(*b)) else {
            let message = format!("image `{image}` has no regex");
            let remedy = format!("write `{image} REGEX`, both on one line");
            return Err(error(number, line, start, name.len(), message, remedy));
        };
        let at = start + name_len + skip;
        let pattern = rest.get(skip..).unwrap_or_default();
        // The standard library's white space has no vertical tab.
        let end = pattern.iter().rposition(|b| !is_space(*b)).map_or(0, |last| last + 1);
        let pattern = pattern.get(..end).unwrap_or_default();
        if self.conf.rules.rules().len() >= MAX_RULES {
            if self.rule_limit_reached {
                // Said once; every further line would say the same.
                return Ok(());
            }
            self.rule_limit_reached = true;
            let message =
                format!("more than {MAX_RULES} rules; this and all that follow are not used");
            let remedy = "join rules of one image with `|`";
            return Err(error(number, line, start, name.len(), message, remedy));
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
                help: e.remedy().to_owned(),
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
                help: "correct those above first".into(),
            });
        }
        self.conf
    }
}

/// What separates the name from the regex and is trimmed off its end.
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
    remedy: impl Into<String>,
) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        line,
        column: characters(text.get(..at).unwrap_or_default()).count() + 1,
        span: len.max(1),
        text: text.to_vec(),
        message: message.into(),
        help: remedy.into(),
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
    let remedy = match e {
        ImageNameError::BadCharacter { .. } => {
            let better: String = characters(name)
                .map(|c| match c {
                    Ok(c) if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/') => c,
                    _ => '_',
                })
                .take(ImageName::MAX_LEN)
                .collect();
            format!("write `{better}`: a line is `imagename<white space>regex`")
        }
        ImageNameError::Empty | ImageNameError::TooLong { .. } => "use a shorter name".to_owned(),
    };
    error(line, text, at, len, e.to_string(), remedy)
}

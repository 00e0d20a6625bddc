//! The config file: `imagename<white space>regex`, one rule per line, which can begin with
//! `@FIELD<white space>`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Severity};
use crate::image::{ImageName, ImageNameError};
use crate::lint;
use crate::process_text::Field;
use crate::python::text::characters;
use crate::rule::RuleSource;
use crate::rules::{RuleError, Rules};
use crate::template::{ImageTemplate, ImageTemplateError};

/// Maximum file length in bytes. A longer file is rejected as a whole, because
/// a part of it is not what its author wrote.
pub(crate) const MAX_FILE_LEN: usize = 4 << 20;
/// Maximum line length in bytes. A longer line is invalid.
const MAX_LINE_LEN: usize = 64 << 10;
/// Maximum number of rules. Further rules are invalid lines.
pub(crate) const MAX_RULES: usize = 10_000;
/// Maximum number of diagnostics of a file; one more gives the number of the
/// others.
const MAX_DIAGNOSTICS: usize = 1_000;

/// The rules of a config file, or of several, and their diagnostics.
#[derive(Debug, Default)]
pub struct Conf {
    /// The rules of all valid lines, in their order.
    pub rules: Rules,
    /// The diagnostics in the order of the files and lines. A line with an
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
        parser.begin_file(None, MAX_RULES, true);
        parser.parse(bytes);
        parser.finish()
    }

    /// Whether a line is invalid.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}

/// The diagnostic for a file of `len` bytes.
fn too_large(len: u64) -> Diagnostic {
    let message = format!("the file has {len} bytes; the maximum is {MAX_FILE_LEN}");
    let help = "make it smaller: join rules of one image with `|`, remove comments";
    of_file(Severity::Error, message, help)
}

/// A diagnostic about a whole file.
pub(crate) fn of_file(
    severity: Severity,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Diagnostic {
    Diagnostic {
        severity,
        path: None,
        line: None,
        column: 1,
        span: 1,
        text: Vec::new(),
        message: message.into(),
        help: help.into(),
    }
}

/// Parses files one after the other, as if they were one.
#[derive(Default)]
pub(crate) struct Parser {
    conf: Conf,
    files: Vec<ParsedFile>,
    /// Number of rules that the current file can add up to.
    max_rules: usize,
    /// Whether the limit on rules has been reported for the current file.
    rule_limit_reached: bool,
}

/// A file and its diagnostics.
struct ParsedFile {
    path: Option<Arc<Path>>,
    /// Number of diagnostics.
    reported: usize,
    /// Diagnostics beyond the limit.
    suppressed: usize,
    /// Its rules are those of an earlier version, whose lines are not reported.
    is_earlier: bool,
}

impl Parser {
    /// Starts with the next file, which can add this number of rules.
    pub(crate) fn begin_file(&mut self, path: Option<Arc<Path>>, max_rules: usize, is_only: bool) {
        self.conf.rules.begin_file(path.clone(), is_only);
        self.max_rules = self.conf.rules.rules().len().saturating_add(max_rules).min(MAX_RULES);
        self.rule_limit_reached = false;
        self.files.push(ParsedFile { path, reported: 0, suppressed: 0, is_earlier: false });
    }

    /// Adds the rules of the current file; returns their number.
    pub(crate) fn parse(&mut self, bytes: &[u8]) -> usize {
        let before = self.conf.rules.rules().len();
        if bytes.len() > MAX_FILE_LEN {
            self.report(too_large(bytes.len() as u64));
        } else {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
                self.line(index + 1, line.strip_suffix(b"\r").unwrap_or(line));
            }
        }
        self.conf.rules.rules().len() - before
    }

    /// Adds the rules of an earlier version of the current file, without its
    /// diagnostics; returns their number.
    pub(crate) fn parse_earlier(&mut self, bytes: &[u8]) -> usize {
        if let Some(file) = self.files.last_mut() {
            file.is_earlier = true;
        }
        self.parse(bytes)
    }

    fn line(&mut self, number: usize, line: &[u8]) {
        let start = line.iter().position(|b| !is_space(*b));
        let Some(start) = start else { return };
        if line.get(start) == Some(&b'#') {
            return;
        }
        if let Err(diagnostic) = self.rule(number, line, start) {
            self.report(*diagnostic);
        }
    }

    /// Parses a line that is neither blank nor a comment. Its first character
    /// is at `start`.
    fn rule(&mut self, number: usize, line: &[u8], start: usize) -> Result<(), Box<Diagnostic>> {
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
        let (field, start) = field(number, line, start)?;
        let rest = line.get(start..).unwrap_or_default();
        let name_len = rest.iter().position(|b| is_space(*b)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(name_len);
        let image = ImageTemplate::from_bytes(name)
            .map_err(|e| invalid_name(number, line, start, name, e))?;
        let Some(skip) = rest.iter().position(|b| !is_space(*b)) else {
            let message = format!("image `{image}` has no regex");
            let separator = if field == Field::CommandLine { "" } else { " " };
            let help = format!("write `{field}{separator}{image} REGEX` on one line");
            return Err(error(number, line, start, name.len(), message, help));
        };
        let at = start + name_len + skip;
        let pattern = rest.get(skip..).unwrap_or_default();
        // `trim_ascii_end` does not remove a vertical tab.
        let end = pattern.iter().rposition(|b| !is_space(*b)).map_or(0, |last| last + 1);
        let pattern = pattern.get(..end).unwrap_or_default();
        if self.conf.rules.rules().len() >= self.max_rules {
            if self.rule_limit_reached {
                // Reported once, not for every further line.
                return Ok(());
            }
            self.rule_limit_reached = true;
            let message = if self.files.len() == 1 {
                format!("more than {MAX_RULES} rules; this and all later rules are ignored")
            } else {
                format!(
                    "more than {MAX_RULES} rules in all files; this and all later rules of this \
                     file are ignored"
                )
            };
            let help = "join rules of one image with `|`";
            return Err(error(number, line, start, name.len(), message, help));
        }
        let source = RuleSource {
            text: line.to_vec(),
            pattern_range: at..at + pattern.len(),
            name_at: start,
            line: Some(number),
            path: None,
            field,
        };
        self.conf.rules.add(image, source).map_err(|e| {
            let e = match e {
                RuleError::Pattern(e) => e,
                RuleError::Name { at, len, message, help } => {
                    return error(number, line, start + at, len, message, help);
                }
            };
            let before = characters(line.get(..at).unwrap_or_default()).count();
            Box::new(Diagnostic {
                severity: Severity::Error,
                path: None,
                line: Some(number),
                column: before + e.column(),
                span: e.span(),
                text: line.to_vec(),
                message: e.message().to_owned(),
                help: e.help().to_owned(),
            })
        })
    }

    /// Adds a diagnostic of the current file.
    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        let current = self.files.len().saturating_sub(1);
        self.report_for(current, diagnostic);
    }

    fn report_for(&mut self, index: usize, mut diagnostic: Diagnostic) {
        let Some(file) = self.files.get_mut(index) else { return };
        if file.is_earlier && diagnostic.line.is_some() {
            return;
        }
        if file.reported < MAX_DIAGNOSTICS {
            file.reported += 1;
            diagnostic.path = file.path.clone();
            self.conf.diagnostics.push(diagnostic);
        } else {
            file.suppressed += 1;
        }
    }

    /// The diagnostics of the current file so far.
    pub(crate) fn reported_in_file(&self) -> Vec<Diagnostic> {
        let reported = self.files.last().map_or(0, |file| file.reported);
        let start = self.conf.diagnostics.len().saturating_sub(reported);
        self.conf.diagnostics.get(start..).unwrap_or_default().to_vec()
    }

    /// The rules of all files, and the diagnostics with those that concern several
    /// lines.
    pub(crate) fn finish(mut self) -> Conf {
        let positions: HashMap<Option<Arc<Path>>, usize> =
            self.files.iter().enumerate().map(|(index, file)| (file.path.clone(), index)).collect();
        let position = |path: &Option<Arc<Path>>| positions.get(path).copied().unwrap_or(0);
        for warning in lint::warnings(&self.conf.rules) {
            self.report_for(position(&warning.path), warning);
        }
        self.conf.diagnostics.sort_by_cached_key(|d| (position(&d.path), d.line));
        for file in self.files.iter().filter(|file| file.suppressed > 0) {
            let message = format!("{} more diagnostics are not shown", file.suppressed);
            let help = "fix the lines above first";
            let error = of_file(Severity::Error, message, help);
            self.conf.diagnostics.push(Diagnostic { path: file.path.clone(), ..error });
        }
        self.conf
    }
}

/// Whether a byte separates the name from the regex and is trimmed at its end.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// The field of a rule, and the start of its image name.
fn field(number: usize, line: &[u8], start: usize) -> Result<(Field, usize), Box<Diagnostic>> {
    let rest = line.get(start..).unwrap_or_default();
    let Some(word) = rest.strip_prefix(b"@") else {
        return Ok((Field::CommandLine, start));
    };
    let len = word.iter().position(|b| is_space(*b)).unwrap_or(word.len());
    let word = word.get(..len).unwrap_or_default();
    let Some(field) = Field::from_word(word) else {
        let message = "unknown field";
        let help = match Field::nearest(word) {
            Some(field) => format!("write `{field}`; the fields are {}", Field::list()),
            None => format!("the fields are {}", Field::list()),
        };
        return Err(error(number, line, start, characters(word).count() + 1, message, help));
    };
    let after = rest.get(len + 1..).unwrap_or_default();
    let Some(skip) = after.iter().position(|b| !is_space(*b)) else {
        let message = format!("no image name after `{field}`");
        let help = format!("write `{field} IMAGE REGEX` on one line");
        return Err(error(number, line, start, len + 1, message, help));
    };
    Ok((field, start + len + 1 + skip))
}

/// An error at byte offset `at`, `len` bytes long.
fn error(
    line: usize,
    text: &[u8],
    at: usize,
    len: usize,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Box<Diagnostic> {
    Box::new(Diagnostic {
        severity: Severity::Error,
        path: None,
        line: Some(line),
        column: characters(text.get(..at).unwrap_or_default()).count() + 1,
        span: len.max(1),
        text: text.to_vec(),
        message: message.into(),
        help: help.into(),
    })
}

fn invalid_name(
    line: usize,
    text: &[u8],
    start: usize,
    name: &[u8],
    e: ImageTemplateError,
) -> Box<Diagnostic> {
    let (at, len) = match e {
        ImageTemplateError::Name(ImageNameError::BadCharacter { at })
        | ImageTemplateError::Unclosed { at }
        | ImageTemplateError::Unopened { at } => (start + at, 1),
        ImageTemplateError::BadGroup { at, len } => {
            let group = name.get(at..at + len).unwrap_or_default();
            (start + at, characters(group).count())
        }
        ImageTemplateError::Name(_) => (start, name.len()),
    };
    let help = match e {
        ImageTemplateError::Name(ImageNameError::BadCharacter { .. }) => {
            let suggestion: String = characters(name)
                .map(|c| match c {
                    Ok(c) if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/') => c,
                    Ok(c @ ('{' | '}')) => c,
                    _ => '_',
                })
                .take(ImageName::MAX_LEN)
                .collect();
            format!("write `{suggestion}`; the format of a line is `imagename<white space>regex`")
        }
        ImageTemplateError::Unclosed { .. } => {
            "close it with `}`: `{GROUP}` is a named group of the regex".to_owned()
        }
        ImageTemplateError::Unopened { .. } => {
            "write `{GROUP}` for a named group of the regex".to_owned()
        }
        ImageTemplateError::BadGroup { .. } => {
            "name a group of the regex: `{app}` for `(?P<app>…)`".to_owned()
        }
        ImageTemplateError::Name(_) => "use a shorter name".to_owned(),
    };
    error(line, text, at, len, e.to_string(), help)
}

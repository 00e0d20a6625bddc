//! What makes the images, from the options.

use psstat_matcher::PatternError;
use psstat_matcher::file::{self, LoadError};

use crate::args::ConfArgs;
use crate::conf;
use crate::exit::Error;
use crate::selector::{self, Source};
use crate::terminal;
use psstat_support::escape;

/// Patterns, or the conf, or the executables' names.
///
/// # Errors
/// See [`Failure`].
pub(super) fn load(conf: &ConfArgs, regex: &[String], no_conf: bool) -> Result<Source, Error> {
    if !regex.is_empty() {
        let rules = selector::ad_hoc(regex)
            .map_err(|(pattern, error)| Error::Usage(pattern_error(pattern, &error)))?;
        return Ok(Source::Regex(rules));
    }
    if no_conf {
        return Ok(Source::Executable);
    }
    let location = conf::locate(conf);
    let path = conf::shown(&location.path);
    match file::load(&location.path) {
        Ok(loaded) => {
            let diagnostics = loaded.conf.diagnostics.len();
            if diagnostics > 0 {
                let check = "`psstat-dump check` shows what is wrong";
                terminal::eprint_line(&format!(
                    "psstat-dump: {path}: {diagnostics} complaints; {check}"
                ));
            } else if !location.named {
                terminal::hint(&format!("images of {path}; --no-conf for executables"));
            }
            Ok(Source::Conf { path: location.path, rules: loaded.conf.rules })
        }
        Err(LoadError::Unreadable(error))
            if !location.named && error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(Source::Executable)
        }
        Err(reason) => {
            let instead = if location.named { "" } else { "; --no-conf does without" };
            Err(Error::Usage(format!("{path} {reason}{instead}")))
        }
    }
}

/// What is wrong with a pattern, with a caret under the spot.
fn pattern_error(pattern: &str, error: &PatternError) -> String {
    let (shown, marks) = marked(pattern, error.column(), error.span());
    let (message, remedy) = (escape::text(error.message()), escape::text(error.help()));
    format!("-e: {message}\n  |\n  | {shown}\n  | {marks}\n  = help: {remedy}")
}

/// A pattern made harmless, and the line of carets that belongs under it.
/// `column` counts characters from 1.
fn marked(pattern: &str, column: usize, span: usize) -> (String, String) {
    let (mut shown, mut marks) = (String::new(), String::new());
    let spot = column..column.saturating_add(span);
    for (column, (at, character)) in (1..).zip(pattern.char_indices()) {
        let start = shown.len();
        escape::push(&mut shown, pattern.get(..at).unwrap_or_default(), character);
        let width = escape::width(shown.get(start..).unwrap_or_default());
        let mark = if spot.contains(&column) { "^" } else { " " };
        marks.push_str(&mark.repeat(width));
    }
    // The spot may be the end, as for a bracket that is never closed.
    if !marks.contains('^') {
        marks.push('^');
    }
    marks.truncate(marks.trim_end().len());
    (shown, marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caret_points_at_the_error() {
        let cases = [
            ("ab(c", 3, 1, "ab(c", "  ^"),
            ("日本(x", 3, 1, "日本(x", "    ^"),
            ("\x1b[日]", 3, 2, "\\x1b[日]", "     ^^^"),
            ("ab", 3, 1, "ab", "  ^"),
            ("", 1, 1, "", "^"),
        ];
        for (pattern, column, span, shown, marks) in cases {
            assert_eq!(marked(pattern, column, span), (shown.to_owned(), marks.to_owned()));
        }
    }
}

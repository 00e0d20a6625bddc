//! The source of the images, from the options.

use psstat_matcher::PatternError;
use psstat_matcher::file::{self, LoadError};

use crate::args::ConfArgs;
use crate::conf::{self, Origin};
use crate::exit::Error;
use crate::rule_arg::{self, RuleArg};
use crate::selector::Source;
use crate::table::units;
use crate::terminal;
use psstat_support::escape;

/// Patterns, the rules of a config file, or executable names.
///
/// # Errors
/// An invalid pattern, or a config file that cannot be used.
pub(super) fn load(conf: &ConfArgs, regex: &[RuleArg], no_conf: bool) -> Result<Source, Error> {
    if !regex.is_empty() {
        let rules = rule_arg::rules(regex)
            .map_err(|(index, error)| Error::Usage(pattern_error(regex, index, &error)))?;
        return Ok(Source::Regex(rules));
    }
    if no_conf {
        return Ok(Source::Executable);
    }
    let location = conf::locate(conf);
    let path = conf::display(&location.path);
    match file::load(&location.path) {
        Ok(loaded) => {
            let diagnostics = loaded.conf.diagnostics.len();
            if diagnostics > 0 {
                let count = units::count(diagnostics as u64, "diagnostic", "diagnostics");
                terminal::eprint_line(&format!(
                    "psstat-dump: {path}: {count}; run `psstat-dump check {path}` to see them"
                ));
            } else if !matches!(location.origin, Origin::Conf | Origin::Class) {
                let file = location.describe();
                terminal::hint(&format!("images from {file}; use --no-conf for executable names"));
            }
            Ok(Source::Conf { path: location.path, rules: loaded.conf.rules })
        }
        Err(LoadError::Unreadable(error))
            if !location.is_explicit() && error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(Source::Executable)
        }
        Err(reason) => {
            let no_conf = match location.origin {
                Origin::Conf | Origin::Class => "",
                Origin::Defaults | Origin::Host => ", or --no-conf to ignore it",
            };
            let (file, options) = (location.describe(), location.options());
            Err(Error::Usage(format!("{file} {reason}; {options}{no_conf}")))
        }
    }
}

/// Reports that no process matches. An argument of `-e` such as `app=x` can be meant as a regex.
pub(super) fn report_no_match(regex: &[RuleArg]) {
    terminal::eprint_line("psstat-dump: no process matches");
    if let Some(hint) = regex.iter().find_map(RuleArg::hint) {
        terminal::eprint_line(&format!("psstat-dump: {}", escape::text(&hint)));
    }
}

/// The message for an invalid regex, with carets under the error. With several arguments, it
/// contains the number of this one.
fn pattern_error(args: &[RuleArg], index: usize, error: &PatternError) -> String {
    let arg = args.get(index).map_or("", RuleArg::text);
    let name = args.get(index).and_then(RuleArg::name);
    // The name consists of ASCII characters.
    let column = error.column() + name.map_or(0, |name| name.len() + "=".len());
    let (shown, marks) = underline(arg, column, error.span());
    let number =
        if args.len() > 1 { format!(" ({} of {})", index + 1, args.len()) } else { String::new() };
    let (message, help) = (escape::text(error.message()), escape::text(error.help()));
    format!("-e{number}: {message}\n  |\n  | {shown}\n  | {marks}\n  = help: {help}")
}

/// An escaped pattern, and the line of carets below it. `column` counts
/// characters from 1.
fn underline(pattern: &str, column: usize, span: usize) -> (String, String) {
    let (mut shown, mut marks) = (String::new(), String::new());
    let range = column..column.saturating_add(span);
    for (column, (at, character)) in (1..).zip(pattern.char_indices()) {
        let start = shown.len();
        escape::push(&mut shown, pattern.get(..at).unwrap_or_default(), character);
        let width = escape::width(shown.get(start..).unwrap_or_default());
        let mark = if range.contains(&column) { "^" } else { " " };
        marks.push_str(&mark.repeat(width));
    }
    // The error can be at the end, as for a missing parenthesis.
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
            assert_eq!(underline(pattern, column, span), (shown.to_owned(), marks.to_owned()));
        }
    }
}

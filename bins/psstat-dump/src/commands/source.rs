//! The source of the images, from the options.

use psstat_matcher::PatternError;
use psstat_matcher::Severity;

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
    let unusable = |reason: &str| {
        let no_conf = match location.origin {
            Origin::Conf | Origin::Class => "",
            Origin::Defaults(_) | Origin::Host => ", or --no-conf to ignore it",
        };
        let (file, options) = (location.describe(), location.options());
        Error::Usage(format!("{file} {reason}; {options}{no_conf}"))
    };
    let loaded = match location.load(None) {
        Ok(loaded) => loaded,
        Err(unreadable) if !location.is_explicit() && unreadable.is_missing() => {
            return Ok(Source::Executable);
        }
        Err(unreadable) => return Err(unusable(&unreadable.error.to_string())),
    };
    if loaded.conf.rules.is_empty() {
        let error = loaded.files.iter().find_map(|file| file.error.as_ref());
        let reason = error.map_or("has no rule".to_owned(), ToString::to_string);
        return Err(unusable(&reason));
    }
    for file in loaded.files.iter().filter(|file| !file.is_current()) {
        let reason = file.error.as_ref().map_or(String::new(), ToString::to_string);
        let path = conf::display(&file.path);
        terminal::eprint_line(&format!("psstat-dump: {path} {}", escape::text(&reason)));
    }
    let diagnostics = loaded.conf.diagnostics.iter().filter(|d| d.severity != Severity::Note);
    let diagnostics = diagnostics.count();
    if diagnostics > 0 {
        let count = units::count(diagnostics as u64, "diagnostic", "diagnostics");
        let paths: Vec<String> = location.paths.iter().map(|path| conf::display(path)).collect();
        let (paths, list) = (paths.join(" "), paths.join(", "));
        terminal::eprint_line(&format!(
            "psstat-dump: {list}: {count}; run `psstat-dump check {paths}` to see them"
        ));
    } else if !matches!(location.origin, Origin::Conf | Origin::Class) {
        let file = location.describe();
        terminal::hint(&format!("images from {file}; use --no-conf for executable names"));
    }
    let has_several_files = loaded.files.len() > 1;
    Ok(Source::Conf { paths: location.paths, has_several_files, rules: loaded.conf.rules })
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

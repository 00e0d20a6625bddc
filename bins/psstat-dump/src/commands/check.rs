//! `check`.

use std::path::Path;

use psstat_matcher::ownership::OwnerPolicy;
use psstat_matcher::sources::SourceFile;
use psstat_matcher::{CoverageCheck, Diagnostic, MAX_IMAGES_PER_RULE, Rule, Rules, Severity};
use psstat_support::cmdline::is_collector;
use serde_json::{Value, json};

use crate::args::{CheckArgs, ConfArgs, Format, GlobalArgs};
use crate::conf::{self, Unreadable};
use crate::exit::{Error, Outcome};
use crate::measure;
use crate::process_text::field_name;
use crate::table::{csv, json, units};
use crate::terminal::{self, Paint};
use psstat_support::escape;

/// Number of images made by a rule that are printed as text.
const MAX_MADE_SHOWN: usize = 50;

/// A diagnostic for a config file.
struct FileDiagnostic {
    severity: &'static str,
    file: Option<String>,
    /// Starts at 1; `None`: the whole file.
    line: Option<usize>,
    column: Option<usize>,
    message: String,
    help: String,
    /// The diagnostic in the format of a compiler.
    text: String,
}

/// The rules of a config file, and the processes on this host.
struct CheckReport<'a> {
    rules: &'a Rules,
    files: &'a [SourceFile],
    /// Number of matching processes per rule.
    matched: Vec<usize>,
    /// The images that each rule makes of these processes, if its image name has groups, with the
    /// number of processes of each.
    made: Vec<Vec<(String, usize)>>,
    /// Number of processes with a command line.
    processes: usize,
}

impl CheckReport<'_> {
    /// Each rule with its image and its number of matching processes.
    fn rules(&self) -> impl Iterator<Item = (&Rule, &str, usize)> {
        self.rules.rules().iter().zip(&self.matched).map(|(rule, &matched)| {
            let image = self.rules.images().get(rule.image());
            (rule, image.map_or("", |image| image.as_str()), matched)
        })
    }
}

pub(super) fn run(
    global: &GlobalArgs,
    conf_args: &ConfArgs,
    args: &CheckArgs,
) -> Result<Outcome, Error> {
    let mut located = conf::locate(conf_args);
    if !args.paths.is_empty() {
        located.paths.clone_from(&args.paths);
    }
    let mut diagnostics = Vec::new();
    let of_lines =
        |list: &[Diagnostic]| -> Vec<FileDiagnostic> { list.iter().map(of_line).collect() };
    let owner = OwnerPolicy::new(conf::owner(args.conf_owner.as_deref()), false);
    let sources = match located.load(Some(&owner)) {
        Ok(sources) => sources,
        Err(Unreadable { path, error }) if !args.paths.is_empty() => {
            return Err(Error::Usage(format!("{} {error}", conf::display(&path))));
        }
        Err(Unreadable { error, .. }) => {
            let (file, options) = (located.describe(), located.options());
            return Err(Error::Usage(format!("{file} {error}; {options}")));
        }
    };
    diagnostics.extend(of_lines(&sources.conf.diagnostics));
    for file in &sources.files {
        let name = conf::display(&file.path);
        let kind = if file.is_directory { "directory" } else { "file" };
        for issue in &file.ownership {
            diagnostics.push(of_file("warning", &name, &format!("the {kind} {issue}")));
        }
        if let Some(error) = &file.error {
            let severity = if file.is_current() { "warning" } else { "error" };
            diagnostics.push(of_file(severity, &name, &format!("the {kind} {error}")));
        }
    }
    let (files, rules) = (&sources.files, &sources.conf.rules);
    let path = conf::joined(&located.paths);
    let name = match located.paths.as_slice() {
        [path] => conf::display(path),
        paths => units::count(paths.len() as u64, "path", "paths"),
    };
    let has_errors = diagnostics.iter().any(|diagnostic| diagnostic.severity == "error");
    let texts = measure::process_texts(&global.proc, rules)?;
    let mut coverage = CoverageCheck::new(rules);
    for text in texts.values() {
        if is_collector(text.command_line()) {
            coverage.record_self(text.as_text());
        } else {
            coverage.record(text.as_text());
        }
    }
    diagnostics.extend(of_lines(&coverage.diagnostics()));
    let matched = coverage.matched().collect();
    let made = |rule| coverage.made(rule).map(|(name, count)| (name.to_owned(), count)).collect();
    let made = (0..rules.rules().len()).map(made).collect();
    let report = CheckReport { rules, files, matched, made, processes: texts.len() };
    let bytes = match global.format() {
        Format::Text => text(&diagnostics, &report, &name, Paint::new(global.color)).into(),
        Format::Csv => as_csv(&diagnostics, &report).into(),
        Format::Json => json::line(&as_json(&path, has_errors, &diagnostics, &report)),
    };
    terminal::print(&bytes)?;
    Ok(Outcome::when(!has_errors))
}

fn of_line(diagnostic: &Diagnostic) -> FileDiagnostic {
    FileDiagnostic {
        severity: match diagnostic.severity {
            Severity::Error => "error",
            Severity::Note => "note",
            _ => "warning",
        },
        file: diagnostic.path.as_deref().map(conf::display),
        line: diagnostic.line,
        column: diagnostic.line.map(|_| diagnostic.column),
        message: diagnostic.message.clone(),
        help: diagnostic.help.clone(),
        text: diagnostic.display("").to_string(),
    }
}

/// A diagnostic for the whole file.
fn of_file(severity: &'static str, name: &str, message: &str) -> FileDiagnostic {
    let text = format!("{severity}: {}\n --> {name}", escape::text(message));
    let (file, message) = (Some(name.to_owned()), message.to_owned());
    FileDiagnostic { severity, file, line: None, column: None, message, help: String::new(), text }
}

fn text(
    diagnostics: &[FileDiagnostic],
    report: &CheckReport<'_>,
    name: &str,
    paint: Paint,
) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let word = diagnostic.severity;
        let painted = match word {
            "error" => paint.error(word),
            "warning" => paint.warning(word),
            _ => paint.bold(word),
        };
        let rest = diagnostic.text.strip_prefix(word).unwrap_or(&diagnostic.text);
        text.push_str(&format!("{painted}{rest}\n\n"));
    }
    for ((rule, image, _), made) in report.rules().zip(&report.made) {
        if made.is_empty() {
            continue;
        }
        let line = rule.line().map(|line| format!(" (line {line})")).unwrap_or_default();
        let images = units::count(made.len() as u64, "image", "images");
        text.push_str(&format!("{image}{line} makes {images}:\n"));
        for (name, processes) in made.iter().take(MAX_MADE_SHOWN) {
            let processes = units::count(*processes as u64, "process", "processes");
            text.push_str(&format!("  {name}  {processes}\n"));
        }
        if let Some(more @ 1..) = made.len().checked_sub(MAX_MADE_SHOWN) {
            text.push_str(&format!("  and {more} more\n"));
        }
        if made.len() > MAX_IMAGES_PER_RULE {
            text.push_str(&format!(
                "  The collector makes {MAX_IMAGES_PER_RULE} images per rule by default and counts \
                 further ones together.\n"
            ));
        }
        text.push('\n');
    }
    let count = |severity| diagnostics.iter().filter(|one| one.severity == severity).count();
    let plural = |number: usize, one, many| units::count(number as u64, one, many);
    let from = match report.files.iter().filter(|file| file.rules > 0).count() {
        _ if report.files.len() == 1 => String::new(),
        count => format!(" from {}", plural(count, "file", "files")),
    };
    text.push_str(&format!(
        "{name}: {} for {}{from}, {}, {}; {} on this host\n",
        plural(report.rules.rules().len(), "rule", "rules"),
        plural(report.rules.images().len(), "image", "images"),
        plural(count("error"), "error", "errors"),
        plural(count("warning"), "warning", "warnings"),
        plural(report.processes, "process", "processes"),
    ));
    text
}

/// The diagnostics, then the rules with `rule` as their severity.
fn as_csv(diagnostics: &[FileDiagnostic], report: &CheckReport<'_>) -> String {
    let heading = ["severity", "line", "column", "message", "help", "image", "regex", "processes"];
    let heading = heading.into_iter().chain(["file", "field"]);
    let mut text = csv::line(heading.map(str::to_owned));
    let number = |value: Option<usize>| value.map(|n| n.to_string()).unwrap_or_default();
    let none = String::new;
    for diagnostic in diagnostics {
        let fields = [
            diagnostic.severity.to_owned(),
            number(diagnostic.line),
            number(diagnostic.column),
            escape::text(&diagnostic.message),
            escape::text(&diagnostic.help),
            none(),
            none(),
            none(),
            diagnostic.file.clone().unwrap_or_default(),
            none(),
        ];
        text.push_str(&csv::line(fields.into_iter()));
    }
    for (rule, image, matched) in report.rules() {
        let fields = [
            "rule".to_owned(),
            number(rule.line()),
            none(),
            none(),
            none(),
            image.to_owned(),
            escape::bytes(rule.pattern()),
            matched.to_string(),
            rule.path().map(conf::display).unwrap_or_default(),
            field_name(rule.field()).to_owned(),
        ];
        text.push_str(&csv::line(fields.into_iter()));
    }
    text
}

fn as_json(
    path: &Path,
    has_errors: bool,
    diagnostics: &[FileDiagnostic],
    report: &CheckReport<'_>,
) -> Value {
    let diagnostics: Vec<Value> = diagnostics
        .iter()
        .map(|one| {
            json!({
                "severity": one.severity, "file": one.file, "line": one.line, "column": one.column,
                "message": one.message, "help": one.help,
            })
        })
        .collect();
    let rules: Vec<Value> = report
        .rules()
        .zip(&report.made)
        .map(|((rule, image, matched), made)| {
            let mut fields = serde_json::Map::new();
            fields.insert("file".to_owned(), conf::file_of(rule));
            fields.insert("line".to_owned(), json!(rule.line()));
            fields.insert("image".to_owned(), json!(image));
            fields.insert("field".to_owned(), json!(field_name(rule.field())));
            json::insert_text(&mut fields, "regex", rule.pattern());
            fields.insert("processes".to_owned(), json!(matched));
            let made =
                made.iter().map(|(name, processes)| json!({"image": name, "processes": processes}));
            fields.insert("made_images".to_owned(), made.collect());
            fields.into()
        })
        .collect();
    let mut document = json::document("check");
    json::insert_path(&mut document, "conf", path);
    let mut add = |field: &str, value: Value| document.insert(field.to_owned(), value);
    add("ok", json!(!has_errors));
    add("processes_on_host", json!(report.processes));
    let files = report.files.iter().map(|file| {
        let error = file.error.as_ref().map(ToString::to_string);
        json!({"path": conf::display(&file.path), "rules": file.rules, "error": error})
    });
    add("files", files.collect());
    add("diagnostics", Value::Array(diagnostics));
    add("rules", Value::Array(rules));
    Value::Object(document)
}

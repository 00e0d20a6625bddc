//! What is wrong with a conf, and what its rules match on this machine.

use std::path::Path;

use psstat_matcher::file::{self, LoadError};
use psstat_matcher::ownership::check_ownership;
use psstat_matcher::{CoverageCheck, Diagnostic, Rule, Rules, Severity};
use psstat_support::cmdline::is_collector;
use serde_json::{Value, json};

use crate::args::{CheckArgs, ConfArgs, Format, GlobalArgs};
use crate::exit::{Error, Outcome};
use crate::table::{csv, json, units};
use crate::terminal::{self, Paint};
use crate::{conf, measure};
use psstat_support::escape;

/// One thing to say about a conf.
struct Finding {
    severity: &'static str,
    /// 1-based; `None`: the file as a whole.
    line: Option<usize>,
    column: Option<usize>,
    message: String,
    remedy: String,
    /// The whole of it as a compiler shows it.
    excerpt: String,
}

/// The rules of a conf, and what is there for them.
struct CheckReport<'a> {
    rules: &'a Rules,
    /// How many processes each rule matches.
    matched: Vec<usize>,
    /// How many processes there are.
    here: usize,
}

impl CheckReport<'_> {
    /// Each rule, its image's name, and how many processes it matches.
    fn rules(&self) -> impl Iterator<Item = (&Rule, &str, usize)> {
        self.rules.rules().iter().zip(&self.matched).map(|(rule, &matched)| {
            let image = self.rules.images().get(rule.image());
            (rule, image.map_or("", |image| image.as_str()), matched)
        })
    }
}

/// Checks a conf.
///
/// # Errors
/// See [`Failure`].
pub(super) fn run(
    global: &GlobalArgs,
    conf_args: &ConfArgs,
    args: &CheckArgs,
) -> Result<Outcome, Error> {
    let path = match &args.path {
        Some(path) => path.clone(),
        None => conf::locate(conf_args).path,
    };
    let name = conf::shown(&path);
    let mut findings = Vec::new();
    let of_lines = |diagnostics: &[Diagnostic]| -> Vec<Finding> {
        diagnostics.iter().map(|diagnostic| of_line(diagnostic, &name)).collect()
    };
    let rules = match file::load(&path) {
        Ok(loaded) => {
            findings.extend(of_lines(&loaded.conf.diagnostics));
            for complaint in check_ownership(&loaded.stamp, &args.conf_owner) {
                findings.push(of_file("warning", &name, &complaint.to_string()));
            }
            loaded.conf.rules
        }
        Err(LoadError::NoRule(diagnostics)) => {
            findings.extend(of_lines(&diagnostics));
            findings.push(of_file("error", &name, &LoadError::NoRule(Vec::new()).to_string()));
            Rules::default()
        }
        Err(reason) => return Err(Error::Usage(format!("{name} {reason}"))),
    };
    let bad = findings.iter().any(|finding| finding.severity == "error");
    let here = measure::command_lines(&global.proc)?;
    let mut survey = CoverageCheck::new(&rules);
    for text in here.values() {
        if is_collector(text) {
            survey.record_self(text);
        } else {
            survey.record(text);
        }
    }
    findings.extend(of_lines(&survey.diagnostics()));
    let checked =
        CheckReport { rules: &rules, matched: survey.matched().collect(), here: here.len() };
    let bytes = match global.format() {
        Format::Text => text(&findings, &checked, &name, Paint::new(global.color)).into(),
        Format::Csv => as_csv(&findings, &checked).into(),
        Format::Json => json::line(&as_json(&path, bad, &findings, &checked)),
    };
    terminal::print(&bytes)?;
    Ok(Outcome::when(!bad))
}

fn of_line(diagnostic: &Diagnostic, name: &str) -> Finding {
    let has_line = diagnostic.line > 0;
    Finding {
        severity: match diagnostic.severity {
            Severity::Error => "error",
            Severity::Note => "note",
            _ => "warning",
        },
        line: has_line.then_some(diagnostic.line),
        column: has_line.then_some(diagnostic.column),
        message: diagnostic.message.clone(),
        remedy: diagnostic.help.clone(),
        excerpt: diagnostic.display(name).to_string(),
    }
}

/// `what` says it of the file.
fn of_file(severity: &'static str, name: &str, what: &str) -> Finding {
    let message = format!("the file {what}");
    let shown = format!("{severity}: {}\n --> {name}", escape::text(&message));
    Finding { severity, line: None, column: None, message, remedy: String::new(), excerpt: shown }
}

fn text(findings: &[Finding], checked: &CheckReport<'_>, name: &str, paint: Paint) -> String {
    let mut text = String::new();
    for finding in findings {
        let word = finding.severity;
        let painted = match word {
            "error" => paint.error(word),
            "warning" => paint.warning(word),
            _ => paint.bold(word),
        };
        let rest = finding.excerpt.strip_prefix(word).unwrap_or(&finding.excerpt);
        text.push_str(&format!("{painted}{rest}\n\n"));
    }
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let plural = |number: usize, one, many| units::count(number as u64, one, many);
    text.push_str(&format!(
        "{name}: {} of {}, {}, {}; {} here\n",
        plural(checked.rules.rules().len(), "rule", "rules"),
        plural(checked.rules.images().len(), "image", "images"),
        plural(count("error"), "error", "errors"),
        plural(count("warning"), "warning", "warnings"),
        plural(checked.here, "process", "processes"),
    ));
    text
}

/// The findings, and then the rules, whose severity is `rule`.
fn as_csv(findings: &[Finding], checked: &CheckReport<'_>) -> String {
    let heading = ["severity", "line", "column", "message", "remedy", "image", "regex", "procs"];
    let mut text = csv::line(heading.into_iter().map(str::to_owned));
    let number = |value: Option<usize>| value.map(|n| n.to_string()).unwrap_or_default();
    let none = String::new;
    for finding in findings {
        let fields = [
            finding.severity.to_owned(),
            number(finding.line),
            number(finding.column),
            escape::text(&finding.message),
            escape::text(&finding.remedy),
            none(),
            none(),
            none(),
        ];
        text.push_str(&csv::line(fields.into_iter()));
    }
    for (rule, image, matched) in checked.rules() {
        let fields = [
            "rule".to_owned(),
            number(rule.line()),
            none(),
            none(),
            none(),
            image.to_owned(),
            escape::bytes(rule.pattern()),
            matched.to_string(),
        ];
        text.push_str(&csv::line(fields.into_iter()));
    }
    text
}

fn as_json(path: &Path, bad: bool, findings: &[Finding], checked: &CheckReport<'_>) -> Value {
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "severity": finding.severity, "line": finding.line, "column": finding.column,
                "message": finding.message, "remedy": finding.remedy,
            })
        })
        .collect();
    let of_rules: Vec<Value> = checked
        .rules()
        .map(|(rule, image, matched)| {
            let mut fields = serde_json::Map::new();
            fields.insert("line".to_owned(), json!(rule.line()));
            fields.insert("image".to_owned(), json!(image));
            json::insert_text(&mut fields, "regex", rule.pattern());
            fields.insert("procs".to_owned(), json!(matched));
            fields.into()
        })
        .collect();
    let mut document = json::document("check");
    json::insert_path(&mut document, "conf", path);
    let mut add = |field: &str, value: Value| document.insert(field.to_owned(), value);
    add("ok", json!(!bad));
    add("procs_here", json!(checked.here));
    add("findings", Value::Array(findings));
    add("rules", Value::Array(of_rules));
    Value::Object(document)
}

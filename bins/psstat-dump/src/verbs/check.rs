//! What is wrong with a conf, and what its rules match on this machine.

use std::path::Path;

use psstat_matcher::file::{self, Unusable};
use psstat_matcher::ownership::ownership;
use psstat_matcher::{Diagnostic, Rules, Severity};
use serde_json::{Value, json};

use crate::args::{CheckArgs, Common, ConfArgs, Format};
use crate::exit::{Failure, Found};
use crate::terminal::{self, Paint};
use crate::{conf, csv, harmless, json, measure, units};

/// One thing to say about a conf.
struct Finding {
    severity: &'static str,
    /// 1-based; `None`: the file as a whole.
    line: Option<usize>,
    column: Option<usize>,
    message: String,
    remedy: String,
    /// The whole of it as a compiler shows it.
    shown: String,
}

/// Checks a conf.
///
/// # Errors
/// See [`Failure`].
pub(super) fn run(
    common: &Common,
    conf_args: &ConfArgs,
    args: &CheckArgs,
) -> Result<Found, Failure> {
    let path = match &args.path {
        Some(path) => path.clone(),
        None => conf::locate(conf_args).path,
    };
    let name = conf::shown(&path);
    let mut findings = Vec::new();
    let rules = match file::load(&path) {
        Ok(loaded) => {
            let diagnostics = &loaded.conf.diagnostics;
            findings.extend(diagnostics.iter().map(|diagnostic| of_line(diagnostic, &name)));
            for complaint in ownership(&loaded.identity, &args.conf_owner) {
                findings.push(of_file("warning", &name, &complaint.to_string()));
            }
            loaded.conf.rules
        }
        Err(Unusable::NoRule(diagnostics)) => {
            findings.extend(diagnostics.iter().map(|diagnostic| of_line(diagnostic, &name)));
            findings.push(of_file("error", &name, &Unusable::NoRule(Vec::new()).to_string()));
            Rules::default()
        }
        Err(reason) => {
            findings.push(of_file("error", &name, &reason.to_string()));
            Rules::default()
        }
    };
    let bad = findings.iter().any(|finding| finding.severity == "error");
    let here: Vec<Vec<u8>> = measure::command_lines(&common.proc)?.into_values().collect();
    let matched: Vec<usize> = rules
        .rules()
        .iter()
        .map(|rule| here.iter().filter(|text| matches!(rule.find(text), Ok(Some(_)))).count())
        .collect();
    findings.extend(of_machine(&rules, &matched, &here, &name));
    let bytes = match common.format() {
        Format::Text => text(&findings, &rules, &here, &name, Paint::new(common.color)).into(),
        Format::Csv => as_csv(&findings).into(),
        Format::Json => json::line(&as_json(&path, bad, &findings, &rules, &matched, &here)),
    };
    terminal::print(&bytes)?;
    Ok(Found::when(!bad))
}

fn of_line(diagnostic: &Diagnostic, name: &str) -> Finding {
    let has_line = diagnostic.line > 0;
    Finding {
        severity: match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        line: has_line.then_some(diagnostic.line),
        column: has_line.then_some(diagnostic.column),
        message: diagnostic.message.clone(),
        remedy: diagnostic.remedy.clone(),
        shown: diagnostic.display(name).to_string(),
    }
}

/// `what` says it of the file.
fn of_file(severity: &'static str, name: &str, what: &str) -> Finding {
    let message = format!("the file {what}");
    let shown = format!("{severity}: {}\n --> {name}", harmless::text(&message));
    Finding { severity, line: None, column: None, message, remedy: String::new(), shown }
}

/// Whether a command line is that of psstat's collector.
fn is_collector(text: &[u8]) -> bool {
    let program = text.split(|&byte| byte == b' ').next().unwrap_or_default();
    program.rsplit(|&byte| byte == b'/').next() == Some(b"psstat-tcollector")
}

/// What the processes here say about the rules. That a rule matches nothing is
/// no fault: what it is for may be down, which is what it is there to tell.
fn of_machine(rules: &Rules, matched: &[usize], here: &[Vec<u8>], name: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (rule, &matched) in rules.rules().iter().zip(matched) {
        let all = here.len();
        let (severity, message, remedy) = if matched == 0 {
            let message = format!("matches none of the {all} processes here");
            ("note", message, "if it should, `psstat-dump -e REGEX` tries a regex out")
        } else if matched == all && all > 1 {
            let message = format!("matches all {all} processes here");
            ("warning", message, "say more of the command line, or anchor it with `^` or `$`")
        } else if here
            .iter()
            .any(|text| is_collector(text) && matches!(rule.find(text), Ok(Some(_))))
        {
            let message = "matches the collector itself".to_owned();
            ("warning", message, "if it should not, anchor it with `^`, or say more")
        } else {
            continue;
        };
        let image = rules.images().get(rule.image()).map_or("", |image| image.as_str());
        let place = rule.line().map(|line| format!(":{line}")).unwrap_or_default();
        let source = harmless::bytes(rule.source());
        findings.push(Finding {
            severity,
            line: rule.line(),
            column: None,
            shown: format!(
                "{severity}: {message}\n --> {name}{place}\n  | {image} {source}\n  = help: {remedy}"
            ),
            message,
            remedy: remedy.to_owned(),
        });
    }
    let limited: usize = here.iter().map(|text| rules.classify(text, &mut |_| {}).limited).sum();
    if limited > 0 {
        let what = format!("has rules that hit their step limit, {limited} times here");
        findings.push(of_file("warning", name, &what));
    }
    findings
}

fn text(findings: &[Finding], rules: &Rules, here: &[Vec<u8>], name: &str, paint: Paint) -> String {
    let mut text = String::new();
    for finding in findings {
        let word = finding.severity;
        let painted = match word {
            "error" => paint.bad(word),
            "warning" => paint.odd(word),
            _ => paint.bold(word),
        };
        let rest = finding.shown.strip_prefix(word).unwrap_or(&finding.shown);
        text.push_str(&format!("{painted}{rest}\n\n"));
    }
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let plural = |number: usize, one, many| units::count(number as u64, one, many);
    text.push_str(&format!(
        "{name}: {} of {}, {}, {}; {} here\n",
        plural(rules.rules().len(), "rule", "rules"),
        plural(rules.images().len(), "image", "images"),
        plural(count("error"), "error", "errors"),
        plural(count("warning"), "warning", "warnings"),
        plural(here.len(), "process", "processes"),
    ));
    text
}

fn as_csv(findings: &[Finding]) -> String {
    let heading = ["severity", "line", "column", "message", "remedy"];
    let mut text = csv::line(heading.into_iter().map(str::to_owned));
    for finding in findings {
        let number = |value: Option<usize>| value.map(|n| n.to_string()).unwrap_or_default();
        let fields = [
            finding.severity.to_owned(),
            number(finding.line),
            number(finding.column),
            harmless::text(&finding.message),
            harmless::text(&finding.remedy),
        ];
        text.push_str(&csv::line(fields.into_iter()));
    }
    text
}

fn as_json(
    path: &Path,
    bad: bool,
    findings: &[Finding],
    rules: &Rules,
    matched: &[usize],
    here: &[Vec<u8>],
) -> Value {
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "severity": finding.severity, "line": finding.line, "column": finding.column,
                "message": finding.message, "remedy": finding.remedy,
            })
        })
        .collect();
    let of_rules: Vec<Value> = rules
        .rules()
        .iter()
        .zip(matched)
        .map(|(rule, matched)| {
            let image = rules.images().get(rule.image()).map(psstat_matcher::ImageName::as_str);
            let mut fields = serde_json::Map::new();
            fields.insert("line".to_owned(), json!(rule.line()));
            fields.insert("image".to_owned(), json!(image));
            json::insert_text(&mut fields, "regex", rule.source());
            fields.insert("procs".to_owned(), json!(matched));
            fields.into()
        })
        .collect();
    let mut document = json::document("check");
    json::insert_path(&mut document, "conf", path);
    let mut add = |field: &str, value: Value| document.insert(field.to_owned(), value);
    add("ok", json!(!bad));
    add("procs_here", json!(here.len()));
    add("findings", Value::Array(findings));
    add("rules", Value::Array(of_rules));
    Value::Object(document)
}

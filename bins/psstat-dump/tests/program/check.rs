//! `check`.

use psstat_testproc::TempDir;
use serde_json::json;

use crate::run::{csv, json as json_of, run, stdout, testproc, unique};

#[test]
fn reports_errors_and_match_counts() {
    let name = unique("checked");
    let _testprocs = (testproc(&name), testproc(&name));
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    let path = conf.to_str().unwrap();
    let lines = format!("# rules\nb@d x\n\nhere ^{name}$\nnowhere ^{name}-no$\nall .\nbroken (x\n");
    std::fs::write(&conf, lines).unwrap();

    let output = run(&["check", path]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    for want in [
        &format!("{path}:2:2\n  |\n2 | b@d x\n  |  ^\n"),
        &format!("{path}:7:8\n  |\n7 | broken (x\n  |        ^\n"),
        &format!("{path}:5:9\n  |\n5 | nowhere ^{name}-no$\n  |         ^"),
        &format!("{path}:6:5\n  |\n6 | all .\n  |     ^\n"),
        &format!("{path}: 3 rules for 3 images, 2 errors, 1 warning; "),
    ] {
        assert!(text.contains(want), "{want}\n--\n{text}");
    }
    assert!(!text.contains(&format!("{path}:4")), "{text}");

    let (status, document) = json_of(&["check", "--json", "--conf", path]);
    assert_eq!((status, &document["ok"], &document["kind"]), (1, &json!(false), &json!("check")));
    let rules = document["rules"].as_array().unwrap();
    assert_eq!(rules[0]["image"], "here");
    assert_eq!(rules[0]["line"], 4);
    assert_eq!(rules[0]["processes"], 2);
    assert_eq!(rules[1]["processes"], 0);
    assert_eq!(rules[2]["processes"], document["processes_on_host"]);
    let severities: Vec<_> = document["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["severity"].clone(), one["line"].clone()))
        .collect();
    let want = [("error", 2), ("error", 7), ("note", 5), ("warning", 6)];
    assert_eq!(severities, want.map(|(severity, line)| (json!(severity), json!(line))));

    let records = csv(&stdout(&run(&["--csv", "check", path])));
    let heading = ["severity", "line", "column", "message", "help", "image", "regex", "processes"];
    assert_eq!(records[0], heading);
    assert_eq!(records[1][..3], ["error", "2", "2"]);
    assert_eq!(records[5], ["rule", "4", "", "", "", "here", &format!("^{name}$"), "2"]);
    assert_eq!(records[6][6..], [format!("^{name}-no$"), "0".to_owned()]);
    assert_eq!(records.len(), 8);
}

/// Valid lines that are probably mistakes.
#[test]
fn warns_about_likely_mistakes() {
    let name = unique("mistaken");
    let _collector = testproc(&format!("/opt/{name}/psstat-tcollector"));
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    let lines = format!(
        "empty a*\nfi-lrh {name}/\nFI_lrh {name}\nweb nginx-{name}\nweb nginx-{name}-worker\nall .\n"
    );
    std::fs::write(&conf, lines).unwrap();
    let (status, document) = json_of(&["check", "--json", conf.to_str().unwrap()]);
    assert_eq!(status, 0);
    let diagnostics = document["diagnostics"].as_array().unwrap();
    let has = |severity: &str, line: usize, message: &str| {
        diagnostics.iter().any(|one| {
            one["severity"] == severity
                && one["line"] == line
                && one["message"].as_str().unwrap().contains(message)
        })
    };
    for (severity, line, message) in [
        ("warning", 1, "matches the empty string"),
        ("warning", 2, "matches the collector itself"),
        ("warning", 3, "`fi-lrh`"),
        ("note", 4, "matches none of"),
        ("warning", 5, "the rule in line 4"),
        ("warning", 6, "matches all"),
    ] {
        assert!(has(severity, line, message), "{line}: {message}: {diagnostics:#?}");
    }
    // A rule that matches the empty string has no other diagnostic.
    assert_eq!(diagnostics.iter().filter(|one| one["line"] == 1).count(), 1);
    let output = run(&["check", conf.to_str().unwrap()]);
    let text = stdout(&output);
    assert!(text.contains(":5:5\n  |\n5 | web nginx-"), "{text}");
    assert!(text.contains("  = help: remove this line"), "{text}");
}

#[test]
fn valid_config_passes() {
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, "nothing ^nothing-of-this-name$\n").unwrap();
    let output = run(&["check", conf.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).starts_with("note: matches none of "));
}

#[test]
fn warns_about_writable_config() {
    use std::os::unix::fs::PermissionsExt as _;
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, "a b\n").unwrap();
    std::fs::set_permissions(&conf, std::fs::Permissions::from_mode(0o666)).unwrap();
    let output = run(&["check", conf.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("warning: the file is writable by others"));
}

/// The step limit used to be reported for the file, not for the rule.
#[test]
fn step_limited_rules_are_reported() {
    let name = unique("limited");
    let _testproc = testproc(&format!("{name}-{}!", "a".repeat(2_000)));
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, format!("fine {name}\nslow {name}-(a+)+\\1$\n")).unwrap();
    let text = stdout(&run(&["check", conf.to_str().unwrap()]));
    assert!(text.contains("warning: exceeded its step limit"), "{text}");
    assert!(text.contains(":2:6\n") && text.contains("= help: "), "{text}");
    assert!(!text.contains("matches none"), "{text}");
}

#[test]
fn unreadable_config_is_a_usage_error() {
    let output = run(&["check", "/nowhere/psstat.conf"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.starts_with("psstat-dump: /nowhere/psstat.conf "), "{message}");
}

#[test]
fn config_without_rules_fails() {
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    let path = conf.to_str().unwrap();
    std::fs::write(&conf, "# nothing\n").unwrap();
    let output = run(&["check", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).starts_with("error: the file has no rule\n"));
}

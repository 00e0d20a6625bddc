//! `check`.

use std::os::unix::process::CommandExt as _;

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
    assert_eq!(records[0][..8], heading);
    assert_eq!(records[0][8..], ["file", "field"]);
    assert_eq!(records[1][..3], ["error", "2", "2"]);
    let pattern = format!("^{name}$");
    let expected = ["rule", "4", "", "", "", "here", &pattern, "2", path, "command_line"];
    assert_eq!(records[5], expected);
    assert_eq!(records[6][6..], [&format!("^{name}-no$"), "0", path, "command_line"]);
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

/// The images that a rule makes of the running processes, also of hundreds of values.
#[test]
fn lists_made_images() {
    let name = unique("makes");
    let spawn = |value: String| {
        std::process::Command::new("sleep").arg0(&name).arg("1000").arg(value).spawn()
    };
    let values = (0..220).map(|number| format!("0.{number:03}")).chain(["1".into(), "1".into()]);
    let mut children: Vec<_> = values.map(|value| spawn(value).unwrap()).collect();
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, format!("m/{{v}} ^{name} 1000 (?P<v>.*)\n")).unwrap();
    let path = conf.to_str().unwrap();
    let text = stdout(&run(&["check", path]));
    let (_, document) = json_of(&["check", "--json", path]);
    let table = stdout(&run(&["--conf", path, "--csv"]));
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for want in ["m/{v} (line 1) makes 221 images:\n  m/0.000  1 process\n", "and 171 more\n"] {
        assert!(text.contains(want), "{want}\n--\n{text}");
    }
    assert!(text.contains("makes 200 images per rule by default"), "{text}");
    let made = document["rules"][0]["made_images"].as_array().unwrap();
    assert_eq!(made.len(), 221);
    assert_eq!(made[220], json!({"image": "m/1", "processes": 2}));
    // The table has those of the collector, with the others together.
    let rows: Vec<Vec<String>> = csv(&table);
    assert_eq!(rows.len(), 1 + 201, "{table}");
    assert!(rows.iter().any(|row| row.contains(&"m/other".to_owned())), "{table}");
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

/// A directory, and a file, with a problem in each.
#[test]
fn several_files_are_checked_as_one() {
    let name = unique("several");
    let _testproc = testproc(&name);
    let temp = TempDir::new().unwrap();
    let dir = temp.join("conf.d");
    std::fs::create_dir_all(dir.join("30-dir.conf")).unwrap();
    std::fs::write(dir.join("10-a.conf"), format!("# a\nweb {name}\n")).unwrap();
    std::fs::write(dir.join("20-b.conf"), format!("Web {name}\nweb {name}\nb@d x\n")).unwrap();
    std::fs::write(dir.join(".hidden.conf"), "bad\n").unwrap();
    std::fs::write(dir.join("20-b.conf~"), "bad\n").unwrap();
    let last = temp.join("last");
    std::fs::write(&last, format!("other {name}\n")).unwrap();
    let paths = [dir.to_str().unwrap(), last.to_str().unwrap()];

    let output = run(&["check", paths[0], paths[1]]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    let [a, b, c] =
        ["10-a.conf", "20-b.conf", "30-dir.conf"].map(|name| format!("{}/{name}", paths[0]));
    for want in [
        format!(" --> {b}:3:2\n  |\n3 | b@d x\n"),
        format!("only in case from `web` in {a}:2\n --> {b}:1:1\n"),
        format!("note: image `web` is also defined in {a}:2\n --> {b}:2:1\n"),
        format!("redundant: the rule in {a}:2 matches everything this one does\n --> {b}:2:5\n"),
        format!("warning: the file is not a regular file\n --> {c}\n"),
        "2 paths: 4 rules for 3 images from 3 files, 1 error, ".to_owned(),
    ] {
        assert!(text.contains(&want), "{want}\n--\n{text}");
    }
    assert!(!text.contains("hidden") && !text.contains("conf~"), "{text}");

    // The same by the option, and by its variable.
    let (status, document) = json_of(&["check", "--json", "--conf", paths[0], "--conf", paths[1]]);
    assert_eq!((status, &document["conf"]), (1, &json!(paths.join(":"))));
    let files: Vec<_> = document["files"].as_array().unwrap().iter().map(|f| &f["path"]).collect();
    assert_eq!(files, [paths[0], &a, &b, &c, paths[1]]);
    let rules: Vec<_> =
        document["rules"].as_array().unwrap().iter().map(|r| (&r["file"], &r["line"])).collect();
    assert_eq!(rules[0], (&json!(a), &json!(2)));
    assert_eq!(rules[3], (&json!(paths[1]), &json!(1)));
    let error = document["diagnostics"].as_array().unwrap().iter();
    let error = error.filter(|one| one["severity"] == "error").collect::<Vec<_>>();
    assert_eq!((error.len(), &error[0]["file"], &error[0]["line"]), (1, &json!(b), &json!(3)));

    // Rules are named by their file.
    std::fs::write(dir.join("20-b.conf"), "none no-such-process\n").unwrap();
    let mut command = crate::run::command(&[]);
    command.env("PSSTAT_CONF", paths.join(":")).args(["explain", "--rule", "none"]);
    let output = command.output().unwrap();
    assert!(stdout(&output).starts_with(&format!("none  no-such-process ({b}:1)\n")));
    // One that cannot be used does not prevent the others.
    let mut command = crate::run::command(&[]);
    let missing = temp.join("missing");
    let list = format!("{}:{}", missing.display(), paths[1]);
    let output = command.env("PSSTAT_CONF", list).args(["--columns", "image", "--csv"]);
    let output = output.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let rows = csv(&stdout(&output));
    assert_eq!((rows.len(), rows[1][1].as_str()), (2, "other"));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("missing cannot be read: No such file"), "{message}");
}

//! `doctor`.

use std::os::unix::process::CommandExt as _;

use psstat_actor::TempDir;
use serde_json::{Value, json};

use crate::run::{actor, copy_program, csv, json as json_of, run, stdout, unique};

fn check<'d>(document: &'d Value, name: &str) -> &'d Value {
    document["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

fn assert_status_and_remedies(status: i32, document: &Value) {
    let checks = document["checks"].as_array().unwrap();
    let bad = checks.iter().any(|check| check["state"] == "bad");
    assert_eq!((status, &document["ok"]), (i32::from(bad), &json!(!bad)));
    for check in checks {
        assert_eq!(check["state"] == "ok", check["remedy"] == Value::Null, "{check}");
    }
}

#[test]
fn says_how_it_is_in_every_form() {
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, "a b\nc d\na e\n").unwrap();
    let args = ["doctor", "--conf", conf.to_str().unwrap()];
    let (status, document) = json_of(&[&args[..], &["--json"]].concat());
    assert_status_and_remedies(status, &document);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(check(&document, "kernel")["found"], format!("Linux {}", release.trim()));
    let found = check(&document, "conf")["found"].as_str().unwrap();
    assert!(found.ends_with(": 3 rules of 2 images"), "{found}");
    for name in ["io", "fd", "hidepid", "pid_namespace", "descriptors", "inotify", "collector"] {
        check(&document, name);
    }
    // This test has the rights that the program inherits.
    let own = psstat_actor::truth::status_field(std::process::id(), "CapEff").unwrap();
    let has_none = own.trim_matches('0').is_empty();
    let found = check(&document, "capabilities")["found"].as_str().unwrap();
    assert_eq!(found == "effective: none", has_none, "{found}");
    let text = stdout(&run(&args));
    assert!(text.lines().next().unwrap().ends_with(&format!("Linux {}", release.trim())), "{text}");
    let records = csv(&stdout(&run(&[&args[..], &["--csv"]].concat())));
    assert_eq!(records.len(), document["checks"].as_array().unwrap().len() + 1);
}

#[test]
fn a_bad_conf_is_bad() {
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    let path = conf.to_str().unwrap();
    for (lines, found) in [(None, "cannot be read"), (Some("a b\nc (\n"), "1 complaints")] {
        if let Some(lines) = lines {
            std::fs::write(&conf, lines).unwrap();
        }
        let (status, document) = json_of(&["doctor", "--json", "--conf", path]);
        assert_eq!(status, 1);
        let conf = check(&document, "conf");
        assert_eq!(conf["state"], "bad");
        assert!(conf["found"].as_str().unwrap().contains(found), "{conf}");
        assert!(conf["remedy"].as_str().unwrap().contains("psstat-dump check"));
    }
}

#[test]
fn as_nobody_it_names_what_is_denied_and_the_remedy() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: not root");
    }
    let _actor = actor(&unique("doctored"));
    let temp = TempDir::new().unwrap();
    let program = temp.join("psstat-dump");
    copy_program(&program);
    let mut command = std::process::Command::new(&program);
    command.args(["doctor", "--json"]).uid(65534).gid(65534).current_dir("/");
    let output = command.output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_status_and_remedies(output.status.code().unwrap(), &document);
    assert_eq!(output.status.code(), Some(1));
    for name in ["io", "fd", "ns/net"] {
        let check = check(&document, name);
        assert_eq!(check["state"], "bad");
        assert!(check["found"].as_str().unwrap().starts_with("denied for "), "{check}");
        let setcap = format!("setcap cap_sys_ptrace,cap_dac_read_search+ep {}", program.display());
        assert!(check["remedy"].as_str().unwrap().contains(&setcap), "{check}");
    }
    assert_eq!(check(&document, "statm")["state"], "ok");
}

#[test]
fn a_short_limit_of_descriptors_is_noted() {
    // A shell sets it for the program alone.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -n 70; exec \"$0\" doctor --json"]);
    let output = shell.arg(env!("CARGO_BIN_EXE_psstat-dump")).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let check = check(&document, "descriptors");
    assert_eq!(check["state"], "note", "{check}");
    assert!(check["found"].as_str().unwrap().starts_with("70 allowed; "), "{check}");
}

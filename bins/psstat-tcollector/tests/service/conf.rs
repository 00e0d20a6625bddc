//! Config files that are partially invalid, missing, or not trusted.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use psstat_testproc::TempDir;

use super::common::{
    Collector, PROGRAM, Setup, conf, expected_values, is_root, outcome, testproc, word, write_conf,
};

/// The log lines about the config file, without `psstat: PATH`.
fn diagnostics(collector: &Collector, path: &Path) -> Vec<String> {
    let prefix = format!("psstat: {}", path.display());
    let lines = collector.log().into_iter();
    lines.filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned)).collect()
}

#[test]
fn bad_line_is_logged_and_skipped() {
    let word = word("good");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let long = "x".repeat(2_000);
    let path = conf(
        &temp,
        &format!(
            "# a comment\nbad! regex\n\nalone\nopen (bracket\ngood {word}\n{long} x\nmore {word}$\n"
        ),
    );
    let mut collector = Setup::with(&path).args(&["--cycles", "2"]).spawn();
    let cycles = collector.finish();
    let logged = diagnostics(&collector, &path);
    let places: Vec<&str> =
        logged.iter().filter_map(|line| line.split(": error: ").next()).collect();
    assert_eq!(places[..4], [":2:4", ":4:1", ":5:6", ":7:1"], "{logged:#?}");
    for line in &logged[..4] {
        let (_, message) = line.split_once(": error: ").unwrap();
        let (message, help) = message.rsplit_once("; ").expect("no help");
        assert!(!message.is_empty() && !help.is_empty(), "{line}");
    }
    assert_eq!(logged[4..], [": loaded 2 rules for 2 images"], "each is logged once");
    for cycle in &cycles {
        assert_eq!(cycle.images(), ["good", "more"]);
        assert_eq!(cycle.image("good"), expected_values("good", &[testproc.pid()]));
        assert_eq!(cycle.get("collector.bad_lines"), 4);
        assert_eq!(cycle.get("collector.rules"), 2);
        assert_eq!(cycle.get("collector.conf_loaded"), 1);
    }
}

/// For example the config file of another program.
#[test]
fn diagnostics_are_capped() {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("none {}\n{}", word("unused"), "bad! x\n".repeat(900)));
    let mut collector = Setup::with(&path).arg("--once").spawn();
    assert_eq!(collector.finish()[0].get("collector.bad_lines"), 900);
    let logged = diagnostics(&collector, &path);
    assert!(logged.concat().len() < 20_000, "{} bytes", logged.concat().len());
    let (errors, rest) = logged.split_at(logged.len() - 2);
    assert!(errors.iter().all(|line| line.contains(": error: ")), "{errors:#?}");
    let more = format!(": {} more diagnostics; run with --check to see them", 900 - errors.len());
    assert_eq!(rest, [more.as_str(), ": loaded 1 rule for 1 image"]);
}

#[test]
fn missing_config_is_logged_once_then_loaded() {
    let word = word("late");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = temp.join("not/yet/there.conf");
    let collector = Setup::with(&path).spawn();
    for cycle in collector.cycles(3) {
        assert_eq!(cycle.images(), [""; 0]);
        assert!(cycle.get("collector.processes") > 0);
        assert_eq!(cycle.get("collector.conf_loaded"), 0);
        assert_eq!(cycle.get("collector.rules"), 0);
    }
    let logged = diagnostics(&collector, &path);
    assert_eq!(logged.len(), 1, "{logged:#?}");
    assert!(
        logged[0].contains("cannot be read") && logged[0].contains("No such file"),
        "{logged:?}"
    );
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write_conf(&path, &format!("late {word}\n"));
    collector.wait_loaded(1);
    let cycle = collector.next_cycle();
    assert_eq!(cycle.image("late"), expected_values("late", &[testproc.pid()]));
    assert_eq!(cycle.get("collector.conf_loaded"), 1);
    assert_eq!(diagnostics(&collector, &path).len(), 2);
}

/// Without a valid line at first, then valid, then unusable in several ways while the last valid
/// rules are kept.
#[test]
fn last_valid_rules_are_kept() {
    let word = word("stay");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, "");
    let collector = Setup::with(&path).spawn();
    collector.wait_for_log(1, "has no rule; no rules until");
    assert_eq!(collector.cycles(1)[0].images(), [""; 0]);
    write_conf(&path, &format!("stay {word}\n"));
    collector.wait_loaded(1);
    let expected = expected_values("stay", &[testproc.pid()]);
    assert_eq!(collector.next_cycle().image("stay"), expected);

    let stays = |what: &str, bad_lines: i64| {
        collector.wait_for_log(1, what);
        let cycle = collector.next_cycle();
        assert_eq!(cycle.image("stay"), expected, "{what}");
        assert_eq!(cycle.get("collector.conf_loaded"), 0, "{what}");
        assert_eq!(cycle.get("collector.bad_lines"), bad_lines, "{what}");
        assert_eq!(collector.logged(what).len(), 1, "{what}");
    };
    write_conf(&path, "# nothing but a comment\n");
    stays("has no rule; keeping the previous 1 rule", 0);
    std::fs::remove_file(&path).unwrap();
    stays("No such file or directory (os error 2); keeping the previous 1 rule", 0);
    std::fs::create_dir(&path).unwrap();
    stays("has no file `*.conf`; keeping its previous 1 rule", 0);
    std::fs::remove_dir(&path).unwrap();
    write_conf(&path, "stay (\n");
    collector.wait_for_log(2, "has no rule; keeping the previous 1 rule");
    assert_eq!(collector.next_cycle().get("collector.bad_lines"), 1);
    write_conf(&path, &format!("stay {word}\nelse {word}\n"));
    collector.wait_loaded(2);
    let cycle = collector.next_cycle();
    assert_eq!(cycle.images(), ["else", "stay"]);
    assert_eq!(cycle.get("collector.conf_loaded"), 1);
}

#[test]
fn unreadable_config_is_logged_once() {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, "any .\n");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    // Root may read all files.
    let program = temp.join("collector");
    psstat_testproc::copy_program(PROGRAM, &program).unwrap();
    let mut command = Command::new(&program);
    if is_root() {
        command.uid(65534).gid(65534);
    }
    let setup = Setup::of(command).args(&["--interval", "1", "--conf"]).arg(&path);
    let collector = setup.spawn();
    collector.cycles(3);
    let logged = diagnostics(&collector, &path);
    assert_eq!(logged.len(), 1, "{logged:#?}");
    assert!(logged[0].contains("cannot be read: Permission denied"), "{logged:?}");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    collector.wait_loaded(1);
    assert_eq!(collector.next_cycle().images(), ["any"]);
    // Permission is removed while rules are active, and the file is different when it is restored.
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    std::io::Write::write_all(&mut file, b"more .\n").unwrap();
    drop(file);
    collector.wait_for_log(2, "cannot be read: Permission denied");
    assert_eq!(collector.next_cycle().images(), ["any"]);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    collector.wait_loaded(2);
    assert_eq!(collector.next_cycle().images(), ["any", "more"]);
}

#[test]
fn crlf_and_bom_are_accepted() {
    let word = word("dos");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(
        &temp,
        &format!("\u{feff}dos {word}$\r\n# x\r\n\r\nalso\t {word} $| {word}|^{word}$\t \r\n"),
    );
    let mut collector = Setup::with(&path).arg("--once").spawn();
    let cycle = collector.finish().remove(0);
    assert_eq!(cycle.images(), ["also", "dos"]);
    assert_eq!(cycle.image("dos"), expected_values("dos", &[testproc.pid()]));
    assert_eq!(cycle.get("procs image=also"), 1);
    assert_eq!(cycle.get("collector.bad_lines"), 0);
}

#[test]
fn wrong_owner_is_logged_once() {
    let word = word("owned");
    let _testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("owned {word}\n"));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    let lax = Setup::with(&path).spawn();
    let strict = Setup::with(&path).arg("--strict-owner").spawn();
    assert_eq!(lax.cycles(3)[2].get("procs image=owned"), 1);
    let logged = lax.logged("writable by others");
    assert_eq!(logged.len(), 1, "{:#?}", lax.log());
    let cycle = strict.cycles(3).remove(2);
    assert_eq!((cycle.images().len(), cycle.get("collector.conf_loaded")), (0, 0));
    assert_eq!(strict.logged("not loaded (--strict-owner)").len(), 1);

    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    strict.wait_loaded(1);
    assert_eq!(strict.next_cycle().get("procs image=owned"), 1);

    if !is_root() {
        println!("skipped: chown of the config file needs root");
        return;
    }
    std::os::unix::fs::chown(&path, Some(4321), None).unwrap();
    lax.wait_for_log(1, "uid 4321");
    strict.wait_for_log(1, "uid 4321");
    // The active rules are kept.
    let cycle = strict.next_cycle();
    assert_eq!((cycle.get("procs image=owned"), cycle.get("collector.conf_loaded")), (1, 0));
    assert_eq!(lax.next_cycle().get("collector.conf_loaded"), 1);
    assert_eq!(lax.logged("4321").len(), 1);
    // A uid is accepted as a user.
    let mut theirs =
        Setup::with(&path).args(&["--strict-owner", "--once", "--conf-owner", "4321"]).spawn();
    assert_eq!(theirs.finish()[0].get("procs image=owned"), 1);
    assert_eq!(theirs.logged(" uid ").len(), 0);
}

#[test]
fn check_exit_status() {
    let temp = TempDir::new().unwrap();
    let path = temp.join("psstat.conf");
    let check = |mode: u32, more: &[&str]| {
        let _ = std::fs::set_permissions(&path, PermissionsExt::from_mode(mode));
        let mut command = Command::new(PROGRAM);
        outcome(command.env_clear().arg("--check").arg("--conf").arg(&path).args(more))
    };
    let (status, out, log) = check(0, &[]);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(log.contains("No such file"), "{log}");
    for (text, status, says) in [
        ("web nginx\ndb postgres\n", 0, "2 rules for 2 images, 0 bad lines"),
        ("web nginx\nweb apache\n", 0, "2 rules for 1 image, 0 bad lines"),
        ("web nginx\nbad! x\n", 1, "1 rule for 1 image, 1 bad line"),
        ("bad! x\n", 1, "has no rule"),
        ("", 1, "has no rule"),
    ] {
        std::fs::write(&path, text).unwrap();
        let (found, out, log) = check(0o644, &[]);
        assert_eq!((found, out.as_str()), (Some(status), ""), "{text:?}: {log}");
        assert!(log.contains(says), "{text:?}: {log}");
        assert_eq!(log.contains("error: "), text.contains("bad!"), "{log}");
        let has_caret = log.contains("psstat.conf:") && log.contains("| ") && log.contains('^');
        assert!(has_caret || !text.contains("bad!"), "{log}");
    }
    // Diagnostics from the processes of this machine.
    std::fs::write(&path, "none no-such-process-anywhere\nown --check\nall .\n").unwrap();
    let (status, _, log) = check(0o644, &[]);
    assert_eq!(status, Some(0));
    for says in ["matches none of", "matches the collector", "matches all"] {
        assert!(log.contains(says), "{says}: {log}");
    }
    std::fs::write(&path, "web nginx\n").unwrap();
    assert_eq!(check(0o666, &[]).0, Some(0));
    let (status, _, log) = check(0o666, &["--strict-owner"]);
    assert_eq!(status, Some(1));
    assert!(log.contains("writable by others"), "{log}");
}

/// Valid but probably wrong lines, each shown with a caret.
#[test]
fn check_warns_of_likely_mistakes() {
    let name = word("mistaken");
    let _collector = testproc(&format!("/opt/{name}/psstat-tcollector"));
    let temp = TempDir::new().unwrap();
    let path = conf(
        &temp,
        &format!(
            "empty a*\nfi-lrh {name}/\nFI_lrh {name}\nweb nginx-{name}\nweb nginx-{name}-worker\nall .\n"
        ),
    );
    let mut command = Command::new(PROGRAM);
    let (status, _, log) = outcome(command.env_clear().arg("--check").arg("--conf").arg(&path));
    assert_eq!(status, Some(0), "{log}");
    for (severity, place, message) in [
        ("warning", "1:7", "matches the empty string"),
        ("warning", "2:8", "matches the collector"),
        ("warning", "3:1", "image name differs only in"),
        ("note", "4:5", "matches none of"),
        ("warning", "5:5", "redundant"),
        ("warning", "6:5", "matches all"),
    ] {
        let shown: Vec<&str> = log.split(&format!("{severity}: ")).collect();
        let found = shown.iter().find(|text| {
            text.starts_with(message) && text.contains(&format!("psstat.conf:{place}\n"))
        });
        let found = found.unwrap_or_else(|| panic!("{place}: {message}: {log}"));
        assert!(found.contains(" | ") && found.contains('^') && found.contains("= help: "));
    }
}

/// `--check | head` does not panic.
#[test]
fn check_survives_closed_pipe() {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, "bad! x\ngood x\n");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(PROGRAM);
    let status =
        command.env_clear().arg("--check").arg("--conf").arg(&path).stderr(writer).status();
    assert_eq!(status.unwrap().code(), Some(1));
}

/// A name service in front of that of the machine: `script` is the output of getent.
fn name_service(temp: &TempDir, script: &str) -> String {
    let directory = temp.join("bin");
    std::fs::create_dir(&directory).unwrap();
    let getent = directory.join("getent");
    std::fs::write(&getent, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&getent, PermissionsExt::from_mode(0o755)).unwrap();
    format!("{}:/usr/bin:/bin", directory.display())
}

/// A config file that is owned neither by root nor by the user of the collector.
fn foreign_conf(temp: &TempDir, text: &str) -> Option<std::path::PathBuf> {
    let path = conf(temp, text);
    if !is_root() {
        println!("skipped: chown of the config file needs root");
        return None;
    }
    std::os::unix::fs::chown(&path, Some(4321), None).unwrap();
    Some(path)
}

/// The owner's uid was looked up before anything else, signals included, and without a limit: if
/// the name service was stuck, there was no cycle at all.
#[test]
fn stuck_name_service_does_not_delay_cycles() {
    let word = word("queried");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let Some(path) = foreign_conf(&temp, &format!("queried {word}\n")) else { return };
    let queried = temp.join("queried");
    let script = format!("echo $$ >>{}; exec sleep 1000", queried.display());
    let setup = Setup::with(&path).env("PATH", name_service(&temp, &script));
    let mut collector = setup.args(&["--conf-owner", "no-user-here"]).spawn();
    let pids = || std::fs::read_to_string(&queried).unwrap_or_default();
    super::common::until("a query", || pids().ends_with('\n'));
    // The rules are loaded with a warning when the lookup times out.
    let cycle = collector.cycle("rules", |cycle| cycle.get("collector.rules") == 1);
    assert_eq!(cycle.get("collector.panics"), 0);
    assert_eq!(
        collector.next_cycle().image("queried"),
        expected_values("queried", &[testproc.pid()])
    );
    assert_eq!(collector.logged("no-user-here").len(), 1, "{:#?}", collector.log());
    let queried_again = || pids().lines().count() == 2;
    // While the lookup is repeated.
    collector.signal(rustix::process::Signal::HUP);
    super::common::until("a second query", queried_again);
    collector.signal(rustix::process::Signal::TERM);
    assert_eq!(collector.end(), Some(0));
    // The first getent was killed and reaped; the second one is orphaned.
    let text = pids();
    let mut pids = text.lines();
    assert!(!Path::new("/proc").join(pids.next().unwrap()).exists());
    let last = pids.next().and_then(|pid| rustix::process::Pid::from_raw(pid.parse().unwrap()));
    let _ = rustix::process::kill_process(last.unwrap(), rustix::process::Signal::KILL);
}

/// The uid was looked up once, at the start: a user that was created later remained unknown.
#[test]
fn new_user_is_found_on_reload() {
    let word = word("later");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let Some(path) = foreign_conf(&temp, &format!("later {word}\n")) else { return };
    let passwd = temp.join("passwd");
    let script = format!("[ \"$1 $3\" != 'passwd later-user' ] || cat {}", passwd.display());
    let setup = Setup::with(&path).env("PATH", name_service(&temp, &script));
    let collector = setup.args(&["--conf-owner", "later-user", "--strict-owner"]).spawn();
    collector.wait_for_log(1, "later-user");
    assert_eq!(collector.next_cycle().images(), [""; 0]);
    std::fs::write(&passwd, "later-user:x:4321:1::/:/bin/sh\n").unwrap();
    collector.signal(rustix::process::Signal::HUP);
    collector.wait_loaded(1);
    assert_eq!(collector.next_cycle().image("later"), expected_values("later", &[testproc.pid()]));
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
}

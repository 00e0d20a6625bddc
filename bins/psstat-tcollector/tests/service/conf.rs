//! Confs that are good in part, missing, or not to be trusted.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use psstat_testproc::TempDir;

use super::common::{
    Collector, PROGRAM, Setup, conf, is_root, outcome, testproc, truth_of, word, write_conf,
};

/// After `psstat: PATH`, what was logged of the conf.
fn complaints(collector: &Collector, path: &Path) -> Vec<String> {
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
    let told = complaints(&collector, &path);
    let places: Vec<&str> = told.iter().filter_map(|line| line.split(": error: ").next()).collect();
    assert_eq!(places[..4], [":2:4", ":4:1", ":5:6", ":7:1"], "{told:#?}");
    for line in &told[..4] {
        let (_, message) = line.split_once(": error: ").unwrap();
        let (message, help) = message.rsplit_once("; ").expect("no help");
        assert!(!message.is_empty() && !help.is_empty(), "{line}");
    }
    assert_eq!(told[4..], [": loaded 2 rules for 2 images"], "each is told once");
    for cycle in &cycles {
        assert_eq!(cycle.images(), ["good", "more"]);
        assert_eq!(cycle.image("good"), truth_of("good", &[testproc.pid()]));
        assert_eq!(cycle.get("collector.bad_lines"), 4);
        assert_eq!(cycle.get("collector.rules"), 2);
        assert_eq!(cycle.get("collector.conf_loaded"), 1);
    }
}

/// Somebody's conf of another program, say.
#[test]
fn diagnostics_are_capped() {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("none {}\n{}", word("nobody"), "bad! x\n".repeat(900)));
    let mut collector = Setup::with(&path).arg("--once").spawn();
    assert_eq!(collector.finish()[0].get("collector.bad_lines"), 900);
    let told = complaints(&collector, &path);
    assert!(told.concat().len() < 20_000, "{} bytes", told.concat().len());
    let (errors, rest) = told.split_at(told.len() - 2);
    assert!(errors.iter().all(|line| line.contains(": error: ")), "{errors:#?}");
    let more = format!(": {} more diagnostics; run with --check to see them", 900 - errors.len());
    assert_eq!(rest, [more.as_str(), ": loaded 1 rules for 1 images"]);
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
    let told = complaints(&collector, &path);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("cannot be read") && told[0].contains("No such file"), "{told:?}");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write_conf(&path, &format!("late {word}\n"));
    collector.in_force(1);
    let cycle = collector.fresh();
    assert_eq!(cycle.image("late"), truth_of("late", &[testproc.pid()]));
    assert_eq!(cycle.get("collector.conf_loaded"), 1);
    assert_eq!(complaints(&collector, &path).len(), 2);
}

/// No good line at first; good; then unusable in one way after the other while
/// its last good rules stay.
#[test]
fn the_last_good_rules_stay_in_force() {
    let word = word("stay");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, "");
    let collector = Setup::with(&path).spawn();
    collector.hear(1, "has no rule; no rules until");
    assert_eq!(collector.cycles(1)[0].images(), [""; 0]);
    write_conf(&path, &format!("stay {word}\n"));
    collector.in_force(1);
    let truth = truth_of("stay", &[testproc.pid()]);
    assert_eq!(collector.fresh().image("stay"), truth);

    let stays = |what: &str, bad_lines: i64| {
        collector.hear(1, what);
        let cycle = collector.fresh();
        assert_eq!(cycle.image("stay"), truth, "{what}");
        assert_eq!(cycle.get("collector.conf_loaded"), 0, "{what}");
        assert_eq!(cycle.get("collector.bad_lines"), bad_lines, "{what}");
        assert_eq!(collector.logged(what).len(), 1, "{what}");
    };
    write_conf(&path, "# nothing but a comment\n");
    stays("has no rule; keeping the previous 1 rules", 0);
    std::fs::remove_file(&path).unwrap();
    stays("No such file or directory (os error 2); keeping the previous 1 rules", 0);
    std::fs::create_dir(&path).unwrap();
    stays("is not a regular file; keeping the previous 1 rules", 0);
    std::fs::remove_dir(&path).unwrap();
    write_conf(&path, "stay (\n");
    collector.hear(2, "has no rule; keeping the previous 1 rules");
    assert_eq!(collector.fresh().get("collector.bad_lines"), 1);
    write_conf(&path, &format!("stay {word}\nelse {word}\n"));
    collector.in_force(2);
    let cycle = collector.fresh();
    assert_eq!(cycle.images(), ["else", "stay"]);
    assert_eq!(cycle.get("collector.conf_loaded"), 1);
}

#[test]
fn unreadable_config_is_logged_once() {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, "any .\n");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    // Root may read everything.
    let program = temp.join("collector");
    psstat_testproc::copy_program(PROGRAM, &program).unwrap();
    let mut command = Command::new(&program);
    if is_root() {
        command.uid(65534).gid(65534);
    }
    let setup = Setup::of(command).args(&["--interval", "1", "--conf"]).arg(&path);
    let collector = setup.spawn();
    collector.cycles(3);
    let told = complaints(&collector, &path);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("cannot be read: Permission denied"), "{told:?}");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    collector.in_force(1);
    assert_eq!(collector.fresh().images(), ["any"]);
    // Taken while the rules are in force, and another conf when it comes back.
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    std::io::Write::write_all(&mut file, b"more .\n").unwrap();
    drop(file);
    collector.hear(2, "cannot be read: Permission denied");
    assert_eq!(collector.fresh().images(), ["any"]);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    collector.in_force(2);
    assert_eq!(collector.fresh().images(), ["any", "more"]);
}

#[test]
fn line_ends_and_byte_order_marks_of_other_systems_are_no_part_of_a_rule() {
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
    assert_eq!(cycle.image("dos"), truth_of("dos", &[testproc.pid()]));
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
    let told = lax.logged("writable by others");
    assert_eq!(told.len(), 1, "{:#?}", lax.log());
    let cycle = strict.cycles(3).remove(2);
    assert_eq!((cycle.images().len(), cycle.get("collector.conf_loaded")), (0, 0));
    assert_eq!(strict.logged("not loaded (--strict-owner)").len(), 1);

    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    strict.in_force(1);
    assert_eq!(strict.fresh().get("procs image=owned"), 1);

    if !is_root() {
        println!("skipped: giving the conf to another user needs root");
        return;
    }
    std::os::unix::fs::chown(&path, Some(4321), None).unwrap();
    lax.hear(1, "uid 4321");
    strict.hear(1, "uid 4321");
    // What was in force stays.
    let cycle = strict.fresh();
    assert_eq!((cycle.get("procs image=owned"), cycle.get("collector.conf_loaded")), (1, 0));
    assert_eq!(lax.fresh().get("collector.conf_loaded"), 1);
    assert_eq!(lax.logged("4321").len(), 1);
    // A number is a user too.
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
        ("web nginx\nweb apache\n", 0, "2 rules for 1 images, 0 bad lines"),
        ("web nginx\nbad! x\n", 1, "1 rules for 1 images, 1 bad lines"),
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
    // What this machine's processes say of the rules.
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

/// What is legal and likely wrong, each shown with its line and a caret.
#[test]
fn check_warns_of_each_likely_mistake() {
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

/// `--check | head` is no defect.
#[test]
fn check_does_not_mind_a_reader_that_went() {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, "bad! x\ngood x\n");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(PROGRAM);
    let status =
        command.env_clear().arg("--check").arg("--conf").arg(&path).stderr(writer).status();
    assert_eq!(status.unwrap().code(), Some(1));
}

/// A name service in front of the machine's: what `script` says is getent.
fn name_service(temp: &TempDir, script: &str) -> String {
    let folder = temp.join("bin");
    std::fs::create_dir(&folder).unwrap();
    let getent = folder.join("getent");
    std::fs::write(&getent, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&getent, PermissionsExt::from_mode(0o755)).unwrap();
    format!("{}:/usr/bin:/bin", folder.display())
}

/// A conf that belongs to neither root nor the one who runs the collector.
fn strangers_conf(temp: &TempDir, text: &str) -> Option<std::path::PathBuf> {
    let path = conf(temp, text);
    if !is_root() {
        println!("skipped: giving the conf to another user needs root");
        return None;
    }
    std::os::unix::fs::chown(&path, Some(4321), None).unwrap();
    Some(path)
}

/// The owner's number was asked for before anything else, signals included, and
/// without a limit: where the name service hung, there was no cycle at all.
#[test]
fn a_name_service_that_does_not_answer_holds_nothing_up() {
    let word = word("asked");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let Some(path) = strangers_conf(&temp, &format!("asked {word}\n")) else { return };
    let asked = temp.join("asked");
    let script = format!("echo $$ >>{}; exec sleep 1000", asked.display());
    let setup = Setup::with(&path).env("PATH", name_service(&temp, &script));
    let mut collector = setup.args(&["--conf-owner", "no-user-here"]).spawn();
    let pids = || std::fs::read_to_string(&asked).unwrap_or_default();
    super::common::until("it is asked", || pids().ends_with('\n'));
    // The rules come into force with a warning when its time is over.
    let cycle = collector.cycle("rules", |cycle| cycle.get("collector.rules") == 1);
    assert_eq!(cycle.get("collector.panics"), 0);
    assert_eq!(collector.fresh().image("asked"), truth_of("asked", &[testproc.pid()]));
    assert_eq!(collector.logged("no-user-here").len(), 1, "{:#?}", collector.log());
    let told_to_end = || pids().lines().count() == 2;
    // While it is asked again.
    collector.signal(rustix::process::Signal::HUP);
    super::common::until("it is asked again", told_to_end);
    collector.signal(rustix::process::Signal::TERM);
    assert_eq!(collector.end(), Some(0));
    // The first was ended and reaped; the second has nobody left who would.
    let text = pids();
    let mut pids = text.lines();
    assert!(!Path::new("/proc").join(pids.next().unwrap()).exists());
    let last = pids.next().and_then(|pid| rustix::process::Pid::from_raw(pid.parse().unwrap()));
    let _ = rustix::process::kill_process(last.unwrap(), rustix::process::Signal::KILL);
}

/// The number was asked for once, at the start: a user who was made later stayed
/// unknown.
#[test]
fn new_user_is_found_on_reload() {
    let word = word("later");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let Some(path) = strangers_conf(&temp, &format!("later {word}\n")) else { return };
    let passwd = temp.join("passwd");
    let script = format!("[ \"$1 $3\" != 'passwd later-user' ] || cat {}", passwd.display());
    let setup = Setup::with(&path).env("PATH", name_service(&temp, &script));
    let collector = setup.args(&["--conf-owner", "later-user", "--strict-owner"]).spawn();
    collector.hear(1, "later-user");
    assert_eq!(collector.fresh().images(), [""; 0]);
    std::fs::write(&passwd, "later-user:x:4321:1::/:/bin/sh\n").unwrap();
    collector.signal(rustix::process::Signal::HUP);
    collector.in_force(1);
    assert_eq!(collector.fresh().image("later"), truth_of("later", &[testproc.pid()]));
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
}

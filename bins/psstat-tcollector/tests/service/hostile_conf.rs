//! Hostile config files and command lines.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use psstat_testproc::{Config, TempDir, TestProcess};

use super::common::{PROGRAM, Setup, conf, expected_values, outcome, testproc, word, write_conf};

/// The program with a limit of address space, in MiB. Its code, libraries and stacks take a small
/// part of it.
fn within(mebibytes: u32) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -v {} && exec \"$@\"", mebibytes << 10), "sh", PROGRAM]);
    command
}

/// `--check` within 96 MiB: status and stderr.
fn check(path: &Path) -> (Option<i32>, String) {
    let mut command = within(96);
    let (status, out, log) = outcome(command.env_clear().arg("--check").arg("--conf").arg(path));
    assert_eq!(out, "");
    (status, log)
}

#[test]
fn oversized_config_keeps_rules() {
    let word = word("small");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("small {word}\n"));
    // Cycles run in little memory too; two stacks are 8 MiB each, and the heap of each thread
    // reserves 64 or 128 MiB.
    let setup = Setup::of(within(600)).args(&["--interval", "1", "--conf"]).arg(&path);
    let collector = setup.spawn();
    collector.wait_loaded(1);
    let mut file = File::create(&path).unwrap();
    let rule = format!("large {word}\n").repeat(10_000);
    for _ in 0..(100 << 20) / rule.len() {
        file.write_all(rule.as_bytes()).unwrap();
    }
    let len = file.metadata().unwrap().len();
    assert!(len > 99 << 20);
    drop(file);
    collector.wait_for_log(1, "has no rule; keeping the previous 1 rule");
    assert_eq!(collector.logged("the maximum is 4194304").len(), 1);
    assert_eq!(collector.next_cycle().image("small"), expected_values("small", &[testproc.pid()]));
    let (status, log) = check(&path);
    assert_eq!(status, Some(1));
    assert!(log.contains("the maximum is 4194304"), "{log}");
}

#[test]
fn garbage_lines_are_bounded() {
    let temp = TempDir::new().unwrap();
    let path = temp.join("psstat.conf");
    let mut long = b"good x\nlong ".to_vec();
    long.resize(4_000_000, b'y');
    long.extend_from_slice(b"\nalso x\n");
    let mut longest = b"good x\nlong ".to_vec();
    longest.resize(10 << 20, b'y');
    let cases: [(&[u8], i32, &str); 8] = [
        (&long, 1, "2 rules for 2 images, 1 bad line"),
        (&long, 1, ":2:1"),
        // A line of 10 MB makes the file too large.
        (&longest, 1, "the maximum is 4194304"),
        (b"good x\nnul a\0b\nalso y\n", 1, "psstat.conf:2:6"),
        (b"good x\0y\n", 1, "has no rule"),
        (b"good x\r\nalso y\r\n", 0, "2 rules for 2 images, 0 bad lines"),
        (b"\xef\xbb\xbfgood x\nalso y", 0, "2 rules for 2 images, 0 bad lines"),
        (&[0; 1000], 1, "has no rule"),
    ];
    for (text, status, says) in cases {
        std::fs::write(&path, text).unwrap();
        let (found, log) = check(&path);
        assert_eq!(found, Some(status), "{log}");
        assert!(log.contains(says), "{says}: {log}");
        assert!(log.len() < 10_000, "{} bytes are said", log.len());
    }
}

#[test]
fn thousands_of_rules_are_loaded() {
    let word = word("sleepers");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let mut text: String = (0..2_998).map(|n| format!("image{n} ^/opt/program{n}/\n")).collect();
    text.push_str(&format!("sleepers {word}\nlast (?=x)y"));
    let path = conf(&temp, &text);
    let setup = Setup::of(within(400)).args(&["--cycles", "1", "--conf"]).arg(&path);
    let mut collector = setup.spawn();
    let cycle = collector.finish().remove(0);
    assert_eq!(cycle.get("collector.rules"), 3_000);
    assert_eq!(cycle.image("sleepers"), expected_values("sleepers", &[testproc.pid()]));
    assert_eq!(cycle.images().len(), 3_000);
}

/// Patterns that backtrack catastrophically in other programs, on a command line made for them: all
/// but one are matched in linear time, and that one exceeds its step limit.
#[test]
fn step_limited_rule_is_logged_once_and_counted() {
    let word = word("hostile");
    let hostile =
        TestProcess::spawn(&Config::new(format!("{word}:{}!", "a".repeat(20_000)))).unwrap();
    let friend = testproc(&format!("{word}:friend"));
    let temp = TempDir::new().unwrap();
    let path = conf(
        &temp,
        &format!(
            "all {word}\nlinear {word}:(a+)+$\nworst {word}:(a+)+(a+)+\\2\\1$\nback {word}:(a)\\1\n"
        ),
    );
    let collector = Setup::with(&path).spawn();
    collector.wait_loaded(1);
    for cycle in &collector.cycles(4)[1..] {
        assert_eq!(cycle.image("all"), expected_values("all", &[hostile.pid(), friend.pid()]));
        assert_eq!(cycle.get("procs image=linear"), 0);
        assert_eq!(cycle.get("procs image=worst"), 0);
        assert_eq!(cycle.image("back"), expected_values("back", &[hostile.pid()]));
        assert_eq!(cycle.get("collector.step_limited_rules"), 1);
        assert_eq!(cycle.get("collector.panics"), 0);
    }
    // A second such process is not logged again.
    let more = TestProcess::spawn(&Config::new(format!("{word}:{}?", "a".repeat(20_000)))).unwrap();
    collector.cycle("the other", |cycle| cycle.get("procs image=all") == 3);
    assert_eq!(
        collector.next_cycle().image("back"),
        expected_values("back", &[hostile.pid(), more.pid()])
    );
    let logged = collector.logged("exceeded its step limit");
    assert_eq!(logged.len(), 1, "{:#?}", collector.log());
    assert!(logged[0].contains("the rule of image worst in line 3"), "{logged:?}");
    // After the rule is fixed, no rule is limited.
    write_conf(&path, &format!("all {word}\nworst {word}:a+$\n"));
    collector.wait_loaded(2);
    assert_eq!(collector.next_cycle().get("collector.step_limited_rules"), 0);
}

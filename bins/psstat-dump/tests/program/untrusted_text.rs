//! Malicious command lines and names of files and sockets.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;

use psstat_testproc::{Config, TempDir, TestProcess, oracle};
use serde_json::Value;

use crate::run::{command, csv, json, run, stdout, unique};

/// Escape sequences, characters that reorder text, combining marks without a
/// letter, wide characters, and characters with a meaning in CSV and JSON.
const EVIL: &str = "\x1b]0;owned\x07 \x1b[2J \n\r\t \u{9b}31m \u{202e}gpj.exe\u{2066} \u{5d0}\u{5d1} 12 \
                    \u{627} \u{301}\u{301} 日本 \"q\",'";

fn is_dangerous(c: char) -> bool {
    let is_right_to_left = matches!(c, '\u{590}'..='\u{8ff}');
    (c.is_control() && c != '\n')
        || is_right_to_left
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn assert_escaped(text: &str) {
    assert!(!text.contains(is_dangerous), "{text:?}");
    assert!(!text.contains('\u{301}'), "{text:?}");
    assert!(text.contains("日本"), "{text:?}");
}

#[test]
fn untrusted_text_is_escaped_in_text_and_csv() {
    let name = unique("evil");
    let clean = TestProcess::spawn(&Config::new(&name).arg(EVIL)).unwrap();
    let raw =
        TestProcess::spawn(&Config::new(&name).arg(OsStr::from_bytes(b"\xff\xfe\x80 x"))).unwrap();
    let args = ["--no-conf", "-p", "--columns", "pid,command,image", "--sort", "pid", "-r", &name];
    for format in [&[][..], &["--json"], &["--csv"], &["--color", "always"]] {
        let text = stdout(&run(&[&args[..], format].concat()));
        assert_escaped(&text.replace("\x1b[1m", "").replace("\x1b[0m", ""));
    }
    let table = stdout(&run(&args));
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.contains(r"\x1b]0;owned\x07") && table.contains(r"\xff\xfe\x80 x"), "{table}");
    assert!(table.contains(r"\u{202e}gpj.exe"), "{table}");
    assert!(table.contains(r"\u{5d0}\u{5d1} 12 \u{627} \u{301}\u{301} 日本"), "{table}");
    // The next column is aligned.
    let column = table.lines().next().unwrap().find("IMAGE").unwrap();
    let line = table.lines().find(|line| line.contains("日本")).unwrap();
    // Two characters of three bytes and two columns.
    assert_eq!(line.rfind(&name), Some(column + 2), "{table}");

    let records = csv(&stdout(&run(&[&args[..], &["--csv"]].concat())));
    assert_eq!(records.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4]);

    let (_, document) = json(&[&args[..], &["--json"]].concat());
    let row = |pid: u32| {
        document["rows"].as_array().unwrap().iter().find(|row| row["pid"] == pid).unwrap().clone()
    };
    let clean = row(clean.pid());
    assert_eq!(clean["command_line"], format!("{name} {EVIL}"));
    assert_eq!(clean.get("command_line_hex"), None);
    let bytes = oracle::cmdline(raw.pid()).unwrap();
    let joined: Vec<u8> =
        bytes[..bytes.len() - 1].iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect();
    let hex: String = joined.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(row(raw.pid())["command_line_hex"], hex);
}

#[test]
fn report_is_escaped() {
    let name = unique("evil-page");
    let testproc = TestProcess::spawn(&Config::new(&name).arg(EVIL)).unwrap();
    let pid = testproc.pid().to_string();
    for format in [&[][..], &["--json"], &["--csv"]] {
        assert_escaped(&stdout(&run(&[&["pid", &pid][..], format].concat())));
    }
}

#[test]
fn file_and_socket_names_are_escaped() {
    let temp = TempDir::new().unwrap();
    let file = temp.join(format!("file {EVIL}"));
    let _file = std::fs::File::create(&file).unwrap();
    // The length of an address is limited.
    let path = temp.join("\x1b[2J\u{202e}\n\u{5d0} 1 日本");
    let _listener = UnixListener::bind(&path).unwrap();
    // This process has them open.
    let pid = std::process::id().to_string();
    for format in [&[][..], &["--json"], &["--csv"]] {
        let text = stdout(&run(&[&["pid", &pid][..], format].concat()));
        assert!(!text.contains(is_dangerous), "{text:?}");
        if format.is_empty() {
            assert!(text.contains(r"\x1b[2J \x0a\x0d\x09 \u{9b}31m"), "{text}");
            assert!(text.contains(r"\x1b[2J\u{202e}\x0a\u{5d0} 1 日本"), "{text}");
        }
    }
    let (_, report) = json(&["pid", &pid, "--json"]);
    let has = |section: &str, field: &str, value: &std::path::Path| {
        let list = report[section]["list"].as_array().unwrap();
        list.iter().any(|one| one[field] == value.to_str().unwrap())
    };
    assert!(has("descriptors", "target", &file) && has("sockets", "local", &path), "{report}");
}

#[test]
fn explain_is_escaped() {
    let name = unique("evil-explained");
    let testproc = TestProcess::spawn(&Config::new(&name).arg(EVIL)).unwrap();
    let pid = testproc.pid().to_string();
    let near_miss = format!("^{name} .*日本 \u{5d0}\u{301}");
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, format!("evil {near_miss}\nevil ^{name}\n")).unwrap();
    let with = ["--conf", conf.to_str().unwrap()];
    for args in [&["explain", &pid][..], &["explain", "--rule", "evil"]] {
        for format in [&[][..], &["--json"], &["--csv"]] {
            let text = stdout(&run(&[args, &with, format].concat()));
            assert!(!text.contains(is_dangerous), "{text:?}");
            // On a busy host reading a command line can exceed the time limit;
            // CSV has records of processes only.
            assert!(text.contains("日本") || format == ["--csv"], "{text:?}");
        }
        let (_, document) = json(&[args, &with, &["--json"]].concat());
        assert_eq!(document["rules"][0]["regex"], near_miss);
    }
    let (_, document) = json(&[&["explain", &pid][..], &with, &["--json"]].concat());
    assert_eq!(document["command_line"], format!("{name} {EVIL}"));
    let records = csv(&stdout(&run(&[&["explain", &pid][..], &with, &["--csv"]].concat())));
    assert_eq!(records.len(), 3);
}

/// Invalid bytes used to be replaced by U+FFFD without the original.
#[test]
fn non_utf8_paths_and_regexes_have_hex_fields() {
    let temp = TempDir::new().unwrap();
    let conf = temp.join(OsStr::from_bytes(b"c\xff.conf"));
    std::fs::write(&conf, b"x ^nothing-of-\xfe$\n").unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let of_conf = hex(conf.as_os_str().as_bytes());
    let document = |args: &[&OsStr]| -> Value {
        let output = command(&["--json"]).args(args).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let (check, with) = (OsStr::new("check"), OsStr::new("--conf"));
    let checked = document(&[check, conf.as_os_str()]);
    assert_eq!(checked["conf_hex"], of_conf);
    assert_eq!(checked["rules"][0]["regex_hex"], hex(b"^nothing-of-\xfe$"));
    let table = document(&[with, conf.as_os_str()]);
    assert_eq!(table["images_from"]["conf_hex"], of_conf);
    let dir = temp.join(OsStr::from_bytes(b"d\xff"));
    let words = ["capture", "--pid", "1"].map(OsStr::new);
    let captured = document(&[&words[..], &[dir.as_os_str()]].concat());
    assert_eq!(captured["dir_hex"], hex(dir.as_os_str().as_bytes()));
}

#[test]
fn untrusted_names_do_not_become_images() {
    let name = unique("x\x1b[31m\n,");
    let _testproc = TestProcess::spawn(&Config::new(&name).arg("y")).unwrap();
    let safe = unique("x__31m__");
    let (status, document) = json(&["--no-conf", "--json", &safe]);
    assert_eq!((status, &document["rows"][0]["processes"]), (0, &serde_json::json!(1)));
}

//! Command lines that were made to do harm.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use psstat_actor::{Actor, Config, truth};

use crate::run::{csv, json, run, stdout, unique};

fn is_dangerous(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[test]
fn are_harmless_in_every_form_and_whole_in_json() {
    let name = unique("evil");
    let valid = "\x1b]0;owned\x07 \x1b[2J \n\r\t \u{9b}31m \u{202e}gpj.exe\u{2066} 日本 \"q\",'";
    let clean = Actor::spawn(&Config::new(&name).arg(valid)).unwrap();
    let raw = Actor::spawn(&Config::new(&name).arg(OsStr::from_bytes(b"\xff\xfe\x80 x"))).unwrap();
    let args = ["--no-conf", "-p", "--columns", "pid,command", "--sort", "pid", "-r", &name];
    for form in [&[][..], &["--json"], &["--csv"], &["--color", "always"]] {
        let text = stdout(&run(&[&args[..], form].concat()));
        let colourless = text.replace("\x1b[1m", "").replace("\x1b[0m", "");
        assert!(!colourless.contains(is_dangerous), "{text:?}");
        assert!(text.contains("日本"));
    }
    let table = stdout(&run(&args));
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.contains(r"\x1b]0;owned\x07") && table.contains(r"\xff\xfe\x80 x"), "{table}");
    assert!(table.contains(r"\u{202e}gpj.exe"), "{table}");

    let records = csv(&stdout(&run(&[&args[..], &["--csv"]].concat())));
    assert_eq!(records.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 3]);

    let (_, document) = json(&[&args[..], &["--json"]].concat());
    let row = |pid: u32| {
        document["rows"].as_array().unwrap().iter().find(|row| row["pid"] == pid).unwrap().clone()
    };
    let clean = row(clean.pid());
    assert_eq!(clean["command_line"], format!("{name} {valid}"));
    assert_eq!(clean["command_line_hex"], serde_json::Value::Null);
    let bytes = truth::cmdline(raw.pid()).unwrap();
    let joined: Vec<u8> =
        bytes[..bytes.len() - 1].iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect();
    let hex: String = joined.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(row(raw.pid())["command_line_hex"], hex);
}

#[test]
fn make_no_image_names_of_their_own() {
    let name = unique("x\x1b[31m\n,");
    let _actor = Actor::spawn(&Config::new(&name).arg("y")).unwrap();
    let safe = unique("x__31m__");
    let (status, document) = json(&["--no-conf", "--json", &safe]);
    assert_eq!((status, &document["rows"][0]["procs"]), (0, &serde_json::json!(1)));
}

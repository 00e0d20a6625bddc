//! Every subcommand on the project's own capture, `fixtures/capture.txtar`: the numbers are
//! those of its processes when `cargo xtask capture` created it.

use std::path::Path;

use psstat_testproc::TempDir;
use psstat_testproc::archive::Archive;
use serde_json::{Value, json};

use crate::run::{json as json_of, run, stdout, terminal};

/// Image, pid, and values: fds, threads, tcp, udp, unix, wchar.
fn expected(text: &str) -> Vec<(String, u64, Vec<u64>)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let numbers: Vec<u64> = words[1..].iter().map(|word| word.parse().unwrap()).collect();
        (words[0].to_owned(), numbers[0], numbers[1..].to_vec())
    };
    lines.map(line).collect()
}

const FIELDS: [&str; 6] =
    ["fds", "threads", "tcp_established", "udp_established", "unix_established", "wchar_bytes"];

#[test]
fn every_command_reads_the_capture() {
    let temp = TempDir::new().unwrap();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/capture.txtar");
    Archive::read(archive).unwrap().unpack(temp.path()).unwrap();
    let [proc, conf] = ["proc", "psstat.conf"].map(|name| temp.join(name).display().to_string());
    let expected = expected(&std::fs::read_to_string(temp.join("expected.txt")).unwrap());
    let run_on_capture = |args: &[&str]| json_of(&[args, &["--proc", &proc, "--json"]].concat());

    let (status, document) = run_on_capture(&["-p", "--conf", &conf]);
    assert_eq!((status, document["rows"].as_array().unwrap().len()), (0, expected.len()));
    for (image, pid, numbers) in &expected {
        let rows = document["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["pid"] == *pid).unwrap();
        assert_eq!(row["images"], json!([image]));
        for (field, number) in FIELDS.iter().zip(numbers) {
            assert_eq!(row[*field], *number, "{image} {pid} {field}");
        }
        assert_eq!(row["pcpu_percent"], Value::Null);
    }
    let args = ["--conf", &conf, "--count", "2", "--interval", "0.1", "--json", "--proc", &proc];
    let text = stdout(&run(&[&args[..], &["nginx"]].concat()));
    let document: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!(document["rows"][0]["processes"], 2);
    // There are no rates in a capture.
    assert_eq!(document["rows"][0]["wchar_bytes_per_second"], Value::Null);
    let (status, document) = run_on_capture(&["-e", "^nginx: worker"]);
    assert_eq!((status, &document["rows"][0]["tcp_established"]), (0, &json!(4)));

    let (_, orders, numbers) = &expected[0];
    let pid = orders.to_string();
    let (status, report) = run_on_capture(&["pid", &pid]);
    assert_eq!((status, &report["descriptors"]["open"]), (0, &json!(numbers[0])));
    assert_eq!(report["sockets"]["established"], numbers[2] + numbers[3] + numbers[4]);
    assert!(report["identity"]["command_line"].as_str().unwrap().contains("REDACTED"));
    let (status, document) = run_on_capture(&["explain", &pid, "--conf", &conf]);
    assert_eq!((status, &document["first_image"]), (0, &json!("orders")));
    let (status, document) = run_on_capture(&["explain", "--rule", "nginx", "--conf", &conf]);
    assert_eq!((status, document["rules"][0]["matches"].as_array().unwrap().len()), (0, 2));
    let (status, document) = run_on_capture(&["check", &conf]);
    assert_eq!((status, &document["rules"][2]["processes"]), (0, &json!(1)));
    // The other checks depend on the host: its limits, the owner of the file.
    let (_, document) = run_on_capture(&["doctor", "--conf", &conf]);
    assert_eq!(document["checks"][1]["name"], "procfs");
    let again = temp.join("again");
    let (status, document) =
        run_on_capture(&["capture", again.to_str().unwrap(), "--keep-arguments", "--conf", &conf]);
    assert_eq!((status, &document["processes"]), (0, &json!(expected.len())));
    let table = |proc: &str| stdout(&run(&["-p", "--exact", "--conf", &conf, "--proc", proc]));
    assert_eq!(table(again.to_str().unwrap()), table(&proc));

    let args = ["top", "--interval", "0.2", "--conf", &conf, "--proc", &proc];
    let mut top = terminal(&args);
    top.wait_until(|screen| ["+orders", "+nginx", "+cache"].iter().all(|row| screen.contains(row)));
    top.press("q");
    assert_eq!(top.wait(), Some(0));
}

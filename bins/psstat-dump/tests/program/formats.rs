//! Output formats and repetition.

use std::process::Stdio;

use psstat_testproc::{Config, TempDir, TestProcess};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::run::{command, csv, json as json_of, run, stderr, stdout, testproc, unique};

#[test]
fn aligned_without_color_in_a_pipe() {
    let name = unique("plain");
    let _testproc = testproc(&name);
    let output = run(&["--no-conf", "-p", &name]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    let heading: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!((heading[0], heading[1], *heading.last().unwrap()), ("PID", "IMAGE", "COMMAND"));
    assert_eq!(lines[1].find(&name), lines[0].find("IMAGE"));
    assert_eq!(lines[1].rfind(&name), lines[0].find("COMMAND"));
    assert!(!text.contains('\x1b'));
}

#[test]
fn total_is_the_last_line() {
    let name = unique("sum");
    let _testprocs = (testproc(&name), testproc(&name), testproc(&name));
    let output = run(&["--no-conf", "-p", "--columns", "pid,image,threads", &name]);
    let text = stdout(&output);
    let last: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(last, ["total", "3"]);
    assert_eq!(text.lines().count(), 5);
}

#[test]
fn sort_and_columns_options() {
    let (a, b) = (unique("sort-a"), unique("sort-b"));
    let (mut one, mut other) = (testproc(&a), testproc(&b));
    one.open_files(3).unwrap();
    other.open_files(9).unwrap();
    let order = |args: &[&str]| {
        let all = [&["--no-conf", "--csv", "--columns", "image,fds", &a, &b], args].concat();
        let records = csv(&stdout(&run(&all)));
        assert_eq!(records[0], ["time_unix_seconds", "image", "fds"]);
        records[1..].iter().map(|record| record[1].clone()).collect::<Vec<_>>()
    };
    assert_eq!(order(&["--sort", "fds"]), [&*b, &*a]);
    assert_eq!(order(&["--sort", "fds", "--reverse"]), [&*a, &*b]);
    assert_eq!(order(&["--sort", "image"]), [&*a, &*b]);
}

#[test]
fn color_modes() {
    let name = unique("color");
    let _testproc = testproc(&name);
    let text = stdout(&run(&["--no-conf", "--color", "always", &name]));
    assert!(text.starts_with("\x1b[1mIMAGE"), "{text}");
    assert!(!stdout(&run(&["--no-conf", "--color", "never", &name])).contains('\x1b'));
}

#[test]
fn count_option() {
    let name = unique("again");
    let _testproc = testproc(&name);
    let args = ["--no-conf", "--interval", "0.2", "--count", "3", &name];
    let output = run(&[&args[..], &["--json"]].concat());
    let documents: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(documents.len(), 3);
    let times: Vec<f64> =
        documents.iter().map(|d| d["time_unix_seconds"].as_f64().unwrap()).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 0.19), "{times:?}");
    assert!(documents.iter().all(|d| d["rows"][0]["rchar_bytes_per_second"] == 0.0));

    let records = csv(&stdout(&run(&[&args[..], &["--csv"]].concat())));
    assert_eq!(records.len(), 4);
    let constant = ["--columns", "image,processes,fds,threads,tcp"];
    let text = stdout(&run(&[&args[..], &constant].concat()));
    assert_eq!(text.lines().filter(|line| line.ends_with('Z')).count(), 3);
    // The last table is the average.
    let tables: Vec<&str> = text.split("\n\n").collect();
    assert_eq!(tables.len(), 4, "{text}");
    let average: Vec<&str> = tables[3].lines().collect();
    assert_eq!(average[0], "average of 3 tables");
    // The test process sleeps, so the average equals each table.
    assert_eq!(average[1..], tables[2].lines().collect::<Vec<_>>()[1..], "{text}");
    let once = stdout(&run(&["--no-conf", "--interval", "0.2", "--count", "1", &name]));
    assert!(!once.contains("average"), "{once}");
}

#[test]
fn interrupt_prints_the_average() {
    use std::io::{BufRead as _, BufReader, Read as _};
    let name = unique("interrupted");
    let _testproc = testproc(&name);
    let args = ["--no-conf", "-p", "--interval", "0.2", &name];
    let mut child = command(&args).stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let (mut text, mut tables) = (String::new(), 0);
    while tables < 3 {
        let start = text.len();
        assert!(reader.read_line(&mut text).unwrap() > 0, "{text}");
        tables += u32::from(text[start..].contains(" PID IMAGE"));
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let last = text.split("\n\n").last().unwrap();
    let tables = text.lines().filter(|line| line.ends_with('Z')).count();
    assert!(last.starts_with(&format!("average of {tables} tables\n")), "{text}");
    assert_eq!(last.lines().count(), 3, "{text}");
}

/// The warning used to be printed only on a terminal and for the first window.
#[test]
fn step_limit_is_in_json_and_csv() {
    let name = unique("limited");
    let testproc = TestProcess::spawn(&Config::new(&name).arg("x".repeat(60))).unwrap();
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, format!("fine ^{name}\nslow ^{name} (x+x+)+(?=[yz])\n")).unwrap();
    let args = ["--conf", conf.to_str().unwrap(), "--count", "2", "--interval", "0.1"];
    let want = "exceeded their step limit";
    for format in ["--json", "--csv", "--color=never"] {
        let output = run(&[&args[..], &[format]].concat());
        assert_eq!(output.status.code(), Some(0));
        let message = stderr(&output);
        assert!(message.contains(want) && message.ends_with("slow (line 2)\n"), "{message}");
        assert_eq!(message.lines().count(), 1, "{format}: {message}");
        if format == "--json" {
            for line in stdout(&output).lines() {
                let document: Value = serde_json::from_str(line).unwrap();
                let rule = json!({"image": "slow", "file": conf.to_str(), "line": 2});
                assert_eq!(document["step_limited_rules"], json!([rule]));
            }
        }
    }
    let (_, document) = json_of(&["-e", &name, "--json"]);
    assert_eq!(document["step_limited_rules"], json!([]));
    drop(testproc);
}

#[test]
fn absent_image_is_zero() {
    let name = unique("absent");
    let (status, document) = json_of(&["--no-conf", "--json", &name]);
    assert_eq!(status, 1);
    assert_eq!(document["rows"][0]["processes"], 0);
    assert_eq!(document["rows"][0]["fds"], 0);
    assert_eq!(stderr(&run(&["--no-conf", &name])), "psstat-dump: no process matches\n");
}

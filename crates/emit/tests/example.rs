//! The example program, in each format.

use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    let program = psstat_testproc::example("psstat-emit", "self_metrics").unwrap();
    Command::new(program).args(args).output().unwrap()
}

fn stdout(format: &str) -> String {
    let output = run(&[format, "one/two"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn prints_tcollector_lines() {
    let output_text = stdout("tcollector");
    let lines: Vec<Vec<&str>> = output_text.lines().map(|line| line.split(' ').collect()).collect();
    let [fds, threads] = lines.as_slice() else { panic!("{output_text}") };
    assert_eq!((fds[0], &fds[3..]), ("proc.stat.ps.fd", &["image=one/two", "type=open"][..]));
    // The three standard streams at least, and the directory that is listed.
    assert!(fds[2].parse::<u64>().unwrap() >= 4, "{output_text}");
    assert_eq!((threads[0], &threads[2..]), ("proc.stat.ps.threads", &["1", "image=one/two"][..]));
}

#[test]
fn prints_one_json_array() {
    let points: serde_json::Value = serde_json::from_str(&stdout("json")).unwrap();
    assert_eq!(points[1]["metric"], "proc.stat.ps.threads");
    assert_eq!((&points[1]["value"], &points[1]["tags"]["image"]), (&1.into(), &"one/two".into()));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(points[1]["tags"]["host"], host.trim());
}

#[test]
fn prints_an_openmetrics_exposition() {
    let output_text = stdout("openmetrics");
    assert!(output_text.contains("\nproc_stat_ps_threads{image=\"one/two\"} 1\n"), "{output_text}");
    assert!(output_text.ends_with("# EOF\n"), "{output_text}");
}

#[test]
fn invalid_values_are_rejected() {
    let output = run(&["tcollector", "one two"]);
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
}

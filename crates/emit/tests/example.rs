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
    assert_eq!((fds[0], &fds[3..]), ("self.fds", &["program=one/two"][..]));
    // The three standard streams at least, and the directory that is listed.
    assert!(fds[2].parse::<u64>().unwrap() >= 4, "{output_text}");
    assert_eq!((threads[0], &threads[2..]), ("self.threads", &["1", "program=one/two"][..]));
}

#[test]
fn prints_one_json_array() {
    let points: serde_json::Value = serde_json::from_str(&stdout("json")).unwrap();
    assert_eq!(points[1]["metric"], "self.threads");
    assert_eq!(
        (&points[1]["value"], &points[1]["tags"]["program"]),
        (&1.into(), &"one/two".into())
    );
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(points[1]["tags"]["host"], host.trim());
}

#[test]
fn prints_an_openmetrics_exposition() {
    let output_text = stdout("openmetrics");
    assert!(output_text.contains("\nself_threads{program=\"one/two\"} 1\n"), "{output_text}");
    assert!(output_text.ends_with("# EOF\n"), "{output_text}");
}

#[test]
fn invalid_values_are_rejected() {
    let output = run(&["tcollector", "one two"]);
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
}

/// The program in the README, and what it prints.
#[test]
fn readme_program_prints_what_the_readme_says() {
    let readme = include_str!("../README.md");
    let (_, source) = include_str!("../examples/shop.rs").split_once("\n\n").unwrap();
    assert!(readme.contains(&format!("```rust\n{source}```")));
    let program = psstat_testproc::example("psstat-emit", "shop").unwrap();
    for args in [&[][..], &["openmetrics"]] {
        let output = Command::new(&program).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        // The time is the only part that changes.
        let mut parts = text.split("\"timestamp\":");
        let mut expected = parts.next().unwrap().to_owned();
        for part in parts {
            let (_, rest) = part.split_once(',').unwrap();
            expected += &format!("\"timestamp\":1700000000,{rest}");
        }
        assert!(readme.contains(&format!("```text\n{expected}```")), "{expected}");
    }
}

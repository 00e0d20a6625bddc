//! Runs the program and parses its output.

use std::process::{Command, Output, Stdio};

use psstat_testproc::terminal::{self, Terminal};
use psstat_testproc::{Config, TestProcess};
use serde_json::Value;

/// The program with these arguments, without environment variables that affect
/// it.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_psstat-dump"));
    command.args(args).stdin(Stdio::null());
    let variables = ["PSSTAT_CONF", "PSSTAT_CLASS", "PSSTAT_PROC", "PSSTAT_CONF_OWNER", "NO_COLOR"];
    for name in variables {
        command.env_remove(name);
    }
    // The live view: what the terminal can show, and no settings of a user.
    command.env("LC_ALL", "C.UTF-8").env("TERM", "xterm").env("XDG_CONFIG_HOME", "/nonexistent");
    command
}

pub(crate) fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// The program in a terminal.
pub(crate) fn terminal(args: &[&str]) -> Terminal {
    Terminal::start(command(args), terminal::SIZE)
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The status and the single JSON document of the output.
pub(crate) fn json(args: &[&str]) -> (i32, Value) {
    let output = run(args);
    let text = stdout(&output);
    assert_eq!(text.matches('\n').count(), 1, "{text}{}", stderr(&output));
    (output.status.code().unwrap(), serde_json::from_str(&text).unwrap())
}

/// Compares resident memory, in bytes, with a value that was read shortly
/// before: the kernel can reclaim pages of a sleeping process.
pub(crate) fn assert_resident(actual: &Value, expected: i64) {
    let actual = actual.as_i64().unwrap();
    assert!(actual > 0 && actual.abs_diff(expected) <= 1 << 20, "{actual} and {expected}");
}

/// Copies the program to a path that all users can access.
pub(crate) fn copy_program(to: &std::path::Path) {
    psstat_testproc::copy_program(env!("CARGO_BIN_EXE_psstat-dump"), to).unwrap();
}

/// A unique process name.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

pub(crate) fn testproc(name: &str) -> TestProcess {
    TestProcess::spawn(&Config::new(name)).unwrap()
}

/// Parses comma-separated values according to RFC 4180.
pub(crate) fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            other => field.push(other),
        }
    }
    assert!(!quoted && field.is_empty() && record.is_empty(), "not ended: {text}");
    records
}

//! `cargo xtask python`: CPython's answers, recorded again and compared with the matcher.

use std::process::{Command, Stdio};

use clap::Args;

use crate::{Result, cargo};

/// Record the matches of the patterns of fixtures/python by the machine's python3 again.
///
/// Runs fixtures/python/judge.py, which records the answers of CPython to its own table
/// (test/re_tests.py) and to table.txt, prints whether a file changed, and compares the answers of
/// the matcher. The recorded answers are from Python 3.11; from 3.14 on those for `\B` differ. Exits
/// 1 if an answer of the matcher is wrong.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Only compare with the recorded answers: restores them, does not run the matcher, and exits 1
    /// if another Python 3.11 gives other answers
    #[arg(long)]
    keep: bool,
}

/// The Python of the recorded answers in the output of `python3 --version`.
const WRITER: &str = "Python 3.11.";
/// The files that judge.py writes.
const WRITTEN: [&str; 3] = ["cpython.txt", "answers.txt", "captures.txt"];

/// Runs judge.py and the tests that compare the matcher.
pub(crate) fn run(options: &Options) -> Result<()> {
    let version = Command::new("python3").arg("--version").output();
    let version = version.map_err(|error| format!("python3 cannot be run: {error}"))?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let dir = cargo::root().join("fixtures/python");
    let paths = WRITTEN.map(|name| dir.join(name));
    let before = paths.each_ref().map(std::fs::read);
    let recorded = Command::new("python3").arg(dir.join("judge.py")).status()?;
    if !recorded.success() {
        return Err("judge.py failed".into());
    }
    let mut differs = false;
    for ((name, path), before) in WRITTEN.iter().zip(&paths).zip(before) {
        let now = std::fs::read(path)?;
        let before = before.unwrap_or_default();
        let verdict = if now == before {
            "unchanged".to_owned()
        } else {
            format!("{} lines changed", changed(&before, &now))
        };
        println!("{version}: {name}, {} cases, {verdict}", cases(&now));
        if options.keep && now != before {
            std::fs::write(path, before)?;
            differs |= version.starts_with(WRITER);
        }
    }
    if options.keep {
        return if differs { Err("the answers of this Python differ".into()) } else { Ok(()) };
    }
    let mut tests = cargo::command();
    tests.args(["test", "--quiet", "--package", "psstat-matcher", "--lib", "cpython_tests"]);
    let tested = tests.args(["--", "--nocapture"]).stderr(Stdio::inherit()).output()?;
    for line in String::from_utf8_lossy(&tested.stdout).lines() {
        // The other lines are those of the test harness.
        if line.contains(" wrong") || !tested.status.success() {
            println!("{}", line.trim_start_matches('.'));
        }
    }
    if !tested.status.success() {
        return Err("the answers of the matcher differ".into());
    }
    Ok(())
}

/// Lines except the first, which names the Python.
fn cases(text: &[u8]) -> usize {
    text.split(|&byte| byte == b'\n').skip(1).filter(|line| !line.is_empty()).count()
}

/// Lines that differ, and added or removed lines.
fn changed(before: &[u8], now: &[u8]) -> usize {
    let lines = |text: &[u8]| text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    let (before, now): (Vec<_>, Vec<_>) = (lines(before), lines(now));
    let pairs = before.iter().zip(&now).filter(|(before, now)| before != now).count();
    pairs + before.len().abs_diff(now.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted() {
        assert_eq!(cases(b"# Python\na\tb\tno\nc\td\t0 1\n"), 2);
        assert_eq!(changed(b"a\nb\n", b"a\nb\n"), 0);
        assert_eq!(changed(b"a\nb\n", b"a\nc\n"), 1);
        assert_eq!(changed(b"a\n", b"a\nb\n"), 2, "the empty line at the end, and another one");
    }
}

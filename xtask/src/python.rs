//! `cargo xtask python`: CPython's answers, recorded again and compared with the matcher.

use std::process::{Command, Stdio};

use clap::Args;

use crate::{Result, cargo};

/// Ask the machine's python3 again what each pattern of fixtures/python matches.
///
/// Runs fixtures/python/judge.py, which writes CPython's answers over its own table
/// (test/re_tests.py) and over table.txt, says whether a file changed, and then holds the matcher
/// against them: the counts are printed. Python 3.11 wrote those that are there; from 3.14 on `\B`
/// answers differently. Exits 1 if an answer of the matcher is wrong, and with --keep also if a
/// Python 3.11 answers otherwise than the one that wrote them.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Compare with what is there, and leave it as it is
    #[arg(long)]
    keep: bool,
}

/// The Python that wrote what is there, as `python3 --version` names it.
const WRITER: &str = "Python 3.11.";
/// What judge.py writes.
const WRITTEN: [&str; 2] = ["cpython.txt", "answers.txt"];

/// Runs the judge, and the tests that hold the matcher against it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let version = Command::new("python3").arg("--version").output();
    let version = version.map_err(|error| format!("python3 cannot be run: {error}"))?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let folder = cargo::root().join("fixtures/python");
    let paths = WRITTEN.map(|name| folder.join(name));
    let before = paths.each_ref().map(std::fs::read);
    let judged = Command::new("python3").arg(folder.join("judge.py")).status()?;
    if !judged.success() {
        return Err("judge.py failed".into());
    }
    let mut is_other = false;
    for ((name, path), before) in WRITTEN.iter().zip(&paths).zip(before) {
        let now = std::fs::read(path)?;
        let before = before.unwrap_or_default();
        let verdict = if now == before {
            "as it was".to_owned()
        } else {
            format!("{} lines changed", changed(&before, &now))
        };
        println!("{version}: {name}, {} questions, {verdict}", questions(&now));
        if options.keep && now != before {
            std::fs::write(path, before)?;
            is_other |= version.starts_with(WRITER);
        }
    }
    let mut tests = cargo::command();
    tests.args(["test", "--quiet", "--package", "psstat-matcher", "--lib", "judged"]);
    let tested = tests.args(["--", "--nocapture"]).stderr(Stdio::inherit()).output()?;
    for line in String::from_utf8_lossy(&tested.stdout).lines() {
        // The rest is the test harness's own, a dot a test included, unless
        // something is wrong.
        if line.contains(" wrong") || !tested.status.success() {
            println!("{}", line.trim_start_matches('.'));
        }
    }
    if !tested.status.success() {
        return Err("the matcher answers otherwise".into());
    }
    if is_other { Err("this Python answers otherwise than its like did".into()) } else { Ok(()) }
}

/// Lines but the first, which says who wrote the file.
fn questions(text: &[u8]) -> usize {
    text.split(|&byte| byte == b'\n').skip(1).filter(|line| !line.is_empty()).count()
}

/// Lines that are others at their place, and those that came or went.
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
        assert_eq!(questions(b"# who\na\tb\tno\nc\td\t0 1\n"), 2);
        assert_eq!(changed(b"a\nb\n", b"a\nb\n"), 0);
        assert_eq!(changed(b"a\nb\n", b"a\nc\n"), 1);
        assert_eq!(changed(b"a\n", b"a\nb\n"), 2, "the empty one at the end, and one more");
    }
}

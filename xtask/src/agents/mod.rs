//! `cargo xtask agents`: agents and stores that receive the collector's points.

mod tools;

use std::process::Stdio;

use clap::Args;

use crate::{Result, cargo};

/// Run agents and stores of pinned versions with the collector, and compare all points
///
/// Builds them from Go modules or unpacks Debian's packages, below ~/.cache/psstat-agents: some ten
/// minutes the first time. Then runs the tests of the collector that use them, also those that are
/// ignored otherwise, with the configurations of docs/agents.md, and prints a table of the points that
/// were sent and found. Needs Go and apt-get.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Only install the programs, and print their directories
    #[arg(long)]
    install: bool,
    /// Run only the tests whose names contain one of these
    #[arg(value_name = "TEST")]
    tests: Vec<String>,
}

/// The tests that use the programs.
const TESTS: [&str; 8] = [
    "agents::",
    "alert_rules::",
    "influx_lines::",
    "openmetrics::",
    "put_json::",
    "scrapers::",
    "shipped::",
    "textfile::",
];

/// Installs the programs and runs the tests.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut directories = tools::install()?;
    if options.install {
        for directory in directories {
            println!("{}", directory.display());
        }
        return Ok(());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    directories.extend(std::env::split_paths(&path));
    let mut tests = cargo::command();
    tests.args([
        "test",
        "--quiet",
        "--package",
        "psstat-tcollector",
        "--test",
        "integration",
        "--",
    ]);
    // One at a time: the programs use more than a machine of two cores has.
    tests.args(["--include-ignored", "--nocapture", "--test-threads", "1"]);
    if options.tests.is_empty() {
        tests.args(TESTS);
    } else {
        tests.args(&options.tests);
    }
    tests.env("PATH", std::env::join_paths(directories)?);
    let output = tests.stderr(Stdio::inherit()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    if !output.status.success() {
        return Err("a test failed".into());
    }
    println!("\n| consumer | format | points sent | points found |\n|---|---|--:|--:|");
    // A dot of the harness can precede them.
    let rows = said.lines().filter_map(|line| Some(line.split_once("points: ")?.1));
    let mut rows: Vec<&str> = rows.collect();
    rows.sort_unstable();
    rows.dedup();
    for row in rows {
        println!("| {row} |");
    }
    Ok(())
}

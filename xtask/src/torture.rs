//! `cargo xtask torture`: a conf's reload, for longer than the tests take.

use std::process::Stdio;
use std::time::Instant;

use clap::Args;

use crate::{Result, cargo, machine};

/// Change a conf many times by every means, at random, while the matcher follows it.
///
/// Written in place, in pieces with pauses, by rename, an older file moved in, a link swapped, the
/// directory replaced, removed and made again without permission between. The rules in force are
/// always a complete file's, the last change comes into force, and no watch leaks. Prints the seed
/// and how long the slowest change took, from its last write on. Some four changes a second.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How many changes
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    changes: u32,
}

/// Runs the matcher's own test with so many changes.
pub(crate) fn run(options: &Options) -> Result<()> {
    let test = ["test", "--quiet", "--package", "psstat-matcher", "--test", "torture"];
    let built = cargo::command().args(test).arg("--no-run").status()?;
    if !built.success() {
        return Err("the test cannot be built".into());
    }
    let start = Instant::now();
    let ran = cargo::command()
        .args(test)
        .args(["--", "--nocapture"])
        .env("PSSTAT_TORTURE_CHANGES", options.changes.to_string())
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&ran.stdout);
    // How often the conf could not be used for a moment, since it was not there.
    let away = text.lines().filter(|line| line.starts_with("unusable: ")).count();
    println!("{}; load {}", machine::line(), machine::load());
    println!("{} changes in {:.0} s", options.changes, start.elapsed().as_secs_f64());
    println!("told as unusable between {away} times");
    for line in text.lines() {
        let told = line.starts_with("seed ") || line.starts_with("slowest ");
        if told || !ran.status.success() {
            println!("{line}");
        }
    }
    if ran.status.success() { Ok(()) } else { Err("the reload did not stand it".into()) }
}

//! Building `fuzz/` with the counters that libFuzzer reads.

use std::path::PathBuf;
use std::process::Command;

use crate::{Result, cargo};

/// What LLVM puts into the code: a counter an edge, a table that says where
/// each is, and a call at each comparison, so that libFuzzer learns what would
/// have been equal. Stable Rust takes all of it; the sanitizers it does not,
/// and the crates have no unsafe code for them to watch.
const FLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// Where all that fuzzing writes is: the build, the inputs, the logs.
pub(super) fn folder() -> PathBuf {
    cargo::root().join("target/fuzz")
}

/// Builds all targets; gives the folder of their programs.
pub(super) fn programs() -> Result<PathBuf> {
    let host = host()?;
    let built = cargo::command()
        .args(["build", "--quiet", "--release", "--locked"])
        .args(["--manifest-path", "fuzz/Cargo.toml", "--target", &host])
        .arg("--target-dir")
        .arg(folder())
        .env("RUSTFLAGS", FLAGS.join(" "))
        .status()?;
    if !built.success() {
        return Err("fuzz/ cannot be built; libFuzzer wants a C++ compiler".into());
    }
    Ok(folder().join(host).join("release"))
}

/// The machine's target triple. Named to cargo, it keeps the flags off build
/// scripts, which have no counters to hand to anyone.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let told = Command::new(rustc).arg("-vV").output()?;
    let told = String::from_utf8_lossy(&told.stdout);
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc does not say what its host is")?.to_owned())
}

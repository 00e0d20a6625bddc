//! `cargo xtask first-change`: that the change which CONTRIBUTING.md walks
//! through still applies, compiles, and passes its test.

use std::process::Command;

use psstat_testproc::TempDir;

use crate::{Result, cargo};

const PATCH: &str = "docs/first-change.patch";

/// Applies it to a clone of the last commit, and tests that.
pub(crate) fn run() -> Result<()> {
    let folder = TempDir::new()?;
    let clone = folder.join("psstat");
    let mut git = Command::new("git");
    git.args(["clone", "--quiet", "--no-hardlinks"]).arg(cargo::root()).arg(&clone);
    succeeded("git clone", &mut git)?;
    succeeded("git apply", Command::new("git").args(["apply", PATCH]).current_dir(&clone))?;
    // Kept for the next time. Not the folder that this program is built in: cargo
    // would take what was built of the clone, with its paths, for what lies here.
    let target = cargo::target()?.join("first-change");
    let cargo = |arguments: &[&str]| {
        let mut cargo = cargo::command();
        cargo.args(arguments).current_dir(&clone).env("CARGO_TARGET_DIR", &target);
        // Of this run of cargo, not of that one.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(name);
            }
        }
        succeeded(&format!("cargo {}", arguments.join(" ")), &mut cargo)
    };
    cargo(&["check", "--quiet", "-p", "psstat-tcollector", "-p", "psstat-dump"])?;
    cargo(&["test", "--quiet", "-p", "psstat-sampler", "--test", "majflt"])?;
    cargo(&["test", "--quiet", "-p", "psstat-emit", "--test", "encode", "catalogue"])?;
    println!("The first change applies, compiles, and passes.");
    Ok(())
}

fn succeeded(what: &str, command: &mut Command) -> Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("{what}: {status}").into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_change_applies() {
        let mut git = Command::new("git");
        git.args(["apply", "--check", PATCH]).current_dir(cargo::root());
        succeeded("git apply --check", &mut git).unwrap();
    }
}

//! `cargo xtask clone`: what README says first, in a clone that nobody has
//! touched.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use psstat_testproc::TempDir;

use crate::{Result, cargo};

/// Run README's commands in a fresh clone of the last commit, and see that it stays clean.
///
/// Clones the repository's HEAD into a temporary folder, runs there every cargo command that README
/// shows, one after the other, and looks whether git sees a file that was not there before: what is missing in git is found, and what a build or a test leaves behind.
/// Exits 1 if a command fails or a file is left. The folder is removed.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Only the first so many commands
    #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    first: usize,

    /// Where they build [default: the clone's own target folder]
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
}

/// Clones, runs, and looks.
pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = TempDir::new()?;
    let clone = folder.join("psstat");
    let mut git = Command::new("git");
    git.args(["clone", "--quiet", "--no-hardlinks"]).arg(cargo::root()).arg(&clone);
    succeeded("git clone", &mut git)?;
    let readme = std::fs::read_to_string(clone.join("README.md"))?;
    let commands = commands(&readme);
    if commands.is_empty() {
        return Err("README.md has no command".into());
    }
    let target = options.target_dir.as_ref().map(std::path::absolute).transpose()?;
    for command in commands.into_iter().take(options.first) {
        println!("$ {command}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).current_dir(&clone);
        // Of this run of cargo, not of theirs.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                shell.env_remove(name);
            }
        }
        if let Some(target) = &target {
            shell.env("CARGO_TARGET_DIR", target);
        } else {
            shell.env_remove("CARGO_TARGET_DIR");
        }
        succeeded(&command, &mut shell)?;
    }
    let status =
        Command::new("git").args(["status", "--porcelain"]).current_dir(&clone).output()?;
    if !status.status.success() {
        return Err("git status failed".into());
    }
    if !status.stdout.is_empty() {
        let left = String::from_utf8_lossy(&status.stdout).into_owned();
        return Err(format!("the clone is not as it was:\n{left}").into());
    }
    println!("The clone is as it was.");
    Ok(())
}

fn succeeded(what: &str, command: &mut Command) -> Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("{what}: {status}").into()) }
}

/// The commands in the blocks of code.
fn commands(readme: &str) -> Vec<String> {
    let mut in_block = false;
    let mut commands = Vec::new();
    for line in readme.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if in_block && line.starts_with("cargo ") {
            commands.push(line.to_owned());
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readme_begins_with_the_collector() {
        let readme = std::fs::read_to_string(cargo::root().join("README.md")).unwrap();
        let commands = commands(&readme);
        // CI runs the first one alone.
        assert!(commands[0].contains("psstat-tcollector"), "{commands:?}");
        assert!(commands.iter().any(|command| command.starts_with("cargo test")), "{commands:?}");
    }

    #[test]
    fn commands_are_in_blocks_of_code() {
        let readme = "cargo a\n```\ncargo b\nIMAGE 1\n```\n`cargo c`\n```sh\ncargo d -- -e\n```\n";
        assert_eq!(commands(readme), ["cargo b", "cargo d -- -e"]);
    }
}

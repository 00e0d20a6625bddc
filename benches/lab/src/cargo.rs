//! The builds of the collector that the experiments run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;

/// The package of the collector.
const COLLECTOR: &str = "psstat-tcollector";
/// The level of optimization for an emulated processor.
const EMULATED: &str = "1";

/// Builds the collector of the working tree in release mode; returns the path of the program.
pub(crate) fn collector() -> Result<PathBuf> {
    build(root(), &target()?)
}

/// Builds the collector of a commit in release mode; returns its path and the abbreviated hash.
///
/// The commit is checked out as a git worktree below `target/baseline`, which keeps its builds.
pub(crate) fn collector_of(commit: &str) -> Result<(PathBuf, String)> {
    let hash = git(&["rev-parse", "--short=10", "--verify", &format!("{commit}^{{commit}}")])?;
    let baseline = target()?.join("baseline");
    let tree = baseline.join(&hash);
    if !tree.join("Cargo.toml").exists() {
        git(&["worktree", "prune"])?;
        let tree = tree.to_str().ok_or("the path of the worktree is not UTF-8")?;
        git(&["worktree", "add", "--quiet", "--force", "--detach", tree, &hash])?;
    }
    Ok((build(&tree, &baseline.join(format!("{hash}-target")))?, hash))
}

/// Builds programs of the working tree, for another target or, without optimization, for this one;
/// returns their directory. `environment` selects the linker.
pub(crate) fn programs(
    names: &[&str],
    triple: Option<&str>,
    environment: &[(String, String)],
) -> Result<PathBuf> {
    let target = target()?;
    let mut cargo = cargo(root(), &target);
    for name in names {
        cargo.args(["--bin", name]);
    }
    cargo.envs(environment.iter().map(|(name, value)| (name, value)));
    // As in `.ci/run`: smaller, and shared with its builds.
    cargo.env("CARGO_INCREMENTAL", "0").env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
    let mut directory = target;
    if let Some(triple) = triple {
        cargo.args(["--target", triple]).env("CARGO_PROFILE_DEV_OPT_LEVEL", EMULATED);
        directory.push(triple);
    }
    if !cargo.status()?.success() {
        return Err(format!("the build for {} failed", triple.unwrap_or("this machine")).into());
    }
    Ok(directory.join("debug"))
}

/// Builds an integration test of a package as above; returns the path of its program.
pub(crate) fn test_program(
    package: &str,
    test: &str,
    triple: &str,
    environment: &[(String, String)],
) -> Result<PathBuf> {
    let mut cargo = cargo_command("test", root(), &target()?);
    cargo.args(["--no-run", "--message-format", "json", "--package", package, "--test", test]);
    cargo.args(["--target", triple]).envs(environment.iter().map(|(name, value)| (name, value)));
    cargo.env("CARGO_INCREMENTAL", "0").env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
    cargo.env("CARGO_PROFILE_DEV_OPT_LEVEL", EMULATED);
    let output = cargo.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the build of {package}'s test {test} for {triple} failed").into());
    }
    let messages = String::from_utf8(output.stdout)?;
    let program = messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == test)
            .then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    program.ok_or_else(|| format!("cargo names no program of the test {test}").into())
}

/// The abbreviated hash of the working tree's commit, with `+` if files differ from it.
pub(crate) fn commit() -> Result<String> {
    git(&["describe", "--always", "--abbrev=10", "--exclude=*", "--dirty=+"])
}

/// The directory for the downloads of an experiment.
pub(crate) fn downloads(name: &str) -> Result<PathBuf> {
    let directory = target()?.join(name);
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// `cargo build` in a tree.
fn cargo(tree: &Path, target: &Path) -> Command {
    cargo_command("build", tree, target)
}

/// A subcommand of cargo in a tree.
fn cargo_command(subcommand: &str, tree: &Path, target: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([subcommand, "--quiet", "--locked"]);
    cargo.arg("--target-dir").arg(target).current_dir(tree);
    // Variables that `cargo run` set for this package must not reach the build.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn build(tree: &Path, target: &Path) -> Result<PathBuf> {
    let mut cargo = cargo(tree, target);
    cargo.args(["--release", "--package", COLLECTOR]);
    if !cargo.status()?.success() {
        return Err(format!("the release build of {COLLECTOR} in {} failed", tree.display()).into());
    }
    Ok(target.join("release").join(COLLECTOR))
}

fn git(args: &[&str]) -> Result<String> {
    let output = Command::new("git").args(args).current_dir(root()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The root of the workspace at build time.
fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package)
}

/// The target directory that holds this program: TARGET/PROFILE/psstat-lab.
fn target() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    Ok(this.ancestors().nth(2).ok_or("this program is in no target directory")?.to_owned())
}

//! Calls of cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// `cargo` in the root of the workspace.
pub(crate) fn command() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// The root of the workspace at build time.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Builds packages in release mode; returns the directory of their programs.
pub(crate) fn build_release(packages: &[&str]) -> Result<PathBuf> {
    let mut cargo = command();
    cargo.args(["build", "--quiet", "--release"]);
    cargo.args(packages.iter().flat_map(|package| ["--package", package]));
    if !cargo.status()?.success() {
        return Err(format!("the release build of {} failed", packages.join(", ")).into());
    }
    Ok(target()?.join("release"))
}

/// The target directory that holds this program: TARGET/PROFILE/xtask, or
/// TARGET/PROFILE/deps/xtask-HASH of a test.
pub(crate) fn target() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let dir = this.parent().filter(|dir| !dir.ends_with("deps"));
    let profile = dir.or_else(|| this.ancestors().nth(2));
    let target = profile.and_then(Path::parent).ok_or("this program is in no target directory")?;
    Ok(target.to_owned())
}

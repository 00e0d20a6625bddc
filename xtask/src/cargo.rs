//! Running cargo from a verb.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// `cargo` itself, in the workspace's root.
pub(crate) fn command() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// The workspace's root, as it was when xtask was built.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Makes a release build of a package; gives the path of its program.
pub(crate) fn release(package: &str) -> Result<PathBuf> {
    let built = command().args(["build", "--quiet", "--release", "--package", package]).status()?;
    if !built.success() {
        return Err(format!("the release build of {package} failed").into());
    }
    // This program is TARGET/PROFILE/xtask.
    let this = std::env::current_exe()?;
    let target = this.ancestors().nth(2).ok_or("this program is in no target folder")?;
    Ok(target.join("release").join(package))
}

/// In a debug build: makes a release build of xtask and goes on in that one.
/// Comes back only in a release build, which is what is to be measured.
pub(crate) fn go_on_in_release() -> Result<()> {
    if !cfg!(debug_assertions) {
        return Ok(());
    }
    let release = release(env!("CARGO_PKG_NAME"))?;
    Err(Command::new(release).args(std::env::args_os().skip(1)).exec().into())
}

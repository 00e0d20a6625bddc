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
    Ok(target()?.join("release").join(package))
}

/// The target folder that this program lies in: it is TARGET/PROFILE/xtask, or
/// TARGET/PROFILE/deps/xtask-HASH where it is a test. Nothing in the folder tells
/// more: cargo marks it with CACHEDIR.TAG only if it was not there before.
pub(crate) fn target() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let folder = this.parent().filter(|folder| !folder.ends_with("deps"));
    let profile = folder.or_else(|| this.ancestors().nth(2));
    let target = profile.and_then(Path::parent).ok_or("this program is in no target folder")?;
    Ok(target.to_owned())
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

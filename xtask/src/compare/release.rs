//! Measurements are of release builds.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::Result;

/// In a debug build: makes release builds of the collector and of xtask, and
/// goes on in that xtask. Comes back only in a release build.
pub(crate) fn hand_over() -> Result<()> {
    if !cfg!(debug_assertions) {
        return Ok(());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--package", "xtask", "--package", "psstat-tcollector"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    if !built.success() {
        return Err("the release build failed".into());
    }
    // target/debug/xtask
    let debug = std::env::current_exe()?;
    let target = debug.ancestors().nth(2).ok_or("this program is in no target folder")?;
    let release = target.join("release").join("xtask");
    Err(Command::new(release).args(std::env::args_os().skip(1)).exec().into())
}

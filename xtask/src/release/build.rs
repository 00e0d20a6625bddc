//! The build of a release in a copy of the sources.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PROGRAMS, done};
use crate::{Result, cargo};

/// Builds both programs of a directory for an architecture.
pub(super) fn programs(dir: &Path, built: &Path, target: &str, time: &str) -> Result<()> {
    let mut build = cargo::command();
    build.current_dir(dir).args(["build", "--quiet", "--release", "--locked", "--target", target]);
    build.args(PROGRAMS.iter().flat_map(|program| ["--package", program]));
    build.env("CARGO_TARGET_DIR", built).env("SOURCE_DATE_EPOCH", time);
    build.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags(dir, built)?);
    // With musl and Rust's own linker no C compiler is needed.
    let variable = target.to_uppercase().replace('-', "_");
    build.env(format!("CARGO_TARGET_{variable}_LINKER"), "rust-lld");
    done(&mut build).map_err(|error| format!("{error}; `rustup target add {target}`?").into())
}

/// Maps the paths that a program would have in its messages to constant names.
fn flags(dir: &Path, target: &Path) -> Result<OsString> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).ok_or("no home")?;
    let mut flags = OsString::new();
    for (path, name) in [(dir, "/psstat"), (target, "/target"), (home.as_path(), "/cargo")] {
        if !flags.is_empty() {
            // The separator of cargo.
            flags.push("\u{1f}");
        }
        flags.push("--remap-path-prefix=");
        flags.push(path);
        flags.push("=");
        flags.push(name);
    }
    Ok(flags)
}

/// The time of the last commit in seconds since 1970.
pub(super) fn last_commit() -> Result<String> {
    let time = git(&["log", "-1", "--format=%ct"])?;
    Ok(String::from_utf8(time)?.trim().to_owned())
}

/// Copies every tracked file of the working tree.
pub(super) fn copy_tracked_files(to: &Path) -> Result<()> {
    for name in git(&["ls-files", "-z"])?.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let name = std::str::from_utf8(name)?;
        let (from, place) = (cargo::root().join(name), to.join(name));
        std::fs::create_dir_all(place.parent().ok_or("no directory")?)?;
        if from.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(from)?, place)?;
        } else if from.exists() {
            std::fs::copy(from, place)?;
        }
    }
    Ok(())
}

fn git(args: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new("git").args(args).current_dir(cargo::root()).output()?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().into())
    }
}

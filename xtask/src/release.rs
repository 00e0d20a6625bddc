//! `cargo xtask release`: both programs, built so that everybody who builds
//! them gets the same bytes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use psstat_testproc::TempDir;

use crate::{Result, cargo};

/// Build both programs for a release, reproducibly, into target/dist.
///
/// What git knows of the working folder is copied to a folder of its own and built there with the
/// lock file's versions; paths are mapped to names that are the same everywhere, and the time is
/// that of the last commit. Prints the programs' SHA-256. Needs git, sha256sum and the toolchain;
/// on another version of rustc the bytes are others.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Build a second time in another folder, and exit 1 if a byte differs
    #[arg(long)]
    check: bool,
}

/// What is released as programs.
const PROGRAMS: [&str; 2] = ["psstat-tcollector", "psstat-dump"];

/// Builds, and compares where that is wanted.
pub(crate) fn run(options: &Options) -> Result<()> {
    let dist = built_into(&cargo::root().join("target/dist"), "one")?;
    if options.check {
        // Another length of the path, too: it shows where a path is left.
        let temp = TempDir::new()?;
        let again = built_into(temp.path(), "the-other-folder")?;
        for (name, (one, other)) in PROGRAMS.iter().zip(dist.iter().zip(&again)) {
            if std::fs::read(one)? != std::fs::read(other)? {
                return Err(format!("{name}: two builds differ").into());
            }
        }
        println!("two builds in two folders are the same, byte for byte");
    }
    let version = Command::new("rustc").arg("--version").output()?;
    print!("{}", String::from_utf8_lossy(&version.stdout));
    let folder = dist[0].parent().ok_or("no folder")?;
    let hashed = Command::new("sha256sum").args(PROGRAMS).current_dir(folder).status()?;
    if hashed.success() { Ok(()) } else { Err("sha256sum failed".into()) }
}

/// Builds in a folder of this name and copies the programs to `to`.
fn built_into(to: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let temp = TempDir::new()?;
    let folder = temp.join(name);
    copy_known_files(&folder)?;
    let target = temp.join("target");
    let mut build = cargo::command();
    build.current_dir(&folder).args(["build", "--quiet", "--release", "--locked"]);
    build.args(PROGRAMS.iter().flat_map(|program| ["--package", program]));
    build.env("CARGO_TARGET_DIR", &target).env("SOURCE_DATE_EPOCH", last_commit()?);
    build.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags(&folder, &target)?);
    if !build.status()?.success() {
        return Err("the build failed".into());
    }
    std::fs::create_dir_all(to)?;
    let copied = PROGRAMS.iter().map(|program| {
        let place = to.join(program);
        std::fs::copy(target.join("release").join(program), &place)?;
        Ok(place)
    });
    copied.collect()
}

/// Paths that a program would have in its messages, by names that are the same
/// for everybody.
fn flags(folder: &Path, target: &Path) -> Result<OsString> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).ok_or("no home")?;
    let mut flags = OsString::new();
    for (path, name) in [(folder, "/psstat"), (target, "/target"), (home.as_path(), "/cargo")] {
        if !flags.is_empty() {
            // Between two flags, by cargo's rule.
            flags.push("\u{1f}");
        }
        flags.push("--remap-path-prefix=");
        flags.push(path);
        flags.push("=");
        flags.push(name);
    }
    Ok(flags)
}

/// The last commit's time, seconds since 1970.
fn last_commit() -> Result<String> {
    let told = git(&["log", "-1", "--format=%ct"])?;
    Ok(String::from_utf8(told)?.trim().to_owned())
}

/// Copies every file that git knows, as it is now.
fn copy_known_files(to: &Path) -> Result<()> {
    for name in git(&["ls-files", "-z"])?.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let name = std::str::from_utf8(name)?;
        let (from, place) = (cargo::root().join(name), to.join(name));
        std::fs::create_dir_all(place.parent().ok_or("no folder")?)?;
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

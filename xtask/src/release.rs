//! `cargo xtask release`: a reproducible build of both programs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use psstat_testproc::TempDir;

use crate::{Result, cargo};

/// Build both programs for a release, reproducibly, into target/dist.
///
/// The tracked files of the working tree are copied to a new directory and built there with the
/// versions of the lock file. Paths are mapped to constant names, and the time is that of the last
/// commit. Prints the SHA-256 of the programs. Needs git, sha256sum and the toolchain; another
/// version of rustc gives other bytes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Build a second time in another directory, and exit 1 if a byte differs
    #[arg(long)]
    check: bool,
}

/// The released programs.
const PROGRAMS: [&str; 2] = ["psstat-tcollector", "psstat-dump"];

/// Builds, and compares with a second build.
pub(crate) fn run(options: &Options) -> Result<()> {
    let dist = built_into(&cargo::root().join("target/dist"), "one")?;
    if options.check {
        // A path of another length reveals a path in the program.
        let temp = TempDir::new()?;
        let again = built_into(temp.path(), "the-other-directory")?;
        for (name, (one, other)) in PROGRAMS.iter().zip(dist.iter().zip(&again)) {
            if std::fs::read(one)? != std::fs::read(other)? {
                return Err(format!("{name}: two builds differ").into());
            }
        }
        println!("two builds in two directories are identical");
    }
    let version = Command::new("rustc").arg("--version").output()?;
    print!("{}", String::from_utf8_lossy(&version.stdout));
    let dir = dist[0].parent().ok_or("no directory")?;
    let hashed = Command::new("sha256sum").args(PROGRAMS).current_dir(dir).status()?;
    if hashed.success() { Ok(()) } else { Err("sha256sum failed".into()) }
}

/// Builds in a directory of this name and copies the programs to `to`.
fn built_into(to: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let temp = TempDir::new()?;
    let dir = temp.join(name);
    copy_tracked_files(&dir)?;
    let target = temp.join("target");
    let mut build = cargo::command();
    build.current_dir(&dir).args(["build", "--quiet", "--release", "--locked"]);
    build.args(PROGRAMS.iter().flat_map(|program| ["--package", program]));
    build.env("CARGO_TARGET_DIR", &target).env("SOURCE_DATE_EPOCH", last_commit()?);
    build.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags(&dir, &target)?);
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
fn last_commit() -> Result<String> {
    let time = git(&["log", "-1", "--format=%ct"])?;
    Ok(String::from_utf8(time)?.trim().to_owned())
}

/// Copies every tracked file of the working tree.
fn copy_tracked_files(to: &Path) -> Result<()> {
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

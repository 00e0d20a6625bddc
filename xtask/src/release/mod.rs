//! `cargo xtask release`: static programs for each architecture, packed in three formats, with a
//! check that a second build gives the same bytes.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use psstat_testproc::TempDir;

use crate::container::in_mount_namespace;
use crate::{Result, cargo};

mod build;
mod check;
mod pack;
mod rpm;

/// Build the files of a release, reproducibly, into target/dist: .tar.gz, .deb and .rpm.
///
/// Both programs are linked statically with musl, so they run on any distribution. The tracked files of
/// the working tree are copied to a new directory and built there with the versions of the lock file.
/// Paths are mapped to constant names, and the time is that of the last commit. Prints the SHA-256 of
/// the files. Needs git, sha256sum, GNU tar, cargo-deb and cargo-generate-rpm; another version of rustc
/// gives other bytes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// An architecture to build for; may be repeated
    #[arg(long = "target", value_name = "TARGET", default_values = TARGETS)]
    targets: Vec<String>,

    /// Build a second time in another directory, and exit 1 if a byte differs; compare the three
    /// formats, install and remove the .rpm in a copy of this machine's root, and run the programs, with
    /// qemu-user where the machine has another architecture (needs root, dpkg, rpm, cpio and
    /// qemu-user-static)
    #[arg(long)]
    check: bool,

    /// Run the check of this .rpm in the current mount namespace
    #[arg(long, value_name = "FILE", hide = true, requires = "inside")]
    rpm: Option<PathBuf>,

    /// The directory for the copy of the root
    #[arg(long, value_name = "DIR", hide = true)]
    inside: Option<PathBuf>,
}

/// The released architectures.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];
/// The released programs.
const PROGRAMS: [&str; 2] = ["psstat-tcollector", "psstat-dump"];

/// The files of one architecture.
struct Artifacts {
    tar: PathBuf,
    deb: PathBuf,
    rpm: PathBuf,
}

impl Artifacts {
    fn all(&self) -> [&Path; 3] {
        [&self.tar, &self.deb, &self.rpm]
    }
}

/// Builds, and compares with a second build.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let (Some(rpm), Some(dir)) = (&options.rpm, &options.inside) {
        return rpm::inside(dir, rpm);
    }
    let dist = cargo::root().join("target/dist");
    if dist.exists() {
        std::fs::remove_dir_all(&dist)?;
    }
    // Once: a commit or a change while the first build runs must not look like a difference.
    let temp = TempDir::new()?;
    let sources = Sources { dir: temp.join("sources"), time: build::last_commit()? };
    build::copy_tracked_files(&sources.dir)?;
    crate::assets::write(&sources.dir.join("target/assets"))?;
    let mut names = Vec::new();
    for target in &options.targets {
        let made = sources.build_in(&dist, "one", target)?;
        if options.check {
            // A path of another length reveals a path in a program.
            let temp = TempDir::new()?;
            let again = sources.build_in(temp.path(), "the-other-directory", target)?;
            for (one, other) in made.all().into_iter().zip(again.all()) {
                if std::fs::read(one)? != std::fs::read(other)? {
                    return Err(format!("{}: two builds differ", one.display()).into());
                }
            }
            println!("{target}: two builds in two directories are identical");
            check::formats(&made)?;
            in_mount_namespace(&["release".as_ref(), "--rpm".as_ref(), made.rpm.as_os_str()])?;
            check::programs(&made, target)?;
        }
        names.extend(made.all().into_iter().filter_map(Path::file_name).map(ToOwned::to_owned));
    }
    let version = Command::new("rustc").arg("--version").output()?;
    print!("{}", String::from_utf8_lossy(&version.stdout));
    done(Command::new("sha256sum").args(&names).current_dir(&dist))
}

/// The input of a build: copies of the tracked files and of the pages made from the programs.
struct Sources {
    dir: PathBuf,
    /// The time of the last commit, in seconds since 1970.
    time: String,
}

impl Sources {
    /// Builds in a directory of this name and packs the programs into `to`.
    fn build_in(&self, to: &Path, name: &str, target: &str) -> Result<Artifacts> {
        let temp = TempDir::new()?;
        let (dir, built) = (temp.join(name), temp.join("target"));
        done(Command::new("cp").arg("--archive").args([&self.dir, &dir]))?;
        build::programs(&dir, &built, target, &self.time)?;
        std::fs::create_dir_all(to)?;
        pack::all(&dir, &built, target, &self.time, &std::path::absolute(to)?)
    }
}

/// Runs a program to its end. An error if it fails.
pub(crate) fn done(command: &mut Command) -> Result<()> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}").into()),
        Err(error) => Err(format!("{command:?}: {error}").into()),
    }
}

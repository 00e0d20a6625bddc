//! `cargo xtask package`: the Debian package, and a check of its installation.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::container::{Chroot, in_mount_namespace};
use crate::{Result, assets, cargo};

mod check;
mod page;

/// Build a Debian package of both programs with cargo-deb.
///
/// Release builds, man pages, completions, an example config, and a program for tcollector. With
/// --check the package is installed, used as described in docs/install.md, upgraded, removed and
/// purged in a temporary copy of this machine's root (an overlay in a mount namespace). That needs
/// root and apt.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The output directory
    #[arg(long, value_name = "DIR", default_value = "target/debian")]
    out: PathBuf,

    /// Install it and run the commands of docs/install.md
    #[arg(long)]
    check: bool,

    /// Run the check in the current mount namespace, with this directory for the copy
    #[arg(long, value_name = "DIR", hide = true)]
    inside: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(dir) = &options.inside {
        return check::inside(dir, &package_in(&options.out)?);
    }
    build(&options.out)?;
    if options.check {
        in_mount_namespace(&["package".as_ref(), "--out".as_ref(), options.out.as_os_str()])?;
    }
    Ok(())
}

fn build(out: &Path) -> Result<()> {
    // Packages and pages of an earlier build must not be used.
    for dir in [out, &cargo::root().join("target/assets")] {
        if dir.exists() {
            std::fs::remove_dir_all(dir)?;
        }
        std::fs::create_dir_all(dir)?;
    }
    assets::write(&cargo::root().join("target/assets"))?;
    cargo::build_release(&["psstat-tcollector", "psstat-dump"])?;
    let out = std::path::absolute(out)?;
    let made = cargo::command()
        .args(["deb", "--quiet", "--no-build", "--package", "psstat-tcollector", "--output"])
        .arg(out.join(""))
        .status()?;
    if !made.success() {
        return Err("cargo-deb failed; `cargo install cargo-deb` if it is missing".into());
    }
    Ok(())
}

/// A package that was named, or else the one that was built into the default directory.
pub(crate) fn given_or_built(given: Option<&Path>) -> Result<PathBuf> {
    match given {
        Some(package) => Ok(package.to_owned()),
        None => package_in(&cargo::root().join("target/debian")),
    }
}

/// Installs a package in a chroot whose machine has its dependencies.
pub(crate) fn install(chroot: &Chroot, package: &Path) -> Result<()> {
    std::fs::copy(package, chroot.path("/root/psstat.deb"))?;
    chroot.sh("dpkg --install psstat.deb").map(drop)
}

/// The only package in a directory.
fn package_in(dir: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(dir)?.collect::<std::io::Result<Vec<_>>>()?;
    let mut packages = entries
        .iter()
        .map(std::fs::DirEntry::path)
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"));
    match (packages.next(), packages.next()) {
        (Some(package), None) => Ok(package),
        _ => Err(format!("{}: not exactly one package", dir.display()).into()),
    }
}

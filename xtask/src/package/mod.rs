//! `cargo xtask package`: the Debian package, and a look at it installed.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::{Result, assets, cargo};

mod check;
mod chroot;
mod page;

/// Make a Debian package of both programs, with cargo-deb.
///
/// Release builds, man pages, completions, an example conf, and what tcollector runs. With --check
/// the package is installed, used as docs/install.md says, upgraded, removed and purged, in a copy
/// of this machine's root that goes away afterwards (an overlay in a mount namespace). That needs
/// root and apt.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The folder to write it to
    #[arg(long, value_name = "DIR", default_value = "target/debian")]
    out: PathBuf,

    /// Install it and do with it what docs/install.md says
    #[arg(long)]
    check: bool,

    /// Go on with the check in a mount namespace, with this folder for the copy
    #[arg(long, value_name = "DIR", hide = true)]
    inside: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(scratch) = &options.inside {
        return check::inside(scratch, &package_in(&options.out)?);
    }
    build(&options.out)?;
    if options.check {
        check::outside(&options.out)?;
    }
    Ok(())
}

fn build(out: &Path) -> Result<()> {
    // No package or page of before may be taken for one of now.
    for folder in [out, &cargo::root().join("target/assets")] {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
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

/// The one package in a folder.
fn package_in(folder: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    let mut packages = entries
        .iter()
        .map(std::fs::DirEntry::path)
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"));
    match (packages.next(), packages.next()) {
        (Some(package), None) => Ok(package),
        _ => Err(format!("{}: not one package", folder.display()).into()),
    }
}

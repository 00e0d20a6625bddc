//! The three formats of a release.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Artifacts, PROGRAMS, done};
use crate::{Result, cargo};

/// The files of the archive next to the programs, by the directory that they come from.
const ARCHIVED: [(&str, &[&str]); 6] = [
    (".", &["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "docs"]),
    ("target/assets", &["man", "completions"]),
    ("fixtures/conf", &["example.conf", "conf.d"]),
    ("packaging", &["collector", "default", "systemd", "ansible"]),
    ("packaging/prometheus", &["psstat.rules.yml"]),
    ("packaging", &["grafana", "vmui"]),
];

/// Packs the programs that were built from a directory.
pub(super) fn all(
    dir: &Path,
    built: &Path,
    target: &str,
    time: &str,
    to: &Path,
) -> Result<Artifacts> {
    let arch = target.split('-').next().ok_or("not a target")?;
    let version = env!("CARGO_PKG_VERSION");
    let tar = to.join(format!("psstat-{version}-{arch}-linux.tar.gz"));
    archive(dir, &built.join(target).join("release"), &tar, time)?;
    let deb = to.join(format!("psstat_{version}_{arch}.deb"));
    let mut cargo_deb = cargo::command();
    cargo_deb.args([
        "deb",
        "--quiet",
        "--no-build",
        "--no-strip",
        "--package",
        "psstat-tcollector",
    ]);
    cargo_deb.arg("--target").arg(target).arg("--output").arg(&deb);
    done(cargo_deb.current_dir(dir).env("CARGO_TARGET_DIR", built).env("SOURCE_DATE_EPOCH", time))?;
    let rpm = to.join(format!("psstat-{version}.{arch}.rpm"));
    let mut cargo_rpm = cargo::command();
    cargo_rpm.args([
        "generate-rpm",
        "--package",
        "bins/psstat-tcollector",
        "--auto-req",
        "disabled",
    ]);
    cargo_rpm.arg("--target").arg(target).arg("--target-dir").arg(built);
    cargo_rpm.args(["--source-date", time]).arg("--output").arg(&rpm);
    done(cargo_rpm.current_dir(dir))?;
    Ok(Artifacts { tar, deb, rpm })
}

/// An archive with one directory, in which the order, the owners and the times do not depend on the
/// machine.
fn archive(dir: &Path, programs: &Path, to: &Path, time: &str) -> Result<()> {
    let name = to.file_name().and_then(|name| name.to_str()).ok_or("no name")?;
    let name = name.trim_end_matches(".tar.gz");
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--format=ustar", "--owner=0", "--group=0"]);
    tar.args(["--numeric-owner", "--mode=u=rwX,go=rX", "--use-compress-program=gzip --no-name"]);
    tar.arg(format!("--mtime=@{time}")).arg(format!("--transform=s,^,{name}/,"));
    tar.arg("--file").arg(to).arg("--directory").arg(programs).args(PROGRAMS);
    for (from, files) in ARCHIVED {
        tar.arg("--directory").arg(dir.join(from)).args(files);
    }
    done(&mut tar)
}

/// The directory of an extracted archive.
pub(super) fn extracted(tar: &Path, to: &Path) -> Result<PathBuf> {
    done(Command::new("tar").arg("--extract").arg("--file").arg(tar).arg("--directory").arg(to))?;
    let name = tar.file_name().and_then(|name| name.to_str()).ok_or("no name")?;
    Ok(to.join(name.trim_end_matches(".tar.gz")))
}

//! A copy of this machine's root in which packages are installed and services run. The machine is
//! unchanged: written files are in memory, and disappear with a mount namespace.

use std::ffi::OsStr;
use std::process::Command;

use psstat_testproc::TempDir;

use crate::Result;

mod chroot;
mod machine;

pub(crate) use chroot::{Chroot, CommandOutput};
pub(crate) use machine::Machine;

/// Runs this program with these arguments and `--inside DIR` in a new mount namespace, with which
/// all mounts disappear.
pub(crate) fn in_mount_namespace<A: AsRef<OsStr>>(args: &[A]) -> Result<()> {
    let dir = TempDir::new()?;
    let done = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe()?)
        .args(args)
        .arg("--inside")
        .arg(dir.path())
        .status()?;
    if done.success() { Ok(()) } else { Err("the check in a mount namespace failed".into()) }
}

//! A copy of this machine's root in which anything may be installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;

/// What lies in it is the machine's until it is written to; what is written
/// goes to memory, and away with the mount namespace.
#[derive(Debug)]
pub(crate) struct Room {
    root: PathBuf,
}

/// What a script said, both outputs as they came.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Room {
    /// Makes it in a mount namespace that is this process's own.
    pub(crate) fn new(scratch: &Path) -> Result<Room> {
        let of = |name: &str| scratch.join(name);
        let root = of("root");
        // An overlay's own part may not lie within what it covers.
        mount(&["-t", "tmpfs", "tmpfs"], scratch)?;
        for folder in [of("upper"), of("work"), root.clone()] {
            std::fs::create_dir(folder)?;
        }
        let layers = format!(
            "lowerdir=/,upperdir={},workdir={}",
            of("upper").display(),
            of("work").display()
        );
        mount(&["-t", "overlay", "overlay", "-o", &layers], &root)?;
        for kernel in ["proc", "dev"] {
            mount(&["--rbind", &format!("/{kernel}")], &root.join(kernel))?;
        }
        Ok(Room { root })
    }

    /// A path of it, as this process sees it.
    pub(crate) fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// Whether there is something, be it a link to nothing.
    pub(crate) fn has(&self, absolute: &str) -> bool {
        std::fs::symlink_metadata(self.path(absolute)).is_ok()
    }

    /// Runs a script as root in /root; every command of it must go well.
    pub(crate) fn sh(&self, script: &str) -> Result<Said> {
        let output = Command::new("chroot")
            .arg(&self.root)
            .args(["/bin/sh", "-ec", &format!("cd /root\n{script}")])
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = Said { stdout: text(&output.stdout), stderr: text(&output.stderr) };
        if !output.status.success() {
            let Said { stdout, stderr } = said;
            return Err(format!("{}\n{script}\n{stdout}{stderr}", output.status).into());
        }
        Ok(said)
    }

    /// Everything that was written to it and whose path has this in it.
    pub(crate) fn written(&self, text: &str) -> Result<Vec<String>> {
        let upper = self.root.with_file_name("upper");
        let found =
            Command::new("find").arg(&upper).arg("-name").arg(format!("*{text}*")).output()?;
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        let upper = upper.display().to_string();
        // Character devices there are what was removed.
        Ok(found
            .lines()
            .map(|path| path.replacen(&upper, "", 1))
            .filter(|path| self.has(path))
            .collect())
    }
}

fn mount(options: &[&str], on: &Path) -> Result<()> {
    let mounted = Command::new("mount").args(options).arg(on).status()?;
    if !mounted.success() {
        return Err(format!("cannot mount {options:?} on {}; it takes root", on.display()).into());
    }
    Ok(())
}

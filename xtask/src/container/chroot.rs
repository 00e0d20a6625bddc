//! The copy of the root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;

/// An overlay: the files are those of the machine until they are written; written files are in
/// memory and disappear with the mount namespace.
#[derive(Debug)]
pub(crate) struct Chroot {
    root: PathBuf,
}

/// The output of a script.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Chroot {
    /// Mounts it in the mount namespace of this process.
    pub(crate) fn new(dir: &Path) -> Result<Chroot> {
        let path = |name: &str| dir.join(name);
        let root = path("root");
        // The upper directory of an overlay may not be within the lower one.
        mount(&["-t", "tmpfs", "tmpfs"], dir)?;
        for dir in [path("upper"), path("work"), root.clone()] {
            std::fs::create_dir(dir)?;
        }
        let layers = format!(
            "lowerdir=/,upperdir={},workdir={}",
            path("upper").display(),
            path("work").display()
        );
        mount(&["-t", "overlay", "overlay", "-o", &layers], &root)?;
        for kernel in ["proc", "dev"] {
            mount(&["--rbind", &format!("/{kernel}")], &root.join(kernel))?;
        }
        Ok(Chroot { root })
    }

    /// The path outside of the chroot.
    pub(crate) fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// Whether a path exists, which may be a dangling symlink.
    pub(crate) fn has(&self, absolute: &str) -> bool {
        std::fs::symlink_metadata(self.path(absolute)).is_ok()
    }

    /// The directory that holds it.
    pub(super) fn dir(&self) -> &Path {
        self.root.parent().unwrap_or(&self.root)
    }

    /// Runs a script as root in /root; an error if one of its commands fails.
    pub(crate) fn sh(&self, script: &str) -> Result<CommandOutput> {
        let mut command = Command::new("chroot");
        // systemctl enables units, and starts none.
        command.arg(&self.root).args(["env", "SYSTEMD_OFFLINE=1", "/bin/sh", "-ec"]);
        run(&mut command, script)
    }

    /// The written files whose names contain this text.
    pub(crate) fn written(&self, text: &str) -> Result<Vec<String>> {
        let upper = self.root.with_file_name("upper");
        let found =
            Command::new("find").arg(&upper).arg("-name").arg(format!("*{text}*")).output()?;
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        let upper = upper.display().to_string();
        // Removed files are character devices there.
        Ok(found
            .lines()
            .map(|path| path.replacen(&upper, "", 1))
            .filter(|path| self.has(path))
            .collect())
    }
}

/// Runs a script by a shell command, with the environment of a login of root.
pub(super) fn run(shell: &mut Command, script: &str) -> Result<CommandOutput> {
    let output = shell
        .arg(format!("cd /root\n{script}"))
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    if !output.status.success() {
        return Err(format!("{}\n{script}\n{stdout}{stderr}", output.status).into());
    }
    Ok(CommandOutput { stdout, stderr })
}

/// Mounts on a directory in the mount namespace of this process.
pub(super) fn mount(options: &[&str], on: &Path) -> Result<()> {
    let mounted = Command::new("mount").args(options).arg(on).status()?;
    if !mounted.success() {
        return Err(format!("cannot mount {options:?} on {}; it needs root", on.display()).into());
    }
    Ok(())
}

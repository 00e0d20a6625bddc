//! The kernel of a machine: a package of Debian, unpacked and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::architecture::Machine;
use super::command;
use crate::Result;

/// The unpacked package.
#[derive(Debug)]
pub(crate) struct Kernel {
    directory: PathBuf,
}

/// The modules of sock_diag, in the order of their dependencies.
const MODULES: [&str; 4] = ["inet_diag", "tcp_diag", "udp_diag", "unix_diag"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const MIRROR: &str = "http://deb.debian.org/debian";

impl Kernel {
    /// Downloads the newest kernel of the machine's suite, unless one is there already.
    pub(crate) fn download(machine: &Machine, directory: &Path) -> Result<Kernel> {
        let directory = directory.join(format!("{}-{}", machine.kernel, machine.suite));
        let unpacked = directory.join("unpacked");
        if unpacked.exists() {
            return Ok(Kernel { directory: unpacked });
        }
        fs::create_dir_all(directory.join("state/lists/partial"))?;
        fs::create_dir_all(directory.join("cache/archives/partial"))?;
        fs::write(directory.join("status"), "")?;
        let sources = directory.join("sources.list");
        let (name, suite) = (machine.name, machine.suite);
        fs::write(
            &sources,
            format!("deb [signed-by={KEYRING} arch={name}] {MIRROR} {suite} main\n"),
        )?;
        let apt = |program: &str, args: &[&str]| -> Result<String> {
            let mut apt = Command::new(program);
            let path = |name: &str| directory.join(name).display().to_string();
            // Its own state: the packages of this machine are neither used nor changed.
            for option in [
                format!("APT::Architecture={name}"),
                format!("APT::Architectures={name}"),
                format!("Dir::State={}", path("state")),
                format!("Dir::State::status={}", path("status")),
                format!("Dir::Cache={}", path("cache")),
                format!("Dir::Etc::sourcelist={}", sources.display()),
                "Dir::Etc::sourceparts=-".to_owned(),
                "Acquire::Languages=none".to_owned(),
                // apt downloads as root: its own user cannot write to this directory.
                "APT::Sandbox::User=root".to_owned(),
            ] {
                apt.args(["-o", &option]);
            }
            command(apt.args(args).current_dir(&directory))
        };
        apt("apt-get", &["update", "-qq"])?;
        let description = apt("apt-cache", &["show", machine.kernel])?;
        let package = depends(&description).ok_or(format!("no package {}", machine.kernel))?;
        apt("apt-get", &["download", "-qq", package])?;
        let partial = directory.join("partial");
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                command(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(&partial))?;
                fs::remove_file(path)?;
            }
        }
        fs::rename(&partial, &unpacked)?;
        Ok(Kernel { directory: unpacked })
    }

    /// The kernel's image.
    pub(crate) fn image(&self) -> Result<PathBuf> {
        for entry in fs::read_dir(self.directory.join("boot"))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("vmlinu") {
                return Ok(path);
            }
        }
        Err(format!("no kernel in {}", self.directory.display()).into())
    }

    /// Those of sock_diag's modules that the kernel does not have built in: name and content.
    pub(crate) fn modules(&self) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let mut modules = Vec::new();
        let mut left = vec![self.directory.clone()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    left.push(entry.path());
                    continue;
                }
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let Some((stem, extension)) = name.split_once('.') else { continue };
                let Some(module) = MODULES.into_iter().find(|&module| module == stem) else {
                    continue;
                };
                let content = match extension {
                    "ko" => fs::read(entry.path())?,
                    "ko.xz" => Command::new("xz").arg("-dc").arg(entry.path()).output()?.stdout,
                    _ => return Err(format!("{name}: unknown compression").into()),
                };
                modules.push((module, content));
            }
        }
        Ok(modules)
    }
}

/// The first package that a package depends on.
fn depends(description: &str) -> Option<&str> {
    let line = description.lines().find_map(|line| line.strip_prefix("Depends: "))?;
    line.split([' ', ',']).next()
}

#[cfg(test)]
mod tests {
    #[test]
    fn package_of_the_newest_kernel() {
        let description =
            "Package: linux-image-s390x\nDepends: linux-image-6.1.0-50-s390x (= 6.1)\n";
        assert_eq!(super::depends(description), Some("linux-image-6.1.0-50-s390x"));
        assert_eq!(super::depends("Package: x\n"), None);
    }
}

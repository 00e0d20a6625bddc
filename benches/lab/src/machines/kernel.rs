//! The kernel of a machine: packages of its distribution, unpacked and not installed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command;
use super::machine::{Machine, Repository};
use crate::Result;

/// The files of a kernel that are needed, in a directory.
#[derive(Debug)]
pub(crate) struct Kernel {
    directory: PathBuf,
}

/// The modules of sock_diag and of swap space in memory. Those that they depend on come first.
const MODULES: [&str; 6] = ["inet_diag", "tcp_diag", "udp_diag", "unix_diag", "lzo_rle", "zram"];
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Ubuntu's keys are in a package of Debian.
const UBUNTU_KEYRING: &str = "usr/share/keyrings/ubuntu-archive-keyring.gpg";
const UBUNTU_KEYRING_PACKAGE: &str = "ubuntu-keyring";

impl Kernel {
    /// Downloads the newest kernel of the machine's suites, unless one is there already.
    pub(crate) fn download(machine: &Machine, downloads: &Path) -> Result<Kernel> {
        let suite = machine.suites.first().map_or("", |(_, suite)| suite);
        let directory = downloads.join(format!("{}-{suite}", machine.kernel.join("-")));
        let kernel = Kernel { directory: directory.join("kernel") };
        if kernel.directory.exists() {
            return Ok(kernel);
        }
        let mut lines = Vec::new();
        for &(repository, suite) in machine.suites {
            let (keyring, mirror) = match repository {
                Repository::Debian => (DEBIAN_KEYRING.into(), "http://deb.debian.org/debian"),
                Repository::DebianSecurity => {
                    (DEBIAN_KEYRING.into(), "http://deb.debian.org/debian-security")
                }
                Repository::Ubuntu => {
                    (ubuntu_keyring(&directory)?, "http://archive.ubuntu.com/ubuntu")
                }
            };
            let keyring: PathBuf = keyring;
            let options = format!("signed-by={} arch={}", keyring.display(), machine.architecture);
            lines.push(format!("deb [{options}] {mirror} {suite} main\n"));
        }
        let apt = Apt::new(directory.join("apt"), machine.architecture, &lines.concat())?;
        let unpacked = directory.join("unpacked");
        let mut packages: Vec<String> =
            machine.kernel.iter().map(|&name| name.to_owned()).collect();
        let mut version = None;
        let mut at = 0;
        while let Some(package) = packages.get(at).cloned() {
            at += 1;
            let description = apt.run("apt-cache", &["show", "--no-all-versions", &package])?;
            for depends in kernel_packages(&description) {
                if !packages.contains(&depends) {
                    packages.push(depends);
                }
            }
            // The others only depend on the newest one.
            if is_kernel_package(&package) {
                apt.unpack(&package, &unpacked)?;
                version = version.or_else(|| field(&description, "Version").map(str::to_owned));
            }
        }
        let version = version.ok_or("no package of a kernel")?;
        kernel.keep(&unpacked, &version)?;
        fs::remove_dir_all(&unpacked)?;
        apt.remove()?;
        Ok(kernel)
    }

    /// The kernel's image.
    pub(crate) fn image(&self) -> PathBuf {
        self.directory.join("image")
    }

    /// The version of its package.
    pub(crate) fn version(&self) -> Result<String> {
        Ok(fs::read_to_string(self.directory.join("version"))?)
    }

    /// The modules that the kernel does not have built in: name and content. Those that others
    /// depend on come first, by name.
    pub(crate) fn modules(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut modules = Vec::new();
        for entry in fs::read_dir(self.directory.join("modules"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            modules.push((name, fs::read(entry.path())?));
        }
        modules.sort();
        Ok(modules)
    }

    /// Moves what is needed from an unpacked package. The directory exists if all of it is there.
    fn keep(&self, unpacked: &Path, version: &str) -> Result<()> {
        let partial = self.directory.with_extension("partial");
        fs::create_dir_all(partial.join("modules"))?;
        fs::write(partial.join("version"), version)?;
        let mut files = BTreeMap::new();
        list(unpacked, &mut files)?;
        let image = files.iter().find(|(name, _)| name.starts_with("vmlinu"));
        let (_, image) = image.ok_or("the packages have no kernel")?;
        fs::copy(image, partial.join("image"))?;
        let mut loaded = Vec::new();
        for module in MODULES {
            load_order(module, &files, &mut loaded)?;
        }
        for (at, (name, content)) in loaded.iter().enumerate() {
            fs::write(partial.join(format!("modules/{at:02}-{name}.ko")), content)?;
        }
        fs::rename(partial, &self.directory)?;
        Ok(())
    }
}

/// Adds a module, after those that it depends on. It is built in if there is no file.
fn load_order(
    module: &str,
    files: &BTreeMap<String, PathBuf>,
    loaded: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    if loaded.iter().any(|(name, _)| name == module) {
        return Ok(());
    }
    let Some(path) = files.get(module) else { return Ok(()) };
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => "cat",
    };
    let mut read = Command::new(program);
    if program != "cat" {
        read.arg("-dc");
    }
    let content = read.arg(path).output()?.stdout;
    for name in depends(&content) {
        load_order(&name, files, loaded)?;
    }
    loaded.push((module.to_owned(), content));
    Ok(())
}

/// The modules that a module depends on.
fn depends(module: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let Some(at) = module.windows(FIELD.len()).position(|bytes| bytes == FIELD) else {
        return Vec::new();
    };
    let value = module[at + FIELD.len()..].split(|&byte| byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value).replace('-', "_");
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The files below a directory by the names of modules, which have underscores.
fn list(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list(&entry.path(), files)?;
        } else if entry.file_type()?.is_file() {
            let name = entry.file_name().to_string_lossy().replace('-', "_");
            let stem = name.split_once(".ko").map_or(&*name, |(stem, _)| stem).to_owned();
            files.insert(stem, entry.path());
        }
    }
    Ok(())
}

/// The packages of a kernel that a package depends on, those for the newest kernel included.
fn kernel_packages(description: &str) -> Vec<String> {
    let depends = field(description, "Depends").unwrap_or_default();
    let names = depends.split(',').filter_map(|one| one.split_whitespace().next());
    names.filter(|name| kernel_part(name).is_some()).map(str::to_owned).collect()
}

/// The part of the name after the kind of package.
fn kernel_part(package: &str) -> Option<&str> {
    let part = package.strip_prefix("linux-")?;
    let part = ["image-", "binary-", "modules-"].iter().find_map(|kind| part.strip_prefix(kind))?;
    Some(part.strip_prefix("extra-").unwrap_or(part))
}

/// Whether the package is of one kernel, as its version in the name shows.
fn is_kernel_package(package: &str) -> bool {
    kernel_part(package).is_some_and(|part| part.starts_with(|first: char| first.is_ascii_digit()))
}

fn field<'a>(description: &'a str, name: &str) -> Option<&'a str> {
    description.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The file with Ubuntu's keys.
fn ubuntu_keyring(directory: &Path) -> Result<PathBuf> {
    let unpacked = directory.join("keyring");
    let keyring = unpacked.join(UBUNTU_KEYRING);
    if !keyring.exists() {
        let line =
            format!("deb [signed-by={DEBIAN_KEYRING}] http://deb.debian.org/debian trixie main\n");
        let apt = Apt::new(directory.join("keyring-apt"), "amd64", &line)?;
        apt.unpack(UBUNTU_KEYRING_PACKAGE, &unpacked)?;
        apt.remove()?;
    }
    Ok(keyring)
}

/// apt with its own state: the packages of this machine are neither used nor changed.
struct Apt {
    directory: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn new(directory: PathBuf, architecture: &str, sources: &str) -> Result<Apt> {
        fs::create_dir_all(directory.join("state/lists/partial"))?;
        fs::create_dir_all(directory.join("cache/archives/partial"))?;
        fs::write(directory.join("status"), "")?;
        fs::write(directory.join("sources.list"), sources)?;
        let path = |name: &str| directory.join(name).display().to_string();
        let options = vec![
            format!("APT::Architecture={architecture}"),
            format!("APT::Architectures={architecture}"),
            format!("Dir::State={}", path("state")),
            format!("Dir::State::status={}", path("status")),
            format!("Dir::Cache={}", path("cache")),
            format!("Dir::Etc::sourcelist={}", path("sources.list")),
            "Dir::Etc::sourceparts=-".to_owned(),
            "Acquire::Languages=none".to_owned(),
            // apt downloads as root: its own user cannot write to this directory.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let apt = Apt { directory, options };
        apt.run("apt-get", &["update", "-qq"])?;
        Ok(apt)
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        let mut apt = Command::new(program);
        for option in &self.options {
            apt.args(["-o", option]);
        }
        command(apt.args(args).current_dir(&self.directory))
    }

    /// Downloads a package and unpacks it.
    fn unpack(&self, package: &str, to: &Path) -> Result<()> {
        self.run("apt-get", &["download", "-qq", package])?;
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                command(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(to))?;
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn remove(self) -> Result<()> {
        Ok(fs::remove_dir_all(self.directory)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_a_kernel() {
        let newest = "Package: linux-image-amd64\nVersion: 7.3\nDepends: linux-base-amd64 (= 7.3), \
                      linux-image-7.3-amd64 (= 7.3), linux-modules-amd64 (= 7.3)\n";
        assert_eq!(kernel_packages(newest), ["linux-image-7.3-amd64", "linux-modules-amd64"]);
        let kernel = "Depends: dracut | initramfs-tools (>= 0.120), linux-binary-7.3-amd64, \
                      linux-modules-extra-7.3-generic\n";
        let packages = kernel_packages(kernel);
        assert_eq!(packages, ["linux-binary-7.3-amd64", "linux-modules-extra-7.3-generic"]);
        assert!(packages.iter().all(|package| is_kernel_package(package)));
        assert!(!is_kernel_package("linux-image-amd64") && !is_kernel_package("linux-base-7.3"));
        assert_eq!(kernel_packages("Package: x\n"), <[String; 0]>::default());
        assert_eq!(field(newest, "Version"), Some("7.3"));
    }

    #[test]
    fn dependencies_of_a_module() {
        let module = b"ELF\0license=GPL\0depends=zsmalloc,lzo-rle\0name=zram\0";
        assert_eq!(depends(module), ["zsmalloc", "lzo_rle"]);
        assert_eq!(depends(b"x\0depends=\0"), <[String; 0]>::default());
        assert_eq!(depends(b"x"), <[String; 0]>::default());
    }

    #[test]
    fn modules_follow_those_that_they_need() {
        let temp = psstat_testproc::TempDir::new().unwrap();
        for (name, needs) in [("a-b", "c"), ("c", "d"), ("d", "")] {
            let content = format!("\0depends={needs}\0");
            fs::write(temp.join(format!("{name}.ko")), content).unwrap();
        }
        let mut files = BTreeMap::new();
        list(temp.path(), &mut files).unwrap();
        let mut loaded = Vec::new();
        for module in ["d", "a_b", "built_in"] {
            load_order(module, &files, &mut loaded).unwrap();
        }
        let names: Vec<&str> = loaded.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["d", "c", "a_b"]);
    }
}

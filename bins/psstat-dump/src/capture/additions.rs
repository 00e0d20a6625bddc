//! Files of a capture besides those of `/proc`: the config files, the output of `doctor`, and
//! versions.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use psstat_matcher::sources::LoadedSources;

/// The directory with the config files, for `--conf`.
pub(crate) const CONF: &str = "conf";
/// More of a file is not copied, in bytes.
const MAX_LEN: u64 = 1 << 20;

/// A file: its path in the capture, and its contents.
pub(crate) type Addition = (PathBuf, Vec<u8>);

/// The config files, without changes, in an order that keeps the order of their rules.
pub(crate) fn conf(sources: &LoadedSources) -> Vec<Addition> {
    let paths: Vec<&Path> =
        sources.files.iter().filter(|file| !file.is_directory).map(|file| &*file.path).collect();
    let has_several = paths.len() > 1;
    let copy = |(number, path): (usize, &&Path)| {
        if !path.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(MAX_LEN).read_to_end(&mut bytes).ok()?;
        let name = path.file_stem()?.to_string_lossy();
        // Only files with this ending are read from a directory.
        let name = match has_several {
            true => format!("{:03}-{name}.conf", number + 1),
            false => format!("{name}.conf"),
        };
        Some((Path::new(CONF).join(name), bytes))
    };
    paths.iter().enumerate().filter_map(copy).collect()
}

/// The output of `doctor`, as text.
pub(crate) fn doctor(text: String) -> Addition {
    (PathBuf::from("doctor.txt"), text.into_bytes())
}

/// The versions of this program, the kernel and the distribution.
pub(crate) fn versions() -> Addition {
    let host = rustix::system::uname();
    let mut text = format!("psstat-dump {}\n", env!("CARGO_PKG_VERSION"));
    let [system, release, version, machine] =
        [host.sysname(), host.release(), host.version(), host.machine()]
            .map(|part| part.to_string_lossy().into_owned());
    // Writing to a String cannot fail.
    let _ = writeln!(text, "kernel {system} {release} {version}\narchitecture {machine}");
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let _ = writeln!(text, "distribution {}", name.unwrap_or("unknown").trim_matches('"'));
    (PathBuf::from("versions.txt"), text.into_bytes())
}

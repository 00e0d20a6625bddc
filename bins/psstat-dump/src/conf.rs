//! The location of the config file.

use std::path::{Path, PathBuf};

use psstat_matcher::host_config::HostClass;

use crate::args::ConfArgs;
use psstat_support::escape;

/// The location of the config file, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// The path.
    pub path: PathBuf,
    /// Whether it is from an option or an environment variable, so that a
    /// missing file is an error.
    pub explicit: bool,
}

/// The config file of `--conf`, of `--class`, or of this host's class.
pub(crate) fn locate(args: &ConfArgs) -> Location {
    if let Some(path) = &args.conf {
        return Location { path: path.clone(), explicit: true };
    }
    if let Some(class) = &args.class {
        return Location { path: class.config_path(), explicit: true };
    }
    let host = rustix::system::uname();
    let class = HostClass::from_hostname(&host.nodename().to_string_lossy());
    Location { path: class.config_path(), explicit: false }
}

/// A path as safe text.
pub(crate) fn display(path: &Path) -> String {
    escape::bytes(path.as_os_str().as_encoded_bytes())
}

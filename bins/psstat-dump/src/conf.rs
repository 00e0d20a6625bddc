//! Which conf is meant.

use std::path::{Path, PathBuf};

use psstat_matcher::host_config::HostClass;

use crate::args::ConfArgs;
use psstat_support::escape;

/// A conf file, and how it came to be the one that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// The file.
    pub path: PathBuf,
    /// Whether an option or an environment variable names it, so that its
    /// absence is an error.
    pub named: bool,
}

/// The conf that the options mean: `--conf`, or that of `--class`, or that of
/// this host's class.
pub(crate) fn locate(args: &ConfArgs) -> Location {
    if let Some(path) = &args.conf {
        return Location { path: path.clone(), named: true };
    }
    if let Some(class) = &args.class {
        return Location { path: class.config_path(), named: true };
    }
    let host = rustix::system::uname();
    let class = HostClass::from_hostname(&host.nodename().to_string_lossy());
    Location { path: class.config_path(), named: false }
}

/// A path as it may be shown.
pub(crate) fn shown(path: &Path) -> String {
    escape::bytes(path.as_os_str().as_encoded_bytes())
}

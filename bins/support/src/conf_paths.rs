//! Lists of config files in a variable.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The paths in the value of `PSSTAT_CONF`, which are separated by `:`. Empty ones are ignored.
pub fn split(list: &Path) -> Vec<PathBuf> {
    let paths = list.as_os_str().as_bytes().split(|byte| *byte == b':');
    let paths = paths.filter(|path| !path.is_empty());
    paths.map(|path| PathBuf::from(OsStr::from_bytes(path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_list() {
        for (list, paths) in [
            ("/a", &["/a"][..]),
            ("/a b:c.conf", &["/a b", "c.conf"]),
            (":/a::/b:", &["/a", "/b"]),
            (":", &[]),
            ("", &[]),
        ] {
            assert_eq!(split(Path::new(list)), paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        }
    }
}

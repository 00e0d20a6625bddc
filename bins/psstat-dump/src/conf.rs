//! Which conf is meant.

use std::path::{Path, PathBuf};

use crate::args::ConfArgs;
use crate::exit::Failure;
use crate::harmless;

/// A conf file, and how it came to be the one that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub path: PathBuf,
    /// Whether an option or an environment variable names it, so that its
    /// absence is an error.
    pub named: bool,
}

/// The conf that the options mean: `--conf`, or that of `--class`, or that of
/// this host's class.
///
/// # Errors
/// Where a class is given that no folder can have as its name, or the host has
/// no name.
pub fn locate(args: &ConfArgs) -> Result<Location, Failure> {
    if let Some(path) = &args.conf {
        return Ok(Location { path: path.clone(), named: true });
    }
    if let Some(class) = &args.class {
        if class.is_empty() || class.contains('/') {
            return Err(Failure::Usage(format!("no class: `{}`", harmless::text(class))));
        }
        return Ok(Location { path: path_of(class), named: true });
    }
    let host = rustix::system::uname();
    let class = class_of(&host.nodename().to_string_lossy()).to_owned();
    Ok(Location { path: path_of(&class), named: false })
}

/// The class of a host: its name up to the first dot, without trailing digits.
/// `pxy12.ams3` is of class `pxy`.
pub fn class_of(host: &str) -> &str {
    let short = host.split('.').next().unwrap_or_default();
    short.trim_end_matches(|c: char| c.is_ascii_digit())
}

fn path_of(class: &str) -> PathBuf {
    Path::new("/").join(class).join("shared/conf/psstat.conf")
}

/// A path as it may be shown.
pub fn shown(path: &Path) -> String {
    harmless::bytes(path.as_os_str().as_encoded_bytes())
}

/// The user number of a conf's owner, given by name or number. `None` where
/// this machine has no such user.
pub fn owner(user: &str) -> Option<u32> {
    if let Ok(uid) = user.parse() {
        return Some(uid);
    }
    let passwd = std::fs::read("/etc/passwd").ok()?;
    uid_in(&passwd, user)
}

/// The user number of `user` in a file of passwd(5).
fn uid_in(passwd: &[u8], user: &str) -> Option<u32> {
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let is_it = fields.next() == Some(user.as_bytes());
        let uid = fields.nth(1).filter(|_| is_it)?;
        std::str::from_utf8(uid).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_a_host() {
        let cases = [("pxy12.ams3", "pxy"), ("pxy", "pxy"), ("a1b22", "a1b"), ("12", ""), ("", "")];
        for (host, want) in cases {
            assert_eq!(class_of(host), want, "{host}");
        }
        assert_eq!(path_of("pxy"), Path::new("/pxy/shared/conf/psstat.conf"));
    }

    #[test]
    fn a_user_in_passwd() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n\nbroken\napp:x:12x:1\nappsc:x:4711:4::/:\n";
        assert_eq!(uid_in(passwd, "appsc"), Some(4711));
        assert_eq!(uid_in(passwd, "root"), Some(0));
        assert_eq!(uid_in(passwd, "app"), None);
        assert_eq!(uid_in(passwd, "broken"), None);
        assert_eq!(uid_in(passwd, "x"), None);
        assert_eq!(owner("17"), Some(17));
    }
}

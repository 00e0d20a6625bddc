//! The default path of the config file.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

/// A class of hosts that share a config file: the name of a directory.
///
/// ```
/// use psstat_matcher::host_config::HostClass;
/// use std::path::Path;
///
/// let class = HostClass::from_hostname("pxy12.ams3");
/// assert_eq!(class.config_path(), Path::new("/pxy/shared/conf/psstat.conf"));
/// assert_eq!("pxy".parse(), Ok(class));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostClass(String);

/// Not a valid class name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("class may contain only letters, digits, '-', '_' and '.'")]
pub struct ClassError;

impl HostClass {
    /// The host name up to its first dot, without trailing digits: `pxy12.ams3`
    /// has class `pxy`. The class is empty if the name consists of digits.
    pub fn from_hostname(host: &str) -> Self {
        let first = host.split('.').next().unwrap_or_default();
        Self(first.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned())
    }

    /// The config file of the class.
    pub fn config_path(&self) -> PathBuf {
        Path::new("/").join(&self.0).join("shared/conf/psstat.conf")
    }
}

impl FromStr for HostClass {
    type Err = ClassError;

    /// # Errors
    /// If the text is empty, `.` or `..`, or has a character that host names do
    /// not contain.
    fn from_str(text: &str) -> Result<Self, ClassError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if text.is_empty() || text == "." || text == ".." || !text.chars().all(is_allowed) {
            return Err(ClassError);
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_is_derived_from_hostname() {
        for (host, class) in [
            ("pxy12.ams3", "pxy"),
            ("pxy", "pxy"),
            ("web2srv07", "web2srv"),
            ("a-b1.example.com", "a-b"),
            ("42", ""),
            ("", ""),
        ] {
            assert_eq!(HostClass::from_hostname(host), HostClass(class.into()), "{host}");
        }
        assert_eq!(
            HostClass::from_hostname("12").config_path(),
            Path::new("/shared/conf/psstat.conf")
        );
    }

    #[test]
    fn class_is_a_single_path_component() {
        assert_eq!("nxa".parse(), Ok(HostClass("nxa".into())));
        for bad in ["", "..", "a/b", "/etc", "a b"] {
            assert_eq!(bad.parse::<HostClass>(), Err(ClassError), "{bad}");
        }
    }
}

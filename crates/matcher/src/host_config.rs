//! Where a conf lies by default.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

/// A class of hosts, which share a conf: the name of one folder.
///
/// ```
/// use psstat_matcher::host_config::Class;
/// use std::path::Path;
///
/// let class = Class::of_host("pxy12.ams3");
/// assert_eq!(class.conf(), Path::new("/pxy/shared/conf/psstat.conf"));
/// assert_eq!("pxy".parse(), Ok(class));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostClass(String);

/// That is no name of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a class is a name of letters, digits, -, _ and .")]
pub struct ClassError;

impl HostClass {
    /// The host's name up to its first dot, without trailing digits: `pxy12.ams3`
    /// is of class `pxy`. Of a name of digits alone nothing is left.
    pub fn from_hostname(host: &str) -> Self {
        let first = host.split('.').next().unwrap_or_default();
        Self(first.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned())
    }

    /// Its conf.
    pub fn config_path(&self) -> PathBuf {
        Path::new("/").join(&self.0).join("shared/conf/psstat.conf")
    }
}

impl FromStr for HostClass {
    type Err = ClassError;

    /// # Errors
    /// It is empty, or leads out of its folder, or has a character that the name
    /// of a host has not.
    fn from_str(text: &str) -> Result<Self, ClassError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if text.is_empty() || text == "." || text == ".." || !text.chars().all(fits) {
            return Err(ClassError);
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_comes_from_the_host() {
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

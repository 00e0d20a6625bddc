//! Image names: an image is a named group of processes.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The name of an image, a valid tag value of time series databases.
///
/// One or more of `-_./a-zA-Z0-9`, at most [`ImageName::MAX_LEN`] bytes, so
/// that a metric line stays below tcollector's limit of 1,000 bytes.
///
/// ```
/// use psstat_matcher::ImageName;
///
/// let name: ImageName = "fi/lrh".parse()?;
/// assert_eq!(name.as_str(), "fi/lrh");
/// assert!("no spaces".parse::<ImageName>().is_err());
/// # Ok::<(), psstat_matcher::ImageNameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName(String);

impl ImageName {
    /// Maximum length in bytes.
    pub const MAX_LEN: usize = 200;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name from bytes that need not be UTF-8, as in a config file.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, ImageNameError> {
        if bytes.is_empty() {
            return Err(ImageNameError::Empty);
        }
        if let Some(at) = bytes.iter().position(|b| !is_allowed(*b)) {
            return Err(ImageNameError::BadCharacter { at });
        }
        if bytes.len() > Self::MAX_LEN {
            return Err(ImageNameError::TooLong { len: bytes.len() });
        }
        // All bytes are ASCII here, so each is one character.
        Ok(Self(bytes.iter().copied().map(char::from).collect()))
    }
}

pub(crate) fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/')
}

impl FromStr for ImageName {
    type Err = ImageNameError;

    fn from_str(name: &str) -> Result<Self, ImageNameError> {
        Self::from_bytes(name.as_bytes())
    }
}

impl TryFrom<&str> for ImageName {
    type Error = ImageNameError;

    fn try_from(name: &str) -> Result<Self, ImageNameError> {
        name.parse()
    }
}

impl TryFrom<String> for ImageName {
    type Error = ImageNameError;

    fn try_from(name: String) -> Result<Self, ImageNameError> {
        name.parse()
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// It is hashed and compared as its text.
impl Borrow<str> for ImageName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ImageName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The reason why a text is not a valid [`ImageName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ImageNameError {
    /// The text is empty.
    #[error("the image name is empty")]
    Empty,
    /// A byte outside the allowed set.
    #[error("the image name has a character other than a-z A-Z 0-9 - _ . /")]
    BadCharacter {
        /// Offset of the first such byte.
        at: usize,
    },
    /// Longer than [`ImageName::MAX_LEN`].
    #[error("the image name has {len} bytes, the longest allowed is {max}", max = ImageName::MAX_LEN)]
    TooLong {
        /// Length in bytes.
        len: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_valid_names() {
        for name in ["a", "fi/lrh", "A-Z_0.9", "-", &"x".repeat(200)] {
            assert_eq!(name.parse::<ImageName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn rejects_invalid_names() {
        assert_eq!("".parse::<ImageName>(), Err(ImageNameError::Empty));
        for (name, at) in [("a b", 1), ("é", 0), ("a=b", 1), ("ab\n", 2), ("a:b", 1)] {
            assert_eq!(name.parse::<ImageName>(), Err(ImageNameError::BadCharacter { at }));
        }
        let long = "x".repeat(201);
        assert_eq!(long.parse::<ImageName>(), Err(ImageNameError::TooLong { len: 201 }));
    }
}

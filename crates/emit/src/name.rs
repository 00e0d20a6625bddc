//! Image names and tags, restricted to the texts that OpenTSDB accepts.

use std::fmt;
use std::str::FromStr;

/// The maximum length of an image name, tag key or tag value, in bytes.
///
/// OpenTSDB limits the line, not its parts. This limit leaves two thirds of a line of 1,000
/// bytes for the extra tags, for any image name.
pub const MAX_TAG_VALUE_LEN: usize = 255;

/// An invalid image name, tag key or tag value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The text has a character outside `[-_./a-zA-Z0-9]`.
    #[error("has {found:?} at byte {at}; only letters, digits and - _ . / are allowed")]
    Character {
        /// The byte offset of the character.
        at: usize,
        /// The character.
        found: char,
    },
    /// The text is longer than [`MAX_TAG_VALUE_LEN`].
    #[error("is {length} bytes long; at most {MAX_TAG_VALUE_LEN} are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
}

/// `[-_./a-zA-Z0-9]+`, at most [`MAX_TAG_VALUE_LEN`] bytes.
fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if let Some((at, found)) = text.char_indices().find(|&(_, c)| !allowed(c)) {
        return Err(NameError::Character { at, found });
    }
    if text.len() > MAX_TAG_VALUE_LEN {
        return Err(NameError::TooLong { length: text.len() });
    }
    Ok(())
}

/// The name of an image, the value of a point's `image` tag.
///
/// Images are ordered by their bytes, which is the order that
/// [`CycleEncoder::point`](crate::CycleEncoder::point) requires.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName(Box<str>);

impl ImageName {
    /// Checks a name: `[-_./a-zA-Z0-9]+`.
    ///
    /// # Errors
    /// The name is empty, has another character, or is longer than
    /// [`MAX_TAG_VALUE_LEN`].
    pub fn new(name: &str) -> Result<Self, NameError> {
        check(name)?;
        Ok(ImageName(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ImageName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A tag that is added to every point in addition to `image` and `type`, such as
/// `cluster=ams3`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    key: Box<str>,
    value: Box<str>,
}

impl Tag {
    /// Checks a key and a value: both `[-_./a-zA-Z0-9]+`.
    ///
    /// # Errors
    /// One of them is empty, has another character, or is longer than
    /// [`MAX_TAG_VALUE_LEN`].
    pub fn new(key: &str, value: &str) -> Result<Self, TagError> {
        check(key).map_err(TagError::Key)?;
        check(value).map_err(TagError::Value)?;
        Ok(Tag { key: key.into(), value: value.into() })
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// `KEY=VALUE`, as on a command line.
impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let (key, value) = text.split_once('=').ok_or(TagError::MissingEquals)?;
        Tag::new(key, value)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// An invalid tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TagError {
    /// The text has no `=`.
    #[error("expected KEY=VALUE")]
    MissingEquals,
    /// The key is invalid.
    #[error("the tag's key {0}")]
    Key(NameError),
    /// The value is invalid.
    #[error("the tag's value {0}")]
    Value(NameError),
}

//! Tags and their values, restricted to the texts that OpenTSDB accepts.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::error::{ConfigError, Part};
use crate::metric::is_name;

/// The maximum length of a tag's key and of its value, in bytes.
///
/// OpenTSDB limits the line, not its parts. This limit leaves two thirds of a line of 1,000
/// bytes for the extra tags, for any value of a label.
pub const MAX_TAG_LEN: usize = 255;

/// `[-_./a-zA-Z0-9]+`, at most [`MAX_TAG_LEN`] bytes.
fn check(text: &str, part: Part) -> Result<(), ConfigError> {
    if is_name(text) {
        return Ok(());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    Err(match text.char_indices().find(|&(_, c)| !allowed(c)) {
        Some((at, found)) => ConfigError::Character { part, at, found },
        None if text.is_empty() => ConfigError::Empty(part),
        None => ConfigError::TooLong { part, length: text.len() },
    })
}

/// The value of a tag: `[-_./a-zA-Z0-9]+`, at most [`MAX_TAG_LEN`] bytes.
///
/// A caller makes one for each value of a label, such as the name of an image, and keeps it: a
/// cycle neither checks nor copies it. Every image name of `psstat-matcher` is a valid value.
///
/// ```
/// use psstat_emit::TagValue;
///
/// const OK: TagValue = TagValue::from_static("ok");
/// let route = TagValue::new("checkout/pay")?;
/// assert_eq!((OK.as_str(), route.as_str()), ("ok", "checkout/pay"));
/// # Ok::<(), psstat_emit::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagValue(Cow<'static, str>);

impl TagValue {
    /// Checks a value.
    ///
    /// # Errors
    /// The value is empty, has another character, or is longer than [`MAX_TAG_LEN`].
    pub fn new(value: impl Into<String>) -> Result<Self, ConfigError> {
        let value = value.into();
        check(&value, Part::TagValue)?;
        Ok(TagValue(Cow::Owned(value)))
    }

    /// A constant value.
    ///
    /// # Panics
    /// Where [`TagValue::new`] returns an error. In a `const` this does not compile.
    #[must_use]
    pub const fn from_static(value: &'static str) -> Self {
        assert!(is_name(value), "invalid value of a tag");
        TagValue(Cow::Borrowed(value))
    }

    /// The value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for TagValue {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for TagValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for TagValue {
    type Err = ConfigError;

    fn from_str(value: &str) -> Result<Self, ConfigError> {
        TagValue::new(value)
    }
}

impl TryFrom<&str> for TagValue {
    type Error = ConfigError;

    fn try_from(value: &str) -> Result<Self, ConfigError> {
        TagValue::new(value)
    }
}

impl TryFrom<String> for TagValue {
    type Error = ConfigError;

    fn try_from(value: String) -> Result<Self, ConfigError> {
        TagValue::new(value)
    }
}

/// A tag that is added to every point after those of the table, such as `cluster=ams3`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    key: Box<str>,
    value: TagValue,
}

impl Tag {
    /// Checks a key and a value: both `[-_./a-zA-Z0-9]+`.
    ///
    /// # Errors
    /// One of them is empty, has another character, or is longer than [`MAX_TAG_LEN`].
    pub fn new(key: &str, value: &str) -> Result<Self, ConfigError> {
        check(key, Part::TagKey)?;
        Ok(Tag { key: key.into(), value: TagValue::new(value)? })
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &str {
        self.value.as_str()
    }
}

/// `KEY=VALUE`, as on a command line.
impl FromStr for Tag {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let (key, value) = text.split_once('=').ok_or(ConfigError::MissingEquals)?;
        Tag::new(key, value)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

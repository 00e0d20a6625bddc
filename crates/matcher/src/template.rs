//! The image name of a rule, which can contain groups of its regex: `java/{app}`.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use thiserror::Error;

use crate::image::{ImageName, ImageNameError, is_allowed};

/// In place of each group in the name of the image that counts the processes beyond the limit of
/// images per rule.
const OTHER: &str = "other";
/// In place of a byte that a name cannot have, and of an empty value.
const REPLACEMENT: char = '_';

/// The image name of a rule: a name, or a template with groups of the regex in braces, from which
/// a name is made for each process.
///
/// In a made name, each byte of a value that is not one of `-_./a-zA-Z0-9` is replaced by `_`. A
/// group that is empty or did not take part in the match is `_`. Values are cut so that the name
/// has at most [`ImageName::MAX_LEN`] bytes and keeps all other parts of the template.
///
/// ```
/// use psstat_matcher::ImageTemplate;
///
/// let template: ImageTemplate = "java/{app}".parse()?;
/// assert_eq!(template.groups().collect::<Vec<_>>(), ["app"]);
/// assert_eq!(template.other().unwrap().as_str(), "java/other");
/// assert!("java/{app".parse::<ImageTemplate>().is_err());
/// let fixed: ImageTemplate = "nginx".parse()?;
/// assert_eq!(fixed.name().unwrap().as_str(), "nginx");
/// # Ok::<(), psstat_matcher::ImageTemplateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageTemplate(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Fixed(ImageName),
    Template {
        /// As written.
        written: String,
        /// The names of the groups in `written`.
        groups: Vec<Range<usize>>,
        other: ImageName,
    },
}

impl ImageTemplate {
    /// As written in the rule.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Kind::Fixed(name) => name.as_str(),
            Kind::Template { written, .. } => written,
        }
    }

    /// The name, if it has no groups.
    pub fn name(&self) -> Option<&ImageName> {
        match &self.0 {
            Kind::Fixed(name) => Some(name),
            Kind::Template { .. } => None,
        }
    }

    /// If it has groups, the name of the image for the processes beyond the limit of images per
    /// rule: with `other` in place of each group.
    pub fn other(&self) -> Option<&ImageName> {
        match &self.0 {
            Kind::Fixed(_) => None,
            Kind::Template { other, .. } => Some(other),
        }
    }

    /// The names of its groups, in their order. One can occur more than once.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.group_ranges().iter().map(|group| self.as_str().get(group.clone()).unwrap_or_default())
    }

    /// Where these are in the written form.
    pub(crate) fn group_ranges(&self) -> &[Range<usize>] {
        match &self.0 {
            Kind::Fixed(_) => &[],
            Kind::Template { groups, .. } => groups,
        }
    }

    /// A name from bytes that need not be UTF-8, as in a config file.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, ImageTemplateError> {
        if !bytes.iter().any(|byte| matches!(byte, b'{' | b'}')) {
            return Ok(Self(Kind::Fixed(ImageName::from_bytes(bytes)?)));
        }
        let mut groups = Vec::new();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if byte == b'{' {
                let start = at + 1;
                let rest = bytes.get(start..).unwrap_or_default();
                let len = rest.iter().position(|byte| matches!(byte, b'{' | b'}'));
                let Some(len) = len.filter(|len| rest.get(*len) == Some(&b'}')) else {
                    return Err(ImageTemplateError::Unclosed { at });
                };
                if !is_group_name(rest.get(..len).unwrap_or_default()) {
                    return Err(ImageTemplateError::BadGroup { at, len: len + 2 });
                }
                groups.push(start..start + len);
                at = start + len + 1;
            } else if byte == b'}' {
                return Err(ImageTemplateError::Unopened { at });
            } else if is_allowed(byte) {
                at += 1;
            } else {
                return Err(ImageNameError::BadCharacter { at }.into());
            }
        }
        // All bytes are ASCII here.
        let written: String = bytes.iter().copied().map(char::from).collect();
        let mut other = String::new();
        render(&written, &groups, &mut other, |_, _| OTHER.as_bytes());
        let fixed_len = written.len() - groups.iter().map(|group| group.len() + 2).sum::<usize>();
        if fixed_len + groups.len() * OTHER.len() > ImageName::MAX_LEN {
            return Err(ImageNameError::TooLong { len: written.len() }.into());
        }
        let other = ImageName::from_bytes(other.as_bytes())?;
        Ok(Self(Kind::Template { written, groups, other }))
    }

    /// Sets `out` to the name that is made of the values of its groups. `value` gives that of a
    /// group by its position here.
    pub(crate) fn make<'v>(&self, out: &mut String, mut value: impl FnMut(usize) -> &'v [u8]) {
        out.clear();
        render(self.as_str(), self.group_ranges(), out, |index, _| value(index));
    }
}

/// Appends the text with a value in place of each group, which is in braces.
fn render<'v>(
    written: &str,
    groups: &[Range<usize>],
    out: &mut String,
    mut value: impl FnMut(usize, &Range<usize>) -> &'v [u8],
) {
    let fixed_len = written.len() - groups.iter().map(|group| group.len() + 2).sum::<usize>();
    let mut room = ImageName::MAX_LEN.saturating_sub(fixed_len);
    let mut at = 0;
    for (index, group) in groups.iter().enumerate() {
        out.push_str(written.get(at..group.start - 1).unwrap_or_default());
        at = group.end + 1;
        let value = value(index, group);
        // One byte for each further value.
        let max = room.saturating_sub(groups.len() - index - 1).max(1);
        let value = value.get(..max).unwrap_or(value);
        if value.is_empty() {
            out.push(REPLACEMENT);
        }
        let allowed = |byte: &u8| if is_allowed(*byte) { char::from(*byte) } else { REPLACEMENT };
        out.extend(value.iter().map(allowed));
        room = room.saturating_sub(value.len().max(1));
    }
    out.push_str(written.get(at..).unwrap_or_default());
}

/// Whether it can be the name of a group.
fn is_group_name(name: &[u8]) -> bool {
    name.first().is_some_and(|first| !first.is_ascii_digit())
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

impl From<ImageName> for ImageTemplate {
    fn from(name: ImageName) -> Self {
        Self(Kind::Fixed(name))
    }
}

impl FromStr for ImageTemplate {
    type Err = ImageTemplateError;

    fn from_str(name: &str) -> Result<Self, ImageTemplateError> {
        Self::from_bytes(name.as_bytes())
    }
}

impl fmt::Display for ImageTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl AsRef<str> for ImageTemplate {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// The reason why a text is not a valid [`ImageTemplate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ImageTemplateError {
    /// Not valid as a name, apart from groups.
    #[error(transparent)]
    Name(#[from] ImageNameError),
    /// A `{` without a `}` after it.
    #[error("unclosed `{{` in the image name")]
    Unclosed {
        /// Offset of the brace.
        at: usize,
    },
    /// A `}` without a `{` before it.
    #[error("`}}` without a `{{` in the image name")]
    Unopened {
        /// Offset of the brace.
        at: usize,
    },
    /// The text in braces cannot be the name of a group.
    #[error("the text in braces is not the name of a group")]
    BadGroup {
        /// Offset of the opening brace.
        at: usize,
        /// Length in bytes, with the braces.
        len: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(template: &str, values: &[&[u8]]) -> String {
        let template: ImageTemplate = template.parse().unwrap();
        let mut out = "old".to_owned();
        template.make(&mut out, |index| values[index]);
        assert!(out.parse::<ImageName>().is_ok(), "{out}");
        out
    }

    #[test]
    fn values_become_names() {
        assert_eq!(made("java/{app}", &[b"shop-1.2/x_y"]), "java/shop-1.2/x_y");
        assert_eq!(made("{a}", &[b"a b\n\x1b=\xc3\xa9{}"]), "a_b_______");
        assert_eq!(made("{a}-{b_2}.x", &[b"", b"1"]), "_-1.x");
        assert_eq!(made("{a}{a}", &[b"1", b"2"]), "12");
    }

    #[test]
    fn long_values_are_cut_and_the_other_parts_stay() {
        let long = [b'v'; 5_000];
        let name = made("a/{x}/b", &[&long]);
        assert_eq!(name, format!("a/{}/b", "v".repeat(196)));
        let name = made("{x}/{y}/{z}", &[&long, &long, b""]);
        assert_eq!(name, format!("{}/v/_", "v".repeat(196)));
        assert_eq!(made(&format!("{}{{x}}", "a".repeat(195)), &[&long]).len(), 200);
    }

    #[test]
    fn invalid_templates() {
        let error = |text: &str| text.parse::<ImageTemplate>().unwrap_err();
        assert_eq!(error("a{x"), ImageTemplateError::Unclosed { at: 1 });
        assert_eq!(error("a{x{y}"), ImageTemplateError::Unclosed { at: 1 });
        assert_eq!(error("a}b{x}"), ImageTemplateError::Unopened { at: 1 });
        for (text, len) in [("a{}", 2), ("a{1}", 3), ("a{x-y}", 5), ("a{\u{e9}}", 4)] {
            assert_eq!(error(text), ImageTemplateError::BadGroup { at: 1, len });
        }
        let bad_character = ImageNameError::BadCharacter { at: 3 };
        assert_eq!(error("{x}=a"), ImageTemplateError::Name(bad_character));
        let long = format!("{}{{x}}", "a".repeat(196));
        assert_eq!(error(&long), ImageNameError::TooLong { len: 199 }.into());
        assert_eq!(error(""), ImageNameError::Empty.into());
    }
}

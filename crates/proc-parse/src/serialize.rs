//! Feature `serde`: bytes as text.

use core::fmt;

use serde::{Serialize, Serializer};

/// Bytes as text: invalid UTF-8 is replaced by U+FFFD.
struct Text<'a>(&'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// For a field that is text.
pub(crate) fn text<S: Serializer>(
    bytes: &impl AsRef<[u8]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    Text(bytes.as_ref()).serialize(serializer)
}

/// For a field that can be text.
pub(crate) fn optional_text<S: Serializer>(
    bytes: &Option<impl AsRef<[u8]>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(|bytes| Text(bytes.as_ref())).serialize(serializer)
}

/// Serializes types as `Display` prints them.
macro_rules! as_display {
    ($($name:ty),+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+};
}

as_display!(
    crate::ProcessState,
    crate::FdTarget<'_>,
    crate::net::inet::TcpState,
    crate::net::inet::Address,
    crate::net::unix::UnixState
);

/// `unlimited` is `null`.
impl Serialize for crate::LimitValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Unlimited => serializer.serialize_none(),
            Self::Value(value) => serializer.serialize_some(&value),
        }
    }
}

impl Serialize for crate::Limits<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(*self)
    }
}

impl Serialize for crate::Cgroups<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(*self)
    }
}

impl Serialize for crate::NsPids<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(*self)
    }
}

/// The arguments.
impl Serialize for crate::Cmdline<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.into_iter().map(Text))
    }
}

/// The name itself, without escapes.
impl Serialize for crate::EscapedName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// An escape is two ASCII bytes, so it separates valid texts.
        struct Name<'a>(&'a [u8]);
        impl fmt::Display for Name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut rest = self.0;
                while let Some(at) = memchr::memchr(b'\\', rest) {
                    let (plain, escape) = rest.split_at(at);
                    Text(plain).fmt(f)?;
                    let (text, len) = match escape {
                        [_, b'n', ..] => ("\n", 2),
                        [_, b'\\', ..] => ("\\", 2),
                        _ => ("\\", 1),
                    };
                    f.write_str(text)?;
                    rest = escape.get(len..).unwrap_or_default();
                }
                Text(rest).fmt(f)
            }
        }
        serializer.collect_str(&Name(self.as_bytes()))
    }
}

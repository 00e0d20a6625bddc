//! What a parser says when a file is not as the kernel prints it.

use core::fmt;

/// Which of the kernel's files was being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProcFile {
    /// `/proc/PID/stat`
    Stat,
    /// `/proc/PID/statm`
    Statm,
    /// `/proc/PID/io`
    Io,
    /// `/proc/PID/status`
    Status,
    /// `/proc/PID/limits`
    Limits,
    /// `/proc/PID/net/{tcp,tcp6,udp,udp6}`, which share one format
    Inet,
    /// `/proc/PID/net/unix`
    Unix,
}

impl ProcFile {
    /// The name that errors show: the file's own, and `inet` for the four
    /// tables that share a format.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Statm => "statm",
            Self::Io => "io",
            Self::Status => "status",
            Self::Limits => "limits",
            Self::Inet => "inet",
            Self::Unix => "unix",
        }
    }

    /// The names of the fields, in the file's order; the first is number 1.
    const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Stat => &crate::stat::FIELDS,
            Self::Statm => &crate::statm::FIELDS,
            Self::Io => &crate::io::FIELDS,
            Self::Status => &crate::status::FIELDS,
            Self::Limits => &crate::limits::FIELDS,
            Self::Inet => &crate::net::inet::FIELDS,
            Self::Unix => &crate::net::unix::FIELDS,
        }
    }
}

/// What should have stood at the place where parsing stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// One digit at least, `0` to `9`.
    Decimal,
    /// A number that the field's type can hold; a larger one stands there.
    Range,
    /// Hexadecimal digits, as many as the column has.
    Hex,
    /// One space, tab or other separator between two fields.
    Separator,
    /// The end of the line. A text that was cut off has none.
    LineEnd,
    /// The field's own key, such as `rchar: `, or a fixed word of the format.
    Keyword,
    /// The `(` before the name of a process, or the `)` after it.
    Paren,
    /// A single character.
    Character,
}

impl Expected {
    /// The words that complete "expected …".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decimal => "a decimal number",
            Self::Range => "a number in the field's range",
            Self::Hex => "a hexadecimal number",
            Self::Separator => "a separator",
            Self::LineEnd => "the end of the line",
            Self::Keyword => "the field's keyword",
            Self::Paren => "a parenthesis around the name",
            Self::Character => "a character",
        }
    }
}

/// Where a text departs from the kernel's format, and how. Eight bytes.
///
/// ```
/// let error = psstat_proc_parse::Statm::parse(b"765 406 377 five 0 123 0\n").unwrap_err();
/// assert_eq!(error.to_string(), "statm: field 4 (text) at byte 12: expected a decimal number");
/// assert_eq!((error.field(), error.offset()), ("text", 12));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Error {
    offset: u32,
    file: ProcFile,
    field: u8,
    expected: Expected,
}

impl Error {
    /// `field` counts from 1, as proc(5) does.
    #[cold]
    #[inline(never)]
    pub(crate) fn new(file: ProcFile, field: u8, offset: usize, expected: Expected) -> Self {
        Self { offset: u32::try_from(offset).unwrap_or(u32::MAX), file, field, expected }
    }

    /// The same error in a text that has `bytes` more before it.
    #[cold]
    pub(crate) fn offset_by(self, bytes: usize) -> Self {
        Self { offset: u32::try_from(self.offset() + bytes).unwrap_or(u32::MAX), ..self }
    }

    /// The file.
    #[must_use]
    pub const fn file(self) -> ProcFile {
        self.file
    }

    /// The field's name, as in proc(5) or in the table's header.
    #[must_use]
    pub fn field(self) -> &'static str {
        let index = usize::from(self.field).saturating_sub(1);
        self.file.fields().get(index).copied().unwrap_or("text")
    }

    /// The field's number, counted from 1. `None` for `status`, whose lines
    /// come and go with the kernel's version.
    #[must_use]
    pub const fn field_number(self) -> Option<u8> {
        match self.file {
            ProcFile::Status => None,
            _ => Some(self.field),
        }
    }

    /// The byte where it happened, counted from 0 at the start of the text
    /// that was given.
    #[must_use]
    pub const fn offset(self) -> usize {
        self.offset as usize
    }

    /// What should have stood there.
    #[must_use]
    pub const fn expected(self) -> Expected {
        self.expected
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: field ", self.file.name())?;
        match self.field_number() {
            Some(number) => write!(f, "{number} ({})", self.field())?,
            None => f.write_str(self.field())?,
        }
        write!(f, " at byte {}: expected {}", self.offset, self.expected.as_str())
    }
}

impl core::error::Error for Error {}

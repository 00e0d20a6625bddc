//! Errors: which byte of which field of which file differs from the kernel's
//! format.

use core::fmt;

use nom::error::{ContextError, ErrorKind, FromExternalError};
use nom::{Emit, Err, Mode, OutputM, OutputMode, PResult, Parser};

use crate::leaf::Grammar;

/// A file of `/proc`.
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
    /// `/proc/PID/cgroup`
    Cgroup,
    /// `/proc/PID/net/{tcp,tcp6,udp,udp6}`, which have one format
    Inet,
    /// `/proc/PID/net/unix`
    Unix,
    /// `/proc/PID/net/snmp`
    Snmp,
    /// `/proc/PID/net/{sockstat,sockstat6}`, which have one format
    SockStat,
}

impl ProcFile {
    /// The name in error messages: that of the file, and `inet` for the four
    /// tables that have one format, `sockstat` for both files of that kind.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Statm => "statm",
            Self::Io => "io",
            Self::Status => "status",
            Self::Limits => "limits",
            Self::Cgroup => "cgroup",
            Self::Inet => "inet",
            Self::Unix => "unix",
            Self::Snmp => "snmp",
            Self::SockStat => "sockstat",
        }
    }

    /// The name of a field. Numbers start at 1.
    fn field_name(self, number: u8) -> Option<&'static str> {
        let index = usize::from(number).checked_sub(1)?;
        let fields: &[&str] = match self {
            Self::Stat => crate::Stat::FIELDS,
            Self::Statm => crate::Statm::FIELDS,
            Self::Io => crate::Io::FIELDS,
            Self::Status => return crate::status::key(index),
            Self::Limits => &crate::limits::FIELDS,
            Self::Cgroup => &crate::cgroup::FIELDS,
            Self::Inet => &crate::net::inet::FIELDS,
            Self::Unix => &crate::net::unix::FIELDS,
            Self::Snmp => crate::net::snmp::TcpCounters::FIELDS,
            Self::SockStat => &crate::net::sockstat::FIELDS,
        };
        fields.get(index).copied()
    }
}

/// The element that the format requires at the position of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// One or more digits, `0` to `9`.
    Decimal,
    /// A number within the range of the field's type.
    Range,
    /// Hexadecimal digits, as many as the column has.
    Hex,
    /// A space, tab or other separator between two fields.
    Separator,
    /// The end of the line. Truncated text has none.
    LineEnd,
    /// The key of the field, such as `rchar: `, or another fixed word.
    Keyword,
    /// The `(` before the name of a process, or the `)` after it.
    Paren,
    /// A single character.
    Character,
}

impl Expected {
    /// The text that completes "expected …".
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

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A deviation from the kernel's format: file, field, byte and the expected
/// element, in eight bytes.
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
    /// The same error in a text that has `bytes` more before it.
    #[cold]
    pub(crate) fn offset_by(self, bytes: usize) -> Self {
        Self { offset: saturated(self.offset() + bytes), ..self }
    }

    /// The file.
    #[must_use]
    pub const fn file(self) -> ProcFile {
        self.file
    }

    /// The name of the field in proc(5) or in the header of the table.
    #[must_use]
    pub fn field(self) -> &'static str {
        self.file.field_name(self.field).unwrap_or("text")
    }

    /// The number of the field, counted from 1 as in proc(5). `None` for
    /// `status`, whose lines differ between kernel versions.
    #[must_use]
    pub const fn field_number(self) -> Option<u8> {
        match self.file {
            ProcFile::Status => None,
            _ => Some(self.field),
        }
    }

    /// The position of the error in the parsed text, in bytes from its start.
    #[must_use]
    pub const fn offset(self) -> usize {
        self.offset as usize
    }

    /// The element that was expected at this position.
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
        write!(f, " at byte {}: expected {}", self.offset, self.expected)
    }
}

impl core::error::Error for Error {}

/// The error type of the nom parsers in [`grammar`](crate::grammar).
///
/// nom gives a parser only the rest of the input, so this error holds the number
/// of bytes from its position to the end; [`ParseError::locate`] turns it into
/// an [`Error`] with the offset from the start. Errors of nom's own combinators
/// have neither file nor field. Eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParseError {
    remaining: u32,
    file: Option<ProcFile>,
    field: u8,
    expected: Expected,
}

/// The result of a nom parser of this crate.
pub type ParseResult<'a, T> = nom::IResult<&'a [u8], T, ParseError>;

impl ParseError {
    #[inline(always)]
    pub(crate) fn new(rest: &[u8], expected: Expected) -> Self {
        Self { remaining: saturated(rest.len()), file: None, field: 0, expected }
    }

    /// The file, if the error comes from a field of a file.
    #[must_use]
    pub const fn file(self) -> Option<ProcFile> {
        self.file
    }

    /// The name of the field, as [`Error::field`].
    #[must_use]
    pub fn field(self) -> Option<&'static str> {
        self.file?.field_name(self.field)
    }

    /// The element that was expected.
    #[must_use]
    pub const fn expected(self) -> Expected {
        self.expected
    }

    /// The number of bytes from the position of the error to the end of the
    /// input.
    #[must_use]
    pub const fn remaining(self) -> usize {
        self.remaining as usize
    }

    /// The position of the error in `input`, the text that the outermost parser
    /// was called with. `None` if the error does not come from a field of a
    /// file.
    #[must_use]
    pub fn locate(self, input: &[u8]) -> Option<Error> {
        Some(self.in_file(self.file?, input))
    }

    fn in_file(self, file: ProcFile, input: &[u8]) -> Error {
        let Self { field, expected, .. } = self;
        let offset = saturated(input.len().saturating_sub(self.remaining()));
        Error { offset, file, field, expected }
    }

    /// The same error in an input that has `bytes` more after it.
    #[cold]
    pub(crate) fn with_more(self, bytes: usize) -> Self {
        Self { remaining: saturated(self.remaining() + bytes), ..self }
    }

    /// Sets the field, unless a parser further in has set it.
    #[cold]
    #[inline(never)]
    fn in_field(self, Field(file, field): Field) -> Self {
        if self.file.is_some() { self } else { Self { file: Some(file), field, ..self } }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(file), Some(field)) = (self.file, self.field()) {
            write!(f, "{}: field {field}, ", file.name())?;
        }
        write!(f, "{} bytes before the end: expected {}", self.remaining, self.expected)
    }
}

impl core::error::Error for ParseError {}

impl nom::error::ParseError<&[u8]> for ParseError {
    #[cold]
    fn from_error_kind(rest: &[u8], kind: ErrorKind) -> Self {
        let expected = match kind {
            ErrorKind::Digit => Expected::Decimal,
            ErrorKind::HexDigit => Expected::Hex,
            ErrorKind::Tag | ErrorKind::OneOf | ErrorKind::Alt => Expected::Keyword,
            ErrorKind::Char | ErrorKind::Space | ErrorKind::MultiSpace => Expected::Separator,
            ErrorKind::CrLf | ErrorKind::Eof => Expected::LineEnd,
            _ => Expected::Character,
        };
        Self::new(rest, expected)
    }

    /// Keeps the first error, which is the most precise.
    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }

    /// Of two alternatives, the error of the one that parsed more.
    fn or(self, other: Self) -> Self {
        if other.remaining < self.remaining { other } else { self }
    }
}

/// Caller's contexts are not kept: an error names a field of a file.
impl ContextError<&[u8]> for ParseError {}

impl<E> FromExternalError<&[u8], E> for ParseError {
    /// For `map_res` and its like: a value outside the range of its type.
    #[cold]
    fn from_external_error(rest: &[u8], _: ErrorKind, _: E) -> Self {
        Self::new(rest, Expected::Range)
    }
}

/// A field of a file, by its number.
#[derive(Clone, Copy)]
pub(crate) struct Field(pub(crate) ProcFile, pub(crate) u8);

/// Labels the errors of `parser` with a field, as nom's `context` does with a
/// text. The innermost label stays.
#[inline(always)]
pub(crate) fn field<'a, T>(field: Field, parser: impl Grammar<'a, T>) -> impl Grammar<'a, T> {
    Labeled { field, parser }
}

struct Labeled<P> {
    field: Field,
    parser: P,
}

impl<'a, P: Parser<&'a [u8], Error = ParseError>> Parser<&'a [u8]> for Labeled<P> {
    type Output = P::Output;
    type Error = ParseError;

    #[inline(always)]
    fn process<M: OutputMode>(
        &mut self,
        input: &'a [u8],
    ) -> PResult<M, &'a [u8], P::Output, ParseError> {
        // The error itself, not nom's mode for it, to label it.
        match self.parser.process::<OutputM<M::Output, Emit, M::Incomplete>>(input) {
            Ok(parsed) => Ok(parsed),
            Err(Err::Error(error)) => {
                Err(Err::Error(M::Error::bind(|| error.in_field(self.field))))
            }
            Err(Err::Failure(error)) => Err(Err::Failure(error.in_field(self.field))),
            Err(Err::Incomplete(needed)) => Err(Err::Incomplete(needed)),
        }
    }
}

/// Applies a grammar to all of `input`: the value, or the error with its offset.
/// Bytes after the value are ignored.
#[inline(always)]
pub(crate) fn parse<'a, T>(
    file: ProcFile,
    input: &'a [u8],
    mut grammar: impl Grammar<'a, T>,
) -> Result<T, Error> {
    match grammar.parse_complete(input) {
        Ok((_, value)) => Ok(value),
        Err(error) => Err(located(file, error, input)),
    }
}

#[cold]
#[inline(never)]
fn located(file: ProcFile, error: Err<ParseError>, input: &[u8]) -> Error {
    let error = match error {
        Err::Error(error) | Err::Failure(error) => error,
        Err::Incomplete(_) => ParseError::new(&[], Expected::Character),
    };
    // An error of nom's own, such as that of empty input, has no field.
    error.in_field(Field(file, 1)).in_file(file, input)
}

/// Positions beyond 4 GiB are reported as 4 GiB.
fn saturated(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

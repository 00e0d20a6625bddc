//! `/proc/PID/limits`: the resource limits of a process. See proc_pid_limits(5).

use core::fmt;

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{take, take_till};
use nom::character::complete::{space0, space1};
use nom::combinator::{cut, eof, map, not, recognize, value};
use nom::multi::many0_count;
use nom::sequence::{preceded, terminated};

use crate::error::{Error, Expected, Field, ParseResult, ProcFile, field, parse};
use crate::leaf::{Grammar, expect, inlined, line_end, space, unsigned, word};

pub(crate) const FIELDS: [&str; 5] = ["name", "soft", "hard", "units", "header"];
const NAME: Field = Field(ProcFile::Limits, 1);
const SOFT: Field = Field(ProcFile::Limits, 2);
const HARD: Field = Field(ProcFile::Limits, 3);
const UNITS: Field = Field(ProcFile::Limits, 4);
const HEADER: Field = Field(ProcFile::Limits, 5);

/// The width of the name column, without the space after it.
const NAME_WIDTH: usize = 25;

/// The value of a soft or hard limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitValue {
    /// `unlimited`.
    Unlimited,
    /// The limit, in the unit of the row.
    Value(u64),
}

impl fmt::Display for LimitValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.pad("unlimited"),
            Self::Value(value) => value.fmt(f),
        }
    }
}

/// A resource with a limit. See getrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// `Max cpu time`: seconds.
    CpuTime,
    /// `Max file size`: bytes.
    FileSize,
    /// `Max data size`: bytes.
    DataSize,
    /// `Max stack size`: bytes.
    StackSize,
    /// `Max core file size`: bytes.
    CoreFileSize,
    /// `Max resident set`: bytes.
    ResidentSet,
    /// `Max processes`: of the user.
    Processes,
    /// `Max open files`: the largest descriptor, plus 1.
    OpenFiles,
    /// `Max locked memory`: bytes.
    LockedMemory,
    /// `Max address space`: bytes.
    AddressSpace,
    /// `Max file locks`: not enforced since Linux 2.4.25.
    FileLocks,
    /// `Max pending signals`: of the user.
    PendingSignals,
    /// `Max msgqueue size`: bytes.
    MsgqueueSize,
    /// `Max nice priority`: 20 minus the nice value.
    NicePriority,
    /// `Max realtime priority`: 1 to 99.
    RealtimePriority,
    /// `Max realtime timeout`: microseconds.
    RealtimeTimeout,
}

impl Resource {
    /// All resources, in the kernel's order.
    pub const ALL: &'static [Resource] = &[
        Self::CpuTime,
        Self::FileSize,
        Self::DataSize,
        Self::StackSize,
        Self::CoreFileSize,
        Self::ResidentSet,
        Self::Processes,
        Self::OpenFiles,
        Self::LockedMemory,
        Self::AddressSpace,
        Self::FileLocks,
        Self::PendingSignals,
        Self::MsgqueueSize,
        Self::NicePriority,
        Self::RealtimePriority,
        Self::RealtimeTimeout,
    ];

    /// The name as the kernel prints it: `Max open files`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CpuTime => "Max cpu time",
            Self::FileSize => "Max file size",
            Self::DataSize => "Max data size",
            Self::StackSize => "Max stack size",
            Self::CoreFileSize => "Max core file size",
            Self::ResidentSet => "Max resident set",
            Self::Processes => "Max processes",
            Self::OpenFiles => "Max open files",
            Self::LockedMemory => "Max locked memory",
            Self::AddressSpace => "Max address space",
            Self::FileLocks => "Max file locks",
            Self::PendingSignals => "Max pending signals",
            Self::MsgqueueSize => "Max msgqueue size",
            Self::NicePriority => "Max nice priority",
            Self::RealtimePriority => "Max realtime priority",
            Self::RealtimeTimeout => "Max realtime timeout",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(bound(serialize = "T: AsRef<[u8]>")))]
pub struct ResourceLimitOf<T> {
    /// The resource, as printed: `Max open files`.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::text"))]
    pub name: T,
    /// The limit that the kernel enforces.
    pub soft: LimitValue,
    /// The ceiling of the soft limit.
    pub hard: LimitValue,
    /// The unit, as printed: `files`. `None` for priorities.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::optional_text"))]
    pub units: Option<T>,
}

/// [`ResourceLimitOf`] that borrows from the text of the file.
pub type ResourceLimit<'a> = ResourceLimitOf<&'a [u8]>;

/// [`ResourceLimitOf`] that keeps its text.
#[cfg(feature = "alloc")]
pub type OwnedResourceLimit = ResourceLimitOf<alloc::vec::Vec<u8>>;

#[cfg(feature = "alloc")]
impl ResourceLimit<'_> {
    /// A copy that does not borrow from the text of the file.
    #[must_use]
    pub fn into_owned(self) -> OwnedResourceLimit {
        ResourceLimitOf {
            name: self.name.into(),
            soft: self.soft,
            hard: self.hard,
            units: self.units.map(Into::into),
        }
    }
}

impl<'a> ResourceLimit<'a> {
    /// Parses the row of a resource, and skips the others: a tenth of the
    /// work of [`Limits::parse`]. `None` without such a row.
    ///
    /// ```
    /// use psstat_proc_parse::{LimitValue, Resource, ResourceLimit};
    ///
    /// let text = b"Limit                     Soft Limit           Hard Limit           Units     \n\
    ///     Max open files            1024                 unlimited            files     \n";
    /// let limit = ResourceLimit::find(text, Resource::OpenFiles)?.unwrap();
    /// assert_eq!(limit.soft, LimitValue::Value(1024));
    /// assert_eq!(ResourceLimit::find(text, Resource::CpuTime)?, None);
    /// # Ok::<(), psstat_proc_parse::Error>(())
    /// ```
    ///
    /// # Errors
    /// If that row is malformed or does not end.
    pub fn find(text: &'a [u8], resource: Resource) -> Result<Option<Self>, Error> {
        Self::find_by_name(text, resource.name().as_bytes())
    }

    /// The same by name, as printed: of a resource that this version does not know.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_by_name(text: &'a [u8], name: &[u8]) -> Result<Option<Self>, Error> {
        let mut rest = text;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let (row, after) = rest.split_at(end);
            if let Some(columns) = row.strip_prefix(name)
                && columns.starts_with(b" ")
                && row.get(..NAME_WIDTH).is_some_and(|column| column.trim_ascii_end() == name)
            {
                return parse(ProcFile::Limits, row, inlined(limits_row)).map(Some);
            }
            rest = after;
        }
        Ok(None)
    }
}

/// All resource limits of a process. The file exists since Linux 2.6.24.
///
/// ```
/// use psstat_proc_parse::{LimitValue, Limits, Resource};
///
/// let limits = Limits::parse(
///     b"Limit                     Soft Limit           Hard Limit           Units     \n\
///       Max open files            1024                 unlimited            files     \n",
/// )?;
/// let row = limits.get(Resource::OpenFiles).unwrap();
/// assert_eq!((row.soft, row.hard), (LimitValue::Value(1024), LimitValue::Unlimited));
/// # Ok::<(), psstat_proc_parse::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits<'a> {
    /// The rows after the header, already validated.
    rows: &'a [u8],
}

impl<'a> Limits<'a> {
    /// Validates the whole table and keeps the text; [`iter`](Self::iter) and
    /// [`get`](Self::get) parse the rows again.
    ///
    /// # Errors
    /// If the header or a row is malformed, a limit is larger than 64 bits, or
    /// the last row does not end, as in truncated text.
    pub fn parse(text: &'a [u8]) -> Result<Self, Error> {
        parse(ProcFile::Limits, text, inlined(limits))
    }

    /// The rows in the kernel's order: 16 since Linux 2.6.25.
    #[must_use]
    pub const fn iter(self) -> LimitsIter<'a> {
        LimitsIter { rest: self.rows }
    }

    /// The row of a resource. `None` if the kernel does not have its limit.
    #[must_use]
    pub fn get(self, resource: Resource) -> Option<ResourceLimit<'a>> {
        self.get_by_name(resource.name())
    }

    /// The row with this name, as printed: of a resource that this version does not know.
    #[must_use]
    pub fn get_by_name(self, name: impl AsRef<[u8]>) -> Option<ResourceLimit<'a>> {
        let name = name.as_ref();
        self.iter().find(|row| row.name == name)
    }
}

impl<'a> IntoIterator for Limits<'a> {
    type Item = ResourceLimit<'a>;
    type IntoIter = LimitsIter<'a>;

    fn into_iter(self) -> LimitsIter<'a> {
        self.iter()
    }
}

/// The rows of [`Limits`], from [`Limits::iter`].
#[derive(Clone, Debug)]
pub struct LimitsIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for LimitsIter<'a> {
    type Item = ResourceLimit<'a>;

    fn next(&mut self) -> Option<ResourceLimit<'a>> {
        let row;
        (self.rest, row) = limits_row(self.rest).ok()?;
        Some(row)
    }
}

impl core::iter::FusedIterator for LimitsIter<'_> {}

/// The grammar of [`Limits`]: the header, and rows up to the end of the input.
///
/// # Errors
/// As [`Limits::parse`].
pub fn limits(input: &[u8]) -> ParseResult<'_, Limits<'_>> {
    let header = (
        word(b"Limit"),
        space1,
        word(b"Soft Limit"),
        space1,
        word(b"Hard Limit"),
        space1,
        word(b"Units"),
        space0,
        line_end(),
    );
    let rows = recognize(many0_count(preceded(not(eof), cut(limits_row))));
    map(preceded(field(HEADER, header), rows), |rows| Limits { rows }).parse_complete(input)
}

/// The grammar of a row, `%-25s %-20s %-20s %-10s`, with its line end. The last
/// column is empty in some rows.
///
/// # Errors
/// If a column is malformed or missing.
pub fn limits_row(input: &[u8]) -> ParseResult<'_, ResourceLimit<'_>> {
    let name = terminated(take(NAME_WIDTH), space());
    let units = take_till(|byte| byte == b' ' || byte == b'\n');
    let columns = (
        field(NAME, expect(Expected::Character, name)),
        field(SOFT, terminated(limit(), space1)),
        field(HARD, terminated(limit(), space1)),
        field(UNITS, terminated(units, (space0, line_end()))),
    );
    map(columns, |(name, soft, hard, units): (&[u8], _, _, &[u8])| ResourceLimit {
        name: name.trim_ascii_end(),
        soft,
        hard,
        units: (!units.is_empty()).then_some(units),
    })
    .parse_complete(input)
}

#[inline(always)]
fn limit<'a>() -> impl Grammar<'a, LimitValue> {
    let unlimited = value(LimitValue::Unlimited, word(b"unlimited"));
    alt((unlimited, map(unsigned(), LimitValue::Value)))
}

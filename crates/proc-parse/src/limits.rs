//! `/proc/PID/limits`: what a process may use. See proc_pid_limits(5).

use core::fmt;

use nom::bytes::complete::{tag, take, take_till};
use nom::character::complete::{space0, space1};
use nom::combinator::value;
use nom::sequence::terminated;
use nom::{IResult, Parser};

use crate::cursor::Cursor;
use crate::error::{Error, Expected, ProcFile};
use crate::number;

pub(crate) const FIELDS: [&str; 5] = ["name", "soft", "hard", "units", "header"];
const NAME: u8 = 1;
const SOFT: u8 = 2;
const HARD: u8 = 3;
const UNITS: u8 = 4;
const HEADER: u8 = 5;

/// The width of the name's column; one space stands behind it.
const NAME_WIDTH: usize = 25;

/// One side of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitValue {
    /// `unlimited`.
    Unlimited,
    /// So much and no more, in the row's unit.
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

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ResourceLimit<'a> {
    /// What is limited, as printed: `Max open files`.
    pub name: &'a [u8],
    /// The limit that holds now.
    pub soft: LimitValue,
    /// What the process may raise it to.
    pub hard: LimitValue,
    /// The unit, as printed: `files`. `None` for priorities.
    pub units: Option<&'a [u8]>,
}

/// All limits of a process. The file is there since Linux 2.6.24.
///
/// ```
/// use psstat_proc_parse::{LimitValue, Limits};
///
/// let limits = Limits::parse(
///     b"Limit                     Soft Limit           Hard Limit           Units     \n\
///       Max open files            1024                 unlimited            files     \n",
/// )?;
/// let row = limits.get(b"Max open files").unwrap();
/// assert_eq!((row.soft, row.hard), (LimitValue::Value(1024), LimitValue::Unlimited));
/// # Ok::<(), psstat_proc_parse::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits<'a> {
    /// The rows behind the header; each has been read once without an error.
    rows: &'a [u8],
}

impl<'a> Limits<'a> {
    /// Reads the whole table and keeps the text; the rows are read again when
    /// they are asked for.
    ///
    /// # Errors
    /// If the header or a row has another form, a limit does not fit 64 bits,
    /// or the last row has no line end, as when the text was cut off.
    pub fn parse(text: &'a [u8]) -> Result<Self, Error> {
        let mut at = Cursor::new(ProcFile::Limits, text);
        at.nom(HEADER, Expected::Keyword, header)?;
        at.byte(HEADER, b'\n', Expected::LineEnd)?;
        let rows = at.rest;
        while !at.rest.is_empty() {
            row(&mut at)?;
        }
        Ok(Self { rows })
    }

    /// The rows in the kernel's order: 16 of them since Linux 2.6.25.
    pub fn rows(self) -> impl Iterator<Item = ResourceLimit<'a>> + Clone + 'a {
        let mut at = Cursor::new(ProcFile::Limits, self.rows);
        core::iter::from_fn(move || row(&mut at).ok())
    }

    /// The row of this name, as printed.
    #[must_use]
    pub fn get(self, name: &[u8]) -> Option<ResourceLimit<'a>> {
        self.rows().find(|row| row.name == name)
    }
}

fn header(text: &[u8]) -> IResult<&[u8], ()> {
    let titles = (
        tag(&b"Limit"[..]),
        space1,
        tag(&b"Soft Limit"[..]),
        space1,
        tag(&b"Hard Limit"[..]),
        space1,
        tag(&b"Units"[..]),
        space0,
    );
    value((), titles).parse(text)
}

/// `%-25s %-20s %-20s %-10s`, the last one empty for some.
fn row<'a>(at: &mut Cursor<'a>) -> Result<ResourceLimit<'a>, Error> {
    let name = at.nom(NAME, Expected::Character, terminated(take(NAME_WIDTH), tag(&b" "[..])))?;
    let soft = limit(at, SOFT)?;
    let hard = limit(at, HARD)?;
    let units = at.nom(UNITS, Expected::LineEnd, terminated(take_till(is_space_or_end), space0))?;
    at.byte(UNITS, b'\n', Expected::LineEnd)?;
    let units = (!units.is_empty()).then_some(units);
    Ok(ResourceLimit { name: name.trim_ascii_end(), soft, hard, units })
}

fn limit(at: &mut Cursor<'_>, field: u8) -> Result<LimitValue, Error> {
    let limit = match at.nom(field, Expected::Keyword, tag(&b"unlimited"[..])) {
        Ok(_) => LimitValue::Unlimited,
        Err(_) => LimitValue::Value(at.number(field, number::decimal)?),
    };
    at.nom(field, Expected::Separator, space1)?;
    Ok(limit)
}

fn is_space_or_end(byte: u8) -> bool {
    byte == b' ' || byte == b'\n'
}

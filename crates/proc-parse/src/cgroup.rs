//! `/proc/PID/cgroup`: the control groups of a process. See cgroups(7).

use nom::Parser;
use nom::combinator::{cut, eof, map, not, recognize};
use nom::multi::many0_count;
use nom::sequence::{preceded, terminated};

use crate::error::{Error, Field, ParseResult, ProcFile, field, parse};
use crate::leaf::{byte, inlined, line_end, unsigned, until};

pub(crate) const FIELDS: [&str; 3] = ["hierarchy", "controllers", "path"];
const HIERARCHY: Field = Field(ProcFile::Cgroup, 1);
const CONTROLLERS: Field = Field(ProcFile::Cgroup, 2);
const PATH: Field = Field(ProcFile::Cgroup, 3);

/// A line of the file: the control group in one hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(bound(serialize = "T: AsRef<[u8]>")))]
pub struct CgroupOf<T> {
    /// The id of the hierarchy; 0 for version 2.
    pub hierarchy: u32,
    /// The controllers of a version 1 hierarchy, separated by commas, such as
    /// `cpu,cpuacct`, or its name, such as `name=systemd`. Empty for version 2.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::text"))]
    pub controllers: T,
    /// The path of the group from the root of the hierarchy, as seen from the
    /// cgroup namespace of the reader. Contains no newline: the kernel does not
    /// allow it in the name of a group. The path of a removed group in version 2
    /// ends in ` (deleted)`.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::text"))]
    pub path: T,
}

/// [`CgroupOf`] that borrows from the text of the file.
pub type Cgroup<'a> = CgroupOf<&'a [u8]>;

/// [`CgroupOf`] that keeps its text.
#[cfg(feature = "alloc")]
pub type OwnedCgroup = CgroupOf<alloc::vec::Vec<u8>>;

#[cfg(feature = "alloc")]
impl Cgroup<'_> {
    /// A copy that does not borrow from the text of the file.
    #[must_use]
    pub fn into_owned(self) -> OwnedCgroup {
        CgroupOf {
            hierarchy: self.hierarchy,
            controllers: self.controllers.into(),
            path: self.path.into(),
        }
    }
}

impl Cgroup<'_> {
    /// Whether the hierarchy is the one of version 2.
    #[must_use]
    pub const fn is_v2(&self) -> bool {
        self.hierarchy == 0 && self.controllers.is_empty()
    }
}

/// The control groups of a process in all hierarchies. The file exists since
/// Linux 2.6.24.
///
/// ```
/// use psstat_proc_parse::Cgroups;
///
/// let cgroups = Cgroups::parse(
///     b"4:memory:/app\n1:name=systemd:/system.slice/nginx.service\n0::/system.slice/nginx.service\n",
/// )?;
/// assert_eq!(cgroups.v2().unwrap().path, b"/system.slice/nginx.service");
/// assert_eq!(cgroups.get(b"memory").unwrap().path, b"/app");
/// assert_eq!(cgroups.get(b"name=systemd").unwrap().hierarchy, 1);
/// # Ok::<(), psstat_proc_parse::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cgroups<'a> {
    /// The lines, already validated.
    lines: &'a [u8],
}

impl<'a> Cgroups<'a> {
    /// Validates all lines and keeps the text. The file may be empty: a kernel
    /// without a mounted hierarchy prints nothing.
    ///
    /// # Errors
    /// If a line is malformed, or the last one does not end, as in truncated
    /// text.
    pub fn parse(text: &'a [u8]) -> Result<Self, Error> {
        parse(ProcFile::Cgroup, text, inlined(cgroups))
    }

    /// The groups in the kernel's order.
    #[must_use]
    pub const fn iter(self) -> CgroupsIter<'a> {
        CgroupsIter { rest: self.lines }
    }

    /// The group in the hierarchy of version 2.
    #[must_use]
    pub fn v2(self) -> Option<Cgroup<'a>> {
        self.iter().find(Cgroup::is_v2)
    }

    /// The path of the group in the hierarchy that the service manager and the container runtimes
    /// use: that of `name=systemd`, unless the process is at its root, else that of version 2.
    /// `None` if there is neither.
    ///
    /// Where both exist, systemd has the same groups in both, but a container runtime that uses
    /// version 1 has no group in version 2.
    #[must_use]
    pub fn path(self) -> Option<&'a [u8]> {
        let path = |group: Cgroup<'a>| group.path;
        let systemd = self.get(b"name=systemd").map(path);
        systemd.filter(|&path| path != b"/").or(self.v2().map(path)).or(systemd)
    }

    /// The group in the version 1 hierarchy that has this controller (`memory`)
    /// or name (`name=systemd`).
    #[must_use]
    pub fn get(self, controller: &[u8]) -> Option<Cgroup<'a>> {
        self.iter().find(|group| {
            !group.is_v2() && group.controllers.split(|&byte| byte == b',').any(|c| c == controller)
        })
    }
}

impl<'a> IntoIterator for Cgroups<'a> {
    type Item = Cgroup<'a>;
    type IntoIter = CgroupsIter<'a>;

    fn into_iter(self) -> CgroupsIter<'a> {
        self.iter()
    }
}

/// The groups of [`Cgroups`], from [`Cgroups::iter`].
#[derive(Clone, Debug)]
pub struct CgroupsIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for CgroupsIter<'a> {
    type Item = Cgroup<'a>;

    fn next(&mut self) -> Option<Cgroup<'a>> {
        let group;
        (self.rest, group) = cgroup(self.rest).ok()?;
        Some(group)
    }
}

impl core::iter::FusedIterator for CgroupsIter<'_> {}

/// The grammar of [`Cgroups`]: lines up to the end of the input.
///
/// # Errors
/// As [`Cgroups::parse`].
pub fn cgroups(input: &[u8]) -> ParseResult<'_, Cgroups<'_>> {
    let lines = recognize(many0_count(preceded(not(eof), cut(cgroup))));
    map(lines, |lines| Cgroups { lines }).parse_complete(input)
}

/// The grammar of a line, `HIERARCHY:CONTROLLERS:PATH`, with its line end.
///
/// # Errors
/// If a field is malformed or missing.
pub fn cgroup(input: &[u8]) -> ParseResult<'_, Cgroup<'_>> {
    let fields = (
        field(HIERARCHY, terminated(unsigned(), byte(b':'))),
        field(CONTROLLERS, terminated(controllers, byte(b':'))),
        field(PATH, terminated(until(b'\n'), line_end())),
    );
    let group = |(hierarchy, controllers, path)| Cgroup { hierarchy, controllers, path };
    map(fields, group).parse_complete(input)
}

fn controllers(input: &[u8]) -> ParseResult<'_, &[u8]> {
    nom::bytes::complete::take_till(|byte| byte == b':' || byte == b'\n').parse_complete(input)
}

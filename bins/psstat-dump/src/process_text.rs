//! The texts of a process that rules are matched against, as values.

use psstat_matcher::{Field, ProcessText};
use psstat_proc_parse::{Cgroups, Status};
use psstat_sampler::ProcessFields;

use crate::process_report::Files;

/// The texts of a process.
#[derive(Clone, Debug, Default)]
pub struct OwnedText {
    command_line: Option<Vec<u8>>,
    comm: Option<Vec<u8>>,
    user: Option<Vec<u8>>,
    cgroup: Option<Vec<u8>>,
    unit: Option<Vec<u8>>,
    container: Option<Vec<u8>>,
}

impl From<ProcessText<'_>> for OwnedText {
    fn from(text: ProcessText<'_>) -> OwnedText {
        let own = |text: Option<&[u8]>| text.map(<[u8]>::to_vec);
        OwnedText {
            command_line: own(text.command_line),
            comm: own(text.comm),
            user: own(text.user),
            cgroup: own(text.cgroup),
            unit: own(text.unit),
            container: own(text.container),
        }
    }
}

impl OwnedText {
    /// The texts, borrowed.
    pub fn as_text(&self) -> ProcessText<'_> {
        ProcessText {
            command_line: self.command_line.as_deref(),
            comm: self.comm.as_deref(),
            user: self.user.as_deref(),
            cgroup: self.cgroup.as_deref(),
            unit: self.unit.as_deref(),
            container: self.container.as_deref(),
        }
    }

    /// The text of a field.
    pub fn get(&self, field: Field) -> Option<&[u8]> {
        self.as_text().get(field)
    }

    /// The command line; empty also if there is none.
    pub fn command_line(&self) -> &[u8] {
        self.command_line.as_deref().unwrap_or_default()
    }
}

/// The fields of a process as they are in its files.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub(crate) comm: Option<Vec<u8>>,
    pub(crate) uid: Option<u32>,
    pub(crate) cgroup: Option<Vec<u8>>,
}

impl Fields {
    /// Reads those that are needed.
    pub(crate) fn read(files: &Files, needed: ProcessFields) -> Fields {
        let read = |name, is_needed: bool| is_needed.then(|| files.read(name).ok()).flatten();
        let mut comm = read("comm", needed.comm);
        if let Some(comm) = comm.as_mut().filter(|comm| comm.ends_with(b"\n")) {
            comm.pop();
        }
        let status = read("status", needed.user);
        let status = status.as_deref().and_then(|status| Status::parse(status).ok());
        let cgroups = read("cgroup", needed.cgroup);
        let cgroups = cgroups.as_deref().and_then(|cgroups| Cgroups::parse(cgroups).ok());
        Fields {
            comm,
            uid: status.and_then(|status| Some(status.uid?.effective)),
            cgroup: cgroups.and_then(Cgroups::path).map(<[u8]>::to_vec),
        }
    }
}

/// The name of a field in JSON and CSV.
pub(crate) fn field_name(field: Field) -> &'static str {
    match field {
        Field::CommandLine => "command_line",
        field => field.word(),
    }
}

/// The field and the regex of a rule, as in a config file, from the field on.
pub(crate) fn pattern(field: Field, regex: &str) -> String {
    match field {
        Field::CommandLine => regex.to_owned(),
        field => format!("{field} {regex}"),
    }
}

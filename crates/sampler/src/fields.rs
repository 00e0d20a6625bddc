//! The texts of a process besides its command line: its fields.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;

/// Which fields of processes are read for [`Candidate`](crate::Candidate). Default: none, since
/// each costs a further read of every process when it is classified.
///
/// They are read whenever a process is classified: when it is new, when it has executed another
/// program, and in turn every 8 cycles if it has used CPU. Without using CPU, a process can only
/// get into another control group, so that alone is read in turn of every process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessFields {
    /// `comm`
    pub comm: bool,
    /// The effective user id, from `status`.
    pub user: bool,
    /// `cgroup`
    pub cgroup: bool,
}

impl ProcessFields {
    /// No field.
    pub const NONE: ProcessFields = ProcessFields { comm: false, user: false, cgroup: false };
}

/// The fields of one process. A field that is not read, or may not be read, is `None`.
#[derive(Debug, Default)]
pub(crate) struct FieldTexts {
    comm: Vec<u8>,
    has_comm: bool,
    cgroup: Vec<u8>,
    has_cgroup: bool,
    pub(crate) uid: Option<u32>,
}

impl FieldTexts {
    pub(crate) fn clear(&mut self) {
        self.comm.clear();
        self.cgroup.clear();
        (self.has_comm, self.has_cgroup, self.uid) = (false, false, None);
    }

    /// A buffer for the name of the program.
    pub(crate) fn comm_buffer(&mut self) -> &mut Vec<u8> {
        self.comm.clear();
        &mut self.comm
    }

    /// A buffer for the path of the control group.
    pub(crate) fn cgroup_buffer(&mut self) -> &mut Vec<u8> {
        self.cgroup.clear();
        &mut self.cgroup
    }

    /// Whether the buffers have been filled.
    pub(crate) fn set_read(&mut self, comm: bool, cgroup: bool) {
        // An empty path is that of a kernel without control groups.
        (self.has_comm, self.has_cgroup) = (comm, cgroup && !self.cgroup.is_empty());
    }

    pub(crate) fn comm(&self) -> Option<&[u8]> {
        self.has_comm.then_some(&self.comm)
    }

    pub(crate) fn cgroup(&self) -> Option<&[u8]> {
        self.has_cgroup.then_some(&self.cgroup)
    }

    /// Identifies the path in its buffer.
    pub(crate) fn cgroup_hash(&self) -> NonZeroU64 {
        let mut hasher = DefaultHasher::new();
        self.cgroup.hash(&mut hasher);
        NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN)
    }
}

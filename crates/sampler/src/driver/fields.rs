//! Reading the fields of processes that the rules need.

use super::Driver;
use crate::fields::{FieldTexts, ProcessFields};
use crate::read::outcome::{Outcome, Unread};
use crate::source::{ProcessSource, SocketSource};
use crate::state::schedule::DENIED_RETRY_INTERVAL;

/// How the fields of a process were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldsRead {
    /// All, except those that may not be read.
    Complete,
    /// Some could not be read this time.
    Incomplete,
    /// The process has exited.
    Exited,
}

/// The outcomes of the reads of one process.
#[derive(Debug)]
struct Outcomes {
    denied: ProcessFields,
    is_incomplete: bool,
    has_exited: bool,
}

impl Outcomes {
    /// Notes an outcome, counts it if it failed, and gives the value.
    fn note<T>(
        &mut self,
        outcome: Outcome<T>,
        denied: fn(&mut ProcessFields) -> &mut bool,
        (failed, deferred): (&mut u64, &mut u64),
    ) -> Option<T> {
        match &outcome {
            Outcome::Value(_) => {}
            Outcome::Exited => self.has_exited = true,
            Outcome::Denied => *denied(&mut self.denied) = true,
            Outcome::Failed(_) => *failed += 1,
            // Counted as a process.
            Outcome::Unread(Unread::Blocked) => {}
            Outcome::Unread(Unread::Deferred) => {
                *failed += 1;
                *deferred += 1;
            }
        }
        self.is_incomplete |= matches!(outcome, Outcome::Failed(_) | Outcome::Unread(_));
        outcome.value()
    }
}

impl<S: ProcessSource + SocketSource> Driver<S> {
    /// Sets the fields to read of each process that is classified from now on.
    pub(crate) fn set_fields(&mut self, fields: ProcessFields) {
        if self.fields == fields {
            return;
        }
        self.fields = fields;
        for entry in &mut self.processes.entries {
            entry.cgroup = None;
            entry.denied_fields = ProcessFields::NONE;
        }
    }

    /// Reads the fields of a process whose command line was just read.
    pub(super) async fn read_fields(
        &mut self,
        source: &mut S,
        at: usize,
        tid: u32,
        texts: &mut FieldTexts,
    ) -> FieldsRead {
        texts.clear();
        let needed = self.fields;
        if needed == ProcessFields::NONE {
            return FieldsRead::Complete;
        }
        let Some(&entry) = self.processes.entries.get(at) else { return FieldsRead::Exited };
        let is_retry = entry.fields_retry <= self.cycle;
        let denied = if is_retry { ProcessFields::NONE } else { entry.denied_fields };
        let mut outcomes = Outcomes { denied, is_incomplete: false, has_exited: false };
        let (failed, deferred) = (&mut self.health.failed, &mut self.health.deferred);
        let (mut has_comm, mut has_cgroup) = (false, false);
        if needed.comm && !denied.comm {
            let outcome = source.comm(entry.pid, texts.comm_buffer()).await;
            let counts = (&mut failed.comm, &mut deferred.comm);
            has_comm = outcomes.note(outcome, |denied| &mut denied.comm, counts).is_some();
        }
        if needed.user && !denied.user {
            let outcome = source.effective_uid(entry.pid).await;
            let counts = (&mut failed.status, &mut deferred.status);
            texts.uid = outcomes.note(outcome, |denied| &mut denied.user, counts);
        }
        if needed.cgroup && !denied.cgroup {
            let outcome = source.cgroup(entry.pid, tid, texts.cgroup_buffer()).await;
            let counts = (&mut failed.cgroup, &mut deferred.cgroup);
            has_cgroup = outcomes.note(outcome, |denied| &mut denied.cgroup, counts).is_some();
        }
        texts.set_read(has_comm, has_cgroup);
        if outcomes.has_exited {
            return FieldsRead::Exited;
        }
        if let Some(entry) = self.processes.entries.get_mut(at) {
            entry.cgroup = has_cgroup.then(|| texts.cgroup_hash());
            entry.denied_fields = outcomes.denied;
            if outcomes.denied != denied {
                entry.fields_retry = self.cycle + DENIED_RETRY_INTERVAL;
            }
        }
        if outcomes.is_incomplete { FieldsRead::Incomplete } else { FieldsRead::Complete }
    }

    /// Reads the control group of a process that is otherwise not due. Whether it has changed: then
    /// all of it is due.
    pub(super) async fn has_other_cgroup(
        &mut self,
        source: &mut S,
        at: usize,
        tid: u32,
        texts: &mut FieldTexts,
    ) -> bool {
        let Some(&entry) = self.processes.entries.get(at) else { return false };
        let outcome = source.cgroup(entry.pid, tid, texts.cgroup_buffer()).await;
        let before = ProcessFields::NONE;
        let mut outcomes = Outcomes { denied: before, is_incomplete: false, has_exited: false };
        let counts = (&mut self.health.failed.cgroup, &mut self.health.deferred.cgroup);
        let is_read = outcomes.note(outcome, |denied| &mut denied.cgroup, counts).is_some();
        let is_other = is_read && entry.cgroup != Some(texts.cgroup_hash());
        let is_due = is_other || outcomes.denied != before;
        if (is_due || outcomes.is_incomplete)
            && let Some(entry) = self.processes.entries.get_mut(at)
        {
            // Also if its command line is put off.
            entry.cpu = None;
            entry.next_read = self.cycle + u32::from(!is_due);
        }
        is_due
    }
}
